"""Running scenarios: plan, loop, records, statistics."""

"""Metrics that look through networks whose weights are found on the machine or downloaded once."""

"""The interactive report: what it shows as one JSON (data, units, kept, answer), the page, and its assets."""

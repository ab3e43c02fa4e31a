"""Channels that a scenario may name: one description a file."""

"""Commented scenarios to start from."""

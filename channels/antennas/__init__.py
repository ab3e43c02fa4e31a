"""Streams over several antennas."""

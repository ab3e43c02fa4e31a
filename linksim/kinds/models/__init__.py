"""Propagation behind an OFDM link: one description a file."""

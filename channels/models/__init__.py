"""Propagation behind an OFDM link: delay models."""

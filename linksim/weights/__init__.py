"""Weights: where they are, how they are read."""

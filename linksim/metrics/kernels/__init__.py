"""Measures compiled for CPUs, where they are much faster than tensor operations."""

"""Channels written in TensorFlow."""

"""Checkpoints in the format of DiffJSCC's authors."""

"""Rays in scenes, traced in a process of its own."""

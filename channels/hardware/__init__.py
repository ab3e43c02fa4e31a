"""Imperfect radios."""

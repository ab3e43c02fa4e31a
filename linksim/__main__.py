"""``python -m linksim``."""

from linksim.cli import entry_point

entry_point()

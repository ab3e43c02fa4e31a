"""``python -m linksim``, which puts the working directory first: nothing else is imported from there."""

import sys
from pathlib import Path

if not sys.flags.safe_path and Path(sys.path[0]).resolve() != Path(__file__).resolve().parents[1]:
    del sys.path[0]

from linksim.cli.commands import entry_point

entry_point()

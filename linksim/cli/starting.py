"""The commands to begin with: a scenario of one's own, and a page to play with."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from linksim.cli.output import say

__all__ = ["demo", "new"]


def new(args: argparse.Namespace) -> int:
    """Write a commented scenario, or list the themes."""
    from linksim.scenario.starting.themes import THEMES, write_theme

    if args.theme is None and args.out is not None:
        from channels.checks import complaint
        from linksim.scenario.errors import ScenarioError

        got, expected = f"--out {args.out} alone", f"one of {', '.join(THEMES)}"
        raise ScenarioError(complaint("THEME", "missing", got, expected))
    if args.theme is None:
        for name, theme in THEMES.items():
            say(f"{name:12} {theme.about}")
        return 0
    out = args.out or Path(f"{args.theme}.yaml")
    for path in write_theme(args.theme, out):
        say(path)
    theme = THEMES[args.theme]
    own = f" --with {out.with_suffix('.py')}" if theme.code else ""
    say(f"next: linksim check {out}{own}; linksim {theme.command} {out}{own}", file=sys.stderr)
    return 0


def demo(args: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    from linksim.demo.server import serve

    serve(
        args.host,
        args.port,
        browser=not args.no_browser,
        report=lambda line: say(line, file=sys.stderr),
    )
    return 0

"""Parts of a run, made on several machines, as one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from linksim.api.run import Run

__all__ = ["merge"]


def merge(runs: Sequence[str | Path | Run], out: str | Path) -> Run:
    """Make one run of several of the same scenario, as ``linksim merge`` does: shards, or other pictures.

    Units that more than one part has must have the same results. ``linksim.simulate`` with the same scenario
    and folder runs what is missing.

    Args:
        runs: run folders.
        out: new or empty folder.

    Returns:
        The merged run, opened; results.csv is written, figures and report are not.

    Raises:
        RunFolderError: runs that do not belong together.
    """
    from channels.runtime.cache import expanded
    from linksim.results.merging import merge as merged

    folders = [run.folder if isinstance(run, Run) else expanded("run", str(run)) for run in runs]
    return Run(merged(folders, expanded("out", str(out))).folder)

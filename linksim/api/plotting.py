"""The figure that ``linksim plot`` and ``Run.plot`` draw."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from linksim.report.figures import difference_figure, metric_figure
from linksim.report.runs import Run, default_x, load_runs
from linksim.results.store import RunFolderError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_runs"]


def plot_runs(
    folders: Sequence[Path], metric: str, *, x: str | None = None, against: str | None = None
) -> tuple[Figure, str]:
    """A metric of one or more runs with its intervals, or its differences to a reference.

    Args:
        folders: run folders.
        metric: of theirs; "lpips" is the first of its backbones that was measured.
        x: "snr_db", "cbr_data", "cbr_total" or a swept field; None for what was swept.
        against: name of a scheme, a channel, or PATH=VALUE, within one run.

    Returns:
        The figure, and the name that its file has in the run folder, without a suffix.

    Raises:
        RunFolderError: a folder that cannot be used, no such metric, field or reference.
    """
    runs = load_runs(folders)
    lpips = [name for run in runs for name in run.header["metrics"] if name.startswith("lpips")]
    metric = lpips[0] if metric == "lpips" and lpips else metric
    x = x or default_x(runs[0].header)
    title = ", ".join(dict.fromkeys(run.header["name"] for run in runs))
    place = x.rsplit(".", maxsplit=1)[-1]
    if against is None:
        return metric_figure(runs, metric, x=x, title=title), f"{metric}_vs_{place}"
    figure = difference_figure(_only(runs), metric, against=against, x=x, title=title)
    return figure, f"{metric}_difference_vs_{place}"


def _only(runs: Sequence[Run]) -> Run:
    """The run of --against, which compares within one."""
    if len(runs) > 1:
        raise RunFolderError(f"--against: got {len(runs)} runs, expected one, to compare within it.")
    return runs[0]

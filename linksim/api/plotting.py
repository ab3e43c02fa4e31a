"""The figure that ``linksim plot`` and ``Run.plot`` draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from channels.checks import complaint, shown
from channels.runtime.cache import expanded
from linksim.report.figures import difference_figure, metric_figure
from linksim.report.options import FigureOptions, read_style, size_of, ylim_of
from linksim.report.runs import Run, default_x, load_runs
from linksim.results.store import RunFolderError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["figure_options", "plot_runs"]


def figure_options(
    *,
    title: str | None = None,
    size: str | Sequence[float] | None = None,
    ylim: str | Sequence[float] | None = None,
    ci: bool = True,
    overlay: str | None = None,
    style: str | Path | None = None,
    option: str = "",
) -> FigureOptions:
    """How a figure is drawn.

    Args:
        title: above it; None for the usual one, "" for none.
        size: width and height in inches, as a pair or a text "3.5,2.6"; or the name of a width ("column",
            "page" of two-column papers, "slide") with the height that the legend needs.
        ylim: limits of the vertical axis, as a pair or a text "20,35".
        ci: whether intervals are drawn.
        overlay: "channels" for all channels in one field.
        style: a matplotlib style file.
        option: what stands in front of the names of arguments in messages.

    Raises:
        RunFolderError: what is not understood.
    """
    if title is not None and not isinstance(title, str):
        raise RunFolderError(complaint(f"{option}title", "no text", shown(title), "a text"))
    if overlay not in (None, "channels"):
        raise RunFolderError(complaint(f"{option}overlay", "not understood", shown(overlay), "channels"))
    width, height = size_of(size, f"{option}size")
    limits = ylim_of(ylim, f"{option}ylim")
    name = f"{option}style"
    settings = {} if style is None else read_style(expanded(name, str(style)), name)
    return FigureOptions(title, width, height, limits, bool(ci), overlay == "channels", settings)


def plot_runs(
    folders: Sequence[Path],
    metric: str,
    *,
    x: str | None = None,
    against: str | None = None,
    labels: Mapping[str, str] | Sequence[str] = (),
    options: FigureOptions | None = None,
    option: str = "",
) -> tuple[Figure, str]:
    """A metric of one or more runs with its intervals, or its differences to a reference.

    Args:
        folders: run folders.
        metric: of theirs; "lpips" is the first of its backbones that was measured.
        x: "snr_db", "cbr_data", "cbr_total" or a swept field; None for what was swept.
        against: name of a scheme, a channel, or PATH=VALUE, within one run.
        labels: what stands in the legend for runs: texts by folder, or texts FOLDER=TEXT.
        options: of :func:`figure_options`.
        option: what stands in front of the names of arguments in messages.

    Returns:
        The figure, and the name that its file has in the run folder, without a suffix.

    Raises:
        RunFolderError: a folder that cannot be used, no such metric, field, reference or run.
    """
    runs, options = load_runs(folders), options or FigureOptions()
    runs = _labelled(runs, list(labels.items()) if isinstance(labels, Mapping) else labels, f"{option}label")
    lpips = [name for run in runs for name in run.header["metrics"] if name.startswith("lpips")]
    metric = lpips[0] if metric == "lpips" and lpips else metric
    x = x or default_x(runs[0].header)
    title = ", ".join(dict.fromkeys(run.header["name"] for run in runs))
    place = x.rsplit(".", maxsplit=1)[-1]
    chosen: dict[str, Any] = {"x": x, "title": title, "options": options}
    if against is None:
        return metric_figure(runs, metric, **chosen), f"{metric}_vs_{place}"
    figure = difference_figure(_only(runs), metric, against=against, **chosen)
    return figure, f"{metric}_difference_vs_{place}"


def _only(runs: Sequence[Run]) -> Run:
    """The run of --against, which compares within one."""
    if len(runs) > 1:
        raise RunFolderError(f"--against: got {len(runs)} runs, expected one, to compare within it.")
    return runs[0]


def _labelled(runs: list[Run], labels: Sequence[str | tuple[str, str]], where: str) -> list[Run]:
    """Runs with the names that were given to them."""
    given: dict[Path, str] = {}
    known = {run.store.folder.resolve(): run for run in runs}
    for label in labels:
        folder, text = _label(label, known, where)
        if folder in given:
            raise RunFolderError(complaint(where, "given twice", shown(known[folder].store.folder), "once"))
        given[folder] = text
    named = [replace(run, name=given.get(folder, run.name)) for folder, run in known.items()]
    names = [run.name for run in named]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice and len(named) > 1:
        raise RunFolderError(complaint(where, "two runs of one name", shown(twice[0]), "a name for each"))
    return named


def _label(label: str | tuple[str, str], known: Mapping[Path, Run], where: str) -> tuple[Path, str]:
    """Folder and text of RUN=TEXT; path and text may have a = in them."""
    names = {run.name: folder for folder, run in known.items() if run.name}
    parts = [label] if not isinstance(label, str) else _splits(label)
    for run, text in parts:
        folder = names.get(str(run), Path(run).expanduser().resolve())
        if folder in known and str(text).strip():
            return folder, str(text).strip()
    expected = f"RUN=TEXT with RUN one of {', '.join(str(run.store.folder) for run in known.values())}"
    raise RunFolderError(complaint(where, "no such run", shown(label), expected))


def _splits(text: str) -> list[tuple[str, str]]:
    """Both sides of every = of a text."""
    places = [i for i, letter in enumerate(text) if letter == "="]
    return [(text[:i], text[i + 1 :]) for i in places]

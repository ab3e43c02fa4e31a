"""A run in Python: its tables, figures, pictures and report, and how it shows itself."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linksim.results.store import ResultStore

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from linksim.api.pictures import Pictures
    from linksim.run.replaying import Replay
    from linksim.run.runner import Progress, RunSummary
    from linksim.scenario.schema import Scenario

__all__ = ["Run", "merge", "open_run"]


class Run:
    """A run folder, opened. Nothing is kept in memory: what is read is what is there now.

    Args:
        folder: made by :func:`linksim.simulate` or ``linksim simulate``.
        summary: what a run that has just ended did.

    Raises:
        RunFolderError: no run in the folder, or a broken one.
    """

    def __init__(self, folder: str | Path, *, summary: RunSummary | None = None) -> None:
        from channels.runtime.cache import expanded

        self.folder = expanded("folder", str(folder))
        self.summary = summary
        self._store = ResultStore(self.folder)
        self._store.header()

    @property
    def header(self) -> dict[str, Any]:
        """Contents of run.json: scenario, hash, facts of metrics, versions, digests of what was used."""
        return self._store.header()

    @property
    def scenario(self) -> Scenario:
        """What was asked for. Relative paths in it begin in the working directory.

        Raises:
            ScenarioError: it is that of another version, or needs a package that is not installed.
        """
        from linksim.scenario.files import load_scenario

        return load_scenario(self.header["scenario"])

    @property
    def name(self) -> str:
        """Name of the scenario."""
        return str(self.header["name"])

    def table(self) -> pd.DataFrame:
        """results.csv with typed columns: means, intervals; see :func:`linksim.api.tables.results_table`."""
        from linksim.api.tables import results_table

        return results_table(self._store)

    def per_image(self) -> pd.DataFrame:
        """A row per image, trial and point, see :func:`linksim.api.tables.units_table`."""
        from linksim.api.tables import units_table

        return units_table(self._store)

    def compressai(self, *metrics: str, bpp: str = "bits") -> dict[str, dict[str, Any]]:
        """Curves as CompressAI has results, by file name; see
        :func:`linksim.api.results.compressai_results`.
        """
        from linksim.api.results import compressai_results

        return compressai_results(self._store, metrics, bpp)

    def plot(
        self,
        metric: str,
        *,
        x: str | None = None,
        against: str | None = None,
        title: str | None = None,
        size: str | Sequence[float] | None = None,
        ylim: str | Sequence[float] | None = None,
        ci: bool = True,
        overlay: str | None = None,
        style: str | Path | None = None,
    ) -> Figure:
        """The figure of ``linksim plot``: a metric with its intervals.

        Args:
            metric: of the run, e.g. "psnr".
            x: "snr_db", "cbr_data", "cbr_total" or a swept field; None for what was swept.
            against: name of a scheme, a channel, or PATH=VALUE: paired differences to it.
            title, size, ylim, ci, overlay, style: see :func:`linksim.api.plotting.figure_options`.

        Raises:
            RunFolderError: no such metric or field, no records yet, or options that are not understood.
        """
        from linksim.api.plotting import figure_options, plot_runs

        options = figure_options(title=title, size=size, ylim=ylim, ci=ci, overlay=overlay, style=style)
        figure, _ = plot_runs([self.folder], metric, x=x, against=against, options=options)
        # Figures that pyplot does not know are shown by notebooks only if they say how.
        setattr(figure, "_repr_png_", partial(_as_png, figure, options.settings))  # noqa: B010
        return figure

    def images(
        self,
        *,
        scheme: str | None = None,
        channel: str | None = None,
        snr_db: float | None = None,
        image: str | None = None,
    ) -> Pictures:
        """Pictures that the panel of the scenario kept: ``.tensor()`` is [3, H, W] uint8, ``.pil()`` one of
        Pillow, ``.label`` says what it is.

        Args:
            scheme: name, or "original".
            channel, image: names.
            snr_db: Es/N0 per data use [dB].

        Raises:
            RunFolderError: no such pictures; the message says which there are.
        """
        from linksim.api.pictures import kept_pictures

        return kept_pictures(self._store, scheme=scheme, channel=channel, snr_db=snr_db, image=image)

    def replay(self, unit: str | int, device: str = "auto") -> Replay:
        """Run one unit again, as ``linksim replay`` does; the run is left as it is.

        Args:
            unit: its line in records.jsonl from 1, or "scheme=NAME,snr_db=4,image=NAME,trial=0": the first
                unit that fits (also by channel, state or a swept field).
            device: where.

        Returns:
            Record of then and of now, pictures, symbols, what the receiver was told; ``lines()`` says what
            happened.

        Raises:
            RunFolderError: no such unit, or pictures that have changed.
        """
        from linksim.api.errors import foreign_as_user_errors
        from linksim.api.simulation import device_of
        from linksim.run.replaying import find_unit, replay

        record, where = find_unit(self._store, str(unit)), device_of(device, "device")
        with foreign_as_user_errors():
            return replay(self._store, record, where)

    def measure(
        self,
        *metrics: str,
        device: str = "auto",
        workers: int | None = None,
        progress: bool | Progress = True,
    ) -> Run:
        """Measure further metrics of the run, as ``linksim measure`` does: on pictures that it keeps where
        that is enough, else on units that are run again and must come out as they were. Afterwards the
        folder is that of a run with these metrics.

        Args:
            metrics: names, such as "lpips_alex", "niqe".
            device, workers, progress: see :func:`linksim.simulate`.

        Returns:
            The run, opened; ``summary`` says how many units were measured and how many run again.

        Raises:
            ScenarioError, MetricUnavailable, ...: no such metric, or none that can be had here.
            RunError: a unit came out unlike before; the folder is as it was.
        """
        from linksim.api.measuring import measure
        from linksim.api.simulation import progress_of

        display = progress_of(progress)
        summary = measure(self._store, metrics, display, device=device, workers=workers)
        return Run(self.folder, summary=summary)

    def report(self) -> Path:
        """Draw all figures and write report.html; returns its path."""
        from linksim.report.page import write_report

        return write_report(self._store)

    def __repr__(self) -> str:
        from linksim.api.display import run_text

        return run_text(self._store)

    def _repr_html_(self) -> str:
        from linksim.api.display import run_html

        return run_html(self._store)


def _as_png(figure: Figure, settings: Mapping[str, Any]) -> bytes:
    from linksim.report.drawing import own_style

    buffer = io.BytesIO()
    with own_style(settings):
        figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def open_run(folder: str | Path) -> Run:
    """Open a run folder that was made earlier, here or elsewhere.

    Raises:
        RunFolderError: no run in the folder, or a broken one.
    """
    return Run(folder)


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

"""What lines a figure of a metric has: those of results, the best of fixed schemes, closed forms, marks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from linksim.metrics.info import MetricInfo
from linksim.report.curves import Curve, best_of, curves, variant_texts
from linksim.report.runs import (
    Run,
    bound_names,
    metric_info,
    rename,
    step_names,
    trained_schemes,
)
from linksim.report.theory import closed_forms
from linksim.results.paired import differences, reference_of
from linksim.results.statistics import Row, in_scenario_order
from linksim.results.store import RunFolderError

__all__ = [
    "TRAINED",
    "Differences",
    "Gathered",
    "NoPairs",
    "difference_rows",
    "figure_lines",
    "gathered",
    "interval_text",
]

TRAINED = "†"  # marks a scheme whose training had the measure shown as a loss
_FEW_PICTURES = 8


@dataclass(frozen=True)
class Gathered:
    """What runs say of a metric and of their schemes, under names that tell the runs apart.

    Args:
        info: the metric.
        rows: results of all metrics.
        theory: rows of closed forms.
        bounds: names of schemes that are limits.
        trained: names of schemes whose training had the metric as a loss.
        steps: schemes with a fixed MCS, and the run that they are of.
        confidence: of the intervals; None where the runs have several.
        runs: the run of every scheme, of several runs.
    """

    info: MetricInfo
    rows: list[Row] = field(default_factory=list)
    theory: list[Row] = field(default_factory=list)
    bounds: list[str] = field(default_factory=list)
    trained: list[str] = field(default_factory=list)
    steps: dict[str, str] = field(default_factory=dict)
    confidence: float | None = None
    runs: dict[str, str] = field(default_factory=dict)

    def lines(self, x: str) -> list[Curve]:
        """Those of a figure over ``x``.

        Raises:
            RunFolderError: no results of the metric, or ``x`` not swept.
        """
        return figure_lines(
            self.rows, self.info, x, self.bounds, self.steps, self.trained, self.theory, self.runs
        )


def gathered(runs: Sequence[Run], metric: str, x: str) -> Gathered:
    """What runs say of a metric and of their schemes.

    Args:
        runs: from :func:`linksim.report.runs.load_runs`.
        metric: one of theirs.
        x: horizontal axis, for closed forms.

    Raises:
        RunFolderError: no such metric.
    """
    info = metric_info([run.header for run in runs], metric)
    levels = {run.header["scenario"]["statistics"]["confidence"] for run in runs}
    found = Gathered(info, confidence=levels.pop() if len(levels) == 1 else None)
    for run in runs:
        prefix = f"{run.name} " if run.name else ""
        exact = closed_forms(run.header, run.rows, x) if info.name == "ber" else []
        found.rows.extend(rename(run.rows, run.name) if prefix else run.rows)
        found.theory.extend(rename(exact, run.name) if prefix else exact)
        found.bounds.extend(prefix + scheme for scheme in bound_names(run.header))
        found.trained.extend(prefix + scheme for scheme in trained_schemes(run.header, info))
        if prefix:
            found.runs.update({prefix + s["name"]: run.name for s in run.header["scenario"]["schemes"]})
        found.steps.update({prefix + scheme: run.name for scheme in step_names(run.header)})
    return found


def figure_lines(
    rows: Sequence[Row],
    info: MetricInfo,
    x: str,
    bounds: Iterable[str] = (),
    steps: Iterable[str] | Mapping[str, str] = (),
    trained: Collection[str] = (),
    theory: Sequence[Row] = (),
    runs: Mapping[str, str] | None = None,
) -> list[Curve]:
    """All lines of a figure; the arguments are those of :func:`linksim.report.figures.plot_metric`.

    Raises:
        RunFolderError: no such metric in the rows, or ``x`` not swept.
    """
    lines = [_marked(c) if c.scheme in trained else c for c in curves(rows, info, x, bounds, steps)]
    lines += _best_of_steps(lines, info, steps, len({row.snr_db for row in rows}) > 1)
    if theory:
        lines += [replace(line, is_theory=True) for line in curves(theory, info, x)]
    of = dict(runs or {})
    of |= {line.scheme: line.run for line in lines if line.run}
    return [replace(line, run=of.get(line.scheme, "")) for line in lines]


def _best_of_steps(
    lines: Sequence[Curve], info: MetricInfo, steps: Iterable[str] | Mapping[str, str], many_snr: bool
) -> list[Curve]:
    group_of = dict(steps) if isinstance(steps, Mapping) else dict.fromkeys(steps, "")
    families: dict[tuple[Any, ...], list[Curve]] = {}
    for line in lines:
        if line.is_step:
            families.setdefault((line.channel, group_of[line.scheme], line.variant), []).append(line)
    found = []
    for (_, group, variant), members in families.items():
        best = best_of(members, info)
        if not best.x.size:
            continue
        of = [group] if group else []
        of += variant_texts(variant, many_snr)
        name = " ".join([*filter(None, [group]), best.scheme])  # as the schemes of the run are called
        found.append(replace(best, scheme=name, label=", ".join([best.label, *of]), run=group))
    return found


def _marked(line: Curve) -> Curve:
    return replace(line, label=f"{line.scheme} {TRAINED}{line.label.removeprefix(line.scheme)}")


def interval_text(rows: Sequence[Row], info: MetricInfo, confidence: float | None) -> str:
    """What the intervals of a figure are, and how much they rest on; "" where nothing is known of them."""
    own = [r for r in rows if r.metric == info.name and np.isfinite([r.ci_low, r.ci_high]).all()]
    if confidence is None or not own:
        return ""
    pictures, trials = min(r.num_images for r in own), min(r.num_trials for r in own)
    level = f"{100 * confidence:g}% intervals"
    if info.is_rate:
        sent = sorted({r.num_images * r.num_trials for r in own})
        counts = f"{sent[0]}" if len(sent) == 1 else f"{sent[0]} to {sent[-1]}"
        return f"Bands and bars: {level}; {counts} transmissions per point."
    draws = f"{trials} channel realisation" + ("s" if trials > 1 else "") + " each"
    if pictures == 1:
        return f"Bands: {level} over {trials} channel realisations of a single picture."
    few = pictures < _FEW_PICTURES
    wide = ", whose small number makes them wide" if few else ""
    return f"Bands: {level} over {pictures} pictures{wide}, {draws}."


class NoPairs(RunFolderError):
    """Nothing to compare: the reference has no values of a metric."""


@dataclass(frozen=True)
class Differences:
    """Paired differences of a metric.

    Args:
        info: the metric.
        rows: their means and intervals, in the order of the scenario.
        against: what they are differences to.
    """

    info: MetricInfo
    rows: list[Row]
    against: str


def difference_rows(run: Run, metric: str, against: str | None = None) -> Differences:
    """Paired differences of a metric to a scheme, a channel or a swept value of the same run.

    Args:
        run: from :func:`linksim.report.runs.load_runs`.
        metric: one of single pictures or transmissions.
        against: a name (see :func:`linksim.scenario.comparison.references`); None for ``statistics.against``
            of the scenario.

    Raises:
        RunFolderError: nothing to compare with, a metric of sets.
        NoPairs: the reference has no values of the metric (bit errors of an analog scheme).
    """
    info, scenario = metric_info([run.header], metric), run.header["scenario"]
    if info.scope == "set":
        expected = "one of single pictures, which can be compared picture by picture"
        raise RunFolderError(f"--metric {metric}: got a metric of sets of pictures, expected {expected}.")
    where = "statistics.against" if against is None else "--against"
    named: str | Mapping[str, str] | None = against or scenario["statistics"].get("against")
    if named is None:
        raise RunFolderError("--against: missing, expected the name of a scheme, a channel, or PATH=VALUE.")
    reference = reference_of(named, scenario, dict.fromkeys(r.channel for r in run.rows), where)
    level, resamples = scenario["statistics"]["confidence"], scenario["statistics"]["resamples"]
    paired = differences(
        run.records, info.name, reference, level, resamples, with_reference=True, is_share=info.is_share
    )
    if not paired:
        raise NoPairs(f"{where} {named}: got no units in pairs, expected a run with results.")
    text = named if isinstance(named, str) else ", ".join(dict.fromkeys(named.values()))
    return Differences(info, in_scenario_order(paired, scenario), text)

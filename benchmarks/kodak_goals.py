"""What was asked of the learned link, judged: values of a run, and goals as numbers that are to be small."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from linksim.results.statistics import bootstrap_interval, ratio_interval, resample_seed

UNSEEN = ("kid_lite2", "swd", "niqe", "haarpsi")  # no loss of the network
HIGHER = ("haarpsi",)  # of these, what is better when it is higher


@dataclass(frozen=True)
class Value:
    """One mean with its interval."""

    kind: str
    scheme: str
    channel: str
    cbr: str
    snr_db: float
    metric: str
    mean: float
    ci_low: float
    ci_high: float
    trained_on: bool


@dataclass(frozen=True)
class Goal:
    """What was asked of the link, and what it reaches; smaller is better for ``got``.

    The interval is nan where ``got`` counts measures.
    """

    goal: str
    got: float
    wanted: float
    ci_low: float = math.nan
    ci_high: float = math.nan

    @property
    def met(self) -> bool:
        """Whether it is reached."""
        return self.got <= self.wanted

    def facts(self) -> dict[str, str | float | bool | None]:
        """Of a JSON line."""
        ends = {name: getattr(self, name) for name in ("ci_low", "ci_high")}
        known = {name: None if math.isnan(end) else end for name, end in ends.items()}
        return {**vars(self), **known, "met": self.met}


Place = tuple[str, str, str, float, str]
"""Scheme, channel, ratio, SNR [dB] and metric."""


class Table:
    """Values by their place.

    Args:
        found: means.
        pictures: of :func:`by_picture`.
    """

    def __init__(
        self, found: Sequence[Value], pictures: Mapping[Place, Mapping[str, float]] | None = None
    ) -> None:
        self.values, self.pictures = found, pictures or {}

    def best_opponent(
        self, metric: str, cbr: str, snr_db: float, channel: str = "awgn", *, higher: bool
    ) -> str:
        """The scheme of separation coding that is ahead of the others at a point."""
        schemes = self.opponents()
        if not schemes:
            raise LookupError("no separation coding was run")
        means = {s: self.mean(s, metric, cbr, snr_db, channel) for s in schemes}
        return (max if higher else min)(means, key=lambda s: means[s])

    def behind(self, goal: str, wanted: float, ours: Place, theirs: Place) -> Goal:
        """How far ``ours`` is below ``theirs``, over the pictures of both."""
        a, b = self._pairs(ours, theirs)
        interval = bootstrap_interval([np.array([d]) for d in b - a], 0.95, 2000, resample_seed(goal))
        return Goal(goal, self._at(theirs) - self._at(ours), wanted, *interval)

    def ratio(self, goal: str, wanted: float, ours: Place, theirs: Place) -> Goal:
        """``ours`` over ``theirs``, means over the pictures of both."""
        a, b = self._pairs(ours, theirs)
        interval = ratio_interval(list(zip(a, b, strict=True)), 0.95, 2000, resample_seed(goal))
        return Goal(goal, self._at(ours) / self._at(theirs), wanted, *interval)

    def _at(self, place: Place) -> float:
        scheme, channel, cbr, snr_db, metric = place
        return self.mean(scheme, metric, cbr, snr_db, channel)

    def _pairs(self, ours: Place, theirs: Place) -> tuple[np.ndarray, np.ndarray]:
        a, b = self.pictures[ours], self.pictures[theirs]
        if a.keys() != b.keys():
            raise LookupError(f"{ours} and {theirs}: not the same pictures; run the scenarios to their end.")
        return np.array([a[i] for i in a]), np.array([b[i] for i in a])

    def mean(self, scheme: str, metric: str, cbr: str, snr_db: float, channel: str = "awgn") -> float:
        """The mean of a scheme at a point."""
        place = (scheme, channel, cbr, snr_db, metric)
        own = [v.mean for v in self.values if (v.scheme, v.channel, v.cbr, v.snr_db, v.metric) == place]
        if len(own) != 1:
            raise LookupError(
                f"{place}: got {len(own)} values, expected one; run the scenarios to their end."
            )
        return own[0]

    def metrics(self) -> set[str]:
        """Everything measured."""
        return {value.metric for value in self.values}

    def opponents(self) -> list[str]:
        """Schemes of separation coding."""
        return sorted({value.scheme for value in self.values if value.kind == "separation"})


def goals(rates: Table, fading: Table, told: Table) -> Iterator[Goal]:
    """Every goal of the learned link, as a number that is to be small; those of points that were not run
    are left out.
    """
    for make in (_fidelity_goals(rates), _realism_goals(rates), _fading_goals(fading), _told_goals(told)):
        for goal in make:
            with suppress(LookupError):
                yield goal()


def _fidelity_goals(rates: Table) -> Iterator[Callable[[], Goal]]:
    for cbr, snr, wanted in (
        *(("1/96", 1, 1.0), ("1/96", 10, 1.5), ("1/384", 1, 0.0)),
        *(("1/24", 1, 2.0), ("1/24", 10, 2.0)),
    ):

        def behind(cbr: str = cbr, snr: float = snr, wanted: float = wanted) -> Goal:
            theirs = rates.best_opponent("psnr", cbr, snr, higher=True)
            name = f"PSNR behind separation at {cbr}, {snr} dB [dB]"
            places = (("fidelity", "awgn", cbr, snr, "psnr"), (theirs, "awgn", cbr, snr, "psnr"))
            return rates.behind(name, wanted, *places)

        yield behind


def _realism_goals(rates: Table) -> Iterator[Callable[[], Goal]]:
    for cbr, snr in (("1/96", 1), ("1/96", 4), ("1/384", 1), ("1/384", 10)):
        for scheme in ("realism", "diffusion"):

            def lpips(cbr: str = cbr, snr: float = snr, scheme: str = scheme) -> Goal:
                theirs = rates.best_opponent("lpips_squeeze", cbr, snr, higher=False)
                places = [(s, "awgn", cbr, snr, "lpips_squeeze") for s in (scheme, theirs)]
                name = f"LPIPS of {scheme} over separation's at {cbr}, {snr} dB"
                return rates.ratio(name, 0.6, *places)

            def unseen(cbr: str = cbr, snr: float = snr, scheme: str = scheme) -> Goal:
                measured = [m for m in UNSEEN if m in rates.metrics()]
                if not measured:
                    raise LookupError("none of the unseen measures was run")
                better = sum(_is_better(rates, scheme, metric, cbr, snr) for metric in measured)
                name = f"{len(UNSEEN)} - unseen measures on which {scheme} is better at {cbr}, {snr} dB"
                return Goal(name, len(UNSEEN) - better, len(UNSEEN) - 2)

            yield lpips
            yield unseen


def _fading_goals(fading: Table) -> Iterator[Callable[[], Goal]]:
    def lost() -> Goal:
        awgn, ofdm = (("fidelity", c, "1/96", 10, "psnr") for c in ("awgn", "tdl-c ls"))
        return fading.behind("PSNR lost over OFDM TDL-C with LS at 10 dB [dB]", 1.5, ofdm, awgn)

    yield lost
    for metric, sign, scheme in (("psnr", 1, "fidelity"), ("lpips_squeeze", -1, "realism")):

        def behind(metric: str = metric, sign: int = sign, scheme: str = scheme) -> Goal:
            theirs = fading.best_opponent(metric, "1/96", 10, "one fade", higher=sign > 0)
            ours, best = ((s, "one fade", "1/96", 10, metric) for s in (scheme, theirs))
            name = f"{metric} behind the best separation on one Rayleigh fade at 10 dB"
            return fading.behind(name, 0.0, *((ours, best) if sign > 0 else (best, ours)))

        yield behind


def _told_goals(told: Table) -> Iterator[Callable[[], Goal]]:
    for snr in (1, 4, 7, 10):

        def lost(snr: float = snr) -> Goal:
            truth, high = (
                ("fidelity", channel, "1/96", snr, "psnr")
                for channel in ("told the truth", "told 3 dB too high")
            )
            return told.behind(f"PSNR lost when told 3 dB too much at {snr} dB [dB]", 2.5, high, truth)

        yield lost


def _is_better(table: Table, scheme: str, metric: str, cbr: str, snr_db: float) -> bool:
    higher = metric in HIGHER
    theirs = table.mean(table.best_opponent(metric, cbr, snr_db, higher=higher), metric, cbr, snr_db)
    ours = table.mean(scheme, metric, cbr, snr_db)
    return ours > theirs if higher else ours < theirs

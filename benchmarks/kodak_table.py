"""The learned link against BPG + LDPC on Kodak: every figure that README and model cards claim, by a command.

    python benchmarks/kodak_table.py --images KODAK [--out runs] [--workers N] [--set PATH=VALUE]...

Runs (or resumes) the scenarios learned/kodak-rates, -diffusion, -separation, -fading and -told-snr, prints
the tables as Markdown on stderr and one JSON line per value on stdout: ``kind`` (learned or separation),
``scheme``,
``channel``, ``cbr``, ``snr_db``, ``metric``, ``mean``, ``ci_low``, ``ci_high`` (95%, clustered by picture),
``trained_on``; and at the end one line per goal: ``goal``, ``got``, ``ci_low``, ``ci_high``, ``wanted``,
``met``. Separation stands at its best for each metric. The intervals of goals are of differences (of LPIPS:
of the ratio) on the same pictures, 95% over pictures; ``met`` is what the mean says. ``--write`` puts the
tables into docs/dials.md.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from channels.flat.awgn import AwgnChannel
from linksim.api.display import was_trained
from linksim.build.objects import build_scheme, load_codec
from linksim.cli.commands import main as linksim
from linksim.link import run_link
from linksim.metrics.facts import read_facts
from linksim.metrics.info import MetricInfo
from linksim.report.runs import load_rows
from linksim.results.statistics import bootstrap_interval, ratio_interval, resample_seed
from linksim.results.store import ResultStore
from linksim.scenario.schema import AwgnSpec, JsccSpec, LatentDiffusionSpec

RATES = ("kodak-rates", "kodak-diffusion", "kodak-separation")  # the same pictures and noise
SCENARIOS = (*RATES, "kodak-fading", "kodak-told-snr")
LEARNED = ("jscc", "latent_diffusion")
SHOWN = ("psnr", "ms_ssim", "lpips_squeeze", "haarpsi", "swd", "niqe", "spectrum_db", "kid_lite2")
UNSEEN = ("kid_lite2", "swd", "niqe", "haarpsi")  # no loss of the network
HIGHER = ("haarpsi",)  # of these, what is better when it is higher
RATIO = "bandwidth.data_ratio"
ARROWS = {True: "↑", False: "↓", None: "→ 0"}
ROOT = Path(__file__).resolve().parent.parent


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


def facts(store: ResultStore) -> dict[str, MetricInfo]:
    """Label, unit and direction of the metrics of a run."""
    return {name: read_facts(name, found) for name, found in store.header()["metrics"].items()}


def values(store: ResultStore) -> Iterator[Value]:
    """Every row of a run."""
    header, infos = store.header(), facts(store)
    kinds = {s["name"]: s["kind"] for s in header["scenario"]["schemes"]}
    ratio = str(header["scenario"]["bandwidth"]["data_ratio"])
    for row in load_rows(store):
        kind = "learned" if kinds[row.scheme] in LEARNED else "separation"
        cbr = str(dict(row.point).get(RATIO, ratio))
        seen = was_trained(row, infos, header)
        interval = (row.mean, row.ci_low, row.ci_high)
        yield Value(kind, row.scheme, row.channel, cbr, row.snr_db, row.metric, *interval, seen)


Place = tuple[str, str, str, float, str]
"""Scheme, channel, ratio, SNR [dB] and metric."""


def by_picture(store: ResultStore) -> dict[Place, dict[str, float]]:
    """Mean over the trials of every picture, for metrics of single pictures."""
    ratio = str(store.header()["scenario"]["bandwidth"]["data_ratio"])
    found: dict[Place, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in {r.key: r for r in store.records()}.values():
        key = record.key
        cbr = str(dict(key.point).get(RATIO, ratio))
        for metric, value in record.values.items():
            found[key.scheme, key.channel, cbr, key.snr_db, metric][key.image].append(value)
    return {place: {i: float(np.mean(v)) for i, v in images.items()} for place, images in found.items()}


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

    def markdown(self, cbr: str, snr_db: float, infos: Mapping[str, MetricInfo]) -> str:
        """A row per scheme, a column per measure."""
        own = [v for v in self.values if (v.cbr, v.snr_db, v.channel) == (cbr, snr_db, "awgn")]
        schemes = list(dict.fromkeys(v.scheme for v in own))
        shown = [m for m in SHOWN if m in infos]
        heads = [f"{infos[m].axis} {ARROWS[infos[m].higher_is_better]}" for m in shown]
        lines = [f"| CBR {cbr}, {snr_db:g} dB | " + " | ".join(heads) + " |", "|---" * (len(shown) + 1) + "|"]
        for scheme in schemes:
            cells = []
            for metric in shown:
                found = [v for v in own if (v.scheme, v.metric) == (scheme, metric)]
                cells.append(_cell(found[0]) if found else "")
            lines.append(f"| {scheme} | " + " | ".join(cells) + " |")
        return "\n".join(lines)


def _cell(value: Value) -> str:
    digits = {"psnr": 2, "niqe": 2, "spectrum_db": 1}.get(value.metric, 3)
    half = (value.ci_high - value.ci_low) / 2
    return f"{value.mean:.{digits}f} ± {half:.{digits}f}{'†' if value.trained_on else ''}"


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


def seconds_per_picture(repeats: int = 3) -> dict[str, float]:
    """Time of encoding and decoding one picture of 768 x 512 on the CPU, by scheme [s]."""
    specs = [
        JsccSpec(kind="jscc", name="realism", checkpoint="dial", realism=1.0),
        LatentDiffusionSpec(kind="latent_diffusion", name="diffusion", checkpoint="dial-denoiser", steps=4),
    ]
    image, snr = torch.rand(1, 3, 512, 768), torch.tensor([5.0])
    budget = int(Fraction(1, 96) * 3 * 512 * 768)
    found = {}
    for spec in specs:
        scheme = build_scheme(spec, AwgnSpec(kind="awgn"), torch.device("cpu"))
        times = []
        with torch.no_grad():
            for _ in range(repeats + 1):
                begun = time.perf_counter()
                run_link(scheme, AwgnChannel(), image, snr, [1], budget)
                times.append(time.perf_counter() - begun)
        found[spec.name] = min(times[1:])
    return found


def document(rates: Table, fading: Table, told: Table, infos: Mapping[str, MetricInfo]) -> str:
    """The tables as Markdown."""
    places = (("1/384", 1), ("1/384", 10), ("1/96", 1), ("1/96", 4), ("1/96", 10), ("1/24", 1), ("1/24", 10))
    run = {(v.cbr, v.snr_db) for v in rates.values}
    parts = [rates.markdown(cbr, snr, infos) for cbr, snr in places if (cbr, snr) in run]
    for table, metric in ((fading, "psnr"), (fading, "lpips_squeeze"), (told, "psnr")):
        if table.values:
            parts.append(across(table, metric, infos[metric].axis))
    parts.append("24 pictures; ± is half of the 95% interval over pictures; † was a loss in training.")
    return "\n\n".join(parts)


def across(table: Table, metric: str, axis: str) -> str:
    """A row per scheme, a column per channel and SNR."""
    own = [v for v in table.values if v.metric == metric]
    places = list(dict.fromkeys((v.channel, v.snr_db) for v in own))
    lines = [
        f"| {axis}, CBR 1/96 | " + " | ".join(f"{c}, {s:g} dB" for c, s in places) + " |",
        "|---" * (len(places) + 1) + "|",
    ]
    for scheme in dict.fromkeys(v.scheme for v in own):
        cells = [_cell(v) for p in places for v in own if v.scheme == scheme and (v.channel, v.snr_db) == p]
        lines.append(f"| {scheme} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write(text: str, document: Path) -> None:
    """Put the tables into docs/dials.md between their marks."""
    whole = document.read_text()
    begin, end = "<!-- begin kodak -->\n", "<!-- end kodak -->"
    head, rest = whole.split(begin)
    document.write_text(f"{head}{begin}{text}\n{end}{rest.split(end)[1]}")


def main() -> int:
    """Run, print, compare with the goals."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, required=True, help="folder of the 24 Kodak pictures")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="where the run folders are")
    parser.add_argument(
        "--set", action="append", default=[], dest="overrides", metavar="PATH=VALUE", help="of the rates"
    )
    parser.add_argument(
        "--workers", type=int, default=1, help="processes that run units; results are the same"
    )
    parser.add_argument("--skip", nargs="*", default=[], choices=SCENARIOS[len(RATES) :], help="not run")
    parser.add_argument("--write", action="store_true", help="also write the tables into docs/dials.md")
    parser.add_argument("--documents", type=Path, default=ROOT, help="where docs/dials.md is written")
    args = parser.parse_args()
    load_codec("dial")
    tables: dict[str, Table] = {}
    infos: dict[str, MetricInfo] = {}
    for name in SCENARIOS:
        tables[name] = Table([])
        if name in args.skip:
            continue
        folder = args.out / name
        overrides = args.overrides if name in RATES else []
        words = [w for pair in (f"images.path={args.images}", *overrides) for w in ("--set", pair)]
        workers = ["--workers", str(args.workers)] if args.workers > 1 else []
        code = linksim(["simulate", f"learned/{name}", "--out", str(folder), *workers, *words])
        if code:
            return code
        store = ResultStore(folder)
        tables[name] = Table(list(values(store)), by_picture(store))
        infos = {**facts(store), **infos}
        for value in tables[name].values:
            print(json.dumps(vars(value)))
    rates = Table(
        [value for name in RATES for value in tables[name].values],
        {place: images for name in RATES for place, images in tables[name].pictures.items()},
    )
    ordered = (rates, tables["kodak-fading"], tables["kodak-told-snr"])
    text = document(*ordered, infos)
    print(text, file=sys.stderr)
    reached = list(goals(*ordered))
    for goal in reached:
        print(json.dumps(goal.facts()))
    for scheme, seconds in seconds_per_picture().items():
        print(
            json.dumps(
                {
                    "scheme": scheme,
                    "seconds_per_768x512": round(seconds, 2),
                    "threads": torch.get_num_threads(),
                }
            )
        )
    if args.write:
        write(text, args.documents / "docs" / "dials.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())

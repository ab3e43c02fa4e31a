"""The learned link against BPG + LDPC on Kodak: every figure that README and model cards claim, by a command.

    python benchmarks/kodak_table.py --images KODAK [--out runs] [--set PATH=VALUE]...

Runs (or resumes) the scenarios learned/kodak-rates, -diffusion, -separation, -fading and -told-snr, prints
the tables as Markdown on stderr and one JSON line per value on stdout: ``kind`` (learned or separation),
``scheme``,
``channel``, ``cbr``, ``snr_db``, ``metric``, ``mean``, ``ci_low``, ``ci_high`` (95%, clustered by picture),
``trained_on``; and at the end one line per goal: ``goal``, ``got``, ``wanted``, ``met``. ``--write`` puts
the tables into docs/dials.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import torch

from channels.flat.awgn import AwgnChannel
from linksim.api.display import was_trained
from linksim.build.objects import build_scheme, load_codec
from linksim.cli.commands import main as linksim
from linksim.link import run_link
from linksim.metrics.facts import read_facts
from linksim.metrics.info import MetricInfo
from linksim.report.runs import load_rows
from linksim.results.store import ResultStore
from linksim.scenario.schema import AwgnSpec, JsccSpec, LatentDiffusionSpec

RATES = ("kodak-rates", "kodak-diffusion", "kodak-separation")  # the same pictures and noise
SCENARIOS = (*RATES, "kodak-fading", "kodak-told-snr")
LEARNED = ("jscc", "latent_diffusion")
SHOWN = ("psnr", "ms_ssim", "lpips_squeeze", "haarpsi", "swd", "niqe", "spectrum_db", "kid_lite2")
UNSEEN = ("kid_lite2", "swd", "niqe", "haarpsi")  # no loss of the network
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
    """What was asked of the link, and what it reaches; smaller is better for ``got``."""

    goal: str
    got: float
    wanted: float

    @property
    def met(self) -> bool:
        """Whether it is reached."""
        return self.got <= self.wanted


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


class Table:
    """Values by their place."""

    def __init__(self, found: Sequence[Value]) -> None:
        self.values = found

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
            got = rates.mean("BPG + LDPC", "psnr", cbr, snr) - rates.mean("fidelity", "psnr", cbr, snr)
            return Goal(f"PSNR behind separation at {cbr}, {snr} dB [dB]", got, wanted)

        yield behind


def _realism_goals(rates: Table) -> Iterator[Callable[[], Goal]]:
    for cbr, snr in (("1/96", 1), ("1/96", 4), ("1/384", 1), ("1/384", 10)):
        for scheme in ("realism", "diffusion"):

            def lpips(cbr: str = cbr, snr: float = snr, scheme: str = scheme) -> Goal:
                theirs = min(rates.mean(s, "lpips_squeeze", cbr, snr) for s in rates.opponents())
                got = rates.mean(scheme, "lpips_squeeze", cbr, snr) / theirs
                return Goal(f"LPIPS of {scheme} over separation's at {cbr}, {snr} dB", got, 0.6)

            def unseen(cbr: str = cbr, snr: float = snr, scheme: str = scheme) -> Goal:
                measured = [m for m in UNSEEN if m in rates.metrics()]
                better = sum(_is_better(rates, scheme, metric, cbr, snr) for metric in measured)
                name = f"{len(UNSEEN)} - unseen measures on which {scheme} is better at {cbr}, {snr} dB"
                return Goal(name, len(UNSEEN) - better, len(UNSEEN) - 2)

            yield lpips
            yield unseen


def _fading_goals(fading: Table) -> Iterator[Callable[[], Goal]]:
    def lost() -> Goal:
        awgn, ofdm = (fading.mean("fidelity", "psnr", "1/96", 10, c) for c in ("awgn", "tdl-c ls"))
        return Goal("PSNR lost over OFDM TDL-C with LS at 10 dB [dB]", awgn - ofdm, 1.5)

    yield lost
    for metric, sign, scheme in (("psnr", 1, "fidelity"), ("lpips_squeeze", -1, "realism")):

        def behind(metric: str = metric, sign: int = sign, scheme: str = scheme) -> Goal:
            place = (metric, "1/96", 10, "one fade")
            best = max(sign * fading.mean(s, *place) for s in fading.opponents())
            got = best - sign * fading.mean(scheme, *place)
            return Goal(f"{metric} behind the best separation on one Rayleigh fade at 10 dB", got, 0.0)

        yield behind


def _told_goals(told: Table) -> Iterator[Callable[[], Goal]]:
    for snr in (1, 4, 7, 10):

        def lost(snr: float = snr) -> Goal:
            truth, high = (
                told.mean("fidelity", "psnr", "1/96", snr, channel)
                for channel in ("told the truth", "told 3 dB too high")
            )
            return Goal(f"PSNR lost when told 3 dB too much at {snr} dB [dB]", truth - high, 2.5)

        yield lost


def _is_better(table: Table, scheme: str, metric: str, cbr: str, snr_db: float) -> bool:
    ours = table.mean(scheme, metric, cbr, snr_db)
    theirs = [table.mean(s, metric, cbr, snr_db) for s in table.opponents()]
    return ours > max(theirs) if metric == "haarpsi" else ours < min(theirs)


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
        code = linksim(["simulate", f"learned/{name}", "--out", str(folder), *words])
        if code:
            return code
        store = ResultStore(folder)
        tables[name] = Table(list(values(store)))
        infos = {**facts(store), **infos}
        for value in tables[name].values:
            print(json.dumps(vars(value)))
    rates = Table([value for name in RATES for value in tables[name].values])
    ordered = [rates, tables["kodak-fading"], tables["kodak-told-snr"]]
    text = document(*ordered, infos)
    print(text, file=sys.stderr)
    reached = list(goals(*ordered))
    for goal in reached:
        print(json.dumps({**vars(goal), "met": goal.met}))
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

"""Cost of drawing channels: one image at a time from its own seed, as operators do, against bare Sionna.

Prints one JSON line per channel and number of symbols, on slots of 14 OFDM symbols by 64 subcarriers of
15 kHz. All times are milliseconds per image, medians over interleaved repetitions, noise included:

* ``draw``: ``draw`` of our operator;
* ``sionna_one_by_one``: ``GenerateOFDMChannel`` on Sionna's model, a call per image; for the time domain
  ``GenerateTimeChannel`` at the rate F·Δf (ours works at four times that rate, with straight lines between
  eight steps per OFDM symbol);
* ``sionna_batch``: the same for all images at once, which images with seeds of their own cannot have;
* ``ratio_one_by_one``, ``ratio_batch``: ours over Sionna's, medians of the ratios of every repetition;
* ``share``: of ``draw``, the channel model, the noise, and the rest (response to the grid, copies).

    python benchmarks/channel_draw.py [--images 4] [--repetitions 15] [--channels ofdm-tdlc ...]
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from channels import seeding
from channels.antennas.transmission import Transmission
from channels.models.cdl import CdlModel
from channels.models.cell import CellModel
from channels.models.panel import Panel
from channels.models.tdl import TdlModel
from channels.ofdm.grid import Pilots
from channels.ofdm.link import OfdmChannel
from channels.ofdm.time import TimeDomainOfdmChannel

from sionna.phy.channel import (
    GenerateOFDMChannel,
    GenerateTimeChannel,
    gen_single_sector_topology,
    time_lag_discrete_time_channel,
)
from sionna.phy.channel.tr38901 import CDL, TDL, InH, RMa, UMi
from sionna.phy.ofdm import ResourceGrid
from sionna.phy.utils import complex_normal

CARRIER_HZ, SPEED_MPS, SPREAD_S = 3.5e9, 3.0, 100e-9
SYMBOLS, SUBCARRIERS, SPACING_HZ, PREFIX = 14, 64, 15e3, 5
SYMBOLS_PER_SLOT = 12 * SUBCARRIERS  # two OFDM symbols of pilots
PAIR = Panel(columns=2)
CELLS: dict[str, Any] = {"umi": UMi, "rma": RMa, "inh": InH}
MOTION = {"carrier_hz": CARRIER_HZ, "speed_mps": SPEED_MPS}
LAYERS = {"transmission": Transmission("multiplexing"), "pilots": Pilots((2, 11), comb=2)}


class TimedModel:
    """A delay model that adds up the seconds of its calls."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def __call__(self, *arguments: Any) -> Any:
        began = time.perf_counter()
        result = self._model(*arguments)
        self.seconds += time.perf_counter() - began
        return result


@dataclass(frozen=True)
class Case:
    """A channel: our model and operator, Sionna's model and what to do before each of its calls."""

    model: Callable[[], Any]
    sionna: Callable[[], Any]
    operator: type[OfdmChannel] = OfdmChannel
    antennas: int = 1
    prepare: Callable[[Any, int], None] = lambda model, images: None


def sionna_tdl() -> TDL:
    """TDL-C of Sionna."""
    return TDL("C", SPREAD_S, CARRIER_HZ, min_speed=SPEED_MPS, max_speed=SPEED_MPS, device="cpu")


def sionna_cdl() -> CDL:
    """CDL-C of Sionna, two antennas at both ends."""
    array = PAIR.array(CARRIER_HZ, "single")
    motion = {"min_speed": SPEED_MPS, "max_speed": SPEED_MPS}
    return CDL("C", SPREAD_S, CARRIER_HZ, array, array, "downlink", **motion, device="cpu")


def sionna_cell(cell: str) -> Any:
    """A cell of Sionna."""
    array = Panel().array(CARRIER_HZ, "single")
    arguments = {"ut_array": array, "bs_array": array, "enable_pathloss": False, "device": "cpu"}
    if cell == "umi":
        arguments["o2i_model"] = "low"
    return CELLS[cell](CARRIER_HZ, direction="downlink", enable_shadow_fading=False, **arguments)


def new_drops(cell: str, model: Any, images: int) -> None:
    """Other receivers for a cell of Sionna; for the office, which Sionna has no function for, from one of
    another cell, indoors, moved to within the room.
    """
    speeds = {"min_ut_velocity": SPEED_MPS, "max_ut_velocity": SPEED_MPS}
    kind = "umi" if cell == "inh" else cell
    share = 1.0 if cell == "inh" else None
    drop = list(gen_single_sector_topology(images, 1, kind, indoor_probability=share, **speeds, device="cpu"))
    if cell == "inh":
        drop[0], drop[1] = drop[0] / 4, drop[1] / 4
    model.set_topology(*drop, los="random")


def cell_case(cell: str) -> Case:
    """One antenna at both ends."""
    return Case(
        lambda: CellModel(cell, **MOTION),
        lambda: sionna_cell(cell),
        prepare=lambda model, images: new_drops(cell, model, images),
    )


def our_tdl() -> TdlModel:
    """TDL-C."""
    return TdlModel("C", delay_spread_s=SPREAD_S, **MOTION)


CASES = {
    "ofdm-tdlc": Case(our_tdl, sionna_tdl),
    "ofdm-cdlc-2x2": Case(
        lambda: CdlModel("C", delay_spread_s=SPREAD_S, transmitter=PAIR, receiver=PAIR, **MOTION),
        sionna_cdl,
        antennas=2,
    ),
    "ofdm-umi": cell_case("umi"),
    "ofdm-rma": cell_case("rma"),
    "ofdm-inh": cell_case("inh"),
    "time-tdlc": Case(our_tdl, sionna_tdl, TimeDomainOfdmChannel),
}


def bare(case: Case, slots: int) -> Callable[[int], object]:
    """Channel and noise of some images by Sionna, slots of an image as one long grid."""
    model = case.sionna()
    shape = (case.antennas, slots * SYMBOLS, SUBCARRIERS)
    if case.operator is TimeDomainOfdmChannel:
        rate = SUBCARRIERS * SPACING_HZ
        first, last = time_lag_discrete_time_channel(rate, 10 * SPREAD_S)
        samples = slots * SYMBOLS * (SUBCARRIERS + PREFIX)
        generate = GenerateTimeChannel(model, rate, samples, first, last, device="cpu")
        shape = (samples + last - first,)
    else:
        grid = ResourceGrid(
            slots * SYMBOLS, SUBCARRIERS, SPACING_HZ, cyclic_prefix_length=PREFIX, device="cpu"
        )
        generate = GenerateOFDMChannel(model, grid, device="cpu")

    def call(images: int) -> object:
        case.prepare(model, images)
        return generate(images), complex_normal((images, *shape), device="cpu")

    return call


def seconds(call: Callable[[], object]) -> float:
    """Of one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def measure(case: Case, symbols: int, images: int, repetitions: int) -> dict[str, Any]:
    """One line of results."""
    slots = math.ceil(symbols / (SYMBOLS_PER_SLOT * case.antennas))
    model = TimedModel(case.model())
    operator = case.operator(model, csi="perfect", **(LAYERS if case.antennas > 1 else {}))
    together, one = bare(case, slots), bare(case, slots)  # cells of Sionna keep to their first batch size
    noise = torch.empty(images, slots, case.antennas, SYMBOLS, SUBCARRIERS, dtype=torch.complex64)
    rows: list[tuple[float, ...]] = []
    for repetition in range(repetitions + 1):
        seeds = [seeding.derived_seed(repetition * images + i, "draw") for i in range(images)]
        before = model.seconds
        ours = seconds(lambda chosen=seeds: operator.draw(symbols, chosen))
        inside = model.seconds - before
        each = seconds(lambda: [one(1) for _ in range(images)])
        batch = seconds(lambda: together(images))
        white = seconds(lambda chosen=seeds: seeding.fill_normal(noise, chosen))
        rows.append((ours, each, batch, ours / each, ours / batch, inside / ours, white / ours))
    ours, each, batch, to_each, to_batch, of_model, of_noise = map(
        statistics.median, zip(*rows[1:], strict=True)
    )
    per_image = {"draw": ours, "sionna_one_by_one": each, "sionna_batch": batch}
    shares = {"model": of_model, "noise": of_noise, "rest": 1 - of_model - of_noise}
    return {
        **{name: round(1e3 * value / images, 2) for name, value in per_image.items()},
        "ratio_one_by_one": round(to_each, 2),
        "ratio_batch": round(to_batch, 2),
        "share": {name: round(value, 2) for name, value in shares.items()},
        "images": images,
        "slots": slots,
    }


def main() -> None:
    """Run all of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--repetitions", type=int, default=15)
    parser.add_argument("--symbols", type=int, nargs="+", default=[3072, 12288])
    parser.add_argument("--channels", nargs="+", choices=list(CASES), default=list(CASES))
    args = parser.parse_args()
    for name in args.channels:
        for symbols in args.symbols:
            with torch.no_grad():
                found = measure(CASES[name], symbols, args.images, args.repetitions)
            print(json.dumps({"channel": name, "symbols": symbols, **found}), flush=True)


if __name__ == "__main__":
    main()

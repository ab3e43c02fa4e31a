"""Where and when retransmissions meet the channel: the same place, the fading process gone on in time."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.special import j0

from channels.antennas.transmission import Precoding, Transmission
from channels.base import ChannelOperator
from channels.flat.fading import FlatFadingChannel
from channels.flat.hardware import SingleCarrierChannel
from channels.flat.interleaving import InterleavedChannel
from channels.hardware.oscillator import CarrierFrequencyOffset, PhaseNoise
from channels.models.base import DelayModel
from channels.models.cdl import CdlModel
from channels.models.cell import CellModel
from channels.models.recorded import RecordedModel
from channels.models.recording import Recording
from channels.models.tdl import TdlModel
from channels.ofdm.grid import Pilots
from channels.ofdm.link import OfdmChannel
from channels.ofdm.time import TimeDomainOfdmChannel
from channels.runtime.sionna_seeding import sionna_rng
from linksim.link import run_link
from linksim.schemes.base import Frame, Reconstruction

from sionna.phy import SPEED_OF_LIGHT

USES, CARRIER_HZ, SPEED = 60, 3.5e9, 10.0
DOPPLER_HZ = SPEED / SPEED_OF_LIGHT * CARRIER_HZ  # 117 Hz: J0 is 0 at 3.3 ms for the first time
GRID = {"num_subcarriers": 12, "num_ofdm_symbols": 7, "pilots": Pilots((1,)), "csi": "perfect"}
SYMBOL_S = (1 + 1 / 12) / 15e3
FRAME_S = 7 * SYMBOL_S  # 60 of 72 data elements: one slot


def tdl(profile: str = "C", **arguments) -> TdlModel:
    return TdlModel(profile, delay_spread_s=300e-9, carrier_hz=CARRIER_HZ, speed_mps=SPEED, **arguments)


def gains(
    operator: ChannelOperator, seeds: range, gap_s: float, attempt: int = 2
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gains [B, antennas, F] at the begin of the first transmission and of another."""
    pair = operator.draw(USES, seeds), operator.draw_again(USES, seeds, attempt, gap_s)
    first, later = (draw.h[:, 0, :, :, 0].flatten(1, 2) for draw in pair)
    return first, later


def correlation(first: torch.Tensor, later: torch.Tensor) -> float:
    return float((first.conj() * later).sum().real / (first.norm() * later.norm()))


def check_doppler(
    operator: ChannelOperator, gap_s: float, expected: float, frames: int = 400, attempt: int = 2
) -> None:
    """Real part of the correlation over N frames (subcarriers of a frame count as one); the deviation of a product
    of unit variances is below 1: 4/sqrt(N)."""
    first, later = gains(operator, range(frames), gap_s, attempt)
    assert abs(correlation(first, later) - expected) < 4 / math.sqrt(frames)


def clarke(wait_s: float) -> float:
    return float(j0(2 * math.pi * DOPPLER_HZ * wait_s))


@pytest.mark.parametrize("kind", [OfdmChannel, TimeDomainOfdmChannel])
@pytest.mark.parametrize("gap_s", [0.0, 1e-3, 5e-3])
def test_a_retransmission_meets_the_fade_that_doppler_left(kind, gap_s):
    """TDL-C at 10 m/s: J0(2π f_d Δt), Δt the frame and the gap: .92, .68, -.35."""
    operator = kind(tdl(), **GRID, cyclic_prefix_length=1)
    check_doppler(operator, gap_s, clarke(FRAME_S + gap_s))


def test_every_further_transmission_is_a_frame_and_a_gap_later():
    operator = InterleavedChannel(OfdmChannel(tdl(), **GRID))
    for attempt in (2, 3, 4):
        check_doppler(operator, 1e-3, clarke((attempt - 1) * (FRAME_S + 1e-3)), attempt=attempt)
    with pytest.raises(AssertionError):  # as fresh fades would have it
        check_doppler(operator, 1e-3, 0.0)


def test_what_follows_at_once_continues_the_process_to_the_bit():
    """Without a gap, the second transmission is the second slot of a frame of two."""
    for model in (tdl("D"), CdlModel("D", delay_spread_s=1e-7, carrier_hz=CARRIER_HZ, speed_mps=SPEED)):
        operator = OfdmChannel(model, **GRID)
        whole = operator.draw(2 * 72, [5]).h[:, 1]
        again = operator.draw_again(72, [5], 2, 0.0).h[:, 0]
        assert torch.allclose(again, whole, atol=1e-4)
        assert not torch.allclose(operator.draw(72, [5]).h[:, 0], whole, atol=1e-2)


def _moving_recording() -> RecordedModel:
    """Two antennas of Clarke's spectrum, 64 waves, seen every 0.2 ms for 0.1 s."""
    rng = np.random.default_rng(3)
    turn = 2 * np.pi * DOPPLER_HZ * 2e-4 * np.cos(rng.uniform(0, 2 * np.pi, (1, 2, 1, 64)))
    waves = np.exp(
        1j * (turn * np.arange(500)[:, None, None, None] + rng.uniform(0, 2 * np.pi, (1, 2, 1, 64)))
    )
    return RecordedModel(
        Recording(gains=waves.sum(-1, keepdims=True) / 8, delays_s=np.zeros(1), snapshot_interval_s=2e-4)
    )


MOVING: dict[str, Callable[[], DelayModel]] = {
    "cdl-a": lambda: CdlModel("A", delay_spread_s=1e-7, carrier_hz=CARRIER_HZ, speed_mps=SPEED),
    "umi": lambda: CellModel("umi", carrier_hz=CARRIER_HZ, speed_mps=SPEED),
    "recorded": _moving_recording,
}


@pytest.mark.parametrize("name", MOVING)
def test_models_with_places_of_their_own_keep_them(name):
    """At once after a frame of .5 ms nearly the same gains (above .85; J0 is .92), 30 ms later other ones (below
    .5; lines of sight keep some): 60 frames."""
    operator = OfdmChannel(MOVING[name](), **GRID)
    first, soon = gains(operator, range(60), 0.0)
    assert correlation(first, soon) > 0.85
    first, late = gains(operator, range(60), 0.03)
    assert correlation(first, late) < 0.5


def test_a_cell_keeps_the_receiver_where_it_is():
    """The delays of all paths are those of the first transmission, to the bit: the same drop. 20 drops."""
    model = MOVING["umi"]()
    delays = []
    for seed in range(20):
        for start_s in (0.0, 0.05):
            with sionna_rng(seed, torch.device("cpu")):
                delays.append(model(1, 1, 1e3, start_s)[1].flatten())
    assert all(torch.equal(a, b) for a, b in zip(delays[::2], delays[1::2], strict=True))
    assert len({tuple(d.tolist()) for d in delays}) == 20


def test_at_rest_the_fade_stays_and_the_noise_is_new():
    model = TdlModel("A", delay_spread_s=30e-9, carrier_hz=CARRIER_HZ)
    operator = OfdmChannel(model, **GRID)
    first, again = operator.draw(USES, [1, 2]), operator.draw_again(USES, [1, 2], 2, 1e-3)
    assert torch.equal(first.h, again.h)
    other = operator.draw_again(USES, [1, 2], 3, 1e-3)
    for a, b in ((first, again), (again, other), (first, other)):
        assert correlation(a.noise.flatten(1), b.noise.flatten(1)) < 4 / math.sqrt(2 * 7 * 12)


def test_block_fading_has_new_blocks():
    """No time passes between blocks of no duration: each transmission has a fade of its own; 400 frames."""
    operator = FlatFadingChannel()
    first, again = operator.draw(1, range(400)), operator.draw_again(1, range(400), 2, 1e-3)
    assert abs(correlation(first.h, again.h)) < 4 / math.sqrt(400)


def test_reports_of_an_outdated_transmitter_stay_as_old_as_they_were():
    """SVD precoding with a delay of two slots: what a later transmission uses is what the process was two slots
    before it, so beams gain as much as in the first one: 200 frames, powers of Gamma(4)."""
    model = tdl("A", num_tx_antennas=4)
    operator = OfdmChannel(model, **GRID, transmission=Transmission("svd", 1, Precoding(delay_slots=2)))
    first, again = operator.draw(USES, range(200)), operator.draw_again(USES, range(200), 2, 7e-3)
    power = [operator.gain(d, torch.ones(200, 1)).abs().square().mean() for d in (first, again)]
    assert abs(float(power[0] - power[1])) < 4 * 2 * math.sqrt(2 / 200)
    assert float(power[1]) > 2


def test_offsets_of_oscillators_stay_and_their_phase_noise_does_not():
    offset, noise = CarrierFrequencyOffset(100.0, uniform=True), PhaseNoise(10.0)
    grid = OfdmChannel(tdl(), **{**GRID, "csi": "ls"}, impairments=[noise, offset])
    plain = SingleCarrierChannel(FlatFadingChannel(), [noise, offset], symbol_rate_hz=1e6)
    for operator in (grid, plain):
        first, again = operator.draw(USES, [4, 9]), operator.draw_again(USES, [4, 9], 2, 1e-3)
        assert torch.equal(first.receiver[:, -1], again.receiver[:, -1])
        assert not torch.equal(first.receiver[0, -1], first.receiver[1, -1])
        assert not torch.equal(first.receiver[:, 1:-1], again.receiver[:, 1:-1])


class _Repeats:
    """Sends ones three times; the receiver never has enough and keeps what it got."""

    name, csit, round_trip_s = "repeats", "none", 2e-3

    def __init__(self) -> None:
        self.seen: list = []

    def check(self, height: int, width: int, budget: int) -> None: ...

    def transmit(self, image, budget, csit):
        ones = torch.ones(len(image), budget, dtype=torch.complex64)
        return Frame(ones, None, retransmissions=(ones, ones))

    def receive(self, received, layout, seeds):
        return self.combine([received], layout, seeds)

    def combine(self, received, layout, seeds):
        self.seen = [one.csi.h for one in received]
        blank = torch.zeros(len(seeds), 3, 4, 5)
        return Reconstruction(
            blank, ("crc_failed",) * len(seeds), block_ok=torch.zeros(len(seeds), dtype=torch.bool)
        )


def test_run_link_sends_again_over_the_same_process():
    """The gains that a link's receiver gets in three transmissions are those of the process, 2.5 ms apart."""
    operator, scheme = OfdmChannel(tdl(), **GRID), _Repeats()
    run_link(scheme, operator, torch.zeros(400, 3, 4, 5), torch.full((400,), 20.0), range(400), USES)
    assert len(scheme.seen) == 3
    for attempt in (1, 2):
        wait_s = attempt * (FRAME_S + 2e-3)
        found = correlation(scheme.seen[0][:, :12], scheme.seen[attempt][:, :12])
        assert abs(found - clarke(wait_s)) < 4 / math.sqrt(400)

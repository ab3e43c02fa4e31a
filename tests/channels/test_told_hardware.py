"""What receivers are told of imperfect radios, against what happens: in the mean, in weak and in strong frames."""

from __future__ import annotations

import math

import pytest
import torch

from channels.antennas.transmission import Transmission
from channels.base import ChannelOperator
from channels.equalization import equalize
from channels.flat.awgn import AwgnChannel
from channels.flat.fading import FlatFadingChannel
from channels.flat.hardware import SingleCarrierChannel
from channels.hardware.amplifier import Clipping, RappAmplifier
from channels.hardware.converter import IqImbalance, Quantization
from channels.hardware.impairment import Impairment
from channels.hardware.oscillator import CarrierFrequencyOffset, PhaseNoise
from channels.models.base import ExponentialCovariance
from channels.models.cdl import CdlModel
from channels.models.panel import Panel
from channels.models.tdl import TdlModel
from channels.ofdm.grid import Pilots
from channels.ofdm.link import OfdmChannel
from linksim.coding.mcs import MCS_TABLE_1
from linksim.coding.qam import Qam
from linksim.jscc.layout import SymbolLayout
from tests.contracts.frames import decoded

FRAMES, USES = 100, 768


def qpsk(frames: int, uses: int) -> torch.Tensor:
    signs = torch.randint(0, 2, (2, frames, uses), generator=torch.Generator().manual_seed(5)) * 2.0 - 1
    return torch.complex(signs[0], signs[1]) / 2**0.5


def gaussian(frames: int, uses: int) -> torch.Tensor:
    gen = torch.Generator().manual_seed(3)
    return SymbolLayout.normalize(torch.randn(frames, uses, generator=gen, dtype=torch.complex64))


def off_db(channel: ChannelOperator, x: torch.Tensor, snr_db: float) -> tuple[float, float, float]:
    """By how much the told variance exceeds the actual one [dB]: in all frames, in the weakest and in the strongest
    tenth of them."""
    received = channel(x, torch.full((len(x),), snr_db), range(len(x)))
    error = (received.y - received.csi.h * x).abs().square().mean(1)
    told = (received.csi.no + received.csi.err_var).expand(x.shape).mean(1)
    order = received.csi.h.abs().square().mean(1).argsort()
    tenth = len(x) // 10
    parts = order, order[:tenth], order[-tenth:]
    return tuple(10 * math.log10(told[part].mean() / error[part].mean()) for part in parts)


HARDWARE: dict[str, Impairment] = {
    "clipping": Clipping(3.0),
    "amplifier": RappAmplifier(3.0),
    "mixer-tx": IqImbalance(1.0, 5.0, "transmitter"),
    "mixer-rx": IqImbalance(1.0, 5.0),
    "converter": Quantization(4),
    "oscillator": PhaseNoise(2e4, loop_bandwidth_hz=1e6),
    "slow-oscillator": PhaseNoise(50.0),
    "offset": CarrierFrequencyOffset(200.0),
}
_PAIR = {"num_rx_antennas": 2, "num_tx_antennas": 2}
_LAYERS, _COMB = Transmission("multiplexing"), Pilots(comb=2)
ANTENNAS: dict[str, tuple[dict, dict, int]] = {
    "1x1": ({}, {}, 1),
    "1x4": ({"num_rx_antennas": 4}, {}, 1),
    "2x2": (_PAIR, {"transmission": _LAYERS, "pilots": _COMB}, 2),
    "alamouti": (_PAIR, {"transmission": Transmission("alamouti"), "pilots": _COMB}, 1),
    "svd-4x4": ({"num_rx_antennas": 4, "num_tx_antennas": 4}, {"transmission": Transmission("svd", 1)}, 1),
}


@pytest.mark.parametrize("csi", ["perfect", "ls", "lmmse"])
@pytest.mark.parametrize("antennas", ANTENNAS)
@pytest.mark.parametrize("fault", HARDWARE)
def test_distortion_over_ofdm_is_told_right(fault, antennas, csi):
    """100 slots over TDL-A at 40 dB, where distortion and what it makes of the estimate decide: told within 1 dB
    of what happens (slots are independent: the spread of their mean is a tenth or so of it, that of slow phase
    noise a fifth), in the weakest and the strongest tenth within 2. Before, phase noise with four antennas was
    told 6 dB too little, mixers and converters 13 dB too much in weak frames and 5 too little in strong ones."""
    spatial, arguments, streams = ANTENNAS[antennas]
    model = TdlModel("A", delay_spread_s=30e-9, carrier_hz=3.5e9, **spatial)
    channel = OfdmChannel(model, csi=csi, impairments=[HARDWARE[fault]], **arguments)
    mean, weak, strong = off_db(channel, qpsk(FRAMES, USES * streams), 40.0)
    assert abs(mean) < 1.0
    assert max(abs(weak), abs(strong)) < 2.0


@pytest.mark.parametrize("inner", ["awgn", "rayleigh", "rayleigh-ls"])
@pytest.mark.parametrize("fault", ["clipping", "amplifier", "mixer-tx", "mixer-rx", "converter"])
def test_distortion_without_a_grid_is_told_right(fault, inner):
    """100 x 768 Gaussian symbols at 40 dB, one fade per frame: told within .5 dB in the mean and 1 dB in the weakest
    and the strongest tenth. A constant variance would be off by the fade, 10 dB and more in the weakest tenth."""
    pilots = {"csi": "ls", "pilots_per_block": 4} if inner == "rayleigh-ls" else {}
    below = AwgnChannel() if inner == "awgn" else FlatFadingChannel(**pilots)
    channel = SingleCarrierChannel(below, [HARDWARE[fault]], symbol_rate_hz=1e6)
    mean, weak, strong = off_db(channel, gaussian(FRAMES, USES), 40.0)
    assert abs(mean) < 0.5
    assert max(abs(weak), abs(strong)) < 1.0


@pytest.mark.parametrize(
    "fault",
    [CarrierFrequencyOffset(100.0), CarrierFrequencyOffset(200.0, uniform=True), PhaseNoise(20.0),
     PhaseNoise(200.0, loop_bandwidth_hz=1e4)],
    ids=str,
)  # fmt: skip
def test_rotations_without_a_grid_are_told_use_by_use(fault):
    """400 frames of 768 uses at 60 dB: what is told at each of eight stretches of a frame follows what happens (frames
    are independent, an error |e^jφ - 1|² has about its mean as deviation: 5/sqrt(400) = 25%), and grows over the
    frame unless a loop holds it."""
    channel = SingleCarrierChannel(AwgnChannel(), [fault], symbol_rate_hz=1e6)
    x = gaussian(400, USES)
    received = channel(x, torch.full((400,), 60.0), range(400))
    error = (received.y - received.csi.h * x).abs().square().mean(0).view(8, -1).mean(1)
    told = (received.csi.no + received.csi.err_var).expand(x.shape).mean(0).view(8, -1).mean(1)
    assert torch.allclose(error, told, rtol=0.25)
    held = isinstance(fault, PhaseNoise) and fault.loop_bandwidth_hz is not None
    assert (float(told[-1] / told[0]) > 5) is not held


def error_rate(
    channel: ChannelOperator, index: int, snr_db: float, streams: int = 1, frames: int = 60
) -> float:
    return float(
        1 - decoded(channel, MCS_TABLE_1[index], USES * streams, snr_db, range(frames))[0].float().mean()
    )


def test_perfect_knowledge_holds_the_gain_of_the_hardware():
    """64QAM behind a limiter of 0 dB at 30 dB, 60 frames: a receiver that knows the gain of the channel and not the .77
    that the limiter leaves of it takes every corner of the constellation for an inner point."""
    model = TdlModel("A", delay_spread_s=30e-9, carrier_hz=3.5e9)
    known, estimated = (
        error_rate(OfdmChannel(model, csi=csi, impairments=[Clipping(0.0)]), 20, 30.0)
        for csi in ("perfect", "ls")
    )
    assert known < 0.2
    assert known < estimated
    assert OfdmChannel(model, csi="perfect", impairments=[Clipping(0.0)]).hardware.gain.real == pytest.approx(
        0.771, rel=0.02
    )


@pytest.mark.parametrize("fault", [CarrierFrequencyOffset(200.0), PhaseNoise(50.0)], ids=str)
def test_perfect_knowledge_holds_how_oscillators_turn_the_gain(fault):
    """At 40 dB over TDL-A, 20 slots: the gain of the channel alone leaves more than -13 dB of error, mostly phase."""
    model = TdlModel("A", delay_spread_s=30e-9, carrier_hz=3.5e9)
    channel = OfdmChannel(model, csi="perfect", impairments=[fault])
    x = qpsk(20, USES)
    draw = channel.draw(USES, range(20))
    received = channel(x, torch.full((20,), 40.0), range(20), draw)
    blind = draw.h[:, 0, 0, 0].flatten(1)[:, channel.grid.data]
    known, unknown = ((received.y - h * x).abs().square().mean() for h in (received.csi.h, blind))
    assert float(known) < 0.02
    assert float(unknown) > 0.05


@pytest.mark.parametrize("csi", ["ls", "lmmse"])
def test_a_line_of_sight_that_ages_does_not_drown_the_other_directions(csi):
    """Four streams from four to eight antennas over CDL-D at 20 m/s with pilots in one symbol of 14, 64QAM at 40 dB,
    24 frames: the error of the estimates comes from where the line of sight does. Counted as equal from everywhere
    it lost nearly every frame; assumed away (a receiver at rest) more than half of them."""
    model = CdlModel(
        "D",
        delay_spread_s=100e-9,
        carrier_hz=3.5e9,
        speed_mps=20.0,
        transmitter=Panel(columns=4),
        receiver=Panel(columns=8),
    )
    at_rest = ExponentialCovariance(delay_spread_s=100e-9, carrier_hz=3.5e9)
    arguments = {"csi": csi, "transmission": Transmission("multiplexing"), "pilots": Pilots((2,), 4)}
    ours, resting = (
        error_rate(OfdmChannel(model, assumed=assumed, **arguments), 17, 40.0, 4, 24)
        for assumed in (None, at_rest)
    )
    assert ours < 0.2
    assert resting > ours + 0.2


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 5.0])
def test_received_snr_with_least_squares_is_what_a_receiver_can_use(snr_db):
    """Flat Rayleigh fading, one pilot of the power of data, N = 4000 frames: with e = no/(1 + no), the variance of the
    gain given the pilot, gamma is exponential with mean (1 - e)/(no + e): 5/sqrt(N). The estimate over its error said
    10 dB more at -5 dB, 2 dB more at 5 dB."""
    no = 10 ** (-snr_db / 10)
    x, channel = qpsk(4000, 8), FlatFadingChannel(csi="ls", pilots_per_block=1)
    received = channel(x, torch.full((4000,), snr_db), range(4000))
    error = no / (1 + no)
    assert float(received.csi.gamma[:, 0].mean()) == pytest.approx(
        (1 - error) / (no + error), rel=5 / 4000**0.5
    )
    x_hat, no_eff = equalize(received, "lmmse")
    assert float((x_hat - x).abs().square().mean() / no_eff.mean()) == pytest.approx(1, rel=5 / 4000**0.5)


def test_soft_bits_with_least_squares_are_as_sure_as_they_are_right():
    """QPSK at 0 dB in blocks of 4 with one pilot: 100 x 2000 bits in classes of confidence, of which those of a block
    count as one: bits are wrong as often as their LLRs say, 5 sigma of N/8. The unscaled estimate was too sure."""
    channel = FlatFadingChannel(coherence_symbols=4, csi="ls", pilots_per_block=1)
    qam = Qam(2)
    bits = (
        torch.randint(0, 2, (100, 2000), generator=torch.Generator().manual_seed(1)).numpy().astype("uint8")
    )
    received = channel(qam.modulate(bits), torch.zeros(100), range(100))
    llr = torch.from_numpy(qam.demodulate(*equalize(received, "zf")))
    wrong = (llr < 0) != torch.from_numpy(bits).bool()
    for low, high in ((0.0, 0.5), (0.5, 1.0), (1.0, 2.0), (2.0, 4.0)):
        chosen = (llr.abs() >= low) & (llr.abs() < high)
        said, count = float(torch.sigmoid(-llr[chosen].abs()).mean()), int(chosen.sum())
        assert abs(float(wrong[chosen].float().mean()) - said) < 5 * (said * (1 - said) / (count / 8)) ** 0.5

"""What the ends are told of the SNR: its offset, a fixed value, an error; the SNR of a frame and its age."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
import torch
from scipy.special import j0

from channels.flat.awgn import AwgnChannel
from channels.flat.fading import FlatFadingChannel
from channels.models.tdl import TdlModel
from channels.ofdm.link import OfdmChannel
from channels.types import Csit
from linksim.cli.commands import main
from linksim.link import Told, ToldEnd, run_link
from linksim.schemes.base import Frame, Reconstruction
from tests.contracts.schemes import ANALOG, BUDGET, DIGITAL, SIDE, UNCODED
from tests.linksim.tiny import TINY, write

SEEDS = [5, 6, 7]


class Spy:
    """A scheme that remembers what its ends are told."""

    name = "spy"

    def __init__(self, csit: str = "average_snr") -> None:
        self.csit = csit
        self.told: Csit | None = None
        self.received = None

    def check(self, height, width, budget):
        pass

    def transmit(self, image, budget, csit):
        self.told = csit
        return Frame(torch.ones(len(image), budget, dtype=torch.complex64), None)

    def receive(self, received, layout, seeds):
        self.received = received
        return Reconstruction(torch.zeros(len(seeds), 3, 8, 8), ("ok",) * len(seeds))


def _listen(told: Told, csit: str = "average_snr", channel=None, snr_db: float = 10.0, seeds=SEEDS) -> Spy:
    spy, count = Spy(csit), len(seeds)
    image = torch.zeros(count, 3, 8, 8)
    run_link(spy, channel or AwgnChannel(), image, torch.full((count,), snr_db), seeds, 96, told)
    return spy


def test_ends_are_told_an_offset_or_a_fixed_value_and_the_channel_stays():
    """By default the truth; what one end is told is not told to the other, and no noise changes."""
    plain = _listen(Told())
    assert plain.told.snr_db.tolist() == [10.0] * 3
    wrong = _listen(Told(ToldEnd(offset_db=3.0), ToldEnd(offset_db=-2.0)))
    assert wrong.told.snr_db.tolist() == [13.0] * 3
    assert torch.equal(wrong.received.y, plain.received.y)
    assert torch.allclose(wrong.received.csi.no, plain.received.csi.no * 10**0.2)
    fixed = _listen(Told(ToldEnd(fixed_db=7.0), ToldEnd(fixed_db=0.0)))
    assert fixed.told.snr_db.tolist() == [7.0] * 3
    assert torch.allclose(fixed.received.csi.no, torch.ones(3, 1))
    assert torch.equal(fixed.received.y, plain.received.y)


def test_errors_are_gaussian_in_db_of_their_own_at_each_end_and_the_same_at_every_snr():
    """2,000 frames, 2 dB: mean within 4 sigma of 0 (0.18 dB), deviation within 4 sigma (6.4%), ends uncorrelated
    within 4 sigma (0.09); an image alone is told what it is told in a batch."""
    seeds = list(range(2000))
    told = Told(ToldEnd(error_db=2.0), ToldEnd(error_db=2.0))
    spy = _listen(told, seeds=seeds)
    sent = spy.told.snr_db.numpy() - 10.0
    heard = -10 * np.log10(spy.received.csi.no[:, 0].numpy()) - 10.0
    for errors in (sent, heard):
        assert abs(errors.mean()) < 4 * 2.0 / math.sqrt(2000)
        assert abs(errors.std() / 2.0 - 1) < 4 / math.sqrt(2 * 2000)
    assert abs(np.corrcoef(sent, heard)[0, 1]) < 4 / math.sqrt(2000)
    again = _listen(told, snr_db=-3.0, seeds=seeds[7:9])
    np.testing.assert_allclose(again.told.snr_db.numpy() + 3.0, sent[7:9], atol=1e-5)


@pytest.mark.parametrize("name", [*ANALOG, *DIGITAL])
def test_receivers_of_every_scheme_are_told(name):
    """16 dB too little: the noise variance that they are given is 16 dB larger, and analog ones show other
    pictures (Swin's tiny random weights are too small for that)."""
    scheme = {**ANALOG, **DIGITAL}[name]()
    image = torch.rand(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    channel = FlatFadingChannel() if scheme.csit == "perfect" else AwgnChannel()
    seen = []

    class Listening:
        name, csit = scheme.name, scheme.csit
        check, transmit = scheme.check, scheme.transmit

        def receive(self, received, layout, seeds):
            seen.append(received.csi.no)
            return scheme.receive(received, layout, seeds)

    shown = []
    for offset_db in (0.0, -16.0):
        told = Told(receiver=ToldEnd(offset_db=offset_db))
        with torch.no_grad():
            out = run_link(Listening(), channel, image, torch.full((3,), 10.0), SEEDS, BUDGET, told)
        shown.append(out.reconstruction.image)
    assert torch.allclose(seen[1], seen[0] * 10**1.6, rtol=1e-4)
    if name in ANALOG and name != "swin":
        assert not torch.equal(*shown)


def test_uncoded_receivers_decide_without_any_snr():
    scheme = next(iter(UNCODED.values()))()
    image = torch.rand(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    shown = [
        run_link(
            scheme,
            AwgnChannel(),
            image,
            torch.full((3,), 5.0),
            SEEDS,
            BUDGET,
            Told(receiver=ToldEnd(offset_db=v)),
        ).reconstruction.image
        for v in (0.0, 9.0)
    ]
    assert torch.equal(*shown)


def test_instantaneous_snr_is_that_of_the_frame_with_its_fade():
    """400 fades, one per frame: told is snr_db + 10 log10 |h|²; the average is snr_db for all."""
    channel, seeds = FlatFadingChannel(), list(range(400))
    spy = _listen(Told(), "instantaneous_snr", channel, seeds=seeds)
    power = channel.gain(channel.draw(96, seeds), torch.ones(400, 1)).abs().square()[:, 0]
    torch.testing.assert_close(spy.told.snr_db, 10 + 10 * torch.log10(power), rtol=0, atol=1e-3)
    assert float(spy.told.snr_db.std()) > 4.0
    assert set(_listen(Told(), "average_snr", channel, seeds=seeds).told.snr_db.tolist()) == {10.0}
    assert _listen(Told(), "none", channel, seeds=seeds).told is None


@pytest.mark.parametrize("delay_slots", [0, 4, 40])
def test_report_ages_as_the_channel_moves(delay_slots):
    """Flat Rayleigh fading at 10 m/s and 3.5 GHz, frames of one slot (1 ms): told and true power are correlated by
    J0(2 pi f d)² over the delay d; 600 draws, five standard deviations (1 - rho²)/sqrt(600), and what the mean over
    a slot and twenty sinusoids leave open (0.05)."""
    speed, carrier = 10.0, 3.5e9
    model = TdlModel("A", delay_spread_s=0.0, carrier_hz=carrier, speed_mps=speed)
    channel = OfdmChannel(model, num_subcarriers=4, csi="perfect", report_delay_slots=delay_slots)
    draw = channel.draw(40, range(600))
    told_db = channel.instantaneous_snr_db(draw, torch.zeros(600, dtype=torch.float64))
    told = 10 ** (told_db.numpy() / 10)
    true = draw.h.abs().square().flatten(1).mean(1).double().numpy()
    slot_s = 14 * 1.0703 / 15e3
    expected = j0(2 * np.pi * speed * carrier / 299792458.0 * delay_slots * slot_s) ** 2
    found = np.corrcoef(told, true)[0, 1]
    if delay_slots == 0:
        np.testing.assert_allclose(told, true, rtol=1e-5)
    assert abs(found - expected) < 5 * (1 - expected**2) / math.sqrt(600) + 0.05
    assert abs(told.mean() - 1) < 5 * told.std() / math.sqrt(600)


def test_mismatch_can_be_swept_for_every_scheme_of_a_scenario(tmp_path):
    """The field is one of the channel: linear code, BPG + LDPC and the bound in one figure over the offset. The
    linear code is best where it is told the truth; the bound is not told, the digital payload does not move."""
    begin, end = TINY.index("channels:"), TINY.index("sweep:")
    text = TINY[:begin] + "channel: {kind: awgn}\n" + TINY[end:]
    text = text.replace(
        "snr_db: [2, 14], trials: 2", "snr_db: [8], channel.told.receiver.offset_db: [-9.0, 0.0, 9.0]"
    )
    out = tmp_path / "run"
    assert main(["simulate", write(tmp_path, text), "--out", str(out), "--no-report"]) == 0
    rows = list(csv.DictReader((out / "results.csv").open()))
    psnr = {
        (r["scheme"], float(r["channel.told.receiver.offset_db"])): float(r["mean"])
        for r in rows
        if r["metric"] == "psnr"
    }
    assert psnr["linear", 0.0] > max(psnr["linear", -9.0], psnr["linear", 9.0]) + 0.1
    assert psnr["bound", 0.0] == psnr["bound", -9.0] == psnr["bound", 9.0]


@pytest.mark.parametrize("value", ["frame", "ensemble"])
def test_old_name_of_the_report_says_where_it_went(value, tmp_path, capsys):
    begin, end = TINY.index("channels:"), TINY.index("sweep:")
    channel = "{kind: ofdm, model: {kind: tdl, profile: A30}, told_snr: " + value + "}"
    text = TINY[:begin] + f"channel: {channel}\n" + TINY[end:]
    assert main(["check", write(tmp_path, text)]) == 2
    message = capsys.readouterr().err
    assert f"told_snr: got {value}, expected nothing" in message
    assert "instantaneous_snr" in message

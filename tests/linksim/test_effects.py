"""What has no effect is refused, and what is accepted has one."""

from __future__ import annotations

import pytest
import torch

from channels.types import Csit
from linksim.cli.commands import main
from tests.contracts.schemes import ANALOG, BUDGET, SIDE
from tests.linksim.tiny import TINY, write

AWGN = "{kind: awgn}"
SLOW = "{kind: rayleigh}"
GRID = "num_subcarriers: 32, num_ofdm_symbols: 6, csi: {kind: ls, pilot_symbols: [1, 4]}"
MOVING = f"{{kind: ofdm, model: {{kind: tdl, profile: A, delay_spread_s: 30.0e-9, speed_mps: 3.0}}, {GRID}}}"
LINEAR = "{kind: linear_analog, name: a}"
FIXED = "{kind: separation, name: a, mcs: 6}"


def _text(channel: str, scheme: str, sweep: str = "") -> str:
    begin, end = TINY.index("channels:"), TINY.index("metrics:")
    sweep = f", {sweep}" if sweep else ""
    return (
        TINY[:begin]
        + f"channel: {channel}\nsweep: {{snr_db: [2, 14]{sweep}}}\nschemes: [{scheme}]\n"
        + TINY[end:].replace("ssim, ber, bler", "ssim")
    )


def _with(block: str, extra: str) -> str:
    return f"{block[:-1]}, {extra}}}"


@pytest.mark.parametrize(
    ("channel", "scheme", "field"),
    [
        (AWGN, _with(LINEAR, "design_snr_db: 3.0"), "schemes.a.design_snr_db"),
        (AWGN, _with(LINEAR, "interleave: true"), "schemes.a.interleave"),
        (SLOW, _with(LINEAR, "interleave: true"), "schemes.a.interleave"),
        (AWGN, _with(LINEAR, "csit: instantaneous_snr"), "schemes.a.csit"),
        (AWGN, _with(FIXED, "target_bler: 0.01"), "schemes.a.target_bler"),
        (AWGN, "{kind: separation, name: a, target_bler: 0.01}", "schemes.a.target_bler"),
        (AWGN, _with(FIXED, "calibration: table.json"), "schemes.a.calibration"),
        (SLOW, _with(FIXED, "csit: instantaneous_snr"), "schemes.a.csit"),
        (AWGN, _with(FIXED, "harq: {max_transmissions: 1, combining: chase}"), "schemes.a.harq.combining"),
        (AWGN, _with(FIXED, "source: {codec: jpeg, effort: fast}"), "schemes.a.source.effort"),
        (AWGN, _with(FIXED, "source: {resolutions: full, select: ms_ssim}"), "schemes.a.source.select"),
        (SLOW, "{kind: capacity_bound, name: a, outage_probability: 0.2}", "schemes.a.outage_probability"),
        (AWGN, "{kind: capacity_bound, name: a, fading: ergodic}", "schemes.a.fading"),
        (_with(AWGN, "told: {transmitter: {offset_db: 3.0}}"), FIXED, "channels.awgn.told.transmitter.offset_db"),
        (_with(AWGN, "told: {transmitter: {delay_slots: 3}}"), LINEAR, "told.transmitter.delay_slots"),
        (_with(MOVING, "told: {transmitter: {delay_slots: 3}}"), LINEAR, "told.transmitter.delay_slots"),
        (
            _with(AWGN, "told: {receiver: {offset_db: 3.0}}"),
            "{kind: uncoded, name: a, bits_per_symbol: 2}",
            "told.receiver.offset_db",
        ),
        (
            _with(MOVING.replace("kind: ls,", "kind: ls, noise: estimated,"), "told: {receiver: {offset_db: 3.0}}"),
            LINEAR,
            "told.receiver.offset_db",
        ),
        (_with(MOVING, "transmission: {kind: multiplexing}"), LINEAR, "transmission.kind"),
        (_with(MOVING, "transmission: {kind: svd, streams: 1}"), LINEAR, "transmission.kind"),
        (MOVING.replace("kind: ls,", "kind: perfect, boost_db: 3.0,"), LINEAR, "csi.boost_db"),
    ],
)  # fmt: skip
def test_what_has_no_effect_is_refused(channel, scheme, field, tmp_path, capsys):
    assert main(["check", write(tmp_path, _text(channel, scheme))]) == 2
    message = capsys.readouterr().err
    assert f"{field}: has no effect, got" in message
    assert "expected none" in message


@pytest.mark.parametrize(
    ("channel", "scheme", "sweep"),
    [
        (AWGN, _with(LINEAR, "csit: none, design_snr_db: 3.0"), ""),
        (MOVING, _with(LINEAR, "interleave: true"), ""),
        ("{kind: rayleigh, coherence_symbols: 64}", _with(LINEAR, "interleave: true"), ""),
        (SLOW, _with(LINEAR, "csit: instantaneous_snr"), ""),
        (AWGN, "{kind: separation, name: a, policy: target_bler, target_bler: 0.01}", ""),
        (AWGN, _with(FIXED, "harq: {max_transmissions: 1, combining: chase}"), "schemes.a.harq.max_transmissions: [1, 2]"),
        (_with(AWGN, "told: {transmitter: {offset_db: 3.0}}"), LINEAR, ""),
        (_with(MOVING, "told: {transmitter: {delay_slots: 3}}"), _with(LINEAR, "csit: instantaneous_snr"), ""),
        (_with(AWGN, "told: {receiver: {offset_db: 3.0}}"), FIXED, ""),
        (_with(MOVING, "transmission: {kind: multiplexing}").replace("profile: A", "profile: A, rx_antennas: 2"), LINEAR,
         "channel.model.tx_antennas: [1, 2]"),
    ],
)  # fmt: skip
def test_what_has_an_effect_somewhere_is_not(channel, scheme, sweep, tmp_path, capsys):
    assert main(["check", write(tmp_path, _text(channel, scheme, sweep))]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("name", ANALOG)
def test_only_codecs_that_say_so_make_something_of_the_gain(name):
    """Symbols for two gains of one SNR: others of a codec with csi "snr_h", the same of every other. That is what
    makes csit: perfect an error of the latter."""
    codec = ANALOG[name]().codec
    image = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    layout = codec.layout(SIDE, SIDE, BUDGET)
    snr_db = torch.full((2,), 10.0)
    gains = (1.0 + 0.0j, 0.3 - 0.4j)
    with torch.no_grad():
        sent = [codec.encode(image, layout, Csit(snr_db, torch.full((2, BUDGET), g))) for g in gains]
    uses_gain = getattr(getattr(codec, "config", None), "csi", "snr") == "snr_h"
    assert torch.equal(*sent) != uses_gain


def test_perfect_csit_of_the_bundled_network_is_refused(tmp_path, capsys):
    scheme = "{kind: jscc, name: a, checkpoint: lean-awgn-1-96, csit: perfect}"
    text = _text(SLOW, scheme).replace("crop: 64", "crop: 192").replace("1/12", "1/96")
    assert main(["check", write(tmp_path, text)]) == 2
    assert "schemes.a.csit: has no effect: the encoder of lean-awgn-1-96" in capsys.readouterr().err


def test_path_loss_under_the_average_is_warned_of(tmp_path, caplog):
    """Told the mean over places 60 dB apart, a transmitter knows nothing of its own; in the log, not an error."""
    cell = (
        "{kind: ofdm, model: {kind: umi, path_loss: true}, link_budget: {transmit_power_dbm: 20}, "
        + GRID
        + "}"
    )
    text = _text(cell, LINEAR).replace("sweep: {snr_db: [2, 14]}", "sweep: {trials: 1}")
    assert main(["check", write(tmp_path, text)]) == 0
    assert "csit: instantaneous_snr" in caplog.text
    caplog.clear()
    assert (
        main(["check", write(tmp_path, text.replace("name: a}", "name: a, csit: instantaneous_snr}"))]) == 0
    )
    assert "instantaneous" not in caplog.text

"""Channels in scenario files: built as written, refused with one clear message, named the same for ever."""

from __future__ import annotations

import csv
import itertools
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from channels.equalization import equalize
from channels.flat.interleaving import InterleavedChannel
from channels.models.recording import Recording, save_recorded
from channels.ofdm.grid import dmrs_symbols
from channels.ofdm.link import OfdmChannel
from channels.ofdm.time import TimeDomainOfdmChannel
from linksim.build.channels import build_channel, calibration_key, load_calibration, sent_over
from linksim.build.objects import sampled_sinrs
from linksim.cli.commands import main
from linksim.coding.calibration import CalibrationError
from linksim.coding.mcs import MCS_TABLE_1
from linksim.coding.qam import Qam
from linksim.coding.transport import TransportBlock
from linksim.kinds.union import descriptions
from linksim.report.figures import curves
from linksim.report.runs import default_x, load_rows
from linksim.results.store import ResultStore
from linksim.scenario.files import load_scenario, scenario_dir
from linksim.scenario.schema import ChannelBase, OfdmCsiSpec, OfdmSpec, SeparationSpec, TdlSpec
from linksim.schemes.bound import BoundRate
from linksim.weights import zoo
from tests.linksim.tiny import TINY, write

CPU = torch.device("cpu")
MODEL = "{kind: tdl, profile: A, delay_spread_s: 30.0e-9}"
GRID = "num_subcarriers: 32, num_ofdm_symbols: 6, csi: {kind: ls, pilot_symbols: [1, 4]}"


RAYS = "{kind: raytraced, scene: munich, transmitter: [8.5, 21, 27], receivers: RX}"


def _scenario(channel: str) -> str:
    old = TINY[TINY.index("channels:") : TINY.index("sweep:")]
    return TINY.replace(old, f"channel: {channel}\n")


def _ofdm(model: str = MODEL, extra: str = "", grid: str = GRID) -> str:
    return f"{{kind: ofdm, model: {model}, {grid}{', ' + extra if extra else ''}}}"


@pytest.mark.parametrize(
    ("channel", "expect"),
    [
        (_ofdm("{kind: tdk, profile: A}"), ("channel.model", "got 'tdk'", "cdl")),
        (_ofdm("{kind: cdl, profile: F, delay_spread_s: 1.0e-7}"), ("profile", "'F'")),
        (_ofdm("{kind: umi, indoor_share: 1.5}"), ("indoor_share", "1.5")),
        (_ofdm("{kind: inh, indoor_share: 0.5}"), ("indoor_share", "1 for inh")),
        (_ofdm("{kind: recorded, path: nothing.npz}"), ("nothing.npz",)),
        (_ofdm("{kind: raytraced, scene: atlantis, transmitter: [0, 0, 9], receivers: [[1, 1, 1]]}"), ("atlantis", "munich")),
        (_ofdm(extra="transmission: {kind: alamouti}"), ("Transmission: alamouti", "1 transmit antennas", "2")),
        (_ofdm(extra="transmission: {kind: svd}"), ("streams: got None with svd",)),
        (_ofdm(extra="transmission: {kind: svd, streams: 2}"), ("2 streams from 1 to 1 antennas", "at most 1")),
        (_ofdm(extra="impairments: [{kind: fog}]"), ("impairments.0", "got 'fog'", "clipping")),
        (_ofdm(extra="impairments: [{kind: quantization, bits: 0}]"), ("bits", "got 0")),
        (
            _ofdm(extra="impairments: [{kind: interferer, sir_db: 0.0, frequency_hz: 1.0e8}]"),
            ("channels.ofdm-tdla-ls", "frequency_hz: out of range", "100000000.0 Hz"),
        ),
        (_ofdm(grid="csi: {kind: ls, dmrs: {additional_positions: 1}, comb: 4}"), ("comb: got 4 with dmrs",)),
        (_ofdm(grid="csi: {kind: ls, dmrs: {additional_positions: 0}, pilot_symbols: [3]}"), ("pilot_symbols: got [3] with dmrs",)),
        (_ofdm(grid="csi: {kind: ls, pilot_symbols: null}"), ("pilot_symbols: got none",)),
        (_ofdm(grid="csi: {kind: ls, dmrs: {ports: [0, 4]}}"), ("csi.dmrs.ports", "got 4")),
        (_ofdm(grid="csi: {kind: ls, dmrs: {ports: [0, 0]}}"), ("ports: got [0, 0], expected a different one",)),
        (_ofdm(grid="csi: {kind: ls, dmrs: {ports: []}}"), ("ports: got [], expected a different one",)),
        (_ofdm(grid="csi: {kind: ls, dmrs: {ports: [0, 1]}}"), ("ports: wrong number, got [0, 1] for 1 streams",)),
        (_ofdm(grid="csi: {kind: lmmse, assumed: sturdy}"), ("csi.assumed", "robust")),
        (_ofdm(grid="csi: {kind: perfect, assumed: robust}"), ("csi.assumed: has no effect",)),
        (
            _ofdm("{kind: tdl, profile: A, delay_spread_s: 0.0, rx_antennas: 2, tx_antennas: 2}",
                  "transmission: {kind: multiplexing}", "csi: {kind: ls, comb: 1}"),
            ("comb: too narrow, got 1, expected at least 2",),
        ),
        (
            _ofdm("{kind: tdl, profile: A, delay_spread_s: 0.0, tx_antennas: 2}",
                  "transmission: {kind: svd, streams: 1, precoding: {subband: 4}}"),
            ("transmission.precoding.subband: got 4 with csi ls",),
        ),
        (
            _ofdm(extra="link_budget: {transmit_power_dbm: 20}"),
            ("link_budget.path_loss_db: missing", "tdl has none"),
        ),
        (
            _ofdm("{kind: umi, path_loss: true}", "link_budget: {transmit_power_dbm: 20, path_loss_db: 90}"),
            ("link_budget.path_loss_db: got 90 dB", "umi has its own"),
        ),
        (
            _ofdm("{kind: umi}", "link_budget: {transmit_power_dbm: 20}"),
            ("model.path_loss: got false with a link_budget, expected true",),
        ),
        (
            _ofdm("{kind: recorded, path: street-canyon, normalize: each}", "link_budget: {transmit_power_dbm: 20}"),
            ("model.normalize: got each with a link_budget, expected ensemble",),
        ),
        (
            _ofdm(extra="link_budget: {transmit_power_dbm: 20, path_loss_db: 90}"),
            ("sweep.snr_db: got values with a link_budget", "transmit_power_dbm instead"),
        ),
        (_ofdm("{kind: umi, indor_share: 1}"), ("channel.model.indor_share: unknown key", "Did you mean indoor_share?")),
        (
            _ofdm("{kind: umi, receiver: {pattern: 38.901}}"),
            ('channel.model.receiver.pattern: not a text, got the number 38.901', 'Write it in quotes: "38.901"'),
        ),
        (_ofdm(RAYS.replace("RX", "[[45.5, 90.5]]")), ("channel.model.receivers.0.2: missing",)),
        (_ofdm(RAYS.replace("RX", "{from: [1, 2, 3]}")), ("channel.model.receivers.from: unknown key", "waypoints: missing")),
        (_ofdm(RAYS.replace("RX", "7")), ("channel.model.receivers: not a list, got 7", "[[x, y, z]]")),
        (_ofdm(RAYS.replace("RX", "[10, 0, 1.5]")), ("receivers.0: not a list, got 10", "[[x, y, z]]")),
        (_ofdm(extra="guard_subcarriers: 5"), ("guard_subcarriers: not a list, got 5", "Write [lower, upper]")),
        (_ofdm(extra="impairments: null"), ("impairments: not a list, got None", "Write [], or leave it out")),
        (_ofdm("tdl"), ("channel.model: not a block, got 'tdl'",)),
        (_ofdm(grid="csi: {kind: ls, dmrs: {}}, num_ofdm_symbols: 7"), ("csi.dmrs: got [2, 11], expected different indices",)),
        (_ofdm(grid="csi: {kind: ls}, num_ofdm_symbols: 7"), ("csi.pilot_symbols: got [2, 11] (the usual ones)",)),
        (
            _ofdm("{kind: tdl, profile: A, delay_spread_s: 0.0, rx_antennas: 2, tx_antennas: 2}",
                  "transmission: {kind: multiplexing}", "num_subcarriers: 4, guard_subcarriers: [1, 2], csi: {kind: ls}"),
            ("comb: too wide, got 2, expected at most 1",),
        ),
        (
            _ofdm("{kind: tdl, profile: A, delay_spread_s: 0.0, tx_antennas: 2}",
                  "transmission: {kind: svd, streams: 1, precoding: {delay_slots: 2}}"),
            ("transmission.precoding.delay_slots: has no effect, got 2",),
        ),
        (
            _ofdm(RAYS.replace("RX", "[[45.5, 90.5, 1.25]], speed_mps: 3")),
            ("channel.model.speed_mps: got 3 m/s with receivers at positions", "receivers on a route"),
        ),
        (_ofdm(grid="num_ofdm_symbols: 1"), ("channel.num_ofdm_symbols", "got 1", "expected a value >= 2")),
        (_ofdm(grid="num_subcarriers: 32, csi: {kind: ls, comb: 64}"), ("csi.comb: got 64, expected at most num_subcarriers = 32",)),
        (_ofdm(grid="csi: {kind: lmmse, interpolation: nearest}"), ("csi.interpolation: has no effect, got nearest",)),
        (_ofdm(grid="csi: {kind: perfect, assumed: {delay_spread_s: 1.0e-7}}"), ("csi.assumed: has no effect",)),
        (_ofdm(extra="transmission: {precoding: {delay_slots: 1}}"), ("transmission.precoding: has no effect",)),
        (
            _ofdm("{kind: tdl, profile: A, delay_spread_s: 0.0, rx_antennas: 2, tx_antennas: 2}",
                  "transmission: {kind: svd, streams: 2, precoding: {bits: 6}}"),
            ("transmission.precoding.bits: has no effect, got 6, expected none",),
        ),
        (
            _ofdm("{kind: tdl, profile: A, delay_spread_s: 0.0, rx_correlation: 0.5}"),
            ("channels.ofdm-tdla-ls.model.rx_correlation: has no effect, got 0.5",),
        ),
        ("{kind: awgn, symbol_rate_hz: 2.0e+6}", ("channels.awgn.symbol_rate_hz: has no effect, got 2e+06",)),
        (
            "{kind: rayleigh, csi: {kind: ls, pilots_per_block: 1}, impairments: [{kind: cfo, offset_hz: 1.0}]}",
            ("impairments: not supported", "CarrierFrequencyOffset", "an ofdm channel"),
        ),
    ],
)  # fmt: skip
def test_wrong_channel_is_refused_with_field_value_and_cure(channel, expect, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["simulate", write(tmp_path, _scenario(channel)), "--out", str(out)]) == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    for text in expect:
        assert text in captured.err, captured.err
    assert not out.exists(), "something was written"


def test_missing_llvm_is_asked_for_and_nothing_crashes(tmp_path, capsys, monkeypatch):
    from channels.raytraced import model as ray_traced
    from channels.raytraced.llvm import LlvmUnavailable

    def none() -> str:
        raise LlvmUnavailable(
            "LLVM: not found, got none, expected libLLVM of version 17 or newer. Install one."
        )

    monkeypatch.setattr(ray_traced, "find_llvm", none)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("LINKSIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rays = "{kind: raytraced, scene: munich, transmitter: [8.5, 21, 27], receivers: [[45.5, 90.5, 1.25]]}"
    assert main(["simulate", write(tmp_path, _scenario(_ofdm(rays))), "--out", str(tmp_path / "run")]) == 2
    message = capsys.readouterr().err
    assert "LLVM: not found" in message
    assert "Install" in message


def test_checking_a_ray_traced_scenario_traces_nothing():
    """No ray tracer is even loaded, so every machine can check the library."""
    code = (
        "import sys; from linksim.cli.commands import main; "
        "code = main(['check', 'munich-route', '--set', 'images={kind: skimage, names: [coffee], crop: 256}']); "
        "sys.exit(code or ('mitsuba' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "pilot" in done.stdout


def test_dmrs_has_the_symbols_and_the_boost_of_nr():
    for positions, symbols in ((0, (2,)), (1, (2, 11)), (2, (2, 7, 11)), (3, (2, 5, 8, 11))):
        csi = OfdmCsiSpec.model_validate({"kind": "ls", "dmrs": {"additional_positions": positions}})
        assert csi.pilot_places == symbols == dmrs_symbols(positions)
        channel = OfdmSpec(kind="ofdm", model=TdlSpec(profile="A30"), csi=csi)
        built = build_channel(channel, CPU)
        assert isinstance(built, OfdmChannel)
        uses = built.uses(100)
        assert uses.pilot == len(symbols) * 32  # every second of 64 subcarriers
        pilots = built.grid.known
        assert float(pilots.abs().square().sum(-1)[0, 2]) == pytest.approx(64, rel=3e-3), (
            "power of a full symbol"
        )


def test_waveform_time_is_the_operator_over_samples():
    channel = OfdmSpec(kind="ofdm", model=TdlSpec(profile="A30"), waveform="time")
    assert isinstance(build_channel(channel, CPU), TimeDomainOfdmChannel)


@pytest.mark.parametrize("kind", [k for k in descriptions("scheme") if k.is_sent])
@pytest.mark.parametrize("text", [_ofdm(), "{kind: awgn}", "{kind: rayleigh, coherence_symbols: 8}"])
def test_every_scheme_that_sends_is_interleaved_alike(kind, text):
    """On a resource grid all, elsewhere none; the scenario's word counts more, for every kind."""
    channel = _channel(text)
    grid = isinstance(channel, OfdmSpec)
    operator = build_channel(channel, CPU)
    for chosen, expected in ((None, grid), (True, True), (False, False)):
        scheme = kind.model_construct(interleave=chosen)
        over = sent_over(scheme, channel, operator)
        assert isinstance(over, InterleavedChannel) == expected
        assert ("interleave" in calibration_key(channel, scheme)) == expected


def test_a_fade_does_not_lose_one_code_block_of_an_interleaved_picture():
    """TDL-C 300 ns at 10 m/s, LS, 16-QAM of rate 0.42 in 12,288 uses (three code blocks) at 12 dB, 40 frames over
    the same fades: in order 20 are lost, interleaved 4. One-sided sign test of the pairs at 1e-3."""
    from channels.models.tdl import TdlModel

    mcs, num_uses, count = MCS_TABLE_1[12], 12288, 40
    block, qam = TransportBlock(num_uses, mcs.bits_per_symbol, mcs.rate), Qam(mcs.bits_per_symbol)
    assert block.num_code_blocks == 3
    model = TdlModel("C", delay_spread_s=300e-9, carrier_hz=3.5e9, speed_mps=10.0)
    in_order = OfdmChannel(model, csi="ls")
    payload = np.random.default_rng(1).integers(0, 2, (count, block.size), dtype=np.uint8)
    x, snr_db, ok = qam.modulate(block.encode(payload)), torch.full((count,), 12.0), []
    for channel in (in_order, InterleavedChannel(in_order)):
        received = channel(x, snr_db, range(count))
        ok.append(block.decode(qam.demodulate(*equalize(received, "zf"))).ok)
    gained, spoiled = int((ok[1] & ~ok[0]).sum()), int((ok[0] & ~ok[1]).sum())
    assert binomtest(gained, gained + spoiled, alternative="greater").pvalue < 1e-3


def _light(text: str) -> str:
    """Without the picture codec."""
    return text.replace("  - {kind: separation, name: bpg, mcs: 6}\n", "").replace(
        "  - {kind: capacity_bound, name: bound}\n", ""
    )


def _channel(text: str) -> ChannelBase:
    import yaml
    from pydantic import TypeAdapter

    from linksim.scenario.schema import ChannelSpec

    return TypeAdapter(ChannelSpec).validate_python(yaml.safe_load(text))


def test_channels_of_the_shipped_table_keep_their_names_when_fields_are_added():
    """The table was written with every field of its time; today's channels of the library are found in it."""
    table = load_calibration(zoo.asset("mcs-calibration.json"))
    raw = json.loads(zoo.asset("mcs-calibration.json").read_text())
    assert len(table.channels) == len(raw["channels"])
    adaptive = SeparationSpec(kind="separation", name="a")
    for name in ("ofdm/ofdm-tdlc-ls", "fading/block-rayleigh", "awgn/awgn-1-96"):
        for channel in load_scenario(name).channels:
            assert table.lengths(calibration_key(channel, adaptive))
    with pytest.raises(CalibrationError):
        table.lengths(
            calibration_key(_channel("{kind: awgn, impairments: [{kind: clipping, papr_db: 3.0}]}"), adaptive)
        )


def test_a_table_with_a_strange_channel_is_refused(tmp_path):
    raw = json.loads(zoo.asset("mcs-calibration.json").read_text())
    raw["channels"] = raw["channels"][:1]
    raw["channels"][0]["channel"] = {"kind": "carrier pigeon"}
    (tmp_path / "table.json").write_text(json.dumps(raw))
    with pytest.raises(CalibrationError, match=r"table\.json: broken"):
        load_calibration(tmp_path / "table.json")


def test_evm_and_papr_are_reported(tmp_path):
    """EVM over AWGN is 100·10^(-SNR/20) within 4% (4 x 1024 symbols of 2 pictures); clipping keeps its target."""
    text = _scenario("{kind: awgn}").replace("metrics: [psnr, ssim, ber, bler]", "metrics: [evm, papr_db]")
    assert main(["simulate", write(tmp_path, _light(text)), "--out", str(tmp_path / "a"), "--no-report"]) == 0
    clipped = _ofdm(extra="impairments: [{kind: clipping, papr_db: 3.0}]")
    text = _scenario(clipped).replace("metrics: [psnr, ssim, ber, bler]", "metrics: [psnr, papr_db]")
    assert main(["simulate", write(tmp_path, _light(text)), "--out", str(tmp_path / "b"), "--no-report"]) == 0
    rows = {}
    for run in "ab":
        with (tmp_path / run / "results.csv").open() as file:
            rows[run] = list(csv.DictReader(file))
    for row in rows["a"]:
        if row["metric"] == "evm":
            expected = 100 * 10 ** (-float(row["snr_db"]) / 20)
            assert float(row["mean"]) == pytest.approx(expected, rel=0.04), row
    papr = [float(row["mean"]) for row in rows["b"] if row["metric"] == "papr_db"]
    # filtering to the band brings some of the peaks back; mean power falls with the clipping
    assert papr
    assert max(papr) < 4.5


def test_bundled_recording_is_found_by_its_name():
    channel = _channel("{kind: ofdm, model: {kind: recorded, path: street-canyon, phases: paths}}")
    built = build_channel(channel, CPU)
    assert built.uses(100).data == 100
    assert (scenario_dir() / "data" / "street-canyon.npz").is_file()


def test_another_carrier_than_that_of_the_recording_is_remarked():
    model = "{kind: recorded, path: street-canyon}"
    with pytest.warns(UserWarning, match=r"made at 3\.5e\+09 Hz, got carrier_hz 2\.8e\+10 Hz"):
        build_channel(_channel(_ofdm(model, "carrier_hz: 28.0e+9")), CPU)


# ---------------------------------------------------------------------------------------------- link budget

BUDGET = "link_budget: {transmit_power_dbm: 0, noise_figure_db: 9, path_loss_db: 120}"


def _powered(channel: str, powers: str) -> str:
    text = _light(_scenario(channel))
    sweep = text[text.index("sweep:") : text.index("\n", text.index("sweep:"))]
    text = text.replace(sweep, f"sweep: {{channel.link_budget.transmit_power_dbm: {powers}, trials: 2}}")
    return text.replace("metrics: [psnr, ssim, ber, bler]", "metrics: [psnr, received_snr_db]")


def test_transmit_power_gives_the_snr(tmp_path):
    """32 subcarriers of 15 kHz: noise -174 + 56.8 + 9 dBm. Rows carry power and SNR, the figure's axis is power."""
    text = _powered(_ofdm(extra=BUDGET), "[10, 20]")
    assert main(["simulate", write(tmp_path, text), "--out", str(tmp_path / "run"), "--no-report"]) == 0
    with (tmp_path / "run" / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    snr = {float(row["channel.link_budget.transmit_power_dbm"]): float(row["snr_db"]) for row in rows}
    expected = -120 + 173.98 - 10 * math.log10(32 * 15e3) - 9
    assert snr == {10.0: pytest.approx(expected + 10, abs=0.02), 20.0: pytest.approx(expected + 20, abs=0.02)}
    header = json.loads((tmp_path / "run" / "run.json").read_text())
    assert default_x(header) == "channel.link_budget.transmit_power_dbm"
    store = ResultStore(tmp_path / "run")
    drawn = curves(load_rows(store), store.metrics()["psnr"], default_x(header))
    assert all(len(line.x) == 2 for line in drawn)
    assert (
        main(["simulate", write(tmp_path, text), "--out", str(tmp_path / "run"), "--no-report"]) == 0
    )  # kept
    received = {
        float(row["snr_db"]): float(row["mean"]) for row in rows if row["metric"] == "received_snr_db"
    }
    low, high = sorted(received)
    # 10 dB less noise, and at most as much again by what the pilots say of the gain
    assert 10 < received[high] - received[low] < 20


def test_table_of_a_cell_is_that_of_the_snr_which_a_scheme_is_told():
    """The SNR of the frame and its age are part of the key, the link budget and wrong values are not."""
    cell = "{kind: umi, path_loss: true, line_of_sight: always, indoor_share: 0.0}"
    told = "told: {transmitter: {delay_slots: 3, offset_db: 2.0}, receiver: {offset_db: 1.0}}"
    far = _channel(_ofdm(cell, f"link_budget: {{transmit_power_dbm: 10}}, {told}"))
    average = SeparationSpec(kind="separation", name="a")
    own = SeparationSpec(kind="separation", name="a", csit="instantaneous_snr")
    key = calibration_key(far, own)
    assert (key["csit"], key["report_delay_slots"]) == ("instantaneous_snr", 3)
    assert set(key) - set(calibration_key(far, average)) == {"csit", "report_delay_slots"}
    assert not {"link_budget", "told", "name"} & set(key)


# ------------------------------------------------------------------------------------- fields that belong together


@pytest.mark.parametrize("positions", [0, 1, 2, 3])
def test_reference_signals_need_no_word_on_pilot_symbols(positions, tmp_path):
    text = _scenario(_ofdm(grid=f"csi: {{kind: ls, dmrs: {{additional_positions: {positions}}}}}"))
    assert main(["check", write(tmp_path, text)]) == 0


def test_positions_of_reference_signals_can_be_swept(tmp_path, capsys):
    text = _scenario(_ofdm(grid="csi: {kind: ls, dmrs: {additional_positions: 1}}"))
    text = text.replace("sweep: {", "sweep: {channel.csi.dmrs.additional_positions: [0, 1, 2, 3], ")
    assert main(["check", write(tmp_path, text)]) == 0
    assert "additional_positions = 3" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------ what a check can tell


def _refused(capsys, *argv: str) -> str:
    assert main(list(argv)) == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return message


def test_a_field_without_effect_is_refused_where_it_is_swept(tmp_path, capsys):
    """One that acts at some of the swept points is not: interpolation with LS, not with LMMSE."""
    street = _scenario(_ofdm("{kind: recorded, path: street-canyon}"))
    swept = street.replace("sweep: {", "sweep: {channel.carrier_hz: [2.0e+9, 5.0e+9], ")
    message = _refused(capsys, "check", write(tmp_path, swept))
    assert "channels.ofdm-recorded-ls.carrier_hz: has no effect, got 2e+09, 5e+09" in message
    text = _scenario(_ofdm(grid="num_subcarriers: 32, csi: {kind: ls, interpolation: nearest}"))
    swept = text.replace("sweep: {", "sweep: {channel.csi.kind: [ls, lmmse], ")
    assert main(["check", write(tmp_path, swept)]) == 0


def test_a_round_trip_time_is_refused_where_no_fade_moves(tmp_path, capsys):
    """Block fading and receivers at rest meet every retransmission alike; a moving one does not."""
    harq = "mcs: 6, harq: {max_transmissions: 2, round_trip_s: 2.0e-3}}"
    for channel in ("{kind: rayleigh}", _ofdm()):
        text = _scenario(channel).replace("mcs: 6}", harq)
        message = _refused(capsys, "check", write(tmp_path, text))
        assert "schemes.bpg.harq.round_trip_s: has no effect, got 0.002" in message
    moving = MODEL.replace("}", ", speed_mps: 3}")
    assert main(["check", write(tmp_path, _scenario(_ofdm(moving)).replace("mcs: 6}", harq))]) == 0
    text = _scenario(_ofdm(moving)).replace("mcs: 6}", harq.replace("2.0e-3", "-1.0"))
    assert "round_trip_s" in _refused(capsys, "check", write(tmp_path, text))


@pytest.mark.parametrize(
    ("path", "expect"),
    [
        ("channel.csi.dmrs.additional_positions: [0, 1]", "no block, got none at channel.csi.dmrs"),
        ("channel.impairments.0.bits: [2, 4]", "no items, got '0' of an empty list"),
    ],
)
def test_sweeping_into_what_is_not_there_says_so(path, expect, tmp_path, capsys):
    text = _scenario(_ofdm()).replace("sweep: {", f"sweep: {{{path}, ")
    message = _refused(capsys, "check", write(tmp_path, text))
    assert expect in message
    assert "into the scenario first" in message


def test_channels_can_be_swept_by_the_name_that_messages_give_them(tmp_path, capsys):
    text = _scenario(_ofdm()).replace(
        "sweep: {", "sweep: {channels.ofdm-tdla-ls.model.speed_mps: [1.0, 2.0], "
    )
    assert main(["check", write(tmp_path, text)]) == 0
    both = text.replace(
        "channels.ofdm.link", "channels.ofdm-tdla-ls.csi.kind: [ls, lmmse], channels.ofdm.link", 1
    )
    assert main(["check", write(tmp_path, both)]) == 0, "the first field changes the label"
    wrong = write(tmp_path, text.replace("tdla-ls.model", "tdlb-ls.model"))
    assert "got 'ofdm-tdlb-ls', expected one of ofdm-tdla-ls" in _refused(capsys, "check", wrong)


def test_switches_can_be_swept_and_drawn(tmp_path):
    text = _light(_scenario(_ofdm("{kind: umi}")))
    text = text.replace("sweep: {", "sweep: {channel.model.shadowing: [true, false], ")
    out = tmp_path / "run"
    assert main(["simulate", write(tmp_path, text), "--out", str(out), "--no-report"]) == 0
    drawn = curves(load_rows(ResultStore(out)), ResultStore(out).metrics()["psnr"], "channel.model.shadowing")
    assert {label for line in drawn for label in line.ticks} == {"true", "false"}
    assert all(len(line.x) == 2 for line in drawn)


@pytest.mark.parametrize("request_", ["", ", fading: outage", ", fading: ergodic"])
def test_bounds_over_rays_are_checked_without_tracing(request_, tmp_path, monkeypatch):
    monkeypatch.setenv("LINKSIM_CACHE", str(tmp_path / "cache"))
    rays = RAYS.replace("RX", "[[45.5, 90.5, 1.25]]")
    text = _scenario(_ofdm(rays)).replace("name: bound", f"name: bound{request_}")
    assert main(["check", write(tmp_path, text)]) == 0
    assert not (tmp_path / "cache" / "raytraced").exists()


def test_wrong_scene_is_named_by_check(tmp_path, capsys):
    rays = RAYS.replace("RX", "[[45.5, 90.5, 1.25]]").replace("munich", "atlantis")
    message = _refused(capsys, "check", write(tmp_path, _scenario(_ofdm(rays))))
    assert "channels.ofdm-raytraced-ls: RayTracing: scene: unknown choice, got 'atlantis'" in message


def test_metrics_of_links_measure_nothing_of_bounds(tmp_path, capsys):
    text = _scenario(_ofdm())
    text = text[: text.index("schemes:")] + "schemes: [{kind: capacity_bound, name: b}]\nmetrics: [evm]\n"
    assert "metrics: nothing to measure, got evm" in _refused(capsys, "check", write(tmp_path, text))


def test_check_prints_the_snr_of_a_link_budget_and_bounds_it(tmp_path, capsys):
    text = _powered(_ofdm(extra=BUDGET), "[20]")
    assert main(["check", write(tmp_path, text)]) == 0
    assert "SNR 8.16 dB" in capsys.readouterr().out  # 20 - 120 + 174 - 56.8 - 9
    message = _refused(capsys, "check", write(tmp_path, text.replace("[20]", "[-100]")))
    assert "link_budget: resulting SNR: out of range, got -111.84 dB" in message
    assert "Change transmit_power_dbm or the path loss" in message
    panel = text.replace("seed: 7", "seed: 7\npanel: {snr_db: [3]}")
    assert "panel.snr_db: got values with a link_budget" in _refused(capsys, "check", write(tmp_path, panel))


FOREIGN_CHANNELS = [
    (_ofdm("{kind: recorded, path: nothing.npz}"), "channels.ofdm-recorded-ls: nothing.npz: cannot be read"),
    (_ofdm(extra="transmission: {kind: svd, streams: 2}"), "streams: too many, got 2 streams"),
    (_ofdm(extra="impairments: [{kind: interferer, sir_db: 0.0, frequency_hz: 1.0e8}]"), "frequency_hz: out of range"),
]  # fmt: skip


@pytest.mark.parametrize(("channel", "expect"), FOREIGN_CHANNELS)
def test_calibration_refuses_what_a_simulation_refuses(channel, expect, tmp_path, capsys):
    out = tmp_path / "table.json"
    message = _refused(capsys, "calibrate", write(tmp_path, _scenario(channel)), "--out", str(out))
    assert expect in message
    assert not out.exists()


# --------------------------------------------------------------------------------------------- blocked places


@pytest.fixture
def blocked(tmp_path) -> str:
    """A recording of four snapshots, one of which has no power at all."""
    draw = np.random.default_rng(1)
    gains = draw.standard_normal((4, 1, 1, 3)) + 1j * draw.standard_normal((4, 1, 1, 3))
    gains[1] = 0
    path = tmp_path / "blocked.npz"
    save_recorded(path, Recording(gains=1e-5 * gains, delays_s=draw.uniform(0, 1e-6, (4, 3))))
    return f"{{kind: recorded, path: {path}}}"


PERFECT = GRID.replace("kind: ls", "kind: perfect")


@pytest.mark.parametrize("grid", [GRID, PERFECT], ids=["ls", "perfect"])
@pytest.mark.parametrize("extra", ["", "waveform: time", "link_budget: {transmit_power_dbm: 20}"])
def test_blocked_places_are_measured_like_others(extra, grid, blocked, tmp_path):
    """48 frames, a quarter of them blocked: every value is finite, and perfect CSI says that nothing came.
    (An estimate is of noise alone there, about 0 dB.)
    """
    text = _light(_scenario(_ofdm(blocked, extra, grid)))
    snr = "" if "budget" in extra else "snr_db: [10], "
    text = text.replace("sweep: {snr_db: [2, 14], trials: 2}", f"sweep: {{{snr}trials: 12}}")
    text = text.replace("metrics: [psnr, ssim, ber, bler]", "metrics: [psnr, evm, received_snr_db]")
    out = tmp_path / "run"
    assert main(["simulate", write(tmp_path, text), "--out", str(out), "--no-report"]) == 0
    values: dict[str, list[float]] = {"psnr": [], "evm": [], "received_snr_db": []}
    for record in ResultStore(out).records():
        for name, value in record.values.items():
            values[name].append(value)
    assert len(values["evm"]) == 48  # two schemes
    assert all(math.isfinite(value) for column in values.values() for value in column)
    dark = sum(value < 3 for value in values["received_snr_db"])
    assert 4 <= dark <= 24, "about 12 of 48"
    if grid is PERFECT:
        assert dark == sum(value > 1e6 for value in values["evm"])


def test_a_changed_recording_is_another_run(blocked, tmp_path, capsys):
    text = write(tmp_path, _light(_scenario(_ofdm(blocked))))
    run = ["simulate", text, "--out", str(tmp_path / "run"), "--no-report"]
    assert main(run) == 0
    kept = (tmp_path / "run" / "records.jsonl").read_bytes()
    draw = np.random.default_rng(2)
    gains = draw.standard_normal((4, 1, 1, 3)) + 0j
    save_recorded(tmp_path / "blocked.npz", Recording(gains=gains, delays_s=np.zeros((4, 3))))
    assert "made with other weights, tables or recordings" in _refused(capsys, *run)
    assert (tmp_path / "run" / "records.jsonl").read_bytes() == kept


def test_recording_without_power_in_the_band_is_refused(tmp_path, capsys):
    path = tmp_path / "silent.npz"
    save_recorded(path, Recording(gains=np.array([[[[1.0, -1.0]]]]) + 0j, delays_s=np.zeros((1, 2))))
    text = _scenario(_ofdm(f"{{kind: recorded, path: {path}}}"))
    assert "gains: no power, got a mean power of 0 in the band" in _refused(
        capsys, "check", write(tmp_path, text)
    )


def test_reference_signals_are_boosted_by_what_the_comb_leaves_empty():
    """One stream leaves every second subcarrier of its symbols empty, two leave none: a pilot symbol has the power
    of a data symbol in both cases."""
    for antennas, transmission in ((1, "single"), (2, "alamouti")):
        model = f"{{kind: tdl, profile: A, delay_spread_s: 0.0, tx_antennas: {antennas}}}"
        text = _ofdm(model, f"transmission: {{kind: {transmission}}}", "csi: {kind: ls, dmrs: {}}")
        pilots = build_channel(_channel(text), CPU).grid.known
        assert float(pilots.abs().square().sum((0, 2))[2]) == pytest.approx(64 * antennas, rel=3e-3)


@pytest.mark.parametrize("ports", ["[0, 1]", "[0, 2]", "[2, 3]", "[0, 1, 2, 3]"])
def test_ports_of_nr(ports):
    """Ports 2g and 2g + 1 have the subcarriers g, g + 2, ... with signs that cancel in pairs (TS 38.211 V18, table
    6.4.1.1.3-1); all streams together have the power of a data symbol."""
    numbers = [int(n) for n in ports.strip("[]").split(",")]
    model = f"{{kind: tdl, profile: A30, tx_antennas: {len(numbers)}, rx_antennas: {len(numbers)}}}"
    csi = f"csi: {{kind: lmmse, assumed: robust, dmrs: {{ports: {ports}}}}}"
    built = build_channel(_channel(_ofdm(model, "transmission: {kind: multiplexing}", csi)), CPU)
    known = built.grid.known[:, 2]
    for port, pilots in zip(numbers, known, strict=True):
        assert torch.equal(pilots.abs() > 0, torch.arange(64) % 2 == port // 2)
    assert float(known.abs().square().sum() / len(numbers)) == pytest.approx(64, rel=3e-3)
    for i, j in itertools.combinations(range(len(numbers)), 2):
        product = known[i] * known[j].conj()
        assert float(product.unflatten(0, (-1, 4)).sum(1).abs().max()) < 1e-5


def test_ports_of_before_are_the_default():
    model = "{kind: tdl, profile: A30, tx_antennas: 2, rx_antennas: 2}"
    grids = [
        build_channel(_channel(_ofdm(model, "transmission: {kind: multiplexing}", f"csi: {csi}")), CPU).grid
        for csi in ("{kind: ls, dmrs: {}}", "{kind: ls, dmrs: {ports: [0, 2]}}")
    ]
    assert torch.equal(grids[0].known, grids[1].known)


@pytest.mark.parametrize(
    ("channel", "slack"),
    [
        (_ofdm(extra="impairments: [{kind: clipping, papr_db: 1.0}]", grid="csi: {kind: perfect}"), 0.1),
        pytest.param(
            _ofdm("{kind: umi, shadowing: true}", "impairments: [{kind: quantization, bits: 3}]",
                  "csi: {kind: perfect}"),
            *(0.3,), marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_bounds_count_what_the_frames_of_a_run_count(channel, slack):
    """At 40 dB, where distortion decides: the ergodic rate is the mean of what 60 frames realise, and about a tenth
    of them are in outage at 10%; one rate for all of them. Without the distortion both rates were twice that."""
    spec = _channel(channel)
    operator = build_channel(spec, CPU)
    uses, snr_db = 768, torch.full((60,), 40.0)
    draw, no = operator.draw(uses, range(60)), torch.full((60, 1), 1e-4)
    csi = operator.limits(draw, no)
    sinrs = sampled_sinrs(spec)
    realised = np.array(BoundRate().bits(snr_db, csi))
    (ergodic,) = set(BoundRate("ergodic", sinrs=sinrs).bits(snr_db, csi))
    assert ergodic == pytest.approx(realised.mean(), rel=slack)
    outage = BoundRate("outage", sinrs=sinrs)
    rates = outage.bits(snr_db, csi)
    assert len(set(rates)) == 1
    assert sum(outage.failures(csi, rates, range(60))) <= 15
    assert rates[0] > 0.5 * np.quantile(realised, 0.1)

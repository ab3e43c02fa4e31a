"""The scenario library: questions, themes, names, and every file run in small (marker slow)."""

from __future__ import annotations

import csv
import itertools

import numpy as np
import pytest
import torch

from channels.raytraced.llvm import LlvmUnavailable, find_llvm
from channels.seeding import item_seed
from linksim.build.channels import build_channel, calibration_key, load_calibration, sent_over
from linksim.build.objects import build_images
from linksim.cli.commands import main
from linksim.coding.link_adaptation import AdaptiveMcs
from linksim.coding.mcs import MCS_TABLE_1, Mcs
from linksim.coding.transport import TransportBlock
from linksim.run.runner import make_plan
from linksim.scenario.files import ScenarioError, find_scenario, load_scenario, parse_overrides, scenario_dir
from linksim.schemes.payload import stream_budget
from linksim.weights import zoo
from tests.contracts.frames import decoded

THEMES = (
    "theory", "awgn", "fading", "ofdm", "mobility", "mimo", "csi", "impairments", "38901", "raytraced",
    "recorded", "paper", "robustness", "tasks",
)  # fmt: skip
LIBRARY = [path for theme in THEMES for path in sorted((scenario_dir() / theme).glob("*.yaml"))]
IDS = [f"{path.parent.name}/{path.stem}" for path in LIBRARY]
REDUCED = [
    "images={kind: skimage, names: [coffee], crop: 256}", "sweep.trials=1", "sweep.snr_db=[15]",
    "metrics=[psnr, ber, evm, papr_db]",
]  # fmt: skip


def _can_trace() -> bool:
    if torch.cuda.is_available():
        return True
    try:
        find_llvm()
    except LlvmUnavailable:
        return False
    return True


def test_the_library_has_every_theme_and_names_of_its_own():
    assert len(LIBRARY) >= 20
    assert {path.parent.name for path in LIBRARY} == set(THEMES)
    names = [load_scenario(str(path)).name for path in LIBRARY]
    assert names == [path.stem for path in LIBRARY]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("path", LIBRARY, ids=IDS)
def test_every_file_says_what_it_answers(path):
    scenario = load_scenario(str(path))
    assert scenario.question.endswith("?")
    assert path.read_text().startswith("# "), "a comment says what is to be seen"


@pytest.mark.parametrize("path", LIBRARY, ids=IDS)
def test_separation_adapts_or_has_a_dense_list_of_mcs(path):
    """The best of MCS 1, 4 and 9, said to be what an adapting link would have, was 4.8 dB less at 20 dB. Where no
    measured table fits, the list of the file is dense: no step to more than 1.55 times the rate, up to 64QAM."""
    own = [s for s in load_scenario(str(path)).schemes if s.kind == "separation"]
    fixed = sorted(MCS_TABLE_1[s.mcs].efficiency for s in own if s.mcs != "adaptive")
    if own and len(fixed) == len(own):
        assert all(high / low < 1.55 for low, high in itertools.pairwise(fixed)), fixed
        assert fixed[0] < 1
        assert fixed[-1] > 3.8


def test_no_curve_of_the_quickstart_falls_where_the_snr_rises():
    """The first figure that anybody sees: by the bad luck of ten frames with common fades BPG + LDPC fell by 3 dB from
    12 to 16 dB. Here the frames of the scenario itself, five fades of five pictures, at the quality that the table gives
    a picture: it falls by no more than .3 dB anywhere. (With two fades each, in order and at the SNRs of then, .8 dB.)"""
    scenario, table = load_scenario("quickstart"), load_calibration(zoo.asset("mcs-calibration.json"))
    scheme = next(s for s in scenario.schemes if s.kind == "separation")
    height, width = scenario.images.crop
    uses = round(3 * height * width * scenario.bandwidth.data_ratio)
    units = itertools.product(build_images(scenario.images).names, range(scenario.sweep.trials))
    seeds = [item_seed(scenario.seed, name, trial, "link") for name, trial in units]

    def bits_per_pixel(mcs: Mcs) -> float:
        size = TransportBlock(uses, mcs.bits_per_symbol, mcs.rate).size
        return 8 * stream_budget(size // 8) / (height * width)

    for channel in scenario.channels:
        adaptive = AdaptiveMcs(
            table.lengths(calibration_key(channel, scheme)), table.quality_of("bpg-420-1/2/4")
        )
        operator = sent_over(scheme, channel, build_channel(channel, torch.device("cpu")))
        shown = []
        for snr_db in scenario.sweep.snr_db:
            mcs = adaptive.choose(snr_db, uses, bits_per_pixel)
            ok, _ = decoded(operator, mcs, uses, snr_db, seeds)
            shown.append(adaptive.quality.expected(bits_per_pixel(mcs), 1 - float(ok.float().mean())))
        assert np.all(np.diff(shown) > -0.3), (channel.name, shown)


def test_a_file_is_found_by_its_name_alone_and_by_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_scenario("umi") == find_scenario("38901/umi") == scenario_dir() / "38901" / "umi.yaml"
    root = _twins(tmp_path, "kodak-1-384", "diffjscc", "paper")
    monkeypatch.setattr("linksim.scenario.reading.scenario_dir", lambda: root)
    with pytest.raises(ScenarioError, match="several files, got diffjscc/kodak-1-384"):
        find_scenario("kodak-1-384")


def _twins(root, name, *folders):
    for folder in folders:
        (root / folder).mkdir(exist_ok=True)
        (root / folder / f"{name}.yaml").write_text("name: x\n")
    return root


@pytest.mark.slow
@pytest.mark.parametrize("path", LIBRARY, ids=IDS)
def test_every_file_runs_in_small(path, tmp_path, capsys):
    """One picture, one SNR, one trial: every swept point, channel and scheme has its rows."""
    if path.parent.name == "raytraced" and not _can_trace():
        pytest.skip("tracing on this machine needs LLVM 17 or newer")
    reduced = REDUCED
    if load_scenario(str(path)).sweep.snr_db is None:  # a link budget gives it
        reduced = [pair for pair in REDUCED if "snr_db" not in pair]
    arguments = [str(path), "--out", str(tmp_path / "run")]
    for pair in reduced:
        arguments += ["--set", pair]
    assert main(["simulate", *arguments]) == 0, capsys.readouterr().err
    plan = make_plan(load_scenario(str(path), parse_overrides(reduced)))
    with (tmp_path / "run" / "results.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "psnr"]
    assert len(rows) == plan.num_units
    assert all(float(row["mean"]) > 5 for row in rows)

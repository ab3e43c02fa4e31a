"""The scenario library: questions, themes, names, and every file run in small (marker slow)."""

from __future__ import annotations

import csv

import pytest
import torch

from channels.raytraced.llvm import LlvmUnavailable, find_llvm
from linksim.cli.commands import main
from linksim.run.runner import make_plan
from linksim.scenario.files import ScenarioError, find_scenario, load_scenario, parse_overrides, scenario_dir

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

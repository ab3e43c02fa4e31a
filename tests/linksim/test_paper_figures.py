"""benchmarks/paper_figures.py: with checkpoints where the authors' would lie, and without."""

from __future__ import annotations

import argparse
import json

import pytest

from benchmarks import ablation_figures, paper_figures
from benchmarks.make_diffjscc_checkpoint import make
from linksim.results.statistics import Row
from linksim.scenario.files import load_scenario

FEW = [
    "--limit",
    "1",
    "--crop",
    "256",
    "256",
    "--metrics",
    "psnr",
    "--only",
    "figure-5",
    "--steps",
    "2",
    "--caption",
    "none",
]


@pytest.mark.slow
def test_figures_show_the_authors_models_where_they_lie(tmp_path, capsys, monkeypatch, no_network):
    """One rate of two: its curves are drawn, the other is named with the command that gets it."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    models, out = tmp_path / "models", tmp_path / "out"
    make(models / paper_figures.OPENIMAGE["1/384"], "tiny")
    assert paper_figures.main(["--authors", str(models), "--out", str(out), *FEW]) == 0
    said = capsys.readouterr()
    absent = paper_figures.OPENIMAGE["1/96"]
    assert f"hf download Mingyuyang/{absent} --local-dir {models / absent}" in said.err
    points = [json.loads(line) for line in said.out.splitlines() if line.startswith("{")]
    places = {(p["scheme"], p["cbr"]) for p in points}
    both = {"fidelity", "realism", "diffusion", "BPG + LDPC", "BPG + capacity"}
    assert {s for s, cbr in places if cbr == "1/96"} == both
    assert {s for s, cbr in places if cbr == "1/384"} == both | {"DiffJSCC", "its JSCC stage"}
    assert {p["snr_db"] for p in points} == set(paper_figures.SNR_DB)
    assert all((out / f"figure-5.{suffix}").stat().st_size > 10_000 for suffix in ("png", "pdf", "json"))
    stored = json.loads((out / "figure-5.json").read_text())["points"]
    assert len(stored) == len(points)


ONE = ["--limit", "1", "--crop", "256", "256", "--metrics", "psnr", "--steps", "3", "--caption", "none"]


def test_ablations_without_the_checkpoint_are_named_with_the_command_that_gets_it(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    models = tmp_path / "models"
    arguments = [
        "--authors",
        str(models),
        "--out",
        str(tmp_path / "out"),
        "--only",
        *ablation_figures.ABLATIONS,
    ]
    assert paper_figures.main([*arguments, *ONE]) == 0
    said = capsys.readouterr()
    name = paper_figures.OPENIMAGE["1/384"]
    for ablation in ablation_figures.ABLATIONS:
        command = f"hf download Mingyuyang/{name} --local-dir {models / name}; then --authors {models}"
        assert f"{ablation}: no DiffJSCC: get it with: {command}" in said.err
    assert said.out == ""


def test_an_ablation_is_that_of_its_scenario(tmp_path, capsys):
    """Every variant of the file, with the checkpoint at hand; what a caption makes the same is left out and said."""
    args = argparse.Namespace(
        images=None, crop=[64, 64], caption="blip2", steps=100, trials=1, metrics=["psnr"]
    )
    for name, left_out in zip(ablation_figures.ABLATIONS, ("no text", None, None), strict=True):
        scenario = load_scenario(f"diffjscc/{name}")
        study = ablation_figures.study(name, tmp_path, args)
        whole = load_scenario(study)
        assert [s.name for s in whole.schemes] == [s.name for s in scenario.schemes]
        for ours, file in zip(whole.schemes, scenario.schemes, strict=True):
            assert ours == file.model_copy(update={"checkpoint": str(tmp_path)})
        assert (whole.bandwidth, whole.sweep.snr_db) == (scenario.bandwidth, scenario.sweep.snr_db)
        args.caption = "none"
        fewer = [s["name"] for s in ablation_figures.study(name, tmp_path, args)["schemes"]]
        assert fewer == [s.name for s in scenario.schemes if s.name != left_out]
        said = f"{left_out} left out, with --caption none it is DiffJSCC" if left_out else ""
        assert said in capsys.readouterr().err
        args.caption = "blip2"


@pytest.mark.slow
def test_an_ablation_is_drawn_with_its_paired_differences(tmp_path, capsys, no_network):
    models, out = tmp_path / "models", tmp_path / "out"
    make(models / paper_figures.OPENIMAGE["1/384"], "tiny")
    arguments = ["--authors", str(models), "--out", str(out), "--only", "ablation-guidance"]
    assert paper_figures.main([*arguments, *ONE]) == 0
    points = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    names = [s.name for s in load_scenario("diffjscc/ablation-guidance").schemes]
    assert {(p["scheme"], p["snr_db"]) for p in points} == {(n, s) for n in names for s in (1.0, 10.0)}
    assert all((out / f"ablation-guidance.{suffix}").stat().st_size > 5000 for suffix in ("png", "pdf"))
    made = json.loads((out / "ablation-guidance.json").read_text())
    assert made["points"] == points
    mean = {(p["scheme"], p["snr_db"]): p["mean"] for p in points}
    assert len(made["differences"]) == 2 * (len(names) - 1)
    for row in made["differences"]:
        change = mean[row["scheme"], row["snr_db"]] - mean[names[0], row["snr_db"]]
        assert row["mean"] == pytest.approx(change, abs=1e-9)
    pulled = {(r["scheme"], r["snr_db"]): abs(r["mean"]) for r in made["differences"]}
    for snr_db in (1.0, 10.0):
        sizes = [pulled[name, snr_db] for name in names[1:]]
        assert sizes == sorted(sizes), "a stronger guidance pulls further"
        assert sizes[-1] > 0.01


def test_panels_hold_the_points_of_their_column():
    row = Row("awgn", "s", 10.0, "psnr", (), 1.0, 0.9, 1.1, 1, 1, 0, 1.0, 1 / 96, 1 / 96)
    point = paper_figures.Point("figure-4", "1/96", False, row)
    assert list(point.line()) == [
        *(
            "figure",
            "scheme",
            "cbr",
            "snr_db",
            "metric",
            "mean",
            "ci_low",
            "ci_high",
            "trained_on",
            "lost",
            "frames",
        ),
    ]
    at_10_db = paper_figures.FIGURES[0].panels[1]
    assert at_10_db.holds(point)
    assert at_10_db.place(point) == pytest.approx(1 / 96)
    low, high = paper_figures.FIGURES[1].panels
    assert (low.holds(point), high.holds(point), high.place(point)) == (False, True, 10.0)


def test_the_note_says_what_was_lost_and_what_is_not_known():
    """Lost pictures are grey and in the means; a folder of the authors does not say what it was trained on."""

    def point(scheme, snr_db, trained_on, lost):
        row = Row(
            "awgn", scheme, snr_db, "psnr", (), 20.0, 19.0, 21.0, 5, 1, lost, 20.0, 1 / 384, 1 / 384, 5 - lost
        )
        return paper_figures.Point("figure-5", "1/384", trained_on, row)

    found = [
        point("BPG + LDPC", 1.0, False, 3),
        point("BPG + LDPC", 4.0, False, 1),
        point("fidelity", 1.0, True, 0),
    ]
    said = paper_figures.remarks(found)
    assert said == "hollow: was a loss\nlost and in the means, at most: BPG + LDPC 3 of 5 (CBR 1/384, 1 dB)"
    assert paper_figures.remarks(found[2:]) == "hollow: was a loss"
    assert "half hollow: not known" in paper_figures.remarks([point("DiffJSCC", 1.0, None, 0)])

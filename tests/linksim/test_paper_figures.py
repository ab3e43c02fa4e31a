"""benchmarks/paper_figures.py: with checkpoints where the authors' would lie, and without."""

from __future__ import annotations

import json

import pytest

from benchmarks import paper_figures
from benchmarks.make_diffjscc_checkpoint import make

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


def test_panels_hold_the_points_of_their_column():
    point = paper_figures.Point("figure-4", "s", "1/96", 10.0, "psnr", 1.0, 0.9, 1.1, False)
    at_10_db = paper_figures.FIGURES[0].panels[1]
    assert at_10_db.holds(point)
    assert at_10_db.place(point) == pytest.approx(1 / 96)
    low, high = paper_figures.FIGURES[1].panels
    assert (low.holds(point), high.holds(point), high.place(point)) == (False, True, 10.0)


def test_the_note_says_what_was_lost_and_what_is_not_known():
    """Lost pictures are grey and in the means; a folder of the authors does not say what it was trained on."""

    def point(scheme, snr_db, trained_on, lost):
        return paper_figures.Point(
            "figure-5", scheme, "1/384", snr_db, "psnr", 20.0, 19.0, 21.0, trained_on, lost, 5
        )

    found = [
        point("BPG + LDPC", 1.0, False, 3),
        point("BPG + LDPC", 4.0, False, 1),
        point("fidelity", 1.0, True, 0),
    ]
    said = paper_figures.remarks(found)
    assert said == "hollow: was a loss\nlost and in the means, at most: BPG + LDPC 3 of 5 (CBR 1/384, 1 dB)"
    assert paper_figures.remarks(found[2:]) == "hollow: was a loss"
    assert "half hollow: not known" in paper_figures.remarks([point("DiffJSCC", 1.0, None, 0)])

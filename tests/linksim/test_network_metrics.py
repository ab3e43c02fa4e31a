"""Metrics whose weights are found or downloaded: numbers of the reference packages with the same random weights, what
is said where weights cannot be had, and runs."""

from __future__ import annotations

import csv
import importlib.util
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pytorch_fid.fid_score import calculate_frechet_distance
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

from linksim.build.objects import build_metrics
from linksim.cli.commands import main
from linksim.files.digests import file_digest
from linksim.images.sets import round_to_uint8
from linksim.metrics.base import MetricUnavailable
from linksim.metrics.networks.clip import ClipSimilarity
from linksim.metrics.networks.cmmd import Cmmd
from linksim.metrics.networks.dists import Dists
from linksim.metrics.networks.inception import InceptionDistance, load_inception
from linksim.metrics.set_distances import DISTANCES
from linksim.results.feature_files import FeatureFiles, drop_features_of_others
from linksim.results.store import ResultStore
from linksim.weights.zoo import FEATURE_NETWORKS, find_backbone
from tests.linksim.network_weights import CLIP_SIDES, clip_folder, vgg_file
from tests.linksim.pictures import compressed, ladders, photograph
from tests.linksim.tiny import write

SETS = """
schema_version: 1
name: sets
seed: 7
images: {kind: skimage, names: [astronaut, coffee, chelsea], crop: [64, 128]}
bandwidth: {data_ratio: 1/12}
channels: [{kind: awgn}]
sweep: {snr_db: [14]}
schemes:
  - {kind: linear_analog, name: linear}
metrics: [psnr, METRICS]
"""
EVERY = (
    *("fid", "kid", "patch_fid_64", "patch_kid_64", "patch_fid_256", "patch_kid_256"),
    *("cmmd", "dists", "clip_similarity"),
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Iterator[dict[str, Any]]:
    """Files of networks in $LINKSIM_WEIGHTS, and the networks of other packages with the same weights."""
    folder = tmp_path_factory.mktemp("weights")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LINKSIM_WEIGHTS", str(folder))
        yield {"vgg": vgg_file(folder, patch), **{model: clip_folder(folder, model) for model in CLIP_SIDES}}


@pytest.fixture
def nothing(tmp_path, monkeypatch) -> Path:
    """A machine without any weights."""
    monkeypatch.setenv("LINKSIM_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "weights").mkdir()
    return tmp_path


def uint8(name: str, height: int = 64, width: int = 128) -> torch.Tensor:
    return round_to_uint8(photograph(name, height, width)[0])


def rows(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "results.csv").open() as file:
        return {row["metric"]: row for row in csv.DictReader(file)}


# ------------------------------------------------------------------------------------------------ distances


def fidelity(sides: list[np.ndarray]) -> tuple[float, float]:
    """torch-fidelity's FID and KID of two arrays of features, all of them in one subset."""
    pair = [torch.from_numpy(x.astype(np.float64)) for x in sides]
    fid = fid_statistics_to_metric(*(fid_features_to_statistics(x) for x in pair), verbose=False)
    kid = kid_features_to_metric(*pair, kid_subsets=1, kid_subset_size=len(pair[0]), verbose=False)
    return fid[KEY_METRIC_FID], kid[KEY_METRIC_KID_MEAN]


def test_distances_of_a_stored_file_are_those_of_both_packages(tmp_path):
    """300 features in 64 dimensions, ten of each of 30 pictures, in half precision as runs keep them."""
    rng = np.random.default_rng(1)
    mix = rng.normal(size=(64, 64))
    files = FeatureFiles(tmp_path, "some")
    names = [[f"{side}{i:015x}" for i in range(30)] for side in (0, 1)]
    for side, scale in zip(names, (0.1, 0.13), strict=True):
        for name in side:
            found = np.abs(rng.normal(size=(10, 64)) @ mix * scale + 1).astype(np.float16)
            files.keep(name, lambda found=found: found)
    stored = [np.concatenate([np.load(tmp_path / "some" / f"{n}.npy") for n in side]) for side in names]
    a, b = (x.astype(np.float64) for x in stored)
    fid, kid = fidelity(stored)
    moments = (a.mean(0), np.cov(a.T), b.mean(0), np.cov(b.T))
    assert fid == pytest.approx(calculate_frechet_distance(*moments), rel=1e-9)
    once = np.ones((1, 30), np.int64)
    for name, expected in (("fid", fid), ("kid", kid)):
        distance = InceptionDistance.facts(name).distance
        sums = (
            files.within(distance, names[0]),
            files.within(distance, names[1]),
            files.between(distance, *names),
        )
        assert DISTANCES[distance].values(*sums, once)[0] == pytest.approx(expected, rel=1e-9)


def test_metrics_of_the_same_features_share_their_files(tmp_path):
    """FID and KID have other papers, not other features: those of another network are removed, those that a version
    without names of networks made are kept."""
    store, digest = ResultStore(tmp_path), "0" * 16

    def facts(paper: str, network: str) -> dict[str, Any]:
        return {"scope": "set", "features": "some", "reference": f"{paper}; {network}", "network": network}

    both = {"metrics": {"fid": facts("Heusel", "one"), "kid": facts("Bińkowski", "one")}}
    drop_features_of_others(store, both)
    files = FeatureFiles(store.features, "some")
    files.keep(digest, lambda: np.ones((1, 2), np.float16))
    drop_features_of_others(store, both)
    assert files.path(digest).exists()
    drop_features_of_others(store, {"metrics": {"fid": facts("Heusel", "another")}})
    assert not files.path(digest).exists()
    (store.features / "some" / "made.json").write_text('{"reference": "Heusel; one", "kind": ""}')
    files.keep(digest, lambda: np.ones((1, 2), np.float16))
    drop_features_of_others(store, {"metrics": {"fid": facts("Heusel", "one")}})
    assert files.path(digest).exists()


# -------------------------------------------------------------------------------------------- DISTS and CLIP


def test_dists_equals_the_authors_class(weights):
    """Authors' code and weights of structure and texture on the same VGG16."""
    metric, x = Dists(), photograph("coffee", 64, 80)
    for versions in ladders(x).values():
        batch, originals = torch.cat(versions), x.expand(3, -1, -1, -1)
        with torch.no_grad():
            expected = weights["vgg"](batch, originals).double()
        found = metric(batch, originals)
        torch.testing.assert_close(found, expected, atol=2e-6, rtol=0)
        assert found[0] < found[2]
    assert abs(float(metric(x, x))) < 1e-6
    for part in ("piq", "DISTS-pytorch 0.1", "vgg16"):
        assert part in metric.info.network


@pytest.mark.slow
def test_dists_reduces_no_picture(weights):
    """As the authors' class; piq and the authors' script would reduce the shorter side to 256 pixels first."""
    metric, x = Dists(), photograph("coffee", 288, 288)
    with torch.no_grad():
        shown = compressed(x, 5)
        expected = float(weights["vgg"](shown, x))
        reduced = (F.interpolate(p, scale_factor=256 / 288, mode="bilinear") for p in (shown, x))
        assert abs(float(weights["vgg"](*reduced)) - expected) > 0.05 * expected
    assert float(metric(shown, x)) == pytest.approx(expected, abs=2e-6)


def clip_features(network: Any, pixels: torch.Tensor) -> torch.Tensor:
    """Unit vectors of the whole CLIP model for pixels [B, 3, H, W] in [0, 1]."""
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
    with torch.no_grad():
        pooled = network.vision_model(pixel_values=(pixels - mean) / std).pooler_output
        return F.normalize(network.visual_projection(pooled), dim=1)


def test_clip_similarity_is_the_cosine_of_the_whole_model(weights):
    """Prepared as OpenAI's code: Pillow's bicubic to the shorter side, the middle, mean and deviation."""
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize, ToPILImage, ToTensor

    side = CLIP_SIDES["b32"]
    prepare = Compose([ToPILImage(), Resize(side, InterpolationMode.BICUBIC), CenterCrop(side), ToTensor()])
    metric = ClipSimilarity()
    x = photograph("coffee", 96, 160)
    for versions in ladders(x).values():
        pair = [clip_features(weights["b32"], prepare(p[0])[None]) for p in (versions[2], x)]
        assert float(metric(versions[2], x)) == pytest.approx(float((pair[0] * pair[1]).sum()), abs=1e-3)
    assert float(metric(x, x)) == pytest.approx(1.0, abs=1e-6)
    other = photograph("astronaut", 96, 160)
    assert float(metric(other, x)) < float(metric(ladders(x)["jpeg"][0], x))


def test_cmmd_equals_its_definition(weights, tmp_path):
    """Embeddings of the whole model at its size, bicubic without antialiasing; 1000 times the MMD of all
    pairs in a run."""
    metric, side = Cmmd(), CLIP_SIDES["l14_336"]
    images = [uint8(name) for name in ("astronaut", "coffee", "chelsea")]
    for image in images:
        seen = F.interpolate(image[None].float() / 255, (side, side), mode="bicubic")
        expected = clip_features(weights["l14_336"], seen)[0]
        np.testing.assert_allclose(metric.features(image)[0], expected, atol=1e-3)
    text, out = SETS.replace("METRICS", "cmmd"), tmp_path / "run"
    assert main(["simulate", write(tmp_path, text), "--out", str(out), "--no-report"]) == 0
    files = FeatureFiles(ResultStore(out).features, "clip_l14_336")
    units, header = list(ResultStore(out).records()), ResultStore(out).header()
    h = np.concatenate([files.read(unit.shown) for unit in units]).astype(np.float64)
    o = np.concatenate([files.read(header["images"][unit.key.image][-1]) for unit in units]).astype(
        np.float64
    )

    def mean(a: np.ndarray, b: np.ndarray) -> float:
        return np.mean([np.exp(-np.sum((x - y) ** 2) / 200) for x in a for y in b])

    found = rows(out)["cmmd"]
    expected = 1000 * (mean(h, h) + mean(o, o) - 2 * mean(h, o))
    assert float(found["mean"]) == pytest.approx(expected, rel=1e-4)
    assert 0 < float(found["ci_low"]) < float(found["mean"]) < float(found["ci_high"])
    assert "openai/clip-vit-large-patch14-336" in header["metrics"]["cmmd"]["network"]


# ------------------------------------------------------------------------------------------ weights, packages


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(tmp_path_factory) -> Iterator[tuple[Path, str]]:
    folder = tmp_path_factory.mktemp("served")
    serving = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{serving.server_port}"
    serving.shutdown()
    serving.server_close()


def inception_as(path: Path, address: str, monkeypatch) -> str:
    """linksim expects the file at ``path``, by its digest, from an address; its name there."""
    name = f"weights-inception-2015-12-05-{file_digest(path)[:8]}.pth"
    backbone = replace(
        FEATURE_NETWORKS["inception"], url=f"{address}/{name}", other_files=("pt_inception.pth",)
    )
    monkeypatch.setitem(FEATURE_NETWORKS, "inception", backbone)
    return name


def test_weights_are_downloaded_once_and_their_digest_is_checked(nothing, server, monkeypatch):
    """Over HTTP: none, a damaged file, a whole one; then without any server."""
    folder, address = server
    torch.save({"fc.weight": torch.zeros(2)}, folder / "made.pth")
    name = inception_as(folder / "made.pth", address, monkeypatch)
    data, kept = (folder / "made.pth").read_bytes(), nothing / "hub" / "checkpoints"
    with pytest.raises(
        MetricUnavailable, match=rf"^FID and KID: weights not found .*404.*\. Put {name} \(from http"
    ):
        load_inception()
    (folder / name).write_bytes(data[:-1])
    with pytest.raises(MetricUnavailable, match="arrived damaged"):
        load_inception()
    assert not list(kept.iterdir()), "nothing of it is left"
    (folder / name).write_bytes(data)
    found = find_backbone("inception", "fid")
    assert (found.path, found.path.read_bytes()) == (kept / name, data)
    assert found.digest[:8] in name
    (folder / name).unlink()
    assert find_backbone("inception", "fid") == found
    (kept / name).unlink()
    (nothing / "weights" / "pt_inception.pth").write_bytes(data)
    assert find_backbone("inception", "fid").path.name == "pt_inception.pth", "the other package's name"


def test_files_that_are_not_the_weights_of_fid_are_refused(nothing, monkeypatch, tmp_path):
    """Another file under the name, the right file without the network in it, and one that runs code when it is read."""
    path = nothing / "weights" / FEATURE_NETWORKS["inception"].file
    torch.save({"fc.weight": torch.zeros(2)}, path)
    with pytest.raises(
        MetricUnavailable, match=r"FID and KID: weights .*: another file, got SHA-256 .*6726825d"
    ):
        load_inception()
    for content, said in (
        ({"fc.weight": torch.zeros(2)}, "Missing key"),
        ({"fc.weight": Path}, "no file of PyTorch, or one of other things than tensors"),
    ):
        torch.save(content, path)
        name = inception_as(path, "https://host.invalid", monkeypatch)
        path = path.rename(path.with_name(name))
        with pytest.raises(MetricUnavailable, match=f"FID and KID: weights .*: cannot be read, got .*{said}"):
            load_inception()


def test_metrics_without_weights_say_so_in_a_line(nothing, no_network):
    found = build_metrics(EVERY)
    assert set(found.unavailable) == set(EVERY)
    for name, said in found.unavailable.items():
        assert "\n" not in said
        assert "weights not found and not downloaded" in said
        assert "LINKSIM_WEIGHTS" in said
        assert ("FID and KID" if "fid" in name or "kid" in name else name) in said


def test_metrics_without_packages_say_what_to_install(nothing, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "DISTS_pytorch" else find_spec(name, *a)
    )
    found = build_metrics(("fid", "dists")).unavailable
    assert "torch-fidelity is not installed" in found["fid"]
    assert "DISTS-pytorch is not installed" in found["dists"]
    for said in found.values():
        assert "Install it: pip install 'linksim-wireless[realism]'" in said


def test_check_names_downloads_and_lists_say_what_is_there(
    nothing, no_network, tmp_path, capsys, monkeypatch
):
    text = SETS.replace("METRICS", "fid, dists, cmmd, flip")
    assert main(["check", write(tmp_path, text)]) == 0
    said = capsys.readouterr().err
    assert "metrics.fid: weights-inception-2015-12-05-6726825d.pth is not on this machine" in said
    assert "about 96 MB" in said
    assert "metrics.dists: vgg16-397923af.pth" in said
    assert "metrics.cmmd: openai/clip-vit-large-patch14-336" in said
    assert main(["list", "metrics"]) == 0
    listed = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    for name in EVERY:
        assert "no weights here" in listed[name]
    assert "installed" in listed["flip"]


def test_broken_clip_folder_is_said(nothing):
    place = nothing / "weights" / "clip-vit-base-patch32"
    place.mkdir()
    (place / "model.safetensors").write_bytes(b"broken")
    (place / "config.json").write_text("{}")
    with pytest.raises(MetricUnavailable, match=r"clip_similarity: .*cannot be read"):
        ClipSimilarity()


def test_what_a_clip_folder_lacks_is_not_made_up(nothing, capfd):
    """transformers would draw missing tensors at random, and only print a table of them; and prints that table of
    the text encoder beside a whole image encoder."""
    from safetensors.torch import load_file, save_file

    clip_folder(nothing / "weights", "b32")
    capfd.readouterr()
    whole = ClipSimilarity()
    x = photograph("coffee", 64, 64)
    assert float(whole(x, x)) == pytest.approx(1.0, abs=1e-6)
    assert capfd.readouterr().err == "", "nothing is wrong with a text encoder beside it"
    file = nothing / "weights" / "clip-vit-base-patch32" / "model.safetensors"
    tensors = load_file(file)
    projection = tensors.pop("visual_projection.weight")
    for changed, said in (
        ({}, r"tensors missing, got visual_projection\.weight"),
        (
            {"visual_projection.weight": projection[:1]},
            r"tensors of another shape, got visual_projection\.weight",
        ),
    ):
        save_file(tensors | changed, file, metadata={"format": "pt"})
        with pytest.raises(MetricUnavailable, match=rf"^clip_similarity: .*{said}.*hf download openai"):
            ClipSimilarity()
    save_file(tensors | {"visual_projection.weight": projection}, file, metadata={"format": "pt"})
    (file.parent / "preprocessor_config.json").unlink()
    with pytest.raises(MetricUnavailable, match=r"clip_similarity: .*preprocessor_config\.json"):
        ClipSimilarity()


@pytest.mark.parametrize("content", [b"", b"no network", None])
def test_broken_weights_are_said_once_by_who_needs_them(nothing, content):
    path = nothing / "weights" / "vgg16.pth"
    if content is None:
        torch.save({"features.0.weight": Path}, path)
    else:
        path.write_bytes(content)
    found = build_metrics(("dists", "lpips_vgg")).unavailable
    for name, said in found.items():
        assert said.startswith(f"{name}: weights {path}: cannot be read, got ")
        assert said.count("Replace the file.") == 1
        assert "weights_only" not in said, "PyTorch's advice to execute what is in the file"
        assert "()" not in said
        assert "\n" not in said
    assert set(found) == {"dists", "lpips_vgg"}

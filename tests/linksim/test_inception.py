"""FID and KID through Inception-v3 with random weights, against pytorch-fid's network and both packages' numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric

from linksim.cli.commands import main
from linksim.metrics.networks.inception import InceptionDistance
from linksim.results.feature_files import FeatureFiles
from linksim.results.store import ResultStore
from tests.linksim.network_weights import inception_file
from tests.linksim.test_network_metrics import SETS, rows, uint8
from tests.linksim.tiny import write

pytestmark = pytest.mark.slow
NAMES = ("fid", "kid", "patch_fid_64", "patch_kid_64")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory) -> Iterator[Any]:
    """pytorch-fid's network; a file with its random weights is in $LINKSIM_WEIGHTS."""
    folder = tmp_path_factory.mktemp("weights")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LINKSIM_WEIGHTS", str(folder))
        yield inception_file(folder, patch)[1]


def resized_like_tensorflow_1(x: np.ndarray, side: int) -> np.ndarray:
    """Bilinear with source pixel i·(in/out): no half pixels, as TensorFlow 1 without align_corners."""
    for axis in (1, 2):
        length = x.shape[axis]
        at = np.arange(side) * (length / side)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, length - 1)
        share = (at - low).reshape([-1 if i == axis else 1 for i in range(3)])
        x = x.take(low, axis) * (1 - share) + x.take(high, axis) * share
    return x


def test_features_are_those_of_pytorch_fids_network(theirs):
    """The same weights in torch-fidelity's network, behind TensorFlow 1's resizing; kept in half precision."""
    image = uint8("coffee", 100, 160)
    metric = InceptionDistance("fid")
    seen = resized_like_tensorflow_1(image.double().numpy(), 299)
    with torch.no_grad():
        expected = theirs(torch.from_numpy((seen - 128) / 128).float()[None])[0].flatten().numpy()
        half = F.interpolate(image[None].float(), (299, 299), mode="bilinear")
        other = theirs((half - 128) / 128)[0].flatten().numpy()
    found = metric.features(image)
    assert found.shape == (1, 2048)
    assert found.dtype == np.float16
    scale = np.abs(expected).mean()
    assert np.abs(found[0] - expected).max() < 3e-3 * scale
    assert np.abs(other - expected).max() > 1e-2 * scale, "half pixels are another resizing"
    patches = InceptionDistance("kid", 64).features(image)
    assert patches.shape == (2, 2048), "1 x 2 side by side, none shifted"
    np.testing.assert_array_equal(patches[1], metric.features(image[:, :64, 64:128].contiguous())[0])
    assert InceptionDistance("fid", 256).features(uint8("coffee", 256, 384)).shape == (1, 2048)


def reference_of(name: str, hats: np.ndarray, originals: np.ndarray) -> float:
    """torch-fidelity's and pytorch-fid's numbers of two stored arrays [n, 2048], which have to agree."""
    a, b = (x.astype(np.float64) for x in (hats, originals))
    if "kid" in name:
        pair = (torch.from_numpy(x) for x in (a, b))
        found = kid_features_to_metric(*pair, kid_subsets=1, kid_subset_size=len(a), verbose=False)
        return found[KEY_METRIC_KID_MEAN]
    stats = [fid_features_to_statistics(torch.from_numpy(x)) for x in (a, b)]
    return fid_statistics_to_metric(*stats, verbose=False)[KEY_METRIC_FID]


@pytest.fixture(scope="module")
def run(theirs, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    text = SETS.replace("METRICS", ", ".join(NAMES))
    assert main(["simulate", write(folder, text), "--out", str(folder / "run"), "--no-report"]) == 0
    return folder / "run"


def test_values_of_a_run_are_those_of_the_packages_on_its_feature_files(run):
    """FID of 3 pictures or 6 patches to three digits: the packages sum 2,048 roots of eigenvalues, of which all but 2 or
    5 are rounding errors."""
    store, found = ResultStore(run), rows(run)
    header = store.header()
    originals = {name: facts[-1] for name, facts in header["images"].items()}
    units = list(store.records())
    for name in NAMES:
        facts = header["metrics"][name]
        files = FeatureFiles(store.features, facts["features"])
        hats = np.concatenate([files.read(unit.shown) for unit in units])
        true = np.concatenate([files.read(originals[unit.key.image]) for unit in units])
        assert len(hats) == (6 if "patch" in name else 3)
        value = float(found[name]["mean"])
        assert value == pytest.approx(reference_of(name, hats, true), rel=1e-5 if "kid" in name else 2e-3)
        low, high = (float(found[name][key]) for key in ("ci_low", "ci_high"))
        assert low <= value <= high
        assert low < high
        assert (found[name]["num_images"], facts["scope"]) == ("3", "set")
        for part in ("torch-fidelity", "Inception-v3", "weights"):
            assert part in facts["network"]
            assert part in facts["reference"]


def test_a_run_that_is_measured_later_has_the_same_rows(run, tmp_path, theirs):
    text = SETS.replace("METRICS", "patch_kid_64")
    assert main(["simulate", write(tmp_path, text), "--out", str(tmp_path / "run"), "--no-report"]) == 0
    assert "fid" not in rows(tmp_path / "run")
    more = [part for name in ("fid", "kid") for part in ("--metric", name)]
    assert main(["measure", str(tmp_path / "run"), *more]) == 0
    later, first = rows(tmp_path / "run"), rows(run)
    for name in ("fid", "kid", "patch_kid_64", "psnr"):
        for key in ("mean", "ci_low", "ci_high"):
            assert float(later[name][key]) == pytest.approx(float(first[name][key]), rel=1e-6), (name, key)

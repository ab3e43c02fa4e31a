"""Karhunen-Loeve transform of square colour blocks: the best linear block code for MSE."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from channels.checks import complaint
from linksim.files.writing import whole_file

__all__ = ["BlockKlt", "fit_block_klt"]


@dataclass(frozen=True)
class BlockKlt:
    """Mean, basis and variances of ``size`` x ``size`` x 3 blocks with values in [0, 1].

    Args:
        mean: [3·size²] float.
        basis: [K, 3·size²] float, orthonormal rows by falling variance.
        variance: [K] float, variance of each coefficient over the training blocks.
        total_variance: sum over all 3·size² coefficients.
    """

    mean: Tensor
    basis: Tensor
    variance: Tensor
    total_variance: float

    @property
    def size(self) -> int:
        """Block edge in pixels."""
        return round((self.mean.numel() / 3) ** 0.5)

    def analyse(self, image: Tensor, num_coefficients: int) -> Tensor:
        """Coefficients [B, K', H/size, W/size] of images [B, 3, H, W]; H and W multiples of ``size``."""
        kernel = self._kernel(num_coefficients).to(image)
        offset = -(self.basis[:num_coefficients] @ self.mean).to(image)
        return F.conv2d(image, kernel, offset, stride=self.size)

    def synthesise(self, coefficients: Tensor) -> Tensor:
        """Images [B, 3, H, W] of coefficients [B, K', H/size, W/size]; not clipped."""
        kernel = self._kernel(coefficients.shape[1]).to(coefficients)
        blocks = F.conv_transpose2d(coefficients, kernel, stride=self.size)
        mean = self.mean.view(3, self.size, self.size).to(coefficients)
        return blocks + mean.repeat(1, *coefficients.shape[2:])

    @torch.no_grad()
    def start_analysis(self, layer: nn.Conv2d, where: str) -> tuple[Tensor, Tensor, Tensor]:
        """Set a convolution to the transform with powers in the ratio λ^(1/2).

        Args:
            layer: [K', 3, size, size] with bias, stride ``size``.
            where: whose layer, for the message.

        Returns:
            basis as a kernel [K', 3, size, size], gain and variance [K'] of each coefficient.

        Raises:
            ValueError: blocks of another size, or fewer coefficients than the layer has.
        """
        num, _, size, _ = layer.weight.shape
        if self.size != size or len(self.variance) < num:
            got = f"{len(self.variance)} of {self.size} x {self.size}"
            raise ValueError(complaint(f"{where}: klt", "wrong size", got, f"{num} of {size} x {size}"))
        basis, variance = self.basis[:num], self.variance[:num]
        gain, kernel = variance.pow(-0.25), self._kernel(num)
        assert layer.bias is not None
        layer.weight.copy_(kernel * gain[:, None, None, None])
        layer.bias.copy_(-(basis @ self.mean) * gain)
        return kernel, gain, variance

    def _kernel(self, num: int) -> Tensor:
        return self.basis[:num].view(num, 3, self.size, self.size)

    def save(self, path: Path, metadata: dict[str, str]) -> None:
        """Write as safetensors with a description of where it comes from."""
        tensors = {
            "mean": self.mean.contiguous(),
            "basis": self.basis.contiguous(),
            "variance": self.variance.contiguous(),
            "total_variance": torch.tensor([self.total_variance]),
        }
        with whole_file(path) as partial:
            save_file(tensors, str(partial), metadata=metadata)

    @classmethod
    def load(cls, path: Path) -> BlockKlt:
        """Read what :meth:`save` wrote."""
        with safe_open(str(path), "pt") as file:
            t = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        return cls(t["mean"], t["basis"], t["variance"], float(t["total_variance"]))


def fit_block_klt(images: Iterable[Tensor], num_coefficients: int, size: int = 16) -> BlockKlt:
    """Fit the transform to all aligned blocks of a set of images.

    Args:
        images: each [3, H, W] uint8 with H, W >= size.
        num_coefficients: rows of the basis to keep, at most 3·size².
        size: block edge in pixels.

    Raises:
        ValueError: fewer blocks than dimensions.

    Source: Jayant & Noll, "Digital Coding of Waveforms", 1984, sec. 12.2 (KLT).
    """
    dims = 3 * size * size
    count, total = 0, torch.zeros(dims, dtype=torch.float64)
    second = torch.zeros(dims, dims, dtype=torch.float64)
    for image in images:
        blocks = F.unfold(image[None].double() / 255, size, stride=size)[0].T
        count += blocks.shape[0]
        total += blocks.sum(0)
        second += blocks.T @ blocks
    if count <= dims:
        raise ValueError(complaint("fit_block_klt: images", "too few blocks", count, f"more than {dims}"))
    mean = total / count
    covariance = second / count - torch.outer(mean, mean)
    values, vectors = torch.linalg.eigh(covariance)
    keep = slice(0, num_coefficients)
    return BlockKlt(
        mean=mean.float(),
        basis=vectors.flip(1).T[keep].float(),
        variance=values.flip(0)[keep].float(),
        total_variance=float(values.sum()),
    )

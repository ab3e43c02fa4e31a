"""Muon: momentum whose matrix steps are made orthogonal."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from linksim.scenario.schema import OptimizerSpec

__all__ = ["Muon", "make_optimizers", "orthogonalise"]

_REST_RATE = 5e-4  # highest learning rates of what AdamW trains beside Muon
_LINEAR_RATE = 1e-4


def orthogonalise(matrix: Tensor, steps: int = 5) -> Tensor:
    """Nearest semi-orthogonal matrix, roughly: all singular values that matter between 0.7 and 1.2.

    A quintic Newton-Schulz iteration, X <- (a + bA + cA²)X with A = X Xᵀ, started from X/|X|. The factors
    commute, so they are multiplied on the small Gram matrix and applied to X once.

    Args:
        matrix: [m, n] float.
        steps: iterations.

    Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix) / (matrix.norm() + 1e-7)
    gram = x @ x.T
    eye = torch.eye(len(gram), dtype=x.dtype, device=x.device)
    product = eye
    for step in range(steps):
        factor = a * eye + b * gram + c * gram @ gram
        product = factor @ product
        if step < steps - 1:
            gram = factor @ gram @ factor
    x = product @ x
    return x.T if tall else x


class Muon(Optimizer):
    """Muon for convolution and matrix weights, flattened to [out, in·kh·kw].

    ``torch.optim.Muon`` takes two-dimensional parameters only; here most weights are convolutions. The step
    has root mean square 0.2·lr per weight, so learning rates of AdamW carry over.

    Args:
        params: weights with at least two dimensions.
        lr: learning rate.
        momentum: of the running mean of gradients (Nesterov).
        weight_decay: decoupled, as in AdamW.

    Source: Jordan et al. 2024; scaling of Liu et al., "Muon is Scalable for LLM Training", arXiv 2502.16982.
    """

    def __init__(
        self, params: Iterable[Tensor], lr: float = 1e-3, momentum: float = 0.95, weight_decay: float = 0.01
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    self._update(param, group)

    def _update(self, param: Tensor, group: dict[str, float]) -> None:
        state = self.state[param]
        if "mean" not in state:
            state["mean"] = torch.zeros_like(param)
        assert param.grad is not None
        mean = state["mean"].lerp_(param.grad, 1 - group["momentum"])
        step = orthogonalise(param.grad.lerp(mean, group["momentum"]).flatten(1))
        scale = 0.2 * max(step.shape) ** 0.5
        param.mul_(1 - group["lr"] * group["weight_decay"])
        param.add_(step.view_as(param), alpha=-group["lr"] * scale)


def split_parameters(module: nn.Module) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Weights for Muon (hidden convolutions); for AdamW the linear paths, and the rest (biases, embeddings,
    gains).
    """
    hidden: list[Tensor] = []
    linear: list[Tensor] = []
    rest: list[Tensor] = []
    for name, param in module.named_parameters():
        is_linear = "linear" in name.split(".")
        kind = linear if is_linear else hidden if param.ndim == 4 else rest
        kind.append(param)
    return hidden, linear, rest


def make_optimizers(spec: OptimizerSpec, module: nn.Module) -> list[Optimizer]:
    """Optimisers of what is trained of a network.

    With Muon the linear paths, which begin as a block KLT with small entries, move slowly: at the rate of the
    rest they lost 2 dB of the KLT at the highest rate before the network had made up for it.
    """
    if spec.kind == "adamw":
        trained = [p for p in module.parameters() if p.requires_grad]
        return [AdamW(trained, lr=spec.learning_rate, weight_decay=spec.weight_decay, betas=(0.9, 0.98))]
    hidden, linear, rest = split_parameters(module)
    groups = [
        {"params": params, "lr": min(spec.learning_rate, highest)}
        for params, highest in ((linear, _LINEAR_RATE), (rest, _REST_RATE))
        if params
    ]
    return [
        Muon(hidden, lr=spec.learning_rate, weight_decay=spec.weight_decay),
        AdamW(groups, weight_decay=0.0, betas=(0.9, 0.98)),
    ]

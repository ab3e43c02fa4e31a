"""Models that a run would have to download first: a check names them and touches no network.

May import: channels.checks, linksim.{scenario, zoo}.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from linksim import scenario as spec
from linksim import zoo

__all__ = ["Download", "at_hand", "missing_losses", "missing_models", "missing_weights"]

CAPTION = "blip2"


@dataclass(frozen=True)
class Download:
    """What is not on this machine.

    Args:
        scheme: name of the scheme, or phase of a training, that cannot begin without; empty for a metric.
        field: of the scenario.
        name: repository on a hub, or file.
        source: where a run looks for it.
        size_gb: about how much it is [10^9 bytes]; None where that is not known.
    """

    scheme: str
    field: str
    name: str
    source: str
    size_gb: float | None

    def __str__(self) -> str:
        size = (
            "a download of unknown size" if self.size_gb is None else f"a download of {_size(self.size_gb)}"
        )
        return f"{self.field}: {self.name} is not on this machine, {size} from {self.source}"


def _size(gigabytes: float) -> str:
    return f"about {gigabytes:.0f} GB" if gigabytes >= 1 else f"about {1000 * gigabytes:.0f} MB"


def _repository(scheme: spec.SchemeBase, field: str, name: str) -> Iterator[Download]:
    if zoo.is_repository(name) and not zoo.is_here(name):
        where = f"schemes.{scheme.name}.{field}"
        yield Download(scheme.name, where, name, "the Hugging Face hub", zoo.DOWNLOAD_GB.get(name))


def missing_models(scheme: spec.SchemeBase) -> list[Download]:
    """Models of a scheme that a run downloads."""
    if isinstance(scheme, spec.JsccSpec):
        return list(_repository(scheme, "checkpoint", scheme.checkpoint))
    if isinstance(scheme, spec.SeparationSpec | spec.BoundBase):
        return list(_backbone(scheme.name, f"schemes.{scheme.name}.source.select", scheme.source.select))
    if isinstance(scheme, spec.DiffJsccSpec):
        caption = zoo.CAPTIONER if scheme.caption == CAPTION else scheme.caption
        models = list(_repository(scheme, "checkpoint", scheme.checkpoint))
        return models + ([] if caption == "none" else list(_repository(scheme, "caption", caption)))
    return []


def missing_weights(metrics: tuple[str, ...]) -> list[Download]:
    """Backbones of metrics that a run downloads; where that fails it goes on without those metrics."""
    return [found for name in metrics for found in _backbone("", f"metrics.{name}", name)]


def missing_losses(recipe: spec.TrainSpec) -> list[Download]:
    """Backbones of the losses of a training, which it cannot begin without."""
    names = {name: phase.name for phase in recipe.plan for name in phase.loss.measures}
    return [d for name, phase in names.items() for d in _backbone(phase, f"train.loss of {phase}", name)]


def at_hand() -> str:
    """LPIPS metrics whose weights are on this machine, in words; empty for none."""
    names = [f"lpips_{net}" for net in zoo.BACKBONES if zoo.backbone_at(net) is not None]
    return ", ".join(names)


def _backbone(scheme: str, field: str, metric: str) -> Iterator[Download]:
    net = zoo.lpips_backbone(metric)
    if net is not None and zoo.backbone_at(net) is None:
        backbone = zoo.BACKBONES[net]
        yield Download(scheme, field, backbone.file, backbone.url, backbone.size_gb)

"""Models that a run would have to download first: a check names them and touches no network."""

from __future__ import annotations

from dataclasses import dataclass

from linksim.scenario.training import TrainSpec
from linksim.weights import zoo
from linksim.weights.hub_files import hub_file_at, hub_folder_at
from linksim.weights.needs import needs

__all__ = [
    "CAPTION",
    "Download",
    "at_hand",
    "backbone",
    "classifies",
    "missing_losses",
    "missing_weights",
    "repository",
    "without_weights",
]

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


def repository(scheme: str, field: str, name: str) -> list[Download]:
    """A model that a field of a scheme names, where it is on a hub and not on this machine."""
    if not zoo.is_repository(name) or zoo.is_here(name):
        return []
    where = f"schemes.{scheme}.{field}"
    return [Download(scheme, where, name, "the Hugging Face hub", zoo.DOWNLOAD_GB.get(name))]


def missing_weights(metrics: tuple[str, ...], classifier: str | None = None) -> list[Download]:
    """Networks of metrics that a run downloads; where that fails it goes on without those metrics.

    Raises:
        KindError: no such classifier.
    """
    found = [found for name in metrics for found in backbone("", f"metrics.{name}", name)]
    return found + (_classifier(classifier) if classifier and any(map(classifies, metrics)) else [])


def classifies(metric: str) -> bool:
    """Whether a metric looks through the classifier of the scenario."""
    from linksim.kinds import find
    from linksim.metrics.tasks.classification import ClassMetric

    target = find("metric", "lpips_alex" if metric == "lpips" else metric).target
    return isinstance(target, type) and issubclass(target, ClassMetric)


def _classifier(name: str) -> list[Download]:
    """A classifier that is not on this machine."""
    from linksim.metrics.tasks.classifiers import BUNDLED, TORCHVISION, torchvision_weights

    if name.startswith(TORCHVISION):
        source = torchvision_weights(name)[1]
        there = hub_file_at(source) is not None
        return [] if there else [Download("", "classifier", source.file, source.url, source.size_gb)]
    if name == BUNDLED or not zoo.is_repository(name) or zoo.is_here(name):
        return []
    return [Download("", "classifier", name, "the Hugging Face hub", None)]


def missing_losses(recipe: TrainSpec) -> list[Download]:
    """Backbones of the losses of a training, which it cannot begin without."""
    names = {name: phase.name for phase in recipe.plan for name in phase.loss.measures}
    return [d for name, phase in names.items() for d in backbone(phase, f"train.loss of {phase}", name)]


def without_weights(metrics: tuple[str, ...]) -> tuple[str, ...]:
    """Those of some metrics that look through no file of weights, which may have to be fetched."""
    return tuple(name for name in metrics if not needs(name).weights)


def at_hand() -> str:
    """LPIPS metrics whose weights are on this machine, in words; empty for none."""
    names = [f"lpips_{net}" for net in zoo.BACKBONES if zoo.backbone_at(net) is not None]
    return ", ".join(names)


def backbone(scheme: str, field: str, metric: str) -> list[Download]:
    """The feature network of a metric, where it is not on this machine."""
    needed = needs(metric)
    if needed.repository and hub_folder_at(needed.repository) is None:
        size = zoo.DOWNLOAD_GB.get(needed.repository)
        return [Download(scheme, field, needed.repository, "the Hugging Face hub", size)]
    if not needed.backbone or zoo.backbone_at(needed.backbone) is not None:
        return []
    found = zoo.FEATURE_NETWORKS[needed.backbone]
    return [Download(scheme, field, found.file, found.url, found.size_gb)]

"""Further metrics of a run that was made earlier: what ``linksim measure`` and ``Run.measure`` do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from channels.checks import complaint
from linksim.api.simulation import counted, device_of
from linksim.metrics.base import MetricUnavailable
from linksim.results.store import ResultStore
from linksim.scenario.files import ScenarioError

if TYPE_CHECKING:
    import torch

    from linksim.run.runner import Progress, RunSummary

__all__ = ["measure"]


def measure(
    store: ResultStore,
    metrics: Sequence[str],
    progress: Progress,
    *,
    device: str | torch.device = "auto",
    workers: int | None = None,
    option: str = "",
) -> RunSummary:
    """Measure further metrics of a run: on pictures that it keeps, or on units that are run again.

    Args:
        store: run folder.
        metrics: names.
        progress: see :func:`linksim.simulate`.
        device, workers: see :func:`linksim.simulate`.
        option: what stands in front of the names of arguments in messages.

    Raises:
        ScenarioError, MetricUnavailable, ...: no such metric, or none that can be had here; nothing was
            written.
        RunError: a unit came out unlike before (the folder is as it was), or failed.
    """
    from linksim.api.errors import foreign_as_user_errors
    from linksim.build.objects import build_metrics
    from linksim.kinds import names as known_metrics
    from linksim.run.replaying import plan_of
    from linksim.run.runner import run

    names = list(dict.fromkeys("lpips_alex" if name == "lpips" else name for name in metrics))
    if not names:
        raise ScenarioError(complaint(f"{option}metric", "missing", "none", "the name of a metric"))
    unknown = [name for name in names if name not in known_metrics("metric")]
    if unknown:
        expected = f"one of {', '.join(known_metrics('metric'))}"
        raise ScenarioError(complaint(f"{option}metric", "unknown", unknown[0], expected))
    where, workers = device_of(device, f"{option}device"), counted(workers, f"{option}workers")
    with foreign_as_user_errors():
        plan = plan_of(store, names)
        for reason in build_metrics(tuple(names), plan.scenario.classifier).unavailable.values():
            raise MetricUnavailable(reason)
        return run(plan, store.folder, where, progress, workers=workers, only_known=True)

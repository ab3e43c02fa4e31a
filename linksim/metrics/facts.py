"""Facts of metrics for all that draws or prints: from the run that measured, wherever the classes are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from linksim.metrics.info import MetricInfo

__all__ = ["known_facts", "read_facts"]


def read_facts(name: str, stored: Mapping[str, Any]) -> MetricInfo:
    """Facts of a metric as run.json holds them: those of a package that is not installed here, too.

    What an older version did not write is taken from the class of the metric, if there is one here.

    Args:
        name: of the metric.
        stored: its block of run.json.
    """
    lacking = {f.name for f in fields(MetricInfo)} - {"name", *stored}
    if not lacking:
        return MetricInfo.from_run(name, stored)
    known = known_facts(name)
    return MetricInfo.from_run(name, {**({} if known is None else vars(known)), **stored})


def known_facts(name: str) -> MetricInfo | None:
    """Facts of a metric that is installed here, without ``reference`` where that says which weights were
    used: none are read. None of a metric that is not, or that knows its facts only when it measures.
    """
    from linksim.kinds import KindError, find
    from linksim.metrics.base import counts

    try:
        found = find("metric", name)
    except KindError:
        return None
    made = getattr(found.target, "facts", None)  # of a class whose facts depend on its arguments
    info = getattr(found.target, "info", None) if made is None else made(**found.bound)
    return info and replace(info, is_rate=counts(found.target))

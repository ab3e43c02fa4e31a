"""What a study without pictures (``images: none``) or a stopping rule cannot have is refused before a run."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from channels.checks import complaint
from linksim.build.downloads import classifies
from linksim.images.truth import Truth
from linksim.kinds import find
from linksim.metrics.base import ImageMetric, Metric, SetMetric, StateMetric, TaskMetric, counts
from linksim.scenario.errors import ScenarioError
from linksim.scenario.schema import Scenario

__all__ = ["check_payload_study", "check_stop", "check_tasks"]

log = logging.getLogger("linksim.build.scenario_checks")


def _metric(name: str) -> type[Metric]:
    """The class of a metric by its name in scenarios."""
    found: type[Metric] = find("metric", "lpips_alex" if name == "lpips" else name).target
    return found


def check_payload_study(scenario: Scenario) -> None:
    """Refuse what needs pictures where there are none.

    Raises:
        ScenarioError: names the field.
    """
    if scenario.images.has_pictures:
        return
    for name in scenario.metrics:
        if issubclass(_metric(name), ImageMetric | SetMetric | TaskMetric):
            got, expected = f"{name} with images: none", "metrics of bits, such as ber and bler"
            raise ScenarioError(complaint("metrics", "measures pictures", got, expected))
    for scheme in scenario.schemes:
        where = f"schemes.{scheme.name}"
        if not scheme.sends_payload:
            got = f"kind: {scheme.kind} with images: none"
            raise ScenarioError(complaint(where, "sends pictures", got, "separation or uncoded"))
        for field, (value, usual) in scheme.of_pictures_only().items():
            if value != usual:
                expected = f"{field}: {usual}" if isinstance(usual, str) else "none"
                got = f"{value} with images: none" if isinstance(value, str) else "one with images: none"
                raise ScenarioError(complaint(f"{where}.{field}", "is about pictures", got, expected))


def check_tasks(scenario: Scenario, truths: Mapping[str, Truth | None]) -> None:
    """Refuse tasks whose truth the pictures do not tell, and a classifier that nothing looks through.

    Args:
        scenario: of a run.
        truths: of its pictures, by name.

    Raises:
        ScenarioError: names the field.
    """
    for name in scenario.metrics:
        metric = _metric(name)
        if not (isinstance(metric, type) and issubclass(metric, TaskMetric)):
            continue
        without = [image for image, truth in truths.items() if not isinstance(truth, metric.truth)]
        if without:
            got = f"{name} with images of kind: {scenario.images.kind} ({without[0]})"
            expected = f"pictures with a {metric.truth.__name__}, such as {metric.such_as}"
            raise ScenarioError(complaint("metrics", "nothing is known to compare with", got, expected))
    if scenario.classifier is not None and not any(map(classifies, scenario.metrics)):
        got, expected = scenario.classifier, "top1_agreement or posterior_kl in metrics, or no classifier"
        raise ScenarioError(complaint("classifier", "has no effect", got, expected))


def check_stop(scenario: Scenario) -> None:
    """Refuse a stopping rule by a metric that cannot decide.

    Raises:
        ScenarioError: names the field.
    """
    if scenario.stop is None or scenario.stop.metric is None:
        return
    name, metric = scenario.stop.metric, _metric(scenario.stop.metric)
    if issubclass(metric, SetMetric):
        got = f"{name}, of all pictures together"
        raise ScenarioError(
            complaint("stop.metric", "has no value of a trial", got, "a metric of pictures or bits")
        )
    below = scenario.stop.end_below
    if below is not None:
        _check_end(scenario, below, metric)
    for scheme in scenario.schemes:
        if counts(metric) and not (scheme.has_bits or issubclass(metric, StateMetric)):
            log.warning("schemes.%s: has no %s, got stop.metric: it runs to max_trials", scheme.name, name)


def _check_end(scenario: Scenario, below: float, metric: type[Metric]) -> None:
    """Refuse an end over SNR that no curve reaches, or that comes too early."""
    assert scenario.stop is not None
    if not counts(metric):
        got, expected = f"stop.metric: {scenario.stop.metric}", "stop.metric: an error rate, such as bler"
        raise ScenarioError(complaint("stop.end_below", "not of a rate", got, expected))
    least = 1 - (1 - scenario.statistics.confidence) ** (1 / scenario.stop.max_trials)
    if below <= least:
        got = f"{below:g} with at most {scenario.stop.max_trials} trials"
        expected, cure = f"more than {least:.2g}, which these leave without an error", "Use more max_trials."
        raise ScenarioError(complaint("stop.end_below", "never known", got, expected, cure))
    for scheme in scenario.schemes:
        if scheme.adapts:
            got = f"schemes.{scheme.name} with mcs: adaptive, whose error rate rises with every step"
            raise ScenarioError(complaint("stop.end_below", "ends too early", got, "fixed MCS"))

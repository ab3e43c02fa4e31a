"""What a study without pictures (``images: none``) or a stopping rule cannot have is refused before a run."""

from __future__ import annotations

from channels.checks import complaint
from linksim.kinds import find
from linksim.metrics.base import ImageMetric, Metric, SetMetric, counts
from linksim.scenario.errors import ScenarioError
from linksim.scenario.schema import Scenario

__all__ = ["check_payload_study", "check_stop"]


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
        if issubclass(_metric(name), ImageMetric | SetMetric):
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
    if scenario.stop.end_below is not None and not counts(metric):
        expected = "stop.metric: an error rate, such as bler"
        raise ScenarioError(complaint("stop.end_below", "not of a rate", f"stop.metric: {name}", expected))

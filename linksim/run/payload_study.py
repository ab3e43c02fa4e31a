"""Studies without pictures (``images: none``): what they cannot have is refused before a run."""

from __future__ import annotations

from channels.checks import complaint
from linksim.kinds import find
from linksim.metrics.base import ImageMetric, SetMetric
from linksim.scenario.errors import ScenarioError
from linksim.scenario.schema import Scenario

__all__ = ["check_payload_study"]


def check_payload_study(scenario: Scenario) -> None:
    """Refuse what needs pictures where there are none.

    Raises:
        ScenarioError: names the field.
    """
    if scenario.images.has_pictures:
        return
    for name in scenario.metrics:
        if issubclass(find("metric", "lpips_alex" if name == "lpips" else name).target, ImageMetric | SetMetric):
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

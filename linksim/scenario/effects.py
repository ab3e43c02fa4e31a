"""Fields that change nothing are refused where they are given or swept: readers would believe in one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from channels.checks import complaint
from linksim.scenario.files import ScenarioError
from linksim.scenario.schema import ChannelBase, Scenario, SchemeBase, channel_name

__all__ = ["check_channel_effects", "check_effects"]

_Idle = dict[str, tuple[Any, Any]]


def check_channel_effects(name: str, variants: Sequence[ChannelBase]) -> None:
    """Refuse fields that change nothing in any variant of a channel.

    Args:
        name: of the channel.
        variants: the channel at every combination of swept fields.

    Raises:
        ScenarioError: names the field.
    """
    _refuse(f"channels.{name}", [variant.without_effect() for variant in variants])


def check_effects(variants: Sequence[Scenario]) -> None:
    """Refuse fields of channels and schemes that change nothing in any variant of a scenario.

    Args:
        variants: the scenario at every combination of swept fields.

    Raises:
        ScenarioError: names the field.
    """
    first = variants[0]
    for i, channel in enumerate(first.channels):
        idle = [v.channels[i].without_effect() | _untold(v.channels[i], v.schemes) for v in variants]
        _refuse(f"channels.{channel_name(channel)}", idle)
    for i, scheme in enumerate(first.schemes):
        _refuse(
            f"schemes.{scheme.name}", [v.schemes[i].without_effect(c) for v in variants for c in v.channels]
        )


def _untold(channel: ChannelBase, schemes: Sequence[SchemeBase]) -> _Idle:
    """What the ends would be told of the SNR, if any scheme were to ask."""
    told, usual = channel.told.transmitter, type(channel.told.transmitter)()
    asked = {scheme.told_by for scheme in schemes}
    names = list(type(told).model_fields) if asked == {"none"} else []
    if "instantaneous_snr" not in asked:
        names.append("delay_slots")
    found = {f"told.transmitter.{name}": (getattr(told, name), getattr(usual, name)) for name in names}
    if not any(scheme.receiver_is_told for scheme in schemes):
        heard, nothing = channel.told.receiver, type(channel.told.receiver)()
        fields = type(heard).model_fields
        found |= {f"told.receiver.{name}": (getattr(heard, name), getattr(nothing, name)) for name in fields}
    return found


def _refuse(where: str, idle: Sequence[_Idle]) -> None:
    for path, (_, usual) in idle[0].items():
        values = [fields[path][0] for fields in idle if path in fields]
        if len(values) == len(idle) and any(value != usual for value in values):
            got = ", ".join(dict.fromkeys(_shown(value) for value in values))
            expected = "none here, or what makes use of it"
            raise ScenarioError(complaint(f"{where}.{path}", "has no effect", got, expected))


def _shown(value: Any) -> str:
    if isinstance(value, BaseModel):
        return str(value.model_dump(exclude_defaults=True))
    return f"{value:g}" if isinstance(value, float) else str(value)

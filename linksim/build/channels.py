"""Channels of scenarios: built, tried, and by what name a link-adaptation table calls them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import BaseModel, TypeAdapter, ValidationError

from channels.base import ChannelOperator, Precision
from channels.checks import complaint
from channels.flat.interleaving import InterleavedChannel
from linksim.build.foreign import built, foreign_as_input
from linksim.coding.calibration import Calibration, CalibrationError
from linksim.kinds.channels.base import ChannelBase, channel_name
from linksim.kinds.context import BuildContext
from linksim.kinds.schemes.base import SchemeBase
from linksim.kinds.schemes.separation import SeparationSpec
from linksim.kinds.union import KindOf
from linksim.kinds.used import foreign_kinds
from linksim.scenario.effects import check_channel_effects
from linksim.scenario.files import ScenarioError, Training

if TYPE_CHECKING:
    from linksim.scenario.training import TrainChannelSpec

__all__ = [
    "build_channel",
    "calibration_key",
    "load_calibration",
    "refused_as_input",
    "sent_over",
    "training_channels",
    "try_channel",
]


@contextmanager
def refused_as_input(where: str, *parts: BaseModel) -> Iterator[None]:
    """What a channel's own checks refuse is bad input of the scenario; so is whatever code of other people
    raises.

    Args:
        where: field that the message is to name.
        parts: descriptions that are in use.

    Raises:
        ScenarioError: in place of a ValueError, or of what a foreign kind raised.
    """
    try:
        with foreign_as_input(where, *parts, passing=(ValueError,)):
            yield
    except ScenarioError as problem:
        if str(problem).startswith((f"{where}:", f"{where}.")):
            raise
        raise ScenarioError(f"{where}: {problem}") from None
    except ValueError as problem:
        raise ScenarioError(f"{where}: {problem}") from None


def try_channel(operator: ChannelOperator, num_uses: int) -> None:
    """Send one frame: what depends on its length is refused here, such as a recording that is shorter.

    Raises:
        ValueError: what the channel refuses.
    """
    x = torch.ones(1, num_uses, dtype=operator.cdtype, device=operator.device)
    operator(x, torch.zeros(1), [0])


def build_channel(
    channel: ChannelBase, device: torch.device, precision: Precision = "single"
) -> ChannelOperator:
    """The channel operator of a description.

    Raises:
        ValueError: antennas, pilots and streams that do not go together.
    """
    operator = channel.build(BuildContext(device, precision))
    built("", operator, ChannelOperator, channel)
    return operator


def recordings(scenario: Training) -> dict[str, str]:
    """Digest of every recording that a training goes through, by field."""
    found = {}
    for index, part in enumerate(scenario.recipe.channels):
        try:
            files = part.channel.files()
        except OSError:  # the channel is built before anything is trained, and says it
            continue
        place = f"{scenario.block}.channels.{index}.channel"
        built_in = len(files) == 1 and getattr(getattr(part.channel, "model", None), "path", None) in files
        for name, digest in files.items():
            found[f"{place}.model.path" if built_in else f"{place}: {name}"] = digest
    return found


def sent_over(scheme: SchemeBase, channel: ChannelBase, operator: ChannelOperator) -> ChannelOperator:
    """The operator of a channel as a scheme uses it: interleaved or not."""
    return InterleavedChannel(operator) if scheme.interleaves(channel) else operator


def training_channels(
    mixture: Sequence[TrainChannelSpec], device: torch.device, num_uses: int, *, trace: bool = True
) -> list[ChannelOperator]:
    """The operators of a training, tried.

    Args:
        mixture: channels of the recipe.
        device: where they run.
        num_uses: data uses of a frame.
        trace: False only checks a request for rays.

    Raises:
        ScenarioError: a channel that cannot be built, or a field without effect.
    """
    operators = []
    for part in mixture:
        name = channel_name(part.channel)
        check_channel_effects(name, [part.channel])
        with refused_as_input(f"channels.{name}", part.channel):
            chosen = part.channel if trace else part.channel.untraced()
            operator = build_channel(chosen, device)
            try_channel(operator, num_uses)
        operators.append(InterleavedChannel(operator) if part.channel.has_grid else operator)
    return operators


_UNLIKE = ("interleave", "csit", "report_delay_slots")  # what a key has beside the fields of the channel


def calibration_key(channel: ChannelBase, scheme: SchemeBase) -> dict[str, object]:
    """What a link-adaptation table calls a channel: its specification without the name, the link budget and
    defaults, so that fields which come later do not make it another channel; and what a scheme makes of it,
    ``interleave`` where its symbols are sent in a random order, ``csit`` and ``report_delay_slots`` where it
    is told the SNR of the frame. What the ends are told wrongly is no part of it: a table does not know that.
    """
    key = channel.model_dump(mode="json", exclude={"name", "link_budget", "told"}, exclude_defaults=True)
    if scheme.interleaves(channel):
        key["interleave"] = True
    if foreign := foreign_kinds(channel):
        key["kinds"] = foreign
    if scheme.calibrated_csit == "instantaneous_snr":
        key["csit"] = "instantaneous_snr"
        if channel.told.transmitter.delay_slots:
            key["report_delay_slots"] = channel.told.transmitter.delay_slots
    return key


def load_calibration(path: Path) -> Calibration:
    """A link-adaptation table whose channels are called as :func:`calibration_key` calls them, whichever
    version of linksim wrote it.

    Raises:
        CalibrationError: missing or broken.
    """
    known: TypeAdapter[ChannelBase] = TypeAdapter(Annotated[ChannelBase, KindOf("channel")])

    def name(stored: dict[str, object]) -> dict[str, object]:
        if "kinds" in stored:  # of other people, who may not be here: as it was written
            return stored
        channel = {field: value for field, value in stored.items() if field not in _UNLIKE}
        link: dict[str, Any] = {"interleave": stored.get("interleave") is True}
        if "csit" in stored:
            link["csit"] = stored["csit"]
            transmitter = {"delay_slots": stored.get("report_delay_slots", 0)}
            channel["told"] = {"transmitter": transmitter}
        try:
            scheme = SeparationSpec(kind="separation", name="any", **link)
            return calibration_key(known.validate_python(channel), scheme)
        except ValidationError as problem:
            error = problem.errors(include_url=False)[0]
            got = f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}"
            expected = "a channel of a scenario"
            raise CalibrationError(complaint(f"calibration {path}", "broken", got, expected)) from None

    return Calibration.load(path).renamed(name)

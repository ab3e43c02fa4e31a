"""Built objects of one combination of swept values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from channels.base import ChannelOperator
from channels.checks import complaint
from linksim.build.channels import (
    build_channel,
    refused_as_input,
    sent_over,
    try_channel,
)
from linksim.build.contracts import channel_warnings, check_promises, check_sends
from linksim.build.foreign import cause, foreign_as_input, foreign_parts, place_of
from linksim.build.objects import (
    build_scheme,
)
from linksim.kinds.context import Shared
from linksim.link import RunError, Told, ToldEnd
from linksim.run.arrivals import cannot_fit
from linksim.run.plan import Batch, Plan
from linksim.scenario.files import ScenarioError, Variant
from linksim.scenario.schema import (
    ChannelBase,
    SchemeBase,
    channel_name,
    channel_names,
)
from linksim.schemes.base import Bound, PayloadScheme, Scheme, StreamScheme

__all__ = ["Machine", "failing"]


def _told(channel: ChannelBase) -> Told:
    """What the ends of a channel are told of the SNR."""
    sent, heard = channel.told.transmitter, channel.told.receiver
    return Told(*(ToldEnd(end.fixed_db, end.offset_db, end.error_db) for end in (sent, heard)))


@contextmanager
def failing(what: str) -> Iterator[None]:
    """What a metric of other people raises on the way."""
    try:
        yield
    except OSError:
        raise
    except Exception as problem:
        raise RunError(f"{what} failed: {cause(problem)}") from problem


@contextmanager
def _refused(where: str) -> Iterator[None]:
    """What a scheme refuses is bad input; ``where`` is put in front."""
    try:
        yield
    except ValueError as problem:
        raise ScenarioError(f"{where}: {problem}") from None


def _payload_check(built: Scheme | Bound) -> Callable[[int], None]:
    """The check of a scheme that said that it sends random bits.

    Raises:
        ValueError: it does not.
    """
    if not isinstance(built, PayloadScheme):
        expected = "check_payload and transmit_payload of linksim.schemes.base.PayloadScheme"
        raise ValueError(
            complaint("sends_payload", "half written", f"class {type(built).__name__}", expected)
        )
    return built.check_payload


class Machine:
    """Built objects of one variant."""

    def __init__(
        self,
        plan: Plan,
        variant: Variant,
        device: torch.device,
        workers: int,
        shared: Shared,
        *,
        check: bool = False,
    ) -> None:
        """``shared`` by all variants of a run. ``check``: nothing runs; no rays are traced, and of large
        models only headers are read.
        """
        self._shared = shared
        scenario = variant.scenario
        self.variant = variant
        self.workers = workers
        self.operators: dict[str, ChannelOperator] = {}  # as they are, before any scheme sends over them
        self.channels: dict[tuple[str, str], ChannelOperator] = {}
        self.schemes: dict[tuple[str, str], Scheme | Bound] = {}
        self.snr_db: dict[str, tuple[float, ...]] = {}
        self.told: dict[str, Told] = {}
        self.warnings: list[str] = []  # of foreign kinds, a line each
        for name, spec in zip(channel_names(plan.scenario), scenario.channels, strict=True):
            with refused_as_input(f"channels.{name}", spec):
                chosen = spec.untraced() if check else spec
                operator = self._operator(plan, chosen, device)
                self.snr_db[name] = self._snr_db(chosen, operator)
            self.operators[name] = operator
            self.told[name] = _told(spec)
            for scheme in scenario.schemes:
                self.channels[name, scheme.name] = sent_over(scheme, spec, operator)
                self.schemes[name, scheme.name] = self._build(plan, scheme, spec, device, check)
                self._try(plan, name, scheme)

    def _snr_db(self, channel: ChannelBase, operator: ChannelOperator) -> tuple[float, ...]:
        """Swept SNRs, or the one of a link budget."""
        result = channel.resulting_snr_db(operator)
        return self.variant.scenario.sweep.snr_db or () if result is None else (result,)

    def batches(self, plan: Plan) -> Iterator[Batch]:
        """See :meth:`Plan.batches`."""
        return plan.batches(self.variant, self.snr_db)

    def _operator(self, plan: Plan, channel: ChannelBase, device: torch.device) -> ChannelOperator:
        """The operator, tried once at every frame length: a recording may be shorter than a frame."""
        operator = build_channel(channel, device)
        found = channel_warnings(channel, operator, plan.median_budget(self.variant))
        self.warnings += [f"channels.{channel_name(channel)}: {line}" for line in found]
        for budget in {plan.budget(self.variant, image) for image in plan.images}:
            try_channel(operator, budget)
        return operator

    def _build(
        self, plan: Plan, scheme: Any, channel: ChannelBase, device: torch.device, check: bool
    ) -> Scheme | Bound:
        where, whole = f"schemes.{scheme.name}", not check or bool(foreign_parts(scheme))
        with foreign_as_input(where, scheme, passing=(ValueError,)):
            try:
                built = build_scheme(
                    scheme, channel, device, self.workers, weights=whole, shared=self._shared
                )
            except ValueError as problem:  # checkpoints and tables: the message starts with the field
                link = "." if str(problem)[:1].islower() else ": "  # a field of the scheme, or a file
                raise ScenarioError(f"{where}{link}{problem}") from None
        with _refused(where):
            check_promises(scheme, built)
        for name, image in plan.images.items():
            with_image = f"{where} with image {name}" if plan.has_pictures else where
            with _refused(with_image), foreign_as_input("", scheme, passing=(ValueError,)):
                budget = plan.budget(self.variant, name)
                check_sizes: Callable[..., Any] = built.check if plan.has_pictures else _payload_check(built)
                answer = check_sizes(*(image.shape[1:] if plan.has_pictures else ()), budget)
                if answer is not None:  # it would be overheard
                    got, expected = f"{answer!r} returned", "a ValueError raised, or None"
                    raise ValueError(
                        complaint(f"{place_of(None, scheme) or built.name}: check", "answers", got, expected)
                    )
        return built

    def _try(self, plan: Plan, channel: str, scheme: SchemeBase) -> None:
        """Send a picture with a foreign scheme."""
        key, (name, image) = (channel, scheme.name), next(iter(plan.images.items()))
        if not self.snr_db[channel] or not plan.has_pictures:
            return
        where, budget = f"schemes.{scheme.name} with image {name}", plan.budget(self.variant, name)
        link = (self.channels[key], image, self.snr_db[channel][0], budget, self.told[channel])
        with _refused(where), foreign_as_input("", scheme, passing=(ValueError,)):
            check_sends(scheme, self.schemes[key], *link)

    def descriptions(self, plan: Plan, batch: Batch) -> tuple[ChannelBase, SchemeBase]:
        """Of the channel and the scheme of a batch."""
        scenario = self.variant.scenario
        channels = dict(zip(channel_names(plan.scenario), scenario.channels, strict=True))
        return channels[batch.channel], next(s for s in scenario.schemes if s.name == batch.scheme)

    def cannot_fit(self, plan: Plan) -> list[str]:
        """Where pictures can never arrive, a line each; of schemes that would have to start programs nobody
        knows.
        """
        lines: list[str] = []
        unasked = {scheme.name for scheme in self.variant.scenario.schemes if scheme.starts_programs}
        if not plan.has_pictures:
            return lines
        for (channel, name), scheme in self.schemes.items():
            if isinstance(scheme, StreamScheme) and name not in unasked:
                told = self.told[channel].transmitter.of(torch.tensor(self.snr_db[channel]), (), "")
                found = cannot_fit(
                    scheme, plan.images, lambda image: plan.budget(self.variant, image), told.tolist()
                )
                at = "".join(f", {path} {value}" for path, value in self.variant.values)
                lines += [f"schemes.{name} on {channel}{at}: {line}" for line in found]
        return lines

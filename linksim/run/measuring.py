"""What metrics say of what went over the link, and the records that are made of it."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from channels.base import ChannelOperator
from channels.checks import complaint
from linksim.build.objects import Metrics, build_metrics
from linksim.images.sets import image_digest
from linksim.images.truth import Truth
from linksim.link import LinkOutput
from linksim.metrics.base import Metric, SetMetric
from linksim.results.records import Record, UnitKey
from linksim.run.plan import Plan

__all__ = ["Features", "HasFeatures", "Measure", "check_finite", "column_of", "measure_of", "records_of"]

Features = tuple[str, str, NDArray[np.float16]]  # name of the features, digest of the picture, [n, d]
HasFeatures = Callable[
    [str, str], bool
]  # whether a run has the features of this name of the picture with this digest


def _features(metric: SetMetric, shown: Tensor) -> NDArray[np.float16]:
    """[n, d] of a picture [3, H, W] uint8.

    Raises:
        ValueError: another array, or values that are not finite.
    """
    found = np.asarray(metric.features(shown))
    if found.ndim != 2 or not np.issubdtype(found.dtype, np.floating) or not np.isfinite(found).all():
        finite = (
            "" if not np.issubdtype(found.dtype, np.floating) or np.isfinite(found).all() else ", not finite"
        )
        got = f"{found.dtype} {list(found.shape)}{finite}"
        raise ValueError(complaint(f"metric {metric.info.name}", "no features", got, "finite floats [n, d]"))
    return found


def _one(metric: Metric, value: Any) -> float:
    """The value of one picture, from what a metric gave.

    Raises:
        ValueError: another number of values.
    """
    if isinstance(value, Tensor) and value.numel() == 1:
        return float(value)
    if isinstance(value, float | int):
        return float(value)
    got = f"a tensor {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
    raise ValueError(complaint(f"metric {metric.info.name}", "wrong shape", got, "[1], one per image"))


class Measure:
    """Metrics of single pictures, remembered: a digital link shows the same picture at many points.

    Args:
        metrics: of a run.
        truths: what its pictures are known to say, by name.
    """

    _KEEP = 4096

    def __init__(self, metrics: Metrics, truths: Mapping[str, Truth | None]) -> None:
        self.metrics, self.truths = metrics, truths
        self._known: OrderedDict[tuple[str, str], dict[str, float]] = OrderedDict()

    def values(self, name: str, shown: Tensor, original: Tensor) -> dict[str, float]:
        """Metrics by name of a picture [3, H, W] uint8 against the original ``name``."""
        key = (name, image_digest(shown))
        if key not in self._known:
            x_hat, x = shown[None].float() / 255, original[None].float() / 255
            found = {m.info.name: _one(m, m(x_hat, x)) for m in self.metrics.image}
            truth = [self.truths[name]] if self.metrics.task else []
            self._known[key] = found | {m.info.name: _one(m, m(x_hat, truth)) for m in self.metrics.task}
            if len(self._known) > self._KEEP:
                self._known.popitem(last=False)
        return dict(self._known[key])

    def features(self, shown: Tensor, has: HasFeatures) -> list[Features]:
        """What metrics of sets compare of a picture [3, H, W] uint8 and the run lacks."""
        found, digest = {}, image_digest(shown)
        for metric in self.metrics.sets:
            name = metric.info.features
            if name not in found and not has(name, digest):
                found[name] = _features(metric, shown)
        return [(name, digest, array) for name, array in found.items()]

    def lacks_features(self, digest: str, has: HasFeatures) -> bool:
        """Whether features of a picture that was shown are not there: deleted, then made again."""
        return any(not has(name, digest) for name in {metric.info.features for metric in self.metrics.sets})


def measure_of(plan: Plan) -> Measure:
    """What measures a plan; metrics that cannot be had are left out and listed."""
    return Measure(build_metrics(plan.scenario.metrics, plan.scenario.classifier), plan.truths)


def column_of(metric: Metric, found: Any, batch: int) -> list[Any]:
    """What a metric gave for a batch, one value per image.

    Raises:
        ValueError: another number of values.
    """
    column = found.tolist() if isinstance(found, Tensor | np.ndarray) else found
    if not isinstance(column, list | tuple) or len(column) != batch:
        shape = f"values {list(found.shape)}" if hasattr(found, "shape") else f"a {type(found).__name__}"
        got = f"{len(column)} values" if isinstance(column, list | tuple) else shape
        raise ValueError(
            complaint(f"metric {metric.info.name}", "wrong shape", got, f"{batch}, one per image")
        )
    return list(column)


def _counts(metrics: Metrics, out: LinkOutput, batch: int) -> dict[str, list[tuple[int, int]]]:
    """(errors, trials) per image by metric."""
    counts: dict[str, list[tuple[int, int]]] = {}
    bits, hat = out.sent_bits, out.reconstruction.bits_hat
    if bits is not None and hat is not None:
        for metric in metrics.count:
            found = metric(hat, bits)
            if not isinstance(found, tuple) or len(found) != 2:
                got = f"a {type(found).__name__}"
                raise ValueError(
                    complaint(f"metric {metric.info.name}", "no counts", got, "(errors, trials)")
                )
            errors, trials = (column_of(metric, part, batch) for part in found)
            counts[metric.info.name] = list(zip(errors, trials, strict=True))
    for fate in metrics.state:
        counts[fate.info.name] = column_of(fate, fate(out.reconstruction.states), batch)
    return counts


def records_of(
    keys: Sequence[UnitKey],
    seeds: Sequence[int],
    original: Tensor,
    shown: Tensor,
    out: LinkOutput,
    measure: Measure,
    seconds: float,
    channel: ChannelOperator,
    independent_bits: bool,
) -> list[Record]:
    """Records of a batch.

    Args:
        keys: of its units, in order.
        seeds: of their channel draws.
        original, shown: [B, 3, H, W] uint8.
        out: of the link.
        measure: metrics.
        seconds: of each unit.
        channel: that was sent over.
        independent_bits: see :class:`Record`.

    Raises:
        ValueError: what a metric gives is not one finite value per image.
    """
    values = [measure.values(k.image, a, b) for k, a, b in zip(keys, shown, original, strict=True)]
    if out.transmitted is not None:
        sent = out.transmitted
        for fact in measure.metrics.link:
            column = fact(sent.symbols, sent.received, channel, sent.draw)
            for one, value in zip(values, column_of(fact, column, len(values)), strict=True):
                one[fact.info.name] = value
    for key, one in zip(keys, values, strict=True):
        check_finite(key, one)
    counts = _counts(measure.metrics, out, len(values))
    return [
        Record(
            key=key,
            seed=seeds[i],
            state=out.reconstruction.states[i],
            values=values[i],
            counts={name: column[i] for name, column in counts.items()},
            data_uses=out.uses.data * out.transmissions[i],
            pilot_uses=out.uses.pilot * out.transmissions[i],
            guard_uses=out.uses.guard * out.transmissions[i],
            transmissions=out.transmissions[i],
            side_info_bits=out.side_info_bits,
            source_values=original[i].numel(),
            seconds=round(seconds, 4),
            independent_bits=independent_bits,
            info=dict(out.info[i]) if out.info else {},
            shown=image_digest(shown[i]),
        )
        for i, key in enumerate(keys)
    ]


def check_finite(key: UnitKey, values: Mapping[str, float]) -> None:
    """Raise ValueError for a value of a unit that is no finite number."""
    for name, value in values.items():
        if not math.isfinite(value):
            raise ValueError(f"metric {name} of image {key.image}, trial {key.trial}: got {value}.")

"""What metrics say of what went over the link, and the records that are made of it."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from channels.base import ChannelOperator
from channels.checks import complaint
from linksim.build.objects import Metrics, build_metrics
from linksim.images.sets import image_digest
from linksim.images.truth import Truth
from linksim.link import LinkOutput
from linksim.metrics.base import ImageMetric, Metric, SetMetric, keep_name
from linksim.results.records import Record, UnitKey
from linksim.run.plan import Plan
from linksim.source.sizes import Memory

__all__ = [
    "Features",
    "HasFeatures",
    "Measure",
    "check_finite",
    "column_of",
    "is_ours",
    "measure_of",
    "records_of",
]

Features = tuple[str, str, NDArray[np.float16]]  # name of the features, digest of the picture, [n, d]
HasFeatures = Callable[
    [str, str], bool
]  # whether a run has the features of this name of the picture with this digest

_ORIGINALS_BYTES = 1 << 27  # 28 pictures of 512 x 768
_MOST_THREADS = 8  # a batch has no more pictures, unless that is asked for


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


def is_ours(metric: Metric) -> bool:
    """Whether a metric is one of linksim's."""
    return type(metric).__module__.partition(".")[0] == "linksim"


@lru_cache(maxsize=4)
def _threads(num: int) -> ThreadPoolExecutor:
    """As many threads, eight at most, in each of which PyTorch uses no others."""
    size = max(1, min(num, _MOST_THREADS))
    together = threading.Barrier(size + 1)
    pool = ThreadPoolExecutor(size, "linksim-metrics")
    for _ in range(size):
        pool.submit(_alone, together)
    together.wait()
    torch.set_num_threads(num)  # it is of a thread, and of those that begin later
    return pool


def _alone(together: threading.Barrier) -> None:
    torch.set_num_threads(1)
    torch.get_num_threads()  # else the first operation takes the number of the process
    together.wait()


class Measure:
    """Metrics of single pictures, remembered: a digital link shows the same picture at many points.

    Pictures of a batch are measured side by side, each by one thread, so that values depend neither on what
    else is in the batch nor on how many threads there are.

    Args:
        metrics: of a run.
        truths: what its pictures are known to say, by name.
    """

    _KEEP = 4096

    def __init__(self, metrics: Metrics, truths: Mapping[str, Truth | None]) -> None:
        self.metrics, self.truths = metrics, truths
        self._known: OrderedDict[tuple[str, str], dict[str, float]] = OrderedDict()
        self._originals = Memory(_ORIGINALS_BYTES)
        self._foreign = threading.Lock()
        self._num_threads = torch.get_num_threads()  # of who makes it, not of the thread that measures

    def values(self, name: str, shown: Tensor, original: Tensor) -> dict[str, float]:
        """Metrics by name of a picture [3, H, W] uint8 against the original ``name``."""
        return self.all_values([name], shown[None], original[None], [image_digest(shown)])[0]

    def all_values(
        self, names: Sequence[str], shown: Tensor, originals: Tensor, digests: Sequence[str]
    ) -> list[dict[str, float]]:
        """The same of pictures [B, 3, H, W] uint8 with these digests."""
        keys = list(zip(names, digests, strict=True))
        rows = {key: row for row, key in enumerate(keys) if key not in self._known}
        threads = _threads(self._num_threads)
        begun = {
            key: threads.submit(self._measured, key[0], shown[row], self._float(key[0], originals[row]))
            for key, row in rows.items()
        }
        found = {key: self._known[key] for key in keys if key not in begun}
        for key, future in begun.items():
            self._known[key] = found[key] = future.result()
        while len(self._known) > self._KEEP:
            self._known.popitem(last=False)
        return [dict(found[key]) for key in keys]

    def _float(self, name: str, original: Tensor) -> Tensor:
        """[1, 3, H, W] in [0, 1] of an original; one object as long as it is remembered."""
        known = self._originals.get(name)
        if not isinstance(known, Tensor):
            known = original[None].float() / 255
            self._originals.put(name, known)
            keep_name(known)
        return known

    def _measured(self, name: str, shown: Tensor, x: Tensor) -> dict[str, float]:
        x_hat = shown[None].float() / 255
        found = {m.info.name: _one(m, self._safely(m, x_hat, x)) for m in self.metrics.image}
        truth = [self.truths[name]] if self.metrics.task else []
        with self._foreign:  # readers of pictures hold models that nobody else may use meanwhile
            return found | {m.info.name: _one(m, m(x_hat, truth)) for m in self.metrics.task}

    def _safely(self, metric: ImageMetric, x_hat: Tensor, x: Tensor) -> Any:
        """What a metric gives; those of other people are not asked by two threads at a time."""
        if is_ours(metric):
            return metric(x_hat, x)
        with self._foreign:
            return metric(x_hat.clone(), x.clone())  # it may work in place

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
    digests = [image_digest(one) for one in shown]
    values = measure.all_values([key.image for key in keys], shown, original, digests)
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
            shown=digests[i],
        )
        for i, key in enumerate(keys)
    ]


def check_finite(key: UnitKey, values: Mapping[str, float]) -> None:
    """Raise ValueError for a value of a unit that is no finite number."""
    for name, value in values.items():
        if not math.isfinite(value):
            raise ValueError(f"metric {name} of image {key.image}, trial {key.trial}: got {value}.")

"""What a metric is: a class that derives from one of these bases and has ``info``."""

from __future__ import annotations

import hashlib
import threading
import weakref
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor

from channels.base import ChannelOperator
from channels.checks import complaint
from channels.types import Draw, Received
from linksim.images.truth import Truth
from linksim.metrics.info import MetricInfo

__all__ = [
    "MEASURES",
    "CountMetric",
    "ImageMetric",
    "LinkMetric",
    "Metric",
    "MetricInfo",
    "MetricUnavailable",
    "OfOriginals",
    "SetMetric",
    "StateMetric",
    "TaskMetric",
    "check_pair",
    "counts",
    "keep_name",
]


class MetricUnavailable(RuntimeError):
    """A metric that cannot be computed here, with the reason and the cure."""


def counts(metric: type[Metric]) -> bool:
    """Whether a metric counts errors and trials: what is shown of it is a rate."""
    return issubclass(metric, CountMetric | StateMetric)


def check_pair(name: str, x_hat: Tensor, x: Tensor, min_side: int) -> None:
    """Refuse pictures that are not two batches [B, 3, H, W] of one size, or too small for a metric.

    Raises:
        ValueError: names the metric and what it expects.
    """
    if x_hat.shape != x.shape or x.dim() != 4 or x.shape[1] != 3:
        got = f"{list(x_hat.shape)} and {list(x.shape)}"
        raise ValueError(complaint(name, "wrong shape", got, "two batches [B, 3, H, W] of one size"))
    if min(x.shape[2:]) < min_side:
        got = f"{x.shape[2]} x {x.shape[3]} pixels"
        raise ValueError(complaint(name, "image too small", got, f"sides of at least {min_side}"))


_NAMES: OrderedDict[int, tuple[weakref.ref[Tensor], bytes]] = OrderedDict()
_NAMES_LOCK = threading.Lock()


def _name_of(x: Tensor) -> bytes:
    """Digest of a tensor."""
    with _NAMES_LOCK:
        found = _NAMES.get(id(x))
    if found is not None and found[0]() is x:
        return found[1]
    pixels = x.detach().cpu().contiguous()
    head = f"{x.device} {pixels.dtype} {tuple(pixels.shape)}".encode()
    return hashlib.sha256(head + pixels.view(torch.uint8).numpy().tobytes()).digest()


def keep_name(x: Tensor) -> None:
    """Remember the digest of a tensor that nobody changes any more: metrics need not compute it again."""
    name = _name_of(x)
    with _NAMES_LOCK:
        _NAMES[id(x)] = weakref.ref(x), name
        while len(_NAMES) > _NUM_NAMES:
            _NAMES.popitem(last=False)


T = TypeVar("T")
_NUM_NAMES = 256
_MOST_BYTES = 2_000_000_000  # and an eighth of what is free


class OfOriginals(Generic[T]):
    """What a metric makes of originals, remembered: each is compared with many reconstructions.

    Args:
        make: of a batch of originals.
        nbytes: what is made takes [bytes].
        limit_bytes: of all that is kept; the least recently used go first. None: as memory allows.
    """

    def __init__(
        self, make: Callable[[Tensor], T], nbytes: Callable[[T], int], limit_bytes: int | None = None
    ) -> None:
        self._make, self._nbytes, self._held = make, nbytes, 0
        free = psutil.virtual_memory().available
        self._limit = min(_MOST_BYTES, free // 8) if limit_bytes is None else limit_bytes
        self._kept: OrderedDict[bytes, T] = OrderedDict()
        self._lock = threading.Lock()  # searches compare in several threads

    def __call__(self, x: Tensor) -> T:
        """What ``make`` gives for ``x``."""
        key = _name_of(x)
        with self._lock:
            found = self._kept.pop(key, None)
            if found is not None:
                self._kept[key] = found
                return found
        made = self._make(x)
        with self._lock:
            if key not in self._kept:
                self._held += self._nbytes(made)
            self._kept[key] = made
            while self._held > self._limit and len(self._kept) > 1:
                self._held -= self._nbytes(self._kept.popitem(last=False)[1])
        return made


class Metric(ABC):
    """Base of all metrics.

    Attributes:
        info: facts, of the class or made with it.
    """

    info: MetricInfo


class ImageMetric(Metric):
    """Quality of images, one value each; means belong to ``linksim.results.statistics``."""

    @abstractmethod
    def __call__(self, x_hat: Tensor, x: Tensor) -> Tensor:
        """[B] float64 of images [B, 3, H, W] in [0, 1], both already rounded to 8 bits."""


class TaskMetric(Metric):
    """What a reader makes of pictures whose truth is known, see :meth:`linksim.images.sets.ImageSet.truth`;
    one value each.

    Attributes:
        truth: what it has to know of pictures.
        such_as: a set of pictures that knows it, for messages.
    """

    truth: ClassVar[type[Truth]]
    such_as: ClassVar[str] = "a set of pictures of your own with truth(name)"

    @abstractmethod
    def __call__(self, x_hat: Tensor, truths: Sequence[Any]) -> Tensor:
        """[B] float64 of images [B, 3, H, W] in [0, 1], rounded to 8 bits, and what is true of each."""


class SetMetric(Metric):
    """Quality of a set of pictures: features of each, and a distance between two collections of features,
    ``linksim.metrics.set_distances.DISTANCES[info.distance]``.

    Features are a function of the picture alone, so that they can be kept, found again and compared in any
    order, and so that metrics with the same ``info.features`` share them; neither is empty. Those that share
    them have the same ``info.network``, by which features of another network are told.
    """

    @abstractmethod
    def features(self, image: Tensor) -> NDArray[np.float16]:
        """[n, d] of a picture [3, H, W] uint8."""


class CountMetric(Metric):
    """Errors and trials, one pair per image; never a ratio."""

    @abstractmethod
    def __call__(self, hat: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
        """Errors [B], trials [B] int64 of bits [B, k] behind the receiver and sent."""


class LinkMetric(Metric):
    """A fact of the transmission, one value per image, whatever the scheme makes of it."""

    @abstractmethod
    def __call__(self, symbols: Tensor, received: Received, channel: ChannelOperator, draw: Draw) -> Tensor:
        """[B] float64 of sent symbols [B, n], what was received, and the channel with its draw."""


class StateMetric(Metric):
    """Counts of what became of pictures."""

    @abstractmethod
    def __call__(self, states: Sequence[str]) -> list[tuple[int, int]]:
        """(events, pictures) of every picture, by its state: "ok", or why it did not arrive."""


# what a metric derives from
MEASURES = (ImageMetric, TaskMetric, CountMetric, LinkMetric, SetMetric, StateMetric)

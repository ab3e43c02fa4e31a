"""What kinds of other people promise beside what their registration shows, tried where they are built."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from torch import nn

from channels.checks import complaint
from linksim.build.foreign import built, foreign_as_input, place_of
from linksim.kinds import Kind, KindError
from linksim.kinds.networks import NetworkBase
from linksim.kinds.schemes.source import SourceBase
from linksim.metrics.base import MEASURES, Metric, MetricInfo, SetMetric
from linksim.metrics.set_distances import DISTANCES
from linksim.scenario.errors import ScenarioError
from linksim.source.codec import SourceCodec

__all__ = ["check_metric", "check_network", "check_source_codec"]

_METRIC_NAME, _FEATURES_NAME = r"[a-z0-9][a-z0-9_]{0,60}", r"[a-z0-9_]{1,60}"  # part of names of files
_OF_CODECS = ("block", "num_symbols", "layout", "encode", "decode")


def check_network(description: NetworkBase, network: Any) -> None:
    """Refuse a network of other people that is no module, or no :class:`linksim.schemes.jscc.AnalogCodec`.

    Raises:
        ScenarioError: what it lacks.
    """
    place = place_of(None, description)
    if place is None:
        return
    where = f"codec {description.kind}"
    built(where, network, nn.Module, description)
    lacking = [name for name in _OF_CODECS if not hasattr(network, name)] if description.is_codec else []
    if lacking:
        got = f"{type(network).__name__} without {', '.join(lacking)}"
        cure = "num_symbols(height, width) is how many symbols a picture takes."
        raise ScenarioError(complaint(f"{where}: {place}", "half written", got, ", ".join(_OF_CODECS), cure))


_SIDES = (64, 128, 256, 512)  # of a picture to try a codec with


def check_source_codec(source: SourceBase, codec: SourceCodec) -> None:
    """Try a source codec of other people on a small picture.

    Args:
        source: its description.
        codec: built.

    Raises:
        ScenarioError: a promise of :class:`linksim.source.codec.SourceCodec` that is broken.
    """
    place = place_of(None, source)
    if place is None:  # built in, and held to it by tests
        return

    def refuse(what: str, wrong: str, got: object, expected: object, cure: str = "") -> NoReturn:
        raise ScenarioError(complaint(f"source: {place}: {what}", wrong, got, expected, cure))

    with foreign_as_input("source", source):
        for name in ("name", "version"):
            if not isinstance(getattr(codec, name), str) or not getattr(codec, name):
                refuse(name, "no text", repr(getattr(codec, name)), "all that can change a stream, in words")
        qualities = codec.qualities
        if not isinstance(qualities, tuple) or not qualities or {type(q) for q in qualities} != {int}:
            cure = "Let encode map them to what the codec takes."
            refuse("qualities", "no whole numbers", repr(qualities), "a tuple of them, at least one", cure)
        if len(set(qualities)) < len(qualities):
            refuse("qualities", "named twice", repr(qualities), "each once")
        side = next((s for s in _SIDES if not codec.refusal((s, s))), None)
        if side is None:
            return
        first, last = (_coded(codec, _trial_picture(side), q, refuse) for q in (qualities[0], qualities[-1]))
        if first < last:
            got = f"{first} bytes at the first, {last} at the last"
            refuse("qualities", "in another order", got, "from the largest streams to the smallest")


def _coded(codec: SourceCodec, rgb: NDArray[np.uint8], quality: int, refuse: Callable[..., NoReturn]) -> int:
    """Bytes of a picture, coded and decoded."""
    stream = codec.encode(rgb, quality)
    if not isinstance(stream, bytes):
        refuse("encode", "no stream", f"a {type(stream).__name__}", "bytes")
    shown: Any = codec.decode(stream, (rgb.shape[0], rgb.shape[1]))
    got = (
        f"{shown.dtype} {list(shown.shape)}" if isinstance(shown, np.ndarray) else f"a {type(shown).__name__}"
    )
    expected = f"uint8 {list(rgb.shape)}"
    if got != expected:
        refuse("decode", "no picture", f"{got} at quality {quality}", expected)
    return len(stream)


def _trial_picture(side: int) -> NDArray[np.uint8]:
    """Smooth colours with texture, [side, side, 3] uint8."""
    rng = np.random.default_rng(1)
    x, y = np.meshgrid(*(np.linspace(0, 1, side),) * 2)
    planes = np.stack([x, y, (x + y) / 2], 2) + 0.05 * rng.standard_normal((side, side, 3))
    return (255 * planes.clip(0, 1)).astype(np.uint8)


def check_metric(found: Kind, metric: Metric) -> None:
    """Refuse a metric without facts, or with facts that no run can hold.

    Raises:
        KindError: what is wrong.
    """

    def refuse(wrong: str, got: object, expected: object, cure: str = "", field: str = "") -> NoReturn:
        place = place_of(None, found)
        at = ": ".join(filter(None, (f"metrics.{found.name}", str(place or ""), field)))
        raise KindError(complaint(at, wrong, got, expected, cure))

    info = getattr(metric, "info", None)
    if not isinstance(info, MetricInfo):
        got, cure = "no info" if info is None else f"a {type(info).__name__}", "Write it into the class."
        refuse("half written", got, f'info = linksim.MetricInfo("{found.name}", unit, ...)', cure)
    if info.name != found.name:
        refuse("another name", f"info.name {info.name!r}", f"{found.name!r}, as it is registered")
    if not re.fullmatch(_METRIC_NAME, info.name):
        refuse("not allowed as a name", info.name, "small letters, digits and _, at most 61")
    if not isinstance(metric, MEASURES):
        bases = ", ".join(base.__name__ for base in MEASURES)
        refuse("nothing calls it", f"a {type(metric).__name__}", f"a class that derives from one of {bases}")
    if isinstance(metric, SetMetric):
        if not re.fullmatch(_FEATURES_NAME, info.features):
            expected = "small letters, digits and _"
            refuse("no name", repr(info.features), expected, field="info.features")
        if info.distance not in DISTANCES:
            refuse("unknown", repr(info.distance), f"one of {', '.join(DISTANCES)}", field="info.distance")

"""Kinds: whatever a scenario may name is one class, built in or your own (see docs/python.md).

``kind`` and ``register`` make one known; the bases below say what a class of each family has to have.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from channels.kinds import (
    Family,
    Kind,
    KindError,
    Origin,
    add_family,
    find,
    foreign,
    kind,
    load_file,
    load_installed,
    names,
    register,
    unregister,
)

if TYPE_CHECKING:
    from channels.base import ChannelOperator
    from channels.hardware.impairment import Impairment
    from linksim.kinds.channels.base import ChannelBase
    from linksim.kinds.channels.csi import EstimatorBase
    from linksim.kinds.context import BuildContext
    from linksim.kinds.images import ImagesBase
    from linksim.kinds.models.base import DelayModelBase
    from linksim.kinds.networks import NetworkBase
    from linksim.kinds.schemes.base import AnalogSchemeBase, SchemeBase, SentSchemeBase
    from linksim.metrics.base import (
        CountMetric,
        ImageMetric,
        LinkMetric,
        MetricInfo,
        SetMetric,
        TaskMetric,
    )
    from linksim.source.codec import SourceCodec

__all__ = [
    "AnalogSchemeBase",
    "BuildContext",
    "ChannelBase",
    "ChannelOperator",
    "CountMetric",
    "DelayModelBase",
    "EstimatorBase",
    "Family",
    "ImageMetric",
    "ImagesBase",
    "Impairment",
    "Kind",
    "KindError",
    "LinkMetric",
    "MetricInfo",
    "NetworkBase",
    "Origin",
    "SchemeBase",
    "SentSchemeBase",
    "SetMetric",
    "SourceCodec",
    "TaskMetric",
    "find",
    "foreign",
    "kind",
    "load_file",
    "load_installed",
    "names",
    "register",
    "unregister",
]

_HERE = "linksim.kinds"
_METRIC_FILES = (
    *(".distortion", ".perceptual", ".networks.dists", ".networks.clip", ".similarity", ".spectrum", ".niqe"),
    *(
        ".realism",
        ".networks.inception",
        ".networks.cmmd",
        ".tasks.classification",
        ".tasks.text",
        ".tasks.codes",
    ),
    *(".errors", ""),
)
for _family in (
    Family("channel", "a channel", (f"{_HERE}.channels",), f"{_HERE}.prepare:channel"),
    Family(
        *("delay_model", "a delay model"),
        tuple(f"{_HERE}.models{name}" for name in (".tdl", ".geometric", ".recorded", ".raytraced", "")),
        f"{_HERE}.prepare:delay_model",
    ),
    Family("estimator", "an estimator", (f"{_HERE}.channels.csi",), f"{_HERE}.prepare:estimator"),
    Family(
        *("scheme", "a scheme"),
        tuple(
            f"{_HERE}.schemes{name}" for name in (".jscc", ".diffusion", ".linear_analog", ".separation", "")
        ),
        f"{_HERE}.prepare:scheme",
    ),
    Family("network", "a network", (f"{_HERE}.networks",), f"{_HERE}.prepare:network"),
    Family(
        *("source_codec", "a source codec"),
        tuple(
            f"linksim.source{name}"
            for name in (".codec", ".external_bpg", ".pillow_codec", "", ".command", ".learned")
        ),
        f"{_HERE}.prepare:source_codec",
    ),
    Family("sampler", "a sampler", ("linksim.diffusion",), f"{_HERE}.prepare:sampler"),
    Family(
        *("metric", "a metric"),
        tuple(f"linksim.metrics{name}" for name in _METRIC_FILES),
        f"{_HERE}.prepare:metric",
    ),
    Family("images", "a set of pictures", (f"{_HERE}.images",), f"{_HERE}.prepare:images"),
):
    add_family(_family)


def __getattr__(name: str) -> Any:
    """Bases are imported when they are used, from where the door of linksim has them."""
    if name in __all__:
        return getattr(importlib.import_module("linksim"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

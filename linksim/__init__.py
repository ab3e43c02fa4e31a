"""linksim: an end-to-end simulator of image transmission over a wireless link.

image → encoder → symbols → channel operator → received symbols + CSI → receiver → image → metrics.

One door: ``run = linksim.simulate("quickstart")``, then ``run.table()``, ``run.plot("psnr")``. What is named
here is loaded when it is first used (PEP 562): ``import linksim`` itself costs next to nothing.
"""

from typing import TYPE_CHECKING, Any

import channels  # noqa: F401  former names of modules go on working

__version__ = "0.1.0"

if TYPE_CHECKING:
    from channels.hardware.impairment import Impairment as Impairment
    from channels.kinds import KindError as KindError
    from channels.runtime.cache import FolderError as FolderError
    from linksim.api.checking import Check as Check
    from linksim.api.checking import check as check
    from linksim.api.errors import USER_ERRORS as USER_ERRORS
    from linksim.api.run import Run as Run
    from linksim.api.run import open_run as open_run
    from linksim.api.simulation import load_scenario as load_scenario
    from linksim.api.simulation import simulate as simulate
    from linksim.api.tables import MissingPackage as MissingPackage
    from linksim.build.checkpoints import CheckpointError as CheckpointError
    from linksim.coding.calibration import CalibrationError as CalibrationError
    from linksim.images.sets import ImageError as ImageError
    from linksim.kinds import kind as kind
    from linksim.kinds import register as register
    from linksim.kinds import unregister as unregister
    from linksim.kinds.channels.base import ChannelBase as ChannelBase
    from linksim.kinds.channels.csi import EstimatorBase as EstimatorBase
    from linksim.kinds.context import BuildContext as BuildContext
    from linksim.kinds.images import ImagesBase as ImagesBase
    from linksim.kinds.models.base import DelayModelBase as DelayModelBase
    from linksim.kinds.networks import NetworkBase as NetworkBase
    from linksim.kinds.schemes.base import AnalogSchemeBase as AnalogSchemeBase
    from linksim.kinds.schemes.base import SchemeBase as SchemeBase
    from linksim.kinds.schemes.base import SentSchemeBase as SentSchemeBase
    from linksim.link import RunError as RunError
    from linksim.link import run_link as run_link
    from linksim.metrics.base import CountMetric as CountMetric
    from linksim.metrics.base import ImageMetric as ImageMetric
    from linksim.metrics.base import LinkMetric as LinkMetric
    from linksim.metrics.base import MetricInfo as MetricInfo
    from linksim.metrics.base import MetricUnavailable as MetricUnavailable
    from linksim.metrics.base import SetMetric as SetMetric
    from linksim.run.results import RunFolderError as RunFolderError
    from linksim.scenario.files import ScenarioError as ScenarioError
    from linksim.scenario.schema import Scenario as Scenario
    from linksim.source.codec import SourceCodec as SourceCodec
    from linksim.weights.pickle_reader import ModelFormatError as ModelFormatError

_MODULES = {
    "AnalogSchemeBase": "linksim.kinds.schemes.base",
    "BuildContext": "linksim.kinds.context",
    "CalibrationError": "linksim.coding.calibration",
    "ChannelBase": "linksim.kinds.channels.base",
    "Check": "linksim.api.checking",
    "CheckpointError": "linksim.build.checkpoints",
    "CountMetric": "linksim.metrics.base",
    "DelayModelBase": "linksim.kinds.models.base",
    "EstimatorBase": "linksim.kinds.channels.csi",
    "FolderError": "channels.runtime.cache",
    "ImageError": "linksim.images.sets",
    "ImageMetric": "linksim.metrics.base",
    "ImagesBase": "linksim.kinds.images",
    "Impairment": "channels.hardware.impairment",
    "KindError": "channels.kinds",
    "LinkMetric": "linksim.metrics.base",
    "MetricInfo": "linksim.metrics.base",
    "MetricUnavailable": "linksim.metrics.base",
    "MissingPackage": "linksim.api.tables",
    "ModelFormatError": "linksim.weights.pickle_reader",
    "NetworkBase": "linksim.kinds.networks",
    "Run": "linksim.api.run",
    "RunError": "linksim.link",
    "RunFolderError": "linksim.run.results",
    "Scenario": "linksim.scenario.schema",
    "ScenarioError": "linksim.scenario.files",
    "SchemeBase": "linksim.kinds.schemes.base",
    "SentSchemeBase": "linksim.kinds.schemes.base",
    "SetMetric": "linksim.metrics.base",
    "SourceCodec": "linksim.source.codec",
    "USER_ERRORS": "linksim.api.errors",
    "check": "linksim.api.checking",
    "kind": "linksim.kinds",
    "load_scenario": "linksim.api.simulation",
    "open_run": "linksim.api.run",
    "register": "linksim.kinds",
    "run_link": "linksim.link",
    "simulate": "linksim.api.simulation",
    "unregister": "linksim.kinds",
}

if not TYPE_CHECKING:  # a checker would take it for any name

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = getattr(import_module(_MODULES[name]), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_MODULES})

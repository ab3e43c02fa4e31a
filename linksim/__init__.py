"""linksim: an end-to-end simulator of image transmission over a wireless link.

image → encoder → symbols → channel operator → received symbols + CSI → receiver → image → metrics.

One door: ``run = linksim.simulate("quickstart")``, then ``run.table()``, ``run.plot("psnr")``. What is named
here is loaded when it is first used (PEP 562): ``import linksim`` itself costs next to nothing.
"""

from typing import TYPE_CHECKING, Any

import channels  # noqa: F401  former names of modules go on working

__version__ = "0.1.0"

if TYPE_CHECKING:  # the one list of what is named here: __getattr__ reads it, too
    from channels.base import ChannelOperator as ChannelOperator
    from channels.hardware.impairment import Impairment as Impairment
    from channels.kinds import KindError as KindError
    from channels.runtime.cache import FolderError as FolderError
    from channels.runtime.extras import NotInstalled as NotInstalled
    from channels.types import ChannelUses as ChannelUses
    from channels.types import Csi as Csi
    from channels.types import Draw as Draw
    from channels.types import Received as Received
    from linksim.api.checking import Check as Check
    from linksim.api.checking import check as check
    from linksim.api.errors import USER_ERRORS as USER_ERRORS
    from linksim.api.run import Run as Run
    from linksim.api.run import merge as merge
    from linksim.api.run import open_run as open_run
    from linksim.api.simulation import load_scenario as load_scenario
    from linksim.api.simulation import simulate as simulate
    from linksim.api.tables import MissingPackage as MissingPackage
    from linksim.build.checkpoints import CheckpointError as CheckpointError
    from linksim.build.objects import load_codec as load_codec
    from linksim.coding.calibration import CalibrationError as CalibrationError
    from linksim.files.places import place as place
    from linksim.images.sets import ImageError as ImageError
    from linksim.images.sets import ImageSet as ImageSet
    from linksim.images.truth import CodeTruth as CodeTruth
    from linksim.images.truth import TextTruth as TextTruth
    from linksim.images.truth import Truth as Truth
    from linksim.kinds import kind as kind
    from linksim.kinds import load_file as load_file
    from linksim.kinds import register as register
    from linksim.kinds import unregister as unregister
    from linksim.kinds.channels.base import ChannelBase as ChannelBase
    from linksim.kinds.channels.base import SingleCarrierBase as SingleCarrierBase
    from linksim.kinds.channels.csi import EstimatorBase as EstimatorBase
    from linksim.kinds.context import BuildContext as BuildContext
    from linksim.kinds.fields import PathName as PathName
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
    from linksim.metrics.base import StateMetric as StateMetric
    from linksim.metrics.base import TaskMetric as TaskMetric
    from linksim.results.store import RunFolderError as RunFolderError
    from linksim.scenario.files import ScenarioError as ScenarioError
    from linksim.scenario.schema import Scenario as Scenario
    from linksim.schemes.base import Frame as Frame
    from linksim.schemes.base import Reconstruction as Reconstruction
    from linksim.schemes.jscc import JsccScheme as JsccScheme
    from linksim.source.codec import SourceCodec as SourceCodec
    from linksim.source.hevc import CodecError as CodecError
    from linksim.weights.pickle_reader import ModelFormatError as ModelFormatError


def _door() -> dict[str, str]:
    """Modules of the names above, by name: read from this file, so that no list is kept twice."""
    import re
    from pathlib import Path

    text = Path(__file__).read_text(encoding="utf-8")
    return {name: module for module, name in re.findall(r"^    from (\S+) import (\w+) as \2$", text, re.M)}


if not TYPE_CHECKING:  # a checker would take it for any name
    _MODULES = _door()

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = getattr(import_module(_MODULES[name]), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_MODULES})

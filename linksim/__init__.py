"""linksim: an end-to-end simulator of image transmission over a wireless link.

image → encoder → symbols → channel operator → received symbols + CSI → receiver → image → metrics.

One door: ``run = linksim.simulate("quickstart")``, then ``run.table()``, ``run.plot("psnr")``. What is named
here is loaded when it is first used (PEP 562): ``import linksim`` itself costs next to nothing.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from channels.cache import FolderError as FolderError
    from channels.kinds import KindError as KindError
    from linksim.api.checking import Check as Check
    from linksim.api.checking import check as check
    from linksim.api.errors import USER_ERRORS as USER_ERRORS
    from linksim.api.run import Run as Run
    from linksim.api.run import open_run as open_run
    from linksim.api.simulation import load_scenario as load_scenario
    from linksim.api.simulation import simulate as simulate
    from linksim.api.tables import MissingPackage as MissingPackage
    from linksim.checkpoints import CheckpointError as CheckpointError
    from linksim.digital.link_adaptation import CalibrationError as CalibrationError
    from linksim.images import ImageError as ImageError
    from linksim.kinds import kind as kind
    from linksim.kinds import register as register
    from linksim.link import RunError as RunError
    from linksim.link import run_link as run_link
    from linksim.metrics.base import MetricUnavailable as MetricUnavailable
    from linksim.pickle_reader import ModelFormatError as ModelFormatError
    from linksim.results import RunFolderError as RunFolderError
    from linksim.scenario import Scenario as Scenario
    from linksim.scenario_io import ScenarioError as ScenarioError

_MODULES = {
    "CalibrationError": "linksim.digital.link_adaptation",
    "Check": "linksim.api.checking",
    "CheckpointError": "linksim.checkpoints",
    "FolderError": "channels.cache",
    "ImageError": "linksim.images",
    "KindError": "channels.kinds",
    "MetricUnavailable": "linksim.metrics.base",
    "MissingPackage": "linksim.api.tables",
    "ModelFormatError": "linksim.pickle_reader",
    "Run": "linksim.api.run",
    "RunError": "linksim.link",
    "RunFolderError": "linksim.results",
    "Scenario": "linksim.scenario",
    "ScenarioError": "linksim.scenario_io",
    "USER_ERRORS": "linksim.api.errors",
    "check": "linksim.api.checking",
    "kind": "linksim.kinds",
    "load_scenario": "linksim.api.simulation",
    "open_run": "linksim.api.run",
    "register": "linksim.kinds",
    "run_link": "linksim.link",
    "simulate": "linksim.api.simulation",
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

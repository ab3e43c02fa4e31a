"""Modules and names where they once were: scripts of users go on working, with a DeprecationWarning."""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.abc import Loader, MetaPathFinder
else:  # importlib.abc loads tempfile and random, which python -m would take from the working directory
    Loader = MetaPathFinder = object

__all__ = ["MOVED", "install", "names_moved"]

_IMPAIRMENTS = tuple(
    f"channels.hardware.{name}"
    for name in ("impairment", "amplifier", "oscillator", "converter", "interferer")
)
_GEOMETRIC = tuple(f"channels.models.{name}" for name in ("panel", "sampled", "cdl", "cell"))
_ESTIMATORS = tuple(f"channels.ofdm.estimators.{name}" for name in ("base", "ls", "lmmse"))
# Former name: the module now, or the modules among which its names are now.
MOVED: dict[str, str | tuple[str, ...]] = {
    "channels.awgn": "channels.flat.awgn",
    "channels.cache": "channels.runtime.cache",
    "channels.child_processes": "channels.runtime.child_processes",
    "channels.deferred_compilation": "channels.runtime.deferred_compilation",
    "channels.delay_models": "channels.models.base",
    "channels.detection": "channels.antennas.detection",
    "channels.estimation": _ESTIMATORS,
    "channels.ofdm.estimation": _ESTIMATORS,
    "channels.flat_fading": "channels.flat.fading",
    "channels.front_end": ("channels.ofdm.front_end", "channels.flat.hardware"),
    "channels.geometric_models": _GEOMETRIC,
    "channels.models.geometric": _GEOMETRIC,
    "channels.grid": "channels.ofdm.grid",
    "channels.hardware_effect": "channels.hardware.effect",
    "channels.hardware.impairments": _IMPAIRMENTS,
    "channels.impairments": _IMPAIRMENTS,
    "channels.interference": "channels.ofdm.interference",
    "channels.interleaving": "channels.flat.interleaving",
    "channels.kept_arrays": "channels.runtime.kept_arrays",
    "channels.lazy_torch": "channels.runtime.lazy_torch",
    "channels.llvm": "channels.raytraced.llvm",
    "channels.ofdm_receiver": "channels.ofdm.receiver",
    "channels.pilot_measurements": "channels.ofdm.estimators.pilot_measurements",
    "channels.ofdm.pilot_measurements": "channels.ofdm.estimators.pilot_measurements",
    "channels.ray_scene": "channels.raytraced.scene",
    "channels.ray_traced": "channels.raytraced.model",
    "channels.ray_tracer": "channels.raytraced.tracer",
    "channels.recorded": "channels.models.recorded",
    "channels.recording": "channels.models.recording",
    "channels.signal_quality": "channels.hardware.signal_quality",
    "channels.sionna_seeding": "channels.runtime.sionna_seeding",
    "channels.tf_bridge": "channels.tensorflow.channel",
    "channels.tf_call": "channels.tensorflow.call",
    "channels.time_ofdm": "channels.ofdm.time",
    "channels.transmission": "channels.antennas.transmission",
    "channels.triton_loading": "channels.runtime.triton_loading",
    "channels.waveform": "channels.ofdm.waveform",
    "linksim.arrivals": "linksim.run.arrivals",
    "linksim.bounded_yaml": "linksim.files.bounded_yaml",
    "linksim.build_channel": "linksim.build.channels",
    "linksim.calibrate": "linksim.run.calibrate",
    "linksim.checkpoints": "linksim.build.checkpoints",
    "linksim.convert": "linksim.build.convert",
    "linksim.curves": "linksim.report.curves",
    "linksim.digital.bounds": "linksim.coding.bounds",
    "linksim.digital.bpg": "linksim.source.bpg",
    "linksim.digital.compiled": "linksim.files.compiled",
    "linksim.digital.crc": "linksim.coding.crc",
    "linksim.digital.demapper": "linksim.coding.demapper",
    "linksim.digital.external_bpg": "linksim.source.external_bpg",
    "linksim.digital.heic": "linksim.source.heic",
    "linksim.digital.hevc": "linksim.source.hevc",
    "linksim.digital.ldpc": "linksim.coding.ldpc",
    "linksim.digital.ldpc_decoder": "linksim.coding.ldpc_decoder",
    "linksim.digital.link_adaptation": "linksim.coding.link_adaptation",
    "linksim.digital.mcs": "linksim.coding.mcs",
    "linksim.digital.pillow_codec": "linksim.source.pillow_codec",
    "linksim.digital.qam": "linksim.coding.qam",
    "linksim.digital.qam_rate": "linksim.coding.qam_rate",
    "linksim.digital.quality_search": "linksim.source.quality_search",
    "linksim.digital.source_codec": "linksim.source.codec",
    "linksim.digital.stream_cache": "linksim.source.stream_cache",
    "linksim.digital.transport": "linksim.coding.transport",
    "linksim.downloads": "linksim.build.downloads",
    "linksim.drawing": "linksim.report.drawing",
    "linksim.effects": "linksim.scenario.effects",
    "linksim.errors": "linksim.scenario.errors",
    "linksim.feature_files": "linksim.results.feature_files",
    "linksim.figures": "linksim.report.figures",
    "linksim.ledger": "linksim.report.ledger",
    "linksim.paired": "linksim.results.paired",
    "linksim.panels": "linksim.report.panels",
    "linksim.pickle_reader": "linksim.weights.pickle_reader",
    "linksim.picture_file": "linksim.images.picture_file",
    "linksim.places": "linksim.files.places",
    "linksim.precision": "linksim.weights.precision",
    "linksim.run_format": "linksim.results.format",
    "linksim.runner": "linksim.run.runner",
    "linksim.scenario_io": "linksim.scenario.files",
    "linksim.scenario_problems": "linksim.scenario.messages",
    "linksim.set_statistics": "linksim.results.set_statistics",
    "linksim.specs.comparison": "linksim.scenario.comparison",
    "linksim.specs.training": "linksim.scenario.training",
    "linksim.statistics": "linksim.results.statistics",
    "linksim.theory": "linksim.report.theory",
    "linksim.time_left": "linksim.results.time_left",
    "linksim.diffusion.authors_config": "linksim.diffusion.authors.config",
    "linksim.diffusion.diffjscc_checkpoint": "linksim.diffusion.authors.checkpoint",
    "linksim.diffusion.ldm_names": "linksim.diffusion.authors.names",
    "linksim.training.adversary": "linksim.training.objective.adversary",
    "linksim.training.discriminators": "linksim.training.objective.discriminators",
    "linksim.training.features": "linksim.training.objective.features",
    "linksim.training.losses": "linksim.training.objective.losses",
    "linksim.training.photographs": "linksim.training.data.photographs",
    "linksim.training.picture_list": "linksim.training.data.picture_list",
    "linksim.zoo": "linksim.weights.zoo",
    "linksim.digital": "linksim.source",
    "linksim.specs": "linksim.scenario",
    "linksim.specs.fields": "linksim.kinds.fields",
    "linksim.specs.scheme": "linksim.scenario.schema",
    "linksim.specs.impairment": "linksim.scenario.schema",
    "linksim.specs.images": "linksim.scenario.schema",
    "linksim.specs.delay_model": "linksim.scenario.schema",
    "linksim.specs.codec": "linksim.scenario.schema",
    "linksim.specs.channel": "linksim.scenario.schema",
}


class _Loader(Loader):
    """Gives the module of another name, as it is."""

    def __init__(self, new: str) -> None:
        self._new = new

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """The module where it is now."""
        warnings.warn(f"{spec.name} is now {self._new}", DeprecationWarning, stacklevel=4)
        module = importlib.import_module(self._new)
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """It is executed already; only what the import machinery changed is put back."""
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state


class _SplitLoader(Loader):
    """Gives a module with the names of several."""

    def __init__(self, parts: tuple[str, ...]) -> None:
        self._parts = parts

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """An empty one."""
        text = ", ".join(self._parts)
        warnings.warn(f"names of {spec.name} are now in {text}", DeprecationWarning, stacklevel=4)

    def exec_module(self, module: ModuleType) -> None:
        """The names of its parts come in."""
        public: list[str] = []
        for part in map(importlib.import_module, self._parts):
            public += part.__all__
            for name, value in vars(part).items():
                if not name.startswith("__"):
                    module.__dict__.setdefault(name, value)
        module.__dict__["__all__"] = public


class _Finder(MetaPathFinder):
    """Finds the former names."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """A specification for a former name, else None."""
        new = MOVED.get(fullname)
        package = MOVED.get(fullname.rpartition(".")[0])
        if (
            new is None and isinstance(package, str) and "." in fullname
        ):  # a module that a former package has now
            new = f"{package}.{fullname.rpartition('.')[2]}"
        if new is None:
            return None
        loader = _Loader(new) if isinstance(new, str) else _SplitLoader(new)
        return importlib.machinery.ModuleSpec(fullname, loader, is_package=False)


def install() -> None:
    """Let former names be imported; once."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def names_moved(module: str, places: Mapping[str, str]) -> Callable[[str], Any]:
    """``__getattr__`` of a module that is still there, for names that are now in others.

    Args:
        module: its name.
        places: module of each name, with a colon and its name there if that is another one.
    """

    def find(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        place, _, new = places[name].partition(":")
        warnings.warn(f"{module}.{name} is now {place}.{new or name}", DeprecationWarning, stacklevel=2)
        return getattr(importlib.import_module(place), new or name)

    return find

"""The architecture, enforced: allowed imports, files that own a thing, no utility drawers, sizes."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# module (or package prefix ending in a dot) -> project modules it may import. Order: leaves first.
CHANNEL_LEAVES = {
    "channels.types",
    "channels.units",
    "channels.checks",
    "channels.seeding",
    "channels.runtime.sionna_seeding",
    "channels.arithmetic",
    "channels.runtime.lazy_torch",
}
ALLOWED: dict[str, set[str]] = {
    "channels.types": {"channels.arithmetic"},
    "channels.units": {"channels.runtime.lazy_torch"},
    "channels.runtime.lazy_torch": set(),
    "channels.checks": set(),
    "channels.arithmetic": {"channels.runtime.lazy_torch"},
    "channels.runtime.cache": {"channels.checks"},
    "channels.runtime.kept_arrays": {"channels.runtime.cache"},
    "channels.runtime.deferred_compilation": set(),
    "channels.runtime.child_processes": set(),
    "channels.runtime.triton_loading": set(),
    "channels.seeding": set(),
    "channels.runtime.sionna_seeding": {"channels.runtime.deferred_compilation", "channels.runtime.triton_loading"},
    "channels.base": CHANNEL_LEAVES,
    "channels.flat.awgn": CHANNEL_LEAVES | {"channels.base"},
    "channels.flat.fading": CHANNEL_LEAVES | {"channels.base"},
    "channels.flat.interleaving": CHANNEL_LEAVES | {"channels.base"},
    "channels.link_budget": CHANNEL_LEAVES,
    "channels.ofdm.grid": CHANNEL_LEAVES | {"channels.base"},
    "channels.antennas.transmission": CHANNEL_LEAVES,
    "channels.antennas.detection": CHANNEL_LEAVES,
    "channels.ofdm.interference": CHANNEL_LEAVES | {"channels.models.base"},
    "channels.hardware.effect": CHANNEL_LEAVES | {"channels.models.base", "channels.hardware.impairments"},
    "channels.ofdm.pilot_measurements": CHANNEL_LEAVES | {"channels.base"},
    "channels.hardware.signal_quality": CHANNEL_LEAVES,
    "channels.ofdm.front_end": CHANNEL_LEAVES | {
        "channels.base", "channels.models.base", "channels.ofdm.grid", "channels.hardware.effect", "channels.hardware.impairments",
        "channels.hardware.signal_quality", "channels.ofdm.waveform",
    },
    "channels.models.geometric": CHANNEL_LEAVES | {"channels.base", "channels.models.base", "channels.runtime.kept_arrays"},
    "channels.ofdm.time": CHANNEL_LEAVES | {"channels.base", "channels.ofdm.front_end", "channels.ofdm.link", "channels.ofdm.waveform"},
    "channels.models.base": CHANNEL_LEAVES | {"channels.base"},
    "channels.ofdm.estimation": CHANNEL_LEAVES | {"channels.base", "channels.ofdm.pilot_measurements"},
    "channels.equalization": CHANNEL_LEAVES,
    "channels.tensorflow.call": {"channels.checks", "channels.runtime.triton_loading"},
    "channels.tensorflow.channel": CHANNEL_LEAVES | {"channels.base", "channels.tensorflow.call"},
    "channels.models.recording": {"channels.checks"},
    "channels.models.recorded": CHANNEL_LEAVES | {"channels.base", "channels.models.base", "channels.models.recording"},
    "channels.raytraced.llvm": {"channels.checks"},
    "channels.raytraced.scene": {"channels.checks"},
    "channels.raytraced.tracer": set(),
    "channels.raytraced.model": {
        "channels.runtime.cache", "channels.checks", "channels.runtime.child_processes", "channels.base", "channels.models.recording", "channels.models.recorded", "channels.raytraced.scene",
        "channels.raytraced.llvm",
    },
    "channels.hardware.impairments": CHANNEL_LEAVES,
    "channels.ofdm.waveform": {"channels.checks"},
    "channels.ofdm.receiver": CHANNEL_LEAVES | {
        "channels.base", "channels.models.base", "channels.antennas.detection", "channels.ofdm.estimation", "channels.ofdm.grid",
        "channels.hardware.effect", "channels.ofdm.pilot_measurements", "channels.antennas.transmission",
    },
    "channels.ofdm.link": CHANNEL_LEAVES | {
        "channels.base", "channels.models.base", "channels.ofdm.estimation", "channels.ofdm.front_end", "channels.ofdm.grid",
        "channels.hardware.effect", "channels.hardware.impairments", "channels.ofdm.interference", "channels.ofdm.receiver",
        "channels.antennas.transmission",
    },
    # linksim, from left to right of the pipeline
    "linksim": set(),
    "linksim.specs.": {"linksim.specs."},
    "linksim.scenario.schema": {"linksim.specs."},
    "linksim.scenario.messages": {"channels.checks", "linksim.scenario.schema"},
    "linksim.scenario.bounded_yaml": set(),
    "linksim.scenario.errors": set(),
    "linksim.scenario.files": {"channels.runtime.cache", "channels.checks", "linksim.scenario.errors", "linksim.scenario.bounded_yaml", "linksim.scenario.schema", "linksim.scenario.messages", "linksim.specs.fields"},
    "linksim.scenario.places": {"channels.runtime.cache", "linksim.specs.fields"},
    "linksim.weights.zoo": {"channels.checks", "linksim.weights.pickle_reader", "linksim.scenario.places"},
    "linksim.weights.precision": set(),
    "linksim.images.picture_file": {"channels.checks"},
    "linksim.images.sets": {"channels.checks", "linksim.images.picture_file"},
    "linksim.weights.files": set(),
    "linksim.weights.checkpoints": {"channels.checks", "linksim.weights.files", "linksim.scenario.schema"},
    "linksim.metrics.info": set(),
    "linksim.metrics.set_distances": set(),
    "linksim.metrics.": {"channels.base", "channels.hardware.signal_quality", "channels.types", "channels.checks", "channels.units", "linksim.metrics.", "linksim.weights.zoo"},
    "linksim.digital.": {"linksim.weights.files", "channels.runtime.cache", "channels.runtime.child_processes", "channels.types", "channels.units", "channels.checks", "channels.seeding", "channels.runtime.sionna_seeding", "linksim.digital."},
    "linksim.weights.pickle_reader": {"channels.checks"},
    "linksim.jscc.": {"linksim.scenario.bounded_yaml", "linksim.weights.files", "linksim.weights.pickle_reader", "channels.seeding", "channels.arithmetic", "channels.types", "channels.units", "channels.checks", "channels.equalization", "linksim.jscc."},
    "linksim.diffusion.": {
        "channels.checks", "channels.seeding", "linksim.scenario.bounded_yaml", "linksim.weights.pickle_reader", "linksim.weights.zoo",
        "linksim.diffusion.",
    },
    "linksim.schemes.diffjscc": {
        "channels.types", "linksim.diffusion.receiver", "linksim.jscc.csi_embedding", "linksim.schemes.base",
        "linksim.schemes.jscc",
    },
    "linksim.schemes.latent_diffusion": {
        "channels.types", "channels.equalization", "channels.seeding", "linksim.diffusion.latent_sampler", "linksim.jscc.",
        "linksim.schemes.base", "linksim.schemes.jscc",
    },
    "linksim.schemes.": {
        "channels.types", "channels.arithmetic", "channels.checks", "channels.equalization", "channels.seeding",
        "channels.units", "linksim.schemes.base", "linksim.schemes.jscc", "linksim.schemes.payload", "linksim.digital.", "linksim.jscc.", "linksim.images.sets",
    },
    "linksim.link": {"channels.arithmetic", "channels.base", "channels.seeding", "channels.types", "channels.units", "channels.checks", "linksim.schemes.base"},
    "linksim.scenario.effects": {"channels.checks", "linksim.scenario.schema", "linksim.scenario.files"},
    "linksim.run.build_channel": {
        "channels.", "linksim", "linksim.scenario.places", "linksim.scenario.schema", "linksim.scenario.files", "linksim.scenario.effects",
        "linksim.coding.link_adaptation",
    },
    "linksim.run.build": {
        "linksim.run.build_channel",
        "channels.", "linksim", "linksim.weights.pickle_reader", "linksim.scenario.places", "linksim.weights.precision", "linksim.scenario.schema", "linksim.weights.zoo", "linksim.weights.checkpoints", "linksim.images.sets",
        "linksim.metrics.", "linksim.digital.", "linksim.diffusion.", "linksim.jscc.", "linksim.schemes.",
    },
    "linksim.weights.convert": {
        "channels.checks", "linksim.run.build", "linksim.weights.checkpoints", "linksim.diffusion.", "linksim.weights.files", "linksim.jscc.",
        "linksim.weights.pickle_reader", "linksim.scenario.schema", "linksim.weights.zoo",
    },
    "linksim.run.format": set(),
    "linksim.run.results": {
        "channels.checks", "linksim.scenario.errors", "linksim.weights.files", "linksim.metrics.info", "linksim.run.format",
    },
    "linksim.run.time_left": set(),
    "linksim.weights.downloads": {"channels.checks", "linksim", "linksim.scenario.schema", "linksim.weights.zoo"},
    "linksim.run.statistics": {"linksim.run.results"},
    "linksim.run.feature_files": {"channels.checks", "linksim.metrics.set_distances", "linksim.run.results"},
    "linksim.run.set_statistics": {
        "channels.checks", "linksim.run.feature_files", "linksim.metrics.info", "linksim.metrics.set_distances", "linksim.run.results",
        "linksim.run.statistics",
    },
    "linksim.run.arrivals": {"linksim.images.sets", "linksim.run.results", "linksim.schemes.separation"},
    "linksim.run.runner": {
        "linksim.run.arrivals", "linksim.schemes.separation",
        "channels.base", "channels.checks", "channels.seeding", "linksim", "linksim.run.build", "linksim.run.build_channel",
        "linksim.weights.downloads", "linksim.scenario.effects", "linksim.run.feature_files", "linksim.weights.files", "linksim.images.sets", "linksim.link",
        "linksim.metrics.selection", "linksim.run.results", "linksim.run.format", "linksim.scenario.schema", "linksim.scenario.files",
        "linksim.schemes.base", "linksim.run.set_statistics", "linksim.run.statistics", "linksim.run.time_left",
    },
    "linksim.training.muon": {"linksim.scenario.schema"},
    "linksim.training.event_log": set(),
    "linksim.training.loop": {"channels.checks", "linksim.images.sets", "linksim.link", "linksim.training.event_log"},
    "linksim.training.extent": {"channels.checks", "linksim.scenario.files"},
    "linksim.training.picture_list": {"channels.checks", "linksim.images.sets", "linksim.images.picture_file"},
    "linksim.training.discriminators": set(),
    "linksim.training.features": {"linksim.metrics."},
    "linksim.training.losses": {"linksim.metrics.", "linksim.scenario.schema", "linksim.training.features"},
    "linksim.training.phases": {"linksim.scenario.schema"},
    "linksim.training.adversary": {
        "linksim.scenario.schema", "linksim.training.discriminators", "linksim.training.features", "linksim.training.losses",
    },
    "linksim.training.link": {
        "channels.base", "channels.types", "channels.units", "linksim.jscc.", "linksim.link", "linksim.schemes.base",
        "linksim.schemes.jscc",
    },
    "linksim.training.photographs": {
        "channels.checks", "linksim.images.sets", "linksim.images.picture_file", "linksim.training.picture_list",
    },
    "linksim.training.folder": {
        "channels.checks", "linksim.weights.files", "linksim.link", "linksim.scenario.files", "linksim.training.picture_list",
    },
    "linksim.training.": {
        "linksim.training.",
        "channels.base", "channels.checks", "channels.seeding", "linksim.run.build", "linksim.run.build_channel", "linksim.weights.checkpoints",
        "linksim.weights.convert", "linksim.diffusion.", "linksim.weights.files", "linksim.images.sets", "linksim.jscc.", "linksim.link",
        "linksim.metrics.", "channels.equalization", "channels.types", "linksim.weights.precision", "linksim.scenario.schema",
        "linksim.scenario.files", "linksim.schemes.jscc", "linksim.schemes.latent_diffusion", "linksim.weights.zoo",
    },
    "linksim.run.calibrate": {
        "channels.arithmetic", "channels.base", "channels.equalization", "channels.seeding", "channels.types", "channels.units",
        "linksim", "linksim.digital.", "linksim.run.build", "linksim.run.build_channel", "linksim.images.sets", "linksim.metrics.", "linksim.run.runner", "linksim.scenario.schema",
        "linksim.schemes.base",
    },
    "linksim.report.curves": {"linksim.metrics.info", "linksim.run.results", "linksim.run.statistics"},
    "linksim.report.drawing": {"linksim.report.curves", "linksim.weights.files", "linksim.run.results"},
    "linksim.run.paired": {"channels.checks", "linksim.run.results", "linksim.scenario.comparison", "linksim.run.statistics"},
    "linksim.report.theory": {
        "channels.units", "linksim.scenario.errors", "linksim.kinds.", "linksim.scenario.schema", "linksim.scenario.files", "linksim.run.statistics",
    },
    "linksim.report.figures": {
        "linksim.report.curves", "linksim.report.drawing", "linksim.metrics.info", "linksim.run.paired", "linksim.run.results",
        "linksim.run.set_statistics", "linksim.run.statistics", "linksim.report.theory",
    },
    "linksim.report.ledger": {"linksim.report.figures", "linksim.run.results"},
    "linksim.report.panels": {"linksim.report.figures", "linksim.metrics.info", "linksim.run.results"},
    "linksim.report.page": {
        "linksim.weights.files", "linksim.report.figures", "linksim.report.ledger", "linksim.report.panels", "linksim.run.results", "linksim.run.statistics",
    },
    "linksim.cli.main": {"channels.runtime.cache", "linksim", "linksim."},
    "linksim.__main__": {"linksim.cli.main"},
}  # fmt: skip

# a name that only these modules may use
OWNERS = {
    "torch.randn": {"channels.seeding"},
    "torch.rand": {"channels.flat.fading", "channels.seeding", "channels.runtime.sionna_seeding"},
    "torch.manual_seed": {"linksim.training.codec", "linksim.training.control", "linksim.training.denoiser"},
    "torch.fft": set(),
    "sys.exit": set(),
    "SystemExit": {"linksim.cli.main"},
    "print": {"linksim.cli.main"},
}


def files() -> list[Path]:
    return sorted([*ROOT.glob("channels/**/*.py"), *ROOT.glob("linksim/**/*.py")])


def module_name(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in files()}


def project_imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in MODULES else node.module)
    return {name for name in found if name.split(".")[0] in ("channels", "linksim")}


def allowed(module: str) -> set[str]:
    if module in ALLOWED:
        return ALLOWED[module]
    prefix = next((p for p in ALLOWED if p.endswith(".") and module.startswith(p)), None)
    assert prefix is not None, f"{module} has no place in tests/test_layers.py"
    return ALLOWED[prefix]


def is_allowed(imported: str, rules: set[str]) -> bool:
    return imported in rules or any(r.endswith(".") and imported.startswith(r) for r in rules)


def forbidden_edges(module: str, source: str) -> list[str]:
    rules = allowed(module)
    return sorted(
        f"{module} -> {name}" for name in project_imports(ast.parse(source)) if not is_allowed(name, rules)
    )


@pytest.mark.parametrize("module", [m for m in MODULES if m.count(".") or m == "linksim"])
def test_imports_follow_the_design(module):
    if MODULES[module].name == "__init__.py" and module != "linksim":
        assert not project_imports(ast.parse(MODULES[module].read_text())), "package files import nothing"
        return
    assert forbidden_edges(module, MODULES[module].read_text()) == []


def test_the_check_sees_a_forbidden_import():
    assert forbidden_edges("channels.flat.awgn", "from linksim import link") == [
        "channels.flat.awgn -> linksim.link"
    ]
    assert forbidden_edges("linksim.jscc.lean", "from linksim.coding.ldpc import LdpcCode")
    assert forbidden_edges("linksim.link", "import linksim.run.runner")
    assert not forbidden_edges("linksim.schemes.jscc", "from linksim.jscc.layout import SymbolLayout")


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


@pytest.mark.parametrize("module", MODULES)
def test_owned_names_stay_with_their_owner(module):
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Call):
            name = _dotted(node.func)
            if name in OWNERS:
                assert module in OWNERS[name], f"{module}:{node.lineno} calls {name}"


@pytest.mark.parametrize("module", [m for m in MODULES if m != "channels.units"])
def test_decibels_are_converted_in_one_file(module):
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if (
            isinstance(node, ast.BinOp)
            and isinstance(node.op, ast.Pow)
            and isinstance(node.left, ast.Constant)
        ):
            assert node.left.value not in (10, 10.0), f"{module}:{node.lineno} converts decibels"


def test_no_drawer_for_everything():
    names = {path.stem for path in files()}
    assert not names & {"utils", "helpers", "common", "misc", "util"}


def test_heavy_packages_are_not_imported_by_the_command_line():
    """``linksim --help`` must answer at once: the command line imports the standard library only."""
    tree = ast.parse(MODULES["linksim.cli.main"].read_text())
    top = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    names = {(n.module if isinstance(n, ast.ImportFrom) else n.names[0].name).split(".")[0] for n in top}
    assert names <= {"__future__", "argparse", "collections", "difflib", "errno", "io", "json", "logging", "os", "pathlib", "re", "sys",
                     "time", "typing", "unicodedata", "warnings"}  # fmt: skip


def _imported(node: ast.AST) -> list[str]:
    """Modules that a statement, with those in it, imports; not those that only the type checker sees."""
    if isinstance(node, ast.If) and _dotted(node.test) == "TYPE_CHECKING":
        return []
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return [name for child in ast.iter_child_nodes(node) for name in _imported(child)]


def test_sionna_is_imported_behind_the_fence():
    """The first import reseeds PyTorch: only channels.runtime.sionna_seeding has one (and the ray tracer, in a process
    of its own).
    """
    users = {
        module
        for module, path in MODULES.items()
        if any(name.split(".")[0] == "sionna" for name in _imported(ast.parse(path.read_text())))
    }
    assert users <= {"channels.raytraced.tracer"}  # the fence names Sionna in a text
    assert '"sionna.phy"' in MODULES["channels.runtime.sionna_seeding"].read_text()

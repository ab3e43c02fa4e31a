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
    "channels.sionna_seeding",
    "channels.arithmetic",
}
ALLOWED: dict[str, set[str]] = {
    "channels.types": {"channels.arithmetic"},
    "channels.units": set(),
    "channels.checks": set(),
    "channels.arithmetic": set(),
    "channels.cache": {"channels.checks"},
    "channels.child_processes": set(),
    "channels.triton_loading": set(),
    "channels.seeding": set(),
    "channels.sionna_seeding": {"channels.triton_loading"},
    "channels.base": CHANNEL_LEAVES,
    "channels.awgn": CHANNEL_LEAVES | {"channels.base"},
    "channels.flat_fading": CHANNEL_LEAVES | {"channels.base"},
    "channels.interleaving": CHANNEL_LEAVES | {"channels.base"},
    "channels.link_budget": CHANNEL_LEAVES,
    "channels.grid": CHANNEL_LEAVES | {"channels.base"},
    "channels.transmission": CHANNEL_LEAVES,
    "channels.detection": CHANNEL_LEAVES,
    "channels.interference": CHANNEL_LEAVES | {"channels.delay_models"},
    "channels.hardware_effect": CHANNEL_LEAVES | {"channels.delay_models", "channels.impairments"},
    "channels.pilot_measurements": CHANNEL_LEAVES | {"channels.base"},
    "channels.signal_quality": CHANNEL_LEAVES,
    "channels.front_end": CHANNEL_LEAVES | {
        "channels.base", "channels.delay_models", "channels.grid", "channels.hardware_effect", "channels.impairments",
        "channels.signal_quality", "channels.waveform",
    },
    "channels.geometric_models": CHANNEL_LEAVES | {"channels.base", "channels.delay_models"},
    "channels.time_ofdm": CHANNEL_LEAVES | {"channels.base", "channels.front_end", "channels.ofdm", "channels.waveform"},
    "channels.delay_models": CHANNEL_LEAVES | {"channels.base"},
    "channels.estimation": CHANNEL_LEAVES | {"channels.base", "channels.pilot_measurements"},
    "channels.equalization": CHANNEL_LEAVES,
    "channels.tf_call": {"channels.checks", "channels.triton_loading"},
    "channels.tf_bridge": CHANNEL_LEAVES | {"channels.base", "channels.tf_call"},
    "channels.recording": {"channels.checks"},
    "channels.recorded": CHANNEL_LEAVES | {"channels.base", "channels.delay_models", "channels.recording"},
    "channels.llvm": {"channels.checks"},
    "channels.ray_scene": {"channels.checks"},
    "channels.ray_tracer": set(),
    "channels.ray_traced": {
        "channels.cache", "channels.checks", "channels.child_processes", "channels.base", "channels.recording", "channels.recorded", "channels.ray_scene",
        "channels.llvm",
    },
    "channels.impairments": CHANNEL_LEAVES,
    "channels.waveform": {"channels.checks"},
    "channels.ofdm_receiver": CHANNEL_LEAVES | {
        "channels.base", "channels.delay_models", "channels.detection", "channels.estimation", "channels.grid",
        "channels.hardware_effect", "channels.pilot_measurements", "channels.transmission",
    },
    "channels.ofdm": CHANNEL_LEAVES | {
        "channels.base", "channels.delay_models", "channels.estimation", "channels.front_end", "channels.grid",
        "channels.hardware_effect", "channels.impairments", "channels.interference", "channels.ofdm_receiver",
        "channels.transmission",
    },
    # linksim, from left to right of the pipeline
    "linksim": {
        "channels.cache", "channels.kinds", "linksim.api.", "linksim.checkpoints", "linksim.digital.link_adaptation",
        "linksim.images", "linksim.kinds", "linksim.link", "linksim.metrics.base", "linksim.pickle_reader", "linksim.results", "linksim.scenario",
        "linksim.scenario_io",
    },  # names of the front door, each loaded when it is used
    "linksim.specs.": {"linksim.specs."},
    "linksim.scenario": {"linksim.specs."},
    "linksim.scenario_problems": {"channels.checks", "linksim.scenario"},
    "linksim.bounded_yaml": set(),
    "linksim.scenario_io": {"channels.cache", "channels.checks", "linksim.bounded_yaml", "linksim.scenario", "linksim.scenario_problems", "linksim.specs.fields"},
    "linksim.places": {"channels.cache", "linksim.specs.fields"},
    "linksim.zoo": {"channels.checks", "linksim.pickle_reader", "linksim.places"},
    "linksim.precision": set(),
    "linksim.picture_file": {"channels.checks"},
    "linksim.images": {"channels.checks", "linksim.picture_file"},
    "linksim.files": set(),
    "linksim.checkpoints": {"channels.checks", "linksim.files", "linksim.scenario"},
    "linksim.metrics.info": set(),
    "linksim.metrics.facts": {"linksim.metrics."},
    "linksim.metrics.set_distances": set(),
    "linksim.metrics.": {"channels.base", "channels.signal_quality", "channels.types", "channels.checks", "channels.units", "linksim.metrics.", "linksim.zoo"},
    "linksim.digital.": {"linksim.files", "channels.cache", "channels.child_processes", "channels.types", "channels.units", "channels.checks", "channels.seeding", "channels.sionna_seeding", "linksim.digital."},
    "linksim.pickle_reader": {"channels.checks"},
    "linksim.jscc.": {"linksim.bounded_yaml", "linksim.files", "linksim.pickle_reader", "channels.seeding", "channels.arithmetic", "channels.types", "channels.units", "channels.checks", "channels.equalization", "linksim.jscc."},
    "linksim.diffusion.": {
        "channels.checks", "channels.seeding", "linksim.bounded_yaml", "linksim.pickle_reader", "linksim.zoo",
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
        "channels.units", "linksim.schemes.base", "linksim.schemes.jscc", "linksim.schemes.payload", "linksim.digital.", "linksim.jscc.", "linksim.images",
    },
    "linksim.link": {"channels.arithmetic", "channels.base", "channels.seeding", "channels.types", "channels.units", "channels.checks", "linksim.schemes.base"},
    "linksim.effects": {"channels.checks", "linksim.scenario", "linksim.scenario_io"},
    "linksim.build_channel": {
        "channels.", "linksim", "linksim.places", "linksim.scenario", "linksim.scenario_io", "linksim.effects",
        "linksim.digital.link_adaptation",
    },
    "linksim.build": {
        "linksim.build_channel",
        "channels.", "linksim", "linksim.pickle_reader", "linksim.places", "linksim.precision", "linksim.scenario", "linksim.zoo", "linksim.checkpoints", "linksim.images",
        "linksim.metrics.", "linksim.digital.", "linksim.diffusion.", "linksim.jscc.", "linksim.schemes.",
    },
    "linksim.convert": {
        "channels.checks", "linksim.build", "linksim.checkpoints", "linksim.diffusion.", "linksim.files", "linksim.jscc.",
        "linksim.pickle_reader", "linksim.scenario", "linksim.zoo",
    },
    "linksim.run_format": set(),
    "linksim.results": {
        "channels.checks", "linksim.files", "linksim.metrics.facts", "linksim.metrics.info", "linksim.run_format", "linksim.scenario_io",
    },
    "linksim.time_left": set(),
    "linksim.downloads": {"channels.checks", "linksim", "linksim.scenario", "linksim.zoo"},
    "linksim.statistics": {"linksim.results"},
    "linksim.feature_files": {"channels.checks", "linksim.metrics.set_distances", "linksim.results"},
    "linksim.set_statistics": {
        "channels.checks", "linksim.feature_files", "linksim.metrics.facts", "linksim.metrics.info", "linksim.metrics.set_distances", "linksim.results",
        "linksim.statistics",
    },
    "linksim.arrivals": {"linksim.images", "linksim.results", "linksim.schemes.separation"},
    "linksim.runner": {
        "linksim.arrivals", "linksim.schemes.separation",
        "channels.base", "channels.checks", "channels.seeding", "linksim", "linksim.build", "linksim.build_channel",
        "linksim.downloads", "linksim.effects", "linksim.feature_files", "linksim.files", "linksim.images", "linksim.link",
        "linksim.metrics.selection", "linksim.results", "linksim.run_format", "linksim.scenario", "linksim.scenario_io",
        "linksim.schemes.base", "linksim.set_statistics", "linksim.statistics", "linksim.time_left",
    },
    "linksim.training.muon": {"linksim.scenario"},
    "linksim.training.event_log": set(),
    "linksim.training.loop": {"channels.checks", "linksim.images", "linksim.link", "linksim.training.event_log"},
    "linksim.training.extent": {"channels.checks", "linksim.scenario_io"},
    "linksim.training.picture_list": {"channels.checks", "linksim.images", "linksim.picture_file"},
    "linksim.training.discriminators": set(),
    "linksim.training.features": {"linksim.metrics."},
    "linksim.training.losses": {"linksim.metrics.", "linksim.scenario", "linksim.training.features"},
    "linksim.training.phases": {"linksim.scenario"},
    "linksim.training.adversary": {
        "linksim.scenario", "linksim.training.discriminators", "linksim.training.features", "linksim.training.losses",
    },
    "linksim.training.link": {
        "channels.base", "channels.types", "channels.units", "linksim.jscc.", "linksim.link", "linksim.schemes.base",
        "linksim.schemes.jscc",
    },
    "linksim.training.photographs": {
        "channels.checks", "linksim.images", "linksim.picture_file", "linksim.training.picture_list",
    },
    "linksim.training.folder": {
        "channels.checks", "linksim.files", "linksim.link", "linksim.scenario_io", "linksim.training.picture_list",
    },
    "linksim.training.": {
        "linksim.training.",
        "channels.base", "channels.checks", "channels.seeding", "linksim.build", "linksim.build_channel", "linksim.checkpoints",
        "linksim.convert", "linksim.diffusion.", "linksim.files", "linksim.images", "linksim.jscc.", "linksim.link",
        "linksim.metrics.", "channels.equalization", "channels.types", "linksim.precision", "linksim.scenario",
        "linksim.scenario_io", "linksim.schemes.jscc", "linksim.schemes.latent_diffusion", "linksim.zoo",
    },
    "linksim.calibrate": {
        "channels.arithmetic", "channels.base", "channels.equalization", "channels.seeding", "channels.types", "channels.units",
        "linksim", "linksim.digital.", "linksim.build", "linksim.build_channel", "linksim.images", "linksim.metrics.", "linksim.runner", "linksim.scenario",
        "linksim.schemes.base",
    },
    "linksim.curves": {"linksim.metrics.info", "linksim.results", "linksim.statistics"},
    "linksim.drawing": {"linksim.curves", "linksim.files", "linksim.results"},
    "linksim.paired": {"channels.checks", "linksim.results", "linksim.specs.comparison", "linksim.statistics"},
    "linksim.theory": {
        "channels.units", "linksim.build_channel", "linksim.scenario", "linksim.scenario_io", "linksim.statistics",
    },
    "linksim.figures": {
        "linksim.curves", "linksim.drawing", "linksim.metrics.facts", "linksim.metrics.info", "linksim.paired", "linksim.results",
        "linksim.set_statistics", "linksim.statistics", "linksim.theory",
    },
    "linksim.ledger": {"linksim.figures", "linksim.results"},
    "linksim.panels": {"linksim.figures", "linksim.metrics.info", "linksim.results"},
    "linksim.report": {
        "linksim.files", "linksim.figures", "linksim.ledger", "linksim.panels", "linksim.results", "linksim.statistics",
    },
    "linksim.api.": {
        "channels.cache", "channels.checks", "channels.kinds", "linksim.api.", "linksim.build", "linksim.build_channel", "linksim.checkpoints",
        "linksim.digital.link_adaptation", "linksim.downloads", "linksim.drawing", "linksim.figures", "linksim.images",
        "linksim.metrics.base", "linksim.metrics.info", "linksim.panels", "linksim.pickle_reader", "linksim.report",
        "linksim.results", "linksim.runner", "linksim.scenario", "linksim.scenario_io", "linksim.set_statistics",
        "linksim.statistics", "linksim.time_left", "linksim.training.",
    },
    "linksim.cli": {"channels.cache", "linksim", "linksim."},
    "linksim.__main__": {"linksim.cli"},
}  # fmt: skip

# a name that only these modules may use
OWNERS = {
    "torch.randn": {"channels.seeding"},
    "torch.rand": {"channels.flat_fading", "channels.seeding", "channels.sionna_seeding"},
    "torch.manual_seed": {"linksim.training.codec", "linksim.training.control", "linksim.training.denoiser"},
    "torch.fft": set(),
    "sys.exit": set(),
    "SystemExit": {"linksim.cli"},
    "print": {"linksim.cli"},
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
    assert forbidden_edges("channels.awgn", "from linksim import link") == ["channels.awgn -> linksim.link"]
    assert forbidden_edges("linksim.jscc.lean", "from linksim.digital.ldpc import LdpcCode")
    assert forbidden_edges("linksim.link", "import linksim.runner")
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
    tree = ast.parse(MODULES["linksim.cli"].read_text())
    top = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    names = {(n.module if isinstance(n, ast.ImportFrom) else n.names[0].name).split(".")[0] for n in top}
    assert names <= {"__future__", "argparse", "collections", "difflib", "errno", "io", "json", "logging", "os", "pathlib", "re", "sys",
                     "time", "typing", "unicodedata", "warnings"}  # fmt: skip


def test_sionna_is_imported_behind_the_fence():
    """Every module that imports Sionna imports channels.sionna_seeding first: the first import reseeds PyTorch."""
    for module, path in MODULES.items():
        names = [
            node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        first = next((i for i, name in enumerate(names) if name and name.split(".")[0] == "sionna"), None)
        if first is not None and module != "channels.sionna_seeding":
            before = set(names[:first]) | {
                f"{n.module}.{a.name}"
                for n in ast.parse(path.read_text()).body
                if isinstance(n, ast.ImportFrom)
                for a in n.names
            }
            assert "channels.sionna_seeding" in before, module

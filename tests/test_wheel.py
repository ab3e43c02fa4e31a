"""What a distribution holds, and that it works where nothing else of the project is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from channels.runtime.extras import DISTRIBUTION
from tests.linksim.tiny import write
from tests.test_extras import OF_EXTRAS, TRAINING, core  # noqa: F401  the fixture

ROOT = Path(__file__).parent.parent
PYPI_LIMIT = 100e6  # bytes of a file, without asking
WHEEL_LIMIT = 80e6  # of the wheel: weights are 76 MB, and hardly compress
ASSETS = ("dial.safetensors", "dial-denoiser.safetensors", "lean-awgn-1-96.safetensors", "block-klt-16.safetensors",
          "niqe-pristine.safetensors", "mcs-calibration.json", "dial.md", "dial-denoiser.md", "lean-awgn-1-96.md")  # fmt: skip
SCENARIOS = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "scenarios").rglob("*.yaml"))
PROMISED = {
    *("linksim/py.typed", "channels/py.typed", "linksim/scenarios/data/street-canyon.npz"),
    *(f"linksim/assets/{name}" for name in ASSETS),
    *(f"linksim/{name}" for name in SCENARIOS),
    *(str(p.relative_to(ROOT)) for folder in ("linksim", "channels") for p in (ROOT / folder).rglob("*.py")),
}
FOREIGN = (
    "tests",
    "docs",
    "benchmarks",
    "runs",
    "build",
    "dist",
)  # at the top of a wheel: other projects', too


def listed(builder: str) -> dict[str, Path]:
    """The files that a distribution would hold, by their names in it, as the build backend finds them."""
    pytest.importorskip("hatchling", reason="hatchling lists the files: pip install '.[test]'")
    from hatchling.builders.sdist import SdistBuilder
    from hatchling.builders.wheel import WheelBuilder

    build = {"wheel": WheelBuilder, "sdist": SdistBuilder}[builder](str(ROOT))
    build.config.build_force_include = {}
    with build.config.set_build_data({"force_include": {}, "force_include_editable": {}, "artifacts": []}):
        return {found.distribution_path: Path(found.path) for found in build.recurse_included_files()}


def test_a_wheel_holds_weights_scenarios_and_tables():
    """Read from the build backend, in which .gitignore has a say: linksim/run and linksim/build are packages."""
    files = listed("wheel")
    assert PROMISED - set(files) == set()
    assert [name for name in files if name.split("/")[0] in FOREIGN or "__pycache__" in name] == []
    assert sum(path.stat().st_size for path in files.values()) < WHEEL_LIMIT
    assert len(SCENARIOS) > 50


def test_an_sdist_holds_what_builds_tests_and_cites_it():
    files = listed("sdist")
    wanted = ("README.md", "Makefile", "CITATION.cff", "constraints.txt", "hatch_build.py", "tests/conftest.py",
              "scenarios/quickstart.yaml", "benchmarks/mistakes.py", "docs/definitions.md", "linksim/assets/dial.safetensors")  # fmt: skip
    assert [name for name in wanted if name not in files] == []
    assert sum(path.stat().st_size for path in files.values()) < PYPI_LIMIT


def test_an_sdist_holds_whatever_is_under_version_control():
    """Tests read workflows, the Dockerfile and what CI runs: without one of them an unpacked sdist fails its own."""
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout")
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert len(tracked) > 800
    of_the_backend = {"pyproject.toml", ".gitignore"}  # it adds them by itself
    assert set(tracked) - set(listed("sdist")) - of_the_backend == set()


def test_links_of_the_readme_lead_somewhere_on_the_package_index():
    pytest.importorskip("hatchling", reason="hatchling makes the metadata: pip install '.[test]'")
    from hatchling.metadata.core import ProjectMetadata
    from hatchling.plugin.manager import PluginManager

    project = ProjectMetadata(str(ROOT), PluginManager())
    text = project.core.readme
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert len(links) > 20
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
    own = f"{project.core.urls['Source']}/"
    ours = [link.removeprefix(own).split("#")[0].split("/", 2) for link in links if link.startswith(own)]
    assert {tag for _, tag, _ in ours} == {f"v{project.version}"}
    assert [path for _, _, path in ours if not (ROOT / path).exists()] == []
    assert {kind for kind, _, path in ours if path.endswith((".jpg", ".png", ".svg"))} == {"raw"}
    assert {kind for kind, _, path in ours if path.endswith(".md")} == {"blob"}


def python_of(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def ran(command: list[str], cwd: Path, **environment: str) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False,
                          env={**os.environ, "CUDA_VISIBLE_DEVICES": "", **environment})  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, Path]:
    """The sdist, and the wheel that is built from it."""
    out = tmp_path_factory.mktemp("dist")
    make = "from hatchling.build import build_sdist, build_wheel; import sys\n"
    ran([sys.executable, "-c", f"{make}build_sdist(sys.argv[1])", str(out)], ROOT)
    [sdist] = out.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(out, filter="data")
    [source] = [p for p in out.iterdir() if p.is_dir()]
    ran([sys.executable, "-c", f"{make}build_wheel(sys.argv[1])", str(out)], source)
    [wheel] = out.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def installed(built, core, tmp_path_factory) -> Path:  # noqa: F811
    """Python of a new environment: the wheel, and of other packages those of the light core (links, by a .pth)."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=True)
    [site] = folder.glob("lib/python*/site-packages")
    (site / "core.pth").write_text(f"{core}\n")
    python = python_of(folder)
    ran([str(python), "-m", "pip", "install", "--no-deps", "--no-index", str(built[1])], folder)
    return python


@pytest.mark.slow
def test_distributions_are_small_enough_for_the_index_and_the_same_from_both_ways(built):
    sdist, wheel = built
    assert wheel.name.startswith(DISTRIBUTION.replace("-", "_"))
    assert wheel.stat().st_size < WHEEL_LIMIT
    assert sdist.stat().st_size < PYPI_LIMIT
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == set(listed("wheel"))


@pytest.mark.slow
def test_the_wheel_runs_the_quickstart_where_nothing_else_is(installed, tmp_path):
    where = ran(
        [str(installed), "-c", "import linksim, channels; print(linksim.__file__, channels.__file__)"],
        tmp_path,
    )
    assert where.count("site-packages") == 2
    assert str(ROOT) not in where
    command = str(installed.parent / "linksim")
    ran([command, "simulate", "quickstart", "--out", "run"], tmp_path)
    assert (tmp_path / "run" / "report.html").is_file()
    shown = ran([command, "results", "run", "--metric", "psnr"], tmp_path)
    assert "BPG + LDPC" in shown


@pytest.mark.slow
def test_the_wheel_without_extras_runs_separation_and_trains(installed, tmp_path):
    found = f"import importlib.util as u; print([n for n in {sorted(OF_EXTRAS)} if u.find_spec(n)])"
    assert ran([str(installed), "-c", found], tmp_path).strip() == "[]"
    (tmp_path / "train.yaml").write_text(TRAINING)
    command = str(installed.parent / "linksim")
    ran([command, "simulate", write(tmp_path), "--no-report", "--out", "run"], tmp_path)
    ran([command, "train", "train.yaml", "--device", "cpu", "--out", "trained"], tmp_path)
    assert (tmp_path / "run" / "results.csv").is_file()
    assert (tmp_path / "trained" / "model.safetensors").is_file()

"""What stands beside the code agrees with it: citation, workflows, image, issue templates, the page on installing."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path

import pytest
import yaml

import linksim
from channels.runtime.extras import DISTRIBUTION
from linksim.cli.parser import make_parser

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z][\w-]*):", MAKEFILE, re.MULTILINE))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TEMPLATES = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
PYTHONS = [text.rsplit(" ", 1)[1] for text in PROJECT["project"]["classifiers"] if "Python :: 3." in text]


def steps(path: Path) -> list[dict[str, object]]:
    return [step for job in yaml.safe_load(path.read_text())["jobs"].values() for step in job["steps"]]


def test_versions_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == linksim.__version__
    assert {"cff-version", "message", "title", "authors", "license", "repository-code"} <= set(citation)
    assert citation["license"] == PROJECT["project"]["license"]
    assert citation["repository-code"] == PROJECT["project"]["urls"]["Source"]
    newest = re.search(r"^## (\S+) \((.+)\)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest[1] == linksim.__version__
    if newest[2] != "unreleased":  # a release has a date, the same in both
        assert citation["date-released"] == date.fromisoformat(newest[2])


def test_workflows_call_targets_that_exist():
    assert [path.stem for path in WORKFLOWS] == ["docs", "tests", "wheels"]
    called = set()
    for path in WORKFLOWS:
        for step in steps(path):
            assert ("uses" in step) != ("run" in step)
            called |= set(re.findall(r"make ([\w-]+)", str(step.get("run", ""))))
    tests = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())["jobs"]
    called |= set(tests["optional"]["strategy"]["matrix"]["target"])
    if not (ROOT / "docs" / "conf.py").exists():
        called.discard("docs")
    assert called - TARGETS == set()
    ci = set(re.findall(r"^make ([\w-]+)", (ROOT / ".ci" / "run").read_text(), re.MULTILINE))
    assert ci <= called, "what CI runs here, GitHub's machines run, too"


def test_workflows_test_every_python_that_is_promised():
    for name, job in (("tests", "tests"), ("wheels", "install")):
        jobs = yaml.safe_load((ROOT / f".github/workflows/{name}.yml").read_text())["jobs"]
        assert jobs[job]["strategy"]["matrix"]["python"] == PYTHONS
    assert PROJECT["project"]["requires-python"] == f">={PYTHONS[0]}"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda p: p.stem)
def test_issue_templates_have_what_github_asks_for(path):
    template = yaml.safe_load(path.read_text())
    if path.stem == "config":
        assert all(set(link) == {"name", "url", "about"} for link in template["contact_links"])
        return
    assert {"name", "description", "body"} <= set(template)
    ids = [field["id"] for field in template["body"]]
    assert len(set(ids)) == len(ids)
    for field in template["body"]:
        assert field["type"] in ("textarea", "input", "dropdown", "checkboxes")
        assert field["attributes"]["label"]


def instructions(text: str) -> list[tuple[str, str]]:
    """Words and arguments of a Dockerfile, lines joined and comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(" ", 1)) for line in joined.splitlines() if line.strip()]


def missing_paths(text: str, ignored: str) -> list[str]:
    """Sources of COPY that are not there, or that .dockerignore keeps out."""
    kept = {line[1:] for line in ignored.splitlines() if line.startswith("!")}
    sources = [word for name, rest in instructions(text) if name == "COPY" for word in rest.split()[:-1]]
    return [source for source in sources if not (ROOT / source).exists() or source not in kept]


def test_image_copies_what_is_there_and_what_a_build_needs():
    text, ignored = (ROOT / "Dockerfile").read_text(), (ROOT / ".dockerignore").read_text()
    assert missing_paths(text, ignored) == []
    assert missing_paths(text.replace("COPY scenarios", "COPY scenes"), ignored) == ["scenes"]
    assert missing_paths(text, ignored.replace("!LICENSE\n", "")) == ["LICENSE"]
    copied = {word for name, rest in instructions(text) if name == "COPY" for word in rest.split()[:-1]}
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    asked = {
        *("README.md", "hatch_build.py"),  # the text of the package index and what makes it
        *PROJECT["project"]["license-files"],
        *wheel["packages"],
        *wheel["force-include"],
    }
    assert asked | {"pyproject.toml", "constraints.txt"} == copied


def test_image_runs_commands_that_are_there():
    found = instructions((ROOT / "Dockerfile").read_text())
    assert {name for name, _ in found} == {
        "ARG",
        "FROM",
        "WORKDIR",
        "COPY",
        "RUN",
        "ENV",
        "USER",
        "ENTRYPOINT",
        "CMD",
    }
    runs = [rest for name, rest in found if name == "RUN"]
    [smoke] = [rest for rest in runs if rest.startswith("linksim ")]
    assert smoke.startswith("linksim simulate quickstart")
    assert "linksim simulate quickstart" in (ROOT / "README.md").read_text()
    make_parser().parse_args(shlex.split(smoke)[1:])
    for rest in runs:
        if "pip install" in rest:
            assert "--constraint constraints.txt" in rest
    assert "--target smoke" in MAKEFILE, "make docker runs it"
    stages = [rest.split() for name, rest in found if name == "FROM"]
    assert [stage[-1] for stage in stages] == ["installed", "smoke", "installed"]
    assert len(stages[-1]) == 1, "the last stage, which is built by default, is that without the test's files"


def test_page_on_installing_lists_every_extra_with_what_it_installs():
    text = (ROOT / "docs" / "installing.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z0-9]+)` \| ([^|]+) \|", text, re.MULTILINE))
    extras = PROJECT["project"]["optional-dependencies"]
    assert set(rows) == set(extras)
    own = re.compile(rf"{DISTRIBUTION}\[([a-z0-9,]+)\]")
    for extra, wanted in extras.items():
        asked = set(re.findall(r"`([\w-]+)`", rows[extra]))
        names = {re.match(r"[\w-]+", text)[0] for text in wanted if not own.match(text)}
        others = {name for text in wanted if (found := own.match(text)) for name in found[1].split(",")}
        assert asked == names | others, extra


def test_page_on_installing_names_all_that_is_bundled_with_sizes():
    text = (ROOT / "docs" / "installing.md").read_text()
    assets = ROOT / "linksim" / "assets"
    rows = dict(re.findall(r"^\| `([\w.-]+\.(?:safetensors|json))` \| ([\d.]+) MB", text, re.MULTILINE))
    assert set(rows) == {path.name for path in assets.iterdir() if path.suffix in (".safetensors", ".json")}
    for name, megabytes in rows.items():
        digits = len(megabytes.partition(".")[2])
        size = (assets / name).stat().st_size / 1e6
        assert abs(size - float(megabytes)) <= 0.51 * 10**-digits, name


def test_model_cards_name_licence_and_data():
    cards = sorted((ROOT / "linksim" / "assets").glob("*.md"))
    assert len(cards) >= 3
    for card in cards:
        assert card.with_suffix(".safetensors").is_file()
        assert f"| licence | {PROJECT['project']['license']}" in card.read_text(), card.name
        assert "| data |" in card.read_text(), card.name


@pytest.mark.parametrize("fails", [False, True])
def test_passing_tests_leave_nothing_in_the_temporary_folder(tmp_path, fails):
    """As make test runs them, in two processes. Where one fails, its files are kept, and its alone."""
    place = tmp_path / "temporary"
    place.mkdir()
    body = "def test_{0}(tmp_path):\n    (tmp_path / '{0}.bin').write_bytes(bytes(1000))\n    assert {1}\n"
    (tmp_path / "test_small.py").write_text(body.format("one", True) + body.format("two", not fails))
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path), "-p", "no:cacheprovider"]  # fmt: skip
    done = subprocess.run([*command, "--numprocesses", "2", "test_small.py"], cwd=tmp_path, capture_output=True,
                          text=True, check=False, env={**os.environ, "TMPDIR": str(place)})  # fmt: skip
    assert done.returncode == fails, done.stdout + done.stderr
    assert [path.name for path in place.rglob("*.bin")] == ["two.bin"] * fails


def test_ci_keeps_one_copy_of_what_it_installs():
    """The environment takes 10 GB: no wheels in a cache, and PyTorch's gone before the others come."""
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    [settings] = [line.split()[1:] for line in lines if line.startswith("export ")]
    assert settings == ["PIP_NO_CACHE_DIR=1"]
    assert lines.index(f"export {' '.join(settings)}") < lines.index("make test")
    recipe = MAKEFILE.split("\n$(VENV)/.torch-installed:\n")[1].split("\n\n")[0].splitlines()
    assert recipe[-2].lstrip().startswith("$(PIP) torch torchvision ")
    assert recipe[-1].strip() == "@touch $@"  # a download that fails is tried again
    stamps = re.findall(r"^\$\(VENV\)/\.[\w-]+: .*", MAKEFILE, re.MULTILINE)
    assert len(stamps) == 6
    assert all(line.endswith("| $(VENV)/.torch-installed") for line in stamps)

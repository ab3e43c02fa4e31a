"""The lower bounds of pyproject.toml are versions that can be installed together, none lower than others allow."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = (
    "test",
    "demo",
    "realism",
    "ray",
)  # TensorFlow raises TensorBoard, tools are not what we are built on


def bounds(requirements: list[str]) -> dict[str, str]:
    """Lower bounds by names, as the index spells them."""
    found = (re.match(r"([\w-]+)(?:\[[\w,]+\])?>=([\d.]+)", text) for text in requirements)
    return {match[1].lower().replace("_", "-"): match[2] for match in found if match}


def release(version: str) -> tuple[int, ...]:
    """3.9 and 3.9.0 are one."""
    numbers = [int(part) for part in re.findall(r"\d+", version)]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def too_low(declared: dict[str, str], resolved: dict[str, str]) -> dict[str, str]:
    """Bounds below what the others force: nobody can have tested those."""
    return {
        name: f"{bound}, {resolved[name]} at the lowest"
        for name, bound in declared.items()
        if name in resolved and release(resolved[name]) != release(bound)
    }


def test_a_bound_that_others_raise_is_named():
    assert too_low({"numpy": "1.26", "scipy": "1.15"}, {"numpy": "2.2.6", "scipy": "1.15.0"}) == {
        "numpy": "1.26, 2.2.6 at the lowest"
    }


def test_every_dependency_has_a_lower_bound():
    texts = [
        *PROJECT["dependencies"],
        *(t for n, ts in PROJECT["optional-dependencies"].items() if n != "dev" for t in ts),
    ]
    assert [text for text in texts if ">=" not in text and not text.startswith("linksim-wireless[")] == []


NO_SOLUTION = pytest.mark.xfail(
    reason="CompressAI 1.2.8 asks for numpy<2, Sionna 2.2 for numpy>=2.2.6", strict=True
)


@pytest.mark.slow
@pytest.mark.download
@pytest.mark.parametrize(
    "extra",
    [
        pytest.param(name, marks=NO_SOLUTION) if name == "compressai" else name
        for name in PROJECT["optional-dependencies"]
    ],
)
def test_every_extra_can_be_installed_beside_the_core(extra):
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed: pip install uv")
    command = [uv, "pip", "compile", "--quiet", "--python-version", "3.11", "--extra", extra]
    subprocess.run(
        [*command, str(ROOT / "pyproject.toml")], check=True, stdout=subprocess.DEVNULL, timeout=300
    )


@pytest.mark.slow
@pytest.mark.download
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_lower_bounds_are_what_the_lowest_installation_gets(python, tmp_path):
    """make test-lowest installs these, and runs tests with them. On later Pythons some have to be higher."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed: pip install uv")
    out = tmp_path / "lowest.txt"
    extras = [word for name in EXTRAS for word in ("--extra", name)]
    command = [uv, "pip", "compile", "--quiet", "--resolution", "lowest-direct", "--python-version", python]
    subprocess.run([*command, *extras, "--output-file", str(out), str(ROOT / "pyproject.toml")], check=True)
    resolved = dict(re.findall(r"^([\w.-]+)==(\S+)", out.read_text(), re.MULTILINE))
    wanted = [*PROJECT["dependencies"], *(t for n in EXTRAS for t in PROJECT["optional-dependencies"][n])]
    if python == "3.11":
        assert too_low(bounds(wanted), resolved) == {}
    assert set(bounds(wanted)) <= set(resolved)

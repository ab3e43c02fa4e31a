"""What the documents say is true: their Python runs, their links and scenarios exist."""

import ast
import importlib
import re
from pathlib import Path

import pytest

import linksim
from linksim.kinds import foreign, load_file, unregister
from linksim.scenario.files import load_scenario, parse_overrides

ROOT = Path(__file__).resolve().parent.parent
MADE = {"generated", "_build"}  # pages of the site that are made from the code, which nobody wrote
PAGES = [path for path in (ROOT / "docs").rglob("*.md") if not MADE & set(path.parts)]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *PAGES])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_python_blocks_run_in_order(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where their runs are written
    (tmp_path / "scenarios").symlink_to(ROOT / "scenarios")
    space = {"__name__": path.stem}
    before = {(found.family, found.name) for found in foreign()}
    try:
        for block in re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL):
            exec(compile(block, str(path), "exec"), space)
    finally:
        for found in foreign():
            if (found.family, found.name) not in before:
                unregister(found.family, found.name)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_links_and_files_exist(path):
    text = path.read_text()
    targets = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text)
    missing = [
        t for t in targets if not ("://" in t or MADE & set(Path(t).parts) or (path.parent / t).exists())
    ]
    named = re.findall(r"(?:scenarios|benchmarks|tests)/[\w/.-]+\.(?:yaml|py)", text)
    missing += [t for t in named if not (ROOT / t).exists()]
    assert not missing


def test_readme_stays_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_python_document_has_code():
    assert (ROOT / "docs" / "python.md").read_text().count("```python") >= 2


def test_every_scenario_of_the_library_is_in_a_table():
    shown = (ROOT / "README.md").read_text() + (ROOT / "docs" / "gallery.md").read_text()
    files = sorted((ROOT / "scenarios").rglob("*.yaml"))
    names = [str(file.relative_to(ROOT)) for file in files if file.parent.name != "base"]
    assert [name for name in names if f"{name})" not in shown] == []
    assert len(names) > 50


def test_scenario_of_the_readme_is_valid(tmp_path):
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        path = tmp_path / "scenario.yaml"
        path.write_text(block)
        assert load_scenario(str(path), parse_overrides([])).name == "my-link"


def test_own_method_of_the_readme_is_simulated(tmp_path):
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    scenario = {
        "name": "own",
        "images": {"kind": "skimage", "names": ["coffee"], "crop": 64},
        "bandwidth": {"data_ratio": "1/96"},
        "channel": {"kind": "rayleigh", "csi": {"kind": "ls", "pilots_per_block": 1}},
        "sweep": {"snr_db": [10]},
        "schemes": [{"kind": "mine", "name": "mine"}],
        "metrics": ["psnr"],
    }
    (tmp_path / "mine.py").write_text(code)
    load_file(tmp_path / "mine.py")
    try:
        run = linksim.simulate(scenario, out=tmp_path / "run", progress=False)
        assert list(run.table()["num_trials"]) == [1]
    finally:
        unregister("scheme", "mine")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_whole_scenarios_in_documents_are_valid(path, tmp_path):
    blocks = re.findall(r"```yaml\n(.*?)```", path.read_text(), re.DOTALL)
    for block in blocks:
        if block.startswith("schema_version"):
            (tmp_path / "scenario.yaml").write_text(block)
            load_scenario(str(tmp_path / "scenario.yaml"))


ROLE = re.compile(r":(?:class|func|meth|data|attr|mod|exc):`~?([\w.]+)`")


def names_in(tree: ast.AST) -> set[str]:
    """What a file defines or imports, members of its classes included."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
    return found


def is_there(path: str) -> bool:
    """Whether a full name leads to something."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        for name in parts[length:]:
            if not hasattr(found, name) and name not in getattr(found, "__annotations__", {}):
                return False
            found = getattr(found, name, None)
        return True
    return False


def test_references_in_docstrings_lead_somewhere():
    lost, count = [], 0
    for path in sorted(
        path for package in ("channels", "linksim") for path in (ROOT / package).rglob("*.py")
    ):
        text = path.read_text()
        own = names_in(ast.parse(text))
        for target in set(ROLE.findall(text)):
            count += 1
            if target.split(".")[0] not in own and not is_there(target):
                lost.append(f"{path.relative_to(ROOT)}: {target}")
    assert not lost
    assert count > 200

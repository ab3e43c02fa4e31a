"""The documentation site: what its pages say of commands, fields and files is what the code does."""

import json
import re
import shlex
import sys
import threading
from pathlib import Path

import pytest
import yaml

import linksim
from linksim.cli.parser import make_parser
from linksim.scenario.reading import find_scenario

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(p for p in DOCS.rglob("*.md") if not {"_build", "generated"} & set(p.parts))
DOCUMENTS = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]

FADING = {
    "name": "written",
    "images": {"kind": "skimage", "names": ["coffee"], "crop": 64},
    "bandwidth": {"data_ratio": "1/12"},
    "channel": {"kind": "rayleigh", "csi": {"kind": "perfect"}},
    "sweep": {"snr_db": [0], "trials": 2, "channel.coherence_symbols": [8, 64]},
    "schemes": [{"kind": "separation", "name": "coded", "mcs": 9}],
    "metrics": ["psnr", "bler"],
    "stop": {"block_errors": 3, "max_trials": 4},
}


def described(title: str) -> set[str]:
    """Names in the first column of the table below a heading of the page on run folders."""
    text = (DOCS / "reference" / "run-folder.md").read_text()
    section = (
        text.partition(f"\n## {title}\n")[2].partition("\n## ")[0] if title else text.partition("\n## ")[0]
    )
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| ")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def test_page_on_run_folders_describes_what_a_run_writes(tmp_path):
    run = linksim.simulate(FADING, out=tmp_path / "run", keep_failures=1)
    run.report()
    folder = tmp_path / "run"
    there = {p.name + "/" * p.is_dir() for p in folder.iterdir()}
    assert there | {"former/1", "former/2", "features/"} == described("")
    swept = {"channel.coherence_symbols"}
    table = run.table()
    assert set(table) - swept == described("results.csv")
    assert set(table["stopped_by"]) <= {"block_errors", "max_trials"}
    record = json.loads((folder / "records.jsonl").read_text().splitlines()[0])
    assert set(record) == described("records.jsonl")
    assert set(run.header) == described("run.json") - {"kinds", "shard"}
    failure = json.loads((folder / "failures" / "failures.jsonl").read_text().splitlines()[0])
    assert set(failure) == described("failures.jsonl")


def commands(path: Path) -> list[list[str]]:
    """Commands of linksim in the shell blocks of a page, and in its indented blocks."""
    text = path.read_text()
    blocks = re.findall(r"```(?:sh|bash)\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"^    (linksim .*)", text.replace("\\\n", " "), re.MULTILINE)
    found = []
    for line in lines:
        words = shlex.split(line, comments=True)
        if words[:1] == ["linksim"]:
            end = next((i for i, word in enumerate(words) if word in ("|", ">", "&&")), len(words))
            found.append(words[1:end])
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_of_pages_are_commands(path):
    """Options and library scenarios exist; placeholders (capitals, three dots) stand for anything."""
    for words in commands(path):
        if "..." in words or not words:
            continue
        args = make_parser().parse_args(words)
        name = getattr(args, "scenario", "")
        if name and not name.endswith(".yaml") and not name.isupper():
            find_scenario(name)


def test_the_check_of_commands_sees_a_wrong_one(capsys):
    with pytest.raises(SystemExit):
        make_parser().parse_args(["simulate", "quickstart", "--worker-count", "2"])
    assert "--worker" in capsys.readouterr().err
    assert len([c for path in DOCUMENTS for c in commands(path)]) > 40


def test_every_field_of_the_reference_has_its_meaning(monkeypatch):
    """The last column is the description in the schema: no table beside the code says it instead."""
    monkeypatch.syspath_prepend(str(DOCS))
    from _generate.fields import pages

    rows = [line for page in pages().values() for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) > 400
    assert [row for row in rows if not re.split(r"(?<!\\)\|", row)[-2].strip()] == []


def test_every_name_of_the_door_is_in_the_reference(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    from _generate.api import pages

    page = pages()["api"]
    named = [
        name
        for name in dir(linksim)
        if not name.startswith("_") and name[0].isupper() and name.isidentifier()
    ]
    named = [name for name in named if name not in ("TYPE_CHECKING", "Any")]
    assert len(named) > 40
    assert [name for name in named if f"linksim.{name}" not in page] == []


def test_walks_of_the_architecture_page_are_taken_by_a_run(tmp_path, monkeypatch):
    """Every step is called, and after the one before it."""
    monkeypatch.syspath_prepend(str(DOCS))
    from _generate.walks import WALKS

    wanted = {path for walk in WALKS.values() for path, _ in walk.steps}
    called: list[str] = []

    def note(frame, event, _):
        if event == "call":
            path = f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}"
            if path in wanted:
                called.append(path)

    scenario = {
        **{key: FADING[key] for key in ("images", "bandwidth")},
        "name": "walk",
        "channel": {"kind": "ofdm", "model": {"kind": "tdl", "profile": "C", "delay_spread_s": 3e-7}},
        "sweep": {"snr_db": [10]},
        "schemes": [{"kind": "linear_analog", "name": "linear"}],
    }
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        linksim.simulate(scenario, out=tmp_path / "run")
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    for walk in WALKS.values():
        rest = iter(called)
        missing = [path for path, _ in walk.steps if path not in rest]
        assert not missing, (walk.title, missing)


def test_messages_of_the_troubleshooting_page_are_those_that_appear(tmp_path, monkeypatch):
    """Each change to the scenario of the page makes the message below it; three dots stand for anything."""
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "help" / "troubleshooting.md").read_text()
    base = yaml.safe_load(re.search(r"```yaml\n(name: .*?)```", text, re.DOTALL)[1])
    linksim.check(base)
    pairs = re.findall(r"```yaml\n([^`]*)```\n\n```text\n([^`]*)\n```", text)
    assert len(pairs) > 15
    for change, message in pairs:
        with pytest.raises(linksim.USER_ERRORS) as problem:
            linksim.check(base, yaml.safe_load(change))
        said = str(problem.value).replace(str(tmp_path), "/here")
        assert re.fullmatch(".*".join(map(re.escape, message.split(" ... "))), said), said

"""make benchmarks: a wrong number is found, and its manifest fits the pages as they are."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from channels.runtime.extras import install

ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture(scope="module")
def comparison():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
        yield importlib.import_module("comparison")


@pytest.fixture(scope="module")
def runner(comparison):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
        yield importlib.import_module("all")


@pytest.fixture(scope="module")
def manifest(runner):
    return runner.load()


PAGE = """Better by 1.25 dB (at
4 dB), in two seconds; failures at 3%.

<!-- begin small -->
| PSNR [dB] | 1 dB | failed | speed |
|---|---|---|---|
| code | 24.18 ± 0.50 | < 4.1% | 30 |
| share | 80% (78 to 82) | 1.4% | 31 |
<!-- end small -->
"""
LINES = [
    {"snr_db": 4, "difference": 1.2512, "ci_low": 1.0, "ci_high": 1.5},
    {"snr_db": 1, "difference": 0.4, "ci_low": 0.2, "ci_high": 0.6},
    {"command": 0, "seconds": 2.6},
    {"shares": {"a": [0.031, 0.01]}},
]
ENTRY = {
    "name": "small",
    "numbers": [
        {
            "in": "page.md",
            "text": "Better by # dB (at 4 dB)",
            "values": [{"where": {"snr_db": 4}, "of": ["difference"]}],
        },
        {
            "in": "page.md",
            "text": "in # seconds",
            "values": [{"of": ["seconds"]}],
            "tolerance": {"factor": 2},
        },
        {
            "in": "page.md",
            "text": "failures at #%",
            "values": [{"of": ["shares"], "take": "max", "scale": 100}],
        },
    ],
    "blocks": [{"in": "page.md", "name": "small", "columns": {"speed": {"factor": 1.5}}}],
}


def verdicts(runner, tmp_path: Path, page: str, again: str = PAGE) -> dict[str, str]:
    """What is said of every printed number of a page."""
    for folder, text in ((tmp_path / "tree", page), (tmp_path / "again", again)):
        folder.mkdir(exist_ok=True)
        (folder / "page.md").write_text(text)
    found = runner.compare(ENTRY, LINES, tmp_path / "again", tmp_path / "tree")
    return {f"{f.place}: {f.printed}": f.verdict for f in found}


def test_numbers_that_are_true_are_the_same(runner, tmp_path):
    found = verdicts(runner, tmp_path, PAGE)
    assert len(found) == 12
    assert found.pop("in # seconds: two") == "inside"  # 2.6 s, and a factor of two is allowed
    assert set(found.values()) == {"same"}


@pytest.mark.parametrize(
    ("true", "false"),
    [
        ("by 1.25 dB", "by 1.75 dB"),
        ("by 1.25 dB", "by -1.25 dB"),
        ("in two", "in seven"),
        ("at 3%", "at 4%"),
        ("24.18 ±", "24.69 ±"),
        ("± 0.50", "± 0.05"),
        ("± 0.50", "± 0.76"),
        ("80% (", "83% ("),
        ("(78 to", "(75 to"),
        ("to 82)", "to 85)"),
        ("< 4.1%", "< 3.1%"),
        ("| 1.4%", "| 2.4%"),
        ("| 30 |", "| 46 |"),
        ("| code |", "| other |"),
        ("| share | 80% (78 to 82) | 1.4% | 31 |\n", ""),
    ],
)
def test_every_wrong_number_is_named(runner, tmp_path, true, false):
    assert PAGE.count(true) == 1
    assert list(verdicts(runner, tmp_path, PAGE.replace(true, false)).values()).count("outside") == 1


@pytest.mark.parametrize(
    ("true", "other"),
    [("by 1.25 dB", "by 1.4 dB"), ("24.18 ±", "24.67 ±"), ("80% (", "81% ("), ("| 30 |", "| 40 |")],
)
def test_numbers_within_their_interval_are_told_from_the_same(runner, tmp_path, true, other):
    found = list(verdicts(runner, tmp_path, PAGE.replace(true, other)).values())
    assert found.count("inside") == 2
    assert "outside" not in found


def test_a_limit_agrees_with_what_lies_below_it(comparison):
    blocks = [f"| x | y |\n|---|---|\n| a | {cell} |" for cell in ("< 4.1%", "1.4%", "5.0%")]
    limit, below, above = blocks

    def said(printed: str, now: str) -> str:
        return comparison.compare_blocks("p", {"name": "b"}, printed, now)[0].verdict

    assert [said(limit, below), said(below, limit)] == ["inside", "inside"]
    assert [said(limit, above), said(above, limit)] == ["outside", "outside"]


def test_a_value_in_brackets_is_judged_by_its_interval_and_keeps_its_mark(comparison):
    def said(printed: str, now: str) -> list[str]:
        blocks = (f"| x | y |\n|---|---|\n| a | {cell} |" for cell in (printed, now))
        return [f.verdict for f in comparison.compare_blocks("p", {"name": "b"}, *blocks)]

    now = "24.05† [22.78, 25.05]"
    assert said(now, now) == ["same"] * 3
    assert said("23.30† [22.20, 24.20]", now) == ["inside"] * 3
    assert said("22.10† [20.90, 29.10]", now) == ["outside", "inside", "outside"]
    assert said("24.05† [24.05, 24.05]", now) == ["same", "outside", "outside"]  # no interval at all
    assert said("24.05 [22.78, 25.05]", now) == ["outside"]  # was the network trained on it or not
    assert said("24.05†", now) == ["outside"]


def test_a_text_that_is_not_there_or_twice_stops_the_entry(comparison):
    for page, count in (("nothing", 0), ("1 dB or 2 dB", 2)):
        with pytest.raises(comparison.ManifestError, match=f"got {count} places, expected one"):
            comparison.numbers_in(page, "# dB")
    assert comparison.numbers_in("half a\nminute with -.5 dB", "# minute with # dB") == ("half a", "-.5")
    both = {
        "mean": 23.4,
        "difference": -1.0,
        "ci_low": -1.5,
        "ci_high": -0.5,
    }  # the interval is not of the mean
    assert comparison.measured([both], {"of": ["mean"]}) == (23.4, None)
    assert comparison.measured([both], {"of": ["difference"]}) == (-1.0, (-1.5, -0.5))
    with pytest.raises(comparison.ManifestError, match="no such value"):
        comparison.measured(LINES, {"of": ["lost"]})


def test_rows_of_results_as_json_are_lines(runner, comparison):
    """`linksim results RUN --json` prints one object over many lines."""
    row = {"scheme": "a", "snr_db": -2, "metric": "psnr", "mean": 20.5, "ci_low": 20.0, "ci_high": 21.0}
    text = json.dumps({"name": "run", "rows": [row, row | {"snr_db": 4, "mean": 30.5}]}, indent=1)
    spec = {"where": {"scheme": "a", "snr_db": -2}, "of": ["mean"]}
    assert comparison.measured(list(runner.lines_of(text)), spec) == (20.5, (20.0, 21.0))
    assert list(runner.lines_of(f"beside\n{json.dumps(row)}\n")) == [row]


def test_a_benchmark_that_fails_leaves_nothing_of_an_earlier_one(runner, tmp_path):
    say = 'python -c "print(chr(123) + chr(34) + chr(120) + chr(34) + chr(58) + chr(49) + chr(125))"'
    options = runner.Options(tmp_path, resume=False)
    assert {"x": 1} in runner.measure({"name": "one", "run": [say]}, options)
    failing = {"name": "one", "run": ["python -c 1/0"], "minutes": 1}
    assert "ZeroDivisionError" in runner.report(failing, options, named=False)["failed"]
    again = runner.report(failing, runner.Options(tmp_path, resume=True), named=False)
    assert "ZeroDivisionError" in again["failed"]


def test_an_interrupted_benchmark_goes_on_with_its_runs_and_a_finished_one_is_taken(runner, tmp_path):
    """One of hours: what was simulated before it ended is not simulated again; each says its commit."""
    grow = (
        "python -c \"import pathlib, sys; f = pathlib.Path(sys.argv[1], 'run'); done = f.exists(); f.touch(); "
        "print(chr(123) + chr(34) + 'kept' + chr(34) + ':' + str(int(done)) + chr(125)); sys.exit(not done)\" {work}"
    )
    entry = {"name": "long", "run": [grow], "numbers": []}
    assert "exit code 1" in runner.report(entry, runner.Options(tmp_path), named=False)["failed"]
    done = runner.report(entry, runner.Options(tmp_path, resume=True), named=False)
    assert "failed" not in done
    assert "commit" in done
    found = runner.measure(entry, runner.Options(tmp_path, resume=True))
    assert {"kept": 1} in found
    assert done["seconds"] == found[-1]["seconds"]
    assert "exit code 1" in runner.report(entry, runner.Options(tmp_path), named=False)["failed"]


@pytest.mark.parametrize("need", ["realism", "tensorflow"])
def test_a_package_that_is_missing_is_named_with_its_command(runner, monkeypatch, need):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    said = runner.NEEDS[need](runner.Options(Path()))
    assert said.endswith(f"is not installed: {install(need)}")


# ----------------------------------------------------------------------------------------- the real one


def test_every_text_and_block_of_the_manifest_is_in_its_page_once(manifest, comparison):
    count = 0
    for entry in manifest["benchmarks"]:
        for spec in entry.get("numbers", ()):
            printed = comparison.numbers_in((ROOT / spec["in"]).read_text(), spec["text"])
            assert len(printed) == len(spec["values"]), spec["text"]
            count += len(printed)
        for spec in entry.get("blocks", ()):
            block = comparison.block_in((ROOT / spec["in"]).read_text(), spec["name"])
            heads = {cell.strip() for cell in block.split("|")}
            assert set(spec.get("columns", {})) <= heads
            count += len(comparison.compare_blocks(spec["in"], spec, block, block))
    assert count > 700


def test_the_blocks_of_the_manifest_are_read_number_by_number(runner, manifest, comparison):
    """Compared with itself each is the same; any one cell with another number, or without its mark, is not."""
    for entry in manifest["benchmarks"]:
        for spec in entry.get("blocks", ()):
            spec = {"tolerance": entry.get("tolerance", {}), **spec}  # as all.py hands it over
            block = comparison.block_in((ROOT / spec["in"]).read_text(), spec["name"])
            assert {f.verdict for f in comparison.compare_blocks("p", spec, block, block)} == {"same"}
            lines = block.splitlines()
            rows = [i for i, line in enumerate(lines) if line.startswith("|") and not line.startswith("|---")]
            for i in rows:
                cells = lines[i].split("|")
                for j in range(2, len(cells) - 1):
                    for other in {
                        re.sub(r"\d", lambda m: f"9{m[0]}", cells[j], count=1),
                        cells[j].replace("†", ""),
                    }:
                        if other == cells[j]:
                            continue
                        line = "|".join([*cells[:j], other, *cells[j + 1 :]])
                        moved = "\n".join([*lines[:i], line, *lines[i + 1 :]])
                        found = {f.verdict for f in comparison.compare_blocks("p", spec, moved, block)}
                        assert "outside" in found, (spec["name"], lines[i], cells[j], other)


def test_tables_of_fixed_pictures_and_seeds_are_held_to_a_few_digits(manifest, comparison):
    """Their interval over pictures is one decibel; a measurement with the same pictures is the same."""
    specs = {spec["name"]: spec for entry in manifest["benchmarks"] for spec in entry.get("blocks", ())}
    for name in ("kodak", "separation", "measures", "robustness"):
        for cells in (("24.18 ± 1.56", "24.60 ± 1.56"), ("0.441 [0.396, 0.488]", "0.451 [0.396, 0.488]")):
            printed, now = (f"| x | y |\n|---|---|\n| a | {cell} |" for cell in cells)
            found = comparison.compare_blocks("p", specs[name], printed, now)
            assert [f.verdict for f in found] == ["outside", *["same"] * (len(found) - 1)]


def test_a_table_that_nothing_makes_again_fails(runner, tmp_path):
    """A forgotten --write: the copy of the page is without its tables until a command writes them."""
    block = {"in": "docs/robustness.md", "name": "robustness"}
    runner.copy_pages(tmp_path, [block])
    assert "<!-- begin robustness -->\n" in (tmp_path / "docs/robustness.md").read_text()
    again = runner.compare({"name": "x", "blocks": [block]}, [], tmp_path)
    assert [f.verdict for f in again] == ["outside"]


def test_what_a_sentence_says_of_an_order_must_hold(comparison):
    page, lines = "two (209 s), one (203 s)", [{"n": 2, "s": 120.0}, {"n": 1, "s": 260.0}]
    values = [{"where": {"n": n}, "of": ["s"], "tolerance": {"factor": 2}} for n in (2, 1)]
    spec = {"text": "two (# s), one (# s)", "values": values}
    assert {f.verdict for f in comparison.compare_numbers("p", page, spec, lines, {})} == {"inside"}
    found = comparison.compare_numbers("p", page, spec | {"falling": True}, lines, {})
    assert [f.verdict for f in found] == ["inside", "inside", "outside"]


def test_a_stated_tolerance_decides_over_the_interval(comparison):
    lines = [{"mean": 0.5, "ci_low": 0.2, "ci_high": 0.8}]
    spec = {"text": "# here", "values": [{"of": ["mean"]}]}
    [wide] = comparison.compare_numbers("p", "0.3 here", spec, lines, {})
    [tight] = comparison.compare_numbers("p", "0.3 here", spec, lines, {"absolute": 0.1})
    assert (wide.verdict, tight.verdict) == ("inside", "outside")


def test_every_command_of_the_manifest_exists(runner, manifest):
    for entry in manifest["benchmarks"]:
        assert entry["minutes"] > 0
        for command in entry["run"]:
            words = runner.words(command, {"images": "I", "work": "W", "documents": "D"})
            assert not [word for word in words if re.search(r"\{\w+\}", word)]
            script = [word for word in words if word.startswith("benchmarks/")]
            assert all((ROOT / name).is_file() for name in script)


def test_every_page_is_measured_or_said_not_to_be(runner, manifest):
    """A page that prints measurements has an entry, or a line that says why not: benchmarks/printed.yaml."""
    unit = re.compile(r"\d (?:dB|s|ms|min|GB|MB|minutes|seconds|hours)\b|\d%")
    printing = {page for page in runner.pages() if unit.search((ROOT / page).read_text())}
    said = {spec["in"] for spec in manifest["not_covered"]}
    assert printing - runner.covered(manifest) - said == set()
    assert said <= set(runner.pages())
    assert all(spec["why"] for spec in manifest["not_covered"])


def test_what_cannot_be_measured_here_is_said_with_the_reason(manifest, tmp_path):
    command = [
        sys.executable,
        str(BENCHMARKS / "all.py"),
        "--only",
        "source_rate",
        "--work",
        "w",
        "--out",
        "all.json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[0]["not_measured"] == "--images: the folder of the 24 Kodak pictures is not given"
    assert json.loads((tmp_path / "all.json").read_text()) == lines
    assert set(lines[-1]["not_covered"]) == {s["in"] for s in manifest["not_covered"]}

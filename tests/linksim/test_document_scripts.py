"""The scripts that write figures and tables into the documents: the gallery and the results of the README."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

from linksim.results.store import ResultStore
from linksim.scenario.files import load_scenario, parse_overrides, variants
from linksim.scenario.schema import channel_names

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def gallery():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
        yield importlib.import_module("gallery")


@pytest.fixture(scope="module")
def readme_results(gallery):
    return importlib.import_module("readme_results")


def library(gallery) -> list[Path]:
    return [path for theme in gallery.THEMES for path in gallery.files(theme)]


def as_it_is(gallery, path: Path) -> bool:
    """Uncoded links, which are quick, and tasks, of which the pictures decide."""
    return path.parent.name == "tasks" or gallery.uncoded(load_scenario(str(path)))


def test_every_figure_of_the_gallery_rests_on_eight_pictures_or_runs_as_the_file_has_it(gallery):
    for path in library(gallery):
        full = load_scenario(str(path))
        shown = load_scenario(str(path), parse_overrides(gallery.overrides(path)))
        if as_it_is(gallery, path):
            assert shown == full
        else:
            assert len(shown.images.names) == 8
            assert shown.statistics.against == full.statistics.against, "differences are kept"


def test_every_figure_says_what_was_reduced(gallery):
    page = gallery.page()
    for path in library(gallery):
        caption = gallery.caption(path)
        assert caption in page or "No figure yet" in page
        assert caption.startswith(
            "*As the file has it" if as_it_is(gallery, path) else "*Reduced: 8 pictures of 256 x 256"
        )
    own = gallery.caption(next(p for p in library(gallery) if p.stem == "block-rayleigh"))
    assert own == "*Reduced: 8 pictures of 256 x 256, 4 channel realisations each (the file: 5 pictures of full size, 8 realisations).*"  # fmt: skip


def test_every_check_against_theory_has_one(gallery):
    """Uncoded links over channels whose error rates are known: the closed form is drawn in each of their figures."""
    for path in gallery.files("theory"):
        scenario = load_scenario(str(path))
        assert gallery.uncoded(scenario)
        assert gallery.shown(path, list(scenario.metrics)) == "ber"
        for variant in variants(scenario):
            known = [channel.closed_form() is not None for channel in variant.scenario.channels]
            assert all(known), f"{path.stem}: {channel_names(scenario)}"


def test_margins_are_those_of_the_printed_values(readme_results, tmp_path):
    """-3.05 dB is printed as -3.0, which leaves .7 to -2.3 dB, not .8."""
    point = {"channel": "TDLB100-400", "antennas": "1x2", "noise": "estimated", "required_db": -2.3}
    point |= {"throughput": 0.793, "ci": [0.77, 0.81]}
    points = [
        {**point, "estimator": "ls", "snr_db": -3.05},
        {**point, "estimator": "perfect", "snr_db": -6.49},
    ]
    file = tmp_path / "conformance.jsonl"
    file.write_text("\n".join(json.dumps(p) for p in points))
    needed, reached = readme_results.conformance(file)
    assert needed.splitlines()[2] == "| TDLB100-400, 1x2 | -2.3 | -3.0 (+0.7) | -6.5 (+4.2) |"
    assert reached.splitlines()[2] == "| TDLB100-400, 1x2 | 79% (77 to 81) |"


def test_no_failure_is_a_limit_and_not_zero(readme_results):
    from tests.linksim.test_figures import row

    rows = [
        row(1.0, 20.0, num_images=24, num_trials=3),
        row(4.0, 20.0, num_images=24, num_trials=3, num_failures=2),
    ]
    line = readme_results.failed(rows, "code")
    assert line == "| code, failed frames (none: 95% limit) | < 4.1% | 2.8% |"


def test_the_link_to_a_figure_leads_to_it_from_the_page_that_has_it(readme_results, monkeypatch, tmp_path):
    """The page on flat curves stands in docs, that of results a folder further down."""
    monkeypatch.setattr(readme_results, "metric_figure", lambda *args, **options: None)
    monkeypatch.setattr(readme_results, "load_runs", lambda folders: [])
    monkeypatch.setattr(readme_results, "save_figure", lambda figure, path: path.write_bytes(b""))
    (tmp_path / "docs" / "figures").mkdir(parents=True)
    text = readme_results.staircase(ResultStore(tmp_path / "run"), tmp_path)
    assert (tmp_path / "docs" / text.partition("](")[2].removesuffix(")")).is_file()

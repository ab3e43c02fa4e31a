"""Chromium, and a report to open in it: of a run folder, without anything being run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from linksim.report.interactive.html import page
from linksim.report.runs import load_runs
from linksim.results.records import Record
from linksim.results.store import original_file, panel_file
from tests.linksim.report_pages import changed, copied

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
_FLAGS = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []


@pytest.fixture(scope="session")
def browser():
    """Chromium of the distribution, or that of Playwright; the tests are skipped where there is none."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="Playwright: pip install 'linksim-wireless[browser]'"
    )
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with playwright.sync_playwright() as running:
        try:
            opened = running.chromium.launch(executable_path=found, args=_FLAGS)
        except playwright.Error as problem:
            pytest.skip(f"no Chromium: {str(problem).splitlines()[0]}")
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def report(tmp_path_factory) -> Path:
    """A report of two schemes more than one can tell apart by eye, with pictures at both SNRs."""
    store = copied(tmp_path_factory.mktemp("browser") / "run")
    changed(store, lambda header: header["scenario"]["panel"].update(snr_db=[2.0, 14.0]))
    source = np.asarray(Image.open(original_file(store, "a.png")).convert("RGB"))
    for i, record in enumerate(store.records()):
        file = panel_file(store, record.key)
        if record.key.image == "a.png" and not file.exists():
            Image.fromarray(np.roll(source, i, 1)).save(file)
    path = store.folder / "report.html"
    path.write_text(page(load_runs([store.folder])))
    return path


@pytest.fixture(scope="session")
def both(tmp_path_factory) -> Path:
    """A report of two runs that differ in the second channel and a little in every picture and value; names of
    the folders are long, as those of people are.
    """
    place = tmp_path_factory.mktemp("comparison")
    stores = [copied(place / side / "experiment-of-a-long-name") for side in ("one", "two")]
    changed(stores[1], lambda header: header["scenario"]["channels"][1]["csi"].update(kind="perfect"))
    changed(stores[1], records=lambda records: [_better(record) for record in records])
    for path in stores[1].images.glob("*/a.png_14dB.png"):
        picture = np.asarray(Image.open(path).convert("RGB"))
        Image.fromarray(np.roll(picture, 5, 1)).save(path)
    path = place / "comparison.html"
    path.write_text(page(load_runs([store.folder for store in stores])))
    return path


def _better(record: Record) -> Record:
    return replace(record, values={name: value + 1 for name, value in record.values.items()})


@dataclass
class Watched:
    """A page with what it asked for and complained of."""

    page: object
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


@pytest.fixture(params=[WIDE, NARROW], ids=["wide", "narrow"])
def opened(request, browser, report) -> Iterator[Watched]:
    """The report, opened from the disk; whatever it does, it asks for no other file and says no error."""
    yield from _watched(browser, report, request.param)


@pytest.fixture(params=[WIDE, NARROW], ids=["wide", "narrow"])
def compared(request, browser, both) -> Iterator[Watched]:
    """The report of two runs, as :func:`opened`."""
    yield from _watched(browser, both, request.param)


def _watched(browser, report: Path, viewport: dict[str, int]) -> Iterator[Watched]:
    context = browser.new_context(viewport=viewport, color_scheme="light", accept_downloads=True)
    watched = Watched(context.new_page())
    context.route("**/*", lambda route: (watched.asked.append(route.request.url), route.continue_()))
    watched.page.on("console", lambda message: watched.said.append(f"{message.type}: {message.text}"))
    watched.page.on("pageerror", lambda error: watched.said.append(f"error: {error}"))
    watched.page.goto(report.as_uri())
    watched.page.wait_for_selector("#cards svg")
    yield watched
    context.close()
    asked = [url for url in watched.asked if not url.startswith(("data:", "blob:"))]
    assert asked == [report.as_uri()]
    assert watched.said == []

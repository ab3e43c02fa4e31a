"""linksim demo in a browser: what is moved changes what is shown, and nothing leaves the machine."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

pytestmark = pytest.mark.browser
_PATIENCE_MS = 120_000


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Address of a demo that runs until the module is done."""
    pytest.importorskip("gradio")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("demo") / "log"
    command = [sys.executable, "-m", "linksim", "demo", "--port", str(port), "--no-browser"]
    with log.open("wb") as file:
        # as at a terminal: who starts tests in the background has Ctrl-C ignored, and hands that on
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        process = subprocess.Popen(command, stdout=file, stderr=file)
        signal.signal(signal.SIGINT, before)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            if "stop with Ctrl-C" in log.read_text() or process.poll() is not None:
                break
            time.sleep(0.5)
        assert process.poll() is None, log.read_text()
        urllib.request.urlopen(address, timeout=20).close()
        yield address
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0, log.read_text()
        assert log.read_text().splitlines()[-1] == "stopped"
    finally:
        process.kill()


@pytest.fixture
def page(demo, browser):
    """The page, and what it asked for and complained of."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.set_default_timeout(_PATIENCE_MS)
    asked, complaints = [], []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    opened.on("pageerror", lambda problem: complaints.append(str(problem)))
    opened.goto(demo)
    opened.wait_for_selector("#facts .fate")
    yield opened
    opened.close()
    assert complaints == []
    assert [url for url in asked if not url.startswith((demo, "data:", "blob:"))] == []


def facts(page):
    """Rows of the table of facts, and the fate."""
    rows = page.locator("#facts tr").all_inner_texts()
    return dict(row.split("\t", 1) for row in rows) | {"fate": page.inner_text("#facts .fate")}


def changed(page, act, key):
    """Facts after something was moved, once ``key`` is another."""
    before = facts(page)
    act()
    script = "([key, old]) => {const row = [...document.querySelectorAll('#facts tr')].find(r => r.cells[0].innerText === key); return (row ? row.cells[1].innerText : '') !== old}"
    page.wait_for_function(script, arg=[key, before.get(key, "")])
    return facts(page)


def pictures(page):
    """Addresses of the two pictures."""
    return [image.get_attribute("src") for image in page.locator("#pictures img").all()]


def choose(page, text):
    return lambda: page.get_by_role("radio", name=text, exact=True).check()


def test_moving_things_changes_what_arrives(page):
    first, shown = facts(page), pictures(page)
    assert first["fate"] == "arrived"
    assert len(shown) == 2
    assert shown[0] != shown[1]
    number = page.get_by_label("number input for SNR: Es/N0 per data use [dB]")

    def lower():
        number.fill("0")
        number.press("Enter")

    low = changed(page, lower, "PSNR")
    assert float(low["PSNR"].split()[0]) < float(first["PSNR"].split()[0]) - 1
    assert pictures(page)[1] != shown[1]
    faded = changed(page, choose(page, "block Rayleigh"), "SNR at the receiver")
    assert float(faded["SNR at the receiver"].split()[0]) != 0
    ofdm = changed(page, choose(page, "OFDM TDL-C LS"), "channel uses")
    pilots = re.search(r"(\d+) pilot", ofdm["channel uses"])
    assert int(pilots[1]) > 0
    coded = changed(page, choose(page, "BPG + LDPC adaptive"), "transmitter")
    assert "mcs " in coded["transmitter"]
    assert page.locator("input[type=range][aria-label*=Realism]").is_disabled()
    more = changed(page, choose(page, "1/24"), "CBR")
    assert more["CBR"].startswith("0.04167 data")


def test_a_picture_of_ones_own_and_a_file_that_is_none(page, tmp_path):
    from tests.linksim.test_demo import save

    chosen = page.locator("input[type=file]").first
    found = changed(page, lambda: chosen.set_input_files(save(tmp_path / "mine.png", 200, 1000)), "picture")
    assert found["picture"] == "768 x 144, scaled from 1000 x 200 to 768 x 154, cut to 768 x 144"
    page.get_by_label("Clear").first.click()
    page.wait_for_function("() => document.querySelector('#facts').innerText.includes('592 x 400')")
    (tmp_path / "none.png").write_text("no picture at all, whatever its name says")
    page.locator("input[type=file]").first.set_input_files(tmp_path / "none.png")
    page.wait_for_function("() => document.querySelector('#facts').innerText.includes('no picture, got')")


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_window(page, width, tmp_path):
    page.set_viewport_size({"width": width, "height": 900})
    page.wait_for_timeout(500)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    folder = os.environ.get("SCREENSHOTS", str(tmp_path))
    page.screenshot(path=f"{folder}/demo-{width}.png", full_page=True)
    top = page.locator("#pictures").bounding_box()["y"]
    controls = page.get_by_label("Picture", exact=True).bounding_box()["y"]
    assert (controls - top > 100) == (width < 700)  # what arrives comes first on a phone

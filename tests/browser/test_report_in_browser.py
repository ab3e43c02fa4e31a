"""The report in a browser, wide and narrow: what moves together, what is chosen, saved, and steered by keys.

Every test ends with the check of its fixture: nothing but the file was asked for, and no error was said.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from xml.etree import ElementTree

import pytest

from linksim.report.interactive.html import page as make_page
from linksim.report.runs import load_runs
from tests.linksim.report_pages import copied, renamed

pytestmark = pytest.mark.browser

HOSTILE = "</script><img src=x onerror=alert(1)>"


def saved(page, button) -> tuple[str, str]:
    """Name and contents of the file that a button saves."""
    with page.expect_download() as download:
        button.click()
    return download.value.suggested_filename, Path(download.value.path()).read_text(encoding="utf-8")


def markers(page) -> list[float]:
    """Where the dial stands in every field of curves."""
    return page.eval_on_selector_all("#cards .dial", "all => all.map(g => Number(g.dataset.x))")


def shown_pictures(page) -> list[str]:
    return page.eval_on_selector_all("#grid img", "all => all.map(i => i.src)")


def assert_within_the_screen(page, *more: str) -> None:
    """Nothing reaches beyond the width of the screen; ``more``: selectors beside those of every page."""
    width = page.evaluate("document.documentElement.clientWidth")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    places = ", ".join(["h1, h2, h3, .card, #cards svg, .grid figure, .stage", *more])
    outside = page.evaluate(
        "([places, w]) => [...document.querySelectorAll(places)]"
        ".filter(e => e.offsetParent !== null && e.getBoundingClientRect().right > w + 1).map(e => e.outerHTML.slice(0, 80))",
        [places, width],
    )
    assert outside == []


def test_everything_is_within_the_width_of_the_screen(opened):
    page = opened.page
    assert_within_the_screen(page, "#dial")
    assert page.locator("#cards article").count() == 4


def test_texts_of_axes_do_not_overprint(opened):
    clashes = opened.page.evaluate(
        """() => [...document.querySelectorAll('#cards svg')].flatMap(svg => {
          const boxes = [...svg.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]);
          return boxes.flatMap(([a, p], i) => boxes.slice(i + 1).filter(([b, q]) =>
            p.left < q.right && q.left < p.right && p.top + 2 < q.bottom && q.top + 2 < p.bottom).map(([b]) => a + ' on ' + b)); })"""
    )
    assert clashes == []


def test_the_dial_moves_markers_pictures_and_tables_together(opened):
    page = opened.page
    dial = page.locator("#dial")
    assert dial.get_attribute("aria-valuetext") == "2 dB"
    before, pictures = markers(page), shown_pictures(page)
    assert len(pictures) == 5
    dial.focus()
    page.keyboard.press("ArrowRight")
    assert dial.get_attribute("aria-valuetext") == "14 dB"
    assert page.locator("#dial-value").inner_text() == "14 dB"
    after = markers(page)
    assert len(after) == len(before) > 4
    assert all(b > a + 50 for a, b in zip(before, after, strict=True))
    now = shown_pictures(page)
    assert now[0] == pictures[0], "the original"
    assert all(a != b for a, b in zip(pictures[1:], now[1:], strict=True))
    assert page.locator("#table th.here").inner_text() == "14 dB"
    assert set(page.locator("#units tbody tr td:nth-child(3)").all_inner_texts()) == {"14 dB"}
    page.keyboard.press("ArrowLeft")
    assert markers(page) == before
    assert shown_pictures(page) == pictures


def test_a_field_moves_the_dial_and_says_values(opened):
    page = opened.page
    field = page.locator("#cards figure").first
    field.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#dial-value").inner_text() == "14 dB"
    assert "at 14 dB: " in field.get_attribute("aria-label")
    box = field.locator("svg").bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + box["height"] / 2)
    tip = page.locator("#tip")
    assert tip.is_visible()
    assert "2 dB" in tip.inner_text()
    assert "linear" in tip.inner_text()
    assert "27.28 [24.51, 30.04]" in tip.inner_text()
    page.mouse.click(box["x"] + 60, box["y"] + box["height"] / 2)
    assert page.locator("#dial-value").inner_text() == "2 dB"


def test_schemes_and_channels_are_switched_in_all_places(opened):
    page = opened.page
    assert page.locator("#cards figure").count() == 8
    page.get_by_role("button", name="in one field").click()
    assert page.locator("#cards figure").count() == 4, "channels overlaid"
    page.get_by_role("button", name="side by side").click()
    chips = page.locator(".chips")
    chips.get_by_role("button", name="ofdm-tdla-ls").click()
    assert page.locator("#cards figure").count() == 4, "one channel"
    chips.get_by_role("button", name="jpeg").click()
    assert chips.get_by_role("button", name="jpeg").get_attribute("aria-pressed") == "false"
    assert "jpeg" not in page.locator("#table tbody").inner_text()
    schemes = page.locator("#units tbody tr td:nth-child(2)").all_inner_texts()
    assert set(schemes) == {"linear", "qpsk", "bound"}
    assert "jpeg" not in page.locator("#ledger").inner_text()
    assert page.locator("#grid figure").count() == 4
    before = page.locator("#cards path.band").count()
    page.get_by_role("button", name="at the dial").click()
    assert page.locator("#cards path.band").count() == 0 < before


def test_lost_points_are_hollow_and_no_line_leads_to_them(opened):
    card = opened.page.locator("[data-metric=psnr]")
    assert card.locator("path.lost").count() == 2, "jpeg at 2 dB on both channels"
    assert "Hollow: no picture arrived" in card.inner_text()
    lines = card.locator("path.curve[stroke='#d55e00']").count()
    assert lines == 0, "two points, one of them lost: nothing joins them"
    assert opened.page.locator("[data-metric=ber] path.limit").count() > 0
    assert "none seen" in opened.page.locator("[data-metric=ber]").inner_text()


def test_pictures_are_found_compared_and_zoomed_together(opened):
    page = opened.page
    page.get_by_role("button", name="worst").click()
    said = page.locator("#picked").inner_text()
    assert said.startswith("worst of 2 by PSNR of linear at 2 dB on awgn: b.png, ")
    assert "No picture of b.png was kept" in page.locator("#grid").inner_text()
    page.locator("#grid").get_by_role("button", name="a.png").click()
    assert page.locator("#grid img").count() == 5
    page.get_by_role("button", name="8:1").click()
    widths = page.eval_on_selector_all(
        ".stage img, .pane img", "all => all.map(i => [i.style.width, getComputedStyle(i).imageRendering])"
    )
    assert widths == [["512px", "pixelated"]] * 6
    places = "all => [...new Set(all.map(i => i.style.left + i.style.top))].length"
    assert page.eval_on_selector_all(".stage img", places) == 1
    stage = page.locator(".stage")
    stage.focus()
    before = page.eval_on_selector_all(".pane img", "all => all.map(i => i.style.top)")
    page.keyboard.press("ArrowDown")
    moved = page.eval_on_selector_all(".pane img", "all => all.map(i => i.style.top)")
    assert len(set(moved)) == 1
    assert moved != before
    first, second = page.get_by_role("slider", name="Divider between").all()
    first.focus()
    cut = page.eval_on_selector(".layer.a", "l => l.style.clipPath")
    page.keyboard.press("ArrowRight")
    assert page.eval_on_selector(".layer.a", "l => l.style.clipPath") != cut
    first.evaluate("e => { e.value = 90; e.dispatchEvent(new Event('input')); }")
    assert second.input_value() == "90", "dividers do not pass each other"
    page.evaluate("document.querySelector('.stage').scrollIntoView({block: 'center'})")
    box = stage.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.9 * box["width"], middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], middle)
    page.mouse.up()
    assert 45 <= int(first.input_value()) <= 55


def test_the_theme_follows_the_system_and_the_button(opened):
    page = opened.page
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Dark theme").click()
    dark = page.evaluate(ground)
    assert sum(map(int, dark[4:-1].split(","))) < 150 < sum(map(int, light[4:-1].split(",")))
    assert page.locator("[data-metric=psnr] path[stroke='#4fb0ee']").count() > 0, "curves too"
    page.get_by_role("button", name="Light theme").click()
    assert page.evaluate(ground) == light
    page.emulate_media(color_scheme="dark")
    page.wait_for_selector("html[data-theme=dark]")
    assert page.evaluate(ground) == dark


def test_files_for_papers_are_saved(opened):
    page = opened.page
    card = page.locator("[data-metric=psnr]")
    name, text = saved(page, card.get_by_role("button", name="as SVG"))
    assert name == "psnr.svg"
    root = ElementTree.fromstring(text)
    words = " ".join(root.itertext())
    assert "PSNR [dB], higher is better" in words
    assert "linear (CBR 1/2, 1/1.96 in all)" in words
    assert "var(" not in text
    name, text = saved(page, card.get_by_role("button", name="as CSV"))
    lines = list(csv.DictReader(io.StringIO(text)))
    assert name == "psnr.csv"
    assert len(lines) == 16
    assert lines[0]["mean"] == "27.2758"
    name, text = saved(page, card.get_by_role("button", name="LaTeX"))
    assert name == "psnr.tex"
    assert "\\toprule" in text
    assert "awgn & linear & 27.28 $\\pm$ 2.76 & 29.56 $\\pm$ 3.16 \\\\" in text
    command = card.locator("code.command")
    assert not command.is_visible()
    card.get_by_role("button", name="as PDF").click()
    assert command.inner_text() == "linksim plot run --metric psnr --out psnr.pdf"
    name, text = saved(page, page.locator("#costs").get_by_role("button", name="CSV"))
    assert text.startswith("channel,scheme,snr_db,payload,header,padding,CRC,pilots")
    name, text = saved(page, page.locator("#units").get_by_role("button", name="CSV"))
    assert len(text.splitlines()) == 33
    page.locator("#how summary", has_text="Resolved scenario").click()
    name, text = saved(page, page.get_by_role("button", name="Save as YAML"))
    assert (name, text.splitlines()[1]) == ("former.yaml", "name: former")


def test_tables_are_sorted_by_a_click(opened):
    page = opened.page
    head = page.locator("#units th button", has_text="PSNR")
    head.click()
    column = [h.inner_text() for h in page.locator("#units th").all()].index(head.inner_text())
    cells = f"#units tbody tr td:nth-child({column + 1})"
    values = [float(t) for t in page.locator(cells).all_inner_texts() if t != "–"]
    assert values == sorted(values)
    head.click()
    values = [float(t) for t in page.locator(cells).all_inner_texts() if t != "–"]
    assert values == sorted(values, reverse=True)
    assert page.locator("#units th").nth(column).get_attribute("aria-sort") == "descending"
    page.locator("#rows summary").click()
    page.wait_for_selector("#rows tbody tr")
    assert page.locator("#rows tbody tr").count() == 16


def test_keys_reach_what_matters_in_order(opened):
    page = opened.page
    order = []
    for _ in range(60):
        page.keyboard.press("Tab")
        order.append(
            page.evaluate(
                "document.activeElement.id || document.activeElement.className || document.activeElement.tagName"
            )
        )
    assert order[0] == "skip"
    assert order.index("dial") < order.index("FIGURE")
    named = "[...document.querySelectorAll('button, select, input')].filter(e => !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels.length))"
    assert page.evaluate(f"{named}.map(e => e.outerHTML)") == []


def test_hostile_names_stay_texts(browser, tmp_path):
    store = copied(tmp_path / "run")
    renamed(store, {"jpeg": HOSTILE}, {"a.png": HOSTILE}, f"Why {HOSTILE}?")
    path = tmp_path / "report.html"
    path.write_text(make_page(load_runs([store.folder])))
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    said, dialogs = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.goto(path.as_uri())
    page.wait_for_selector("#cards svg")
    page.locator("#cards svg").first.hover()
    for which in ("worst", "best"):
        page.get_by_role("button", name=which).click()
    assert page.locator("img[src=x]").count() == 0
    assert page.locator("#table").get_by_text(HOSTILE).count() > 0, "it is shown as it is"
    assert (said, dialogs) == ([], [])
    page.close()

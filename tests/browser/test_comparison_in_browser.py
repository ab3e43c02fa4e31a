"""The report of two runs in a browser, wide and narrow: one chart for both, switches, pictures of two runs, tables.

Every test ends with the check of its fixture: nothing but the file was asked for, and no error was said.
"""

from __future__ import annotations

import csv
import io
import json

import pytest

from tests.browser.test_report_in_browser import assert_within_the_screen, markers, saved

pytestmark = pytest.mark.browser

ONE, TWO = (f"{side}/experiment-of-a-long-name" for side in ("one", "two"))


def looks(page, metric: str) -> set[tuple[str, str]]:
    """Colours and dashes of the curves of a metric."""
    of = "all => all.map(p => [p.getAttribute('stroke'), p.getAttribute('stroke-dasharray') || ''])"
    return {tuple(pair) for pair in page.eval_on_selector_all(f"[data-metric={metric}] path.curve", of)}


def switch(page, name: str):
    return page.locator(".chips").get_by_role("button", name=name, exact=True)


def test_the_comparison_fits_the_screen_and_does_not_overprint(compared):
    page = compared.page
    assert_within_the_screen(page, ".across", "details.one")
    top = page.locator("header.run").inner_text()
    assert "Comparison of 2 runs" in top
    assert f"{TWO} linear on awgn: not told apart from {ONE} linear at any point, difference +1.00 dB" in top
    assert f"channels.ofdm-tdla-ls.csi.kind is perfect in {TWO} and ls in {ONE}" in top
    assert page.locator(".differences tbody tr").count() == 1
    alone = page.locator("details.one").first
    assert not alone.locator("li").first.is_visible()
    alone.locator("summary").press("Enter")
    assert alone.locator("li").first.is_visible()


def test_curves_of_both_runs_are_in_one_chart_with_one_colour_for_a_scheme(compared):
    page = compared.page
    assert page.locator("#cards article").count() == 2, "a card for each metric, not for each run"
    colours = {colour for colour, _ in looks(page, "psnr")}
    assert looks(page, "psnr") >= {("#0072b2", ""), ("#0072b2", "6 4")}
    assert len(colours) == 3, "linear, qpsk and the bound; those of jpeg are lost at one of two points"
    legend = page.locator("#lines-legend").inner_text()
    assert ONE in legend
    assert TWO in legend
    page.locator("#cards figure").first.focus()
    page.keyboard.press("ArrowLeft")
    tip = page.locator("#tip").inner_text()
    assert f"{ONE} linear" in tip
    assert f"{TWO} linear" in tip


def test_runs_and_schemes_are_switched(compared):
    page = compared.page
    chips = page.locator(".chips button").all_inner_texts()
    assert chips == [ONE, TWO, "awgn", "ofdm-tdla-ls", "linear", "jpeg", "qpsk", "bound"]
    before = looks(page, "psnr")
    switch(page, ONE).click()
    assert switch(page, ONE).get_attribute("aria-pressed") == "false"
    now = looks(page, "psnr")
    assert now < before, "those that stay keep their looks"
    assert ("#0072b2", "6 4") in now
    assert ("#0072b2", "") not in now
    assert ONE not in page.locator("#table tbody").inner_text()
    assert ONE not in page.locator("#units tbody").inner_text()
    assert ONE not in page.locator("#ledger").inner_text()
    assert all(
        TWO in text for text in page.locator("#grid figure[data-scheme*=experiment]").all_inner_texts()
    )
    switch(page, TWO).click()
    assert switch(page, TWO).get_attribute("aria-pressed") == "true", "the last one stays"
    switch(page, ONE).click()
    assert looks(page, "psnr") == before
    switch(page, "linear").click()
    assert "linear" not in page.locator("#table tbody").inner_text(), "of both runs"


def test_the_dial_moves_both_runs(compared):
    page = compared.page
    assert page.locator("#dial-value").inner_text() == "14 dB", "where pictures were kept"
    before = markers(page)
    page.locator("#dial").focus()
    page.keyboard.press("ArrowLeft")
    after = markers(page)
    assert len(after) == len(before) == 4
    assert all(a < b - 50 for a, b in zip(after, before, strict=True))
    assert "No picture of a.png was kept at 2 dB" in page.locator("#grid").inner_text()


def test_one_picture_of_two_runs_is_side_by_side_and_under_the_dividers(compared):
    page = compared.page
    tags = page.locator(".stage .tag")
    assert [tags.nth(i).text_content() for i in range(3)] == ["original", f"{ONE} linear", f"{TWO} linear"]
    pair = page.locator("#in-pairs")
    assert pair.get_by_role("button").all_inner_texts() == ["linear", "jpeg", "qpsk", "bound"]
    pair.get_by_role("button", name="qpsk").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.textContent") == "qpsk", "the focus stays"
    assert [tags.nth(i).text_content() for i in (1, 2)] == [f"{ONE} qpsk", f"{TWO} qpsk"]
    panes = page.eval_on_selector_all(".pane img", "all => all.map(i => i.src)")
    stage = page.eval_on_selector_all(".stage img", "all => all.map(i => i.src)")
    assert panes == stage
    assert len(set(panes)) == 3, "the original and two pictures that differ"
    page.keyboard.press("Enter")
    assert [tags.nth(i).text_content() for i in (1, 2)] == [f"{TWO} qpsk", f"{ONE} qpsk"], (
        "the other way round"
    )
    grid = page.locator("#grid figure").evaluate_all("all => all.map(f => f.dataset.scheme)")
    assert grid[:3] == ["original", f"{ONE} linear", f"{TWO} linear"], "one below or beside the other"


def test_another_picture_of_the_same_name_is_not_put_under_the_dividers(browser, both, tmp_path):
    """The pixels of the originals differ, though their name is one."""
    text = both.read_text()
    head, _, rest = text.partition('id="kept">')
    kept, _, tail = rest.partition("</script>")
    found = json.loads(kept)
    found["originals"] = [[0, 0, found["originals"][0][2]], [1, 0, found["shown"][0][4]]]
    path = tmp_path / "other.html"
    path.write_text(f'{head}id="kept">{json.dumps(found)}</script>{tail}')
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(path.as_uri())
    page.wait_for_selector("#cards svg")
    assert "The runs have other pictures under the name a.png" in page.locator("#grid").inner_text()
    assert page.locator("#grid figure[data-scheme^='original of']").count() == 2
    assert page.locator(".tag").last.text_content() == f"{TWO} linear, another picture (not kept)"
    page.close()


def test_the_table_has_a_row_for_every_run_and_scheme(compared):
    page = compared.page
    heads = page.locator("#table .pivot thead th").all_inner_texts()
    assert heads == ["run", "channel", "scheme", "2 dB", "14 dB"]
    rows = [line.split("\t") for line in page.locator("#table .pivot tbody tr").all_inner_texts()]
    assert len(rows) == 2 * 2 * 4
    assert [row[:3] for row in rows[:2]] == [[ONE, "awgn", "linear"], [TWO, "awgn", "linear"]]
    assert [float(rows[i][4].split()[0]) for i in (0, 1)] == [29.56, 30.56]
    page.locator("#table select").select_option(label="all, at the dial")
    assert page.locator("#table .pivot thead th").all_inner_texts()[3:] == ["PSNR [dB] ↑", "bit error rate ↓"]
    assert page.locator("#table .pivot tbody tr").count() == 2 * 2 * 4
    assert page.locator("#table .pivot tbody tr td").nth(3).inner_text().startswith("29.56 ± ")
    name, text = saved(page, page.locator("#table").get_by_role("button", name="CSV"))
    lines = list(csv.DictReader(io.StringIO(text)))
    assert name == "results-14-dB.csv"
    assert {(line["run"], line["metric"]) for line in lines} == {
        (r, m) for r in (ONE, TWO) for m in ("psnr", "ber")
    }
    name, text = saved(page, page.locator("#table").get_by_role("button", name="LaTeX"))
    assert text.startswith("% All measures at 14 dB; needs")
    assert "run & channel & scheme & PSNR [dB] $\\uparrow$ & bit error rate $\\downarrow$" in text
    card = page.locator("[data-metric=psnr]")
    name, text = saved(page, card.get_by_role("button", name="as SVG"))
    assert f"{TWO} linear (CBR 1/2, 1/1.96 in all)" in text
    assert "stroke-dasharray" in text


def test_the_comparison_is_dark_too(compared):
    page = compared.page
    page.get_by_role("button", name="Dark theme").click()
    assert looks(page, "psnr") >= {("#4fb0ee", ""), ("#4fb0ee", "6 4")}
    top = page.eval_on_selector(".across", "e => getComputedStyle(e).backgroundColor")
    assert sum(map(int, top[4:-1].split(","))) < 150

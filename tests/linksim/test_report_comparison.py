"""Several runs in one report: compared with each other where that is fair, else which field differs."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from linksim.metrics.info import MetricInfo
from linksim.report.drawing import Looks
from linksim.report.figures import metric_figure
from linksim.report.interactive.answer import comparison
from linksim.report.interactive.comparing import PAIRS, across
from linksim.report.interactive.differing import differing
from linksim.report.interactive.html import page
from linksim.report.lines import gathered
from linksim.report.options import FigureOptions
from linksim.report.runs import load_runs, metric_info
from tests.linksim.report_pages import FORMER, Elements, changed, copied, data_of, made_up

BASE = [20.0, 22.0, 25.0, 27.0, 30.0, 31.0]
GAIN = [0.8, 1.4, 0.9, 1.2, 1.1, 0.6]
HOSTILE = "</script><img src=x onerror=alert(1)>"


def two(tmp_path: Path, header=lambda header: None, records=lambda records: records, schemes=("a", "a")):
    """Runs "one" and "two" of six pictures; the second one is better by GAIN, and has what is asked for."""
    snrs = (0.0, 5.0)
    first = made_up(tmp_path / "one", {(schemes[0], s): [v + s for v in BASE] for s in snrs})
    better = {(schemes[1], s): [v + s + g for v, g in zip(BASE, GAIN, strict=True)] for s in snrs}
    second = changed(made_up(tmp_path / "two", better), header, records)
    return load_runs([first.folder, second.folder])


def one_refusal(runs) -> str:
    """Why two runs are not compared at all."""
    found = comparison(runs)
    assert found.schemes == ()
    assert found.notes == ()
    [why] = found.refused
    return why


# ------------------------------------------------------------------------------------------------- fair


def test_runs_are_compared_picture_by_picture(tmp_path):
    """Pictures differ by 11 dB, runs by about 1 dB: only pairs tell them apart. Mean and interval are those of
    Student's t, which the studentised bootstrap is at least as wide as.
    """
    runs = two(tmp_path)
    info = metric_info([run.header for run in runs], "psnr")
    found = across(runs, info)
    rows = list(found.signs.differences.values())
    assert {(row.scheme, row.snr_db) for row in rows} == {("two a", 0.0), ("two a", 5.0)}
    half = stats.t.isf(0.025, 5) * np.std(GAIN, ddof=1) / math.sqrt(6)
    for row in rows:
        assert row.mean == pytest.approx(np.mean(GAIN))
        assert 0 < row.ci_low <= row.mean - half * (1 - 1e-9)
        assert row.mean + half * (1 - 1e-9) <= row.ci_high
    unpaired = stats.ttest_ind(np.add(BASE, GAIN), BASE)
    assert unpaired.pvalue > 0.5, "without pairs nothing is seen"
    told = comparison(runs)
    [answer] = told.schemes
    assert (answer.scheme, found.rivals) == ("two a", {"two a": ["one a"]})
    assert answer.text.startswith("better than one a at every point, difference +1.00 dB (+0.")
    assert told.notes == ("two and one: paired by pictures, fades and noise.",)
    assert told.refused == ()


def test_the_direction_is_that_of_the_measure(tmp_path):
    runs = two(tmp_path, schemes=("a", "a"))
    info = replace(metric_info([runs[0].header], "psnr"), higher_is_better=False)
    assert set(across(runs, info).signs.values.values()) == {-1, 1}
    worse = {place: sign for (place, _), sign in across(runs, info).signs.values.items()}
    assert worse["awgn", "two a", (), 0.0] == -1
    assert worse["awgn", "one a", (), 0.0] == 1


def test_equal_runs_are_said_to_be_equal(tmp_path):
    stores = [made_up(tmp_path / name, {("a", 0.0): BASE}) for name in ("one", "two")]
    told = comparison(load_runs([store.folder for store in stores]))
    assert told.schemes[0].text == "as one a, the same in every pair."
    assert "PSNR is the same in every pair." in told.notes[0]


def test_other_seeds_are_pairs_of_pictures_only(tmp_path):
    runs = two(tmp_path, records=lambda records: [replace(r, seed=r.seed + 1) for r in records])
    told = comparison(runs)
    assert told.notes == ("two and one: paired by pictures, fades and noise are others (seed).",)
    assert len(told.schemes) == 1


def test_only_pictures_of_both_are_compared(tmp_path):
    """Of six pictures two are others in the second run: their pixels, or their names."""

    def header(header):
        images = header["images"]
        images["p0"] = [64, 64, "f" * 16]
        header["images"] = {("new" if name == "p1" else name): facts for name, facts in images.items()}

    def records(records):
        return [replace(r, key=replace(r.key, image="new")) if r.key.image == "p1" else r for r in records]

    runs = two(tmp_path, header, records)
    info = metric_info([runs[0].header], "psnr")
    for row in across(runs, info).signs.differences.values():
        assert row.num_images == 4
        assert row.mean == pytest.approx(np.mean(GAIN[2:]))
    assert comparison(runs).notes[0].endswith("on the 4 of 6 pictures that both have.")
    fields = {d.field: d.values for d in differing(runs)}
    assert fields["pictures"] == ("6: p0, p1, p2 and 3 more", "6: p0, new, p2 and 3 more")
    assert fields["pictures.p0"] == ("64 × 64, 0000000000000000", "64 × 64, ffffffffffffffff")


def test_schemes_of_other_names_are_compared_and_namesakes_with_each_other(tmp_path):
    runs = two(tmp_path, schemes=("baseline", "mine"))
    assert comparison(runs).schemes[0].text.startswith("better than one baseline at every point")
    values = {(name, 0.0): [v + i for v in BASE] for i, name in enumerate(("a", "b"))}
    more = {(name, 0.0): [v + i for v in BASE] for i, name in enumerate(("b", "c"))}
    stores = [made_up(tmp_path / "p", values), made_up(tmp_path / "q", more)]
    runs = load_runs([store.folder for store in stores])
    assert across(runs, metric_info([runs[0].header], "psnr")).rivals == {"q b": ["p b"], "q c": ["p a"]}


def test_of_many_runs_all_are_compared_with_the_first(tmp_path):
    stores = [made_up(tmp_path / f"r{i}", {("a", 0.0): BASE, ("b", 0.0): BASE}) for i in range(7)]
    runs = load_runs([store.folder for store in stores])
    rivals = across(runs, metric_info([runs[0].header], "psnr")).rivals
    assert PAIRS < 7 * 6 // 2 * 2
    assert len(rivals) == 12
    assert {one for own in rivals.values() for one in own} == {"r0 a", "r0 b"}
    few = across(runs[:3], metric_info([runs[0].header], "psnr")).rivals
    assert few["r2 a"] == ["r0 a", "r1 a"]


def test_the_higher_confidence_of_two_is_that_of_the_comparison(tmp_path):
    runs = two(tmp_path, lambda header: header["scenario"]["statistics"].update(confidence=0.99))
    assert "99% intervals of the paired difference" in comparison(runs).lead
    wide = next(iter(across(runs, metric_info([runs[0].header], "psnr")).signs.differences.values()))
    half = stats.t.isf(0.005, 5) * np.std(GAIN, ddof=1) / math.sqrt(6)
    assert wide.ci_low <= wide.mean - half * (1 - 1e-9)


# ----------------------------------------------------------------------------------------------- unfair


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (
            lambda h: h["scenario"]["bandwidth"].update(data_ratio="1/4"),
            "two and one: bandwidth.data_ratio is 1/4 in two and 1/2 in one.",
        ),
        (
            lambda h: h["scenario"]["channels"][0].update(symbol_rate_hz=5e5),
            "two and one on awgn: channels.awgn.symbol_rate_hz is 500000 in two and 1e+06 in one.",
        ),
        (
            lambda h: h["scenario"]["channels"][0]["told"]["receiver"].update(offset_db=1.0),
            "two and one on awgn: channels.awgn.told.receiver.offset_db is 1 in two and 0 in one.",
        ),
        (
            lambda h: h["metrics"]["psnr"].update(reference="another peak"),
            "two and one: metrics.psnr.reference is another peak in two and 10 log10(255^2 / MSE) over RGB, per "
            "image, at most 100 dB in one.",
        ),
        (
            lambda h: h.update(images={n: [64, 64, "f" * 16] for n in h["images"]}),
            "two and one: no picture of both, by name, size and pixels (pictures).",
        ),
    ],
    ids=["bandwidth", "channel", "told", "metric", "pictures"],
)
def test_what_is_not_alike_is_not_compared_and_the_field_is_named(tmp_path, header, said):
    assert len(comparison(two(tmp_path / "fair")).schemes) == 1, "without the change they are"
    assert one_refusal(two(tmp_path / "unfair", header)) == said


def test_other_points_are_not_compared(tmp_path):
    def louder(records):
        return [replace(r, key=replace(r.key, snr_db=r.key.snr_db + 20)) for r in records]

    why = one_refusal(
        two(tmp_path / "snr", lambda h: h["scenario"]["sweep"].update(snr_db=[20.0, 25.0]), louder)
    )
    assert why == "two and one: no SNR of both, sweep.snr_db is 20, 25 in two and 0, 5 in one."
    path = "schemes.a.design_snr_db"

    def swept(records):
        return [replace(r, key=replace(r.key, point=((path, 7.0),))) for r in records]

    why = one_refusal(
        two(tmp_path / "swept", lambda h: h["scenario"]["sweep"].update(fields={path: [7.0]}), swept)
    )
    assert why == f"two and one: sweep.fields.{path} is swept in two and – in one."


def test_a_channel_that_is_alike_is_compared_beside_one_that_is_not(tmp_path):
    """Runs of a former version; its second channel has no name and estimates by LS, here in one run only."""
    one, other = (copied(tmp_path / side) for side in ("ls", "perfect"))
    changed(other, lambda h: h["scenario"]["channels"][1]["csi"].update(kind="perfect"))
    told = comparison(load_runs([one.folder, other.folder]))
    assert told.refused == (
        "perfect and ls on ofdm-tdla-ls: channels.ofdm-tdla-ls.csi.kind is perfect in perfect and ls in ls.",
    )
    assert [a.scheme for a in told.schemes] == ["perfect linear", "perfect jpeg", "perfect qpsk"]
    assert all(a.parts[0].startswith("on awgn: as ls ") and len(a.parts) == 1 for a in told.schemes)


def test_a_file_that_a_channel_reads_is_part_of_it(tmp_path):
    for run in ("one", "two"):
        store = copied(tmp_path / run)
        changed(store, lambda h: h["scenario"]["channels"][0].update(path="air.h5"))
        changed(store, lambda h, run=run: h["files"].update({"air.h5": f"digest {run}"}))
    told = comparison(load_runs([tmp_path / "one", tmp_path / "two"]))
    assert told.refused == ("two and one on awgn: files.air.h5 is digest two in two and digest one in one.",)


def test_swept_fields_differ_at_no_point(tmp_path):
    """What is swept in both has a value of its own at every point, whatever the block holds."""
    path = "channel.told.receiver.offset_db"
    for name, base in (("one", 0.0), ("two", 9.0)):
        store = copied(tmp_path / name)

        def header(h, base=base):
            h["scenario"]["sweep"]["fields"] = {path: [1.5]}
            for channel in h["scenario"]["channels"]:
                channel["told"]["receiver"]["offset_db"] = base

        changed(store, header, lambda rs: [replace(r, key=replace(r.key, point=((path, 1.5),))) for r in rs])
    told = comparison(load_runs([tmp_path / "one", tmp_path / "two"]))
    assert told.refused == ()
    assert len(told.schemes) == 3


def test_runs_without_a_measure_in_common_say_so(tmp_path):
    def only_ber(header):
        header["metrics"] = {"ber": header["metrics"]["ber"]}

    def counts(records):
        return [replace(r, values={}) for r in records if r.counts]

    one, other = made_up(tmp_path / "one", {("a", 2.0): BASE}), copied(tmp_path / "two")
    changed(other, only_ber, counts)
    told = comparison(load_runs([one.folder, other.folder]))
    assert told.schemes == ()
    assert told.refused == ("two and one: PSNR was not measured in two.",)


# -------------------------------------------------------------------------------------------- the page


def test_fields_that_differ_are_listed_by_name(tmp_path):
    def header(header):
        scenario = header["scenario"]
        scenario["seed"] = 8
        scenario["schemes"][0]["design_snr_db"] = 9.5
        scenario["schemes"].append({**scenario["schemes"][0], "name": "new"})
        scenario["channels"][0]["impairments"] = [{"kind": "awgn_burst", "share": 0.5}]
        header["versions"]["torch"] = "9.9"
        header["commit"] = "abc"

    runs = two(tmp_path, header)
    assert {d.field: d.values for d in differing(runs)} == {
        "seed": ("7", "8"),
        "channels.awgn.impairments.0": ("–", "awgn_burst"),
        "schemes.a.design_snr_db": ("7", "9.5"),
        "schemes.new": ("–", "linear_analog"),
        "versions.torch": (runs[0].header["versions"]["torch"], "9.9"),
        "commit": ("–", "abc"),
    }
    top = Elements(page(runs)).top
    assert "In what the runs differ (6 fields)" in top
    assert "schemes.a.design_snr_db" in top
    assert "do not differ in any field" in Elements(page(two(tmp_path / "same"))).top


def test_the_page_of_several_runs_says_first_how_they_stand_to_each_other(tmp_path):
    text = page(two(tmp_path, lambda h: h["unavailable"].update(x="x: no weights")))
    top = " ".join(Elements(text).top.split())
    order = ["Comparison of 2 runs", "What is missing two: Not measured: x: no weights", "Across the runs"]
    order += ["two a better than one a", "The runs do not differ", "one alone", "two alone"]
    assert [top.index(part) for part in order] == sorted(top.index(part) for part in order)
    data = data_of(text)
    assert data["runs"] == ["one", "two"]
    assert data["schemes"] == [
        {"name": "one a", "run": 0, "own": "a", "kind": "line"},
        {"name": "two a", "run": 1, "own": "a", "kind": "line"},
    ]


def test_the_best_of_fixed_schemes_is_that_of_its_run(tmp_path):
    def fixed(header):
        jpeg = {"kind": "separation", "mcs": 3}
        header["scenario"]["schemes"] = [{**jpeg, "name": name, "mcs": i} for i, name in enumerate("ab")]

    values = {("a", 0.0): BASE, ("b", 0.0): [v + 1 for v in BASE]}
    stores = [changed(made_up(tmp_path / name, values), fixed) for name in ("one", "two")]
    data = data_of(page(load_runs([store.folder for store in stores])))
    derived = [s for s in data["schemes"] if s["kind"] == "derived"]
    assert [(s["name"], s["run"], s["own"]) for s in derived] == [
        ("one best fixed MCS", 0, "best fixed MCS"),
        ("two best fixed MCS", 1, "best fixed MCS"),
    ]


def test_names_of_runs_and_fields_are_never_markup(tmp_path):
    def header(header):
        header["scenario"]["schemes"][0]["design_snr_db"] = HOSTILE
        header["scenario"]["channels"][0][HOSTILE] = HOSTILE

    first = made_up(tmp_path / "<img src=x>", {("a", 0.0): BASE})
    second = changed(made_up(tmp_path / "two", {("a", 0.0): BASE}), header)
    text = page(load_runs([first.folder, second.folder]))
    elements = Elements(text)
    assert [tag for tag, _ in elements.found if tag == "img"] == []
    assert HOSTILE not in text
    assert elements.top.count(HOSTILE) >= 3
    assert not re.search(r"<img", text)


def test_figures_have_one_colour_for_a_scheme_and_dashes_for_its_runs(tmp_path):
    runs = two(tmp_path)
    lines = gathered(runs, "psnr", "snr_db").lines("snr_db")
    assert [(line.run, line.own_scheme, line.scheme) for line in lines] == [
        ("one", "a", "one a"),
        ("two", "a", "two a"),
    ]
    more = [replace(line, scheme=f"{line.run} b") for line in lines]
    looks = Looks.of([*lines, *more])
    styles = {line.scheme: looks.style(line) for line in (*lines, *more)}
    assert styles["one a"]["color"] == styles["two a"]["color"] != styles["one b"]["color"]
    assert styles["one a"]["linestyle"] == styles["one b"]["linestyle"] != styles["two a"]["linestyle"]


def test_of_more_schemes_than_colours_no_two_look_alike(tmp_path):
    names = [f"s{i:02d}" for i in range(24)]
    [run] = load_runs([made_up(tmp_path / "run", {(name, 0.0): BASE[:2] for name in names}).folder])
    lines = gathered([run], "psnr", "snr_db").lines("snr_db")
    looks = Looks.of(lines)
    assert len({(looks.style(line)["color"], looks.style(line)["marker"]) for line in lines}) == 24


def test_fields_of_a_narrow_figure_stand_below_each_other():
    """Two channels side by side in a column of a paper left axes 6 mm high."""
    runs = load_runs([FORMER])
    for size, below in (((3.5, None), True), ((7.16, None), False)):
        figure = metric_figure(runs, "psnr", options=FigureOptions(width=size[0]))
        figure.draw_without_rendering()
        first, second = (axes.get_position() for axes in figure.axes)
        assert (second.y1 < first.y0) == below
        assert (second.x0 > first.x1) != below
        assert first.height * figure.get_figheight() > 0.9


def test_a_legend_of_many_entries_has_columns_and_stays_within_the_figure(tmp_path):
    names = [f"scheme {i:02d}" for i in range(24)]
    runs = load_runs([made_up(tmp_path / "run", {(name, 0.0): BASE[:2] for name in names}).folder])
    figure = metric_figure(runs, "psnr", options=FigureOptions(width=7.16))
    figure.draw_without_rendering()
    [legend] = [axes.get_legend() for axes in figure.axes]
    box, page_ = legend.get_window_extent(), figure.bbox
    assert len(legend.get_texts()) == 24
    assert len({round(text.get_window_extent().x0) for text in legend.get_texts()}) > 1
    assert box.x0 >= page_.x0
    assert box.x1 <= page_.x1
    assert box.y0 >= page_.y0


def test_a_point_of_a_limit_that_no_line_leads_to_is_seen(tmp_path):
    """Of outage at four SNRs it may have one value above 0."""

    def bound(header):
        header["scenario"]["schemes"] = [{"name": "a", "kind": "capacity_bound"}]
        header["metrics"] = {"ber": {**header["metrics"]["psnr"], "unit": "1", "is_rate": True}}

    def counted(records):
        errors = {0.0: 3, 5.0: 0, 10.0: 0}
        return [replace(r, values={}, counts={"ber": (errors[r.key.snr_db], 10)}) for r in records]

    store = changed(made_up(tmp_path / "run", {("a", s): BASE for s in (0.0, 5.0, 10.0)}), bound, counted)
    [axes] = metric_figure(load_runs([store.folder]), "ber").axes
    drawn = [line for line in axes.lines if line.get_marker() == "." and len(line.get_xdata())]
    assert [(list(line.get_xdata()), list(line.get_ydata())) for line in drawn] == [([0.0], [0.3])]


def test_a_metric_of_sets_is_not_compared(tmp_path):
    runs = two(tmp_path)
    for run in runs:
        run.header["metrics"]["psnr"] = {**run.header["metrics"]["psnr"], "higher_is_better": None}
    assert isinstance(metric_info([runs[0].header], "psnr"), MetricInfo)
    assert "no measure has a direction" in comparison(runs).lead

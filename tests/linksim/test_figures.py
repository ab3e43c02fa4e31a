"""What figures say: axes, limits, steps, lost pictures, bandwidths, titles, intervals, closed forms."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from linksim.metrics.info import MetricInfo
from linksim.report.curves import axis_of, best_of, curves, step_points
from linksim.report.drawing import telling_limits
from linksim.report.figures import plot_metric
from linksim.results.statistics import Row
from linksim.scenario.files import load_scenario, scenario_dir
from linksim.scenario.schema import Scenario, channel_names

PSNR = MetricInfo("psnr", "dB", True, "", label="PSNR")
BER = MetricInfo("ber", "1", False, "", label="bit error rate", is_rate=True)


def row(snr_db: float, mean: float, **fields) -> Row:
    usual = {
        "channel": "awgn",
        "scheme": "code",
        "snr_db": snr_db,
        "metric": "psnr",
        "point": (),
        "mean": mean,
    }
    usual |= {"ci_low": mean - 1, "ci_high": mean + 1, "num_images": 8, "num_trials": 2, "num_failures": 0}
    usual |= {"mean_ok": mean, "cbr_data": 1 / 96, "cbr_total": 1 / 96, "num_arrived": 16}
    return Row(**usual | fields)


def drawn_texts(figure) -> list[str]:
    """Everything in the legends, in one line each."""
    legends = [axes.get_legend() for axes in figure.axes if axes.get_visible()]
    return [text.get_text().replace("\n", " ") for legend in legends for text in legend.get_texts()]


def lines_of(figure, label: str):
    return [
        line for axes in figure.axes for line in axes.get_lines() if str(line.get_label()).startswith(label)
    ]


# --------------------------------------------------------------------------------------------- legends


def test_a_bandwidth_that_changes_along_a_curve_is_not_in_its_label():
    """Four numbers of pilots: the mean over the sweep, 1/60, belongs to none of them; so it is not said."""
    totals = (1 / 64.8, 1 / 62, 1 / 55, 1 / 49.1)
    rows = [row(15, 20, point=(("p", i),), cbr_total=total) for i, total in enumerate(totals)]
    [line] = curves(rows, PSNR, "p")
    assert line.label == "code (CBR 1/96 of data)"
    varied = [replace(r, cbr_data=total) for r, total in zip(rows, totals, strict=True)]
    assert curves(varied, PSNR, "p")[0].label == "code"
    [still] = curves([replace(r, cbr_total=1 / 64.8) for r in rows], PSNR, "p")
    assert still.label == "code (CBR 1/96, 1/64.8 in all)"


def test_intervals_say_what_they_rest_on():
    rows = [row(snr, 20.0) for snr in (0, 5)]
    figure = plot_metric(rows, PSNR, confidence=0.95)
    assert figure.get_supxlabel() == "Bands: 95% intervals over 8 pictures, 2 channel realisations each."
    few = plot_metric([replace(r, num_images=2) for r in rows], PSNR, confidence=0.95).get_supxlabel()
    assert "2 pictures, whose small number makes them wide" in few
    one = plot_metric([replace(r, num_images=1) for r in rows], PSNR, confidence=0.9).get_supxlabel()
    assert one == "Bands: 90% intervals over 2 channel realisations of a single picture."
    bare = [replace(r, ci_low=math.nan, ci_high=math.nan) for r in rows]
    assert plot_metric(bare, PSNR, confidence=0.95).get_supxlabel() == ""
    errors = plot_metric([ber(s, 0.1, 0.2) for s in (0, 5)], BER, confidence=0.95).get_supxlabel()
    assert errors == "Bands and bars: 95% intervals; 16 transmissions per point."


def test_default_names_of_channels_leave_out_what_is_swept():
    """cdl-profiles shows A, C and D: the title of its figure named C."""

    def names(sweep: dict, **channel) -> list[str]:
        model = {"kind": "tdl", "profile": "C", "delay_spread_s": 1e-7}
        text = {"name": "x", "images": {"kind": "skimage"}, "bandwidth": {"data_ratio": "1/96"}}
        text |= {"schemes": [{"kind": "linear_analog", "name": "a"}], "sweep": {"snr_db": [1.0], **sweep}}
        return channel_names(
            Scenario.model_validate(text | {"channel": {"kind": "ofdm", "model": model} | channel})
        )

    assert names({}) == ["ofdm-tdlc-ls"]
    assert names({"channel.model.profile": ["A", "C"]}) == ["ofdm-tdl-ls"]
    assert names({"channels.0.csi.kind": ["ls", "lmmse"]}) == ["ofdm-tdlc"]
    assert names({"channels.ofdm-tdlc-ls.csi.kind": ["ls", "lmmse"]}) == ["ofdm-tdlc"]
    assert names({"channel.model.speed_mps": [1.0, 2.0]}) == ["ofdm-tdlc-ls"]
    assert names({"channel.model.profile": ["A", "C"]}, name="street") == ["street"]


def test_no_library_scenario_has_a_title_that_names_one_of_several_profiles():
    for path in sorted(scenario_dir().rglob("*.yaml")):
        text = path.read_text()
        if "model.profile:" in text and "sweep" in text and path.parent.name not in ("base", "train"):
            scenario = load_scenario(str(path))
            swept = [str(v).lower() for n, vs in scenario.sweep.fields.items() if "profile" in n for v in vs]
            assert not any(name.endswith(f"dl{v}-ls") for name in channel_names(scenario) for v in swept), (
                path
            )


# ------------------------------------------------------------------------------------------------ axis


@pytest.mark.parametrize(
    ("x", "values", "scale"),
    [
        ("channel.impairments.0.linewidth_hz", (0, 10, 100, 1000), "symlog"),
        ("channel.impairments.0.linewidth_hz", (1, 10, 100, 1000), "log"),
        ("channel.model.speed_mps", (1, 30, 80, 140), "linear"),
        ("channel.model.speed_mps", (1, 10, 100), "log"),
        ("channel.impairments.0.bits", (2, 3, 4, 6, 8), "linear"),
        ("snr_db", (1, 10, 100), "linear"),
        ("channel.link_budget.transmit_power_dbm", (0, 10, 100), "linear"),
        ("channel.csi.dmrs.additional_positions", (0, 1, 2, 3), "linear"),
        ("channel.model.offset", (-1, 1, 10, 100), "linear"),
    ],
)
def test_axes_are_logarithmic_where_values_were_chosen_so(x, values, scale):
    rows = [row(15, 20, point=() if x == "snr_db" else ((x, v),)) for v in values]
    if x == "snr_db":
        rows = [replace(r, snr_db=float(v)) for r, v in zip(rows, values, strict=True)]
    axis = axis_of(curves(rows, PSNR, x), x)
    assert axis.scale == scale
    assert axis.ticks == values
    assert axis.labels == tuple(f"{v:g}" for v in values)
    assert axis.linear_to == 10 or scale != "symlog"


def test_a_decade_of_linewidths_takes_as_much_room_as_the_next():
    x = "channel.impairments.0.linewidth_hz"
    figure = plot_metric(
        [row(20, 20 - i, point=((x, float(v)),)) for i, v in enumerate((0, 10, 100, 1000))], PSNR, x=x
    )
    figure.draw_without_rendering()
    places = figure.axes[0].transData.transform([(v, 18) for v in (10, 100, 1000)])[:, 0]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1], rel=1e-6)


def test_ratios_are_ticks_as_people_write_them():
    rows = [
        row(10, 20, point=(("bandwidth.data_ratio", f"1/{n}"),), cbr_total=1 / n)
        for n in (384, 192, 96, 48, 24)
    ]
    axis = axis_of(curves(rows, PSNR, "cbr_total"), "cbr_total")
    assert axis.scale == "log"
    assert axis.labels == ("1/384", "1/192", "1/96", "1/48", "1/24")


# ---------------------------------------------------------------------------------------------- limits


def ber(snr_db: float, mean: float, high: float, **fields) -> Row:
    return row(snr_db, mean, metric="ber", ci_low=0.0, ci_high=high, **fields)


def test_upper_limits_of_few_frames_do_not_hang_above_the_curves():
    """Eight frames without an error bound the rate by .31 only, above a curve that ended at 6e-5."""
    limit = 1 - 0.05 ** (1 / 8)
    slow = [ber(10, 2e-2, 4e-2), ber(20, 6e-5, 2e-4), ber(30, 0, limit), ber(40, 0, limit)]
    fast = [replace(ber(s, 0.2, 0.25), scheme="fast") for s in (10, 20, 30, 40)]
    lines = curves(slow + fast, BER, "snr_db")
    assert not telling_limits(lines[0], lines).any()
    figure = plot_metric(slow + fast, BER)
    in_data = [
        line for line in figure.axes[0].get_lines() if line.get_transform() == figure.axes[0].transData
    ]
    assert not any(np.isclose(line.get_ydata(), limit).any() for line in in_data)
    text = "none seen, at the edge: too few for a limit below the curves (up to 0.31)"
    assert text in drawn_texts(figure)
    assert "none seen: upper limit" not in drawn_texts(figure)
    at_value = [
        line for line in figure.axes[0].get_lines() if line.get_marker() == 7 and len(line.get_xdata())
    ]
    assert not any(len(line.get_ydata()) for line in at_value)


def test_limits_that_say_something_stand_at_their_value():
    many = [ber(10, 2e-2, 4e-2), ber(20, 6e-5, 2e-4), ber(30, 0, 3e-6)]
    [line] = curves(many, BER, "snr_db")
    assert telling_limits(line, [line]).tolist() == [False, False, True]
    never = [replace(r, mean=0.0, ci_high=0.01, scheme="good") for r in many]
    lines = curves([*many, *never], BER, "snr_db")
    assert telling_limits(lines[1], lines).all(), "below the worst curve of the field"
    assert telling_limits(lines[1], lines[1:]).all(), "nothing else is known"
    assert "none seen: upper limit" in drawn_texts(plot_metric(many, BER))


# ----------------------------------------------------------------------------------------------- steps


def step(name: str, snrs, means, shares) -> list[Row]:
    return [
        row(s, m, scheme=name, num_arrived=round(16 * a), num_failures=16 - round(16 * a))
        for s, m, a in zip(snrs, means, shares, strict=True)
    ]


def test_steps_have_no_slope_where_nobody_measured():
    """With points 3 dB apart a line from grey to the picture would be a slope of 3 dB."""
    wide = step("MCS 10", (1, 4, 7, 10), (12.8, 12.8, 30, 30), (0, 0, 1, 1))
    [line] = curves(wide, PSNR, "snr_db", steps=["MCS 10"])
    xs, means = step_points(line, "snr_db")
    assert xs.tolist() == [7, 10]
    assert means.tolist() == [30, 30]
    some = step("MCS 10", (1, 4, 7, 10), (12.8, 13.5, 30, 30), (0, 0.05, 1, 1))
    [line] = curves(some, PSNR, "snr_db", steps=["MCS 10"])
    np.testing.assert_equal(step_points(line, "snr_db")[0], [4, np.nan, 7, 10])
    half = step("MCS 10", (7, 10, 13), (13.5, 22, 30), (0.05, 0.5, 1))
    [line] = curves(half, PSNR, "snr_db", steps=["MCS 10"])
    np.testing.assert_equal(step_points(line, "snr_db")[0], [7, np.nan, 10, np.nan, 13])
    near = step("MCS 10", (4, 5, 6, 7), (12.8, 12.8, 30, 30), (0, 0, 1, 1))
    [line] = curves(near, PSNR, "snr_db", steps=["MCS 10"])
    assert step_points(line, "snr_db")[0].tolist() == [5, 6, 7], "the foot of the step, and no grey line"


def test_pictures_that_never_fit_stretch_no_axis_and_are_named():
    fits = step("MCS 4", (5, 10, 15), (19, 19.1, 19.2), (1, 1, 1)) + step(
        "MCS 9", (5, 10, 15), (9.5, 21.6, 21.7), (0, 1, 1)
    )
    never = step("MCS 1", (5, 10, 15), (9.5, 9.5, 9.5), (0, 0, 0))
    names = ["MCS 1", "MCS 4", "MCS 9"]
    figure = plot_metric(never + fits, PSNR, steps=names)
    bottom, top = figure.axes[0].get_ylim()
    assert bottom > 15, "9.5 dB is grey, not a picture"
    assert top > 21.7
    assert "not drawn, no picture arrives: MCS 1" in drawn_texts(figure)
    assert not any("not drawn" in text for text in drawn_texts(plot_metric(fits, PSNR, steps=names[1:])))


def test_the_best_of_some_steps_is_not_called_a_limit():
    lines = curves(
        step("MCS 4", (1, 4), (20, 20), (1, 1)) + step("MCS 9", (1, 4), (9, 25), (0, 1)), PSNR, "snr_db"
    )
    best = best_of(lines, PSNR)
    assert best.mean.tolist() == [20, 25]
    assert best.arrived.tolist() == [1, 1]
    none = best_of([replace(line, arrived=np.zeros(2)) for line in lines], PSNR)
    assert none.lost.all(), "no line leads from grey pictures to decoded ones"
    assert best.label == "best of these 2 fixed MCS at each point, chosen on these results"


def test_where_no_picture_arrived_points_are_hollow():
    lost = [row(0, 9.5, num_arrived=0, num_failures=16), row(5, 20)]
    figure = plot_metric(lost, PSNR)
    assert "hollow: no picture arrived, all are grey" in drawn_texts(figure)
    hollow = [
        line
        for line in figure.axes[0].get_lines()
        if line.get_markerfacecolor() == "white" and len(line.get_xdata())
    ]
    assert [line.get_xdata().tolist() for line in hollow] == [[0.0]]
    assert not any("hollow" in text for text in drawn_texts(plot_metric(lost[1:] * 1, PSNR)))


# ---------------------------------------------------------------------------------------------- fields


def test_swept_values_of_several_schemes_have_a_field_per_scheme():
    rows = [
        row(s, 20 + s / 10, scheme=name, point=(("channel.csi.kind", kind),))
        for name in ("a", "b")
        for kind in ("ls", "lmmse")
        for s in (0, 5)
    ]
    limit = [replace(r, scheme="limit", mean=r.mean + 2) for r in rows[:4]]
    figure = plot_metric(rows + limit, PSNR, bounds=["limit"])
    assert [axes.get_title() for axes in figure.axes] == ["a, awgn", "b, awgn"]
    texts = [text.get_text().replace("\n", " ") for text in figure.axes[1].get_legend().get_texts()]
    assert [text.partition(" (CBR")[0] for text in texts] == [
        "csi.kind ls", "csi.kind lmmse", "limit, csi.kind ls", "limit, csi.kind lmmse",
    ]  # fmt: skip
    colours = [
        {line.get_color() for line in lines_of(figure, f"csi.kind {kind} ")} for kind in ("ls", "lmmse")
    ]
    assert all(len(own) == 1 for own in colours), "the same in both fields"
    assert colours[0] != colours[1]
    two = plot_metric([*rows, *(replace(r, channel="c") for r in rows)], PSNR)
    assert [axes.get_title() for axes in two.axes] == ["awgn", "c"]


def test_results_with_a_closed_form_are_points_on_its_line():
    rows = [ber(s, 0.01, 0.012) for s in (0.0, 4.0)]
    exact = [
        replace(rows[0], snr_db=float(s), mean=0.01, ci_low=math.nan, ci_high=math.nan) for s in range(5)
    ]
    figure = plot_metric(rows, BER, theory=exact)
    assert "lines without points: closed form" in drawn_texts(figure)
    [points] = lines_of(figure, "code")
    assert points.get_linestyle() == "None"
    theory = [line for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 5]
    assert len(theory) == 1
    assert theory[0].get_color() == points.get_color()


def test_closed_forms_stretch_no_axis():
    """QPSK at 20 dB has a rate of 1e-23, of which four frames know nothing."""
    rows = [ber(0.0, 0.1, 0.12), ber(10.0, 8e-4, 9e-4), ber(20.0, 0, 1e-5)]
    exact = [replace(rows[0], snr_db=s, mean=m) for s, m in ((0.0, 0.1), (10.0, 8e-4), (20.0, 1e-23))]
    bottom, _ = plot_metric(rows, BER, theory=exact).axes[0].get_ylim()
    assert bottom == pytest.approx(1e-6)


def test_rates_that_are_all_zero_or_of_lost_steps_leave_an_axis(recwarn):
    """Fixed MCS of which one has no error and the other none that arrives: nothing above 0 is drawn."""
    rows = [row(s, 0.0, metric="ber", scheme="MCS 4", ci_low=0.0, ci_high=0.2) for s in (5, 10)]
    gone = {"num_failures": 16, "num_arrived": 0, "ci_low": 0.1, "ci_high": 0.4}
    rows += [row(s, 0.2, metric="ber", scheme="MCS 19", **gone) for s in (5, 10)]
    axes = plot_metric(rows, BER, steps=("MCS 4", "MCS 19")).axes[0]
    assert axes.get_yscale() == "log"
    assert 0 < axes.get_ylim()[0] < axes.get_ylim()[1] <= 1.0
    assert not [w for w in recwarn if "log-scaled" in str(w.message)]

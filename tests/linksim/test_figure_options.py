"""What figures are asked to look like: facts of what is drawn."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml
from matplotlib.colors import to_hex

import linksim
from linksim.api.plotting import figure_options, plot_runs
from linksim.cli.commands import main
from linksim.metrics.info import MetricInfo
from linksim.report.curves import connected, curves
from linksim.report.figures import plot_metric
from linksim.report.options import read_style
from linksim.report.runs import run_names
from tests.linksim.test_figures import BER, PSNR, ber, drawn_texts, lines_of, row
from tests.linksim.tiny import TINY

WHOLE = yaml.safe_load(TINY)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> list[Path]:
    """One run, three times: at a/same, b/same and x/run-1/out."""
    place = tmp_path_factory.mktemp("plots")
    small = {"sweep.trials": 1, "schemes": WHOLE["schemes"][:2]}
    run = linksim.simulate(WHOLE, small, out=place / "a" / "same", workers=1, progress=False)
    for name in ("b/same", "x/run-1/out"):
        shutil.copytree(run.folder, place / name)
    return [place / name for name in ("a/same", "b/same", "x/run-1/out")]


def dashes(line) -> str:
    """How a line is drawn, as SVG says it."""
    style = line.get_linestyle()
    return str(style) if style != "--" else str((line.get_linestyle(), line.is_dashed()))


def option(**asked):
    return figure_options(**asked)


# ----------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/r/a/same", "/r/b/same"], ["a/same", "b/same"]),
        (["/r/x/run-1/out", "/r/x/run-2/out"], ["run-1/out", "run-2/out"]),
        (["/r/a/same", "/r/b/same", "/r/b/other"], ["a/same", "b/same", "other"]),
        (["/x/a", "/r/x/a"], ["/x/a", "r/x/a"]),
        (["/r/a/same", "/r/b/../a/same", "/r/c"], ["same", "c"]),
    ],
)
def test_runs_are_named_by_as_much_of_their_paths_as_it_takes(paths, names):
    assert list(run_names([Path(path) for path in paths]).values()) == names


def test_labels_take_the_place_of_paths(folders):
    figure, _ = plot_runs(folders[:2], "psnr", labels=[f"{folders[0]}=A = ours"])
    texts = drawn_texts(figure)
    assert any(text.startswith("A = ours bpg (CBR") for text in texts)
    assert any(text.startswith("b/same bpg (CBR") for text in texts)
    by_name, _ = plot_runs(folders[:2], "psnr", labels={"a/same": "A = ours"})
    assert drawn_texts(by_name) == texts
    one, _ = plot_runs(folders[2:], "psnr", labels=[f"{folders[2]}=alone"])
    assert any(text.startswith("alone bpg") for text in drawn_texts(one))


# ------------------------------------------------------------------------------------- size, limits, texts


def test_title_size_limits_and_no_intervals(folders, tmp_path):
    usual, _ = plot_runs(folders[:1], "psnr")
    assert usual.get_suptitle() == "tiny"
    assert usual.get_supxlabel().startswith("Bands: 95% intervals")
    assert usual.axes[0].collections
    asked = option(title="PSNR of a $5 link", size="8,6", ylim="5,41", ci=False)
    figure, _ = plot_runs(folders[:1], "psnr", options=asked)
    assert figure.get_suptitle() == r"PSNR of a \$5 link"
    assert figure.get_size_inches().tolist() == [8, 6]
    assert [axes.get_ylim() for axes in figure.axes] == [(5, 41)] * 2
    assert not [band for axes in figure.axes for band in axes.collections]
    assert figure.get_supxlabel() == ""
    assert plot_runs(folders[:1], "psnr", options=option(title=""))[0].get_suptitle() == ""
    assert main(["plot", str(folders[0]), "--metric", "psnr", "--size", "page", "--no-ci", "--title", "", "--overlay",
                 "channels", "--ylim=-5,40", "--out", str(tmp_path / "a.pdf")]) == 0  # fmt: skip
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("size", [None, "column", "page", "slide"])
@pytest.mark.parametrize("metric", ["psnr", "ber"])
def test_nothing_is_printed_over_anything(folders, size, metric):
    """Boxes of titles, labels, ticks and legends, as they are drawn; ten schemes with long names."""
    rows = [
        replace(
            r,
            metric=metric,
            scheme=f"a scheme with a rather long name {i}",
            channel=channel,
            mean=r.mean / (i + 1),
        )
        for i in range(10)
        for channel in ("a channel with a name", "another channel, with a name that is longer than the field")
        for r in [ber(s, 10 ** (-s / 4 - 1), 1.0) for s in range(-2, 10)]
    ]
    info = BER if metric == "ber" else PSNR
    name = "A title of which nobody would say that it is a short one, of several scenarios together" * 2
    figure = plot_metric(rows, info, title=name, confidence=0.95, options=option(size=size))
    figure.draw_without_rendering()
    texts = [t for t in figure.texts if t.get_text()]
    for axes in figure.axes:
        texts += [axes.title, axes.xaxis.label, axes.get_legend()]
        ticks = [t for t in axes.get_xticklabels() if t.get_text()]
        spans = [t.get_window_extent() for t in ticks]
        assert all(a.x1 <= b.x0 for a, b in pairwise(spans))
        texts += ticks[:1]
    boxes = [text.get_window_extent() for text in texts]
    width, height = figure.bbox.width, figure.bbox.height
    for i, box in enumerate(boxes):
        assert min(box.x0, box.y0, width - box.x1, height - box.y1) >= -1, texts[i]
        for j in range(i):
            over = (
                min(box.x1, boxes[j].x1) - max(box.x0, boxes[j].x0),
                min(box.y1, boxes[j].y1) - max(box.y0, boxes[j].y0),
            )
            assert min(over) < 1, (texts[i], texts[j])
    axes = figure.axes[0].get_window_extent()
    assert min(axes.width, axes.height) > 0.7 * figure.dpi


def test_many_names_side_by_side_are_turned_and_many_numbers_thinned():
    names = [row(10, 20, point=(("channel.kind", f"an-urban-street-{i}"),)) for i in range(8)]
    axes = plot_metric(names, PSNR, x="channel.kind", options=option(size="column")).axes[0]
    assert {label.get_rotation() for label in axes.get_xticklabels()} == {30}
    numbers = [row(10, 20, point=(("channel.hz", float(v)),)) for v in range(100000, 100012)]
    axes = plot_metric(numbers, PSNR, x="channel.hz", options=option(size="column")).axes[0]
    shown = [label.get_text() for label in axes.get_xticklabels() if label.get_text()]
    assert 2 <= len(shown) < 12


def test_names_of_steps_do_not_stand_on_each_other():
    rows = [row(s, 20 + 0.05 * i, scheme=f"MCS {i}", num_failures=0) for i in range(20) for s in (0, 5)]
    figure = plot_metric(rows, PSNR, steps=[f"MCS {i}" for i in range(20)], options=option(size="column"))
    figure.draw_without_rendering()
    boxes = sorted(
        (t.get_window_extent() for t in figure.axes[0].texts if t.get_visible()), key=lambda b: b.y0
    )
    assert 2 <= len(boxes) < 20
    assert all(above.y0 - below.y0 > 0.7 * below.height for below, above in pairwise(boxes))


def test_whole_counts_have_whole_ticks():
    rows = [row(10, 20 + v, point=(("scheme.rounds", v),)) for v in range(1, 15)]
    figure = plot_metric(rows, PSNR, x="scheme.rounds", options=option(size="column"))
    figure.draw_without_rendering()
    ticks = figure.axes[0].get_xticks()
    assert len(ticks) > 2
    assert all(float(v).is_integer() for v in ticks)


# ----------------------------------------------------------------------------------------------- channels


def test_channels_in_one_field_are_told_apart_by_line_style_and_schemes_by_colour():
    rows = [
        row(s, 20 + s + i, scheme=name, channel=channel)
        for i, name in enumerate(("a", "b"))
        for channel in ("awgn", "fading")
        for s in (0, 5)
    ]
    limit = [replace(r, scheme="limit") for r in rows if r.scheme == "a"]
    figure = plot_metric(rows + limit, PSNR, bounds=["limit"], options=option(overlay="channels"))
    assert len(figure.axes) == 1
    looks = {}
    for line in figure.axes[0].get_lines():
        if len(line.get_xdata()):
            looks[str(line.get_label()).partition(" (")[0]] = (line.get_color(), dashes(line))
    assert set(looks) == {f"{s}, {c}" for s in ("a", "b", "limit") for c in ("awgn", "fading")}
    for name in ("a", "b", "limit"):
        assert looks[f"{name}, awgn"][0] == looks[f"{name}, fading"][0]
        assert looks[f"{name}, awgn"][1] != looks[f"{name}, fading"][1]
    assert looks["a, awgn"][0] != looks["b, awgn"][0]
    assert looks["a, awgn"][1] == looks["b, awgn"][1]


# ------------------------------------------------------------------------------------------------- gaps


def test_no_line_leads_from_lost_pictures_to_decoded_ones():
    means, shares = (9.5, 9.5, 25, 26, 9.5), (0, 0, 16, 16, 0)
    rows = [
        row(s, m, num_arrived=a, num_failures=16 - a)
        for s, (m, a) in enumerate(zip(means, shares, strict=True))
    ]
    [line] = curves(rows, PSNR, "snr_db")
    x, mean, low, _ = connected(line, is_rate=False)
    pairs = [
        (a, b) for a, b, p, q in zip(x, x[1:], mean, mean[1:], strict=False) if np.isfinite([p, q]).all()
    ]
    assert pairs == [(2, 3)]
    assert np.isnan(low[np.isnan(mean)]).all()
    [drawn] = lines_of(plot_metric(rows, PSNR), "code")
    np.testing.assert_equal(drawn.get_ydata(), mean)


def test_no_line_crosses_a_point_at_which_no_error_was_seen():
    rows = [ber(0, 1e-2, 2e-2), ber(5, 0, 1e-3), ber(10, 1e-3, 2e-3)]
    [drawn] = lines_of(plot_metric(rows, BER), "code")
    assert np.isnan(drawn.get_ydata().tolist()).tolist() == [False, True, False]


# ------------------------------------------------------------------------------------------------ styles


def style(folder: Path, text: str) -> Path:
    (folder / "paper.mplstyle").write_text(text)
    return folder / "paper.mplstyle"


def test_styles_set_letters_lines_and_colours(tmp_path):
    path = style(
        tmp_path,
        "# for a paper\nfont.size: 6   # small\naxes.grid : False\nlines.linewidth: 0.5\nfigure.figsize: 3.4, 5\n"
        "axes.prop_cycle: cycler('color', ['#112233', 'tab:red'])\nlegend.fontsize: 5\naxes.edgecolor: \"#445566\"\n",
    )
    figure = plot_metric(
        [row(s, 20.0, scheme=n) for s in (0, 5) for n in ("a", "b")], PSNR, options=option(style=path)
    )
    axes = figure.axes[0]
    lines = [line for line in axes.get_lines() if len(line.get_xdata())]
    assert [to_hex(line.get_color()) for line in lines] == ["#112233", to_hex("tab:red")]
    assert {line.get_linewidth() for line in lines} == {0.5}
    assert axes.get_legend().get_texts()[0].get_fontsize() == 5
    assert axes.xaxis.label.get_fontsize() == 6
    assert figure.get_size_inches().tolist() == [3.4, 5]
    assert not axes.xaxis.get_gridlines()[0].get_visible()
    assert to_hex(axes.spines["left"].get_edgecolor()) == "#445566"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("text.usetex: True", "a setting that styles of linksim do not take, got 'text.usetex'"),
        ("figure.hooks: os:system", "do not take, got 'figure.hooks'"),
        ("backend: module://evil", "do not take, got 'backend'"),
        (
            "axes.prop_cycle: cycler(color=[__import__('os').system('touch here')])",
            "wrong value of axes.prop_cycle",
        ),
        ("axes.prop_cycle: __import__('os').system('touch here')", "not understood, got"),
        ("font.size: large and small", "line 1: wrong value of font.size"),
        ("font.sise: 3", "unknown setting, got 'font.sise'"),
        ("import os", "not understood, got 'import os', expected KEY: VALUE"),
    ],
)
def test_styles_are_settings_and_nothing_else(text, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(linksim.RunFolderError) as raised:
        read_style(style(tmp_path, text), "--style")
    assert said in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["paper.mplstyle"]


# --------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--size", "big"], "--size: no size, got 'big', expected W,H in inches, such as 3.5,2.6, or one of column, page"),
        (["--size", "3"], "--size: no size, got '3'"),
        (["--size", "3,x"], "--size: not understood, got '3,x', expected two numbers such as 3.5,2.6"),
        (["--size", "0,400"], "--size: no size of a figure, got 0,400, expected 1 to 60 inches each"),
        (["--size", "3,2"], "size: too small, got 3,2, expected room for axes beside titles and legends, such as 3,"),
        (["--ylim", "5"], "--ylim: not understood, got '5', expected two numbers such as 20,35"),
        (["--ylim", "9,5"], "--ylim: no limits, got 9,5, expected the lower one, then the higher"),
        (["--ylim", "nan,5"], "--ylim: not understood"),
        (["--overlay", "schemes"], "--overlay: not understood, got 'schemes', expected channels"),
        (["--label", "nobody=x"], "--label: no such run, got 'nobody=x', expected RUN=TEXT with RUN one of "),
        (["--label", "RUN="], "--label: no such run"),
        (["--label", "RUN=x", "--label", "RUN=y"], "--label: given twice"),
        (["--style", "missing.mplstyle"], "--style missing.mplstyle: cannot be read"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused(folders, words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [word.replace("RUN", str(folders[0])) for word in words]
    assert main(["plot", str(folders[0]), "--metric", "psnr", *words, "--out", "a.png"]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_limits_of_error_rates_are_above_zero_and_two_runs_have_two_names(folders, capsys):
    rows = [ber(s, 0.1, 0.2) for s in (0, 5)]
    with pytest.raises(linksim.RunFolderError, match="ylim: not above 0, got 0,1"):
        plot_metric(rows, BER, options=option(ylim=(0, 1)))
    assert plot_metric(rows, BER, options=option(ylim=(1e-4, 1))).axes[0].get_ylim() == (1e-4, 1)
    labels = [word for folder in folders[:2] for word in ("--label", f"{folder}=same")]
    assert main(["plot", *map(str, folders[:2]), "--metric", "psnr", *labels]) == 2
    assert "--label: two runs of one name, got 'same'" in capsys.readouterr().err
    assert main(["plot", str(folders[0]), "--ledger", "--no-ci"]) == 2
    assert "--no-ci: got it with --ledger, expected it with --metric only." in capsys.readouterr().err


def test_a_measure_of_a_made_up_unit_is_not_mistaken():
    """Options change nothing of what is not asked for."""
    info = MetricInfo("psnr", "dB", True, "", label="PSNR")
    plain, asked = (
        plot_metric([row(s, 20.0) for s in (0, 5)], info, options=o) for o in (option(), option(size="slide"))
    )
    assert [line.get_ydata().tolist() for line in plain.axes[0].get_lines()] == [
        line.get_ydata().tolist() for line in asked.axes[0].get_lines()
    ]

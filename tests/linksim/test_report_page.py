"""The report: what stands in it, at the top and in its data, whatever the run holds; and that it asks nobody."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
from dataclasses import replace

import pytest
import yaml
from PIL import Image

from linksim.cli.commands import main
from linksim.report.interactive.answer import answers
from linksim.report.interactive.facts import commands, resolved_scenario
from linksim.report.interactive.html import LARGEST, page
from linksim.report.interactive.names import Names
from linksim.report.interactive.units import page_units
from linksim.report.runs import load_runs
from linksim.results.statistics import to_csv
from linksim.scenario.files import load_scenario
from tests.linksim.report_pages import FORMER, Elements, changed, copied, data_of, made_up, renamed

HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def former() -> str:
    """The page of a run of a former version."""
    return page(load_runs([FORMER]))


# ---------------------------------------------------------------------------------------------- content


def test_the_question_and_an_answer_for_every_scheme_stand_at_the_top(former):
    top = Elements(former).top
    assert "Can runs of a former version be drawn?" in top
    assert top.index("Can runs") < top.index("What is missing") < top.index("Answer")
    for scheme in ("linear", "jpeg", "qpsk", "bound"):
        assert f" {scheme} " in top[top.index("Answer") :]
    assert "on awgn: from 27.28 dB (24.51 to 30.04) at 2 dB to 29.56 dB" in top, "those of results.csv"
    assert "a limit, no scheme" in top


def test_every_row_of_results_is_on_the_page(former):
    [run] = load_runs([FORMER])
    data = data_of(former)
    assert [m["key"] for m in data["metrics"]] == ["psnr", "ber", "psnr_difference", "ber_difference"]
    shown = {
        (data["channels"][c], data["schemes"][s]["name"], data["places"][p][1], name): rest
        for name in ("psnr", "ber")
        for c, s, p, *rest in data["rows"][name]
    }
    table = list(csv.DictReader(io.StringIO(to_csv(run.rows))))
    assert len(shown) == len(table)
    for row in table:
        values = shown[row["channel"], row["scheme"], float(row["snr_db"]), row["metric"]]
        told = [row[name] for name in ("mean", "ci_low", "ci_high", "num_images", "num_trials")]
        assert values[:5] == pytest.approx([float(v) for v in told], rel=1e-5)
        assert values[6] == int(row["num_failures"])


def test_metrics_stand_in_the_order_of_the_scenario(tmp_path):
    store = changed(
        copied(tmp_path / "run"), lambda header: header["scenario"].update(metrics=["ber", "psnr"])
    )
    text = page(load_runs([store.folder]))
    assert [m["key"] for m in data_of(text)["metrics"]][:2] == ["ber", "psnr"]
    assert "bit error rate, lower is better; in brackets 95% intervals." in Elements(text).top


def test_curves_say_what_was_lost_and_where_nothing_was_seen(former):
    data = data_of(former)

    def curve(metric: str, scheme: str, channel: str = "awgn") -> dict:
        [found] = [
            c
            for c in data["curves"][metric]["snr_db"]
            if data["schemes"][c["s"]]["name"] == scheme
            and data["channels"][c["c"]] == channel
            and c["kind"] != "theory"
        ]
        return found

    assert curve("psnr", "jpeg")["lost"] == [1, 0], "nothing arrives at 2 dB"
    assert "lost" not in curve("psnr", "linear")
    assert curve("ber", "jpeg")["limits"] == [0, 2], "no error in 2 transmissions: nothing below the curves"
    assert any(c["kind"] == "theory" for c in data["curves"]["ber"]["snr_db"])
    assert data["schemes"][3] == {"name": "bound", "run": 0, "own": "bound", "kind": "bound"}


def test_pictures_are_those_of_the_run_without_loss(former):
    kept, data = data_of(former, "kept"), data_of(former)
    assert {uri.split(",")[0] for uri in kept["files"]} == {"data:image/webp;base64"}
    names = {(data["channels"][c], data["schemes"][s]["name"]): file for c, s, _, _, file, _ in kept["shown"]}
    assert len(kept["shown"]) == 8, "two channels, four schemes, one picture at one SNR"
    picture = Image.open(io.BytesIO(base64.b64decode(kept["files"][names["awgn", "jpeg"]].split(",")[1])))
    [file] = (FORMER / "images" / "awgn_jpeg").glob("*.png")
    assert picture.convert("RGB").tobytes() == Image.open(file).convert("RGB").tobytes()
    assert len(set(kept["files"])) == len(kept["files"]), "each once"
    assert [e[:2] for e in kept["originals"]] == [[0, 0]]


def test_a_broken_picture_is_left_out(tmp_path, caplog):
    store = copied(tmp_path / "run")
    [file] = (store.images / "awgn_jpeg").glob("*.png")
    file.write_bytes(b"no picture")
    assert len(data_of(page(load_runs([store.folder])), "kept")["shown"]) == 7
    assert "not in the report" in caplog.text


def test_what_is_missing_stands_at_the_top(tmp_path):
    store = copied(tmp_path / "run")
    changed(
        store,
        lambda header: header["unavailable"].update(lpips_alex="lpips_alex: weights not found"),
        lambda records: [r for r in records if r.key.scheme != "qpsk" and r.key.snr_db == 2][:7],
    )
    top = Elements(page(load_runs([store.folder]))).top
    assert "Incomplete: 7 of 32 units. So far behind:" in top
    assert "Left out: qpsk has no unit yet." in top
    assert "Not measured: lpips_alex: weights not found" in top
    assert "Of jpeg alone, the others do not have it: bit error rate." in top
    changed(store, lambda header: header.update(shard=[2, 4], kinds={"channel own": "own.py"}))
    part = page(load_runs([store.folder]))
    assert "Part 2/4 of the work: linksim merge" in Elements(part).top
    assert "--limit 2 --shard 2/4 --with FILE --out again" in part
    changed(
        store,
        lambda header: header.update(
            shard="2", kinds=[1], scenario={**header["scenario"], "metrics": [1, {}]}
        ),
    )
    assert "Part" not in Elements(page(load_runs([store.folder]))).top, (
        "of what no reader relies on nothing is said"
    )
    whole = Elements(page(load_runs([FORMER]))).top
    assert "Incomplete" not in whole
    assert "Left out" not in whole


def test_the_answer_says_what_intervals_bear_and_no_more(tmp_path):
    """One scheme crosses another and a third is the first with noise that means nothing."""
    base, twist = [20.0, 22.0, 25.0, 27.0, 30.0, 31.0], [0.3, -0.3, 0.2, -0.2, 0.1, -0.1]
    values = {}
    for snr, gain in ((-1.0, 3.0), (0.0, 3.0), (5.0, 0.0), (10.0, -3.0), (11.0, -3.0)):
        values["a", snr] = [v + snr for v in base]
        values["b", snr] = [v + snr - gain + 0.1 * t for v, t in zip(base, twist, strict=True)]
        values["c", snr] = [v + snr + t for v, t in zip(base, twist, strict=True)]
    store = made_up(tmp_path / "run", values, lost=[("b", 10.0)])
    [run] = load_runs([store.folder])
    told = {a.scheme: a.text for a in answers(run).schemes}
    crossing = (
        "better at -1 to 0 dB, worse at 10 to 11 dB, undecided at 5 dB (they cross between 0 and 10 dB)"
    )
    assert f"against b {crossing}" in told["a"]
    assert "not told apart from c at any point" in told["a"]
    assert "worse at -1 to 0 dB" in told["b"]
    assert ", up to 100% of the pictures lost" in told["b"]
    once = {place: v for place, v in values.items() if place[1] not in (-1.0, 11.0)}
    [three] = load_runs([made_up(tmp_path / "three", once).folder])
    assert "cross" not in answers(three).schemes[0].text, "one point on either side may be chance"
    one = {**{("a", 5.0): base}, ("b", 5.0): [v - 1 - 0.1 * t for v, t in zip(base, twist, strict=True)]}
    [alone] = load_runs([made_up(tmp_path / "one", one).folder])
    assert [a.text.split(", ", 1)[1] for a in answers(alone).schemes] == ["better than b.", "worse than a."]
    single = {("a", 5.0): [20.0], ("b", 5.0): [30.0]}
    [bare] = load_runs([made_up(tmp_path / "bare", single).folder])
    assert answers(bare).schemes[0].text == "20.00 dB, not told apart from b.", "one value has no interval"


def test_the_answer_compares_with_what_the_scenario_asks_for():
    """The former run is held against awgn, a channel."""
    [run] = load_runs([FORMER])
    by_channel = {a.scheme: dict(p.split(": ", 1) for p in a.parts) for a in answers(run).schemes}
    assert "not told apart from linear and awgn at any point" in by_channel["qpsk"]["on ofdm-tdla-ls"]
    assert all("awgn" not in parts["on awgn"] for parts in by_channel.values()), "not with itself"


def test_the_scenario_and_the_commands_are_there_to_make_it_again(former, tmp_path):
    [run] = load_runs([FORMER])
    assert yaml.safe_load(resolved_scenario(run)) == run.header["scenario"]
    path = tmp_path / "former.yaml"
    path.write_text(resolved_scenario(run))
    assert load_scenario(str(path)).name == "former"
    assert "linksim simulate former.yaml --limit 2 --out again" in former
    assert "linksim plot run --metric psnr --out psnr.pdf" in commands(run)
    for digest in ("601d45c97a6c73fa", *(facts[-1] for facts in run.header["images"].values())):
        assert digest in former
    assert f"torch</dt><dd>{run.header['versions']['torch']}" in former


def test_a_run_without_pictures_says_so(tmp_path):
    store = made_up(tmp_path / "run", {("a", 5.0): [20.0, 21.0]})
    assert data_of(page(load_runs([store.folder])), "kept")["files"] == []


# ----------------------------------------------------------------------------------------------- safety


def test_names_from_files_are_never_markup(tmp_path):
    store = copied(tmp_path / "run")
    renamed(store, {"jpeg": HOSTILE}, {"a.png": HOSTILE}, f"Why {HOSTILE}?")
    text = page(load_runs([store.folder]))
    elements = Elements(text).found
    assert [tag for tag, _ in elements if tag == "img"] == []
    assert [a.get("type") for tag, a in elements if tag == "script"] == [*["application/json"] * 2, None]
    assert not any(name.startswith("on") for _, attributes in elements for name in attributes)
    assert HOSTILE not in text
    data = data_of(text)
    assert HOSTILE in [s["name"] for s in data["schemes"]], "it is shown as it is"
    assert HOSTILE in data["images"]
    assert len(data_of(text, "kept")["shown"]) == 8
    assert Elements(text).top.count(HOSTILE) >= 2


def test_the_page_asks_nobody(former):
    elements = Elements(former).found
    addresses = [a[name] for _, a in elements for name in ("src", "href", "action", "srcset") if name in a]
    assert all(address.startswith(("#", "data:")) for address in addresses)
    [style] = re.findall(r"<style>(.*?)</style>", former, re.DOTALL)
    assert "url(" not in style
    assert "@import" not in style
    [script] = re.findall(r"<script>(.*?)</script>", former, re.DOTALL)
    assert not re.search(r"\b(fetch|XMLHttpRequest|WebSocket|EventSource|innerHTML|eval)\b", script)
    [policy] = [a["content"] for tag, a in elements if tag == "meta" and "http-equiv" in a]
    assert policy.startswith("default-src 'none'; img-src data: blob:;")
    for text in (style, script):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy, "a browser runs and applies nothing else"


# ----------------------------------------------------------------------------------- size and sameness


def test_the_same_run_gives_the_same_file(tmp_path, former):
    assert page(load_runs([FORMER])) == former
    store = made_up(tmp_path / "run", {("a", s): [20.0 + s, 21.0, 24.0] for s in (0.0, 5.0)})
    assert main(["report", str(store.folder)]) == 0
    assert (store.folder / "report.html").read_text() == page(load_runs([store.folder]))


def test_a_page_of_very_many_units_is_small_and_says_what_it_leaves_out(tmp_path):
    store = made_up(tmp_path / "run", {("a", 0.0): [20.0] * 60, ("b", 0.0): [21.0] * 60})
    changed(
        store,
        records=lambda units: [replace(u, key=replace(u.key, trial=t)) for t in range(8) for u in units],
    )
    runs = load_runs([store.folder])
    names = Names.of(runs)
    whole = page_units(runs, names, 1_000_000)
    assert len(whole["scheme"]) == 960
    assert whole["left_out"] == ""
    size = len(json.dumps(whole, separators=(",", ":")))
    fewer = page_units(runs, names, size // 3)
    assert len(json.dumps(fewer, separators=(",", ":"))) <= size // 3
    assert set(fewer["trial"]) == {0, 1}
    assert fewer["left_out"].startswith("Trials 0 to 1 only are listed here, 240 of 960 units")
    least = page_units(runs, names, size // 20)
    assert "The first 15 pictures in one trial only" in least["left_out"]
    assert len(page_units(runs, names, 0)["scheme"]) == 0


def test_a_page_without_its_pictures_has_at_most_three_megabytes(former):
    without = re.sub(r'id="kept">.*?</script>', "", former, flags=re.DOTALL)
    assert len(without.encode()) < 250_000, "scripts and style of a page with next to nothing in it"
    assert LARGEST == 3_000_000


# ------------------------------------------------------------------------------------------ several runs


def test_several_runs_in_one_page_are_told_apart_by_their_paths(tmp_path, capsys):
    first, second = (copied(tmp_path / side / "same").folder for side in ("one", "two"))
    assert main(["report", str(first), str(second)]) == 0
    assert capsys.readouterr().out.strip() == str(first / "comparison.html")
    text = (first / "comparison.html").read_text()
    assert not (first / "report.html").exists(), "that of the run alone is another"
    data, top = data_of(text), Elements(text).top
    names = [s["name"] for s in data["schemes"]]
    assert {"one/same jpeg", "two/same jpeg"} <= set(names)
    assert len(data["rows"]["psnr"]) == 2 * 16
    assert top.count("Can runs of a former version be drawn?") == 1, "the question of both"
    assert "one/same former, 2 pictures" in " ".join(top.split())
    assert len(data_of(text, "kept")["shown"]) == 16
    out = tmp_path / "new" / "both.html"
    assert main(["report", str(first), str(second), str(first), "--out", str(out)]) == 0
    assert data_of(out.read_text())["schemes"] == data["schemes"], "each once"


def test_runs_that_sweep_other_things_share_the_axis_that_both_have(tmp_path):
    path = "channel.told.receiver.offset_db"

    def swept(header):
        header["scenario"]["sweep"]["fields"] = {path: [0.0, 1.5]}

    def twice(records):
        return [replace(r, key=replace(r.key, point=((path, v),))) for v in (0.0, 1.5) for r in records]

    store = changed(copied(tmp_path / "swept"), swept, twice)
    alone = data_of(page(load_runs([store.folder])))
    assert [a["x"] for a in alone["axes"]] == ["snr_db", path]
    assert alone["axes"][0]["variants"] == ["offset_db 0", "offset_db 1.5"]
    assert alone["axes"][1]["stops"] == ["offset_db 0", "offset_db 1.5"]
    both = data_of(page(load_runs([store.folder, FORMER])))
    assert [a["x"] for a in both["axes"]] == ["snr_db"]


# ---------------------------------------------------------------------------------------------- messages


def test_a_folder_in_the_place_of_the_page_is_said_and_left(tmp_path, capsys):
    store = copied(tmp_path / "run")
    (tmp_path / "page.html").mkdir()
    assert main(["report", str(store.folder), str(FORMER), "--out", str(tmp_path / "page.html")]) == 2
    assert "page.html: cannot be written, got Is a directory" in capsys.readouterr().err
    assert main(["report", str(store.folder), str(tmp_path / "none")]) == 2
    assert "no run.json" in capsys.readouterr().err

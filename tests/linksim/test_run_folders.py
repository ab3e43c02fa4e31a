"""Run folders that are damaged, foreign, deleted in part, on odd file systems, or full of odd names."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from linksim.build.checkpoints import save_checkpoint
from linksim.cli.commands import main
from linksim.files.writing import remove_leftovers, whole_folder, write_whole
from linksim.report.figures import plain, plain_lines
from linksim.results.store import ResultStore, file_name
from linksim.scenario.schema import LeanCodecSpec
from linksim.source.stream_cache import StreamCache
from tests.linksim.tiny import write

TEXT = """
name: folders
seed: 7
images: {kind: skimage, names: [astronaut, coffee], crop: 64}
bandwidth: {data_ratio: 1/12}
channel: {kind: awgn}
sweep: {snr_db: [2, 14]}
schemes: [{kind: uncoded, name: qpsk, bits_per_symbol: 2}]
metrics: [psnr, ber]
panel: {images: 1}
"""


def simulate(folder: Path, text: str = TEXT, *options: str) -> int:
    return main(["simulate", write(folder, text), "--out", str(folder / "run"), *options])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    assert simulate(folder) == 0
    return folder / "run"


@pytest.fixture
def run(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


# ------------------------------------------------------------------------------------------ strangers


def test_records_without_their_header_are_not_adopted(run, capsys):
    (run / "run.json").unlink()
    for path in run.iterdir():  # so that nothing but the records is there
        if path.name != "records.jsonl":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = (run / "records.jsonl").read_bytes()
    assert simulate(run.parent, TEXT.replace("seed: 7", "seed: 99")) == 2
    assert (
        "records of no run, got records.jsonl alone, expected run.json beside it" in capsys.readouterr().err
    )
    assert [(p.name, p.read_bytes()) for p in run.iterdir()] == [("records.jsonl", before)]


def test_records_of_another_seed_are_refused(run, capsys):
    path = run / "records.jsonl"
    lines = path.read_text().splitlines()
    record = json.loads(lines[1])
    record["seed"] += 1
    path.write_text("\n".join([lines[0], json.dumps(record), *lines[2:]]) + "\n")
    assert simulate(run.parent) == 2
    assert f"record of another seed, got {record['seed']} of" in capsys.readouterr().err


def test_a_first_start_that_was_killed_is_gone_on_with(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "records.jsonl").write_bytes(b"")
    (tmp_path / "run" / ".run.json.12.ab.partial").write_bytes(b"{")
    assert simulate(tmp_path, TEXT, "--no-report") == 0


# -------------------------------------------------------------------------------------------- deletions


def test_deleted_pictures_are_made_again(run, finished):
    shutil.rmtree(run / "images")
    assert simulate(run.parent) == 0
    names = sorted(p.relative_to(finished) for p in (finished / "images").rglob("*.png"))
    assert len(names) == 3
    for name in names:
        assert (run / name).read_bytes() == (finished / name).read_bytes()
    assert (run / "records.jsonl").read_bytes() == (finished / "records.jsonl").read_bytes()


# ------------------------------------------------------------------------------------------------- locks


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_not_in_use(number, run, monkeypatch, caplog):
    def refuse(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert simulate(run.parent, TEXT, "--no-report") == 0
    assert f"has no locks ({os.strerror(number)}): let no other process write here" in caplog.text


# ----------------------------------------------------------------------------------------- names, figures


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("costs $5$", r"costs \$5\$"),
        (r"$\frac{", r"\$\frac{"),
        ("_hidden", " _hidden"),
        ("a\x1bb", "a\N{REPLACEMENT CHARACTER}b"),
    ],
)
def test_texts_are_drawn_as_they_are(text, drawn):
    assert plain(text) == drawn
    assert plain_lines(f"{text} " * 2, 60).startswith(drawn)


def test_dollars_in_folders_and_swept_texts_are_no_formulas(tmp_path, capsys):
    """Recordings, pictures and run folders with names that are formulas that cannot be parsed."""
    recording = tmp_path / r"a$\frac{.npz"
    gains = np.ones((4, 2), np.complex64)
    np.savez(recording, gains=gains, delays_s=np.array([0, 1e-7]))
    shutil.copy(recording, tmp_path / "_b$.npz")
    (tmp_path / r"pictures $\alpha{").mkdir()
    Image.new("RGB", (64, 64), (9, 99, 199)).save(tmp_path / r"pictures $\alpha{" / r"$x_{.png")
    text = """
name: dollars
images: {kind: folder, path: 'pictures $\\alpha{'}
bandwidth: {data_ratio: 1/12}
channel: {kind: ofdm, num_subcarriers: 32, model: {kind: recorded, path: '_b$.npz'}}
sweep: {snr_db: [10], channel.model.path: ['a$\\frac{.npz', '_b$.npz']}
schemes: [{kind: uncoded, name: qpsk, bits_per_symbol: 2}]
metrics: [psnr, ber]
"""
    one, two = tmp_path / r"$\frac{1" / "same", tmp_path / r"$\frac{2" / "same"
    for out in (one, two):
        assert main(["simulate", write(tmp_path, text), "--out", str(out)]) == 0
    assert main(["plot", str(one), str(two), "--metric", "ber", "--out", str(tmp_path / "f.svg")]) == 0
    drawn = (tmp_path / "f.svg").read_text(encoding="utf-8")
    assert r"$\frac{1/same qpsk" in drawn
    assert r"$\frac{2/same qpsk" in drawn
    assert main(["plot", str(one), "--ledger"]) == 0
    assert '"a$' not in capsys.readouterr().out


def test_figures_do_not_depend_on_a_matplotlibrc(run, tmp_path, monkeypatch):
    import matplotlib as mpl

    from linksim.report.figures import plot_metric, save_figure
    from linksim.report.runs import load_rows

    rows, info = load_rows(ResultStore(run)), ResultStore(run).metrics()["psnr"]
    save_figure(plot_metric(rows, info), tmp_path / "a.png")
    with mpl.rc_context({"font.size": 30, "text.usetex": True, "figure.dpi": 20}):
        save_figure(plot_metric(rows, info), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_same_figure_is_the_same_file(kind, run, tmp_path):
    """No dates and no random names within: a report that is made again changes no file."""
    for name in ("a", "b"):
        assert main(["plot", str(run), "--metric", "psnr", "--out", str(tmp_path / f"{name}.{kind}")]) == 0
    assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


def test_long_names_become_file_names(tmp_path):
    (tmp_path / "p").mkdir()
    long = "x" * 250 + ".png"
    Image.new("RGB", (64, 64)).save(tmp_path / "p" / long)
    text = TEXT.replace("{kind: skimage, names: [astronaut, coffee], crop: 64}", "{kind: folder, path: p}")
    assert simulate(tmp_path, text) == 0
    assert len(list((tmp_path / "run" / "images").rglob("*.png"))) == 3
    assert file_name("y" * 400) != file_name("y" * 401)
    assert len(file_name("y" * 400)) < 140
    assert file_name("..") != ".."


# ---------------------------------------------------------------------------------------------- writing


def test_files_have_the_rights_of_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        spec = LeanCodecSpec(kind="lean", latent_channels=2, width_8=8, width_16=8)
        save_checkpoint(tmp_path / "a.safetensors", spec, {"a": torch.zeros(2)}, {}, torch.float32)
        write_whole(tmp_path / "b.json", "{}")
        with whole_folder(tmp_path / "c") as folder:
            (folder / "d").touch(mode=0o600)
    finally:
        os.umask(old)
    for name in ("a.safetensors", "b.json", "c/d"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o640, name


def test_a_write_that_fails_leaves_the_former_file(tmp_path):
    path = tmp_path / "a"
    write_whole(path, "before")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "\ud800")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "f"):
        raise RuntimeError
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("name", [".key.7.abcd.partial", "key.7.abcd.partial"])
def test_caches_remove_what_killed_writers_left(tmp_path, name):
    """An hour later, at the first entry that is written beside it."""
    streams = StreamCache(tmp_path)
    key = streams.key("a")
    left = streams.path(key).with_name(name)
    left.parent.mkdir(parents=True)
    young = left.with_name(".young.7.abcd.partial")
    for path in (left, young):
        path.write_bytes(b"half")
    os.utime(left, (1, 1))
    streams.put(key, b"whole")
    assert sorted(path.name for path in left.parent.iterdir()) == sorted([young.name, key])
    assert streams.get(key) == b"whole"


def test_leftovers_of_killed_processes_are_removed_when_they_are_old(tmp_path):
    for name in (".a.1.x.partial", ".b.2.y.partial"):
        (tmp_path / name).write_text("half")
    (tmp_path / ".c.3.z.partial").mkdir()
    (tmp_path / ".c.3.z.partial" / "part").write_text("half")
    for path in (
        tmp_path / ".a.1.x.partial",
        tmp_path / ".c.3.z.partial" / "part",
        tmp_path / ".c.3.z.partial",
    ):
        os.utime(path, (1, 1))
    (tmp_path / "kept.partial").write_text("of the user")
    os.utime(tmp_path / "kept.partial", (1, 1))
    remove_leftovers(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".b.2.y.partial", "kept.partial"]


# ------------------------------------------------------------------------------------------- broken files

BAD_HEADERS = {
    "name": 3, "images": [], "metrics": {"psnr": {}}, "versions": None, "machine": 1, "commit": 7, "num_units": "8",
    "unavailable": {"lpips": 1}, "files": {"a": None}, "scenario.statistics.confidence": 95,
    "scenario.statistics.resamples": 10**9, "scenario.panel.images": "all", "scenario.sweep.snr_db": [1e999],
    "scenario.sweep.fields": {"../a": [1]}, "scenario.schemes": [{"name": "qpsk"}], "scenario.channels": [],
}  # fmt: skip


@pytest.mark.parametrize("field", BAD_HEADERS)
def test_headers_with_wrong_fields_are_refused_by_every_reader(field, run, capsys):
    header = json.loads((run / "run.json").read_text())
    node = header
    *path, last = field.split(".")
    for part in path:
        node = node[part]
    node[last] = BAD_HEADERS[field]
    (run / "run.json").write_text(json.dumps(header))
    for command in (
        ["report", str(run)],
        ["plot", str(run), "--metric", "psnr"],
        ["plot", str(run), "--ledger"],
    ):
        assert main(command) == 2
        assert "run.json: broken, got " in capsys.readouterr().err


BAD_RECORDS = [
    ("seed", "7"), ("state", None), ("values", {"psnr": "high"}), ("values", {"../../../psnr": 1.0}),
    ("counts", {"ber": [1, 0]}), ("data_uses", -1), ("source_values", -1), ("seconds", "long"), ("info", []),
    ("key.snr_db", None), ("key.trial", -1), ("key.image", "other"), ("key.scheme", "other"),
    ("key.point", [["a", 1]]), ("extra", 1), ("transmissions", 0),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), BAD_RECORDS)
def test_records_with_wrong_fields_are_refused_by_every_reader(field, value, run, capsys):
    lines = (run / "records.jsonl").read_text().splitlines()
    record = json.loads(lines[2])
    node = record
    *path, last = field.split(".")
    for part in path:
        node = node[part]
    node[last] = value
    (run / "records.jsonl").write_text("\n".join([*lines[:2], json.dumps(record), *lines[3:]]) + "\n")
    for command in (
        ["report", str(run)],
        ["plot", str(run), "--metric", "psnr"],
        ["plot", str(run), "--ledger"],
    ):
        assert main(command) == 2
        assert "records.jsonl line 3: broken record, got " in capsys.readouterr().err


def test_fields_that_a_header_may_lack_are_missed_by_no_reader(run):
    """Those with a default in linksim.results.format, as in runs of older versions, all at once."""
    header = json.loads((run / "run.json").read_text())
    scenario = header["scenario"]
    lacking = [(header, "trained_on"), (scenario, "question"), (scenario["statistics"], "against"), (scenario["panel"], "snr_db")]  # fmt: skip
    lacking += [(channel, "name") for channel in scenario["channels"]]
    for facts in header["metrics"].values():
        lacking += [(facts, name) for name in ("min_side", "label", "losses", "features", "distance")]
    for block, name in lacking:
        block.pop(name, None)
    (run / "run.json").write_text(json.dumps(header))
    for command in (
        ["report", str(run)],
        ["plot", str(run), "--metric", "psnr"],
        ["plot", str(run), "--ledger"],
    ):
        assert main(command) == 0, command


def test_records_without_any_channel_use_are_drawn(run):
    """A ratio of 0 has no inverse."""
    path = run / "records.jsonl"
    uses = {"data_uses": 0, "pilot_uses": 0, "guard_uses": 0, "side_info_bits": 0}
    lines = [json.dumps({**json.loads(line), **uses}) for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines) + "\n")
    for command in (
        ["report", str(run)],
        ["plot", str(run), "--metric", "psnr"],
        ["plot", str(run), "--metric", "psnr", "--x", "cbr_total"],
        ["plot", str(run), "--ledger"],
    ):
        assert main(command) in (0, 2), command


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{" * 5000, "nul", "[]", '{"format": "linksim-run-0"}', "\xff"]
)
def test_what_is_no_header_at_all(text, run, capsys):
    (run / "run.json").write_bytes(text.encode("latin-1"))
    assert main(["report", str(run)]) == 2
    assert "run.json: broken" in capsys.readouterr().err

"""Bad input: one clear message, exit code 2, no traceback, nothing written."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from linksim.build.checkpoints import read_checkpoint, save_checkpoint
from linksim.cli.commands import main
from linksim.jscc.lean import LeanCodec, LeanConfig
from linksim.scenario.schema import LeanCodecSpec
from linksim.weights import zoo
from tests.linksim.tiny import TINY, write


def refuse(capsys, *argv: str, expect: tuple[str, ...]) -> str:
    """Run a command that must be refused; every text of ``expect`` is in its message."""
    assert main(list(argv)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    for text in expect:
        assert text in captured.err, captured.err
    return captured.err


def simulate(capsys, folder: Path, text: str, *expect: str) -> str:
    out = folder / "run"
    message = refuse(capsys, "simulate", write(folder, text), "--out", str(out), expect=expect)
    assert not out.exists(), "something was written"
    return message


@pytest.mark.parametrize(
    ("old", "new", "expect"),
    [
        ("seed: 7", "sead: 7", ("tiny.yaml: sead: unknown key, got 'sead'", "Did you mean seed?")),
        ("trials: 2", "trails: 2", ("sweep.trails: unknown key", "Did you mean trials?")),
        ("kind: awgn", "kind: awng", ("channels.0", "kind: unknown, got 'awng'", "Did you mean awgn?")),
        ("snr_db: [2, 14]", "snr_db: [2, 400]", ("sweep.snr_db.1: got 400 dB, expected -60 <= value <= 100 dB",)),
        ("snr_db: [2, 14]", "snr_db: [2, '14']", ("not a number, got the text '14'", "without quotes")),
        ("snr_db: [2, 14]", "snr_db: [2, 2]", ("sweep.snr_db: got [2.0, 2.0], expected one or more different",)),
        ("snr_db: [2, 14]", "snr_db: []", ("sweep.snr_db", "expected at least one item")),
        ("data_ratio: 1/12", "data_ratio: 0.083", ("bandwidth.data_ratio: got 0.083", "exact fraction")),
        ("data_ratio: 1/12", "data_ratio: 1/7", ("bandwidth.data_ratio", "a whole number of channel uses")),
        ("name: qpsk", "name: bpg", ("schemes: got the name 'bpg' twice",)),
        ("mcs: 6", "mcs: 29", ("mcs: not allowed, got 29, expected a value <= 28 or adaptive",)),
        ("mcs: 6", "mcs: adaptive", ("schemes.bpg.mcs: adaptive, but the link-adaptation table has no", "linksim calibrate")),
        ("mcs: 6", "mcs: 6, source: bgp", ("source.codec: unknown choice, got 'bgp'", "Did you mean bpg?")),
        ("mcs: 6", "mcs: 6, source: {codec: bpg, chroma: 420}",
         ("source.chroma: not a text, got the number 420, expected 420 or 444", 'Write it in quotes: "420"')),
        ("snr_db: [2, 14]", "snr_db: 2", ("sweep.snr_db: not a list, got 2, expected a list. Write [2]",)),
        ("seed: 7", "seed: 7\ntrain: 3", ("train: not a block, got 3",)),
        ("seed: 7", "seed: " + "7" * 5001, ("not valid YAML",)),
        ("seed: 7", "panel: {snr_db: [3]}", ("panel.snr_db: got 3 dB, expected some of sweep.snr_db: 2, 14 dB",)),
        ("crop: 64", "crop: 8", ("too small after the crop", "0 x 0 pixels", "sides of at least 32")),
        ("crop: 64", "multiple_of: 10000", ("too small after the crop", "0 x 0 pixels")),
        ("bits_per_symbol: 2", "bits_per_symbol: 3", ("bits_per_symbol: unknown choice, got 3",)),
        ("trials: 2", "trials: no", ("sweep.trials: not a number, got the text 'no'",)),
        ("trials: 2", "trials: 1.5", ("sweep.trials", "expected a whole number")),
        ("crop: 64", "crop: 5000", ("smaller than the crop", "512 x 512", "at least 5000 x 5000")),
        ("names: [astronaut, coffee]", "names: [astronot]", ("unknown photograph", "astronaut")),
        ("metrics: [psnr, ssim", "metrics: [psnr, sim", ("metrics.1: unknown choice, got 'sim'", "Did you mean ssim?")),
        ("metrics: [psnr, ssim", "metrics: [psnr, ms_ssim", ("too small for a metric", "at least 161 for ms_ssim")),
        ("pilots_per_block: 2", "pilots_per_block: 0", ("pilots_per_block: got 0 with lmmse, expected at least 1",)),
        ("kind: linear_analog, name: linear", "kind: jscc, name: j, checkpoint: nix.safetensors",
         ("checkpoint: no such file", "nix.safetensors", "linksim list models")),
        ("name: tiny", "name: [1", ("not valid YAML",)),
        ("name: tiny", "name: tiny\nname: twice", ("name: given twice",)),
        ("sweep: {snr_db: [2, 14]", "sweep: {channel.model.sped_mps: [1], snr_db: [2, 14]", ("sped_mps",)),
    ],
)  # fmt: skip
def test_scenario_problem_is_named(old, new, expect, tmp_path, capsys):
    assert old in TINY
    simulate(capsys, tmp_path, TINY.replace(old, new, 1), *expect)


def test_every_problem_is_listed_at_once(tmp_path, capsys):
    text = (
        TINY.replace("seed: 7", "sead: 7")
        .replace("trials: 2", "trails: 2")
        .replace("kind: awgn", "kind: awng")
    )
    message = simulate(capsys, tmp_path, text, "sead", "trails", "awng")
    assert len(message.strip().splitlines()) == 3


@pytest.mark.parametrize(
    ("field", "value", "expect"),
    [
        ("model.delay_spread_s", "100", ("delay_spread_s: got 100 s", "Did you mean 1e-07 (100 ns)?")),
        ("carrier_hz", "3.5", ("carrier_hz: got 3.5 Hz", "Did you mean 3.5e+09 (3.5 GHz)?")),
        ("subcarrier_spacing_hz", "30", ("subcarrier_spacing_hz: got 30 Hz", "Did you mean 30000 (30 kHz)?")),
        ("model.speed_mps", "900", ("speed_mps: got 900 m/s", "Did you mean 250 (900 km/h)?")),
        ("carrier_hz", "3.5 GHz", ("carrier_hz: not a number, got the text '3.5 GHz'",)),
        (
            "csi.pilot_symbols",
            "[2, 14]",
            ("csi.pilot_symbols: got [2, 14], expected different indices from 0 to 13",),
        ),
        ("model.profile", "F", ("model.profile: unknown choice, got 'F'",)),
        ("guard_subcarriers", "[40, 40]", ("guard_subcarriers: nothing left for data, got 80",)),
    ],
)
def test_wrong_unit_is_named_with_the_likely_one(field, value, expect, tmp_path, capsys):
    text = """
name: units
images: {kind: skimage, names: [coffee], crop: 64}
bandwidth: {data_ratio: 1/12}
channel: {kind: ofdm, model: {kind: tdl, profile: A, delay_spread_s: 100e-9}, csi: {kind: ls}}
sweep: {snr_db: [10]}
schemes: [{kind: linear_analog, name: linear}]
"""
    out = tmp_path / "run"
    refuse(
        capsys, "simulate", write(tmp_path, text), "--out", str(out), "--set", f"channel.{field}={value}",
        expect=(f"channel.{field.split('.')[0]}", *expect),
    )  # fmt: skip
    assert not out.exists()


def _folder(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    return folder


def with_folder(folder: Path) -> str:
    return TINY.replace(
        "{kind: skimage, names: [astronaut, coffee], crop: 64}", f"{{kind: folder, path: {folder}}}"
    )


def test_empty_image_folder(tmp_path, capsys):
    folder = _folder(tmp_path)
    (folder / "notes.txt").write_text("no picture")
    simulate(
        capsys,
        tmp_path,
        with_folder(folder),
        "images.path: no picture in the folder",
        str(folder),
        "notes.txt",
    )


def test_missing_image_folder(tmp_path, capsys):
    folder = tmp_path / "nowhere"
    simulate(
        capsys,
        tmp_path,
        with_folder(folder),
        "images.path: no such folder",
        str(folder),
        "--set images.path=",
    )


def test_truncated_png(tmp_path, capsys):
    folder = _folder(tmp_path)
    Image.effect_noise((64, 64), 50).convert("RGB").save(folder / "a.png")
    data = (folder / "a.png").read_bytes()
    (folder / "a.png").write_bytes(data[: len(data) // 2])
    simulate(
        capsys, tmp_path, with_folder(folder), "image a.png: cannot be decoded", "a complete picture file"
    )


@pytest.mark.parametrize(
    ("mode", "shown"), [("L", "8-bit grey"), ("RGBA", "RGB with alpha"), ("I;16", "16-bit grey")]
)
def test_wrong_pixel_format(mode, shown, tmp_path, capsys):
    folder = _folder(tmp_path)
    Image.new(mode, (64, 64)).save(folder / "a.png")
    simulate(
        capsys, tmp_path, with_folder(folder), "image a.png: wrong pixel format", shown, "images.convert: rgb"
    )


def test_grey_and_alpha_are_converted_when_asked(tmp_path, capsys):
    folder = _folder(tmp_path)
    Image.effect_noise((64, 64), 50).save(folder / "grey.png")
    Image.new("RGBA", (64, 64), (10, 200, 30, 99)).save(folder / "alpha.png")
    text = with_folder(folder).replace("path:", "convert: rgb, path:")
    assert main(["simulate", write(tmp_path, text), "--out", str(tmp_path / "run"), "--no-report"]) == 0
    capsys.readouterr()


def test_image_of_thirty_pixels(tmp_path, capsys):
    folder = _folder(tmp_path)
    Image.new("RGB", (30, 30)).save(folder / "a.png")
    simulate(
        capsys, tmp_path, with_folder(folder), "image a.png: too small, got 30 x 30 pixels", "at least 32"
    )


def _checkpoint(tmp_path: Path) -> Path:
    spec = LeanCodecSpec(kind="lean", latent_channels=128, width_8=8, width_16=8)
    torch.manual_seed(0)
    codec = LeanCodec(LeanConfig(128, 8, 8))
    path = tmp_path / "codec.safetensors"
    save_checkpoint(path, spec, codec.state_dict(), {"test": True}, torch.float16)
    return path


def _with_checkpoint(path: Path) -> str:
    return TINY.replace("kind: linear_analog, name: linear", f"kind: jscc, name: j, checkpoint: {path}")


def test_checkpoint_round_trip_runs(tmp_path, capsys):
    text = _with_checkpoint(_checkpoint(tmp_path))
    assert main(["simulate", write(tmp_path, text), "--out", str(tmp_path / "run"), "--no-report"]) == 0
    capsys.readouterr()


def test_checkpoint_with_missing_unknown_and_misshapen_tensors(tmp_path, capsys):
    path = _checkpoint(tmp_path)
    stored = read_checkpoint(path)
    tensors = dict(stored.tensors)
    del tensors["encoder.tail.bias"]
    tensors["decoder.extra"] = torch.zeros(3)
    tensors["decoder.tail.bias"] = torch.zeros(5)
    save_checkpoint(path, stored.codec, tensors, stored.recipe, torch.float16)
    simulate(
        capsys, tmp_path, _with_checkpoint(path), "tensors do not fit", "missing encoder.tail.bias",
        "unknown decoder.extra", "decoder.tail.bias of shape (5,) instead of (192,)",
    )  # fmt: skip


def test_truncated_checkpoint(tmp_path, capsys):
    path = _checkpoint(tmp_path)
    path.write_bytes(path.read_bytes()[:3000])
    simulate(capsys, tmp_path, _with_checkpoint(path), "cannot be read", "a complete safetensors file")


def test_foreign_safetensors(tmp_path, capsys):
    path = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(2)}, str(path))
    simulate(capsys, tmp_path, _with_checkpoint(path), "not a linksim codec", "linksim train")


def test_budget_that_the_network_cannot_fill(tmp_path, capsys):
    text = _with_checkpoint(_checkpoint(tmp_path)).replace("1/12", "1/48")
    simulate(
        capsys,
        tmp_path,
        text,
        "schemes.j with image astronaut",
        "does not fit the network",
        "Set bandwidth.data_ratio: 1/12",
    )


def test_folder_that_is_no_authors_checkpoint(tmp_path, capsys):
    folder = tmp_path / "ckpt"
    folder.mkdir()
    simulate(capsys, tmp_path, _with_checkpoint(folder), "config.yaml", "the authors' config.yaml")


def test_authors_checkpoint_with_code_in_its_pickle_is_not_executed(tmp_path, capsys):
    folder = tmp_path / "ckpt"
    folder.mkdir()
    source = Path(__file__).parent.parent / "data" / "diffjscc_tiny" / "config.yaml"
    (folder / "config.yaml").write_bytes(source.read_bytes())
    mark = tmp_path / "executed"
    torch.save({"state_dict": _Evil(str(mark))}, folder / "model.ckpt")
    simulate(capsys, tmp_path, _with_checkpoint(folder), "model.ckpt: holds no tensors")
    assert not mark.exists()


class _Evil:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_run_folder_of_another_scenario_is_refused_and_kept(tmp_path, capsys):
    out = tmp_path / "run"
    one = write(tmp_path, TINY.replace("[2, 14]", "[14]"))
    assert main(["simulate", one, "--out", str(out), "--no-report"]) == 0
    capsys.readouterr()
    before = {p: p.read_bytes() for p in out.iterdir() if p.is_file()}
    other = write(tmp_path, TINY.replace("seed: 7", "seed: 8"), "other.yaml")
    refuse(
        capsys,
        "simulate",
        other,
        "--out",
        str(out),
        expect=("seed: made with another value, got 7, expected 8", "Use another --out"),
    )
    assert before == {p: p.read_bytes() for p in out.iterdir() if p.is_file()}


def test_folder_with_other_files_is_refused(tmp_path, capsys):
    out = tmp_path / "run"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    refuse(
        capsys,
        "simulate",
        write(tmp_path),
        "--out",
        str(out),
        expect=("not a run folder", "nothing was written"),
    )
    assert [p.name for p in out.iterdir()] == ["thesis.tex"]


def test_broken_run_folders(tmp_path, capsys):
    out = tmp_path / "run"
    refuse(capsys, "report", str(out), expect=("run folder: no run.json", "linksim simulate"))
    out.mkdir()
    (out / "run.json").write_text("{")
    refuse(capsys, "plot", str(out), "--metric", "psnr", expect=("run.json: broken",))
    scenario = write(tmp_path, TINY.replace("[2, 14]", "[14]"))
    (out / "run.json").unlink()
    assert main(["simulate", scenario, "--out", str(out), "--no-report"]) == 0
    capsys.readouterr()
    refuse(capsys, "plot", str(out), "--metric", "fid", expect=("got no such metric", "psnr"))
    refuse(capsys, "plot", str(out), "--metric", "psnr", "--x", "speed", expect=("was not swept", "snr_db"))
    refuse(
        capsys,
        "plot",
        str(out),
        "--metric",
        "psnr",
        "--out",
        "a.gif",
        expect=("expected .png, .svg or .pdf",),
    )
    lines = (out / "records.jsonl").read_text().splitlines()
    (out / "records.jsonl").write_text("\n".join([lines[0], "{broken}", *lines[1:], ""]))
    refuse(capsys, "report", str(out), expect=("records.jsonl line 2: broken record", "Remove the line"))


def test_unknown_commands_options_and_files(tmp_path, capsys):
    refuse(capsys, "simulat", "x.yaml", expect=("Did you mean simulate?",))
    refuse(capsys, "list", "chanels", expect=("Did you mean channels?",))
    refuse(capsys, "simulate", "quikstart", expect=("no such file", "Did you mean quickstart?"))
    refuse(capsys, "simulate", "quickstart", "--set", "sweep.trials", expect=("got no '='", "sweep.trials=1"))
    refuse(capsys, "simulate", "quickstart", "--device", "tpu", expect=("--device: got 'tpu'",))
    refuse(capsys, "train", "quickstart", expect=("expected a training", "linksim simulate"))
    refuse(capsys, "simulate", "train/lean-awgn-1-96", expect=("expected an evaluation", "linksim train"))


def test_extends_problems(tmp_path, capsys):
    refuse(
        capsys, "check", write(tmp_path, "extends: nothing.yaml\nname: a"), expect=("extends: no such file",)
    )
    write(tmp_path, "extends: tiny.yaml", "loop.yaml")
    refuse(capsys, "check", write(tmp_path, "extends: loop.yaml"), expect=("extends: a circle", "tiny.yaml"))


def test_broken_calibration_table(tmp_path, capsys):
    table = tmp_path / "table.json"
    text = TINY.replace("mcs: 6", f"mcs: adaptive, calibration: {table}")
    simulate(capsys, tmp_path, text, "calibration: no such file")
    table.write_text(json.dumps({"format": "x"}))
    simulate(capsys, tmp_path, text, "table.json: broken")


def test_metric_without_weights_is_said_once_and_the_run_goes_on(tmp_path, capsys, no_network):
    text = TINY.replace("metrics: [psnr, ssim", "metrics: [psnr, lpips, lpips_squeeze").replace(
        "[2, 14]", "[14]"
    )
    assert main(["simulate", write(tmp_path, text), "--out", str(tmp_path / "run"), "--no-report"]) == 0
    captured = capsys.readouterr()
    assert captured.err.count("not measured: lpips_alex") == 1
    assert "LINKSIM_WEIGHTS" in captured.err
    assert "lpips" not in (tmp_path / "run" / "results.csv").read_text()


def test_bundled_assets_load():
    assert load_file(str(zoo.asset("block-klt-16.safetensors")))["basis"].shape == (128, 768)
    stored = read_checkpoint(zoo.codec_path("lean-awgn-1-96"))
    assert stored.codec.latent_channels == 16
    assert zoo.codec_path("lean-awgn-1-96").stat().st_size < 30e6


def test_metrics_that_measure_nothing(tmp_path, capsys):
    text = TINY[: TINY.index("schemes:")] + "schemes: [{kind: linear_analog, name: linear}]\nmetrics: [ber]\n"
    simulate(capsys, tmp_path, text, "metrics: nothing to measure", "Add psnr")


@pytest.mark.parametrize(
    "arguments",
    [
        ["simulate", "quickstart", "--limit", "0"],
        ["simulate", "quickstart", "--limit", "-1"],
        ["simulate", "quickstart", "--device", "cpu:3"],
        ["calibrate", "quickstart", "--out", "x.json", "--frames", "0"],
        ["calibrate", "quickstart", "--out", "/proc/nothing/x.json"],
        ["simulate", "quickstart", "--set", "=1"],
        ["simulate", "quickstart", "--set", "channels=" + "[" * 3000],
    ],
)
def test_arguments_out_of_range(arguments, capsys):
    refuse(capsys, *arguments, expect=("got",))


def test_output_that_cannot_be_written(tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("x")
    for out in (file, file / "sub", Path("/proc/nothing")):
        refuse(capsys, "simulate", write(tmp_path), "--out", str(out), expect=("Use another --out",))
    assert file.read_text() == "x"


def test_truncated_bitmap(tmp_path, capsys):
    folder = _folder(tmp_path)
    for size in (3, 10):
        (folder / "a.ppm").write_bytes(b"P6\n64 64\n255\n"[:size])
        simulate(capsys, tmp_path, with_folder(folder), "image a.ppm: cannot be decoded")


def test_two_tar_files_of_one_name(tmp_path, capsys):
    paths = []
    for part in ("x", "y"):
        (tmp_path / part).mkdir()
        Image.new("RGB", (64, 64)).save(tmp_path / part / "p.png")
        paths.append(tmp_path / part / "t.tar")
        with tarfile.open(paths[-1], "w") as archive:
            archive.add(tmp_path / part / "p.png", "p.png")
    text = TINY.replace(
        "{kind: skimage, names: [astronaut, coffee], crop: 64}",
        f"{{kind: tar, paths: [{paths[0]}, {paths[1]}]}}",
    )
    simulate(capsys, tmp_path, text, "images.paths: one name twice", "t/p.png")


def test_weights_that_are_not_finite(tmp_path, capsys):
    path = _checkpoint(tmp_path)
    stored = read_checkpoint(path)
    name = next(iter(stored.tensors))
    stored.tensors[name].view(-1)[0] = float("nan")
    save_checkpoint(path, stored.codec, stored.tensors, {}, torch.float32)
    simulate(capsys, tmp_path, _with_checkpoint(path), f"{name} with values that are not finite")


@pytest.mark.parametrize("text", ["[]", "null", "{}", '{"format": "linksim-run-1"}', "\ufffe"])
def test_header_that_is_no_header(text, tmp_path, capsys):
    out = tmp_path / "run"
    out.mkdir()
    (out / "run.json").write_text(text)
    refuse(capsys, "report", str(out), expect=("run.json: broken",))
    refuse(capsys, "simulate", write(tmp_path), "--out", str(out), expect=("run.json: broken",))


@pytest.mark.parametrize("change", ["null", "[]", "3", "\\xff", "trial", "value", "scheme"])
def test_records_that_are_no_records(change, tmp_path, capsys):
    out, scenario = tmp_path / "run", write(tmp_path, TINY.replace("[2, 14]", "[14]"))
    assert main(["simulate", scenario, "--out", str(out), "--no-report"]) == 0
    capsys.readouterr()
    lines = (out / "records.jsonl").read_bytes().splitlines(keepends=True)
    record = json.loads(lines[1])
    if change == "trial":
        record["key"]["trial"] = "1"
    elif change == "value":
        record["values"]["psnr"] = "good"
    elif change == "scheme":
        record["key"]["scheme"] = "ghost"
    bad = (
        b"\xff" if change == "\\xff" else change.encode() if len(change) < 5 else json.dumps(record).encode()
    )
    (out / "records.jsonl").write_bytes(b"".join([lines[0], bad, b"\n", *lines[2:]]))
    before = (out / "records.jsonl").read_bytes()
    refuse(capsys, "simulate", scenario, "--out", str(out), expect=("records.jsonl", "Remove"))
    assert (out / "records.jsonl").read_bytes() == before


def test_report_that_cannot_be_written(tmp_path, capsys):
    out, scenario = tmp_path / "run", write(tmp_path, TINY.replace("[2, 14]", "[14]"))
    assert main(["simulate", scenario, "--out", str(out), "--no-report"]) == 0
    capsys.readouterr()
    (out / "report.html").mkdir()
    refuse(capsys, "report", str(out), expect=("report.html: cannot be read or written",))


def test_broken_panel_picture_is_left_out(tmp_path, capsys, caplog):
    out, scenario = tmp_path / "run", write(tmp_path, TINY.replace("[2, 14]", "[14]"))
    assert main(["simulate", scenario, "--out", str(out), "--no-report"]) == 0
    for path in (out / "images").rglob("astronaut*.png"):
        path.write_bytes(b"no picture")
    capsys.readouterr()
    assert main(["report", str(out)]) == 0
    assert "no panel of astronaut" in caplog.text
    assert not list((out / "figures").glob("panel_astronaut*"))
    assert list((out / "figures").glob("panel_coffee*"))
    capsys.readouterr()

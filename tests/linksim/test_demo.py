"""What the demo shows is a unit of a run; pictures of visitors are bounded; bad input is a message. No gradio."""

from __future__ import annotations

import re
import socket
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import linksim
from linksim.cli.commands import main
from linksim.demo import pictures, server
from linksim.demo.choices import (
    CHANNELS,
    PICTURES,
    SCHEMES,
    Settings,
    metric_names,
    scenario_of,
    scheme_names,
)
from linksim.demo.pictures import LONGEST_SIDE, bundled_picture, own_picture
from linksim.demo.session import Session, what_happened
from linksim.images.sets import image_digest
from linksim.scenario.files import load_scenario


@pytest.fixture(scope="module")
def session():
    return Session()


@pytest.fixture
def small(tmp_path):
    """A picture that is sent in no time."""
    pixels = bundled_picture("coffee").pixels[:, 96:224, 160:288].permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(tmp_path / "small.png")
    return own_picture(tmp_path / "small.png")


@pytest.mark.parametrize(
    ("channel", "scheme"),
    [
        ("AWGN", "learned"),
        ("block Rayleigh", "BPG + LDPC adaptive"),
        ("OFDM TDL-C LS", "learned"),
        ("block Rayleigh", "BPG at capacity"),
    ],
)
def test_what_is_shown_is_the_unit_of_a_run(channel, scheme, session, small, tmp_path):
    settings = Settings(channel, scheme, "1/48", 7.0, 0.5, seed=3)
    shown = session.send(small, settings)
    run = linksim.simulate(scenario_of(settings, small), out=tmp_path / "run", progress=False)
    (unit,) = run_records(run.folder)
    assert unit.key == shown.record.key
    assert replace(unit, seconds=0.0) == replace(shown.record, seconds=0.0)
    assert unit.shown == image_digest(shown.shown)
    assert torch.equal(shown.original, small.pixels)


def run_records(folder):
    from linksim.results.store import ResultStore

    return ResultStore(folder).records()


def test_the_snr_of_a_known_link_is_its_own(session, small):
    """Links are remembered without their SNR."""
    at = {db: session.send(small, Settings(snr_db=db)).record for db in (0.0, 12.0, 0.0)}
    assert at[12.0].values["psnr"] > at[0.0].values["psnr"] + 1
    again = session.send(small, Settings(snr_db=0.0)).record
    assert again.values == at[0.0].values
    other = session.send(small, Settings(snr_db=0.0, seed=1)).record
    assert other.values != at[0.0].values


def test_a_lost_picture_says_why(session, small):
    settings = Settings("block Rayleigh", "BPG + LDPC adaptive", "1/24", -2.0)
    for seed in range(40):
        arrival = session.send(small, replace(settings, seed=seed))
        if arrival.record.state == "crc_failed":
            assert what_happened(arrival).startswith("lost: CRC failed")
            assert arrival.shown.float().std() == 0
            return
    pytest.fail("no frame was lost at -2 dB")


def test_every_choice_is_a_scenario():
    coffee = bundled_picture("coffee")
    for channel in CHANNELS:
        for scheme in scheme_names():
            for ratio in ("1/384", "1/24"):
                scenario = load_scenario(scenario_of(Settings(channel, scheme, ratio), coffee))
                assert scenario.schemes[0].name == scheme
    assert scheme_names() == list(SCHEMES)
    assert all(min(bundled_picture(name).size) >= 256 for name in PICTURES)


def test_lpips_is_measured_where_its_weights_are(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("LINKSIM_WEIGHTS", raising=False)
    assert not [name for name in metric_names(400) if name.startswith("lpips")]
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "squeezenet1_1-b8a52dc0.pth").write_bytes(b"")
    monkeypatch.setenv("LINKSIM_WEIGHTS", str(tmp_path / "weights"))
    assert "lpips_squeeze" in metric_names(400)
    assert "ms_ssim" in metric_names(161)
    assert "ms_ssim" not in metric_names(160)


# ------------------------------------------------------------------------------------------ pictures


def save(path, height, width, mode="RGB", **options):
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(noise).convert(mode).save(path, **options)
    return path


def test_large_pictures_are_scaled_and_cut(tmp_path):
    found = own_picture(save(tmp_path / "large.jpg", 1000, 1600))
    assert found.size == (LONGEST_SIDE, 480)
    assert found.note == "scaled from 1600 x 1000 to 768 x 480"
    odd = own_picture(save(tmp_path / "odd.webp", 100, 205, "L"))
    assert (odd.size, odd.note) == ((192, 96), "cut to 192 x 96")
    assert own_picture(save(tmp_path / "fits.png", 64, 96, "RGBA")).note == ""


def test_what_is_no_picture_is_refused(tmp_path, monkeypatch):
    def refused(path, message):
        with pytest.raises(linksim.USER_ERRORS, match=message):
            own_picture(path)

    (tmp_path / "text.png").write_text("<svg onload=alert(1)>" * 9)
    refused(tmp_path / "text.png", "no picture, got another file, expected a picture")
    refused(tmp_path / "gone.png", "cannot be read")
    refused(save(tmp_path / "tiny.png", 20, 20), "too small")
    whole = save(tmp_path / "whole.png", 64, 64).read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "half.png", "cannot be decoded")
    save(tmp_path / "wide.png", 64, 640)
    monkeypatch.setattr(pictures, "MAX_PIXELS", 10_000)
    refused(tmp_path / "wide.png", "too large, got 640 x 64 pixels")
    monkeypatch.setattr(pictures, "MAX_BYTES", 1000)
    refused(tmp_path / "wide.png", "too large, got 0 MB")


# ----------------------------------------------------------------------------------------- the command


def test_bad_arguments_are_refused(capsys, monkeypatch):
    for words, said in (
        (["--port", "0"], "argument --port: got '0', expected a port from 1 to 65535"),
        (["--port", "x"], "argument --port: got 'x'"),
    ):
        assert main(["demo", *words]) == 2
        assert said in capsys.readouterr().err
    monkeypatch.setattr(server, "check_gradio", lambda: None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["demo", "--port", str(port), "--no-browser"]) == 2
    said = capsys.readouterr().err
    assert re.search(
        rf"--port: cannot be listened on, got 127.0.0.1:{port} \(.*\), expected a free port.", said
    )
    assert main(["demo", "--host", "no such host", "--no-browser"]) == 2
    assert "--host: unknown, got no such host" in capsys.readouterr().err


def test_without_gradio_one_message_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["demo", "--no-browser"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "gradio is not installed" in said
    assert "pip install 'linksim-wireless[demo]'" in said

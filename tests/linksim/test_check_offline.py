"""linksim check touches no network, reads headers of large models, and says what a run would download."""

from __future__ import annotations

import re
import socket

import pytest

from benchmarks import check_times
from benchmarks.check_times import NETWORK, SEALED, settings
from benchmarks.make_diffjscc_checkpoint import make
from linksim.build.convert import convert_diffjscc
from linksim.build.objects import build_metrics
from linksim.cli.commands import main
from linksim.diffusion.model import DiffusionModel
from linksim.kinds.schemes.diffusion import DiffJsccSpec
from linksim.scenario.files import load_scenario, scenario_dir
from linksim.scenario.training import TrainSpec
from linksim.scenario.training_diffusion import ControlTrainSpec, DenoiserTrainSpec
from linksim.weights.needs import needs
from linksim.weights.zoo import BACKBONES
from tests.linksim.tiny import write

TEXT = """
name: offline
images: {kind: skimage, names: [astronaut], crop: 64}
bandwidth: {data_ratio: 1/384}
channel: {kind: awgn}
sweep: {snr_db: [5]}
schemes: [{kind: diffjscc, name: DiffJSCC, checkpoint: MODEL}]
metrics: [psnr]
"""
HUB = "Mingyuyang/DiffJSCC-OpenImage-CBR-1-384"


@pytest.fixture
def sealed(monkeypatch, tmp_path):
    """No network, and trying it is an error that nothing catches; no weights on this machine."""

    def blocked(*_args, **_kwargs):
        pytest.fail("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", blocked)
    monkeypatch.setattr(socket, "getaddrinfo", blocked)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.delenv("LINKSIM_WEIGHTS", raising=False)


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    convert_diffjscc(str(make(folder / "authors", "tiny")), folder / "converted")
    return folder / "converted"


def test_models_on_a_hub_are_named_with_their_sizes(tmp_path, capsys, sealed):
    text = TEXT.replace("MODEL", f"{HUB}, caption: blip2")
    assert main(["check", write(tmp_path, text)]) == 0
    said = capsys.readouterr()
    assert "offline: valid" in said.out
    where = "is not on this machine, a download of about"
    assert f"schemes.DiffJSCC.checkpoint: {HUB} {where} 10 GB from the Hugging Face hub" in said.err
    assert f"schemes.DiffJSCC.caption: Salesforce/blip2-opt-2.7b {where} 15 GB" in said.err
    assert "its sizes were not checked" in said.err


def test_unknown_repository_has_an_unknown_size(tmp_path, capsys, sealed):
    assert main(["check", write(tmp_path, TEXT.replace("MODEL", "some/body"))]) == 0
    assert "some/body is not on this machine, a download of unknown size" in capsys.readouterr().err


def test_weights_of_metrics_are_named_with_what_is_at_hand(tmp_path, capsys, sealed, monkeypatch):
    text = (
        TEXT.replace("[psnr]", "[psnr, lpips_alex]")
        .replace("{kind: diffjscc, name: DiffJSCC, checkpoint: MODEL}", "{kind: separation, name: s, mcs: 9}")
        .replace("1/384", "1/24")
    )
    assert main(["check", write(tmp_path, text)]) == 0
    said = capsys.readouterr().err
    assert (
        "metrics.lpips_alex: alexnet-owt-7be5be79.pth is not on this machine, a download of about 245 MB"
        in said
    )
    assert "could be measured" not in said
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "squeezenet1_1-b8a52dc0.pth").write_bytes(b"")
    monkeypatch.setenv("LINKSIM_WEIGHTS", str(tmp_path / "weights"))
    assert main(["check", write(tmp_path, text)]) == 0
    assert "lpips_squeeze could be measured without" in capsys.readouterr().err


def test_weights_that_are_missing_are_named_before_the_first_unit(tmp_path, capsys, sealed, monkeypatch):
    def unplugged(*_args, **_kwargs):
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", unplugged)
    monkeypatch.setattr(socket, "getaddrinfo", unplugged)
    text = (
        TEXT.replace("[psnr]", "[psnr, lpips_alex]")
        .replace("{kind: diffjscc, name: DiffJSCC, checkpoint: MODEL}", "{kind: separation, name: s, mcs: 9}")
        .replace("1/384", "1/24")
    )
    assert main(["simulate", write(tmp_path, text), "--out", str(tmp_path / "run"), "--no-report"]) == 0
    said = capsys.readouterr().err
    assert 0 <= said.index("alexnet-owt-7be5be79.pth is not on this machine") < said.index("0 of 1 units")


def test_what_precision_a_diffusion_has_is_left_to_the_device():
    """Of the scenarios that come with linksim none asks for bfloat16, which is emulated on many CPUs."""
    paths = sorted(scenario_dir().rglob("*.yaml"))
    assert len(paths) > 70
    assert [path.name for path in paths if re.search(r"precision: *(b?float16)", path.read_text())] == []
    assert DiffJsccSpec.model_fields["precision"].default == "auto"
    assert ControlTrainSpec.model_fields["precision"].default == "auto"
    assert DenoiserTrainSpec.model_fields["precision"].default == "auto"
    assert TrainSpec.model_fields["precision"].default == "auto"


def test_first_run_has_perceptual_measures_that_need_no_download():
    """LPIPS by its smallest file, and two that every machine has."""
    asked = load_scenario("quickstart").metrics
    weighty = [name for name in asked if needs(name).weights]
    assert weighty == ["lpips_squeeze"]
    assert BACKBONES[needs("lpips_squeeze").backbone].size_gb == min(b.size_gb for b in BACKBONES.values())
    assert {"haarpsi", "niqe"} <= set(asked)
    found = build_metrics(tuple(name for name in asked if name not in weighty))
    assert not found.unavailable


def test_measure_that_a_source_selects_by_is_named(tmp_path, capsys, sealed):
    scheme = "{kind: separation, name: s, mcs: 9, source: {codec: bpg, select: lpips_vgg}}"
    text = TEXT.replace("{kind: diffjscc, name: DiffJSCC, checkpoint: MODEL}", scheme)
    assert main(["check", write(tmp_path, text)]) == 0
    assert "schemes.s.source.select: vgg16-397923af.pth is not on this machine" in capsys.readouterr().err


def test_caption_is_blamed_where_it_is_at_fault(converted, tmp_path, capsys, sealed):
    """The model itself is checked, against a ratio that is not its own."""
    text = TEXT.replace("MODEL", f"{converted}, caption: blip2")
    assert main(["check", write(tmp_path, text)]) == 0
    assert "schemes.DiffJSCC.caption: Salesforce/blip2" in capsys.readouterr().err
    assert main(["check", write(tmp_path, text), "--set", "bandwidth.data_ratio=1/192"]) == 2
    assert "schemes.DiffJSCC" in capsys.readouterr().err


def test_of_large_models_headers_are_read(converted, tmp_path, monkeypatch, capsys, sealed):
    def loaded(*_args, **_kwargs):
        raise AssertionError("weights were read")

    monkeypatch.setattr(DiffusionModel, "load", loaded)
    path = write(tmp_path, TEXT.replace("MODEL", str(converted)))
    assert main(["check", path]) == 0
    weights = converted / "unet" / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    try:
        weights.write_bytes(whole[: len(whole) // 2])
        assert main(["check", path]) == 2
        assert f"{converted / 'unet'}: cannot be read" in capsys.readouterr().err
    finally:
        weights.write_bytes(whole)


def test_no_scenario_of_the_library_touches_the_network(sealed, monkeypatch, tmp_path):
    for path in sorted(scenario_dir().rglob("*/*.yaml")):
        if path.parent.name in ("diffjscc",):
            text = "images={kind: skimage, names: [astronaut], crop: [256, 256]}"
            assert main(["check", str(path), "--set", text]) == 0, path


@pytest.mark.slow
def test_every_scenario_of_the_library_is_checked_without_a_network(sealed, capsys):
    """Times are measured by benchmarks/check_times.py, which blocks sockets too, in a process per scenario."""
    paths = [path for path in sorted(scenario_dir().rglob("*.yaml")) if path.parent.name != "base"]
    assert len(paths) > 60
    for path in paths:
        words = [word for pair in settings(path) for word in ("--set", pair)]
        assert main(["check", str(path), *words]) == 0, f"{path}: {capsys.readouterr().err}"


@pytest.mark.parametrize(("name", "code"), [("theory/awgn-ber-check", 0), ("network", NETWORK)])
def test_the_benchmark_of_checks_sees_the_network(name, code, tmp_path, monkeypatch):
    """A check that touches none is good; a resolver asked within the same process ends it."""
    if code == NETWORK:
        broken = SEALED.replace("entry_point()\n", "import socket; socket.getaddrinfo('localhost', 80)\n")
        monkeypatch.setattr(check_times, "SEALED", broken)
    assert check_times.check(name)[0] == code


def test_weights_of_losses_are_named(sealed, capsys):
    pictures = "images={kind: skimage, names: [astronaut, coffee]}"
    words = ["--set", pictures, "--set", "train.validation_images=1"]
    assert main(["check", "train/dial", *words]) == 0
    said = capsys.readouterr().err
    assert "train.loss of textures: squeezenet1_1-b8a52dc0.pth is not on this machine" in said
    assert said.count("squeezenet") == 2, "once, with its address"

"""The first DeepJSCC against its paper, and CIFAR-10 as torchvision stores it (with small files of our own)."""

from __future__ import annotations

import hashlib
import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torchvision.datasets import CIFAR10

from channels.flat.awgn import AwgnChannel
from linksim.build.objects import load_codec
from linksim.cli.commands import main
from linksim.images.cifar import Cifar10Images
from linksim.images.sets import ImageError, SkimageImages
from linksim.jscc.bourtsoulatze2019 import Bourtsoulatze2019
from linksim.kinds.images import Cifar10ImagesSpec
from linksim.link import run_link
from linksim.metrics.distortion import psnr
from linksim.scenario.files import load_any
from linksim.schemes.jscc import JsccScheme


def convolution(before: int, after: int) -> int:
    """Numbers of a layer: kernels of 5 x 5, biases, slopes."""
    return 25 * before * after + 2 * after


@pytest.mark.parametrize(("latent", "symbols"), [(8, 256), (16, 512)])
def test_it_has_the_layers_of_the_paper(latent, symbols):
    """k/n = 1/12 and 1/6 of 3072 values; strides, widths and the numbers that follow from them."""
    codec = Bourtsoulatze2019(latent)
    assert codec.num_symbols(32, 32) == symbols == 3072 * latent // 96
    widths = (3, 16, 32, 32, 32, latent)
    coder = sum(convolution(a, b) for a, b in pairwise(widths))
    decoder = sum(convolution(b, a) for a, b in pairwise(widths)) - 3  # a sigmoid, no slopes
    assert sum(p.numel() for p in codec.encoder.parameters()) == coder
    assert sum(p.numel() for p in codec.decoder.parameters()) == decoder
    x = torch.rand(2, 3, 32, 48)
    sides = []
    for layer in codec.encoder:
        x = layer(x)
        sides.append(tuple(x.shape[1:]))
    assert sides[::2] == [(16, 16, 24), *[(32, 8, 12)] * 3, (latent, 8, 12)]
    for layer in codec.decoder:
        x = layer(x)
        sides.append(tuple(x.shape[1:]))
    assert sides[10::2] == [*[(32, 8, 12)] * 3, (16, 16, 24), (3, 32, 48)]


def test_it_computes_what_the_paper_draws():
    """By functions of the layers' weights alone, with the power constraint over all k symbols."""
    torch.manual_seed(1)
    codec = Bourtsoulatze2019(8).double()
    image = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    weights = list(codec.encoder.parameters())
    z = image
    for i, stride in enumerate((2, 2, 1, 1, 1)):
        kernel, bias, slope = weights[3 * i : 3 * i + 3]
        z = F.prelu(F.conv2d(z, kernel, bias, stride, padding=2), slope)
    layout = codec.layout(32, 32, 256)
    symbols = codec.encode(image, layout, None)
    assert torch.allclose(symbols.abs().square().sum(1), torch.full((2,), 256.0))
    power = z.square().sum((1, 2, 3), keepdim=True) / 256
    assert torch.allclose(layout.to_map(symbols), (z / power.sqrt()).float(), atol=1e-6)


def test_it_sends_any_picture_over_any_channel():
    scheme = JsccScheme("x", Bourtsoulatze2019(16).eval(), "none")
    image = torch.rand(1, 3, 64, 96)
    out = run_link(scheme, AwgnChannel(), image, torch.tensor([10.0]), [1], 64 * 96 * 3 // 6)
    assert out.reconstruction.image.shape == image.shape
    assert float(out.transmitted.symbols.detach().abs().square().mean()) == pytest.approx(1.0, rel=1e-5)


@pytest.fixture
def crops(tmp_path):
    """A folder of 32 x 32 pictures: what stands in for CIFAR-10."""
    folder = tmp_path / "crops"
    folder.mkdir()
    for name, image in SkimageImages(["astronaut", "coffee", "chelsea"]):
        for i in range(12):
            top, left = 16 * (i % 4) + 60, 64 * (i // 4) + 20
            square = image[:, top : top + 64 : 2, left : left + 64 : 2]
            Image.fromarray(square.permute(1, 2, 0).contiguous().numpy()).save(folder / f"{name}{i}.png")
    return folder


def test_its_training_brings_pictures_back(tmp_path, crops):
    """The recipe that ships, shortened."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # of these small layers several threads make several times the time
    settings = ["train.steps=120", f"images={{kind: folder, path: {crops}}}", "train.batch_size=16"]
    settings += ["train.validation_images=4", "train.validation_every_steps=1000"]
    command = ["train", "train/bourtsoulatze2019-cifar10", "--out", str(tmp_path / "run"), "--device", "cpu"]
    assert main([*command, *(part for text in settings for part in ("--set", text))]) == 0
    torch.set_num_threads(threads)
    trained = load_codec(str(tmp_path / "run" / "model.safetensors"))
    assert isinstance(trained, Bourtsoulatze2019)
    image = torch.stack(
        [torch.from_numpy(np.asarray(Image.open(p)).copy()) for p in sorted(crops.iterdir())[::6]]
    )
    image = image.permute(0, 3, 1, 2).float() / 255
    torch.manual_seed(0)
    found = []
    for codec in (trained, Bourtsoulatze2019(16)):
        scheme, seeds = JsccScheme("x", codec.eval(), "none"), list(range(len(image)))
        with torch.no_grad():
            out = run_link(scheme, AwgnChannel(), image, torch.full((len(image),), 7.0), seeds, 512)
        found.append(float(psnr(out.reconstruction.image, image).mean()))
    assert found[0] > found[1] + 5


def test_scenarios_ask_for_the_ratios_of_the_paper():
    for name, latent, uses in (("1-6", 16, 512), ("1-12", 8, 256)):
        scenario = load_any(f"deepjscc/cifar10-{name}", {})
        assert scenario.bandwidth.uses(32, 32) == uses == Bourtsoulatze2019(latent).num_symbols(32, 32)
        assert min(scenario.sweep.snr_db) == 1
        assert max(scenario.sweep.snr_db) == 20


def data_set(folder, monkeypatch, count=3):
    """Files as torchvision downloads them, with few pictures; and their MD5 in the place of the published ones."""
    rng = np.random.default_rng(1)
    base = folder / "cifar-10-batches-py"
    base.mkdir(parents=True)
    digests = {}
    pixels = {}
    for name in ["test_batch", *(f"data_batch_{i}" for i in range(1, 6))]:
        pixels[name] = rng.integers(0, 256, (count, 3072), np.uint8)
        (base / name).write_bytes(pickle.dumps({"data": pixels[name], "labels": [0] * count}))
        digests[name] = hashlib.md5((base / name).read_bytes()).hexdigest()
    meta = pickle.dumps({"label_names": ["x"]})
    (base / "batches.meta").write_bytes(meta)
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", digests["test_batch"]]])
    monkeypatch.setattr(
        CIFAR10, "train_list", [[f"data_batch_{i}", digests[f"data_batch_{i}"]] for i in range(1, 6)]
    )
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": hashlib.md5(meta).hexdigest()})
    return pixels


def test_pictures_of_cifar_are_those_of_its_files(tmp_path, monkeypatch):
    monkeypatch.setenv("LINKSIM_CACHE", str(tmp_path / "cache"))
    pixels = data_set(tmp_path / "data", monkeypatch)
    spec = Cifar10ImagesSpec(kind="cifar10", path=str(tmp_path / "data"))
    assert spec.build().names == spec.build().names
    assert torch.equal(spec.build()["test/00001"], spec.build()["test/00001"])
    test, train = (Cifar10Images(tmp_path / "data", split) for split in ("test", "train"))
    assert test.names == ("test/00000", "test/00001", "test/00002")
    assert len(train) == 15
    assert torch.equal(test["test/00002"], torch.from_numpy(pixels["test_batch"][2].reshape(3, 32, 32)))
    assert torch.equal(train["train/00004"], torch.from_numpy(pixels["data_batch_2"][1].reshape(3, 32, 32)))
    assert len(Cifar10Images(tmp_path / "data", "train", limit=2)) == 2


def test_training_reads_pictures_of_cifar(tmp_path, monkeypatch):
    monkeypatch.setenv("LINKSIM_CACHE", str(tmp_path / "cache"))
    data_set(tmp_path / "data", monkeypatch)
    settings = [
        "train.steps=2",
        f"images.path={tmp_path / 'data'}",
        "train.batch_size=4",
        "train.validation_images=2",
    ]
    command = ["train", "train/bourtsoulatze2019-cifar10", "--out", str(tmp_path / "run"), "--device", "cpu"]
    assert main([*command, *(part for text in settings for part in ("--set", text))]) == 0


def test_a_data_set_that_lacks_or_is_another_one_is_one_message(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LINKSIM_CACHE", str(tmp_path / "cache"))
    with pytest.raises(
        ImageError, match=r"images.path: no CIFAR-10, got .*nowhere.*CIFAR10\('.*', download=True\)"
    ):
        Cifar10Images(tmp_path / "nowhere", "test")
    data_set(tmp_path / "data", monkeypatch)
    batch = tmp_path / "data" / "cifar-10-batches-py" / "test_batch"
    batch.write_bytes(batch.read_bytes()[:-1] + b"x")
    with pytest.raises(ImageError, match="no CIFAR-10"):
        Cifar10Images(tmp_path / "data", "test")
    assert main(["check", "deepjscc/cifar10-1-6", "--set", f"images.path={tmp_path}"]) == 2
    assert "Traceback" not in capsys.readouterr().err

"""Learned codecs of CompressAI: bits to the last one, the same pixels at both ends and in every process, and what is
refused. Networks are self-made: random ones, and two that were fitted to a picture for a second.
"""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("compressai", reason="pip install 'linksim-wireless[compressai]'")

from linksim.api.checking import check
from linksim.cli.commands import main
from linksim.images.sets import SkimageImages
from linksim.results.store import ResultStore
from linksim.scenario.files import load_scenario
from linksim.source.hevc import CodecError
from linksim.source.learned.codec import CompressAiCodec
from linksim.source.learned.container import Coded, pack, unpack
from linksim.source.learned.networks import ARCHITECTURES, load_network, one_thread, zoo_urls
from tests.contracts import kind_checks
from tests.linksim.tiny import write


def network(architecture: str, *widths: int, seed: int = 0):
    """Random weights."""
    from compressai.zoo import image

    torch.manual_seed(seed)
    sizes = widths or ((8,) if architecture.startswith("cheng") else (8, 12))
    return image.model_architectures[architecture](*sizes)


def fitted(width: int, steps: int, rate: float):
    """A factorized prior that knows one picture."""
    net = network("bmshj2018-factorized", width, width)
    image = torch.from_numpy(kind_checks.picture()).permute(2, 0, 1)[None].float() / 255
    optimizer = torch.optim.Adam([p for n, p in net.named_parameters() if not n.endswith("quantiles")], 1e-2)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for _ in range(steps):
        out = net(image)
        bits = -out["likelihoods"]["y"].log2().sum()
        loss = (out["x_hat"] - image).square().mean() + rate * bits / 4096
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.set_num_threads(threads)
    return net


def saved(folder: Path, name: str, net, update: bool = True) -> str:
    if update:
        net.update(force=True)
    path = folder / f"{name}.pth"
    torch.save(net.state_dict(), path)
    return str(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("weights")
    made = {name: saved(folder, name, network(name)) for name in ARCHITECTURES}
    made["good"] = saved(folder, "good", fitted(12, 60, 1e-4))
    made["poor"] = saved(folder, "poor", fitted(4, 30, 1e-2))
    return made


def photograph(height: int, width: int) -> np.ndarray:
    return (
        SkimageImages(["coffee"])["coffee"][:, 40 : 40 + height, 150 : 150 + width].permute(1, 2, 0).numpy()
    )


def test_it_keeps_the_contract_of_source_codecs(files):
    kind_checks.check_source_codec(
        CompressAiCodec("bmshj2018-factorized", weights=(files["good"], files["poor"]))
    )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_arrives_is_what_the_encoder_saw_and_no_bit_is_outside_the_stream(architecture, files):
    """The reconstruction from the encoder's own rounded latents, without any stream; the strings alone, counted."""
    rgb = photograph(70, 100)
    codec = CompressAiCodec(architecture, weights=(files[architecture],))
    stream = codec.encode(rgb, 1)
    net = load_network(architecture, Path(files[architecture]))
    multiple = ARCHITECTURES[architecture][1]
    padded = np.pad(rgb, ((0, -70 % multiple), (0, -100 % multiple), (0, 0)), mode="edge")
    image = torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 255
    with one_thread():
        strings = [s for (s,) in net.compress(image)["strings"]]
        if architecture in ("bmshj2018-factorized", "bmshj2018-hyperprior", "mbt2018-mean"):
            seen = net.g_s(rounded_latents(net, image)).clamp(0, 1)
            shown = (255 * seen[0, :, :70, :100]).round().to(torch.uint8).permute(1, 2, 0).numpy()
            np.testing.assert_array_equal(codec.decode(stream, (70, 100)), shown)
    # number of the network, height, width, and of two strings the words of the first one: 7 bits a byte
    assert len(stream) == 1 + 1 + 1 + (len(strings) - 1) * (1 if len(strings[0]) < 512 else 2) + sum(
        map(len, strings)
    )
    assert unpack(stream, len(strings)) == Coded(0, (70, 100), tuple(strings))


def rounded_latents(net, image):
    """As Ballé et al. (2018) and Minnen et al. (2018) have them, from the layers of the network."""
    y = net.g_a(image)
    medians = net.entropy_bottleneck.quantiles[:, 0, 1].reshape(1, -1, 1, 1)
    if not hasattr(net, "h_a"):
        return (y - medians).round() + medians
    means_too = type(net).__name__ == "MeanScaleHyperprior"
    z = net.h_a(y if means_too else y.abs())
    if not means_too:
        return y.round()
    means = net.h_s((z - medians).round() + medians).chunk(2, 1)[1]
    return (y - means).round() + means


PROGRAM = """
import hashlib, sys, warnings
import numpy as np, torch
torch.set_num_threads(int(sys.argv[1]))
torch.rand(int(sys.argv[1]))
from linksim.source.learned.codec import CompressAiCodec
rgb = np.load(sys.argv[2])
for architecture, path in zip(sys.argv[3::2], sys.argv[4::2]):
    codec = CompressAiCodec(architecture, weights=(path,))
    stream = codec.encode(rgb, 1)
    shown = codec.decode(stream, rgb.shape[:2])
    print(hashlib.sha256(stream + shown.tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_every_process_gives_the_same_with_any_number_of_threads(files, tmp_path):
    rgb = photograph(128, 192)
    np.save(tmp_path / "rgb.npy", rgb)
    chosen = ("bmshj2018-hyperprior", "cheng2020-attn")
    expected = []
    for architecture in chosen:
        codec = CompressAiCodec(architecture, weights=(files[architecture],))
        stream = codec.encode(rgb, 1)
        expected.append(hashlib.sha256(stream + codec.decode(stream, (128, 192)).tobytes()).hexdigest())
    arguments = [part for architecture in chosen for part in (architecture, files[architecture])]
    command = [sys.executable, "-c", PROGRAM, "2", str(tmp_path / "rgb.npy"), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "2"}
    )
    assert done.stdout.split() == expected
    assert torch.get_num_threads() >= 1


@pytest.mark.parametrize(
    ("architecture", "count"),
    [("bmshj2018-factorized", 60), ("bmshj2018-hyperprior", 60), ("mbt2018", 9)],
)
def test_damaged_streams_decode_or_raise_codec_error(architecture, count, files):
    codec, rng = CompressAiCodec(architecture, weights=(files[architecture],)), random.Random(1)
    stream = codec.encode(photograph(64, 64), 1)
    failed = 0
    for i in range(count):
        data = bytearray(stream)
        for _ in range(1 + i % 4):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if i % 3 == 0:
            data = data[: rng.randrange(len(data))]
        try:
            assert codec.decode(bytes(data), (64, 64)).shape == (64, 64, 3)
        except CodecError:
            failed += 1
    assert failed > count / 6


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (bytes([0, 70]), "ends within its header"),
        (bytes([0, 0x80, 0x80, 0x80, 0x80, 0x80, 1]), "ends within its header"),
        (bytes([0, 70, 100, 1, 1, 2, 3, 4]), "another length"),
        (bytes([0, 70, 100, 0x87, 0x7F, *bytes(8)]), "another length"),
    ],
)
def test_headers_that_no_stream_has(data, message):
    with pytest.raises(CodecError, match=message):
        unpack(data, 2)


def test_container_says_back_what_was_packed():
    coded = Coded(7, (1365, 2048), (bytes(range(4)) * 300, b"1234"))
    assert len(pack(coded)) == 1 + 2 + 2 + 2 + 1204
    assert unpack(pack(coded), 2) == coded
    with pytest.raises(CodecError, match="multiples of 4"):
        pack(Coded(0, (1, 1), (b"123",)))


def test_another_network_or_size_is_refused(files):
    codec = CompressAiCodec("bmshj2018-hyperprior", weights=(files["bmshj2018-hyperprior"],))
    stream = codec.encode(photograph(64, 64), 1)
    with pytest.raises(CodecError, match="network 10, expected 1 to 1"):
        codec.decode(bytes([9]) + stream[1:], (64, 64))
    with pytest.raises(CodecError, match="size 64 x 64, expected"):
        codec.decode(stream, (64, 128))


SCENARIO = """
name: learned
images: {{kind: skimage, names: [coffee, rocket], crop: 64}}
bandwidth: {{data_ratio: 1/6}}
channel: {{kind: awgn}}
sweep: {{snr_db: [-10, 20], trials: 1}}
schemes:
  - kind: separation
    name: learned
    mcs: 12
    source: {{codec: compressai, architecture: bmshj2018-factorized, weights: {weights}, resolutions: full}}
metrics: [psnr, bler]
"""


def test_it_goes_through_ldpc_with_its_bits_counted(files, tmp_path):
    """Weights are found beside the scenario file; lost frames are crc_failed, others show the codec's picture."""
    for name in ("good", "poor"):
        (tmp_path / f"{name}.pth").write_bytes(Path(files[name]).read_bytes())
    path = write(tmp_path, SCENARIO.format(weights="[good.pth, poor.pth]"))
    assert main(["simulate", path, "--out", str(tmp_path / "run"), "--no-report", "--workers", "1"]) == 0
    codec = CompressAiCodec("bmshj2018-factorized", weights=(files["good"], files["poor"]))
    images = load_scenario(path).images.build()
    records = list(ResultStore(tmp_path / "run").records())
    assert [(r.key.snr_db, r.state) for r in records] == [(-10, "crc_failed")] * 2 + [(20, "ok")] * 2
    for record in records:
        info, rgb = record.info, images[record.key.image].permute(1, 2, 0).numpy()
        stream = codec.encode(rgb, info["quality"])
        assert info["bytes"] == len(stream)
        assert 8 * len(stream) + info["header_bits"] + info["padding_bits"] == info["payload_bits"]
        if record.state == "ok":
            error = np.square(codec.decode(stream, (64, 64)).astype(float) - rgb).mean()
            assert record.values["psnr"] == pytest.approx(10 * np.log10(255**2 / error), abs=1e-4)


class Code:
    def __reduce__(self):
        return os.system, ("touch executed",)


def broken(fault: str, folder: Path) -> str:
    """A file of weights that nobody can use."""
    net = network("bmshj2018-hyperprior")
    state = net.state_dict()
    path = folder / "broken.pth"
    if fault == "text":
        path.write_text("weights")
        return str(path)
    if fault == "missing":
        return str(folder / "nowhere.pth")
    if fault == "code":
        torch.save({"state_dict": Code()}, path)
        return str(path)
    if fault == "nan":
        state["g_a.0.bias"][0] = float("nan")
    elif fault == "quantiles":
        state["entropy_bottleneck.quantiles"][0, 0, 2] = 1e9
    elif fault == "wide":
        state["g_a.0.weight"] = torch.zeros(4000, 3, 5, 5)
    elif fault == "lacks":
        del state["h_s.0.bias"]
    torch.save(state, path)
    return str(path)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("text", "source.weights: not readable, got broken.pth"),
        ("missing", "source.weights: not readable, got .*nowhere.pth"),
        ("code", "source.weights: not readable, got broken.pth"),
        ("nan", "g_a.0.bias with values that are not finite"),
        ("quantiles", r"tables too long, got quantiles up to 1e\+09"),
        ("wide", r"not of this architecture, got convolutions of \(4000, 3, 5, 5\)"),
        ("lacks", "missing h_s.0.bias"),
    ],
)
def test_weights_that_cannot_be_used_are_one_message(tmp_path, monkeypatch, fault, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        CompressAiCodec("bmshj2018-hyperprior", weights=(broken(fault, tmp_path),))
    assert not (tmp_path / "executed").exists()


def test_weights_of_another_architecture_are_refused(files):
    with pytest.raises(ValueError, match=r"not of this architecture|no weights of"):
        CompressAiCodec("mbt2018", weights=(files["bmshj2018-hyperprior"],))
    with pytest.raises(ValueError, match=r"no weights of cheng2020-attn, got no g_a.0.conv1.weight"):
        CompressAiCodec("cheng2020-attn", weights=(files["bmshj2018-hyperprior"],))
    with pytest.raises(ValueError, match=r"source\.metric: of no effect"):
        CompressAiCodec("mbt2018", "ms-ssim", weights=(files["mbt2018"],))


def test_tables_of_the_entropy_coder_are_never_taken_from_a_file(files, tmp_path):
    """The decoder follows them without bounds."""
    state = torch.load(files["bmshj2018-hyperprior"], weights_only=True)
    hostile = {k: v + 10**6 if k.endswith(("_cdf_length", "_offset")) else v for k, v in state.items()}
    torch.save({"state_dict": {f"module.{k}": v for k, v in hostile.items()}}, tmp_path / "hostile.pth.tar")
    codecs = [
        CompressAiCodec("bmshj2018-hyperprior", weights=(path,))
        for path in (files["bmshj2018-hyperprior"], str(tmp_path / "hostile.pth.tar"))
    ]
    first, second = (codec.encode(photograph(64, 64), 1) for codec in codecs)
    assert first == second


def test_other_weights_are_another_codec(files, tmp_path):
    one = CompressAiCodec("bmshj2018-hyperprior", weights=(files["bmshj2018-hyperprior"],))
    other = CompressAiCodec(
        "bmshj2018-hyperprior", weights=(saved(tmp_path, "x", network("bmshj2018-hyperprior", seed=1)),)
    )
    assert one.name != other.name
    assert one.version != other.version
    assert torch.__version__ in one.version


def zoo_scenario(tmp_path: Path) -> str:
    return write(tmp_path, SCENARIO.format(weights="[]"))


def test_the_zoo_is_asked_for_what_is_not_here(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("LINKSIM_WEIGHTS", raising=False)
    said = check(load_scenario(zoo_scenario(tmp_path))).warnings
    urls = zoo_urls("bmshj2018-factorized", "mse")
    assert len(said) == len(urls) == 8
    assert urls[8] in said[0]

    def unreachable(*args, **options):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    assert main(["simulate", zoo_scenario(tmp_path), "--out", str(tmp_path / "run")]) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith(
        "schemes.learned.source.weights: bmshj2018-factorized-mse-8: weights not found and not"
    )
    assert Path(urls[8]).name in message
    assert not (tmp_path / "run").exists()


def test_the_zoo_of_a_folder_is_used_as_its_names_say(tmp_path, monkeypatch, files):
    """With names of tensors as the zoo's files have them."""
    monkeypatch.setenv("LINKSIM_WEIGHTS", str(tmp_path))
    state = torch.load(files["good"], weights_only=True)
    former = {"matrices": "_matrix", "biases": "_bias", "factors": "_factor"}
    for new, old in former.items():
        state = {
            k.replace(f"entropy_bottleneck.{new}.", f"entropy_bottleneck.{old}"): v for k, v in state.items()
        }
    assert "entropy_bottleneck._matrix0" in state
    for url in zoo_urls("bmshj2018-factorized", "mse").values():
        torch.save(state, tmp_path / Path(url).name)
    codec = CompressAiCodec("bmshj2018-factorized")
    assert codec.qualities == (8, 7, 6, 5, 4, 3, 2, 1)
    own = CompressAiCodec("bmshj2018-factorized", weights=(files["good"],))
    rgb = kind_checks.picture()
    assert codec.encode(rgb, 1) == own.encode(rgb, 1)
    assert codec.encode(rgb, 8)[1:] == own.encode(rgb, 1)[1:]
    assert codec.name == "bmshj2018-factorized-mse"


def test_pictures_of_any_size_are_coded(files):
    codec = CompressAiCodec("bmshj2018-hyperprior", weights=(files["bmshj2018-hyperprior"],))
    for size in ((1, 1), (63, 65), (64, 64)):
        assert codec.decode(codec.encode(photograph(*size), 1), size).shape == (*size, 3)
    Image.fromarray(codec.decode(codec.encode(photograph(64, 64), 1), (64, 64)))

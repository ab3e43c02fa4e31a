"""Every scheme, in small: tiny random weights, 64 x 64 pictures, no download."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from linksim.coding.mcs import MCS_TABLE_1
from linksim.jscc.block_klt import BlockKlt
from linksim.jscc.cnn_yang2024 import CnnYang2024, CnnYang2024Config
from linksim.jscc.dial import DialCodec, DialConfig
from linksim.jscc.latent_denoiser import LatentDenoiser, LatentDenoiserConfig
from linksim.jscc.lean import LeanCodec, LeanConfig
from linksim.jscc.linear_analog import LinearAnalogCodec
from linksim.jscc.swin.codec import SwinJscc
from linksim.jscc.swin.sizes import SwinJsccConfig
from linksim.jscc.swin_yang2024 import SwinYang2024, SwinYang2024Config
from linksim.schemes.base import Scheme
from linksim.schemes.jscc import JsccScheme
from linksim.schemes.latent_diffusion import LatentDiffusionOptions, LatentDiffusionScheme
from linksim.schemes.repetition import RepeatingCodec
from linksim.schemes.separation import SeparationScheme
from linksim.schemes.uncoded import UncodedScheme
from linksim.source.codec import make_source_codec
from linksim.source.pillow_codec import PillowCodec
from linksim.source.quality_search import QualitySearch
from linksim.source.stream_cache import StreamCache
from linksim.weights import zoo

SIDE = 64
BUDGET = 64 * 64 * 3 // 12  # CBR 1/12, so that a digital scheme fits a picture of this size


class NoCache(StreamCache):
    """Nothing is kept between tests."""

    def __init__(self) -> None:
        super().__init__(Path("/nonexistent"))

    def get(self, key: str) -> None:
        return None

    def put(self, key: str, stream: bytes) -> None:
        return None


class Kept(StreamCache):
    """For tests of something else than coding: what they share is coded once."""

    def __init__(self) -> None:
        super().__init__(Path("/nonexistent"))
        self._kept: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        return self._kept.get(key)

    def put(self, key: str, stream: bytes) -> None:
        self._kept[key] = stream


def _lean() -> Scheme:
    torch.manual_seed(1)
    codec = LeanCodec(LeanConfig(latent_channels=128, width_8=16, width_16=16))
    codec.start_from_klt(BlockKlt.load(zoo.asset("block-klt-16.safetensors")))
    return JsccScheme("lean", codec.eval().requires_grad_(False))


def _dial_codec() -> DialCodec:
    torch.manual_seed(4)
    sizes = {
        "width_4": 8,
        "width_8": 8,
        "width_16": 16,
        "encoder_blocks": (1, 1),
        "decoder_blocks": (1, 1, 1),
    }
    codec = DialCodec(DialConfig(rates=(64, 128), **sizes))
    codec.start_from_klt(BlockKlt.load(zoo.asset("block-klt-16.safetensors")))
    return codec.eval().requires_grad_(False)


def _dial(realism: float) -> Scheme:
    codec = _dial_codec()
    for layer in codec.decoder.noise:
        torch.nn.init.normal_(layer.weight, std=0.1)
    return JsccScheme(f"dial-{realism:g}", codec.at(realism))


def _latent_diffusion() -> Scheme:
    codec = _dial_codec()
    denoiser = LatentDenoiser(LatentDenoiserConfig(rates=(64, 128), width=16, blocks=1))
    options = LatentDiffusionOptions(steps=2, eta=0.5)
    return LatentDiffusionScheme("latent", codec, denoiser.eval().requires_grad_(False), options)


def _cnn(csi: str) -> Scheme:
    torch.manual_seed(2)
    config = CnnYang2024Config(latent_channels=128, width=4, max_width=16, max_decoder_width=16, csi=csi)
    codec = CnnYang2024(config).eval().requires_grad_(False)
    return JsccScheme(f"cnn-{csi}", codec, "average_snr" if csi == "snr" else "perfect")


def _swin() -> Scheme:
    torch.manual_seed(3)
    config = SwinYang2024Config(
        latent_channels=128, widths=(8, 8, 8, 16), depths=(1, 1, 1, 2), heads=(2, 2, 2, 2)
    )
    return JsccScheme("swin", SwinYang2024(config).eval().requires_grad_(False))


def _swinjscc() -> Scheme:
    """With a rate below its highest, so that a choice of its channels is sent, and side information told."""
    torch.manual_seed(5)
    config = SwinJsccConfig(
        rates=(64, 128, 140),
        widths=(8, 8, 8, 160),
        depths=(1, 1, 1, 2),
        heads=(2, 2, 2, 2),
        image_size=(64, 64),
    )
    return JsccScheme("swinjscc", SwinJscc(config).eval().requires_grad_(False))


def _linear(scale: str) -> Scheme:
    codec = LinearAnalogCodec(BlockKlt.load(zoo.asset("block-klt-16.safetensors")), scale=scale)
    return JsccScheme(f"linear-{scale}", codec)


def _repeated() -> Scheme:
    """Of a transform with a quarter of the coefficients, so that its symbols are sent three times."""
    whole = BlockKlt.load(zoo.asset("block-klt-16.safetensors"))
    klt = BlockKlt(whole.mean, whole.basis[:32], whole.variance[:32], whole.total_variance)
    return JsccScheme("linear-repeated", RepeatingCodec(LinearAnalogCodec(klt)))


def _separation(codec: str, mcs: int, decoder: str = "auto", resolutions: tuple[int, ...] = (1,)) -> Scheme:
    search = QualitySearch(make_source_codec(codec, "420"), NoCache(), resolutions)
    return SeparationScheme(f"{codec}-mcs{mcs}", search, MCS_TABLE_1[mcs], decoder=decoder)


ANALOG: dict[str, Callable[[], Scheme]] = {
    "lean": _lean,
    "dial-0": lambda: _dial(0.0),
    "dial-1": lambda: _dial(1.0),
    "latent-diffusion": _latent_diffusion,
    "cnn-snr": lambda: _cnn("snr"),
    "cnn-snr_h": lambda: _cnn("snr_h"),
    "swin": _swin,
    "swinjscc": _swinjscc,
    "linear-sent": lambda: _linear("sent"),
    "linear-blind": lambda: _linear("blind"),
    "linear-repeated": _repeated,
}
DIGITAL: dict[str, Callable[[], Scheme]] = {
    "bpg-qpsk": lambda: _separation("bpg", 5),
    "bpg-64qam": lambda: _separation("bpg", 20),
    "bpg-reduced": lambda: _separation("bpg", 5, resolutions=(4,)),
    "bpg-sionna-decoder": lambda: _separation("bpg", 12, "sionna"),
    "jpeg-16qam": lambda: _separation("jpeg", 14),
    "webp-16qam": lambda: _separation("webp", 14),
    **({"avif-64qam": lambda: _separation("avif", 22)} if PillowCodec.available("avif") else {}),
}
UNCODED: dict[str, Callable[[], Scheme]] = {"uncoded-16qam": lambda: UncodedScheme("uncoded", 4)}
SCHEMES = {**ANALOG, **DIGITAL, **UNCODED}


def receive_elsewhere(name: str, received, layout, seeds) -> tuple[torch.Tensor, tuple[str, ...]]:
    """Run the receiver half in another process, which has never seen the picture or the bits."""
    torch.set_num_threads(1)
    with torch.no_grad():
        result = SCHEMES[name]().receive(received, layout, seeds)
    return result.image, result.states

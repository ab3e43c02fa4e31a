"""What the demo lets people choose: channels, schemes and rates, as blocks of a scenario."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from channels.checks import complaint
from linksim.demo.pictures import DemoPicture
from linksim.metrics.selection import Selection
from linksim.scenario.errors import ScenarioError
from linksim.weights import zoo

__all__ = [
    "CHANNELS",
    "PICTURES",
    "SCHEMES",
    "SNR_DB",
    "Settings",
    "metric_names",
    "scenario_of",
    "scheme_names",
]

SNR_DB = (-5.0, 20.0)  # of the slider; the bundled networks were trained from -2 to 18 dB
PICTURES = ("coffee", "astronaut", "chelsea", "motorcycle", "rocket")
_SOURCE = {"codec": "bpg", "chroma": "420"}

CHANNELS: Mapping[str, Mapping[str, Any]] = {
    "AWGN": {"kind": "awgn", "name": "AWGN"},
    "block Rayleigh": {"kind": "rayleigh", "name": "block Rayleigh"},
    "OFDM TDL-C LS": {
        "kind": "ofdm",
        "name": "OFDM TDL-C LS",
        "model": {"kind": "tdl", "profile": "C", "delay_spread_s": 300e-9, "speed_mps": 1.0},
        "carrier_hz": 3.5e9,
        "subcarrier_spacing_hz": 15e3,
        "num_subcarriers": 64,
        "num_ofdm_symbols": 14,
        "csi": {"kind": "ls", "pilot_symbols": [2, 11]},
    },
}


@dataclass(frozen=True)
class _SchemeChoice:
    """A scheme of the demo.

    Args:
        block: of a scenario.
        dial: whether it has the dial for realism.
        models: bundled ones that it needs.
    """

    block: Mapping[str, Any]
    dial: bool = False
    models: tuple[str, ...] = ()


SCHEMES: Mapping[str, _SchemeChoice] = {
    "learned": _SchemeChoice({"kind": "jscc", "checkpoint": "dial"}, dial=True, models=("dial",)),
    "BPG + LDPC adaptive": _SchemeChoice({"kind": "separation", "source": _SOURCE, "mcs": "adaptive"}),
    "BPG at capacity": _SchemeChoice({"kind": "capacity_bound", "source": _SOURCE}),
    "latent diffusion": _SchemeChoice(
        {"kind": "latent_diffusion", "checkpoint": "dial-denoiser"},
        dial=True,
        models=("dial", "dial-denoiser"),
    ),
}


def scheme_names() -> list[str]:
    """Schemes whose models are on this machine."""
    return [
        name
        for name, choice in SCHEMES.items()
        if all(zoo.asset(zoo.BUNDLED_FILES[model]).is_file() for model in choice.models)
    ]


def metric_names(side: int) -> list[str]:
    """What is measured of pictures whose shorter side has so many pixels: LPIPS with the first backbone whose
    weights are on this machine, or without.
    """
    nets = [net for net in zoo.BACKBONES if zoo.backbone_at(net) is not None]
    similar = ["psnr", "ms_ssim", *(f"lpips_{net}" for net in nets[:1])]
    defined = [name for name in similar if Selection(name).min_side <= side]
    return [*defined, "received_snr_db", "ber", "bler"]


@dataclass(frozen=True)
class Settings:
    """What is sent, and how.

    Args:
        channel: of :data:`CHANNELS`.
        scheme: of :data:`SCHEMES`.
        ratio: complex data uses over 3·H·W, such as "1/96".
        snr_db: Es/N0 per data use [dB].
        realism: 0 to 1; without effect on schemes that have no such dial.
        seed: of noise and fading.
    """

    channel: str = "AWGN"
    scheme: str = "learned"
    ratio: str = "1/96"
    snr_db: float = 10.0
    realism: float = 0.0
    seed: int = 0


def scenario_of(settings: Settings, picture: DemoPicture) -> dict[str, Any]:
    """The scenario of which a demo shows one unit; :func:`linksim.simulate` takes it.

    Args:
        settings: channel, scheme and the rest.
        picture: that is sent.

    Raises:
        ScenarioError: no such channel or scheme.
    """
    channel = _chosen("channel", settings.channel, CHANNELS)
    choice = _chosen("scheme", settings.scheme, SCHEMES)
    scheme = {**choice.block, "name": settings.scheme}
    if choice.dial:
        scheme["realism"] = float(settings.realism)
    return {
        "schema_version": 1,
        "name": "demo",
        "seed": settings.seed,
        "images": dict(picture.images),
        "bandwidth": {"data_ratio": settings.ratio},
        "channel": dict(channel),
        "sweep": {"snr_db": [float(settings.snr_db)]},
        "schemes": [scheme],
        "metrics": metric_names(min(picture.size)),
    }


def _chosen(what: str, name: str, known: Mapping[str, Any]) -> Any:
    if name not in known:
        raise ScenarioError(complaint(what, "unknown", repr(name)[:80], f"one of {', '.join(known)}"))
    return known[name]

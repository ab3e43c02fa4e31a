"""Learned codecs of CompressAI with real bitstreams."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from channels.checks import complaint
from linksim.files.digests import file_digest
from linksim.kinds import kind
from linksim.kinds.fields import PathName
from linksim.source.hevc import CodecError
from linksim.source.learned.container import Coded, pack, unpack
from linksim.weights.hub_files import HubFile, WeightsUnavailable, hub_file, hub_file_at
from linksim.weights.zoo import network_path

__all__ = ["CompressAiCodec"]

Rgb = NDArray[np.uint8]
Architecture = Literal[
    "bmshj2018-factorized",
    "bmshj2018-hyperprior",
    "mbt2018-mean",
    "mbt2018",
    "cheng2020-anchor",
    "cheng2020-attn",
]
_MAX_PIXELS = 1 << 23
_LATENT = 16  # pixels per side to a position of the latent
_ZOO_QUALITIES = {"cheng2020-anchor": 6, "cheng2020-attn": 6}


@kind("source_codec", "compressai")
@dataclass(frozen=True)
class CompressAiCodec:
    """A learned codec of CompressAI, with its real bitstream; each quality is a network of its own.

    Everything that the decoder needs is in the stream: the number of the network, the size of the picture,
    the lengths of the strings, the strings. Networks run on the CPU, one picture at a time and on one core,
    so that both ends compute the same to the last bit.

    Args:
        architecture: of all networks.
        metric: that the zoo's networks were trained on.
        weights: files of networks, from the largest streams to the smallest; none: CompressAI's zoo (8
            qualities, 6 of cheng2020), downloaded once.

    Raises:
        ValueError: CompressAI is not installed, or weights that cannot be had or are of another architecture.
    """

    architecture: Architecture
    metric: Literal["mse", "ms-ssim"] = field(
        default="mse", metadata={"description": "that the networks of the zoo were trained on"}
    )
    weights: tuple[PathName, ...] = field(
        default=(),
        metadata={"description": "files, from the largest streams to the smallest; none: CompressAI's zoo"},
    )

    def __post_init__(self) -> None:
        if not self.available():
            cure = "Install it: pip install --no-deps compressai, and what docs/opponents.md says"
            raise ValueError(
                complaint(
                    "source.codec", "CompressAI is not installed", "none", "the package compressai", cure
                )
            )
        if self.weights and self.metric != "mse":
            expected = "metric of the zoo's networks only; without weights"
            raise ValueError(complaint("source.metric", "of no effect", self.metric, expected))
        if len(self.weights) > 256:
            raise ValueError(complaint("source.weights", "too many", len(self.weights), "at most 256 files"))
        for path in self._paths():
            self._network_at(path)

    @staticmethod
    def available() -> bool:
        """Whether CompressAI is installed."""
        return importlib.util.find_spec("compressai") is not None

    @classmethod
    def missing(cls, source: Any) -> list[HubFile]:
        """Weights of the zoo that a run of a description downloads first."""
        if source.weights or not cls.available():
            return []
        wanted = _zoo_files(source.architecture, source.metric)
        return [file for file in wanted if hub_file_at(file) is None]

    def _paths(self) -> list[Path]:
        """Files of the networks, from the largest streams to the smallest."""
        if self.weights:
            return [network_path(name) for name in self.weights]
        try:
            return [hub_file(file) for file in _zoo_files(self.architecture, self.metric)]
        except WeightsUnavailable as problem:
            raise ValueError(f"source.weights: {problem} Or name files in weights.") from None

    def _digests(self) -> list[str]:
        """Of the files of the networks, 16 hex digits each."""
        return [file_digest(path)[:16] for path in self._paths()]

    @property
    def name(self) -> str:
        """Architecture, and what it was trained on; of other files a digest of them."""
        if not self.weights:
            return f"{self.architecture}-{self.metric}"
        digest = hashlib.sha256("".join(self._digests()).encode()).hexdigest()[:8]
        return f"{self.architecture}-{digest}"

    @property
    def version(self) -> str:
        """CompressAI and PyTorch, the instructions of this processor, digests of the weights."""
        import torch

        digests = " ".join(self._digests())
        made_by = f"compressai {importlib.metadata.version('compressai')}, torch {torch.__version__}"
        return f"{made_by} ({torch.backends.cpu.get_cpu_capability()}), {self.architecture}, {digests}"

    @property
    def qualities(self) -> tuple[int, ...]:
        """See :class:`linksim.source.codec.SourceCodec`: numbers of the networks, the last file is 1."""
        count = len(self.weights) or _ZOO_QUALITIES.get(self.architecture, 8)
        return tuple(range(count, 0, -1))

    def refusal(self, size: tuple[int, int]) -> str:
        """See :class:`linksim.source.codec.SourceCodec`."""
        return "" if size[0] * size[1] <= _MAX_PIXELS else f"at most {_MAX_PIXELS} pixels"

    def _network_at(self, path: Path) -> Any:
        from linksim.source.learned.networks import load_network

        return load_network(self.architecture, path)

    def _network(self, quality: int) -> Any:
        return self._network_at(self._paths()[len(self.qualities) - quality])

    def encode(self, rgb: Rgb, quality: int) -> bytes:
        """See :class:`linksim.source.codec.SourceCodec`."""
        import torch

        from linksim.source.learned.networks import ARCHITECTURES, one_thread

        height, width = rgb.shape[:2]
        multiple = ARCHITECTURES[self.architecture][1]
        network = self._network(quality)
        with one_thread():
            image = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].float() / 255
            added = (0, -width % multiple, 0, -height % multiple)
            found = network.compress(torch.nn.functional.pad(image, added, mode="replicate"))
        return pack(Coded(quality - 1, (height, width), tuple(strings[0] for strings in found["strings"])))

    def decode(self, data: bytes, expected: tuple[int, int]) -> Rgb:
        """See :class:`linksim.source.codec.SourceCodec`."""
        import torch

        from linksim.source.learned.networks import ARCHITECTURES, one_thread

        num_strings, multiple = ARCHITECTURES[self.architecture]
        coded = unpack(data, num_strings)
        if coded.size != expected:
            raise CodecError(f"{self.name}: size {coded.size[0]} x {coded.size[1]}, expected {expected}")
        if coded.quality >= len(self.qualities):
            raise CodecError(f"{self.name}: network {coded.quality + 1}, expected 1 to {len(self.qualities)}")
        network = self._network(coded.quality + 1)
        height, width = (-(-side // multiple) for side in expected)
        with one_thread():
            most = height * width * (multiple // _LATENT) ** 2 * max(network.N, network.M)
            strings = [[_padded(string, most)] for string in coded.strings]
            image = network.decompress(strings, (height, width))["x_hat"][0]
        if not bool(torch.isfinite(image).all()):
            raise CodecError(f"{self.name}: stream decodes to values that are not finite")
        shown = image[:, : expected[0], : expected[1]].clamp(0, 1).mul(255).round().to(torch.uint8)
        return shown.permute(1, 2, 0).contiguous().numpy()


def _zoo_files(architecture: str, metric: str) -> list[HubFile]:
    """Files of CompressAI's zoo, from the largest streams to the smallest."""
    from linksim.source.learned.networks import zoo_urls

    urls = zoo_urls(architecture, metric)
    return [HubFile(f"{architecture}-{metric}-{q}", urls[q], None) for q in sorted(urls, reverse=True)]


def _padded(string: bytes, symbols: int) -> bytes:
    """A string of the entropy coder with zeros behind it: the decoder of a damaged one reads past its end,
    and must find memory there. Escapes within the string ask for 16 times its length at most; beyond it bits
    are zeros, which end an escape, and a symbol takes less than a word of 4 bytes (room is for 8).
    """
    return string + bytes(16 * len(string) + 32 * symbols + 256)

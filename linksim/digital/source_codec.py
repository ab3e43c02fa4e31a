"""Source codecs behind one interface, and the highest quality that fits a byte budget, cached on disk.

May import: numpy, PIL, channels.checks, linksim.digital.{bpg, hevc}.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError, features

from channels.checks import check_choice, complaint
from linksim.digital.bpg import decode_bpg, encode_bpg
from linksim.digital.hevc import CodecError, encoder_version

__all__ = ["BpgCodec", "PillowCodec", "QualitySearch", "SourceCodec", "StreamCache", "make_source_codec"]

Rgb = NDArray[np.uint8]
ChromaName = Literal["420", "444"]


class SourceCodec(Protocol):
    """A picture codec with one quality parameter."""

    @property
    def name(self) -> str:
        """Codec and chroma format, e.g. "bpg-420"."""
        ...

    @property
    def version(self) -> str:
        """Library, version and effort: all that can change a stream."""
        ...

    @property
    def qualities(self) -> tuple[int, ...]:
        """Quality parameters from the largest streams to the smallest."""
        ...

    def encode(self, rgb: Rgb, quality: int) -> bytes:
        """Stream of a picture [H, W, 3] uint8."""
        ...

    def decode(self, data: bytes, expected: tuple[int, int]) -> Rgb:
        """Picture [H, W, 3] uint8 of a stream; CodecError unless it decodes to (H, W) ``expected``."""
        ...


@dataclass(frozen=True)
class BpgCodec:
    """BPG: HEVC intra by libx265, quality = QP 0 to 51."""

    chroma: ChromaName = "420"

    @property
    def name(self) -> str:
        """See :class:`SourceCodec`."""
        return f"bpg-{self.chroma}"

    @property
    def version(self) -> str:
        """See :class:`SourceCodec`."""
        return f"{encoder_version()}, preset veryslow, tune ssim, exact QP"

    @property
    def qualities(self) -> tuple[int, ...]:
        """See :class:`SourceCodec`."""
        return tuple(range(52))

    def encode(self, rgb: Rgb, quality: int) -> bytes:
        """See :class:`SourceCodec`."""
        return encode_bpg(rgb, quality, self.chroma)

    def decode(self, data: bytes, expected: tuple[int, int]) -> Rgb:
        """See :class:`SourceCodec`."""
        return decode_bpg(data, expected)


# All that Pillow's decoders raise for damaged input.
_DAMAGE = (
    OSError,
    ValueError,
    RuntimeError,
    SyntaxError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    OverflowError,
    MemoryError,
    struct.error,
    UnidentifiedImageError,
    Image.DecompressionBombError,
)


@dataclass(frozen=True)
class PillowCodec:
    """JPEG, WebP or AVIF through Pillow."""

    codec: Literal["jpeg", "webp", "avif"]
    chroma: ChromaName = "420"

    def __post_init__(self) -> None:
        check_choice("source.codec", self.codec, ("jpeg", "webp", "avif"))
        if self.codec == "webp" and self.chroma != "420":
            raise ValueError(complaint("source.chroma", "WebP has none but 4:2:0", self.chroma, "420"))
        if not self.available(self.codec):
            cure = "Install a newer Pillow: pip install -U pillow"
            raise ValueError(
                complaint("source.codec", "this Pillow lacks it", self.codec, "a Pillow with it", cure)
            )

    @staticmethod
    def available(codec: str) -> bool:
        """Whether this Pillow has the codec."""
        return bool(features.check("jpg" if codec == "jpeg" else codec))

    @property
    def name(self) -> str:
        """See :class:`SourceCodec`."""
        return f"{self.codec}-{self.chroma}"

    @property
    def version(self) -> str:
        """See :class:`SourceCodec`."""
        library = features.version("jpg" if self.codec == "jpeg" else self.codec)
        return f"Pillow {PIL.__version__}, {self.codec} {library}, {self._options(0)}"

    @property
    def qualities(self) -> tuple[int, ...]:
        """See :class:`SourceCodec`."""
        return tuple(range(100, 0, -1)) if self.codec == "jpeg" else tuple(range(100, -1, -1))

    def _options(self, quality: int) -> dict[str, object]:
        if self.codec == "jpeg":
            subsampling = {"420": "4:2:0", "444": "4:4:4"}[self.chroma]
            return {"quality": quality, "subsampling": subsampling, "optimize": True, "progressive": True}
        if self.codec == "webp":
            return {"quality": quality, "method": 6}
        subsampling = {"420": "4:2:0", "444": "4:4:4"}[self.chroma]
        return {"quality": quality, "subsampling": subsampling, "speed": 4, "max_threads": 1}

    def encode(self, rgb: Rgb, quality: int) -> bytes:
        """See :class:`SourceCodec`."""
        out = io.BytesIO()
        Image.fromarray(rgb).save(out, self.codec.upper(), **self._options(quality))
        return out.getvalue()

    def decode(self, data: bytes, expected: tuple[int, int]) -> Rgb:
        """See :class:`SourceCodec`."""
        try:
            with Image.open(io.BytesIO(data), formats=(self.codec.upper(),)) as picture:
                if (picture.height, picture.width) != expected:
                    raise CodecError(
                        f"{self.codec}: size {picture.height} x {picture.width}, expected {expected}"
                    )
                return np.asarray(picture.convert("RGB")).copy()
        except CodecError:
            raise
        except _DAMAGE as problem:
            raise CodecError(f"{self.codec}: stream does not decode ({problem})") from None


def make_source_codec(codec: str, chroma: ChromaName) -> SourceCodec:
    """The codec of a name: "bpg", "jpeg", "webp" or "avif"."""
    if codec == "bpg":
        return BpgCodec(chroma)
    return PillowCodec(codec, chroma)  # type: ignore[arg-type]


class StreamCache:
    """Coded streams on disk, one file per picture, codec and quality; a damaged file counts as absent.

    Args:
        folder: None = $LINKSIM_CACHE, else linksim/streams in the user's cache folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        if folder is None:
            base = os.environ.get("LINKSIM_CACHE")
            home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "linksim"
            folder = (Path(base).expanduser() if base else home) / "streams"
        self.folder = folder

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / key

    def get(self, key: str) -> bytes | None:
        """The stream of a key, or None."""
        try:
            data = self._path(key).read_bytes()
        except OSError:
            return None
        digest, stream = data[:16], data[16:]
        return stream if hashlib.sha256(stream).digest()[:16] == digest else None

    def put(self, key: str, stream: bytes) -> None:
        """Store a stream in one step; a cache that cannot be written is done without."""
        path = self._path(key)
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(hashlib.sha256(stream).digest()[:16] + stream)
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)


class QualitySearch:
    """The highest quality of a codec whose stream fits a budget.

    Args:
        codec: source codec.
        cache: streams of earlier searches.
    """

    _KEEP = 512

    def __init__(self, codec: SourceCodec, cache: StreamCache | None = None) -> None:
        self.codec = codec
        self.cache = cache or StreamCache()
        self._stamp = f"{codec.name}|{codec.version}"
        self._streams: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._decoded: OrderedDict[tuple[bytes, tuple[int, int]], Rgb] = OrderedDict()

    def stream(self, rgb: Rgb, digest: str, quality: int) -> bytes:
        """Stream of a picture at a quality; ``digest`` names its pixels."""
        key = (digest, quality)
        if key in self._streams:
            self._streams.move_to_end(key)
            return self._streams[key]
        name = hashlib.sha256(f"{digest}|{self._stamp}|{quality}".encode()).hexdigest()[:40]
        stream = self.cache.get(name)
        if stream is None:
            stream = self.codec.encode(rgb, quality)
            self.cache.put(name, stream)
        self._streams[key] = stream
        if len(self._streams) > self._KEEP:
            self._streams.popitem(last=False)
        return stream

    def best(self, rgb: Rgb, digest: str, budget_bytes: int) -> tuple[bytes, int] | None:
        """Stream and quality of the best quality that fits, or None if not even the worst does.

        Bisection over the qualities, then two more on the better side: sizes are not strictly monotone.

        Args:
            rgb: [H, W, 3] uint8.
            digest: name of its pixels.
            budget_bytes: largest stream allowed.
        """
        qualities = self.codec.qualities

        def size(index: int) -> int:
            return len(self.stream(rgb, digest, qualities[index]))

        low, high = -1, len(qualities) - 1  # everything at or above ``high`` fits, ``low`` does not
        if size(high) > budget_bytes:
            return None
        probe = self._guess(rgb, digest, budget_bytes)
        while high - low > 1:
            if size(probe) <= budget_bytes:
                high = probe
            else:
                low = probe
            probe = (low + high + 1) // 2 if high - low > 3 else high - 1  # small streams code faster
        for better in (high - 3, high - 2):
            if better >= 0 and size(better) <= budget_bytes:
                high = better
                break
        return self.stream(rgb, digest, qualities[high]), qualities[high]

    def _guess(self, rgb: Rgb, digest: str, budget_bytes: int) -> int:
        """Where to start: what is known of this picture, else two thirds down the list."""
        qualities = self.codec.qualities
        known = [
            (i, len(self._streams[digest, q]))
            for i, q in enumerate(qualities)
            if (digest, q) in self._streams
        ]
        fitting = [i for i, length in known if length <= budget_bytes and i < len(qualities) - 1]
        return min(fitting) if fitting else 2 * len(qualities) // 3

    def decode(self, data: bytes, expected: tuple[int, int]) -> Rgb:
        """Decode, remembering the last results; see :class:`SourceCodec`."""
        key = (data, expected)
        if key not in self._decoded:
            self._decoded[key] = self.codec.decode(data, expected)
            if len(self._decoded) > 32:
                self._decoded.popitem(last=False)
        self._decoded.move_to_end(key)
        return self._decoded[key]

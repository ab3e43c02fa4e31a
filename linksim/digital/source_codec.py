"""Source codecs behind one interface, and the highest quality that fits a byte budget, cached on disk.

May import: numpy, PIL, channels.checks, linksim.digital.{bpg, hevc}.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import struct
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError, features

from channels.checks import check_choice, complaint
from linksim.digital.bpg import decode_bpg, encode_bpg
from linksim.digital.hevc import CodecError, encoder_version

__all__ = [
    "BpgCodec",
    "Fit",
    "PillowCodec",
    "QualitySearch",
    "SourceCodec",
    "StreamCache",
    "make_source_codec",
]

Rgb = NDArray[np.uint8]
ChromaName = Literal["420", "444"]
PillowName = Literal["jpeg", "jpeg2000", "webp", "avif"]
_PILLOW_FEATURE = {"jpeg": "jpg", "jpeg2000": "jpg_2000", "webp": "webp", "avif": "avif"}


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
    """JPEG, JPEG 2000, WebP or AVIF through Pillow.

    Qualities are those of Pillow; JPEG 2000 has half decibels of PSNR (120 = 60 dB) and codes bare
    codestreams with the 9-7 wavelet.
    """

    codec: PillowName
    chroma: ChromaName = "420"

    def __post_init__(self) -> None:
        check_choice("source.codec", self.codec, tuple(_PILLOW_FEATURE))
        only = {"webp": "420", "jpeg2000": "444"}.get(self.codec, self.chroma)
        if self.chroma != only:
            name = {"webp": "WebP", "jpeg2000": "JPEG 2000"}[self.codec]
            format_ = ":".join(only)
            raise ValueError(complaint("source.chroma", f"{name} has none but {format_}", self.chroma, only))
        if not self.available(self.codec):
            cure = "Install a newer Pillow: pip install -U pillow"
            raise ValueError(
                complaint("source.codec", "this Pillow lacks it", self.codec, "a Pillow with it", cure)
            )

    @staticmethod
    def available(codec: str) -> bool:
        """Whether this Pillow has the codec."""
        return bool(features.check(_PILLOW_FEATURE[codec]))

    @property
    def name(self) -> str:
        """See :class:`SourceCodec`."""
        return f"{self.codec}-{self.chroma}"

    @property
    def version(self) -> str:
        """See :class:`SourceCodec`."""
        library = features.version(_PILLOW_FEATURE[self.codec])
        return f"Pillow {PIL.__version__}, {self.codec} {library}, {self._options(0)}"

    @property
    def qualities(self) -> tuple[int, ...]:
        """See :class:`SourceCodec`."""
        if self.codec == "jpeg2000":
            return tuple(range(120, 19, -1))
        return tuple(range(100, 0, -1)) if self.codec == "jpeg" else tuple(range(100, -1, -1))

    def _options(self, quality: int) -> dict[str, object]:
        if self.codec == "jpeg":
            subsampling = {"420": "4:2:0", "444": "4:4:4"}[self.chroma]
            return {"quality": quality, "subsampling": subsampling, "optimize": True, "progressive": True}
        if self.codec == "webp":
            return {"quality": quality, "method": 6}
        if self.codec == "jpeg2000":
            layers = {"quality_mode": "dB", "quality_layers": [quality / 2]}
            return {**layers, "irreversible": True, "no_jp2": True}
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
    """The codec of a name: "bpg", "jpeg", "jpeg2000", "webp" or "avif"."""
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


class Fit(NamedTuple):
    """What fits a budget: the stream, its quality parameter, and n where sides were divided by n before."""

    stream: bytes
    quality: int
    resolution: int = 1


def resize(rgb: Rgb, size: tuple[int, int]) -> Rgb:
    """A picture in (H, W) pixels, Lanczos."""
    if rgb.shape[:2] == size:
        return rgb
    return np.array(Image.fromarray(rgb).resize((size[1], size[0]), Image.Resampling.LANCZOS))


def reduced(size: tuple[int, int], resolution: int) -> tuple[int, int]:
    """(H, W) divided by ``resolution``, rounded up."""
    return -(-size[0] // resolution), -(-size[1] // resolution)


class QualitySearch:
    """The highest quality of a codec whose stream fits a budget.

    Where little fits, half or quarter size and a better quality can show more than full size: the transmitter
    compares them in PSNR with the picture it has. The receiver sees the size in the stream.

    Args:
        codec: source codec.
        cache: streams of earlier searches.
        resolutions: 1 for full size, 2 and 4 for half and quarter of the sides.
    """

    _KEEP = 512
    _POOR = 0.6  # from this share of the qualities on, smaller sizes are tried, too

    def __init__(
        self, codec: SourceCodec, cache: StreamCache | None = None, resolutions: tuple[int, ...] = (1,)
    ) -> None:
        self.codec = codec
        self.cache = cache or StreamCache()
        self.resolutions = resolutions
        self._stamp = f"{codec.name}|{codec.version}"
        self._streams: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._decoded: OrderedDict[tuple[bytes, tuple[int, int]], Rgb] = OrderedDict()

    @property
    def name(self) -> str:
        """Codec, chroma format and, if there is a choice, resolutions: "bpg-420", "bpg-420-1/2/4"."""
        if self.resolutions == (1,):
            return self.codec.name
        return f"{self.codec.name}-{'/'.join(str(r) for r in self.resolutions)}"

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

    def best(self, rgb: Rgb, digest: str, budget_bytes: int) -> Fit | None:
        """What shows most within a budget, or None if nothing fits.

        Args:
            rgb: [H, W, 3] uint8.
            digest: name of its pixels.
            budget_bytes: largest stream allowed.
        """
        found: Fit | None = None
        least = math.inf
        for resolution in self.resolutions:
            if found is not None and not self._is_poor(found):
                break
            small = resize(rgb, reduced(rgb.shape[:2], resolution))
            own = digest if resolution == 1 else f"{digest}/{resolution}"
            fit = self._best_quality(small, own, budget_bytes)
            if fit is None:
                continue
            if self.resolutions == (1,):
                return Fit(*fit)
            shown = self.decode(fit[0], (rgb.shape[0], rgb.shape[1])).astype(np.float64)
            error = float(np.square(shown - rgb).sum())
            if error < least:
                found, least = Fit(*fit, resolution), error
        return found

    def _is_poor(self, fit: Fit) -> bool:
        qualities = self.codec.qualities
        return qualities.index(fit.quality) >= self._POOR * len(qualities)

    def _best_quality(self, rgb: Rgb, digest: str, budget_bytes: int) -> tuple[bytes, int] | None:
        """Stream and quality of the best quality that fits, or None if not even the worst does.

        Bisection over the qualities, then two more on the better side: sizes are not strictly monotone.
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
        """Picture [H, W, 3] uint8 in the size ``expected``, whatever allowed size was coded; remembers the
        last results.

        Raises:
            CodecError: damaged, or of another size.
        """
        key = (data, expected)
        if key not in self._decoded:
            self._decoded[key] = resize(self._decode(data, expected), expected)
            if len(self._decoded) > 32:
                self._decoded.popitem(last=False)
        self._decoded.move_to_end(key)
        return self._decoded[key]

    def _decode(self, data: bytes, expected: tuple[int, int]) -> Rgb:
        """The picture as coded."""
        problem = CodecError(f"{self.codec.name}: no resolution to decode")
        for resolution in self.resolutions:
            try:
                return self.codec.decode(data, reduced(expected, resolution))
            except CodecError as error:
                problem = error
        raise problem

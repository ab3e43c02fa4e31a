"""BPG by the reference tools, ``bpgenc`` and ``bpgdec``, where they are installed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from channels.checks import complaint
from linksim.kinds import kind
from linksim.source.bpg import MAX_PIXELS, read_header
from linksim.source.hevc import CodecError

__all__ = ["ExternalBpgCodec"]

Rgb = NDArray[np.uint8]
_TIMEOUT_S = 300
_LEVELS = {"best": 9, "fast": 4}  # of bpgenc -m, 1 to 9


def _call(command: list[str]) -> None:
    """Run a tool; what it complains of becomes a CodecError."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise CodecError(f"{Path(command[0]).name}: no end after {_TIMEOUT_S} s") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
        raise CodecError(f"{Path(command[0]).name}: {said}")


@lru_cache(maxsize=4)
def _version(tool: str) -> str:
    done = subprocess.run([tool, "-h"], capture_output=True, timeout=30, check=False)
    return (done.stdout or done.stderr).decode(errors="replace").partition("\n")[0].strip()


@kind("source_codec", "bpg_external")
@dataclass(frozen=True)
class ExternalBpgCodec:
    """BPG by ``bpgenc`` and ``bpgdec``, quality = QP 0 to 51 of bpgenc.

    bpgenc's x265 codes its one picture at about QP-3, so its QP is not that of
    :class:`linksim.source.codec.BpgCodec`; a search
    under a byte budget does not mind.

    Args:
        chroma: "420" or "444".
        effort: "best" is level 9 of bpgenc, "fast" level 4.

    Raises:
        ValueError: the tools are not on the PATH.
    """

    chroma: Literal["420", "444"] = "420"
    effort: Literal["best", "fast"] = "best"

    def __post_init__(self) -> None:
        missing = [tool for tool in ("bpgenc", "bpgdec") if shutil.which(tool) is None]
        if missing:
            cure = "Install libbpg (https://bellard.org/bpg), or use codec: bpg, which needs no tools."
            raise ValueError(
                complaint("source.codec", "tools not on the PATH", ", ".join(missing), "both", cure)
            )

    @staticmethod
    def available() -> bool:
        """Whether both tools are on the PATH."""
        return shutil.which("bpgenc") is not None and shutil.which("bpgdec") is not None

    @property
    def name(self) -> str:
        """See :class:`linksim.source.codec.SourceCodec`."""
        return f"bpg_external-{self.chroma}" + ("-fast" if self.effort == "fast" else "")

    @property
    def version(self) -> str:
        """See :class:`linksim.source.codec.SourceCodec`."""
        return f"{_version(self._tool('bpgenc'))}, x265, level {_LEVELS[self.effort]}"

    @property
    def qualities(self) -> tuple[int, ...]:
        """See :class:`linksim.source.codec.SourceCodec`."""
        return tuple(range(52))

    @staticmethod
    def _tool(name: str) -> str:
        return shutil.which(name) or name

    def refusal(self, size: tuple[int, int]) -> str:
        """See :class:`linksim.source.codec.SourceCodec`."""
        return "" if size[0] * size[1] <= MAX_PIXELS else f"at most {MAX_PIXELS} pixels"

    def encode(self, rgb: Rgb, quality: int) -> bytes:
        """See :class:`linksim.source.codec.SourceCodec`."""
        with tempfile.TemporaryDirectory(prefix="linksim-bpg-") as folder:
            source, target = Path(folder) / "in.png", Path(folder) / "out.bpg"
            Image.fromarray(rgb).save(source, compress_level=1)
            options = ["-q", str(quality), "-f", self.chroma, "-m", str(_LEVELS[self.effort]), "-e", "x265"]
            _call([self._tool("bpgenc"), *options, "-o", str(target), str(source)])
            return target.read_bytes()

    def decode(self, data: bytes, expected: tuple[int, int]) -> Rgb:
        """See :class:`linksim.source.codec.SourceCodec`."""
        header = read_header(data)
        if (header.height, header.width) != expected:
            raise CodecError(f"bpg: size {header.height} x {header.width}, expected {expected}")
        with tempfile.TemporaryDirectory(prefix="linksim-bpg-") as folder:
            source, target = Path(folder) / "in.bpg", Path(folder) / "out.png"
            source.write_bytes(data)
            _call([self._tool("bpgdec"), "-o", str(target), str(source)])
            with Image.open(target, formats=("PNG",)) as picture:
                rgb = np.asarray(picture.convert("RGB")).copy()
        if rgb.shape[:2] != expected:
            raise CodecError(f"bpg: size {rgb.shape[:2]}, expected {expected}")
        return rgb

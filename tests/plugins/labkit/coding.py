"""A network, a scheme that runs one, and a source codec through commands of the system."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Interval
from PIL import Image
from pydantic import Field
from torch import nn

from channels.equalization import equalize
from linksim.jscc.layout import SymbolLayout
from linksim.kinds import AnalogSchemeBase, BuildContext, NetworkBase, kind
from linksim.source.hevc import CodecError

SIDE = 16


class Pooling(nn.Module):
    """A linear encoder and decoder of 16 x 16 blocks, told nothing."""

    block = SIDE

    def __init__(self, latent_channels: int) -> None:
        super().__init__()
        self.latent_channels = latent_channels
        self.encoder = nn.Conv2d(3, latent_channels, SIDE, stride=SIDE)
        self.decoder = nn.ConvTranspose2d(latent_channels, 3, SIDE, stride=SIDE)

    def num_symbols(self, height: int, width: int) -> int:
        """Symbols of a picture."""
        return self.latent_channels // 2 * (height // SIDE) * (width // SIDE)

    def layout(self, height: int, width: int, budget: int) -> SymbolLayout:
        """Which symbol is which value."""
        return SymbolLayout.filled(self.latent_channels, height, width, SIDE, budget)

    def encode(self, image, layout, csit):
        """[B, n] complex symbols of unit mean power."""
        return layout.to_symbols(self.encoder(image - 0.5).float())

    def decode(self, received, layout, csit, seeds):
        """[B, 3, H, W] pictures."""
        return self.decoder(layout.to_map(equalize(received, "lmmse")[0])) + 0.5


@kind("network", "pooling")
class PoolingSizes(NetworkBase):
    """A linear network of blocks."""

    latent_channels: Annotated[int, Field(ge=2, multiple_of=2)] = 16

    def build(self) -> nn.Module:
        """The untrained network."""
        return Pooling(self.latent_channels)


class MeanColours(Pooling):
    """What :class:`Average` sends: block means, and their inverse, set by hand."""

    def __init__(self) -> None:
        super().__init__(32)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)
        for colour in range(3):
            self.encoder.weight.data[colour, colour] = 1 / SIDE**2
            self.decoder.weight.data[colour, colour] = 0.2


@kind("scheme", "average")
class Average(AnalogSchemeBase):
    """A learned scheme of one's own: the mean colour of every block."""

    def build(self, context: BuildContext):
        """The scheme."""
        from linksim.schemes.jscc import JsccScheme

        return JsccScheme(self.name, MeanColours().to(context.device).eval().requires_grad_(False), self.csit)


@kind("source_codec", "pnm_by_command")
@dataclass(frozen=True)
class CommandCodec:
    """Pictures through a command that reads a PPM and writes a WebP, and back."""

    method: Annotated[int, Interval(ge=0, le=6)] = 4

    @property
    def name(self) -> str:
        """See linksim.source.codec.SourceCodec."""
        return f"command-{self.method}"

    @property
    def version(self) -> str:
        """All that can change a stream."""
        return f"Pillow in Python {sys.version.split()[0]}"

    @property
    def qualities(self) -> tuple[int, ...]:
        """From the largest streams to the smallest."""
        return (60, 20, 5)

    def refusal(self, size: tuple[int, int]) -> str:
        """It takes all."""
        return ""

    def _run(self, code: str, data: bytes) -> bytes:
        done = subprocess.run(
            [sys.executable, "-c", code], input=data, capture_output=True, timeout=60, check=False
        )
        if done.returncode:
            raise CodecError(f"command: {done.stderr.decode(errors='replace')[-200:]}")
        return done.stdout

    def encode(self, rgb, quality: int) -> bytes:
        """Stream of a picture [H, W, 3] uint8."""
        out = io.BytesIO()
        Image.fromarray(rgb).save(out, "PPM")
        return self._run(
            "import sys; from PIL import Image; "
            f"Image.open(sys.stdin.buffer).save(sys.stdout.buffer, 'WEBP', quality={quality}, "
            f"method={self.method})",
            out.getvalue(),
        )

    def decode(self, data: bytes, expected: tuple[int, int]):
        """Picture [H, W, 3] uint8 of a stream."""
        ppm = self._run(
            "import sys; from PIL import Image; Image.open(sys.stdin.buffer).convert('RGB').save("
            "sys.stdout.buffer, 'PPM')",
            data,
        )
        picture = np.asarray(Image.open(io.BytesIO(ppm)))
        if picture.shape[:2] != expected:
            raise CodecError(f"command: size {picture.shape[:2]}, expected {expected}")
        return picture.copy()

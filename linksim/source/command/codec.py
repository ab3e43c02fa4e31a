"""A picture codec behind two command lines: one that codes a PNG, one that makes a PNG of the stream."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Interval
from numpy.typing import NDArray
from PIL import Image

from channels.checks import check_fields, complaint
from linksim.kinds import kind
from linksim.source.command.program import (
    CommandError,
    CommandLost,
    files_named,
    find_program,
    output_of,
    run,
    working_folder,
)
from linksim.source.hevc import CodecError
from linksim.source.pillow_codec import DAMAGE

__all__ = ["CommandCodec"]

Rgb = NDArray[np.uint8]
_WORDS = re.compile(r"\{(\w*)\}")
_LARGEST_SIDE = 65535
_PNG_ROOM = 1 << 20
# A program may write temporary files beside its output: 16 planes of 16 bits, and 64 MiB.
_BYTES_PER_PIXEL, _FILE_ROOM = 32, 1 << 26


@kind("source_codec", "command")
@dataclass(frozen=True)
class CommandCodec:
    """Any codec, by the command lines of an encoder and a decoder that the user allows.

    No shell is started. In the arguments ``{input}`` and ``{output}`` are files, ``{quality}`` one of
    ``qualities``, ``{width}`` and ``{height}`` those of the picture that is coded. Pictures are PNG, 8 bits,
    RGB. A decoder is told nothing but the stream. What the encoder gave is decoded once before it counts, so
    that a stream that arrives whole is a picture; a program that fails there ends the run.

    Args:
        encode: program and arguments, with {input}, {output} and {quality}.
        decode: program and arguments, with {input} and {output}.
        qualities: whole numbers from the largest streams to the smallest.
        suffix: of the stream's file, by which some programs know its format.
        timeout_s: longest time of one command [s].
        size_limit_bytes: longest stream; a quality with a longer one is left out.

    Raises:
        ValueError: command lines that cannot be used, or programs that are missing or not allowed
            (``LINKSIM_ALLOW_COMMANDS``).
    """

    starts_programs: ClassVar[bool] = True

    encode_command: tuple[str, ...] = field(
        metadata={"name": "encode", "description": "program and arguments, with {input}, {output}, {quality}"}
    )
    decode_command: tuple[str, ...] = field(
        metadata={"name": "decode", "description": "program and arguments, with {input} and {output}"}
    )
    qualities: tuple[int, ...] = field(metadata={"description": "from the largest streams to the smallest"})
    suffix: str = field(default=".bin", metadata={"description": "of the stream's file, such as .266"})
    timeout_s: Annotated[float, Interval(gt=0, le=86400)] = field(
        default=300.0, metadata={"description": "longest time of one command [s]"}
    )
    size_limit_bytes: Annotated[int, Interval(ge=1, le=1 << 30)] = field(
        default=1 << 24, metadata={"description": "longest stream; a quality with a longer one is left out"}
    )

    def __post_init__(self) -> None:
        check_fields(self)
        _check_command(
            "source.encode", self.encode_command, ("input", "output", "quality"), ("width", "height")
        )
        _check_command("source.decode", self.decode_command, ("input", "output"))
        if not self.qualities or len(set(self.qualities)) < len(self.qualities):
            expected = "whole numbers, each once, from the largest streams to the smallest"
            raise ValueError(complaint("source.qualities", "not usable", list(self.qualities), expected))
        if not re.fullmatch(r"\.[A-Za-z0-9]{1,10}", self.suffix):
            raise ValueError(complaint("source.suffix", "not allowed", repr(self.suffix), "such as .bin"))
        self._programs()

    def _programs(self) -> tuple[Path, Path]:
        """Encoder and decoder, as far as they are allowed now."""
        return (
            find_program("source.encode", self.encode_command[0]),
            find_program("source.decode", self.decode_command[0]),
        )

    @property
    def name(self) -> str:
        """Program of the encoder, and a digest of the command lines and qualities."""
        text = repr((self.encode_command, self.decode_command, self.qualities, self.suffix))
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        return f"command-{Path(self.encode_command[0]).name}-{digest}"

    @property
    def version(self) -> str:
        """Command lines, with digests of programs and of the files that arguments name; qualities."""
        commands = (self.encode_command, self.decode_command)
        lines = [
            f"{' '.join(command)} ({files_named(program, command[1:])})"
            for program, command in zip(self._programs(), commands, strict=True)
        ]
        return f"{'; '.join(lines)}; {self.suffix}; qualities {self.qualities}"

    def refusal(self, size: tuple[int, int]) -> str:
        """See :class:`linksim.source.codec.SourceCodec`."""
        return "" if max(size) <= _LARGEST_SIDE else f"sides of at most {_LARGEST_SIDE} pixels"

    def encode(self, rgb: Rgb, quality: int) -> bytes:
        """See :class:`linksim.source.codec.SourceCodec`.

        Raises:
            CodecError: a stream longer than the limit.
            CommandError: a program that failed, or did not end, or a stream that the decoder does not take.
        """
        height, width = rgb.shape[:2]
        where = f"{width} x {height} at quality {quality}"
        encoder, _ = self._programs()
        with working_folder() as folder:
            source, target = folder / "input.png", folder / f"output{self.suffix}"
            Image.fromarray(rgb).save(source, compress_level=1)
            values = {"quality": quality, "width": width, "height": height, "input": source, "output": target}
            try:
                self._run(encoder, self.encode_command, values, folder, height * width)
                stream = output_of(target, self.size_limit_bytes)
            except CommandError as problem:
                raise type(problem)(f"source.encode: {where}: {problem}") from None
        if stream is None:
            raise CodecError(f"{self.name}: {where}: more than size_limit_bytes, {self.size_limit_bytes}")
        try:
            self._decode(stream, (height, width))
        except (CodecError, CommandError) as problem:
            raise CommandError(f"source.decode: its own stream of {where}: {problem}") from None
        return stream

    def decode(self, data: bytes, expected: tuple[int, int]) -> Rgb:
        """See :class:`linksim.source.codec.SourceCodec`: a program that ends with an error, or writes no
        picture of the size, says that the stream is damaged.

        Raises:
            CodecError: damaged.
            CommandLost: the program did not end, or was killed, which says nothing of the stream.
        """
        try:
            return self._decode(data, expected)
        except CommandLost as problem:
            raise CommandLost(f"source.decode: {problem}") from None
        except CommandError as problem:
            raise CodecError(f"{self.name}: {problem}") from None

    def _decode(self, data: bytes, expected: tuple[int, int]) -> Rgb:
        _, decoder = self._programs()
        with working_folder() as folder:
            source, target = folder / f"input{self.suffix}", folder / "output.png"
            source.write_bytes(data)
            pixels = expected[0] * expected[1]
            self._run(decoder, self.decode_command, {"input": source, "output": target}, folder, pixels)
            return _read_png(output_of(target, 6 * pixels + _PNG_ROOM), expected)

    def _run(
        self, program: Path, command: Sequence[str], values: dict[str, object], folder: Path, pixels: int
    ) -> None:
        arguments = [_WORDS.sub(lambda found: str(values[found[1]]), part) for part in command[1:]]
        file_bytes = max(self.size_limit_bytes, _FILE_ROOM) + _BYTES_PER_PIXEL * pixels
        run(program, arguments, folder, self.timeout_s, file_bytes)


def _check_command(
    field_: str, command: tuple[str, ...], needed: tuple[str, ...], other: tuple[str, ...] = ()
) -> None:
    """Raise ValueError unless a command line has its files, and no word that nothing is put in for."""
    words = {word for part in command[1:] for word in _WORDS.findall(part)}
    if not command or not command[0] or any("\0" in part for part in command):
        raise ValueError(complaint(field_, "no command", list(command), "a program and its arguments"))
    lacking = [f"{{{word}}}" for word in needed if word not in words]
    unknown = [f"{{{word}}}" for word in sorted(words - {*needed, *other})]
    if lacking or unknown or _WORDS.search(command[0]):
        got = f"{list(command)} " + (
            f"without {', '.join(lacking)}" if lacking else f"with {', '.join(unknown)}"
        )
        expected = "a program, and in its arguments " + ", ".join(f"{{{word}}}" for word in needed)
        if other:
            expected += f"; allowed as well: {', '.join(f'{{{word}}}' for word in other)}"
        raise ValueError(complaint(field_, "not usable", got, expected))


def _read_png(data: bytes | None, expected: tuple[int, int]) -> Rgb:
    """Pixels of what a decoder wrote.

    Raises:
        CodecError: no PNG of 8 bits in RGB or grey, or another size.
    """
    if data is None:
        raise CodecError("output.png is longer than any of this size")
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
            if (picture.height, picture.width) != expected:
                got = f"{picture.width} x {picture.height}"
                raise CodecError(f"output.png is {got}, expected {expected[1]} x {expected[0]}")
            if picture.mode not in ("RGB", "L", "P"):
                raise CodecError(f"output.png is {picture.mode}, expected RGB with 8 bits")
            return np.asarray(picture.convert("RGB")).copy()
    except CodecError:
        raise
    except DAMAGE as problem:
        raise CodecError(f"output.png does not decode ({problem})") from None

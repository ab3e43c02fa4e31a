"""Bits of HEVC parameter sets and of the BPG header, ITU-T H.265 sec. 7.4.2 and 9.2."""

from __future__ import annotations

from linksim.source.hevc import CodecError

__all__ = ["BitReader", "BitWriter", "escape", "read_ue7", "ue7", "unescape"]


class BitReader:
    """Most significant bit first; reading past the end is an error."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def bits(self, count: int) -> int:
        value = 0
        for _ in range(count):
            if self.at >= 8 * len(self.data):
                raise CodecError("bpg: parameter set ends early")
            value = value << 1 | (self.data[self.at >> 3] >> (7 - (self.at & 7)) & 1)
            self.at += 1
        return value

    def ue(self) -> int:
        """Exponential-Golomb code, H.265 sec. 9.2."""
        zeros = 0
        while self.bits(1) == 0:
            zeros += 1
            if zeros > 31:
                raise CodecError("bpg: broken exponential-Golomb code")
        return (1 << zeros) - 1 + self.bits(zeros)


class BitWriter:
    """Most significant bit first."""

    def __init__(self) -> None:
        self.out: list[int] = []

    def bits(self, value: int, count: int) -> None:
        self.out.extend(value >> i & 1 for i in range(count - 1, -1, -1))

    def ue(self, value: int) -> None:
        length = (value + 1).bit_length()
        self.bits(0, length - 1)
        self.bits(value + 1, length)

    def done(self, *, stop_bit: bool) -> bytes:
        bits = self.out + [1] * stop_bit
        bits += [0] * (-len(bits) % 8)
        return bytes(int("".join(map(str, bits[i : i + 8])), 2) for i in range(0, len(bits), 8))


def escape(rbsp: bytes) -> bytes:
    """Insert emulation prevention bytes, H.265 sec. 7.4.2."""
    out, zeros = bytearray(), 0
    for byte in rbsp:
        if zeros >= 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(out)


def unescape(nal: bytes) -> bytes:
    """Take emulation prevention bytes out."""
    out, zeros = bytearray(), 0
    for byte in nal:
        if zeros >= 2 and byte == 3:
            zeros = 0
            continue
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(out)


def ue7(value: int) -> bytes:
    """A number of a BPG header: seven bits to a byte."""
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))


def read_ue7(data: bytes, at: int) -> tuple[int, int]:
    """That number, and where it ends."""
    value = 0
    for i in range(5):
        if at + i >= len(data):
            raise CodecError("bpg: header ends early")
        byte = data[at + i]
        if i == 0 and byte == 0x80:
            raise CodecError("bpg: illegal number in the header")
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            return value, at + i + 1
    raise CodecError("bpg: number in the header is too long")

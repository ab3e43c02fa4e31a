"""The stream of a learned codec: what its decoder needs, and nothing that it does not.

A byte with the number of the network, height and width, the lengths of all strings but the last, the strings.
Numbers have 7 bits a byte, high bits first; lengths are in words of 4 bytes, which the entropy coder writes.
"""

from __future__ import annotations

from dataclasses import dataclass

from linksim.source.hevc import CodecError

__all__ = ["Coded", "pack", "unpack"]

_WORD = 4
_MOST_BYTES = 4  # of a number: 28 bits


@dataclass(frozen=True)
class Coded:
    """A coded picture.

    Args:
        quality: number of the network, 0 to 255.
        size: (H, W) of the picture.
        strings: of the entropy coder, each a multiple of 4 bytes.
    """

    quality: int
    size: tuple[int, int]
    strings: tuple[bytes, ...]


def pack(coded: Coded) -> bytes:
    """The stream.

    Raises:
        CodecError: strings that are not made of words.
    """
    if any(len(string) % _WORD for string in coded.strings):
        raise CodecError(f"strings of {[len(s) for s in coded.strings]} bytes, expected multiples of {_WORD}")
    lengths = [len(string) // _WORD for string in coded.strings[:-1]]
    head = bytes([coded.quality]) + b"".join(_number(value) for value in (*coded.size, *lengths))
    return head + b"".join(coded.strings)


def unpack(data: bytes, num_strings: int) -> Coded:
    """What a stream says.

    Raises:
        CodecError: it ends too early, or has numbers or lengths that no stream has.
    """
    if not data:
        raise CodecError("stream is empty")
    place, numbers = 1, []
    for _ in range(2 + num_strings - 1):
        value, place = _read_number(data, place)
        numbers.append(value)
    strings = []
    for words in numbers[2:]:
        strings.append(data[place : place + _WORD * words])
        place += _WORD * words
    strings.append(data[place:])
    if place > len(data) or not strings[-1] or len(strings[-1]) % _WORD:
        raise CodecError("stream has another length than it says")
    return Coded(data[0], (numbers[0], numbers[1]), tuple(strings))


def _number(value: int) -> bytes:
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))


def _read_number(data: bytes, place: int) -> tuple[int, int]:
    """A number, and where the next one begins."""
    value = 0
    for i in range(place, min(place + _MOST_BYTES, len(data))):
        value = value << 7 | data[i] & 0x7F
        if not data[i] & 0x80:
            return value, i + 1
    raise CodecError("stream ends within its header")

"""Parameter sets: whole ones as HEVC has them, and the reduced one of BPG, ITU-T H.265 sec. 7.3.2."""

from __future__ import annotations

from dataclasses import dataclass

from linksim.source.bpg.bits import BitReader, BitWriter, escape, unescape
from linksim.source.hevc import Chroma, CodecError

__all__ = ["SequenceParameterSet", "read_full", "read_reduced", "video_parameter_set"]


@dataclass(frozen=True)
class SequenceParameterSet:
    """The fields of a sequence parameter set that BPG keeps."""

    min_cb: int
    diff_cb: int
    min_tb: int
    diff_tb: int
    depth_intra: int
    sao: int
    pcm: tuple[int, int, int, int, int] | None
    strong_smoothing: int
    range_extension: tuple[int, ...] | None  # 9 flags, None without the extension

    def write(self, w: BitWriter) -> None:
        """The reduced set of the BPG header."""
        for value in (self.min_cb, self.diff_cb, self.min_tb, self.diff_tb, self.depth_intra):
            w.ue(value)
        w.bits(self.sao, 1)
        self._write_pcm(w)
        w.bits(self.strong_smoothing, 1)
        self._write_extension(w)

    def _write_pcm(self, w: BitWriter) -> None:
        w.bits(self.pcm is not None, 1)
        if self.pcm is not None:
            luma, chroma, min_size, diff_size, no_filter = self.pcm
            w.bits(luma, 4)
            w.bits(chroma, 4)
            w.ue(min_size)
            w.ue(diff_size)
            w.bits(no_filter, 1)

    def _write_extension(self, w: BitWriter) -> None:
        w.bits(self.range_extension is not None, 1)
        if self.range_extension is not None:
            w.bits(1, 1)
            w.bits(0, 7)
            for flag in self.range_extension:
                w.bits(flag, 1)

    def full(self, height: int, width: int, chroma: Chroma, depth: int) -> bytes:
        """A whole SPS NAL unit for a stock decoder, with what BPG implies filled in."""
        w = BitWriter()
        w.bits(0, 4 + 3)  # video parameter set 0, one sub-layer
        w.bits(1, 1)
        _write_profile(w)
        w.ue(0)
        idc = {"400": 0, "420": 1, "422": 2, "444": 3}[chroma]
        w.ue(idc)
        if idc == 3:
            w.bits(0, 1)
        w.ue(width)
        w.ue(height)
        w.bits(0, 1)  # no cropping window
        w.ue(depth - 8)
        w.ue(depth - 8)
        w.ue(4)  # picture order count of 8 bits
        w.bits(1, 1)
        for _ in range(3):
            w.ue(0)
        for value in (
            self.min_cb,
            self.diff_cb,
            self.min_tb,
            self.diff_tb,
            self.depth_intra,
            self.depth_intra,
        ):
            w.ue(value)
        w.bits(0, 1)  # no scaling lists
        w.bits(1, 1)  # asymmetric partitions
        w.bits(self.sao, 1)
        self._write_pcm(w)
        w.ue(0)  # no reference picture sets
        w.bits(0, 1)
        w.bits(1, 1)  # temporal motion vector prediction
        w.bits(self.strong_smoothing, 1)
        w.bits(0, 1)  # no usability information
        self._write_extension(w)
        return b"\x42\x01" + escape(w.done(stop_bit=True))


def _write_profile(w: BitWriter) -> None:
    """profile_tier_level() of the range extensions profile, level 8.5 (no limits)."""
    w.bits(4, 8)
    w.bits(1 << (31 - 4), 32)
    w.bits(0b1001, 4)
    w.bits(0, 43 + 1)
    w.bits(255, 8)


def video_parameter_set() -> bytes:
    """A whole VPS NAL unit, which BPG implies."""
    w = BitWriter()
    w.bits(0, 4)
    w.bits(3, 2)
    w.bits(0, 6 + 3)
    w.bits(1, 1)
    w.bits(0xFFFF, 16)
    _write_profile(w)
    w.bits(1, 1)
    for _ in range(3):
        w.ue(0)
    w.bits(0, 6)
    w.ue(0)
    w.bits(0, 2)
    return b"\x40\x01" + escape(w.done(stop_bit=True))


def read_reduced(data: bytes) -> SequenceParameterSet:
    """The reduced set of a BPG header."""
    r = BitReader(data)
    min_cb, diff_cb, min_tb, diff_tb, intra = (r.ue() for _ in range(5))
    sao = r.bits(1)
    pcm = _read_pcm(r)
    strong = r.bits(1)
    sps = SequenceParameterSet(min_cb, diff_cb, min_tb, diff_tb, intra, sao, pcm, strong, _read_extension(r))
    if sps.min_cb > 3 or sps.min_cb + sps.diff_cb > 3 or sps.min_tb + sps.diff_tb > 3 or sps.depth_intra > 4:
        raise CodecError("bpg: block sizes out of range")
    return sps


def _read_pcm(r: BitReader) -> tuple[int, int, int, int, int] | None:
    if not r.bits(1):
        return None
    return r.bits(4), r.bits(4), r.ue(), r.ue(), r.bits(1)


def _read_extension(r: BitReader) -> tuple[int, ...] | None:
    if not r.bits(1):
        return None
    present = r.bits(1)
    if r.bits(7):
        raise CodecError("bpg: unknown extension of the parameter set")
    return tuple(r.bits(1) for _ in range(9)) if present else None


def read_full(nal: bytes) -> SequenceParameterSet:
    """Parse an SPS as libx265 writes it (one sub-layer, no scaling lists)."""
    r = BitReader(unescape(nal[2:]))
    r.bits(4)
    if r.bits(3):
        raise CodecError("bpg: encoder made more than one sub-layer")
    r.bits(1 + 88 + 8)
    r.ue()
    if r.ue() == 3:
        r.bits(1)
    r.ue()
    r.ue()
    if r.bits(1):
        raise CodecError("bpg: encoder cropped the picture")
    depths = r.ue(), r.ue()
    if depths[0] != depths[1]:
        raise CodecError("bpg: luma and chroma depth differ")
    r.ue()
    r.bits(1)
    for _ in range(3):
        r.ue()
    min_cb, diff_cb, min_tb, diff_tb, _, intra = (r.ue() for _ in range(6))
    if r.bits(1):
        raise CodecError("bpg: encoder used scaling lists")
    r.bits(1)
    sao = r.bits(1)
    pcm = _read_pcm(r)
    if r.ue():
        raise CodecError("bpg: encoder wrote reference picture sets")
    if r.bits(1):
        raise CodecError("bpg: encoder used long-term references")
    r.bits(1)
    strong = r.bits(1)
    # Usability information, if any, does not change samples; libx265 writes no extension for 8 bit.
    return SequenceParameterSet(min_cb, diff_cb, min_tb, diff_tb, intra, sao, pcm, strong, None)

"""True BPG files: container, reduced parameter set, and the colour pipeline of the reference, bit for bit.

Specification: F. Bellard, "BPG Specification", version 0.9.8; HEVC syntax from ITU-T H.265 sec. 7.3.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from linksim.source.hevc import (
    Chroma,
    CodecError,
    Picture,
    coding_block,
    decode_hevc,
    encode_hevc,
    join_nals,
    split_nals,
)

__all__ = ["BpgHeader", "decode_bpg", "encode_bpg", "read_header"]

MAGIC = b"BPG\xfb"
MAX_PIXELS = 1 << 26
_CHROMA: dict[int, Chroma] = {0: "400", 1: "420", 2: "422", 3: "444", 4: "420", 5: "422"}
_ALIGNED = (4, 5)  # codes of chroma that stands on every second column, as in MPEG-2, not between two
_BT601, _RGB, _YCGCO, _BT709, _BT2020 = range(5)
_LUMA_WEIGHTS = {_BT601: (0.299, 0.114), _BT709: (0.2126, 0.0722), _BT2020: (0.2627, 0.0593)}

# ------------------------------------------------------------------------------------------- bits


class _BitReader:
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


class _BitWriter:
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


def _escape(rbsp: bytes) -> bytes:
    """Insert emulation prevention bytes, H.265 sec. 7.4.2."""
    out, zeros = bytearray(), 0
    for byte in rbsp:
        if zeros >= 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(out)


def _unescape(nal: bytes) -> bytes:
    out, zeros = bytearray(), 0
    for byte in nal:
        if zeros >= 2 and byte == 3:
            zeros = 0
            continue
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(out)


def _ue7(value: int) -> bytes:
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))


def _read_ue7(data: bytes, at: int) -> tuple[int, int]:
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


# ------------------------------------------------------------------------------- sequence parameter set


@dataclass(frozen=True)
class _Sps:
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

    def write(self, w: _BitWriter) -> None:
        """The reduced set of the BPG header."""
        for value in (self.min_cb, self.diff_cb, self.min_tb, self.diff_tb, self.depth_intra):
            w.ue(value)
        w.bits(self.sao, 1)
        self._write_pcm(w)
        w.bits(self.strong_smoothing, 1)
        self._write_extension(w)

    def _write_pcm(self, w: _BitWriter) -> None:
        w.bits(self.pcm is not None, 1)
        if self.pcm is not None:
            luma, chroma, min_size, diff_size, no_filter = self.pcm
            w.bits(luma, 4)
            w.bits(chroma, 4)
            w.ue(min_size)
            w.ue(diff_size)
            w.bits(no_filter, 1)

    def _write_extension(self, w: _BitWriter) -> None:
        w.bits(self.range_extension is not None, 1)
        if self.range_extension is not None:
            w.bits(1, 1)
            w.bits(0, 7)
            for flag in self.range_extension:
                w.bits(flag, 1)

    def full(self, height: int, width: int, chroma: Chroma, depth: int) -> bytes:
        """A whole SPS NAL unit for a stock decoder, with what BPG implies filled in."""
        w = _BitWriter()
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
        return b"\x42\x01" + _escape(w.done(stop_bit=True))


def _write_profile(w: _BitWriter) -> None:
    """profile_tier_level() of the range extensions profile, level 8.5 (no limits)."""
    w.bits(4, 8)
    w.bits(1 << (31 - 4), 32)
    w.bits(0b1001, 4)
    w.bits(0, 43 + 1)
    w.bits(255, 8)


def _video_parameter_set() -> bytes:
    w = _BitWriter()
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
    return b"\x40\x01" + _escape(w.done(stop_bit=True))


def _read_reduced(data: bytes) -> _Sps:
    r = _BitReader(data)
    min_cb, diff_cb, min_tb, diff_tb, intra = (r.ue() for _ in range(5))
    sao = r.bits(1)
    pcm = _read_pcm(r)
    strong = r.bits(1)
    sps = _Sps(min_cb, diff_cb, min_tb, diff_tb, intra, sao, pcm, strong, _read_extension(r))
    if sps.min_cb > 3 or sps.min_cb + sps.diff_cb > 3 or sps.min_tb + sps.diff_tb > 3 or sps.depth_intra > 4:
        raise CodecError("bpg: block sizes out of range")
    return sps


def _read_pcm(r: _BitReader) -> tuple[int, int, int, int, int] | None:
    if not r.bits(1):
        return None
    return r.bits(4), r.bits(4), r.ue(), r.ue(), r.bits(1)


def _read_extension(r: _BitReader) -> tuple[int, ...] | None:
    if not r.bits(1):
        return None
    present = r.bits(1)
    if r.bits(7):
        raise CodecError("bpg: unknown extension of the parameter set")
    return tuple(r.bits(1) for _ in range(9)) if present else None


def _read_full(nal: bytes) -> _Sps:
    """Parse an SPS as libx265 writes it (one sub-layer, no scaling lists)."""
    r = _BitReader(_unescape(nal[2:]))
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
    return _Sps(min_cb, diff_cb, min_tb, diff_tb, intra, sao, pcm, strong, None)


# ----------------------------------------------------------------------------------------- container


@dataclass(frozen=True)
class BpgHeader:
    """What a BPG file says of its picture.

    Args:
        height, width: true size in pixels.
        chroma: "400", "420", "422" or "444".
        depth: bits per sample.
        colour_space: 0 BT.601, 1 RGB, 2 YCgCo, 3 BT.709, 4 BT.2020.
        limited_range: luma 16 to 235 instead of the full range.
        data_at: where the HEVC part starts.
        data_length: of the HEVC part; 0 for all that is left.
        aligned: chroma stands on every second column instead of between two.
    """

    height: int
    width: int
    chroma: Chroma
    depth: int
    colour_space: int
    limited_range: bool
    data_at: int
    data_length: int
    aligned: bool = False


def read_header(data: bytes) -> BpgHeader:
    """Parse the container header.

    Raises:
        CodecError: not a BPG file, or one with alpha or animation.
    """
    if data[:4] != MAGIC or len(data) < 6:
        raise CodecError("bpg: no magic number")
    chroma = _CHROMA.get(data[4] >> 5)
    depth = (data[4] & 15) + 8
    flags = data[5]
    if chroma is None or data[4] & 16 or flags & 0b101:
        raise CodecError("bpg: alpha and animation are not supported")
    if depth not in (8, 10, 12) or flags >> 4 > _BT2020:
        raise CodecError("bpg: unsupported bit depth or colour space")
    width, at = _read_ue7(data, 6)
    height, at = _read_ue7(data, at)
    length, at = _read_ue7(data, at)
    if not 0 < width * height <= MAX_PIXELS:
        raise CodecError(f"bpg: size {width} x {height} is out of range")
    if flags & 8:
        skip, at = _read_ue7(data, at)
        at += skip
    aligned = data[4] >> 5 in _ALIGNED
    return BpgHeader(height, width, chroma, depth, flags >> 4, bool(flags & 2), at, length, aligned)


def decode_bpg(data: bytes, expected: tuple[int, int] | None = None) -> np.ndarray:
    """Decode a BPG file.

    Args:
        data: the file; bytes after the last NAL unit are ignored.
        expected: (height, width); any other size is refused before decoding.

    Returns:
        [H, W, 3] uint8, the RGB that the reference decoder writes.

    Raises:
        CodecError: broken or unsupported. A damaged stream may also decode to a wrong picture: only a CRC
            tells.
    """
    header = read_header(data)
    if expected is not None and (header.height, header.width) != expected:
        raise CodecError(
            f"bpg: size {header.height} x {header.width}, expected {expected[0]} x {expected[1]}"
        )
    length, at = _read_ue7(data, header.data_at)
    if at + length >= len(data):
        raise CodecError("bpg: stream ends early")
    sps = _read_reduced(data[at : at + length])
    end = header.data_at + header.data_length if header.data_length else len(data)
    block = 8 << sps.min_cb
    padded = (-(-header.height // block) * block, -(-header.width // block) * block)
    nals = [_video_parameter_set(), sps.full(*padded, header.chroma, header.depth)]
    stream = join_nals(nals) + b"\x00\x00\x00\x01" + data[at + length : end]
    picture = decode_hevc(stream, padded, header.chroma, header.depth)
    return _to_rgb(picture, header)


def encode_bpg(rgb: np.ndarray, qp: int, chroma: Chroma = "420", preset: str = "veryslow") -> bytes:
    """Code a picture as a BPG file, 8 bit, BT.601 full range.

    Args:
        rgb: [H, W, 3] uint8.
        qp: quantisation parameter of libx265, 0 (best) to 51.
        chroma: "420", "422" or "444".
        preset: of libx265.

    Raises:
        CodecError: the encoder fails.
    """
    height, width = rgb.shape[:2]
    stream = encode_hevc(_to_ycc(rgb, chroma), qp, coding_block(height, width), preset=preset)
    nals = split_nals(stream)
    kinds = [nal[0] >> 1 & 63 for nal in nals]
    sps = _read_full(nals[kinds.index(33)])
    kept = [nal for nal, kind in zip(nals, kinds, strict=True) if kind in (34, 19, 20)]
    if not any(kind in (19, 20) for kind in kinds):
        raise CodecError("bpg: encoder wrote no IDR picture")
    w = _BitWriter()
    sps.write(w)
    reduced = w.done(stop_bit=False)
    code = {"420": 1, "422": 2, "444": 3}[chroma]
    head = MAGIC + bytes([code << 5, _BT601 << 4]) + _ue7(width) + _ue7(height) + _ue7(0)
    return head + _ue7(len(reduced)) + reduced + join_nals(kept)[4:]


# ----------------------------------------------------------------------------------- colour and chroma

_DOWN = np.array([2, -4, -8, 17, 57, 57, 17, -8, -4, 2], np.int64)  # sum 128, between two samples
_UP = np.array([-1, 4, -10, 57, 18, -6, 2], np.int64)  # sum 64, a quarter sample after the centre
_HALF = np.array([-1, 4, -11, 40, 40, -11, 4, -1], np.int64)  # sum 64, between two samples
_SAME = np.array([64], np.int64)


def _filter(x: np.ndarray, taps: np.ndarray, before: int, axis: int) -> np.ndarray:
    """Correlate along an axis with replicated edges: out[i] = sum_k taps[k]·x[i + k - before]."""
    pad = [(0, 0), (0, 0)]
    pad[axis] = (before, len(taps) - 1 - before)
    wide = np.pad(x, pad, mode="edge")
    size = x.shape[axis]
    parts = (tap * np.take(wide, np.arange(k, k + size), axis=axis) for k, tap in enumerate(taps))
    return sum(parts, np.zeros_like(x))


def _upsample_axis(x: np.ndarray, axis: int, length: int, *, aligned: bool = False) -> np.ndarray:
    """Twice as many samples, each a quarter sample beside an old one (aligned: every second is one), times
    64.
    """
    even = _filter(x, _SAME, 0, axis) if aligned else _filter(x, _UP[::-1], 3, axis)
    odd = _filter(x, _HALF, 3, axis) if aligned else _filter(x, _UP, 3, axis)
    both = np.stack([even, odd], axis=axis + 1)
    shape = list(x.shape)
    shape[axis] *= 2
    return np.take(both.reshape(shape), np.arange(length), axis=axis)


def _upsample(plane: np.ndarray, height: int, width: int, header: BpgHeader) -> np.ndarray:
    """Chroma to full size; of 4:2:0 rows first, with 14-bit values in between."""
    samples, depth, shift = plane.astype(np.int64), header.depth, 6
    if header.chroma == "420":
        samples = _upsample_axis(samples, 0, height)
        samples = (samples + ((1 << (depth - 8)) >> 1)) >> (depth - 8)
        shift = 20 - depth
    wide = _upsample_axis(samples, 1, width, aligned=header.aligned)
    return np.clip((wide + (1 << (shift - 1))) >> shift, 0, (1 << depth) - 1)


def _to_rgb(picture: Picture, header: BpgHeader) -> np.ndarray:
    height, width, depth = header.height, header.width, header.depth
    luma = picture.planes[0][:height, :width].astype(np.int64)
    shift = 30 - 8
    scale = 255.0 * (1 << shift)
    full = float((1 << depth) - 1)
    scale_y = scale / (219 << (depth - 8)) if header.limited_range else scale / full
    scale_c = scale / (224 << (depth - 8)) if header.limited_range else scale / full
    one = round(scale_y)
    offset = (1 << (shift - 1)) - ((16 << (depth - 8)) * one if header.limited_range else 0)
    y = luma * one + offset
    if header.chroma == "400":
        return np.repeat(np.clip(y >> shift, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)
    chroma = []
    for plane in picture.planes[1:]:
        if header.chroma in ("420", "422"):
            rows = (height + 1) // 2 if header.chroma == "420" else height
            chroma.append(_upsample(plane[:rows, : (width + 1) // 2], height, width, header))
        else:
            chroma.append(plane[:height, :width].astype(np.int64))
    return _matrix(y, chroma[0], chroma[1], header, scale_c, shift)


def _matrix(
    y: np.ndarray, u: np.ndarray, v: np.ndarray, header: BpgHeader, scale_c: float, shift: int
) -> np.ndarray:
    centre = 1 << (header.depth - 1)
    if header.colour_space == _RGB:
        one, offset = round(scale_c), 1 << (shift - 1)
        planes = [v * one + offset, y, u * one + offset]  # G is in the luma plane, B and R behind it
    elif header.colour_space == _YCGCO:
        cg, co = (u - centre) * round(scale_c), (v - centre) * round(scale_c)
        planes = [y - cg + co, y + cg, y - cg - co]
    else:
        k_r, k_b = _LUMA_WEIGHTS[header.colour_space]
        k_g = 1 - k_r - k_b
        cb, cr = u - centre, v - centre
        planes = [
            y + round(2 * (1 - k_r) * scale_c) * cr,
            y
            - round(2 * k_b * (1 - k_b) / k_g * scale_c) * cb
            - round(2 * k_r * (1 - k_r) / k_g * scale_c) * cr,
            y + round(2 * (1 - k_b) * scale_c) * cb,
        ]
    return np.clip(np.stack(planes, axis=2) >> shift, 0, 255).astype(np.uint8)


def _to_ycc(rgb: np.ndarray, chroma: Chroma) -> Picture:
    """8-bit BT.601 full range in integers, chroma decimated, edges replicated to whole coding blocks."""
    shift = 31 - 8
    k_r, k_b = _LUMA_WEIGHTS[_BT601]
    k_g = 1 - k_r - k_b
    matrix = [
        (k_r, k_g, k_b),
        (-0.5 * k_r / (1 - k_b), -0.5 * k_g / (1 - k_b), 0.5),
        (0.5, -0.5 * k_g / (1 - k_r), -0.5 * k_b / (1 - k_r)),
    ]
    weights = np.array([[round(v * (1 << shift)) for v in row] for row in matrix], np.int64)
    values = rgb.astype(np.int64) @ weights.T + (1 << (shift - 1))
    centre = np.array([0, 128, 128], np.int64)
    planes = [np.clip((values[:, :, i] >> shift) + centre[i], 0, 255) for i in range(3)]
    if chroma != "444":
        planes[1:] = [_decimate(plane, both=chroma == "420") for plane in planes[1:]]
    rows, columns = {"420": (2, 2), "422": (1, 2), "444": (1, 1)}[chroma]
    block = coding_block(rgb.shape[0], rgb.shape[1])
    height, width = (-(-side // block) * block for side in rgb.shape[:2])
    sizes = [(height, width)] + [(height // rows, width // columns)] * 2
    out = []
    for plane, (rows_, cols_) in zip(planes, sizes, strict=True):
        pad = ((0, rows_ - plane.shape[0]), (0, cols_ - plane.shape[1]))
        out.append(np.pad(plane, pad, mode="edge").astype(np.uint8))
    return Picture(tuple(out), chroma, 8)


def _decimate(plane: np.ndarray, *, both: bool = True) -> np.ndarray:
    """Full-size chroma to half in both directions (columns with 14-bit values in between, then rows), or in
    columns alone.
    """
    wide = _filter(plane, _DOWN, 4, 1)[:, ::2]
    if not both:
        return np.clip((wide + (1 << 6)) >> 7, 0, 255)
    small = _filter(wide, _DOWN, 4, 0)[::2]
    return np.clip((small + (1 << 13)) >> 14, 0, 255)

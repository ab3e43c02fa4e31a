"""Pictures of every format and mode, bytes of which were changed: files, folders and tar files of them."""

from __future__ import annotations

import io
import random
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from linksim.images.folders import FolderImages, TarImages
from linksim.images.sets import ImageError, read_all, read_image
from tests.fuzz.harness import Attempt
from tests.fuzz.mutations import mutated_bytes

SIDE = 40


def _rgb() -> Image.Image:
    y, x = np.mgrid[:SIDE, :SIDE]
    values = np.stack([6 * x, 6 * y, 3 * (x + y)], axis=-1) % 256
    return Image.fromarray(values.astype(np.uint8))


def _saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def _png_16(kind: int, channels: int) -> bytes:
    """A 16-bit PNG, which Pillow cannot write in colour."""
    rows = b"".join(b"\0" + np.arange(SIDE * channels, dtype=">u2").tobytes() for _ in range(SIDE))

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", SIDE, SIDE, 16, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def corpus() -> dict[str, bytes]:
    """Small whole pictures by name."""
    rgb = _rgb()
    exif = Image.Exif()
    exif[0x0112] = 6
    modes = {mode: rgb.convert(mode) for mode in ("1", "L", "P", "RGBA", "LA", "CMYK")}
    found = {f"png-{mode}": _saved(p, "PNG") for mode, p in modes.items() if mode != "CMYK"}
    found |= {f"tiff-{mode}": _saved(p, "TIFF") for mode, p in modes.items()}
    found |= {
        f"tiff-{c}": _saved(rgb, "TIFF", compression=c)
        for c in ("tiff_lzw", "tiff_deflate", "jpeg", "packbits")
    }
    found |= {f"png16-{kind}": _png_16(kind, channels) for kind, channels in ((0, 1), (2, 3), (4, 2), (6, 4))}
    found |= {"jpeg-grey": _saved(modes["L"], "JPEG"), "jpeg-cmyk": _saved(modes["CMYK"], "JPEG")}
    found["jpeg"] = _saved(rgb, "JPEG", exif=exif)
    found["jpeg-progressive"] = _saved(rgb, "JPEG", progressive=True)
    found["mpo"] = _saved(rgb, "MPO", save_all=True, append_images=[rgb])
    found["apng"] = _saved(rgb, "PNG", save_all=True, append_images=[rgb.rotate(90)])
    found |= {"webp": _saved(rgb, "WEBP"), "webp-lossless": _saved(modes["RGBA"], "WEBP", lossless=True)}
    found["webp-animated"] = _saved(rgb, "WEBP", save_all=True, append_images=[rgb.rotate(90)])
    found |= {
        "bmp": _saved(rgb, "BMP"),
        "bmp-P": _saved(modes["P"], "BMP"),
        "ppm": _saved(rgb, "PPM"),
        "png": _saved(rgb, "PNG", exif=exif),
    }
    found |= {
        "pgm": _saved(modes["L"], "PPM"),
        "pbm": _saved(modes["1"], "PPM"),
        "pgm16": _saved(Image.fromarray(np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE)), "PPM"),
    }
    found["ppm-plain"] = f"P3 {SIDE} {SIDE} 9 {'1 2 3 ' * SIDE * SIDE}".encode()
    found["pfm"] = f"Pf\n{SIDE} {SIDE}\n-1.0\n".encode() + np.ones((SIDE, SIDE), "<f4").tobytes()
    found["tiff-F"] = _saved(Image.fromarray(np.ones((SIDE, SIDE), np.float32)), "TIFF")
    found["tiff-I16"] = _saved(Image.fromarray(np.ones((SIDE, SIDE), np.uint16)), "TIFF")
    found["tiff-pages"] = _saved(rgb, "TIFF", save_all=True, append_images=[rgb])
    return found


def _tar(members: dict[str, bytes], rng: random.Random) -> bytes:
    out = io.BytesIO()
    with tarfile.open(
        fileobj=out,
        mode="w",
        format=rng.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)),
    ) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            info = tarfile.TarInfo(f"odd-{kind.decode()}")
            info.type, info.linkname = kind, rng.choice([*members, "../x", "/etc/passwd", info.name])
            archive.addfile(info)
    return out.getvalue()


def _with_right_sums(data: bytes) -> bytes:
    """A PNG whose chunks have the check sums of what is in them, so that more of it is looked at."""
    out, at = data[:8], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        body = data[at + 4 : at + 8 + length]
        out += data[at : at + 4] + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + length
    return out


def prepare(work: Path) -> Attempt:
    """One changed picture as a file, in a folder, or in a tar file that was changed itself."""
    whole = corpus()

    def attempt(rng: random.Random, folder: Path) -> str:
        name = rng.choice(sorted(whole))
        data = mutated_bytes(whole[name], rng)
        if "png" in name and rng.random() < 0.7:
            data = _with_right_sums(data)
        convert = rng.choice(("none", "rgb", "rgb"))
        (folder / f"{name}.bin").write_bytes(data)
        try:
            how = rng.randrange(5)
            if how < 3:
                image = read_image(data if how else folder / f"{name}.bin", name, convert)
                assert image.dim() == 3
                assert image.shape[0] == 3
                return "taken"
            members = {f"{name}.png": data, "b/whole.png": whole["png"], "note": b"no picture"}
            if how == 3:
                pictures = FolderImages(folder, None, convert)
            else:
                path = folder / "a.tar"
                path.write_bytes(mutated_bytes(_tar(members, rng), rng))
                pictures = TarImages([path], None, convert)
            read_all(pictures, pictures.names)
        except ImageError:
            return "refused"
        return "taken"

    return attempt

"""Pictures as files hold them: orientation, depth, colours, pages, and what is no picture at all."""

from __future__ import annotations

import io
import itertools
import json
import os
import struct
import subprocess
import sys
import tarfile
import threading
import zlib
from pathlib import Path

import numpy as np
import PIL
import pytest
from PIL import Image, ImageOps
from PIL.ContainerIO import ContainerIO

from linksim.images.folders import FolderImages, TarImages
from linksim.images.picture_file import is_picture, read_image, read_size
from linksim.images.sets import Crop, ImageError, SkimageImages, for_all, read_all

RNG = np.random.default_rng(0)
HEIGHT, WIDTH = 40, 56


def noise(channels: int = 3, top: int = 256, kind: type = np.uint8) -> np.ndarray:
    """[HEIGHT, WIDTH, channels], or [HEIGHT, WIDTH] of one."""
    values = RNG.integers(0, top, (HEIGHT, WIDTH, channels)).astype(kind)
    return values[..., 0] if channels == 1 else values


class OpenFile(io.BytesIO):
    mode = "rb"


def shown(data: bytes, convert: str = "none") -> np.ndarray:
    """The pixels; what the headers say of their number is the same, in a file and within another."""
    pixels = read_image(data, "a", convert).permute(1, 2, 0).numpy()  # type: ignore[arg-type]
    assert read_size(io.BytesIO(data), "a", convert) == pixels.shape[:2]
    whole = OpenFile(b"before" + data + b"behind")
    within = ContainerIO(whole, 6, len(data))
    assert read_size(within, "a", convert) == pixels.shape[:2]
    return pixels


def saved(picture: Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def png(values: np.ndarray, colour_type: int, bits: int = 16, extra: bytes = b"") -> bytes:
    """A PNG file, written without Pillow, which has no 16-bit colour; ``extra`` chunks before the pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2" if bits == 16 else "u1").tobytes() for row in values)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + head + (chunk(extra[:4], extra[4:]) if extra else b"") + body


def tiff(values: np.ndarray, photometric: int, bits: int, sample_format: int = 1) -> bytes:
    """A TIFF file with one strip, little-endian."""
    channels = values.shape[2] if values.ndim == 3 else 1
    data = values.tobytes()
    entries = [
        (256, 4, values.shape[1]), (257, 4, values.shape[0]), (258, 3, bits), (259, 3, 1), (262, 3, photometric),
        (273, 4, 8), (277, 3, channels), (278, 4, values.shape[0]), (279, 4, len(data)), (339, 3, sample_format),
    ]  # fmt: skip
    at = 8 + len(data)
    tail = struct.pack(f"<{2 * channels}H", *([bits] * channels + [sample_format] * channels))
    behind = at + 2 + 12 * len(entries) + 4
    table = b""
    for tag, kind, value in entries:
        count = channels if tag in (258, 339) else 1
        if count > 2:
            value = behind + (0 if tag == 258 else 2 * channels)
            table += struct.pack("<HHII", tag, kind, count, value)
        else:
            table += struct.pack(
                "<HHIHH" if kind == 3 else "<HHII", tag, kind, count, value, *([0] * (kind == 3))
            )
    return (
        b"II*\0" + struct.pack("<I", at) + data + struct.pack("<H", len(entries)) + table + b"\0" * 4 + tail
    )


def exif(orientation: int) -> bytes:
    data = Image.Exif()
    data[0x0112] = orientation
    return data.tobytes()


# ----------------------------------------------------------------------------------------- orientation


@pytest.mark.parametrize(
    ("kind", "orientation"), itertools.product(("PNG", "TIFF", "WEBP", "JPEG"), range(1, 9))
)
def test_every_format_is_turned_the_right_way_up(kind, orientation):
    picture = Image.fromarray(noise())
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100} if kind == "JPEG" else {}
    plain = np.asarray(Image.open(io.BytesIO(saved(picture, kind, **options))).convert("RGB"))
    reference = Image.fromarray(plain)
    reference.getexif()[0x0112] = orientation
    reference = ImageOps.exif_transpose(reference)
    data = saved(picture, kind, exif=exif(orientation), **options)
    assert (shown(data) == np.asarray(reference)).all()
    assert shown(data).shape[:2] == ((WIDTH, HEIGHT) if orientation > 4 else (HEIGHT, WIDTH))


def test_an_orientation_behind_the_pixels_of_a_png_counts():
    values = noise()
    data = png(values, 2, 8)
    plain, end = data[:-12], data[-12:]
    turn = b"eXIf" + exif(6).removeprefix(b"Exif\0\0")
    late = struct.pack(">I", len(turn) - 4) + turn + struct.pack(">I", zlib.crc32(turn))
    assert (shown(plain + late + end) == np.rot90(values, -1)).all()


def test_sixteen_bit_colour_is_turned_too():
    values = noise(3, 65536, np.uint16)
    data = png(values, 2, extra=b"eXIf" + exif(6).removeprefix(b"Exif\0\0"))
    assert (shown(data, "rgb") == np.rot90(shown(png(values, 2), "rgb"), -1)).all()


# ----------------------------------------------------------------------------------------- pixel formats


def rounded(values: np.ndarray) -> np.ndarray:
    return np.floor(values.astype(np.float64) * 255 / 65535 + 0.5).astype(np.uint8)


@pytest.mark.parametrize(
    ("data", "values"),
    [
        (lambda v: png(v, 2), noise(3, 65536, np.uint16)),
        (lambda v: tiff(v, 2, 16), noise(3, 65536, np.uint16)),
        (lambda v: b"P6 56 40 65535\n" + v.astype(">u2").tobytes(), noise(3, 65536, np.uint16)),
        (lambda v: png(v, 0), noise(1, 65536, np.uint16)),
        (lambda v: tiff(v, 1, 16), noise(1, 65536, np.uint16)),
        (lambda v: tiff(65535 - v, 0, 16), noise(1, 65536, np.uint16)),
        (lambda v: b"P5 56 40 65535\n" + v.astype(">u2").tobytes(), noise(1, 65536, np.uint16)),
        (lambda v: png(v, 6), noise(4, 65536, np.uint16)),
        (lambda v: png(v, 4), noise(2, 65536, np.uint16)),
    ],
    ids=["png", "tiff", "ppm", "grey png", "grey tiff", "white is zero", "pgm", "rgba png", "grey alpha png"],
)
def test_sixteen_bits_are_rounded_when_asked_and_never_cut_in_silence(data, values):
    file = data(values)
    with pytest.raises(ImageError, match=r"wrong pixel format, got 16-bit .*images\.convert: rgb"):
        shown(file)
    channels = values.shape[2] if values.ndim == 3 else 1
    colours = values[..., :3] if channels > 2 else values[..., :1] if channels == 2 else values[..., None]
    expected = np.broadcast_to(rounded(colours), (HEIGHT, WIDTH, 3))
    assert (shown(file, "rgb") == expected).all()


@pytest.mark.parametrize(
    ("picture", "kind", "name"),
    [
        (Image.fromarray(noise(1)), "PNG", "8-bit grey"),
        (Image.fromarray(noise(4)), "PNG", "8-bit RGB with alpha"),
        (Image.fromarray(noise(4)), "WEBP", "8-bit RGB with alpha"),
        (Image.fromarray(noise(2)), "PNG", "8-bit grey with alpha"),
        (Image.fromarray(noise()).convert("P"), "PNG", "8-bit palette"),
        (Image.fromarray(noise(1)).convert("1"), "PNG", "1-bit grey"),
        (Image.fromarray(noise()).convert("CMYK"), "TIFF", "8-bit CMYK"),
        (Image.fromarray(noise()).convert("CMYK"), "JPEG", "8-bit CMYK"),
        pytest.param(
            *(Image.fromarray(noise()).convert("YCbCr"), "TIFF", "8-bit YCbCr"),
            marks=pytest.mark.skipif(
                PIL.__version__ < "13", reason="Pillow before 13 does not read such files"
            ),
        ),
        (Image.fromarray(noise(1)), "BMP", "8-bit grey"),
        (Image.fromarray(noise(1)).convert("1"), "PPM", "1-bit black and white"),
    ],
)
def test_the_format_is_that_of_the_file_and_converts(picture, kind, name):
    data = saved(picture, kind)
    with pytest.raises(ImageError, match=f"got {name}, expected 8-bit RGB"):
        shown(data)
    reference = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert (shown(data, "rgb") == reference).all()


def test_a_transparent_colour_is_alpha():
    data = png(noise(3), 2, 8, b"tRNS" + bytes([0, 1, 0, 2, 0, 3]))
    with pytest.raises(ImageError, match="got 8-bit RGB with alpha"):
        shown(data)
    assert shown(data, "rgb").shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (tiff(RNG.random((HEIGHT, WIDTH)).astype(np.float32), 1, 32, 3), "32-bit floating-point grey"),
        (tiff(noise(1, 1 << 30, np.uint32), 1, 32), "32-bit integer grey"),
        (
            b"Pf\n56 40\n-1.0\n" + RNG.random((HEIGHT, WIDTH)).astype("<f4").tobytes(),
            "32-bit floating-point grey",
        ),
        (png(noise(3, 65536, np.uint16), 2, 16, b"cICP" + bytes([9, 16, 0, 1])), "16-bit RGB"),
    ],
    ids=["float tiff", "integer tiff", "pfm", "PQ"],
)
def test_high_dynamic_range_is_refused_with_the_reason_whatever_convert_says(data, name):
    for convert in ("none", "rgb"):
        with pytest.raises(ImageError, match=f"tone map, got {name}") as caught:
            shown(data, convert)
        assert "images.convert" not in str(caught.value), "a cure that is already set"


def test_lab_says_why_not():
    lab = Image.frombytes("LAB", (WIDTH, HEIGHT), noise(3).tobytes())
    with pytest.raises(ImageError, match="Lab has no conversion here"):
        shown(saved(lab, "TIFF"), "rgb")


def test_other_whites_of_pgm_and_ppm():
    values = noise(3, 101)
    data = b"P6 56 40 100\n" + values.tobytes()
    assert (shown(data) == (510 * values.astype(int) + 100) // 200).all()


# ----------------------------------------------------------------------------------------- pages


@pytest.mark.parametrize(
    ("kind", "what"), [("PNG", "animated"), ("WEBP", "animated"), ("TIFF", "several pages")]
)
def test_several_pictures_in_one_file_are_refused(kind, what):
    first, *others = (Image.fromarray(noise()) for _ in range(3))
    data = saved(first, kind, save_all=True, append_images=others)
    with pytest.raises(ImageError, match=f"{what}, got 3 pictures, expected one picture"):
        shown(data)


def test_the_first_picture_of_a_jpeg_with_several_is_used_and_that_is_said(caplog, monkeypatch):
    monkeypatch.setattr("linksim.images.picture_file._said", set())
    first, second = Image.fromarray(noise()), Image.fromarray(noise())
    data = saved(first, "MPO", save_all=True, append_images=[second], quality=95)
    assert shown(data).shape == (HEIGHT, WIDTH, 3)
    shown(data)
    assert caplog.text.count("holds 2 pictures; the first one is used") == 1


# ----------------------------------------------------------------------------------------- what is a picture


def filled(folder: Path) -> Path:
    """Three pictures, one of them in a sub-folder and one without an ending, among other things."""
    (folder / "cat").mkdir(parents=True)
    (folder / "__MACOSX").mkdir()
    for name in ("b.png", "cat/a.JPG", "noending"):
        Image.fromarray(noise()).save(folder / name, "JPEG" if name.endswith("JPG") else "PNG")
    (folder / "._b.png").write_bytes(b"\0\x05\x16\7 Apple's notes")
    (folder / "__MACOSX" / "b.png").write_bytes(b"\0\x05\x16\7 Apple's notes")
    (folder / ".DS_Store").write_bytes(b"Bud1")
    (folder / "notes.png").write_text("a text whose name is wrong")
    (folder / "readme.md").write_text("# pictures")
    return folder


def tarred(folder: Path, path: Path) -> Path:
    with tarfile.open(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.add(file, file.relative_to(folder).as_posix(), recursive=False)
    return path


def test_folders_and_tar_files_have_one_rule(tmp_path, caplog):
    folder = filled(tmp_path / "set")
    images = FolderImages(folder)
    assert images.names == ("b.png", "cat/a.JPG", "noending")
    assert (
        "left out 2 files that are none of PNG, JPEG, WEBP, BMP, TIFF, PPM (notes.png, readme.md)"
        in caplog.text
    )
    caplog.clear()
    archive = TarImages([tarred(folder, tmp_path / "set.tar")])
    assert archive.names == tuple(f"set/{name}" for name in images.names)
    assert "left out 2 files" in caplog.text
    for one, two in zip(
        read_all(images, images.names).values(), read_all(archive, archive.names).values(), strict=True
    ):
        assert (one == two).all()


def test_members_of_every_type(tmp_path, caplog):
    """Links lead to what they name; what has no contents in place is left out."""
    picture = saved(Image.fromarray(noise()), "PNG")
    path = tmp_path / "t.tar"
    with tarfile.open(path, "w") as archive:

        def add(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", data: bytes = b"") -> None:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.size = kind, link, len(data)
            archive.addfile(member, io.BytesIO(data))

        add("./one/a.png", data=picture)
        add("hard.png", tarfile.LNKTYPE, "one/a.png")
        add("two/soft.png", tarfile.SYMTYPE, "../one/a.png")
        add("two/nowhere.png", tarfile.SYMTYPE, "/etc/passwd.png")
        add("circle.png", tarfile.SYMTYPE, "circle.png")
        add("pipe.png", tarfile.FIFOTYPE)
        add("empty.png")
        add("old.png", tarfile.AREGTYPE, data=picture)
    images = TarImages([path])
    assert images.names == ("t/./one/a.png", "t/hard.png", "t/old.png", "t/two/soft.png")
    assert len({one.numpy().tobytes() for one in read_all(images, images.names).values()}) == 1
    assert "left out 4 files" in caplog.text


def test_a_folder_of_other_things_says_what_is_in_it(tmp_path):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n")
    with pytest.raises(
        ImageError, match=r"no picture in the folder, got .*1 file that is no picture .*a\.png"
    ):
        FolderImages(tmp_path)


def test_links_of_folders_do_not_go_in_circles(tmp_path):
    folder = filled(tmp_path / "set")
    (folder / "cat" / "up").symlink_to(folder)
    outside = filled(tmp_path / "other")
    (folder / "more").symlink_to(outside)
    assert FolderImages(folder).names == (
        "b.png", "cat/a.JPG", "more/b.png", "more/cat/a.JPG", "more/noending", "noending",
    )  # fmt: skip


def test_problems_of_all_pictures_are_listed_at_once(tmp_path):
    good = saved(Image.fromarray(noise()), "PNG")
    for i in range(25):
        (tmp_path / f"{i:02}.png").write_bytes(good[: len(good) // 2])
    (tmp_path / "grey.png").write_bytes(saved(Image.fromarray(noise(1)), "PNG"))
    images = FolderImages(tmp_path)
    with pytest.raises(ImageError) as caught:
        read_all(images, images.names)
    lines = str(caught.value).splitlines()
    assert len(lines) == 21
    assert lines[0].startswith("image 00.png: cannot be decoded")
    assert lines[-1] == "images: 6 more such pictures."


# ----------------------------------------------------------------------------------------- names

NAMES = """
name: names
images: {kind: folder, path: FOLDER}
bandwidth: {data_ratio: 1/6}
channel: {kind: awgn}
sweep: {snr_db: [14]}
schemes: [{kind: uncoded, name: qpsk, bits_per_symbol: 2}]
metrics: [psnr]
"""
ODD_NAME = b"caf\xe9\x1b[31m.png"  # Latin-1, and a colour for the terminal


def test_names_in_any_encoding_run_to_the_end(tmp_path):
    """Under the C locale with Python's help against it switched off: the worst case."""
    folder = tmp_path / "bilder-ä"
    folder.mkdir()
    picture = saved(Image.fromarray(RNG.integers(0, 256, (32, 32, 3), np.uint8)), "PNG")
    with open(os.fsencode(folder) + b"/" + ODD_NAME, "wb") as file:  # noqa: PTH123
        file.write(picture)
    (folder / "größe.png").write_bytes(picture)
    path = tmp_path / "names.yaml"
    path.write_text(NAMES.replace("FOLDER", str(folder)), encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "PYTHONUTF8"))}
    environment |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    out = tmp_path / "läufe" / "run"
    command = [sys.executable, "-m", "linksim", "simulate", str(path), "--out", str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert b"Traceback" not in done.stderr
    assert b"\x1b[31m" not in done.stdout + done.stderr
    images = json.loads((out / "run.json").read_bytes())["images"]
    assert list(images) == [r"caf\xe9\x1b[31m.png", "größe.png"]
    assert (out / "report.html").is_file()


@pytest.mark.parametrize(
    "head", [b"", b"GIF89a", b"%!PS-Adobe-3.0 EPSF-3.0", b"BMW is a car" * 4, b"%PDF-1.7", b"\0" * 64]
)
def test_other_contents_are_no_pictures(head):
    assert not is_picture(head)


def test_pictures_of_scikit_image_are_there_in_colour_or_grey():
    """Nine names, each with a picture of its own that holds 256 x 256 pixels; the cameraman is grey."""
    images = SkimageImages(list(SkimageImages.FILES), Crop(256, 256))
    read = read_all(images, images.names)
    assert len(read) == 9
    assert all(picture.shape == (3, 256, 256) for picture in read.values())
    grey = [name for name, picture in read.items() if bool((picture[0] == picture[1]).all())]
    assert grey == ["camera"]


def test_pictures_are_decoded_at_once(monkeypatch):
    """Four wait for each other: one after the other they would wait for ever."""
    monkeypatch.setattr("linksim.images.sets.decoding_threads", lambda: 4)
    together = threading.Barrier(4, timeout=60)
    names = [str(i) for i in range(8)]
    assert for_all(names, lambda name: (together.wait() >= 0, name)) == [(True, name) for name in names]

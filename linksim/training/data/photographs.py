"""Training pictures: crops, scales and mirror images as a function of a random generator.

Sets that do not fit into memory are decoded as they are needed; every crop is the same either way.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch
import torch.nn.functional as F
from torch import Tensor

from channels.checks import complaint
from linksim.images.picture_file import read_image
from linksim.images.sets import ImageError, ImageSet, decoding_threads, read_all
from linksim.training.data.picture_list import Listed, read_stored, split, survey, written

__all__ = ["Photographs", "memory_for_pictures"]

log = logging.getLogger("linksim.training.data.photographs")

_MEMORY_SHARE, _GPU_SHARE = 0.5, 0.25  # of what is free that pictures may take
_CGROUP = Path("/sys/fs/cgroup")
_IN_A_ROW = 8  # broken pictures that end a training


@dataclass(frozen=True)
class _Cut:
    """A square of a training picture, and what is made of it."""

    index: int
    top: int
    left: int
    side: int
    final: int
    mirrored: bool

    def of(self, picture: Tensor) -> Tensor:
        """The square [3, side, side] uint8; moved and smaller where a smaller picture replaces another."""
        side = min(self.side, *picture.shape[1:])
        top, left = (
            min(at, has - side) for at, has in zip((self.top, self.left), picture.shape[1:], strict=True)
        )
        return picture[:, top : top + side, left : left + side]

    def finished(self, square: Tensor) -> Tensor:
        """[3, final, final] float in [0, 1]."""
        crop = square.float() / 255
        if square.shape[1] != self.final:
            size = (self.final, self.final)
            shrunk = F.interpolate(crop[None], size, mode="bicubic", antialias=True, align_corners=False)
            crop = shrunk[0].clamp(0, 1)
        return crop.flip(2) if self.mirrored else crop


class Photographs:
    """Training pictures, split into training and validation.

    They are kept as uint8 where there is room: on the device, if they take a quarter of its free memory at
    most; else in the computer's memory, if they take ``memory_bytes`` at most; else they stay on disk, and
    what a batch needs is decoded in threads, one picture for each thread at a time, that of the next batch
    while the step of this one runs. The batches are the same, bit for bit (on a GPU the crops are finished
    there). A picture that cannot be decoded is refused at the begin; one that stays on disk, where nobody
    has looked at it before, is replaced by the next one, which is logged, unless eight follow each other.

    Args:
        images: set of pictures; those smaller than ``crop`` are left out, which is logged.
        seed: of the split, see :func:`linksim.training.data.picture_list.split`.
        crop: side of the crops [pixels].
        held_out: pictures for validation.
        scale_low: half of the crops are taken larger and shrunk by a factor between this and 1.
        block: of the scenario, for messages.
        device: where crops are made.
        listed: of :func:`linksim.training.data.picture_list.survey`, if it is known already.
        memory_bytes: that pictures may take in memory; None: see :func:`memory_for_pictures`.

    Raises:
        ImageError: no picture is left for the training, or some that cannot be used.
    """

    def __init__(
        self,
        images: ImageSet,
        *,
        seed: int,
        crop: int,
        held_out: int,
        scale_low: float = 1.0,
        block: str = "train",
        device: torch.device | None = None,
        listed: Sequence[Listed] | None = None,
        memory_bytes: int | None = None,
    ) -> None:
        self.crop, self.scale_low, self.device = crop, scale_low, device or torch.device("cpu")
        listed = survey(images) if listed is None else listed
        used = [one for one in listed if min(one.rows, one.cols) >= crop]
        if len(used) <= held_out:
            raise ImageError(
                complaint(
                    "images",
                    "too few pictures as large as the largest crop",
                    f"{len(used)} of {len(images)} of at least {crop} x {crop} pixels",
                    f"more than {block}.validation_images = {held_out}",
                    f"Use more or larger pictures, a smaller crop, or {block}.validation_images below that.",
                )
            )
        if len(used) < len(listed):
            count = f"{len(listed) - len(used)} of {len(listed)} pictures"
            log.warning("%s.crop: left out %s, smaller than %d x %d pixels", block, count, crop, crop)
        held, trained = split(used, seed, held_out)
        self.held_out = len(held)
        self.held_out_digest = hashlib.sha256(written(held).encode()).hexdigest()[:16]
        self._centres = [self._centre(picture) for picture in read_all(images, _names(held)).values()]
        self.training = self._store(images, trained, memory_bytes)

    def _store(self, images: ImageSet, trained: list[Listed], memory_bytes: int | None) -> _Kept | _Streamed:
        """The training pictures, where there is room for them."""
        size = sum(one.pixel_bytes for one in trained)
        on_gpu = self.device.type == "cuda"
        on_gpu = on_gpu and size <= _GPU_SHARE * torch.cuda.mem_get_info(self.device)[0]
        room = memory_for_pictures() if memory_bytes is None else memory_bytes
        if on_gpu or size <= room:
            kept = self.device if on_gpu else torch.device("cpu")
            return _Kept([picture.to(kept) for picture in read_all(images, _names(trained)).values()])
        log.warning(
            "images: %.1f GB of pixels, more than the %.1f GB that they may take: pictures are decoded as "
            "they are needed, by %d threads",
            *(size / 1e9, room / 1e9, decoding_threads()),
        )
        return _Streamed(images, trained)

    @property
    def streamed(self) -> bool:
        """Whether the pictures stay on disk."""
        return isinstance(self.training, _Streamed)

    def batch(self, rng: np.random.Generator, size: int, side: int | None = None) -> Tensor:
        """[size, 3, side, side] float in [0, 1]: random pictures, crops, scales and mirror images.

        Args:
            rng: of the step.
            size: pictures.
            side: of the crops [pixels], at most ``crop``, which is the default.

        Raises:
            ImageError: a picture that stayed on disk cannot be read any more.
        """
        return self._finished(self._cuts(rng, size, side or self.crop))

    def one_each(self, rngs: Sequence[np.random.Generator]) -> Tensor:
        """As :meth:`batch`, every picture by a generator of its own: [len(rngs), 3, crop, crop].

        Args:
            rngs: of the pictures.

        Raises:
            ImageError: a picture that stayed on disk cannot be read any more.
        """
        return self._finished([self._cuts(rng, 1, self.crop)[0] for rng in rngs])

    def expect(self, rng: np.random.Generator, size: int, side: int | None = None) -> None:
        """Begin to decode what :meth:`batch` will need, if pictures stay on disk.

        Args:
            rng: a generator as that call will get it.
            size, side: of that call.
        """
        self.training.expect(self._cuts(rng, size, side or self.crop))

    def expect_one_each(self, rngs: Sequence[np.random.Generator]) -> None:
        """Begin to decode what :meth:`one_each` will need, if pictures stay on disk."""
        self.training.expect([self._cuts(rng, 1, self.crop)[0] for rng in rngs])

    def _finished(self, cuts: list[_Cut]) -> Tensor:
        squares = self.training.squares(cuts)
        return torch.stack([c.finished(s.to(self.device)) for c, s in zip(cuts, squares, strict=True)])

    def _cuts(self, rng: np.random.Generator, size: int, final: int) -> list[_Cut]:
        return [self._cut(rng, int(i), final) for i in rng.integers(0, len(self.training), size)]

    def _cut(self, rng: np.random.Generator, index: int, final: int) -> _Cut:
        rows, cols = self.training.sizes[index]
        side = final
        if self.scale_low < 1 and rng.random() < 0.5:
            side = min(round(final / rng.uniform(self.scale_low, 1.0)), rows, cols)
        top = int(rng.integers(0, rows - side + 1))
        left = int(rng.integers(0, cols - side + 1))
        return _Cut(index, top, left, side, final, bool(rng.random() < 0.5))

    def _centre(self, picture: Tensor) -> Tensor:
        top, left = ((side - self.crop) // 2 for side in picture.shape[1:])
        return picture[:, top : top + self.crop, left : left + self.crop].clone().to(self.device)

    def validation_batches(self, size: int, limit: int | None = None) -> list[Tensor]:
        """Centre crops of the held-out pictures [<= size, 3, crop, crop] float each; the first ``limit``."""
        crops = self._centres[:limit]
        return [torch.stack(crops[i : i + size]).float() / 255 for i in range(0, len(crops), size)]


class _Kept:
    """Pictures in memory."""

    def __init__(self, pictures: list[Tensor]) -> None:
        self._pictures = pictures
        self.sizes = [(int(p.shape[1]), int(p.shape[2])) for p in pictures]

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self._pictures)

    def expect(self, cuts: Sequence[_Cut]) -> None:
        """They are here."""

    def squares(self, cuts: Sequence[_Cut]) -> list[Tensor]:
        """The squares of a batch."""
        return [cut.of(self._pictures[cut.index]) for cut in cuts]


class _Streamed:
    """Pictures on disk. In memory are those that threads decode just now, and the squares of two batches."""

    def __init__(self, images: ImageSet, trained: list[Listed]) -> None:
        self._images, self.names = images, _names(trained)
        self.sizes = [(one.rows, one.cols) for one in trained]
        self._pool = ThreadPoolExecutor(decoding_threads(), "pictures")
        self._coming: dict[_Cut, Future[Tensor]] = {}
        self._broken: set[str] = set()

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[Tensor]:
        return (self._picture(index) for index in range(len(self)))

    def expect(self, cuts: Sequence[_Cut]) -> None:
        """Begin to decode the squares of a batch."""
        for cut in cuts:
            if cut not in self._coming:
                self._coming[cut] = self._pool.submit(self._square, cut)

    def squares(self, cuts: Sequence[_Cut]) -> list[Tensor]:
        """The squares of a batch; what else was expected is forgotten."""
        self.expect(cuts)
        found = [self._coming.pop(cut) if cut in self._coming else None for cut in cuts]
        for future in self._coming.values():
            future.cancel()
        self._coming = {}
        taken = {cut: future.result() for cut, future in zip(cuts, found, strict=True) if future is not None}
        return [taken[cut] for cut in cuts]

    def _square(self, cut: _Cut) -> Tensor:
        return cut.of(self._picture(cut.index)).clone()

    def _picture(self, index: int) -> Tensor:
        """The picture, or the next one that can be decoded."""
        for place in range(index, index + _IN_A_ROW):
            name = self.names[place % len(self)]
            data = read_stored(self._images.stored(name), name)
            try:
                return self._images.crop(read_image(data, name, self._images.convert), name)
            except ImageError as problem:
                last = problem
                if name not in self._broken:
                    self._broken.add(name)
                    log.warning("%s The next picture is taken in its place.", problem)
        raise last


def _names(listed: Sequence[Listed]) -> list[str]:
    return [one.name for one in listed]


def memory_for_pictures() -> int:
    """Bytes that pictures may take in memory: half of what is free, to the computer or to the container that
    this runs in, shared between the processes of a training on this computer.
    """
    free = psutil.virtual_memory().available
    limit, used = (_number(_CGROUP / f"memory.{name}") for name in ("max", "current"))
    if limit is not None and used is not None:
        free = min(free, max(0, limit - used + _cached()))
    processes = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return int(_MEMORY_SHARE * free / (int(processes) if processes.isdigit() else 1))


def _number(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError:  # no such limit on this system
        return None
    return int(text) if text.isdigit() else None


def _cached() -> int:
    """Bytes of the container's memory that hold files, which the system gives up when it is asked."""
    try:
        lines = (_CGROUP / "memory.stat").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("file ")), 0)

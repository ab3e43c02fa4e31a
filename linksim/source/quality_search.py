"""The highest quality that fits a byte budget, for many pictures at once: cached, coded by processes."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Future
from functools import lru_cache
from pathlib import Path
from pickle import PicklingError
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from channels.checks import complaint
from linksim.source import foreign
from linksim.source.bisection import best_index
from linksim.source.codec import Measure, SourceCodec
from linksim.source.coders import USUAL, Coders, coders
from linksim.source.command.program import CommandError
from linksim.source.hevc import CodecError
from linksim.source.sizes import Memory, reduced, resize, size_byte
from linksim.source.stream_cache import StreamCache

__all__ = ["Fit", "Measure", "QualitySearch", "Wish", "reduced", "resize"]

log = logging.getLogger("linksim.source")
Rgb = NDArray[np.uint8]
_WORKER_BYTES = 1 << 24
_NO_STREAM = 1 << 40  # size of what a codec cannot code at a quality
_CHOICE = "choice-4"  # part of the key of remembered choices: changes with the search


class Fit(NamedTuple):
    """What fits a budget: the stream with all that its receiver needs, its quality parameter, and n where
    sides were divided by n before.
    """

    stream: bytes
    quality: int
    resolution: int = 1


class Wish(NamedTuple):
    """A picture [H, W, 3] uint8, the name of its pixels, and the largest stream allowed [bytes]."""

    rgb: Rgb
    digest: str
    budget_bytes: int


_Asked = tuple[Coders, Future[dict[tuple[str, int], Fit | None]]]


class QualitySearch:
    """The highest quality of a codec whose stream fits a budget.

    Where little fits, half or quarter size and a better quality can show more than full size: the transmitter
    compares them with the picture it has, in PSNR or by another measure. No receiver knows the size of a
    picture beforehand: the stream of a codec carries that of what was coded, and where sizes are offered a
    byte in front of it says what that is of the whole picture.

    Streams and choices are kept on disk. A choice is a pure function of picture, codec (with version and
    effort), resolutions and budget.

    Args:
        codec: source codec.
        cache: streams of earlier searches.
        resolutions: 1 for full size, 2 and 4 (up to 8) for half and quarter of the sides.
        workers: processes that code pictures in :meth:`best_of`; 1 = this one.
        memory_bytes: for streams and decoded pictures that are kept at hand.
        measure: what shows more; None: the smaller squared error.
        stamp: what makes a stream beside picture and quality; None: what the codec says.
    """

    _POOR = 0.6  # from this share of the qualities on, smaller sizes are tried, too

    def __init__(
        self,
        codec: SourceCodec,
        cache: StreamCache | None = None,
        resolutions: tuple[int, ...] = (1,),
        workers: int = 1,
        memory_bytes: int = 1 << 28,
        measure: Measure | None = None,
        stamp: str | None = None,
    ) -> None:
        self.codec = codec
        self.measure = measure
        self.cache = cache or StreamCache()
        self.resolutions = resolutions
        self.workers = workers
        self._stamp = foreign.stamp(codec) if stamp is None else stamp
        self._streams, self._decoded = Memory(memory_bytes // 4), Memory(memory_bytes)
        self._smallest: dict[str, int] = {}
        self._uncoded: dict[tuple[str, int], float] = {}
        self._begun: dict[tuple[str, int], _Asked] = {}
        self._lost = False

    @property
    def name(self) -> str:
        """Codec, chroma format and, if there is a choice, resolutions and measure: "bpg-420",
        "bpg-420-1/2/4", "bpg-420-1/2/4-ms_ssim".
        """
        parts = [self.codec.name]
        if self.resolutions != (1,):
            parts.append("/".join(str(r) for r in self.resolutions))
        if self.measure is not None:
            parts.append(self.measure.name)
        return "-".join(parts)

    def check(self, height: int, width: int) -> None:
        """Raise ValueError for a picture that the codec takes in none of the sizes."""
        refusals = [self.codec.refusal(reduced((height, width), r)) for r in self.resolutions]
        if all(refusals):
            got, cure = f"{height} x {width} pixels", "Crop the images (images.crop), or use another codec."
            wrong = f"too large for {self.codec.name}"
            raise ValueError(complaint("image", wrong, got, refusals[-1], cure))

    # ------------------------------------------------------------------------------------- streams

    def stream(self, rgb: Rgb, digest: str, quality: int) -> bytes:
        """Stream of a picture at a quality; ``digest`` names its pixels."""
        known = self._known(digest, quality)
        if known is not None:
            return known
        try:
            stream = self.codec.encode(rgb, quality)
        except CommandError as problem:
            problem.digest = digest
            raise
        self.cache.put(self._stream_key(digest, quality), stream)
        self._streams.put((digest, quality), stream)
        return stream

    def _stream_key(self, digest: str, quality: int) -> str:
        return StreamCache.key(digest, self._stamp, quality)

    def _known(self, digest: str, quality: int) -> bytes | None:
        stream = self._streams.get((digest, quality))
        if stream is None:
            stream = self.cache.get(self._stream_key(digest, quality))
            if stream is None:
                return None
            self._streams.put((digest, quality), stream)
        assert isinstance(stream, bytes)
        return stream

    # -------------------------------------------------------------------------------------- search

    def begin(self, wishes: Sequence[Wish]) -> None:
        """Let other processes search what :meth:`best_of` will be asked for, and come back at once; with one
        worker nothing is done.
        """
        if self.workers < 2:
            return
        groups: dict[str, list[Wish]] = {}  # by picture: one process profits from its own streams
        for wish in wishes:
            key = wish.digest, wish.budget_bytes
            if key not in self._begun and isinstance(self._remembered(wish), _Unknown):
                groups.setdefault(wish.digest, []).append(wish)
        foreign.send_by_value(type(self.codec))
        arguments = (self.codec, self.cache.folder, self.resolutions, self.measure, self._stamp)
        processes = coders(self.workers if len(groups) > USUAL else min(self.workers, USUAL))
        for group in groups.values():
            asked = processes, processes.submit(_search_elsewhere, *arguments, group)
            self._begun |= {(wish.digest, wish.budget_bytes): asked for wish in group}

    def best_of(self, wishes: Sequence[Wish]) -> list[Fit | None]:
        """:meth:`best` of many pictures, new ones by several processes at a time."""
        if len({wish.digest for wish in wishes}) > 1:
            self.begin(wishes)
        asked = {key: self._begun.pop(key) for w in wishes if (key := w[1:]) in self._begun}
        return [self._awaited(wish, asked.get(wish[1:])) for wish in wishes]

    def _awaited(self, wish: Wish, asked: _Asked | None) -> Fit | None:
        """What another process finds, if one was asked, can be asked, and lives."""
        try:
            if asked is not None:
                return asked[0].wait(asked[1])[wish.digest, wish.budget_bytes]
        except PicklingError:  # a codec of other people's, with a lock or a file
            self.workers = 1
        except (BrokenExecutor, CancelledError) as lost:
            if isinstance(lost, BrokenExecutor) and not self._lost:
                log.warning("a process that coded pictures was killed; its work is done again in this one")
                self._lost = True
        return self.best(*wish)

    def best(self, rgb: Rgb, digest: str, budget_bytes: int) -> Fit | None:
        """What shows most within a budget, or None if nothing fits.

        Args:
            rgb: [H, W, 3] uint8.
            digest: name of its pixels.
            budget_bytes: largest stream allowed.
        """
        wish = Wish(rgb, digest, budget_bytes)
        known = self._remembered(wish)
        if not isinstance(known, _Unknown):
            return known
        found = self._search(wish)
        choice = None if found is None else [found.quality, found.resolution]
        self.cache.put(self.choice_key(wish), json.dumps(choice).encode())
        return found

    def smallest(self, rgb: Rgb, digest: str, enough: int = 0) -> int:
        """Bytes of the stream of a picture at the lowest quality and the smallest size.

        Args:
            rgb: [H, W, 3] uint8.
            digest: name of its pixels.
            enough: a stream of so many bytes at most will do, be it the smallest or not: the small sizes,
                which take the least time, are tried first.
        """
        if digest not in self._smallest:  # every MCS, channel and swept value asks
            worst, size = self.codec.qualities[-1], (rgb.shape[0], rgb.shape[1])
            least = math.inf
            for factor in sorted(self.resolutions, reverse=True):
                small = resize(rgb, reduced(size, factor))
                least = min(least, len(self.stream(small, _reduced_name(digest, factor), worst)))
                if least + self._overhead <= enough:
                    return int(least) + self._overhead
            self._smallest[digest] = int(least) + self._overhead
        return self._smallest[digest]

    def choice_key(self, wish: Wish) -> str:
        by = () if self.measure is None or self.resolutions == (1,) else (self.measure.reference,)
        return StreamCache.key(_CHOICE, wish.digest, self._stamp, self.resolutions, wish.budget_bytes, *by)

    def _remembered(self, wish: Wish) -> Fit | _Unknown | None:
        """An earlier choice, if the cache holds it, its stream is there and keeps the budget."""
        stored = self.cache.get(self.choice_key(wish))
        if stored is None:
            return _UNKNOWN
        choice = json.loads(stored)
        if choice is None:
            return None
        quality, resolution = choice
        stream = self._known(_reduced_name(wish.digest, resolution), quality)
        if stream is None:
            return _UNKNOWN
        fit = self._fit(wish.rgb, stream, quality, resolution)
        return fit if len(fit.stream) <= wish.budget_bytes else _UNKNOWN

    def _fit(self, rgb: Rgb, stream: bytes, quality: int, resolution: int) -> Fit:
        """What is sent of a coded picture."""
        if self.resolutions == (1,):
            return Fit(stream, quality)
        return Fit(size_byte((rgb.shape[0], rgb.shape[1]), resolution) + stream, quality, resolution)

    def _search(self, wish: Wish) -> Fit | None:
        rgb, digest, budget_bytes = wish
        found: Fit | None = None
        least = math.inf
        for resolution in self.resolutions:
            if found is not None and not self._is_poor(found):
                break
            size = reduced((rgb.shape[0], rgb.shape[1]), resolution)
            if self.codec.refusal(size):
                continue
            small = resize(rgb, size)
            if self.measure is None and least <= self._uncoded_error(rgb, small, digest, resolution):
                continue
            best = self._best_quality(small, _reduced_name(digest, resolution), budget_bytes - self._overhead)
            if best is None:
                continue
            fit = self._fit(rgb, *best, resolution)
            if self.resolutions == (1,):
                return fit
            error = self._error(self.decode(fit.stream, (rgb.shape[0], rgb.shape[1])), rgb)
            if error < least:
                found, least = fit, error
        return found

    def _uncoded_error(self, rgb: Rgb, small: Rgb, digest: str, resolution: int) -> float:
        """Squared error of a smaller size as it is. Coding only adds to it (seen in 40 photographs)."""
        if (digest, resolution) not in self._uncoded:
            shown = resize(small, (rgb.shape[0], rgb.shape[1]))
            self._uncoded[digest, resolution] = self._error(shown, rgb)
        return self._uncoded[digest, resolution]

    def _error(self, shown: Rgb, rgb: Rgb) -> float:
        """How bad a picture is, by the measure."""
        if self.measure is None:
            return float(np.square(shown.astype(np.float64) - rgb).sum())
        value = self.measure(shown, rgb)
        return -value if self.measure.higher_is_better else value

    @property
    def _overhead(self) -> int:
        """Bytes in front of the codec's stream."""
        return 0 if self.resolutions == (1,) else 1

    def _is_poor(self, fit: Fit) -> bool:
        qualities = self.codec.qualities
        return qualities.index(fit.quality) >= self._POOR * len(qualities)

    def _best_quality(self, rgb: Rgb, digest: str, budget_bytes: int) -> tuple[bytes, int] | None:
        """Stream and quality of the best quality that fits, or None if not even the worst does."""
        qualities = self.codec.qualities

        def size(index: int) -> int:
            try:
                return len(self.stream(rgb, digest, qualities[index]))
            except CodecError as problem:
                if index == last:  # there is nothing else to try
                    raise
                log.warning("quality %s is left out: %s", qualities[index], problem)
                return _NO_STREAM

        last = len(qualities) - 1
        if size(last) > budget_bytes:
            return None
        known = {i: len(s) for i, q in enumerate(qualities) if (s := self._known(digest, q)) is not None}
        best = qualities[best_index(size, known, budget_bytes)]
        return self.stream(rgb, digest, best), best

    # -------------------------------------------------------------------------------------- decode

    def decode(self, data: bytes, expected: tuple[int, int]) -> Rgb:
        """Picture [H, W, 3] uint8, whatever allowed size was coded; remembers the last results.

        Args:
            data: stream.
            expected: the size (H, W) that the stream must say, itself: others are refused before anything is
                decoded.

        Raises:
            CodecError: damaged, or of another size.
        """
        key = (data, expected)
        shown = self._decoded.get(key)
        if shown is None:
            shown = resize(self._decode(data, expected), expected)
            self._decoded.put(key, shown)
        assert isinstance(shown, np.ndarray)
        return shown

    def _decode(self, data: bytes, expected: tuple[int, int]) -> Rgb:
        """The picture as coded."""
        if self.resolutions == (1,):
            return np.require(self.codec.decode(data, expected), requirements="W")
        for resolution in self.resolutions:
            if data[:1] == size_byte(expected, resolution):
                return np.require(
                    self.codec.decode(data[1:], reduced(expected, resolution)), requirements="W"
                )
        raise CodecError(f"{self.codec.name}: stream is not of a picture of {expected[0]} x {expected[1]}")


class _Unknown:
    """No choice is remembered (None is one: nothing fits)."""


_UNKNOWN = _Unknown()


def _reduced_name(digest: str, resolution: int) -> str:
    return digest if resolution == 1 else f"{digest}/{resolution}"


@lru_cache(maxsize=4)
def _search_here(
    codec: SourceCodec, folder: Path, resolutions: tuple[int, ...], measure: Measure | None, stamp: str
) -> QualitySearch:
    cache = StreamCache(folder)
    return QualitySearch(codec, cache, resolutions, memory_bytes=_WORKER_BYTES, measure=measure, stamp=stamp)


def _search_elsewhere(
    codec: SourceCodec,
    folder: Path,
    resolutions: tuple[int, ...],
    measure: Measure | None,
    stamp: str,
    wishes: Sequence[Wish],
) -> dict[tuple[str, int], Fit | None]:
    """Work of one process: all wishes of one picture."""
    search = _search_here(codec, folder, resolutions, measure, stamp)
    return {(w.digest, w.budget_bytes): search.best(*w) for w in wishes}

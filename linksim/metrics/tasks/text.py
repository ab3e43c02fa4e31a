"""Text on pictures, read by RapidOCR: character error rate, and signs that are read wrong with confidence."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from channels.runtime.extras import install
from linksim.images.truth import Line, TextTruth
from linksim.kinds import kind
from linksim.metrics.base import MetricInfo, MetricUnavailable, TaskMetric

__all__ = [
    "CONFIDENT",
    "CharacterErrors",
    "ConfidentlyWrong",
    "ReaderModels",
    "Reading",
    "bare",
    "edits",
    "on_line",
    "read",
    "reader_models",
]

CONFIDENT = 0.9
_KEPT = 256  # pictures whose readings are remembered: both metrics ask for them


@dataclass(frozen=True)
class Reading:
    """What a reader says of a place on a picture.

    Args:
        text: that it read.
        confidence: that it gives, 0 to 1: the mean over characters of the probability of the most likely one.
        x, y: centre [pixels from the upper left corner].
    """

    text: str
    confidence: float
    x: float
    y: float


def edits(found: str, true: str) -> int:
    """Characters to insert, remove or replace to make one text of another.

    Source: Levenshtein, "Binary codes capable of correcting deletions, insertions, and reversals", 1966, by
    the recursion of Wagner & Fischer, 1974.

    Example:
        >>> edits("AE-3128", "AE-3729"), edits("", "EXIT")
        (2, 4)
    """
    row = list(range(len(true) + 1))
    for i, one in enumerate(found, 1):
        above, row[0] = row[0], i
        for j, other in enumerate(true, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (one != other))
    return row[-1]


def bare(text: str) -> str:
    """Without spaces: readers tell them from the width of gaps, and leave many out."""
    return "".join(text.split())


def on_line(readings: Sequence[Reading], line: Line) -> tuple[str, float]:
    """What was read on a sign, from left to right without spaces, and the least confidence of its parts;
    no text with confidence 0 where nothing was read.
    """
    parts = sorted(
        (r for r in readings if line.left <= r.x <= line.right and line.top <= r.y <= line.bottom),
        key=lambda r: r.x,
    )
    return bare("".join(r.text for r in parts)), min((r.confidence for r in parts), default=0.0)


# ------------------------------------------------------------------------------------------------ reader


@dataclass(frozen=True)
class ReaderModels:
    """Files of RapidOCR's wheel: the detector of lines and the recogniser of characters."""

    detector: Path
    recogniser: Path

    @property
    def digest(self) -> str:
        """Of both, 16 hex digits."""
        return hashlib.sha256(self.detector.read_bytes() + self.recogniser.read_bytes()).hexdigest()[:16]


@cache
def reader_models() -> ReaderModels:
    """The models that RapidOCR takes when nothing is said, if its wheel holds them: no network is touched.

    Raises:
        MetricUnavailable: not installed, or a wheel without its models.
    """
    lacking = [name for name in ("rapidocr", "onnxruntime") if importlib.util.find_spec(name) is None]
    if lacking:
        raise MetricUnavailable(
            f"RapidOCR: not installed ({', '.join(lacking)}). Install it: {install('tasks')}."
        )
    found = importlib.util.find_spec("rapidocr")
    folder = Path(next(iter((found and found.submodule_search_locations) or ("",)))) / "models"
    detectors, recognisers = (sorted(folder.glob(f"*_{part}_*.onnx")) for part in ("det", "rec"))
    if not detectors or not recognisers:
        raise MetricUnavailable(
            f"RapidOCR: {folder} holds no models. Install it again: {install('tasks')}, "
            "with rapidocr 3.10 or newer."
        )
    return ReaderModels(detectors[0], recognisers[0])


@cache
def _reader() -> Any:
    """RapidOCR with one thread, so that what it reads does not depend on the machine; signs stand upright."""
    from rapidocr import RapidOCR

    models = reader_models()
    one = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
    paths = {"Det.model_path": str(models.detector), "Rec.model_path": str(models.recogniser)}
    return RapidOCR(params={"Global.log_level": "error", "Global.use_cls": False, **one, **paths})


def read(picture: NDArray[np.uint8]) -> tuple[Reading, ...]:
    """What stands on a picture [H, W, 3] uint8, RGB, that the reader gives a confidence of at least .5.

    Raises:
        MetricUnavailable: RapidOCR is not installed.
    """
    return _read(np.ascontiguousarray(picture).tobytes(), picture.shape)


@lru_cache(maxsize=_KEPT)
def _read(pixels: bytes, shape: tuple[int, ...]) -> tuple[Reading, ...]:
    blue_first = np.frombuffer(pixels, np.uint8).reshape(shape)[:, :, ::-1]
    found = _reader()(np.ascontiguousarray(blue_first))
    if found.boxes is None or found.txts is None:
        return ()
    middles = np.asarray(found.boxes, np.float64).mean(1)  # of four corners
    parts = zip(found.txts, found.scores, middles.tolist(), strict=True)
    return tuple(Reading(text, float(score), x, y) for text, score, (x, y) in parts)


# ----------------------------------------------------------------------------------------------- metrics


def _signs(x_hat: Tensor, truths: Sequence[TextTruth]) -> list[list[tuple[str, float, str]]]:
    """Text read, its confidence, and the true text of every sign of every picture [B, 3, H, W]."""
    pictures = (x_hat.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    found = []
    for picture, truth in zip(pictures, truths, strict=True):
        readings = read(picture)
        found.append([(*on_line(readings, line), bare(line.text)) for line in truth.lines])
    return found


class _TextMetric(TaskMetric):
    """A metric of what is read on signs.

    Raises:
        MetricUnavailable: RapidOCR is not installed.
    """

    truth: ClassVar[type[TextTruth]] = TextTruth
    such_as: ClassVar[str] = "images: {kind: text_panels}"

    def __init__(self) -> None:
        self.info = replace(
            self.facts(),
            reference=f"{self.facts().reference}, read by RapidOCR (models {reader_models().digest})",
        )

    @staticmethod
    def facts() -> MetricInfo:
        """What needs no models to be known."""
        raise NotImplementedError


@kind("metric", "ocr_cer")
class CharacterErrors(_TextMetric):
    """Character error rate of what is read on signs: edits over characters, without spaces, 0 is best.

    What is read beside all signs does not count (photographs have letters of their own); a sign on which
    nothing is read has all its characters wrong. Above 1 where more is read than is written.

    Raises:
        MetricUnavailable: RapidOCR is not installed.
    """

    @staticmethod
    def facts() -> MetricInfo:
        """What needs no models to be known."""
        what = "Levenshtein 1966: edits over characters of all signs of a picture, without spaces"
        return MetricInfo("ocr_cer", "1", False, what, label="character error rate (OCR)")

    def __call__(self, x_hat: Tensor, truths: Sequence[TextTruth]) -> Tensor:
        """[B] float64, see :class:`~linksim.metrics.base.TaskMetric`."""
        pictures = _signs(x_hat, truths)
        errors = [sum(edits(text, true) for text, _, true in signs) for signs in pictures]
        written = [sum(len(true) for *_, true in signs) for signs in pictures]
        return torch.tensor(errors, dtype=torch.float64) / torch.tensor(written, dtype=torch.float64)


@kind("metric", "ocr_confidently_wrong")
class ConfidentlyWrong(_TextMetric):
    """Share of signs that are read wrong by a reader that is confident: at least .9, and not the truth.

    The confidence of a sign is the least of the parts that were read on it; letters of which nothing was read
    make it wrong, too. A sign on which nothing is read is not confidently wrong.

    Raises:
        MetricUnavailable: RapidOCR is not installed.
    """

    @staticmethod
    def facts() -> MetricInfo:
        """What needs no models to be known."""
        what = f"signs with a confidence of at least {CONFIDENT} and another text / signs, without spaces"
        label = "confidently wrong signs (OCR)"
        return MetricInfo("ocr_confidently_wrong", "1", False, what, label=label, is_share=True)

    def __call__(self, x_hat: Tensor, truths: Sequence[TextTruth]) -> Tensor:
        """[B] float64, see :class:`~linksim.metrics.base.TaskMetric`."""
        wrong = [
            [confidence >= CONFIDENT and text != true for text, confidence, true in signs]
            for signs in _signs(x_hat, truths)
        ]
        return torch.tensor([sum(signs) / len(signs) for signs in wrong], dtype=torch.float64)

"""Captions of initial reconstructions, by an image-to-text model of transformers, loaded when first used."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import psutil
import torch
from safetensors import safe_open
from torch import Tensor

from channels.checks import complaint
from linksim.weights.pickle_reader import ModelFormatError
from linksim.weights.pretrained import read_network
from linksim.weights.zoo import CAPTIONER, find_folder

__all__ = ["BLIP2", "HubCaptioner", "model_bytes"]

BLIP2 = CAPTIONER
_MAX_TOKENS = 40
_KEPT = 4096  # captions, of the latest pictures


def model_bytes(folder: Path, dtype: torch.dtype) -> int:
    """Bytes that the weights of a model folder take in a precision.

    Of safetensors the header tells the number of weights. Pickles are taken to hold float32, which is the
    rule for them.
    """
    files = sorted(folder.glob("*.safetensors"))
    if files:
        count = 0
        for path in files:
            with safe_open(path, "pt") as opened:
                count += sum(math.prod(opened.get_slice(k).get_shape()) for k in opened.keys())  # noqa: SIM118
        return count * dtype.itemsize
    return sum(path.stat().st_size for path in folder.glob("*.bin")) // 4 * dtype.itemsize


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def _find(name: str) -> Path:
    """The model's folder, without weights in other formats than the one that is read."""
    folder = find_folder(name, ("*.json", "*.txt", "*.model", "*.safetensors"))
    if any(folder.glob("*.safetensors")):
        return folder
    return find_folder(name, ("*.json", "*.txt", "*.model", "*.bin"))


class HubCaptioner:
    """BLIP-2 or any image-to-text model by name.

    The model is found (or downloaded) by :meth:`find` and its size checked by :meth:`prepare`, before any
    long work starts; it is loaded with the first picture. Captions are kept per picture.

    Args:
        name: folder, or repository of the Hugging Face hub.
        device: where it runs.
        dtype: of its weights.
    """

    def __init__(
        self,
        name: str = BLIP2,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.name = name
        self._device, self._dtype = torch.device(device), dtype
        self._folder: Path | None = None
        self._loaded: tuple[Any, Any] | None = None
        self._known: dict[str, str] = {}

    def find(self) -> Path:
        """The model's folder, downloaded if need be.

        Raises:
            ModelFormatError: it cannot be had.
        """
        if self._folder is None:
            self._folder = _find(self.name)
        return self._folder

    def prepare(self) -> Path:
        """Find the model and check that it fits into the memory that is free now.

        Raises:
            ModelFormatError: it cannot be had, or needs more memory than there is.
        """
        folder = self.find()
        if self._loaded is not None:
            return folder
        needed = model_bytes(folder, self._dtype)
        free = _free_bytes(self._device)
        if needed > free:
            cure = "Use caption: none, a smaller model, precision: bfloat16, or a machine with more memory."
            got = f"{needed / 2**30:.1f} GiB for {self.name}"
            expected = f"at most the {free / 2**30:.1f} GiB that are free"
            raise ModelFormatError(complaint("caption", "needs too much memory", got, expected, cure))
        return folder

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            from transformers import AutoModelForImageTextToText, AutoProcessor

            folder = self.find()
            make_processor: Any = AutoProcessor.from_pretrained
            processor = make_processor(folder, local_files_only=True)
            read = AutoModelForImageTextToText.from_pretrained
            model = read_network(read, folder, "model that describes pictures", part=True, dtype=self._dtype)
            self._loaded = (processor, model.to(self._device))
        return self._loaded

    @torch.no_grad()
    def __call__(self, image: Tensor) -> list[str]:
        """Captions of images [B, 3, H, W] in [0, 1], greedy, one by one."""
        result = []
        for picture in image:
            pixels = (picture.clamp(0, 1) * 255).round().to(torch.uint8).cpu()
            key = hashlib.blake2b(pixels.numpy().tobytes()).hexdigest()
            if key not in self._known:
                self._known[key] = self._describe(pixels)
            result.append(self._known[key])
        for old in list(self._known)[:-_KEPT]:
            del self._known[old]
        return result

    def _describe(self, pixels: Tensor) -> str:
        processor, model = self._load()
        inputs = processor(images=pixels.permute(1, 2, 0).numpy(), return_tensors="pt").to(self._device)
        inputs["pixel_values"] = inputs["pixel_values"].to(self._dtype)
        tokens = model.generate(**inputs, max_new_tokens=_MAX_TOKENS, do_sample=False, num_beams=1)
        return str(processor.batch_decode(tokens, skip_special_tokens=True)[0]).strip()

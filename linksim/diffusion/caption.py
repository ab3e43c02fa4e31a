"""Captions of initial reconstructions, by an image-to-text model of transformers, loaded when first used.

May import: torch, transformers, channels.checks, linksim.zoo, linksim.pickle_reader (its error).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from channels.checks import complaint
from linksim.pickle_reader import ModelFormatError

__all__ = ["BLIP2", "HubCaptioner", "model_bytes"]

BLIP2 = "Salesforce/blip2-opt-2.7b"
_MAX_TOKENS = 40


def model_bytes(folder: Path) -> int:
    """Bytes of the weights in a model folder: safetensors if there are some, else pickles."""
    for suffix in ("*.safetensors", "*.bin"):
        files = list(folder.glob(suffix))
        if files:
            return sum(path.stat().st_size for path in files)
    return 0


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return 1024 * int(line.split()[1])
    return 1 << 62


class HubCaptioner:
    """BLIP-2 or any image-to-text model by name.

    The model is found (or downloaded) by :meth:`prepare`, before any long work starts, and loaded with the
    first picture. Captions are kept per picture.

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

    def prepare(self) -> Path:
        """Find the model and check that it fits into the memory.

        Raises:
            ModelFormatError: it cannot be had, or needs more memory than there is.
        """
        if self._folder is not None:
            return self._folder
        from linksim.zoo import find_folder

        folder = find_folder(self.name)
        needed = model_bytes(folder) * (1 if self._dtype != torch.float32 else 2)
        free = _free_bytes(self._device)
        if needed > free:
            cure = "Use caption: none, a smaller model, or a machine with more memory."
            got = f"{needed / 2**30:.1f} GiB for {self.name}"
            expected = f"at most the {free / 2**30:.1f} GiB that are free"
            raise ModelFormatError(complaint("caption", "needs too much memory", got, expected, cure))
        self._folder = folder
        return folder

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            from transformers import AutoModelForImageTextToText, AutoProcessor

            folder = self.prepare()
            make_processor: Any = AutoProcessor.from_pretrained
            processor = make_processor(folder, local_files_only=True)
            model: Any = AutoModelForImageTextToText.from_pretrained(
                folder, local_files_only=True, dtype=self._dtype
            )
            self._loaded = (processor, model.to(self._device).eval().requires_grad_(False))
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
        return result

    def _describe(self, pixels: Tensor) -> str:
        processor, model = self._load()
        inputs = processor(images=pixels.permute(1, 2, 0).numpy(), return_tensors="pt").to(self._device)
        inputs["pixel_values"] = inputs["pixel_values"].to(self._dtype)
        tokens = model.generate(**inputs, max_new_tokens=_MAX_TOKENS, do_sample=False, num_beams=1)
        return str(processor.batch_decode(tokens, skip_special_tokens=True)[0]).strip()

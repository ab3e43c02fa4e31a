"""Textual features: captions to embeddings of the text tower.

May import: torch, transformers, channels.checks, linksim.pickle_reader (its error).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPTextModel

from channels.checks import complaint
from linksim.pickle_reader import ModelFormatError

__all__ = ["TOKENIZER_FOLDER", "TextFeatures"]

TOKENIZER_FOLDER = "tokenizer"


class TextFeatures:
    """Embeddings [B, L, d] of captions; the empty caption needs no tokenizer.

    Args:
        encoder: text tower.
        tokenizer: CLIP's; None where it is not at hand.
    """

    def __init__(self, encoder: CLIPTextModel, tokenizer: Any = None) -> None:
        self._encoder = encoder
        self._tokenizer = tokenizer
        self._known: dict[str, Tensor] = {}

    @classmethod
    def beside(cls, encoder: CLIPTextModel, folder: Path | None) -> TextFeatures:
        """With the tokenizer of a model folder, if it has one."""
        if folder is None or not (folder / TOKENIZER_FOLDER).is_dir():
            return cls(encoder)
        from transformers import CLIPTokenizer

        return cls(encoder, CLIPTokenizer.from_pretrained(folder / TOKENIZER_FOLDER, local_files_only=True))

    def tokens(self, caption: str) -> Tensor:
        """[1, L] token ids: start, the caption, end, zeros (the padding of OpenCLIP).

        Raises:
            ModelFormatError: a caption, and no tokenizer.
        """
        config: Any = self._encoder.config
        length = int(config.max_position_embeddings)
        words: list[int] = []
        if caption.strip():
            if self._tokenizer is None:
                cure = "Convert with --tokenizer openai/clip-vit-large-patch14, or use caption: none."
                raise ModelFormatError(
                    complaint("tokenizer", "not in the model folder", "none", "CLIP's tokenizer", cure)
                )
            words = self._tokenizer(caption, add_special_tokens=False).input_ids[: length - 2]
        ids = [int(config.bos_token_id), *words, int(config.eos_token_id)]
        return torch.tensor([ids + [0] * (length - len(ids))])

    @torch.no_grad()
    def __call__(self, captions: Sequence[str]) -> Tensor:
        """Embeddings [B, L, d] of the last hidden layer, normalised."""
        for caption in captions:
            if caption not in self._known:
                ids = self.tokens(caption).to(self._encoder.device)
                self._known[caption] = self._encoder(ids).last_hidden_state
        return torch.cat([self._known[caption] for caption in captions])

"""Textual features: captions to embeddings of the text tower."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from channels.checks import complaint, in_words
from linksim.weights.pickle_reader import ModelFormatError
from linksim.weights.zoo import find_folder

__all__ = ["CLIP_TOKENIZER", "TOKENIZER_FOLDER", "TextFeatures", "read_tokenizer"]

TOKENIZER_FOLDER = "tokenizer"
CLIP_TOKENIZER = "openai/clip-vit-large-patch14"  # the words of every CLIP, OpenCLIP's included
_KEPT = 64  # embeddings, of the latest captions
_FILES = ("vocab.json", "merges.txt", "tokenizer*.json", "special_tokens_map.json")


def read_tokenizer(name: str) -> CLIPTokenizer:
    """CLIP's tokenizer from a folder, or from a hub repository (its few files are downloaded once).

    Raises:
        ModelFormatError: it cannot be had, or is none.
    """
    folder = find_folder(name, _FILES)
    try:
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as problem:  # the libraries raise many types for broken files
        raise ModelFormatError(
            complaint(f"tokenizer {name}", "cannot be read", in_words(problem), "CLIP's tokenizer")
        ) from None


class TextFeatures:
    """Embeddings [B, L, d] of captions; the empty caption needs no tokenizer.

    Args:
        encoder: text tower.
        tokenizer: CLIP's; None where it is not at hand.
    """

    def __init__(self, encoder: CLIPTextModel, tokenizer: Any = None) -> None:
        self._encoder = encoder
        self.tokenizer = tokenizer
        self.kept: dict[str, Tensor] = {}

    @classmethod
    def beside(cls, encoder: CLIPTextModel, folder: Path | None, *, needed: bool = False) -> TextFeatures:
        """With the tokenizer of a model folder, if it has one; if it has none and one is needed, CLIP's.

        Raises:
            ModelFormatError: needed, and not to be had.
        """
        if folder is not None and (folder / TOKENIZER_FOLDER).is_dir():
            return cls(encoder, read_tokenizer(str(folder / TOKENIZER_FOLDER)))
        if not needed:
            return cls(encoder)
        try:
            return cls(encoder, read_tokenizer(CLIP_TOKENIZER))
        except ModelFormatError as problem:
            cure = (
                "Captions need it: convert the model with --tokenizer FOLDER, or use caption: none. "
                f"({problem})"
            )
            raise ModelFormatError(
                complaint("tokenizer", "not in the model folder", "none", "CLIP's tokenizer", cure)
            ) from None

    def tokens(self, caption: str) -> Tensor:
        """[1, L] token ids: start, the caption, end, zeros (the padding of OpenCLIP).

        Raises:
            ModelFormatError: a caption, and no tokenizer.
        """
        config: Any = self._encoder.config
        length = int(config.max_position_embeddings)
        words: list[int] = []
        if caption.strip():
            if self.tokenizer is None:
                cure = f"Convert with --tokenizer {CLIP_TOKENIZER}, or use caption: none."
                raise ModelFormatError(
                    complaint("tokenizer", "not in the model folder", "none", "CLIP's tokenizer", cure)
                )
            words = self.tokenizer(caption, add_special_tokens=False).input_ids[: length - 2]
        # start and end are the last two words of every CLIP vocabulary; older configurations name others
        start, end = int(config.vocab_size) - 2, int(config.vocab_size) - 1
        ids = [start, *words, end]
        return torch.tensor([ids + [0] * (length - len(ids))])

    @torch.no_grad()
    def __call__(self, captions: Sequence[str]) -> Tensor:
        """Embeddings [B, L, d] of the last hidden layer, normalised."""
        found = {}
        for caption in captions:
            known = self.kept.pop(caption, None)
            if known is None:
                known = self._encoder(self.tokens(caption).to(self._encoder.device)).last_hidden_state
            found[caption] = self.kept[caption] = known  # last in the order of use
        for old in list(self.kept)[:-_KEPT]:
            del self.kept[old]
        return torch.cat([found[caption] for caption in captions])

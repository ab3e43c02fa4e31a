"""A scenario that runs in a second or two."""

from __future__ import annotations

import json
from pathlib import Path

TINY = """
schema_version: 1
name: tiny
seed: 7
images: {kind: skimage, names: [astronaut, coffee], crop: 64}
bandwidth: {data_ratio: 1/12}
channels:
  - {kind: awgn}
  - {kind: rayleigh, coherence_symbols: 128, csi: {kind: lmmse, pilots_per_block: 2}}
sweep: {snr_db: [2, 14], trials: 2}
schemes:
  - {kind: linear_analog, name: linear}
  - {kind: separation, name: bpg, mcs: 6}
  - {kind: uncoded, name: qpsk, bits_per_symbol: 2}
  - {kind: capacity_bound, name: bound}
metrics: [psnr, ssim, ber, bler]
batch_size: 3
"""


def write(folder: Path, text: str = TINY, name: str = "tiny.yaml") -> str:
    """Write a scenario file; returns its path."""
    path = folder / name
    path.write_text(text)
    return str(path)


def write_tokenizer(folder: Path) -> None:
    """CLIP's tokenizer over single letters: 510 symbols, start and end of text."""
    from transformers import CLIPTokenizer

    letters = [chr(ord("a") + i) for i in range(26)]
    symbols = ["!", *letters, *(f"{letter}</w>" for letter in letters)]
    symbols += [f"<{i}>" for i in range(510 - len(symbols))]
    vocabulary = {s: i for i, s in enumerate([*symbols, "<|startoftext|>", "<|endoftext|>"])}
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)

"""docs/tensorflow.md and its example are true. Its blocks are marked py: they need TensorFlow."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"
pytest.importorskip("tensorflow")


def test_blocks_of_the_document_run_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space: dict[str, object] = {"__name__": "tensorflow.md"}
    blocks = re.findall(r"```py\n(.*?)```", (DOCS / "tensorflow.md").read_text(), re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, "tensorflow.md", "exec"), space)
    assert space["x"].grad.abs().max() > 1e-6
    assert space["channel"].uses(1000).pilot == 32
    psnr = space["run"].table().set_index("snr_db")["mean"]
    assert 14 < psnr[1] < psnr[10]


def test_example_learns_a_channel_and_tunes_a_code_through_it(capsys):
    spec = importlib.util.spec_from_file_location("example", DOCS / "examples" / "learned_keras_channel.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    figures = example.main(["--epochs", "4", "--steps", "6"])
    assert figures["error_db"] < -15
    assert 0.1 < figures["distortion"] < 0.3
    assert figures["gradient"] > 0
    assert figures["after"] > figures["before"]
    assert "PSNR" in capsys.readouterr().out

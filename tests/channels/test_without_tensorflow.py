"""The TensorFlow bridge where TensorFlow is missing: it can be imported and built, and says what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from channels.tensorflow import call as tf_call
from channels.tensorflow.call import tensorflow_call
from channels.tensorflow.channel import TensorFlowChannel


@pytest.fixture
def _no_tensorflow(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    tf_call.tensorflow.cache_clear()
    yield
    tf_call.tensorflow.cache_clear()


def test_import_and_construction_do_not_import_tensorflow():
    code = (
        "import sys; from channels.tensorflow.channel import TensorFlowChannel;"
        "c = TensorFlowChannel(abs, csi='ls', pilots_per_block=1); c.uses(10); c.draw(10, [1]);"
        "print('tensorflow' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False"]


@pytest.mark.usefixtures("_no_tensorflow")
def test_missing_tensorflow_is_named_with_the_command_that_installs_it():
    with pytest.raises(
        ImportError, match=r"tensorflow: not installed, .* pip install 'linksim-wireless\[tensorflow\]'"
    ):
        tensorflow_call(abs, torch.ones(2))
    channel = TensorFlowChannel(abs, csi="ls", pilots_per_block=1)
    with pytest.raises(ImportError, match="tensorflow: not installed"):
        channel(torch.ones(1, 8, dtype=torch.complex64), torch.tensor([10.0]), [1])


def test_broken_tensorflow_is_not_called_missing(monkeypatch, tmp_path):
    (tmp_path / "tensorflow.py").write_text("import no_such_part_of_tensorflow")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    tf_call.tensorflow.cache_clear()
    with pytest.raises(ModuleNotFoundError, match="no_such_part"):
        tensorflow_call(abs, torch.ones(2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "gain: missing, .* csi='ls'"),
        ({"csi": "lmmse"}, "csi: unknown choice"),
        ({"csi": "ls"}, "pilots_per_block: out of range, .* at least one pilot"),
        ({"gain": abs, "pilots_per_block": 2}, "pilots_per_block: useless with perfect CSI, got 2"),
        ({"gain": abs, "coherence_symbols": 0}, "coherence_symbols: out of range"),
        ({"gain": abs, "distortion": -0.1}, "distortion: out of range"),
        ({"gain": abs, "extra": ["snr"]}, "extra: unknown choice, got 'snr'"),
        ({"gain": abs, "symbols": "real"}, "symbols: unknown choice"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        TensorFlowChannel(abs, **arguments)


def test_tensors_must_be_on_one_device():
    with pytest.raises(ValueError, match="tensors: wrong devices, got cpu, meta"):
        tensorflow_call(abs, torch.ones(2), torch.ones(2, device="meta"))
    with pytest.raises(ValueError, match="got no tensor"):
        tensorflow_call(abs)

"""A TDL channel of Sionna 1.x (TensorFlow) over OFDM as a linksim operator, against the formula in PyTorch.

Runs where Sionna 1 is installed: make test-sionna1.
"""

from __future__ import annotations

import importlib.util
import math
from importlib import metadata
from pathlib import Path

import pytest
import torch

try:
    RELEASE = metadata.version("sionna")
except metadata.PackageNotFoundError:
    RELEASE = "none"
if not RELEASE.startswith("1."):
    pytest.skip(f"needs Sionna 1.x, got {RELEASE}: make test-sionna1", allow_module_level=True)

import tensorflow as tf

from channels import seeding
from channels.arithmetic import multiply
from channels.equalization import equalize
from channels.tensorflow.call import tensorflow_call
from channels.tensorflow.channel import TensorFlowChannel
from tests.contracts import operator_checks as checks


def _example():
    path = Path(__file__).resolve().parents[2] / "docs" / "examples" / "sionna1_tdl_channel.py"
    spec = importlib.util.spec_from_file_location("sionna1_tdl_channel", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


EXAMPLE = _example()
F = 20


def tdl(precision: str):
    return EXAMPLE.Sionna1Tdl(precision, F)


def channel(precision: str, **arguments) -> TensorFlowChannel:
    block = tdl(precision)
    settings = {"draw": block.draw, "gain": block.gain, "precision": precision, **arguments}
    return TensorFlowChannel(block, **settings)


@pytest.mark.parametrize(("precision", "tolerance"), [("single", 1e-5), ("double", 1e-10)])
def test_values_are_those_of_the_formula_in_pytorch_for_the_same_taps(precision, tolerance):
    operator = channel(precision)
    x, no = checks.symbols(4, 300, operator.cdtype), torch.full((4, 1), 0.1, dtype=operator.dtype)
    draw = operator.draw(300, checks.SEEDS[:4])
    h = tdl(precision).gain(*draw.state)
    expected = multiply(h, x.to(h.dtype)) + math.sqrt(0.1) * draw.noise
    y = operator.propagate(x, draw, no)
    assert y.dtype == operator.cdtype
    error = float((y - expected).abs().max())
    assert error < tolerance * float(expected.abs().max()), error
    assert float((expected - x).abs().max()) > 0.5


def test_taps_turned_the_other_way_are_another_channel():
    """exp(+j2πfτ) instead: the comparison above sees it."""
    operator, block = channel("double"), tdl("double")
    block.torch_frequencies = -block.torch_frequencies
    draw = operator.draw(300, [5])
    assert float((block.gain(*draw.state) - tdl("double").gain(*draw.state)).abs().max()) > 0.1


def test_gradcheck_in_double_precision():
    block = tdl("double")
    state = [t[None] for t in block.draw(2 * F + 3, seeding.generator(3))]
    x = checks.symbols(1, 2 * F + 3, torch.complex128).requires_grad_()
    a = state[0].clone().requires_grad_()
    call = tf.function(block)
    assert torch.autograd.gradcheck(lambda x, a: tensorflow_call(call, x, a, *state[1:]), (x, a))


def test_gradients_are_those_of_the_formula_in_pytorch():
    block = tdl("double")
    a, tau, places = (t[None] for t in block.draw(100, seeding.generator(3)))
    x, a = checks.symbols(1, 100, torch.complex128).requires_grad_(), a.clone().requires_grad_()
    upstream = checks.symbols(1, 100, torch.complex128, 9)
    there = torch.autograd.grad(tensorflow_call(block, x, a, tau, places), (x, a), upstream)
    here = torch.autograd.grad(block.gain(a, tau, places) * x, (x, a), upstream)
    for one, other in zip(here, there, strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("csi", ["perfect", "ls"])
def test_operator_contract(csi):
    """The clauses that need no Sionna 2."""

    def make(precision: str) -> TensorFlowChannel:
        # as the gains change along the grid, an estimate is good for the first elements of a block only
        pilots = {"csi": "ls", "pilots_per_block": 2, "coherence_symbols": 4} if csi == "ls" else {}
        return channel(precision, **pilots)

    checks.check_shapes(make("single"))
    checks.check_same_seed_same_bits(make("single"))
    checks.check_batch_split(make("single"), (3, 5))
    checks.check_batch_split(make("single"), (1, 7))
    checks.check_noise_variance(make("double"))
    checks.check_noise_is_circular(make("double"))
    checks.check_linear(make("double"))
    checks.check_adjoint(make("double"))
    checks.check_gradient(make("double"))
    checks.check_csi(make("double"), estimated=csi == "ls")
    checks.check_uses(make("single"))


def test_mean_gain_power_is_one():
    """N = 200 independent fades."""
    checks.check_unit_mean_gain(channel("single"), num_draws=200)


def test_torch_generators_stay_as_they_are():
    operator = channel("single")
    before = torch.get_rng_state()
    operator(checks.symbols(2, 60, torch.complex64), torch.zeros(2), [1, 2])
    assert torch.equal(before, torch.get_rng_state())


def test_symbols_come_back_at_high_snr():
    x = checks.symbols(2, 300, torch.complex64)
    received = channel("single")(x, torch.full((2,), 60.0), [1, 2])
    assert float((equalize(received, "lmmse")[0] - x).abs().square().mean()) < 1e-3


def test_example_runs(capsys):
    """20 dB over Rayleigh fading with an LMMSE equaliser: an error between those of 10 and 20 dB of AWGN."""
    assert 0.01 < EXAMPLE.main() < 0.1
    assert "gradient" in capsys.readouterr().out

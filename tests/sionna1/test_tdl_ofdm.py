"""A TDL channel of Sionna 1.x (TensorFlow) over OFDM as a linksim operator, against the formula in PyTorch.

Runs where Sionna 1 is installed: make test-sionna1.
"""

from __future__ import annotations

import math
from importlib import metadata

import pytest
import torch

try:
    RELEASE = metadata.version("sionna")
except metadata.PackageNotFoundError:
    RELEASE = "none"
if not RELEASE.startswith("1."):
    pytest.skip(f"needs Sionna 1.x, got {RELEASE}: make test-sionna1", allow_module_level=True)

import tensorflow as tf
from torch.utils.dlpack import from_dlpack

from channels import seeding
from channels.arithmetic import multiply
from channels.equalization import equalize
from channels.tf_bridge import TensorFlowChannel, tensorflow_call
from tests.contracts import operator_checks as checks

import sionna.phy
from sionna.phy.channel import ApplyOFDMChannel, cir_to_ofdm_channel, subcarrier_frequencies
from sionna.phy.channel.tr38901 import TDL
from sionna.phy.ofdm import ResourceGrid, ResourceGridMapper

F, SPACING_HZ = 20, 15e3
SYMBOL_S = 1 / SPACING_HZ


class Sionna1Tdl:
    """TDL-C at 300 ns and 10 m/s over a grid of F subcarriers, every element carrying a symbol."""

    def __init__(self, precision: str) -> None:
        self.precision = precision
        self.tdl = TDL("C", 300e-9, 3.5e9, min_speed=10.0, precision=precision)
        self.apply = ApplyOFDMChannel(precision=precision)
        self.frequencies = subcarrier_frequencies(F, SPACING_HZ, precision=precision)
        self.mappers: dict[int, ResourceGridMapper] = {}
        self.torch_frequencies = (torch.arange(F, dtype=torch.float64) - F // 2) * SPACING_HZ

    def draw(self, num_sent: int, generator: torch.Generator) -> list[torch.Tensor]:
        """Path gains [paths, T], delays [paths] and the places of the symbols. Sionna 1 draws with a generator
        of its own, which is given a seed for every image.
        """
        sionna.phy.config.seed = int(torch.randint(2**31, (1,), generator=generator))
        a, tau = self.tdl(1, math.ceil(num_sent / F), 1 / SYMBOL_S)
        a, tau = (from_dlpack(tf.experimental.dlpack.to_dlpack(t)) for t in (a, tau))
        return [a[0, 0, 0, 0, 0], tau[0, 0, 0], torch.arange(num_sent)]

    def gain(self, a: torch.Tensor, tau: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """The formula in PyTorch, in double: h = sum over paths of a·exp(-j2πfτ), [B, m]."""
        turn = -2 * math.pi * tau.double()[:, :, None] * self.torch_frequencies
        waves = torch.polar(torch.ones_like(turn), turn)
        h = torch.einsum("bpt,bpf->btf", a.to(torch.complex128), waves)
        return h.flatten(1)[:, : places.shape[1]]

    def mapper(self, num_ofdm_symbols: int) -> ResourceGridMapper:
        """Grids of Sionna 1 cannot be made inside a graph, so they are made outside."""
        if num_ofdm_symbols not in self.mappers:
            with tf.init_scope():
                grid = ResourceGrid(num_ofdm_symbols, F, SPACING_HZ, precision=self.precision)
                self.mappers[num_ofdm_symbols] = ResourceGridMapper(grid, precision=self.precision)
        return self.mappers[num_ofdm_symbols]

    def __call__(self, x, a, tau, places):
        """The same channel in Sionna 1's own blocks."""
        count, num_ofdm_symbols = x.shape[1], a.shape[2]
        filled = tf.pad(x, [[0, 0], [0, num_ofdm_symbols * F - count]])
        sent = self.mapper(num_ofdm_symbols)(filled[:, None, None, :])
        h = cir_to_ofdm_channel(self.frequencies, a[:, None, None, None, None], tau[:, None, None])
        received = self.apply(sent, h)
        return tf.reshape(received, (-1, num_ofdm_symbols * F))[:, :count]


def channel(precision: str, **arguments) -> TensorFlowChannel:
    block = Sionna1Tdl(precision)
    settings = {"draw": block.draw, "gain": block.gain, "precision": precision, **arguments}
    return TensorFlowChannel(block, **settings)


@pytest.mark.parametrize(("precision", "tolerance"), [("single", 1e-5), ("double", 1e-10)])
def test_values_are_those_of_the_formula_in_pytorch_for_the_same_taps(precision, tolerance):
    operator = channel(precision)
    x, no = checks.symbols(4, 300, operator.cdtype), torch.full((4, 1), 0.1, dtype=operator.dtype)
    draw = operator.draw(300, checks.SEEDS[:4])
    h = operator._gain(*draw.state)
    expected = multiply(h, x.to(h.dtype)) + math.sqrt(0.1) * draw.noise
    y = operator.propagate(x, draw, no)
    assert y.dtype == operator.cdtype
    error = float((y - expected).abs().max())
    assert error < tolerance * float(expected.abs().max()), error
    assert float((expected - x).abs().max()) > 0.5


def test_taps_turned_the_other_way_are_another_channel():
    """exp(+j2πfτ) instead: the comparison above sees it."""
    operator, block = channel("double"), Sionna1Tdl("double")
    block.torch_frequencies = -block.torch_frequencies
    draw = operator.draw(300, [5])
    assert float((block.gain(*draw.state) - operator._gain(*draw.state)).abs().max()) > 0.1


def test_gradcheck_in_double_precision():
    block = Sionna1Tdl("double")
    state = [t[None] for t in block.draw(2 * F + 3, seeding.generator(3))]
    x = checks.symbols(1, 2 * F + 3, torch.complex128).requires_grad_()
    a = state[0].clone().requires_grad_()
    call = tf.function(block)
    assert torch.autograd.gradcheck(lambda x, a: tensorflow_call(call, x, a, *state[1:]), (x, a))


def test_gradients_are_those_of_the_formula_in_pytorch():
    block = Sionna1Tdl("double")
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

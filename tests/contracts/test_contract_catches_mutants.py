"""Each clause of the contract fails on an operator that breaks it."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from channels import seeding
from channels.flat.awgn import AwgnChannel
from channels.flat.fading import FlatFadingChannel
from channels.types import Csi, Received
from tests.contracts import operator_checks as checks


class NoNoise(AwgnChannel):
    def propagate(self, x, draw, no):
        return x


class DoubleNoise(AwgnChannel):
    def propagate(self, x, draw, no):
        return x + (2 * no).sqrt() * draw.noise


class RealNoise(AwgnChannel):
    def propagate(self, x, draw, no):
        return x + no.sqrt() * draw.noise.real * 2**0.5


class MeasuredPowerNoise(AwgnChannel):
    """Noise scaled to the power of the batch: the SNR of an image depends on its mates."""

    def propagate(self, x, draw, no):
        return x + (no.mean() * x.abs().square().mean()).sqrt() * draw.noise


class BatchSeed(AwgnChannel):
    def draw(self, num_symbols, seeds):
        gen = seeding.generator(sum(seeds))
        draw = super().draw(num_symbols, seeds)
        return dataclasses.replace(draw, noise=seeding.complex_normal(draw.noise.shape, gen, self.cdtype))


class GlobalNoise(AwgnChannel):
    def draw(self, num_symbols, seeds):
        draw = super().draw(num_symbols, seeds)
        return dataclasses.replace(draw, noise=torch.randn_like(draw.noise))


class StrongFading(FlatFadingChannel):
    def draw(self, num_symbols, seeds):
        draw = super().draw(num_symbols, seeds)
        return dataclasses.replace(draw, h=1.2 * draw.h)


class Conjugate(FlatFadingChannel):
    def propagate(self, x, draw, no):
        return super().propagate(x.conj(), draw, no)


class Cut(FlatFadingChannel):
    """No gradient reaches the symbols."""

    def propagate(self, x, draw, no):
        return super().propagate(x.detach(), draw, no)


class Peeking(FlatFadingChannel):
    def observe(self, y_raw, draw, no):
        received = super().observe(y_raw, draw, no)
        csi = Csi(self.gain(draw, no), received.csi.no, received.csi.err_var)
        return Received(received.y, csi, received.uses)


class NormalisedFading(FlatFadingChannel):
    """Every realisation scaled to |h| = 1, as normalize_channel=True does: the power test alone cannot see
    it."""

    def draw(self, num_symbols, seeds):
        draw = super().draw(num_symbols, seeds)
        return dataclasses.replace(draw, h=draw.h / draw.h.abs())


def _estimating(kind: type[FlatFadingChannel], precision="single") -> FlatFadingChannel:
    return kind(coherence_symbols=20, csi="ls", pilots_per_block=1, precision=precision)


def _fails(check, *arguments, **keywords) -> None:
    with pytest.raises((AssertionError, RuntimeError)):  # GradcheckError is a RuntimeError
        check(*arguments, **keywords)


@pytest.mark.parametrize("mutant", [NoNoise, DoubleNoise, MeasuredPowerNoise])
def test_noise_variance_check_fails(mutant):
    _fails(checks.check_noise_variance, mutant(precision="double"))


def test_circularity_check_fails():
    _fails(checks.check_noise_is_circular, RealNoise(precision="double"))


@pytest.mark.parametrize("mutant", [MeasuredPowerNoise, BatchSeed])
def test_batch_split_check_fails(mutant):
    _fails(checks.check_batch_split, mutant(), (3, 5))


def test_seed_check_fails():
    _fails(checks.check_same_seed_same_bits, GlobalNoise())


def test_instances_check_fails():
    class OwnPilots(AwgnChannel):
        def __init__(self, **arguments):
            super().__init__(**arguments)
            self.pilot = torch.randn(())

        def propagate(self, x, draw, no):
            return super().propagate(x, draw, no) * self.pilot

    with pytest.raises(AssertionError, match="more than its arguments"):
        checks.check_instances_agree(lambda precision: OwnPilots(precision=precision))


def test_global_rng_check_fails():
    _fails(checks.check_global_rng_untouched, lambda precision: GlobalNoise(precision=precision))


def test_gain_check_fails():
    _fails(checks.check_unit_mean_gain, StrongFading(), num_draws=1000)


@pytest.mark.parametrize("mutant", [Conjugate, Cut])
def test_linearity_or_adjoint_check_fails(mutant):
    operator = mutant(coherence_symbols=20, precision="double")
    if mutant is Conjugate:
        _fails(checks.check_linear, operator)
    _fails(checks.check_adjoint, operator)


def test_gradcheck_fails():
    _fails(checks.check_gradient, Cut(coherence_symbols=20, precision="double"))


def test_peeking_check_fails():
    _fails(checks.check_no_peeking, _estimating(Peeking))
    _fails(checks.check_csi, _estimating(Peeking, "double"), estimated=True)


def test_uses_check_fails():
    class FreePilots(FlatFadingChannel):
        def observe(self, y_raw, draw, no):
            received = super().observe(y_raw, draw, no)
            return Received(received.y, received.csi, dataclasses.replace(received.uses, pilot=0))

    _fails(checks.check_uses, _estimating(FreePilots))

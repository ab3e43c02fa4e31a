"""The contract, over every operator."""

from __future__ import annotations

import pytest
import torch

from channels.flat.awgn import AwgnChannel
from tests.contracts import operator_checks as checks
from tests.contracts.operators import OPERATORS, Case

CASES = [pytest.param(case, id=name) for name, case in OPERATORS.items()]
ESTIMATED = [pytest.param(case, id=name) for name, case in OPERATORS.items() if case.estimated]
FADING = [pytest.param(case, id=name) for name, case in OPERATORS.items() if case.fades]
SCALAR = [pytest.param(case, id=name) for name, case in OPERATORS.items() if case.scalar]
COMBINED = [
    pytest.param(case, id=name)
    for name, case in OPERATORS.items()
    if not case.scalar and case.linear and "interferer" not in name and "cfo" not in name
]
LINEAR = [pytest.param(case, id=name) for name, case in OPERATORS.items() if case.linear]
SMOOTH = [pytest.param(case, id=name) for name, case in OPERATORS.items() if case.smooth]


@pytest.mark.parametrize("precision", ["single", "double"])
@pytest.mark.parametrize("case", CASES)
def test_shapes_and_dtypes(case: Case, precision):
    checks.check_shapes(case.make(precision))


@pytest.mark.parametrize("case", CASES)
def test_same_seed_gives_same_bits(case: Case):
    checks.check_same_seed_same_bits(case.make("single"))


@pytest.mark.parametrize("case", CASES)
def test_instances_of_the_same_arguments_agree(case: Case):
    checks.check_instances_agree(case.make)


@pytest.mark.parametrize("parts", [(3, 5), (1, 7)])
@pytest.mark.parametrize("case", CASES)
def test_batch_split_is_bit_identical(case: Case, parts):
    checks.check_batch_split(case.make("single"), parts)


@pytest.mark.parametrize("case", CASES)
def test_global_generators_untouched(case: Case):
    checks.check_global_rng_untouched(case.make)


@pytest.mark.parametrize("case", FADING)
def test_mean_gain_power_is_one(case: Case):
    checks.check_unit_mean_gain(case.make("single"), num_draws=case.mean_draws, tolerance=case.mean_tolerance)


@pytest.mark.parametrize("case", SCALAR)
def test_noise_variance_equals_no(case: Case):
    checks.check_noise_variance(case.make("double"), told=case.known_noise)
    checks.check_noise_is_circular(case.make("double"))


@pytest.mark.parametrize("case", COMBINED)
def test_combined_symbols_have_the_noise_that_the_receiver_counts(case: Case):
    checks.check_receiver_knows_its_error(case.make("double"))


@pytest.mark.parametrize("case", LINEAR)
def test_linear_in_the_symbols(case: Case):
    checks.check_linear(case.make("double"), gain=case.scalar)


@pytest.mark.parametrize("case", LINEAR)
def test_autograd_is_the_adjoint(case: Case):
    checks.check_adjoint(case.make("double"))


@pytest.mark.parametrize("case", SMOOTH)
def test_gradcheck(case: Case):
    checks.check_gradient(case.make("double"))


@pytest.mark.parametrize("case", CASES)
def test_csi_is_the_gain_or_an_estimate_of_it(case: Case):
    checks.check_csi(case.make("double"), estimated=case.estimated, distorted=case.distorted)


@pytest.mark.parametrize("case", ESTIMATED)
def test_estimated_csi_never_peeks_at_the_true_gain(case: Case):
    checks.check_no_peeking(case.make("single"))


@pytest.mark.parametrize("case", CASES)
def test_receivers_count_the_noise_that_they_are_told(case: Case):
    checks.check_told_noise(case.make("single"))


@pytest.mark.parametrize("case", CASES)
def test_uses_add_up(case: Case):
    checks.check_uses(case.make("single"), case.symbols_per_use)


@pytest.mark.parametrize("case", CASES)
def test_wrong_power_is_refused_with_image_and_cure(case: Case):
    operator = case.make("single")
    x = checks.symbols(3, checks.N, torch.complex64)
    x[1] *= 1.2
    with pytest.raises(
        ValueError, match=r"mean power of x is 1\.44 \(image 2 of 3\), expected 1\.00 .*normalize"
    ):
        operator(x, torch.zeros(3), [1, 2, 3])


def test_wrong_arguments_are_refused():
    operator, x = AwgnChannel(), checks.symbols(2, 100, torch.complex64)
    with pytest.raises(TypeError, match="x: not complex"):
        operator(x.real, torch.zeros(2), [1, 2])
    with pytest.raises(ValueError, match="seeds: wrong length, got 1, expected 2"):
        operator(x, torch.zeros(2), [1])
    with pytest.raises(ValueError, match="snr_db: wrong shape"):
        operator(x, torch.zeros(3), [1, 2])
    with pytest.raises(ValueError, match="snr_db: not finite"):
        operator(x, torch.tensor([1.0, float("nan")]), [1, 2])


def test_call_cannot_be_overridden():
    with pytest.raises(TypeError, match="__call__ is final"):
        type("Bad", (AwgnChannel,), {"__call__": lambda self: None})

"""What every impairment promises: neutral settings, gradients, linearity, bits that no batch mate changes."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest
import torch

from channels.hardware.amplifier import Clipping, RappAmplifier
from channels.hardware.converter import IqImbalance, Quantization
from channels.hardware.impairment import FrontEnd, Impairment
from channels.hardware.interferer import NarrowbandInterferer
from channels.hardware.oscillator import CarrierFrequencyOffset, PhaseNoise, TimingOffset
from channels.hardware.signal_quality import evm, papr_db

RATE_HZ, POWER = 1e6, 0.7

NEUTRAL = {
    "clipping": Clipping(60.0),
    "rapp": RappAmplifier(60.0),
    "cfo": CarrierFrequencyOffset(0.0),
    "cfo-uniform": CarrierFrequencyOffset(0.0, uniform=True),
    "timing": TimingOffset(0.0),
    "phase-noise": PhaseNoise(0.0),
    "phase-noise-loop": PhaseNoise(0.0, loop_bandwidth_hz=1e4, side="transmitter"),
    "iq-transmitter": IqImbalance(0.0, 0.0, side="transmitter"),
    "iq-receiver": IqImbalance(0.0, 0.0),
    "quantization": Quantization(24, clip_db=15.0),
    "interferer": NarrowbandInterferer(300.0, 1e5),
}
FAULTY = {
    "clipping": Clipping(1.0),
    "rapp": RappAmplifier(2.0, smoothness=1.7),
    "cfo": CarrierFrequencyOffset(2.3e4),
    "cfo-uniform": CarrierFrequencyOffset(2.3e4, uniform=True),
    "timing-late": TimingOffset(3e-6),
    "timing-early": TimingOffset(-2e-6),
    "timing-fraction": TimingOffset(2.3e-6),
    "phase-noise": PhaseNoise(5e3),
    "phase-noise-loop": PhaseNoise(5e3, loop_bandwidth_hz=1e4, side="transmitter"),
    "iq-transmitter": IqImbalance(1.0, 5.0, side="transmitter"),
    "iq-receiver": IqImbalance(-1.0, 5.0),
    "quantization": Quantization(3, clip_db=6.0),
    "interferer": NarrowbandInterferer(10.0, 1.1e5),
}
NOT_SMOOTH = ("quantization",)


def signal(
    batch: int, antennas: int, length: int, seed: int = 0, dtype: torch.dtype = torch.complex128
) -> torch.Tensor:
    gen = torch.Generator().manual_seed(seed)
    return POWER**0.5 * torch.randn(batch, antennas, length, generator=gen, dtype=dtype)


def states(impairment: Impairment | FrontEnd, x: torch.Tensor, seed: int = 40) -> torch.Tensor:
    """One row per image, each from its own seed."""
    gens = [torch.Generator().manual_seed(seed + i) for i in range(len(x))]
    return torch.stack([impairment.draw(x.shape[1], x.shape[2], RATE_HZ, gen) for gen in gens])


def run(impairment: Impairment | FrontEnd, x: torch.Tensor, seed: int = 40) -> torch.Tensor:
    return impairment.apply(x, states(impairment, x, seed), RATE_HZ, POWER)


@pytest.mark.parametrize("name", NEUTRAL)
def test_neutral_setting_changes_nothing(name):
    """To 1e-13, but for 24 bits at 15 dB: half a step is 0.59·5.6/2^24 = 2e-7, √2 times that of a modulus; and
    for 60 dB of back-off: |s| loses the share (|s|²/P)²·1e-12/4, with peaks of 12 P 1e-10."""
    x = signal(2, 2, 500)
    atol = {"quantization": 3e-7, "rapp": 1e-10}.get(name, 1e-13)
    assert float((run(NEUTRAL[name], x) - x).abs().max()) < atol
    single = x.to(torch.complex64)
    assert float((run(NEUTRAL[name], single) - single).abs().max()) < 2e-6


@pytest.mark.parametrize("name", FAULTY)
def test_shape_and_type_stay_and_samples_change(name):
    for dtype in (torch.complex64, torch.complex128):
        x = signal(2, 3, 50, dtype=dtype)
        y = run(FAULTY[name], x)
        assert (y.shape, y.dtype) == (x.shape, x.dtype)
        assert float(evm(y, x).min()) > 0.01


@pytest.mark.parametrize("name", FAULTY)
def test_state_is_float64_of_the_stated_size(name):
    impairment, x = FAULTY[name], signal(2, 3, 50)
    state = states(impairment, x)
    assert state.shape == (2, impairment.state_size(3, 50))
    assert state.dtype == torch.float64


@pytest.mark.parametrize("name", [n for n in FAULTY if n not in NOT_SMOOTH])
def test_gradient_is_that_of_finite_differences(name):
    x = signal(2, 2, 7).requires_grad_()
    state = states(FAULTY[name], x)
    assert torch.autograd.gradcheck(lambda v: FAULTY[name].apply(v, state, RATE_HZ, POWER), (x,))


def test_gradient_at_silence_is_finite():
    for name, impairment in FAULTY.items():
        x = torch.zeros(1, 1, 6, dtype=torch.complex64, requires_grad=True)
        run(impairment, x).real.sum().backward()
        assert bool(torch.isfinite(torch.view_as_real(x.grad)).all()), name


def test_quantization_passes_the_gradient_within_full_scale_only():
    x = signal(2, 2, 400).requires_grad_()
    weight = signal(2, 2, 400, seed=9)
    (gradient,) = torch.autograd.grad(run(FAULTY["quantization"], x), x, grad_outputs=weight)
    rms = (x.detach().abs().square().mean(2) / 2).sqrt()
    parts = torch.view_as_real(x.detach())
    inside = parts.abs() <= rms[:, :, None, None] * 10 ** (6.0 / 20)
    assert 0.01 < float((~inside).double().mean()) < 0.2
    assert torch.equal(torch.view_as_real(gradient), torch.view_as_real(weight) * inside)


def is_linear(impairment: Impairment, a: complex, b: complex) -> bool:
    x, z = signal(2, 2, 60, seed=1), signal(2, 2, 60, seed=2)
    left, right = run(impairment, a * x + b * z), a * run(impairment, x) + b * run(impairment, z)
    return torch.allclose(left, right, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", FAULTY)
def test_linear_means_linear(name):
    assert is_linear(FAULTY[name], 2.0, -1j) == FAULTY[name].linear


@pytest.mark.parametrize("name", ["iq-transmitter", "iq-receiver"])
def test_iq_imbalance_is_linear_over_the_reals(name):
    assert is_linear(FAULTY[name], 2.0, -0.7)


@pytest.mark.parametrize("name", [n for n in FAULTY if FAULTY[n].linear])
def test_gradient_of_a_linear_impairment_is_its_adjoint(name):
    x, v = signal(2, 2, 60, seed=1).requires_grad_(), signal(2, 2, 60, seed=2)
    y = run(FAULTY[name], x)
    (adjoint,) = torch.autograd.grad(y, x, grad_outputs=v)
    left = torch.vdot(v.flatten(), y.detach().flatten())
    right = torch.vdot(adjoint.flatten(), x.detach().flatten())
    assert abs(left - right) < 1e-10 * abs(left)


@pytest.mark.parametrize("name", FAULTY)
def test_no_bit_depends_on_batch_mates(name):
    """Some functions of PyTorch differ between their vector body and their tail for few arguments only, so many
    lengths and values are tried."""
    for seed, length in enumerate((15, 29, 37, 74, 1009) * 6):
        check_batch_split(name, signal(8, 1 + seed % 2, length, seed=seed, dtype=torch.complex64))


def check_batch_split(name: str, x: torch.Tensor) -> None:
    state = states(FAULTY[name], x)

    def part(rows: slice) -> torch.Tensor:
        return FAULTY[name].apply(x[rows].clone(), state[rows].clone(), RATE_HZ, POWER)

    whole = part(slice(0, 8))
    for cuts in ((0, 3, 8), (0, 1, 8), (0, 4, 7, 8)):
        pieces = torch.cat([part(slice(a, b)) for a, b in pairwise(cuts)])
        assert torch.equal(whole, pieces)


@pytest.mark.parametrize("name", FAULTY)
def test_draws_depend_on_the_seed_alone(name):
    x = signal(1, 2, 30)
    before = (torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate())
    first, second = run(FAULTY[name], x, seed=1), run(FAULTY[name], x, seed=1)
    assert torch.equal(first, second)
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])
    assert before[2] == random.getstate()
    if FAULTY[name].state_size(2, 30):
        assert not torch.equal(first, run(FAULTY[name], x, seed=2))


@pytest.mark.parametrize("name", ["phase-noise", "phase-noise-loop", "cfo-uniform"])
def test_one_oscillator_serves_all_antennas(name):
    x = signal(2, 3, 40)
    turn = run(FAULTY[name], x) / x
    assert torch.allclose(turn[:, :1].expand_as(turn), turn, rtol=1e-12)
    assert float((turn[0] - turn[1]).abs().max()) > 1e-3, "two images share one draw"


def test_random_offset_stays_in_its_range_and_fills_it():
    """Mean of |u| over 4000 draws of a uniform u: 1/2 within 5/sqrt(12·4000)."""
    impairment = FAULTY["cfo-uniform"]
    drawn = states(impairment, torch.zeros(4000, 1, 1)).flatten()
    assert float(drawn.abs().max()) <= 1
    assert abs(float(drawn.abs().mean()) - 0.5) < 5 / (12 * 4000) ** 0.5
    assert abs(float(drawn.mean())) < 5 / (3 * 4000) ** 0.5
    x = torch.ones(1, 1, 2, dtype=torch.complex128)
    y = impairment.apply(x, torch.tensor([[-0.5]], dtype=torch.float64), RATE_HZ, POWER)
    assert float(y[0, 0, 1].angle()) == pytest.approx(-2 * np.pi * 0.5 * 2.3e4 / RATE_HZ)


@pytest.mark.parametrize("shift", [2.3, -1.75, 0.5, 12.01])
def test_timing_offset_equals_the_sum_over_sincs(shift):
    x = signal(2, 2, 21)
    lag = np.arange(21)[:, None] - np.arange(21)[None, :]
    expected = np.einsum("nm,bam->ban", np.sinc(lag + shift), x.numpy())
    np.testing.assert_allclose(run(TimingOffset(shift / RATE_HZ), x).numpy(), expected, rtol=0, atol=1e-13)


def test_whole_samples_shift_exactly():
    x = signal(1, 2, 9)
    late, early = run(TimingOffset(2 / RATE_HZ), x), run(TimingOffset(-2 / RATE_HZ), x)
    assert torch.equal(late[..., :-2], x[..., 2:])
    assert bool((late[..., -2:] == 0).all())
    assert torch.equal(early[..., 2:], x[..., :-2])
    assert bool((early[..., :2] == 0).all())


def test_quantization_has_two_to_the_bits_levels():
    x = signal(1, 1, 20000)
    for bits in (1, 3):
        y = run(Quantization(bits, clip_db=9.0), x)
        full = float((x.abs().square().mean() / 2).sqrt()) * 10 ** (9.0 / 20)
        levels = y.real.unique()
        assert len(levels) == 2**bits
        step = 2 * full / 2**bits
        np.testing.assert_allclose(levels.numpy(), step * (np.arange(2**bits) - 2 ** (bits - 1) + 0.5))


def test_gain_control_is_of_an_antenna():
    """The same decisions at any level, and whatever the level of the other antenna."""
    x = signal(2, 2, 300)
    quantization = FAULTY["quantization"]
    assert torch.allclose(run(quantization, 32 * x), 32 * run(quantization, x), rtol=1e-14)
    uneven = torch.tensor([1.0, 100.0], dtype=x.real.dtype)[None, :, None]
    assert torch.allclose(run(quantization, x * uneven), run(quantization, x) * uneven, rtol=1e-14)


def chain() -> FrontEnd:
    kinds = ["cfo-uniform", "phase-noise", "timing-fraction", "iq-receiver", "interferer", "quantization"]
    return FrontEnd([FAULTY[k] for k in kinds])


def test_front_end_is_its_impairments_in_order():
    front_end, x = chain(), signal(3, 2, 40)
    state = states(front_end, x)
    assert state.shape == (3, front_end.state_size(2, 40)) == (3, 1 + 40 + 2)
    y, begin = x, 0
    for impairment in front_end.impairments:
        size = impairment.state_size(2, 40)
        y = impairment.apply(y, state[:, begin : begin + size], RATE_HZ, POWER)
        begin += size
    assert torch.equal(front_end.apply(x, state, RATE_HZ, POWER), y)
    gen = torch.Generator().manual_seed(40)
    one_by_one = torch.cat([i.draw(2, 40, RATE_HZ, gen) for i in front_end.impairments])
    assert torch.equal(state[0], one_by_one)


def test_front_end_of_nothing_is_perfect():
    x = signal(2, 2, 10)
    assert run(FrontEnd([]), x) is x
    assert states(FrontEnd([]), x).shape == (2, 0)
    assert FrontEnd([]).linear


def test_front_end_keeps_bits_of_an_image_in_any_batch():
    x = signal(8, 2, 301, dtype=torch.complex64)
    state = states(chain(), x)
    whole = chain().apply(x, state, RATE_HZ, POWER)
    pieces = [chain().apply(x[r], state[r], RATE_HZ, POWER) for r in (slice(0, 3), slice(3, 8))]
    assert torch.equal(whole, torch.cat(pieces))


def test_front_end_is_linear_when_all_its_parts_are():
    assert FrontEnd([FAULTY["cfo"], FAULTY["phase-noise"]]).linear
    assert not chain().linear


def test_front_end_refuses_two_sides_and_a_state_of_another_signal():
    with pytest.raises(ValueError, match="both sides"):
        FrontEnd([Clipping(5.0), CarrierFrequencyOffset(1.0)])
    x = signal(2, 2, 10)
    with pytest.raises(ValueError, match=r"FrontEnd: state: wrong shape, got \[2, 53\], expected \[2, 13\]"):
        chain().apply(x, states(chain(), signal(2, 2, 50)), RATE_HZ, POWER)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Clipping(float("nan")), "Clipping: papr_db"),
        (lambda: RappAmplifier(-70.0), "RappAmplifier: backoff_db"),
        (lambda: RappAmplifier(3.0, smoothness=0.0), "RappAmplifier: smoothness"),
        (lambda: CarrierFrequencyOffset(float("inf")), "CarrierFrequencyOffset: offset_hz"),
        (lambda: TimingOffset(2.0), "TimingOffset: offset_s"),
        (lambda: PhaseNoise(-1.0), "PhaseNoise: linewidth_hz"),
        (lambda: PhaseNoise(1.0, loop_bandwidth_hz=0.0), "PhaseNoise: loop_bandwidth_hz"),
        (lambda: PhaseNoise(1.0, side="both"), "PhaseNoise: side"),
        (lambda: IqImbalance(30.0, 0.0), "IqImbalance: gain_db"),
        (lambda: IqImbalance(0.0, 100.0), "IqImbalance: phase_deg"),
        (lambda: IqImbalance(0.0, 0.0, side="air"), "IqImbalance: side"),
        (lambda: Quantization(0), "Quantization: bits"),
        (lambda: Quantization(25), "Quantization: bits"),
        (lambda: Quantization(4, clip_db=99.0), "Quantization: clip_db"),
        (lambda: NarrowbandInterferer(float("nan"), 0.0), "NarrowbandInterferer: sir_db"),
        (lambda: run(NarrowbandInterferer(0.0, 6e5), signal(1, 1, 4)), "frequency_hz: out of range"),
        (lambda: run(TimingOffset(1e-5), signal(1, 1, 10)), "TimingOffset: offset_s: too long, got 10 samp"),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_papr_is_per_antenna_and_evm_per_image():
    x = torch.tensor([[[1, 1, 1, 1], [10, 10, 10, 30j]], [[1, 1, 1, -1], [0.1, 0.1, -0.1, 0.1]]]) + 0j
    assert papr_db(x).tolist() == pytest.approx([10 * np.log10(900 / 300), 0.0], abs=1e-5)
    x_hat = x.clone()
    x_hat[1] *= 1.1
    assert evm(x_hat, x).tolist() == pytest.approx([0.0, 0.1], abs=1e-6)

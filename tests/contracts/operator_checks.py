"""The contract of a channel operator, one assertion function per clause, so that broken operators can be
tried too."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import torch

from channels.base import ChannelOperator
from channels.equalization import equalize
from channels.runtime.sionna_seeding import sionna_rng
from linksim.jscc.layout import SymbolLayout

SEEDS = [11, 2**62 - 5, 17, 3, 99, 1234567, 8, 42]
N = 300


def symbols(batch: int, n: int, dtype: torch.dtype, seed: int = 0) -> torch.Tensor:
    gen = torch.Generator().manual_seed(seed)
    return SymbolLayout.normalize(torch.randn(batch, n, generator=gen, dtype=dtype))


def snrs(batch: int, operator: ChannelOperator) -> torch.Tensor:
    return torch.linspace(0.0, 20.0, batch, dtype=operator.dtype)


def tensors(received) -> list[torch.Tensor]:
    return [received.y, received.csi.h, received.csi.no, received.csi.err_var]


def true_gain(operator: ChannelOperator, draw, snr_db: torch.Tensor) -> torch.Tensor:
    return operator.gain(draw, 10 ** (-snr_db / 10)[:, None])


def fades_of(draw) -> torch.Tensor:
    """Gains before combining: [B, ...] of every pair of antennas."""
    draw = getattr(draw, "inner", draw)
    return draw.h


def check_shapes(operator: ChannelOperator) -> None:
    received = operator(symbols(3, N, operator.cdtype), snrs(3, operator), SEEDS[:3])
    assert received.y.shape == received.csi.h.shape == (3, N)
    assert received.y.dtype == received.csi.h.dtype == operator.cdtype
    for value in (received.csi.no, received.csi.err_var):
        assert value.dtype == operator.dtype
        assert tuple(value.shape) in ((3, 1), (3, N))
    assert received.csi.gamma.shape == (3, N)


def check_same_seed_same_bits(operator: ChannelOperator) -> None:
    x, snr_db = symbols(2, N, operator.cdtype), snrs(2, operator)
    first, second = operator(x, snr_db, [5, 6]), operator(x, snr_db, [5, 6])
    other = operator(x, snr_db, [5, 7])
    assert all(torch.equal(a, b) for a, b in zip(tensors(first), tensors(second), strict=True))
    assert torch.equal(first.y[0], other.y[0])
    assert not torch.equal(first.y[1], other.y[1])


def check_instances_agree(make) -> None:
    """Two operators of the same arguments are the same channel, whatever ran between their constructions."""
    first = make("single")
    torch.rand(7)
    with torch.random.fork_rng(), sionna_rng(987, torch.device("cpu")):
        torch.manual_seed(654)
        second = make("single")
    x, snr_db = symbols(2, N, first.cdtype), snrs(2, first)
    pairs = zip(tensors(first(x, snr_db, [5, 6])), tensors(second(x, snr_db, [5, 6])), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs), "depends on more than its arguments and the seeds"


def check_batch_split(operator: ChannelOperator, parts: tuple[int, ...]) -> None:
    x, snr_db = symbols(8, N, operator.cdtype), snrs(8, operator)
    whole = tensors(operator(x, snr_db, SEEDS))
    begin = 0
    for size in parts:
        part = slice(begin, begin + size)
        piece = tensors(operator(x[part], snr_db[part], SEEDS[part]))
        for a, b in zip(whole, piece, strict=True):
            assert torch.equal(a[part], b), "an image depends on its batch mates"
        begin += size


def check_global_rng_untouched(make) -> None:
    before = (torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate())
    operator = make("single")
    x = symbols(2, N, operator.cdtype)
    operator(x, snrs(2, operator), SEEDS[:2])
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])
    assert before[2] == random.getstate()
    state = torch.get_rng_state()
    operator(x, snrs(2, operator), SEEDS[:2])
    assert torch.equal(state, torch.get_rng_state())


def check_unit_mean_gain(operator: ChannelOperator, num_draws: int, tolerance: float = 0.0) -> None:
    """Mean over the antenna pairs and the first elements of each draw: independent from draw to draw. With one
    antenna Var |h|² <= 1 (Rayleigh); in general 4 sigma of the N sampled powers, and ``tolerance`` for models
    that are normalised by a sample of their own.
    """
    power = []
    for begin in range(0, num_draws, 50):
        seeds = [1000 + i for i in range(begin, begin + 50)]
        h = fades_of(operator.draw(8, seeds))
        h = h[:, 0, :, :, 0, :1] if h.dim() == 6 else h[:, :1]
        power.append(h.abs().square().flatten(1).mean(1))
    all_power = torch.cat(power)
    mean = float(all_power.mean())
    assert abs(mean - 1) < 4 * max(float(all_power.std()), 1e-6) / num_draws**0.5 + tolerance, mean


def check_noise_variance(operator: ChannelOperator, *, told: bool = True) -> None:
    """|y - h x|² / no over N = 8 x 300 independent samples; |w|² has standard deviation no, so 5 /
    sqrt(N)."""
    x, snr_db = symbols(8, N, operator.cdtype), snrs(8, operator)
    draw = operator.draw(N, SEEDS)
    h = true_gain(operator, draw, snr_db)
    received = operator(x, snr_db, SEEDS)
    no = operator.noise_variance(10 ** (-snr_db / 10)[:, None], draw)
    if told:
        assert torch.allclose(received.csi.no, no)
    ratio = float(((received.y - h * x).abs().square() / no).mean())
    assert abs(ratio - 1) < 5 / (8 * N) ** 0.5, ratio


def check_noise_is_circular(operator: ChannelOperator) -> None:
    """E[w²] = 0: |mean w²/no| < 4 sigma with sigma = sqrt(2/N), N = 8 x 300."""
    x, snr_db = symbols(8, N, operator.cdtype), snrs(8, operator)
    draw = operator.draw(N, SEEDS)
    h = true_gain(operator, draw, snr_db)
    no = operator.noise_variance(10 ** (-snr_db / 10)[:, None], draw)
    w = (operator(x, snr_db, SEEDS).y - h * x) / no.sqrt()
    assert float(w.square().mean().abs()) < 4 * (2 / (8 * N)) ** 0.5


def _difference(operator: ChannelOperator, x: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
    """Linear part of x -> y: the noise and pilots of two inputs cancel."""
    draw = operator.draw(x.shape[1], SEEDS[: len(x)])
    no = torch.full((len(x), 1), 0.1, dtype=operator.dtype)

    def y(value: torch.Tensor) -> torch.Tensor:
        return operator.observe(operator.propagate(value, draw, no), draw, no).y

    return y(x) - y(base)


def check_receiver_knows_its_error(operator: ChannelOperator, factor: float = 1.25) -> None:
    """Combined or detected with estimated gains: E|y - h_hat x|² is what the receiver counts as noise, within
    a factor (estimates of the same pilots have a common error: N is the number of slots, not of symbols).
    """
    x, snr_db = symbols(8, N, operator.cdtype), snrs(8, operator)
    received = operator(x, snr_db, SEEDS)
    error = (received.y - received.csi.h * x).abs().square()
    counted = (received.csi.no + received.csi.err_var).expand(error.shape)
    ratio = float((error / counted).mean())
    assert 1 / factor < ratio < factor, ratio


def check_linear(operator: ChannelOperator, *, gain: bool = True) -> None:
    a, b, base = (symbols(2, 60, operator.cdtype, seed) for seed in (1, 2, 3))
    left = _difference(operator, 2 * a - 1j * b + base, base)
    right = 2 * _difference(operator, a + base, base) - 1j * _difference(operator, b + base, base)
    assert torch.allclose(left, right, rtol=1e-10, atol=1e-12)
    if not gain:
        return
    h = operator.gain(operator.draw(60, SEEDS[:2]), torch.full((2, 1), 0.1, dtype=operator.dtype))
    assert torch.allclose(_difference(operator, a + base, base), h * a, rtol=1e-10, atol=1e-12)


def check_adjoint(operator: ChannelOperator) -> None:
    base, v = symbols(2, 60, operator.cdtype, 3), symbols(2, 60, operator.cdtype, 4)
    x = symbols(2, 60, operator.cdtype, 5).requires_grad_()
    ax = _difference(operator, x + base, base)
    (adjoint,) = torch.autograd.grad(ax, x, grad_outputs=v)
    left, right = (
        torch.vdot(v.flatten(), ax.detach().flatten()),
        torch.vdot(adjoint.flatten(), x.detach().flatten()),
    )
    assert abs(left - right) < 1e-10 * abs(left)
    assert adjoint.abs().max() > 1e-3


def check_gradient(operator: ChannelOperator) -> None:
    x = symbols(1, 6, operator.cdtype, 6).requires_grad_()
    snr_db = torch.tensor([6.0], dtype=operator.dtype)
    draw = operator.draw(6, SEEDS[:1])

    def received(value: torch.Tensor) -> tuple[torch.Tensor, ...]:
        out = operator(value, snr_db, SEEDS[:1], draw)
        return out.y, equalize(out, "lmmse")[0]

    assert torch.autograd.gradcheck(received, (x,))


def check_csi(operator: ChannelOperator, *, estimated: bool, distorted: bool = False) -> None:
    x, snr_db = symbols(4, N, operator.cdtype), snrs(4, operator)
    draw = operator.draw(N, SEEDS[:4])
    csi = operator(x, snr_db, SEEDS[:4]).csi
    h = true_gain(operator, draw, snr_db)
    if estimated:
        assert bool((csi.err_var > 0).all())
        assert float((csi.h - h).abs().square().mean()) > 1e-6
    else:
        assert torch.equal(csi.h, h)
        assert bool((csi.err_var > 0).all() if distorted else (csi.err_var == 0).all())


def _blinded(draw):
    """The draw with NaN in place of everything that tells of the channel."""
    if hasattr(draw, "inner"):
        return dataclasses.replace(draw, inner=_blinded(draw.inner))
    secret = {
        f.name: getattr(draw, f.name) for f in dataclasses.fields(draw) if f.name in ("h", "air", "precoder")
    }
    return dataclasses.replace(
        draw, **{k: torch.full_like(v, float("nan")) for k, v in secret.items() if v is not None}
    )


def check_no_peeking(operator: ChannelOperator) -> None:
    """With estimated CSI the front end must not read the true gain: NaN in its place changes nothing."""
    x = symbols(2, N, operator.cdtype)
    no = torch.full((2, 1), 0.1, dtype=operator.dtype)
    draw = operator.draw(N, SEEDS[:2])
    y_raw = operator.propagate(x, draw, no)
    blind = _blinded(draw)
    for a, b in zip(
        tensors(operator.observe(y_raw, draw, no)), tensors(operator.observe(y_raw, blind, no)), strict=True
    ):
        assert torch.equal(a, b)


def check_uses(operator: ChannelOperator, symbols_per_use: int = 1) -> None:
    for n in (1, 60, N, 1000):
        uses = operator.uses(n)
        assert uses.data == -(-n // symbols_per_use)
        assert min(uses.pilot, uses.guard) >= 0
        assert uses.total == uses.data + uses.pilot + uses.guard
    x = symbols(1, N, operator.cdtype)
    assert operator(x, snrs(1, operator), SEEDS[:1]).uses == operator.uses(N)


def check_told_noise(operator: ChannelOperator) -> None:
    """A receiver that is told a SNR 6 dB too high takes its symbols for better than they are; what arrives is the
    same: by up to 18 dB in gamma, where the fade is below the noise and the 6 dB count in the noise and, squared, in
    what an estimate says of the gain. One that measures its noise is not told."""
    x, snr_db = symbols(2, N, operator.cdtype), torch.full((2,), 5.0, dtype=operator.dtype)
    draw = operator.draw(N, SEEDS[:2])
    right, wrong = (operator(x, snr_db, SEEDS[:2], draw, told) for told in (None, snr_db + 6.0))
    moved = 10 * torch.log10(wrong.csi.gamma.mean(1) / right.csi.gamma.mean(1))
    if getattr(getattr(operator, "inner", operator), "noise", "known") == "estimated":
        assert torch.equal(wrong.csi.gamma, right.csi.gamma)
    else:
        assert bool(((moved > 0.2) & (moved < 18.0)).all()), moved

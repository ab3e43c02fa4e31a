"""Links that are wrong in one place: the checks of the network with dials fail for each of them.

Every case patches one function and runs a test of test_dial.py or test_bundled_dial.py, which has to fail.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import linksim.jscc.dial.codec as dial
from channels.arithmetic import abs_squared
from channels.flat.awgn import AwgnChannel
from channels.flat.fading import FlatFadingChannel
from linksim.jscc.dial import DialCodec
from linksim.jscc.layout import SymbolLayout
from linksim.link import run_link
from linksim.scenario.schema import RayleighSpec
from linksim.schemes.jscc import JsccScheme
from tests.linksim import test_bundled_dial as bundled
from tests.linksim import test_dial as checks
from tests.linksim.test_bundled_dial import pictures  # noqa: F401 (a fixture)
from tests.linksim.test_dial import codec, photographs  # noqa: F401 (fixtures)

LATENT, PICTURE, RECEIVED = DialCodec.latent, DialCodec.picture, DialCodec.received_map


def encoder_that_knows_the_rate(self, image, csit, rate):
    return LATENT(self, image, csit, rate).roll(rate, dims=1)


def power_over_the_batch(x: Tensor) -> Tensor:
    return x / abs_squared(x).mean().sqrt()


def power_over_all_channels(self, image, layout, csit):
    """Normalised over the whole latent, of which a part is sent."""
    z = self.latent(image, csit, self.rate_of(layout))
    z = z / (2 * z.square().mean((1, 2, 3), keepdim=True)).sqrt()
    real, imag = z[:, : layout.channels].chunk(2, dim=1)
    return torch.complex(real.flatten(1), imag.flatten(1))


def one_generator_for_all(self, frame, realism, seeds, *, shared_noise=False):
    return PICTURE(self, frame, realism, seeds, shared_noise=True)


def deaf_to_realism(self, frame, realism, seeds, *, shared_noise=False):
    return PICTURE(self, frame, torch.zeros_like(realism), seeds, shared_noise=shared_noise)


def realism_turned_round(self, frame, realism, seeds, *, shared_noise=False):
    return PICTURE(self, frame, 1 - realism, seeds, shared_noise=shared_noise)


def all_is_reliable(self, received, layout):
    frame = RECEIVED(self, received, layout)
    sure = frame.reliability.new_full(frame.reliability.shape, 10 / 11)
    return replace(frame, reliability=sure)


def without_the_gain(received, mode):
    """Symbols as they came, their gain left in."""
    return received.y * 10 / 11, received.csi.no


CASES: list[tuple[Callable[..., Any], tuple[str, ...], object, str, object]] = [
    (checks.test_rates_are_nested, (), DialCodec, "latent", encoder_that_knows_the_rate),
    (
        checks.test_power_is_one_at_every_rate,
        (),
        SymbolLayout,
        "normalize",
        staticmethod(power_over_the_batch),
    ),
    (checks.test_power_is_one_at_every_rate, (), DialCodec, "encode", power_over_all_channels),
    (checks.test_pictures_do_not_depend_on_their_batch, (1.0,), DialCodec, "picture", one_generator_for_all),
    (
        checks.test_pictures_do_not_depend_on_their_batch,
        (0.0,),
        SymbolLayout,
        "normalize",
        staticmethod(power_over_the_batch),
    ),
    (checks.test_realism_is_a_dial_of_every_picture, (), DialCodec, "picture", deaf_to_realism),
    (
        checks.test_reliability_of_a_fade_reaches_the_decoder,
        (FlatFadingChannel(coherence_symbols=1),),
        DialCodec,
        "received_map",
        all_is_reliable,
    ),
]


@pytest.mark.parametrize(
    ("check", "more", "owner", "name", "wrong"), CASES, ids=[c[4].__name__ for c in CASES]
)
def test_a_wrong_link_is_caught(codec, photographs, monkeypatch, check, more, owner, name, wrong):  # noqa: F811
    check(codec, photographs, *more)
    monkeypatch.setattr(owner, name, wrong)
    with pytest.raises((AssertionError, ValueError)):  # the channel refuses another power than 1 by itself
        check(codec, photographs, *more)


BUNDLED: list[tuple[Callable[..., Any], tuple[Any, ...], object, str, object]] = [
    (bundled.test_realism_is_a_dial, ("1/96", 10.0), DialCodec, "picture", deaf_to_realism),
    (bundled.test_realism_is_a_dial, ("1/96", 10.0), DialCodec, "picture", realism_turned_round),
    (bundled.test_one_file_serves_five_rates_each_better_than_the_last, (), DialCodec, "latent", encoder_that_knows_the_rate),
    (
        bundled.test_fading_costs_little_without_retraining,
        (RayleighSpec(kind="rayleigh", coherence_symbols=1, csi={"kind": "perfect"}), 2.0),
        dial,
        "equalize",
        without_the_gain,
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("check", "more", "owner", "name", "wrong"), BUNDLED, ids=[c[4].__name__ for c in BUNDLED]
)
def test_a_wrong_link_of_the_bundled_network_is_caught(
    pictures,  # noqa: F811
    monkeypatch,
    check,
    more,
    owner,
    name,
    wrong,
):
    """The checks themselves pass in test_bundled_dial.py."""
    monkeypatch.setattr(owner, name, wrong)
    with pytest.raises(AssertionError):
        check(pictures[:2], *more)


@pytest.mark.skipif(
    "LINKSIM_REAL_WEIGHTS" not in os.environ, reason="set LINKSIM_REAL_WEIGHTS to a weights folder"
)
@pytest.mark.parametrize("wrong", [deaf_to_realism, realism_turned_round])
def test_lpips_that_does_not_fall_with_realism_is_caught(pictures, monkeypatch, wrong):  # noqa: F811
    """The check itself passes in test_bundled_dial.py."""
    monkeypatch.setattr(DialCodec, "picture", wrong)
    with pytest.raises(AssertionError):
        bundled.test_lpips_falls_with_realism(pictures, monkeypatch)


# -------------------------------------------------------------------------------------------- told CSI


def sent_at(network: DialCodec, image: Tensor, csit: str, snr_db: float) -> Tensor:
    """Symbols of an image, by the link."""
    budget = network.num_symbols_at(1, *image.shape[2:])
    snr = torch.full((len(image),), snr_db)
    out = run_link(
        JsccScheme("dial", network, csit), AwgnChannel(), image, snr, list(range(len(image))), budget
    )  # type: ignore[arg-type]
    assert out.transmitted is not None
    return out.transmitted.symbols


def test_the_encoder_is_told_the_snr_only_where_the_scenario_says_so(codec, photographs):  # noqa: F811
    """Without transmitter CSI the symbols are the same at every SNR; with the average SNR they are not."""
    unknown, known = (
        [sent_at(codec, photographs, csit, snr) for snr in (0.0, 15.0)] for csit in ("none", "average_snr")
    )
    assert torch.equal(*unknown)
    assert not torch.allclose(*known, atol=1e-5)
    assert not torch.allclose(unknown[0], known[0], atol=1e-5)


def test_rates_with_a_pilot_are_nested_but_for_the_channel_of_the_pilot(photographs):  # noqa: F811
    network = DialCodec(replace(checks.TINY, pilot_share=0.01)).eval().requires_grad_(False)
    network.start_from_klt(checks.klt())
    low, high = (network.latent(photographs, None, rate) for rate in (0, 2))
    last = network.config.rates[0] - 1
    torch.testing.assert_close(low[:, :last], high[:, :last])
    assert not torch.allclose(low[:, last], high[:, last], rtol=1e-2)

"""What kinds of other people say of themselves is what receivers, closed forms and statistics count by: half said
or wrong, it is refused; right, receivers know their errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import pytest
import torch
from annotated_types import Ge, Interval
from pydantic import Field

from channels.flat.awgn import AwgnChannel
from channels.flat.fading import FlatFadingChannel
from channels.flat.hardware import SingleCarrierChannel
from channels.hardware.converter import Quantization
from channels.hardware.impairment import FrontEnd, Impairment
from channels.kinds import KindError, register, unregister
from channels.models.tdl import TdlModel
from channels.ofdm.link import OfdmChannel
from linksim.kinds import DelayModelBase
from linksim.kinds.channels.flat import RayleighSpec
from linksim.kinds.prepare import of_dataclass
from tests.contracts.operator_checks import check_receiver_knows_its_error


@dataclass(frozen=True)
class Scaled(Impairment):
    """Linear, and not neutral: the transmitter sends half of the amplitude."""

    side: str = "transmitter"
    linear: ClassVar[bool] = True
    effect: ClassVar[str] = "distorts"

    def apply(self, samples, state, sample_rate_hz, power):
        return 0.5 * samples


@dataclass(frozen=True)
class Sender(Quantization):
    """A digital-to-analog converter."""

    side: str = "transmitter"


@dataclass(frozen=True)
class Turning(Impairment):
    """A random phase, half said."""

    side: str = "receiver"
    linear: ClassVar[bool] = True
    effect: ClassVar[str] = "turns"

    def state_size(self, num_antennas, num_samples):
        return num_antennas

    def draw(self, num_antennas, num_samples, sample_rate_hz, gen):
        return torch.rand(num_antennas, generator=gen, dtype=torch.float64)

    def apply(self, samples, state, sample_rate_hz, power):
        return samples * torch.polar(torch.ones_like(state), state)[:, :, None]


@dataclass(frozen=True)
class PerAntenna(Turning):
    """Fully said, but another phase at every antenna."""

    def phase_correlation(self, lag_s):
        return torch.ones_like(lag_s, dtype=torch.complex128)


def test_a_linear_gain_of_the_transmitter_is_known_to_receivers():
    model = TdlModel("C", delay_spread_s=100e-9, carrier_hz=3.5e9, precision="double")
    check_receiver_knows_its_error(
        OfdmChannel(model, csi="perfect", impairments=[Scaled()], precision="double")
    )


def test_a_converter_of_the_transmitter_goes_the_way_of_the_symbol():
    inner = FlatFadingChannel(coherence_symbols=20, precision="double")
    channel = SingleCarrierChannel(inner, [Sender(4)], symbol_rate_hz=1e6)
    assert channel.hardware.with_symbol > 1e-3
    assert channel.hardware.at_antenna == 0
    check_receiver_knows_its_error(channel)


def test_an_impairment_that_is_half_said_is_refused():
    with pytest.raises(KindError, match=r"half written, got Turning without phase_correlation\(\)"):
        register("impairment", "turning", Turning)
    with pytest.raises(ValueError, match="effect turns: not so, got another phase at every antenna"):
        FrontEnd([PerAntenna()])
    for effect, wrong in (("shifts", "delay_s, by which"), ("turns", "linear = True")):
        facts = {"effect": effect, "linear": effect == "shifts", "__annotations__": {}}
        if effect == "turns":
            facts["phase_correlation"] = PerAntenna.phase_correlation
        made = dataclass(frozen=True)(type("Made", (Scaled,), facts))
        with pytest.raises(KindError, match=wrong):
            register("impairment", "made", made)
        if effect == "shifts":
            with pytest.raises(ValueError, match="an impairment that shifts is one of the receiver"):
                made()


def test_bounds_of_dataclasses_are_checked_alike():
    """Whatever annotated_types has, in Python; other metadata, which only scenarios would check, are refused."""

    @dataclass(frozen=True)
    class Bounded(Scaled):
        level: Annotated[float, Ge(0)] = 1.0
        most: Annotated[float, Interval(gt=0, lt=2)] = 1.0

    for arguments, expected in (({"level": -1.0}, r">= 0"), ({"most": 2.0}, r"< 2"), ({"most": 0.0}, r"> 0")):
        with pytest.raises(ValueError, match=f"out of range, got .* expected a value {expected}"):
            Bounded(**arguments)

    @dataclass(frozen=True)
    class Elsewhere(Scaled):
        level: Annotated[float, Field(ge=0)] = 1.0

    with pytest.raises(KindError, match="bounds that only scenarios check"):
        of_dataclass(Elsewhere, "linksim.kinds.impairments:ImpairmentBase", "kind", "elsewhere")


def test_what_is_made_of_a_memoryless_channel_need_not_be_it():
    assert AwgnChannel.memoryless
    assert not type("Fading", (AwgnChannel,), {}).memoryless


def test_facts_of_a_built_in_kind_are_not_those_of_what_derives_from_it():
    """Another law of the gains has no closed form, whatever that of its base is."""
    own = register(
        "channel", "other_law", type("OtherLaw", (RayleighSpec,), {"__annotations__": {"kind": str}})
    )
    try:
        assert RayleighSpec(kind="rayleigh").closed_form() is not None
        made = own(kind="other_law")
        assert made.closed_form() is None
        assert not made.one_gain
        assert not made.fares_alike
    finally:
        unregister("channel", "other_law")


def test_a_delay_model_says_whether_it_moves():
    text = {"build": lambda self, context: None, "__annotations__": {"doppler_hz": float}, "doppler_hz": 1.0}
    with pytest.raises(KindError, match="without moves"):
        register("delay_model", "unsaid", type("Unsaid", (DelayModelBase,), text))

"""What a scenario may say of imperfect radios. Imports only pydantic and linksim.specs.fields."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from linksim.specs.fields import Bool, Int, Positive, Real, Spec

__all__ = [
    "IMPAIRMENT_KINDS",
    "CfoSpec",
    "ClippingSpec",
    "ImpairmentSpec",
    "InterfererSpec",
    "IqImbalanceSpec",
    "PhaseNoiseSpec",
    "QuantizationSpec",
    "RappSpec",
    "TimingSpec",
]

Side = Literal["transmitter", "receiver"]
Hertz = Annotated[Real, Field(ge=-1e9, le=1e9)]
Level = Annotated[Real, Field(ge=-60, le=60)]


class ClippingSpec(Spec):
    """Soft limiter of the transmitter: the modulus stops at papr_db over the mean power."""

    kind: Literal["clipping"]
    papr_db: Annotated[Real, Field(ge=0, le=60)]


class RappSpec(Spec):
    """Power amplifier with the AM/AM curve of Rapp: backoff_db of mean input power below saturation."""

    kind: Literal["rapp"]
    backoff_db: Level
    smoothness: Annotated[Real, Field(ge=0.1, le=1000)] = 2.0


class CfoSpec(Spec):
    """Carrier-frequency offset that the receiver has not removed."""

    kind: Literal["cfo"]
    offset_hz: Hertz
    uniform: Bool = Field(False, description="drawn for every image between -offset_hz and offset_hz")


class TimingSpec(Spec):
    """The receiver's window is late by offset_s (early: negative)."""

    kind: Literal["timing"]
    offset_s: Annotated[Real, Field(ge=-1e-3, le=1e-3)]


class PhaseNoiseSpec(Spec):
    """Oscillator phase as a Wiener process of a 3 dB linewidth, within a loop bandwidth if one is given."""

    kind: Literal["phase_noise"]
    linewidth_hz: Annotated[Real, Field(ge=0, le=1e7)]
    loop_bandwidth_hz: Positive | None = None
    at: Side = "receiver"


class IqImbalanceSpec(Spec):
    """Gain and phase of the Q branch differ from those of the I branch: an image of the signal appears."""

    kind: Literal["iq_imbalance"]
    gain_db: Annotated[Real, Field(ge=-20, le=20)] = 0.0
    phase_deg: Annotated[Real, Field(ge=-80, le=80)] = 0.0
    at: Side = "receiver"


class QuantizationSpec(Spec):
    """Analog-to-digital converter behind an ideal gain control, clip_db of head room over the RMS."""

    kind: Literal["quantization"]
    bits: Annotated[Int, Field(ge=1, le=24)]
    clip_db: Annotated[Real, Field(ge=0, le=40)] = 12.0


class InterfererSpec(Spec):
    """A tone at the receiver's antennas, sir_db below the signal; the receiver knows nothing of it."""

    kind: Literal["interferer"]
    sir_db: Level
    frequency_hz: Hertz = 0.0


ImpairmentSpec = Annotated[
    ClippingSpec
    | RappSpec
    | CfoSpec
    | TimingSpec
    | PhaseNoiseSpec
    | IqImbalanceSpec
    | QuantizationSpec
    | InterfererSpec,
    Field(discriminator="kind"),
]
IMPAIRMENT_KINDS: tuple[type[Spec], ...] = (
    ClippingSpec,
    RappSpec,
    CfoSpec,
    TimingSpec,
    PhaseNoiseSpec,
    IqImbalanceSpec,
    QuantizationSpec,
    InterfererSpec,
)

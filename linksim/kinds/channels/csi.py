"""What a receiver of OFDM knows of the gains, and its pilots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from channels.kinds import kind
from linksim.kinds.fields import DelaySpread, Int, NaturalInt, PositiveInt, Real, Spec, Speed

if TYPE_CHECKING:
    from channels.ofdm.estimators.base import EstimatorFactory, GainEstimator, Interpolation, Statistics
    from channels.ofdm.estimators.pilot_measurements import PilotElements
    from channels.ofdm.grid import Pilots
    from channels.ofdm.receiver import OfdmCsi

    from sionna.phy.ofdm import ResourceGrid

__all__ = ["USUAL_PILOTS", "AssumedSpec", "DmrsSpec", "EstimatorBase", "OfdmCsiSpec"]

USUAL_PILOTS = (2, 11)
_DMRS_COMB, _DMRS_BOOST_DB = 2, 3.0


class DmrsSpec(Spec):
    """Demodulation reference signal of NR: mapping type A, one symbol each, type 1 (comb 2)."""

    additional_positions: Annotated[Int, Field(ge=0, le=3)] = Field(
        1, description="0: symbol 2; 1: 2, 11; 2: 2, 7, 11; 3: 2, 5, 8, 11 (TS 38.211 table 6.4.1.1.3-3)"
    )
    ports: tuple[Annotated[Int, Field(ge=0, le=3)], ...] | None = Field(
        None,
        description="antenna port of every stream, less 1000: 0 and 1 share every second subcarrier under a "
        "cover code, 2 and 3 the others; none: 0, and 2 for a second stream",
    )

    @model_validator(mode="after")
    def _different(self) -> DmrsSpec:
        if self.ports is not None and (not self.ports or len(set(self.ports)) != len(self.ports)):
            raise ValueError(f"ports: got {list(self.ports)}, expected a different one for every stream.")
        return self


class AssumedSpec(Spec):
    """Statistics that an estimator is designed for: exponential delay profile, Doppler spectrum of Clarke."""

    delay_spread_s: DelaySpread = Field(description="root mean square delay spread that is assumed")
    speed_mps: Speed = Field(0.0, description="speed of the receiver that is assumed")


class EstimatorBase(Spec):
    """Channel knowledge on OFDM, estimated from pilot symbols of every slot. A kind has ``estimator``."""

    REQUIRED: ClassVar[dict[str, str]] = {
        "estimator": "estimator(grid, statistics, pilots) -> channels.ofdm.estimators.base.GainEstimator"
    }

    kind: str
    pilot_symbols: tuple[NaturalInt, ...] | None = Field(
        None, description="OFDM symbols of a slot that carry pilots; not given: 2 and 11, or those of dmrs"
    )
    dmrs: DmrsSpec | None = Field(None, description="pilots of NR, instead of pilot_symbols and comb")
    comb: PositiveInt | None = Field(
        None, description="a stream has every comb-th subcarrier of a pilot symbol; none: as many as streams"
    )
    boost_db: Annotated[Real, Field(ge=-10, le=10)] | None = Field(
        None,
        description="power of a pilot over a data element; none: 0 dB, with dmrs and one stream 3 dB",
    )
    assumed: AssumedSpec | Literal["robust"] | None = Field(
        None,
        description="statistics that the receiver assumes; robust: follow from the subcarrier spacing alone; "
        "none: those of the channel",
    )
    noise: Literal["known", "estimated"] = Field(
        "known", description="estimated: noise power, and with it the receiver's SNR, from the pilots"
    )

    @model_validator(mode="before")
    @classmethod
    def _usual_pilots(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("dmrs") is None and "pilot_symbols" not in data:
            return {**data, "pilot_symbols": USUAL_PILOTS}
        return data

    @property
    def pilot_places(self) -> tuple[int, ...]:
        """OFDM symbols with pilots."""
        if self.dmrs is None:
            return self.pilot_symbols or ()
        return ((2,), (2, 11), (2, 7, 11), (2, 5, 8, 11))[self.dmrs.additional_positions]

    @model_validator(mode="after")
    def _one_pattern(self) -> EstimatorBase:
        if self.dmrs is None:
            if self.pilot_symbols is None:
                raise ValueError("pilot_symbols: got none, expected OFDM symbols, or dmrs.")
            return self
        if self.pilot_symbols not in (None, self.pilot_places):
            got = list(self.pilot_symbols or ())
            raise ValueError(f"pilot_symbols: got {got} with dmrs, expected null: dmrs has its own.")
        if self.comb is not None:
            raise ValueError(f"comb: got {self.comb} with dmrs, expected none: dmrs has its own, 2.")
        return self

    def estimator(
        self, grid: ResourceGrid, statistics: Sequence[Statistics], pilots: PilotElements
    ) -> GainEstimator:
        """The estimator of the gains of one stream.

        Args:
            grid: Sionna's resource grid of one stream, with its pilots.
            statistics: second moments of the gain, of every kind of antenna or beam.
            pilots: of this stream.
        """
        raise NotImplementedError

    @property
    def knowledge(self) -> OfdmCsi | EstimatorFactory:
        """What :class:`channels.ofdm.link.OfdmChannel` takes as its csi."""
        return self.estimator

    @property
    def is_perfect(self) -> bool:
        """Whether gains are known."""
        return False

    @property
    def interpolating(self) -> Interpolation:
        """Of least-squares estimates over the slot; other estimators do it themselves."""
        return "linear"

    def pilots(self, streams: int) -> Pilots:
        """Where the pilots of as many streams stand."""
        from channels.ofdm.grid import Pilots
        from channels.units import linear_to_db

        if self.dmrs is not None:
            boost_db = self.boost_db
            if boost_db is None:  # what a comb leaves empty pays for it; two streams leave nothing
                boost_db = _DMRS_BOOST_DB if streams == 1 else linear_to_db(2 / streams)
            return Pilots(self.pilot_places, _DMRS_COMB, boost_db, self.dmrs.ports)
        return Pilots(self.pilot_places, self.comb or streams, self.boost_db or 0.0)

    def without_effect(self) -> dict[str, tuple[Any, Any]]:
        """Fields that this knowledge makes nothing of, by path: value and default."""
        return {}


@kind("estimator", "perfect")
@kind("estimator", "ls")
@kind("estimator", "lmmse")
class OfdmCsiSpec(EstimatorBase):
    """Channel knowledge on OFDM: perfect, or estimated from pilot symbols of every slot."""

    kind: Literal["perfect", "ls", "lmmse"] = Field(
        description="what the receiver knows: the gains, or least-squares or LMMSE estimates of them"
    )
    interpolation: Literal["linear", "nearest"] = Field("linear", description="of ls estimates over the slot")

    def estimator(
        self, grid: ResourceGrid, statistics: Sequence[Statistics], pilots: PilotElements
    ) -> GainEstimator:
        """See :class:`EstimatorBase`.

        Raises:
            ValueError: known gains, which nothing estimates.
        """
        from channels.ofdm.receiver import estimator_factory

        return estimator_factory(self.kind, self.interpolation)(grid, statistics, pilots)

    @property
    def knowledge(self) -> OfdmCsi | EstimatorFactory:
        """See :class:`EstimatorBase`."""
        return self.kind

    @property
    def is_perfect(self) -> bool:
        """See :class:`EstimatorBase`."""
        return self.kind == "perfect"

    @property
    def interpolating(self) -> Interpolation:
        """See :class:`EstimatorBase`."""
        return self.interpolation

    def without_effect(self) -> dict[str, tuple[Any, Any]]:
        """See :class:`EstimatorBase`."""
        found: dict[str, tuple[Any, Any]] = {}
        if self.kind != "ls":
            found["interpolation"] = self.interpolation, "linear"
        if self.kind == "perfect" and self.noise == "known":
            found["assumed"] = self.assumed, None
            found["boost_db"] = self.boost_db, None
        return found

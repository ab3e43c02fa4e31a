"""Separation: source codec, CRC, 5G LDPC and QAM."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, WithJsonSchema, model_validator

from channels.kinds import kind
from linksim.files.places import place
from linksim.kinds.channels.base import ChannelBase
from linksim.kinds.fields import RANGE_PATTERN, CsitName, Int, PathName, PositiveInt, Real, Spec
from linksim.kinds.schemes.base import Idle, SentSchemeBase
from linksim.kinds.schemes.source import Source, SourceCoded, make_source
from linksim.weights import zoo

if TYPE_CHECKING:
    from linksim.coding.link_adaptation import AdaptiveMcs
    from linksim.coding.mcs import Mcs
    from linksim.kinds.context import BuildContext
    from linksim.schemes.base import Scheme

__all__ = ["HarqSpec", "SeparationSpec"]

log = logging.getLogger("linksim.build.objects")
_TARGET_BLER, _ROUND_TRIP_S = 0.1, 7e-3
_CALIBRATION = "mcs-calibration.json"


class HarqSpec(Spec):
    """Retransmission of frames that failed; every transmission takes the uses that the bandwidth grants."""

    max_transmissions: Annotated[Int, Field(ge=1, le=16)] = Field(4, description="first one included")
    combining: Literal["ir", "chase"] = Field(
        "ir", description="ir: other code bits every time; chase: the same again"
    )
    round_trip_s: Annotated[Real, Field(ge=0, le=10)] = Field(
        _ROUND_TRIP_S,
        description="from the end of a transmission to the begin of the next [s]; fading goes on meanwhile",
    )


_MCS_ROW = {"type": "integer", "minimum": 0, "maximum": 28}
_MCS_SCHEMA = {
    "anyOf": [
        {"const": "adaptive"},
        _MCS_ROW,
        {"type": "array", "items": _MCS_ROW, "minItems": 1},
        {"type": "string", "pattern": RANGE_PATTERN},
    ]
}
McsName = Annotated[
    Literal["adaptive"] | Annotated[Int, Field(ge=0, le=28)],
    WithJsonSchema(_MCS_SCHEMA),  # a list is taken apart by the scenario
]


@kind("scheme", "separation")
class SeparationSpec(SourceCoded, SentSchemeBase):
    """Source codec, CRC, 5G LDPC and QAM, adapted to the SNR by a frozen table."""

    receiver_is_told: ClassVar[bool] = True
    has_bits: ClassVar[bool] = True
    sends_payload: ClassVar[bool] = True

    kind: Literal["separation"]
    source: Source = Field(default_factory=make_source, description="codec of the picture")
    mcs: McsName = Field(
        "adaptive",
        description="adaptive, or a fixed index of a table of TS 38.214; a list of indices, or a "
        "range such as 0:2:20, makes a scheme of each, named after it",
    )
    mcs_table: Literal["any", 1, 2, 3] = Field(
        "any",
        description="table 5.1.3.1-1, -2 or -3; any: adaptive chooses from all, an index is one of table 1",
    )
    policy: Literal["best_quality", "target_bler"] = Field(
        "best_quality",
        description="of adaptive: best expected quality (source.select), or highest rate within target_bler",
    )
    target_bler: Annotated[Real, Field(gt=0, lt=1)] = Field(
        _TARGET_BLER, description="of policy target_bler: block error rate that is allowed"
    )
    csit: Literal["average_snr", "instantaneous_snr"] = Field(
        "average_snr",
        description="of adaptive: the SNR that it goes by, the average over draws of the channel, or that of "
        "each frame with its fade",
    )
    harq: HarqSpec | None = Field(None, description="retransmissions; null: none")
    calibration: PathName | None = Field(
        None, description="link-adaptation table; none: the bundled one (made by linksim calibrate)"
    )
    decoder: Literal["auto", "layered", "sionna"] = Field(
        "auto", description="LDPC decoder; auto: Sionna's on a GPU where it takes the code, else ours"
    )
    decoder_iterations: PositiveInt = Field(50, description="of the LDPC decoder")

    @model_validator(mode="after")
    def _row(self) -> SeparationSpec:
        if self.mcs_table == 2 and self.mcs == 28:
            raise ValueError("mcs: got 28, expected at most 27 in mcs_table: 2.")
        if self.policy == "target_bler" and self.mcs != "adaptive":
            raise ValueError(f"policy: got target_bler with mcs: {self.mcs}, expected mcs: adaptive.")
        if self.decoder == "sionna" and self.harq is not None and self.harq.max_transmissions > 1:
            raise ValueError("decoder: got sionna with harq, expected layered (or auto).")
        return self

    @property
    def told_by(self) -> CsitName:
        """An adaptive scheme is told an SNR; a fixed one needs nothing."""
        return self.csit if self.mcs == "adaptive" else "none"

    def without_effect(self, channel: ChannelBase) -> Idle:
        """What only other policies, a choice of MCS, or retransmissions make use of."""
        by_quality = self.mcs == "adaptive" and self.policy == "best_quality"
        found = super().without_effect(channel) | self.source.without_effect(adapts=by_quality)
        if self.mcs != "adaptive":
            found["csit"] = self.csit, "average_snr"
            found["calibration"] = self.calibration, None
        if self.mcs != "adaptive" or self.policy != "target_bler":
            found["target_bler"] = self.target_bler, _TARGET_BLER
        if self.harq is not None and self.harq.max_transmissions == 1:
            found["harq.combining"] = self.harq.combining, "ir"
        if self.harq is not None and (self.harq.max_transmissions == 1 or not channel.moves):
            found["harq.round_trip_s"] = self.harq.round_trip_s, _ROUND_TRIP_S  # nothing changes meanwhile
        return found

    def of_pictures_only(self) -> Idle:
        """The codec; and an MCS chosen by the quality of pictures."""
        found: Idle = {"source": (self.source, make_source())}
        if self.mcs == "adaptive":
            found["policy"] = self.policy, "target_bler"
        return found

    @property
    def adapts(self) -> bool:
        """See :class:`linksim.kinds.schemes.base.SchemeBase`."""
        return self.mcs == "adaptive"

    @property
    def calibrated_csit(self) -> CsitName:
        """See :class:`linksim.kinds.schemes.base.SchemeBase`."""
        return self.csit

    def adapts_to_each_frame(self, channel: ChannelBase) -> bool:
        """See :class:`linksim.kinds.schemes.base.SchemeBase`."""
        return self.adapts and (self.csit == "instantaneous_snr" or channel.told.transmitter.error_db > 0)

    def build(self, context: BuildContext) -> Scheme:
        """See :class:`linksim.kinds.schemes.base.SchemeBase`."""
        from linksim.schemes.separation import Harq, SeparationScheme

        assert context.channel is not None
        return SeparationScheme(
            self.name,
            self.source.search(context),
            self._mcs(context.channel, context),
            csit=self.csit,
            harq=Harq(**self.harq.model_dump()) if self.harq else None,
            decoder=self.decoder,
            iterations=self.decoder_iterations,
            device=context.device,
        )

    @property
    def table_path(self) -> Path:
        """Of the link-adaptation table."""
        return place(self.calibration) if self.calibration else zoo.asset(_CALIBRATION)

    def _mcs(self, channel: ChannelBase, context: BuildContext) -> Mcs | AdaptiveMcs:
        from linksim.build.channels import calibration_key, load_calibration
        from linksim.coding.calibration import too_few_blocks
        from linksim.coding.link_adaptation import AdaptiveMcs
        from linksim.coding.mcs import MCS_TABLES

        if self.mcs != "adaptive":
            return MCS_TABLES[1 if self.mcs_table == "any" else self.mcs_table][self.mcs]
        path = self.table_path
        table = context.shared.once(("table", path), lambda: load_calibration(path))
        lengths = table.lengths(calibration_key(channel, self))
        used = f"{self.decoder.replace('auto', 'layered')}, {self.decoder_iterations} iterations"
        measured = lengths[0].decoder
        if used != measured:
            log.warning(
                "schemes.%s: the link-adaptation table was measured with another decoder, got %s, "
                "expected %s; frames may be lost more often than it says",
                *(self.name, used, measured),
            )
        fewest = min(curve.num_blocks for length in lengths for curve in length.curves)
        few = too_few_blocks(fewest, self.target_bler if self.policy == "target_bler" else None)
        if few:
            log.warning("schemes.%s: the link-adaptation table was measured with %s", self.name, few)
        by_quality = self.policy == "best_quality"
        return AdaptiveMcs(
            lengths,
            table.quality_of(self.source.search(context).name) if by_quality else None,
            None if self.mcs_table == "any" else self.mcs_table,
            self.policy,
            self.target_bler,
        )

    def files(self) -> dict[str, str]:
        """Its link-adaptation table."""
        from linksim.build.checkpoints import place_digest

        return {self.calibration or _CALIBRATION: place_digest(self.table_path)} if self.adapts else {}

"""Recorded impulse responses."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from channels.kinds import kind
from linksim.files.digests import file_digest
from linksim.files.places import place, scenario_dir
from linksim.kinds.fields import PathName, Speed
from linksim.kinds.models.base import DelayModelBase

if TYPE_CHECKING:
    from channels.models.base import DelayModel
    from linksim.kinds.context import BuildContext

__all__ = ["RecordedSpec", "recording_path"]


@kind("delay_model", "recorded")
class RecordedSpec(DelayModelBase):
    """Impulse responses from a file, .npz or HDF5, in the layout of docs/recorded-channels.md."""

    kind: Literal["recorded"]
    path: PathName = Field(description="a file, or the name of one that comes with linksim: street-canyon")
    normalize: Literal["ensemble", "each"] = Field(
        "ensemble", description="unit mean power over all snapshots, or of every snapshot"
    )
    phases: Literal["common", "paths"] = Field(
        "common", description="random phase per image: one for all paths, or one for each"
    )
    timing: Literal["first_path", "recorded"] = Field(
        "first_path", description="delays begin at the first path"
    )
    speed_mps: Speed | None = Field(None, description="Doppler shifts rescaled to it; none: as recorded")

    def build(self, context: BuildContext) -> DelayModel:
        """See :class:`DelayModelBase`."""
        from channels.models.recorded import RecordedModel

        recorded = RecordedModel(
            recording_path(self.path),
            normalize=self.normalize,
            phases=self.phases,
            timing=self.timing,
            speed_mps=self.speed_mps,
            bandwidth_hz=context.bandwidth_hz,
            precision=context.precision,
        )
        if recorded.carrier_hz not in (None, context.carrier_hz):
            warnings.warn(
                f"recording {self.path}: made at {recorded.carrier_hz:g} Hz, "
                f"got carrier_hz {context.carrier_hz:g} Hz. "
                "Gains and Doppler shifts stay those of the recording.",
                stacklevel=2,
            )
        return recorded

    @property
    def transmit_antennas(self) -> int | None:
        """The file says it."""
        return None

    @property
    def moves(self) -> bool:
        """It may move by itself."""
        return True

    @property
    def is_still(self) -> bool:
        """Where its Doppler shifts are scaled to nothing."""
        return self.speed_mps == 0

    @property
    def unequal_draws(self) -> bool:
        """See :class:`DelayModelBase`."""
        return self.normalize == "ensemble"

    @property
    def path_loss_kept(self) -> bool:
        """Of a link budget."""
        return False

    @property
    def needs_path_loss(self) -> bool:
        """See :class:`DelayModelBase`."""
        return False

    def budget_complaint(self) -> str:
        """See :class:`DelayModelBase`."""
        return keeps_path_loss(self.normalize)

    @property
    def carrier_is_recorded(self) -> bool:
        """See :class:`DelayModelBase`."""
        return True

    def files(self) -> dict[str, str]:
        """Digest of the recording."""
        return {self.path: file_digest(recording_path(self.path))}


def keeps_path_loss(normalize: str) -> str:
    """Why a normalisation does not go with a link budget; empty if it does."""
    if normalize == "ensemble":
        return ""
    got = f"got {normalize} with a link_budget"
    return f"model.normalize: {got}, expected ensemble, which keeps path loss."


def recording_path(path: str) -> Path:
    """A recording by its path, or by the name of one that comes with linksim."""
    bundled = scenario_dir() / "data" / f"{path}.npz"
    return bundled if bundled.is_file() and not Path(path).suffix else place(path)

"""Trained JSCC codecs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from channels.checks import complaint
from channels.kinds import kind
from linksim.kinds.channels.base import ChannelBase, channel_name
from linksim.kinds.fields import PathName, Share
from linksim.kinds.schemes.base import AnalogSchemeBase

if TYPE_CHECKING:
    from linksim.build.downloads import Download
    from linksim.kinds.context import BuildContext
    from linksim.kinds.networks import NetworkBase
    from linksim.schemes.base import Scheme
    from linksim.schemes.jscc import AnalogCodec

__all__ = ["JsccSpec", "check_csi", "uses_gain"]


@kind("scheme", "jscc")
class JsccSpec(AnalogSchemeBase):
    """A trained JSCC codec."""

    kind: Literal["jscc"]
    checkpoint: PathName = Field(
        description="a bundled model (linksim list models), a file, a DiffJSCC folder, or owner/name"
    )
    realism: Share | None = Field(
        None, description="0 (nearest picture) to 1 (most natural one), of codecs with this dial; none: 0"
    )

    def build(self, context: BuildContext) -> Scheme:
        """See :class:`linksim.kinds.schemes.base.SchemeBase`."""
        from linksim.build.objects import shared_codec
        from linksim.schemes.jscc import EncodedPictures, JsccScheme

        codec = shared_codec(context, self.checkpoint)
        assert context.channel is not None
        check_csi(self, codec, context.channel)
        encoded = context.shared.once("encoded pictures", EncodedPictures)
        return JsccScheme(self.name, self._dialled(codec), self.csit, encoded)

    def _dialled(self, codec: AnalogCodec) -> AnalogCodec:
        """The codec at the realism that is asked for.

        Raises:
            ValueError: a codec without that dial.
        """
        if self.realism is None:
            return codec
        at: Any = getattr(codec, "at", None)
        if at is None:
            cure = "Leave it out, or take a checkpoint of codec dial."
            message = f"the codec of {self.checkpoint} has no such dial"
            raise ValueError(complaint("realism", message, f"{self.realism:g}", "none", cure))
        return at(self.realism)

    def files(self) -> dict[str, str]:
        """Its checkpoint."""
        from linksim.build.checkpoints import place_digest, tree_digest
        from linksim.weights import zoo

        path = zoo.codec_path(self.checkpoint)
        return {self.checkpoint: tree_digest(path) if path.is_dir() else place_digest(path)}

    def networks(self) -> list[NetworkBase]:
        """That of its checkpoint."""
        from linksim.build.checkpoints import networks_of
        from linksim.weights import zoo

        return networks_of([zoo.codec_path(self.checkpoint)])

    def trained_on(self) -> dict[str, list[str] | None]:
        """As its checkpoint says."""
        from linksim.build.checkpoints import measures_of
        from linksim.weights import zoo

        return {self.name: measures_of([zoo.codec_path(self.checkpoint)])}

    def downloads(self) -> list[Download]:
        """Its checkpoint, from a hub."""
        from linksim.build.downloads import repository

        return repository(self.name, "checkpoint", self.checkpoint)


def uses_gain(codec: object) -> bool:
    """Whether the encoder of a codec makes anything of the gain of the channel (csit: perfect)."""
    from linksim.jscc.csi_embedding import csi_kind

    return csi_kind(codec) == "snr_h"


def check_csi(scheme: Any, codec: object, channel: ChannelBase) -> None:
    """A codec that is given the gain of a fade needs one gain per picture, and to be told at both ends; one
    that is not makes nothing of a gain.

    Args:
        scheme: with ``csit`` and ``checkpoint``.
        codec: built.
        channel: that it will run on.

    Raises:
        ValueError: another channel or another csit.
    """
    if not uses_gain(codec):
        if scheme.csit == "perfect":
            what = f"has no effect: the encoder of {scheme.checkpoint} makes nothing of the gain"
            raise ValueError(complaint("csit", what, scheme.csit, "none, average_snr or instantaneous_snr"))
        return
    checkpoint = f"the encoder of {scheme.checkpoint} is given SNR and gain"
    if scheme.csit != "perfect":
        raise ValueError(complaint("csit", checkpoint, scheme.csit, "perfect, which says so"))
    if not channel.one_gain:
        expected = "awgn, or rayleigh or rician without coherence_symbols: one gain per picture"
        raise ValueError(complaint("checkpoint", checkpoint, channel_name(channel), expected))

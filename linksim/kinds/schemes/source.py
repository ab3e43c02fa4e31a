"""The source codec of a digital scheme: fields that all have, and those of each codec's own class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from linksim.kinds.fields import Spec
from linksim.kinds.schemes.base import Idle
from linksim.kinds.union import KindOf

if TYPE_CHECKING:
    from linksim.build.downloads import Download
    from linksim.kinds.context import BuildContext
    from linksim.metrics.info import SideLimit
    from linksim.source.codec import SourceCodec
    from linksim.source.quality_search import QualitySearch

__all__ = ["Source", "SourceBase", "SourceCoded", "make_source"]


class SourceBase(Spec):
    """Source codec of a digital scheme; a kind adds the fields of its class."""

    codec: str
    resolutions: Literal["full", "reduced"] = Field(
        "reduced", description="reduced: half and quarter size are coded where that shows more"
    )
    select: Literal["psnr", "ssim", "ms_ssim", "lpips_alex", "lpips_vgg", "lpips_squeeze"] = Field(
        "psnr",
        description="what shows more, and what an adaptive MCS makes as good as it can: by this metric",
    )

    def build(self) -> SourceCodec:
        """The codec."""
        raise NotImplementedError

    def search(self, context: BuildContext) -> QualitySearch:
        """The codec with its quality search; one for all schemes of a run, so that streams are shared."""
        from linksim.build.objects import make_search

        key = ("search", type(self), self.model_dump_json(), context.workers)
        return context.shared.once(key, lambda: make_search(self, context.workers, context.shared.streams))

    def without_effect(self, *, adapts: bool = False) -> Idle:
        """What the codec makes nothing of; ``adapts``: an MCS is chosen by quality."""
        found: Idle = {}
        for field in getattr(self.target, "unused", lambda codec: ())(self.codec):
            found[f"source.{field}"] = getattr(self, field), type(self).model_fields[field].default
        if self.resolutions == "full" and not adapts:
            found["source.select"] = self.select, "psnr"
        return found

    def tools(self, where: str, context: BuildContext) -> dict[str, str]:
        """Version and effort of the codec by its name; the metric that it selects by, with the digest of its
        weights.

        Args:
            where: of the scheme, for messages.
            context: of the run.

        Raises:
            MetricUnavailable: weights that cannot be had.
        """
        from linksim.metrics.base import MetricUnavailable

        search = self.search(context)
        tools = {search.codec.name: search.codec.version}
        if search.measure is not None:
            try:
                tools[f"select {search.measure.name}"] = search.measure.reference
            except MetricUnavailable as problem:
                cure = "Without them take select: psnr."
                raise MetricUnavailable(f"{where}.source.select: {problem} {cure}") from None
        return tools

    def downloads(self, scheme: str) -> list[Download]:
        """Weights of the codec, and of the metric that it selects by."""
        from linksim.build.downloads import Download, backbone

        missing = getattr(self.target, "missing", None)
        where = f"schemes.{scheme}.source.weights"
        files = [] if missing is None else missing(self)
        own = [Download(scheme, where, file.file, file.url, file.size_gb) for file in files]
        return own + backbone(scheme, f"schemes.{scheme}.source.select", self.select)

    def side_limits(self, scheme: str) -> list[SideLimit]:
        """Of the metric that it selects by."""
        from linksim.metrics.info import SideLimit
        from linksim.metrics.selection import Selection

        by = Selection(self.select)
        return [SideLimit(by.name, by.min_side, f"Change schemes.{scheme}.source.select")]

    @property
    def target(self) -> Any:
        """The class of the codec."""
        from channels.kinds import find

        return find("source_codec", self.codec).target


def _as_block(value: object) -> object:
    """A name alone; a block without one is BPG."""
    if isinstance(value, str):
        return {"codec": value}
    return {"codec": "bpg", **value} if isinstance(value, dict) else value


Source = Annotated[SourceBase, KindOf("source_codec", "codec"), BeforeValidator(_as_block)]


def make_source(codec: str = "bpg", **values: Any) -> SourceBase:
    """The description of a source codec with its fields."""
    from channels.kinds import find
    from linksim.kinds.prepare import description

    made: Any = description(find("source_codec", codec))
    return made(codec=codec, **values)


class SourceCoded:
    """Beside the base of a scheme with a field ``source``: what it uses is what its source codec uses."""

    if TYPE_CHECKING:
        name: str
        source: SourceBase

    @property
    def starts_programs(self) -> bool:
        """Whether its source codec does."""
        return getattr(self.source.target, "starts_programs", False)

    def tools(self, context: BuildContext) -> dict[str, str]:
        """Those of its source codec."""
        return self.source.tools(f"schemes.{self.name}", context) if context.pictures else {}

    def downloads(self) -> list[Download]:
        """Those of its source codec."""
        return self.source.downloads(self.name)

    def side_limits(self) -> list[SideLimit]:
        """Those of its source codec."""
        return self.source.side_limits(self.name)

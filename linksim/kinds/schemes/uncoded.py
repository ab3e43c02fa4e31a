"""Uncoded QAM."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from channels.kinds import kind
from linksim.kinds.schemes.base import SentSchemeBase

if TYPE_CHECKING:
    from linksim.kinds.context import BuildContext
    from linksim.schemes.base import Scheme

__all__ = ["UncodedSpec"]


@kind("scheme", "uncoded")
class UncodedSpec(SentSchemeBase):
    """Pixels of a reduced picture in uncoded QAM: the check of bit error rates against theory."""

    has_bits: ClassVar[bool] = True
    sends_payload: ClassVar[bool] = True

    kind: Literal["uncoded"]
    bits_per_symbol: Literal[2, 4, 6, 8] = Field(description="of square QAM")

    def build(self, context: BuildContext) -> Scheme:
        """See :class:`linksim.kinds.schemes.base.SchemeBase`."""
        from linksim.schemes.uncoded import UncodedScheme

        return UncodedScheme(self.name, self.bits_per_symbol, context.device)

    @property
    def bits_per_symbol_uncoded(self) -> int | None:
        """See :class:`linksim.kinds.schemes.base.SchemeBase`."""
        return self.bits_per_symbol

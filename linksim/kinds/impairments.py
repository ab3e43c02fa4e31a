"""Descriptions of imperfect radios, made of the fields of their classes
(:mod:`channels.hardware.impairment`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from linksim.kinds.fields import Spec

if TYPE_CHECKING:
    from channels.hardware.impairment import Impairment

__all__ = ["ImpairmentBase"]


class ImpairmentBase(Spec):
    """Description of an impairment; ``build`` is that of its class."""

    kind: str

    def build(self) -> Impairment:
        """The impairment."""
        raise NotImplementedError

"""What kinds need beside the core: extras of the distribution."""

from __future__ import annotations

from channels.runtime.extras import need

__all__ = ["need_diffusion"]


def need_diffusion(field: str) -> None:
    """Refuse where the networks of DiffJSCC cannot be built.

    Args:
        field: who asks, for the message.

    Raises:
        NotInstalled: diffusers or transformers are missing.
    """
    need(field, ("diffusers", "transformers"), "diffusion")

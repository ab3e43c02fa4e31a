"""Packages that an installation may lack: the extras of the distribution."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Sequence

from channels.checks import complaint

__all__ = ["DISTRIBUTION", "NotInstalled", "install", "need", "package_version"]

DISTRIBUTION = "linksim-wireless"  # the name on the package index; "linksim" there is somebody else's


class NotInstalled(ValueError):
    """Something was asked that needs packages of an extra; the message says how to install them."""


def install(extra: str) -> str:
    """The command that installs an extra.

    Example:
        >>> install("diffusion")
        "pip install 'linksim-wireless[diffusion]'"
    """
    return f"pip install '{DISTRIBUTION}[{extra}]'"


def need(field: str, modules: Sequence[str], extra: str) -> None:
    """Refuse where modules of an extra are not installed; nothing is imported.

    Args:
        field: who asks, for the message.
        modules: names that must be importable.
        extra: that installs them.

    Raises:
        NotInstalled: names what is missing and the command that installs it.
    """
    missing = [name for name in modules if not _is_there(name)]
    if missing:
        wrong = f"{', '.join(missing)} not installed"
        raise NotInstalled(complaint(field, wrong, "none", ", ".join(modules), f"Run: {install(extra)}"))


def package_version(name: str) -> str:
    """Version of an installed package; of ``sionna`` by whichever of its two distributions brought it.

    Raises:
        importlib.metadata.PackageNotFoundError: it is not installed.
    """
    if name == "sionna":
        try:
            return importlib.metadata.version("sionna-no-rt")
        except importlib.metadata.PackageNotFoundError:
            pass
    return importlib.metadata.version(name)


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # of the package around it
        return False

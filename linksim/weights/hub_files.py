"""Files of weights in the manner of hubs: of the user, in a cache, or fetched once, with their digests."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from channels.checks import complaint, in_words
from linksim.files.digests import file_digest
from linksim.files.places import variable_folder

__all__ = [
    "WEIGHTS_VARIABLE",
    "HubFile",
    "WeightsFile",
    "WeightsUnavailable",
    "find_weights",
    "hub_file",
    "hub_file_at",
    "hub_folder",
    "hub_folder_at",
    "hub_weights",
]

WEIGHTS_VARIABLE = "LINKSIM_WEIGHTS"
_TIMEOUT_S = 20
_HUB_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


class WeightsUnavailable(RuntimeError):
    """Weights that are nowhere to be had, with the cure."""


@dataclass(frozen=True)
class HubFile:
    """A file of weights in the manner of PyTorch's hub: a feature network of a metric, a classifier, a codec.

    Args:
        name: torchvision name, or that of the zoo.
        url: where the file is; its name ends in the first digits of its SHA-256.
        size_gb: of the file [10^9 bytes]; None where it is not known.
        other_files: names that others gave the same file.
        exact: a file of the user has to be this very one, too.
    """

    name: str
    url: str
    size_gb: float | None
    other_files: tuple[str, ...] = ()
    exact: bool = False

    @property
    def file(self) -> str:
        """File name in the torch hub cache."""
        return self.url.rsplit("/", 1)[1]

    @property
    def digest_prefix(self) -> str:
        """First digits of the SHA-256 of the file."""
        return self.file.rsplit("-", 1)[1].split(".")[0]


@dataclass(frozen=True)
class WeightsFile:
    """A weights file and the first 16 hex digits of its SHA-256."""

    path: Path
    digest: str


def hub_folder_at(name: str) -> Path | None:
    """Where a repository's files are on this machine: a folder of its name in $LINKSIM_WEIGHTS, or the hub's
    cache; None if they would have to be fetched.
    """
    import huggingface_hub

    folder = variable_folder(WEIGHTS_VARIABLE)
    own = folder and folder / name.rsplit("/", 1)[1]
    if own and hub_weights(own):
        return own
    try:
        found = Path(huggingface_hub.snapshot_download(name, local_files_only=True))
    except (OSError, ValueError, RuntimeError):  # the hub's errors derive from these
        return None
    return found if hub_weights(found) else None


def hub_weights(folder: Path) -> Path | None:
    """File of weights in a folder of a hub's model, the first of its formats."""
    return next((folder / name for name in _HUB_WEIGHTS if (folder / name).is_file()), None)


def hub_folder(name: str, needed_by: str) -> Path:
    """Settings and weights of a repository: of $LINKSIM_WEIGHTS, the hub's cache, or a download.

    Raises:
        WeightsUnavailable: none of the three has them.
    """
    import huggingface_hub

    found = hub_folder_at(name)
    if found is not None:
        return found
    try:
        for weights in _HUB_WEIGHTS:
            found = Path(huggingface_hub.snapshot_download(name, allow_patterns=["*.json", weights]))
            if hub_weights(found):
                return found
        said = f"no {' and no '.join(_HUB_WEIGHTS)} there"
    except (OSError, ValueError, RuntimeError) as problem:  # the hub's errors derive from these
        said = in_words(problem)
    folder = name.rsplit("/", 1)[1]
    raise WeightsUnavailable(
        f"{needed_by}: weights not found and not downloaded ({said}). Where there is a network, "
        f"hf download {name} --local-dir {folder}; set {WEIGHTS_VARIABLE} to what holds that folder."
    )


def _hub_cache() -> Path:
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


def _candidates(file: HubFile) -> Iterator[Path]:
    """Files to look at: the user's folder (and one level below it), then the torch hub cache."""
    names = (
        file.file,
        *file.other_files,
        f"{file.name}_features.pth",
        f"{file.name}.pth",
    )
    folder = variable_folder(WEIGHTS_VARIABLE)
    if folder is not None:
        for below in (folder, *sorted(p for p in folder.glob("*") if p.is_dir())):
            yield from (below / name for name in names)
    yield from (_hub_cache() / name for name in (file.file, *file.other_files))


def find_weights(file: HubFile, what: str) -> WeightsFile:
    """A file of weights: from $LINKSIM_WEIGHTS, the torch hub cache, or a download, in this order.

    Args:
        file: of them.
        what: needs them, for a message.

    Raises:
        WeightsUnavailable: none of the three has them, or not the very file that it has to be.
    """
    found = hub_file_at(file)
    if found is None:
        found = _fetched(what, file)
    elif file.exact:
        digest = file_digest(found)
        if not digest.startswith(file.digest_prefix):
            got, expected = f"SHA-256 {digest[:8]}...", f"{file.digest_prefix}..., that of {file.url}"
            raise WeightsUnavailable(
                complaint(f"{what}: weights {found}", "another file", got, expected, "Replace the file.")
            )
    return WeightsFile(found, file_digest(found)[:16])


def hub_file_at(file: HubFile) -> Path | None:
    """Where a file of weights lies on this machine; None if it would have to be fetched."""
    return next((path for path in _candidates(file) if path.is_file()), None)


def hub_file(file: HubFile) -> Path:
    """A file of weights: from $LINKSIM_WEIGHTS, the torch hub cache, or a download, in this order.

    Raises:
        WeightsUnavailable: none of the three has it.
    """
    return hub_file_at(file) or _fetched(file.name, file)


def _fetched(what: str, file: HubFile) -> Path:
    """A file, downloaded into the torch hub cache."""
    target = _hub_cache() / file.file
    try:
        _download(file, target)
    except (OSError, ValueError) as problem:
        raise WeightsUnavailable(
            f"{what}: weights not found and not downloaded ({problem}). Put {file.file} "
            f"(from {file.url}) into a folder and set {WEIGHTS_VARIABLE} to it, or into {target.parent}."
        ) from None
    return target


def _download(file: HubFile, target: Path) -> None:
    """Fetch a file, check its digest, and move it into place whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        request = urllib.request.urlopen(file.url, timeout=_TIMEOUT_S)  # noqa: S310 (a constant https address)
        with request as response, partial.open("wb") as written:
            while chunk := response.read(1 << 20):
                written.write(chunk)
        if not file_digest(partial).startswith(file.digest_prefix):
            raise ValueError(f"{file.url} arrived damaged")
        partial.replace(target)
    except (TimeoutError, urllib.error.URLError) as problem:
        raise OSError(f"{file.url}: {problem}") from None
    finally:
        partial.unlink(missing_ok=True)

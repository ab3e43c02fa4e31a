"""Names, digests and places of weights: bundled with the package, in a folder of the user, or fetched."""

from __future__ import annotations

import hashlib
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from channels.checks import complaint
from linksim.files.places import looked_at, place, variable_folder
from linksim.weights.pickle_reader import ModelFormatError

__all__ = [
    "BACKBONES",
    "BUNDLED_FILES",
    "BUNDLED_MODELS",
    "CAPTIONER",
    "CLIP_MODELS",
    "DIFFJSCC_CODEC",
    "DIFFJSCC_INDEX",
    "DOWNLOAD_GB",
    "FEATURE_NETWORKS",
    "Backbone",
    "BackboneFile",
    "BundledModel",
    "WeightsUnavailable",
    "asset",
    "asset_digest",
    "backbone_at",
    "codec_path",
    "file_digest",
    "find_backbone",
    "find_folder",
    "hub_file",
    "hub_file_at",
    "hub_folder",
    "hub_folder_at",
    "hub_weights",
    "is_here",
    "is_repository",
    "lpips_backbone",
    "network_path",
]

WEIGHTS_VARIABLE = "LINKSIM_WEIGHTS"
DIFFJSCC_INDEX = "diffjscc.json"  # in a folder of linksim convert diffjscc
DIFFJSCC_CODEC = "jscc/codec.safetensors"
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_TIMEOUT_S = 20
_HUB_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


class WeightsUnavailable(RuntimeError):
    """Weights that are nowhere to be had, with the cure."""


@dataclass(frozen=True)
class Backbone:
    """A file of weights in the manner of PyTorch's hub: a feature network of a metric, a codec of a zoo.

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


BACKBONES: dict[str, Backbone] = {
    "alex": Backbone("alexnet", "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth", 0.245),
    "vgg": Backbone("vgg16", "https://download.pytorch.org/models/vgg16-397923af.pth", 0.554),
    "squeeze": Backbone(
        "squeezenet1_1", "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth", 0.005
    ),
}
FEATURE_NETWORKS: dict[str, Backbone] = {  # with those of other metrics
    **BACKBONES,
    "inception": Backbone(  # of FID; torch-fidelity's file and pytorch-fid's have the same digits
        "inception_v3_fid",
        "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
        "weights-inception-2015-12-05-6726825d.pth",
        0.096,
        other_files=("pt_inception-2015-12-05-6726825d.pth",),
        exact=True,
    ),
}
CLIP_MODELS = {"b32": "openai/clip-vit-base-patch32", "l14_336": "openai/clip-vit-large-patch14-336"}


@dataclass(frozen=True)
class BundledModel:
    """A network that comes with linksim; its card is beside its file.

    Args:
        kind: of the scheme whose checkpoint it is.
        ratios: ``bandwidth.data_ratio`` that it codes for.
        snr_db: range of the SNR in its training [dB].
        seconds: encoder and decoder: 768 x 512 pixels at CBR 1/96 on two cores (EPYC Zen 4), float32.
        what: in words.
    """

    kind: str
    ratios: tuple[str, ...]
    snr_db: tuple[float, float]
    seconds: float
    what: str


_DIAL_RATIOS, _DIAL_DB = ("1/384", "1/192", "1/96", "1/48", "1/24"), (-2.0, 18.0)
BUNDLED_MODELS = {
    "lean-awgn-1-96": BundledModel("jscc", ("1/96",), (0.0, 14.0), 0.3, "mean squared error"),
    "dial": BundledModel("jscc", _DIAL_RATIOS, _DIAL_DB, 0.4, "from fidelity to realism"),
    "dial-denoiser": BundledModel(
        "latent_diffusion", _DIAL_RATIOS, _DIAL_DB, 1.0, "diffusion on the latents of dial"
    ),
}
BUNDLED_FILES = {name: f"{name}.safetensors" for name in BUNDLED_MODELS}


@dataclass(frozen=True)
class BackboneFile:
    """A weights file and the first 16 hex digits of its SHA-256."""

    path: Path
    digest: str


CAPTIONER = "Salesforce/blip2-opt-2.7b"
DOWNLOAD_GB = {  # about what a run downloads of a repository
    **{
        f"Mingyuyang/DiffJSCC-{data}-CBR-{ratio}": 10.0
        for data, ratio in (
            *(("OpenImage", "1-384"), ("OpenImage", "1-96")),
            *(("CelebA", "1-768"), ("CelebA", "1-192")),
        )
    },
    CAPTIONER: 15.0,
    CLIP_MODELS["b32"]: 0.6,
    CLIP_MODELS["l14_336"]: 1.7,
}


def asset(name: str) -> Path:
    """A file that is bundled with the package."""
    return Path(__file__).parents[1] / "assets" / name


def asset_digest(name: str) -> str:
    """First 16 hex digits of the SHA-256 of a bundled file."""
    return file_digest(asset(name))[:16]


def is_repository(name: str) -> bool:
    """Whether a name is that of a hub repository, and of no folder or file on this machine."""
    return not place(name).exists() and _REPOSITORY.fullmatch(name) is not None


def is_here(name: str) -> bool:
    """Whether a snapshot of a repository is in the hub's cache; no network is touched."""
    import huggingface_hub

    try:
        huggingface_hub.snapshot_download(name, local_files_only=True)
    except (OSError, ValueError, RuntimeError):  # the hub's errors derive from these
        return False
    return True


def find_folder(name: str, files: Sequence[str] | None = None) -> Path:
    """A local folder, or a snapshot of a hub repository ("owner/name"), downloaded when it is not cached.

    Args:
        name: folder or repository.
        files: patterns of what to download; None for everything.

    Raises:
        ModelFormatError: neither there nor to be had.
    """
    folder = place(name)
    if folder.is_dir():
        return folder
    if not _REPOSITORY.fullmatch(name):
        raise ModelFormatError(
            complaint("checkpoint", "no such folder", looked_at(name), "a folder, or owner/name on a hub")
        )
    import huggingface_hub

    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=list(files) if files else None))
    except (OSError, ValueError, RuntimeError) as problem:  # the hub's errors derive from these
        said = str(problem).splitlines()[0] if str(problem) else repr(problem)
        cure = (
            f"Download it where there is a network (hf download {name}) and give the folder, "
            "or set HF_HOME to a cache that has it."
        )
        expected = "a folder, or a repository of the Hugging Face hub that can be reached"
        raise ModelFormatError(
            complaint(f"checkpoint {name}", "cannot be downloaded", said, expected, cure)
        ) from None


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
        said = str(problem).splitlines()[0] if str(problem) else repr(problem)
    folder = name.rsplit("/", 1)[1]
    raise WeightsUnavailable(
        f"{needed_by}: weights not found and not downloaded ({said}). Where there is a network, "
        f"hf download {name} --local-dir {folder}; set {WEIGHTS_VARIABLE} to what holds that folder."
    )


def network_path(name: str) -> Path:
    """File of a bundled network by its name, or a file."""
    return asset(BUNDLED_FILES[name]) if name in BUNDLED_FILES else place(name)


def codec_path(checkpoint: str) -> Path:
    """File of a trained codec, or the folder of a DiffJSCC model in the authors' format.

    Args:
        checkpoint: a bundled model, a file, a DiffJSCC folder of either format, or owner/name on a hub.

    Raises:
        ModelFormatError: a repository that cannot be had.
    """
    if checkpoint in BUNDLED_FILES:
        return asset(BUNDLED_FILES[checkpoint])
    path = place(checkpoint)
    if not path.exists() and not path.suffix and _REPOSITORY.fullmatch(checkpoint):
        path = find_folder(checkpoint)
    return path / DIFFJSCC_CODEC if (path / DIFFJSCC_INDEX).is_file() else path


def _hub_cache() -> Path:
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


def _candidates(backbone: Backbone) -> Iterator[Path]:
    """Files to look at: the user's folder (and one level below it), then the torch hub cache."""
    names = (
        backbone.file,
        *backbone.other_files,
        f"{backbone.name}_features.pth",
        f"{backbone.name}.pth",
    )
    folder = variable_folder(WEIGHTS_VARIABLE)
    if folder is not None:
        for below in (folder, *sorted(p for p in folder.glob("*") if p.is_dir())):
            yield from (below / name for name in names)
    yield from (_hub_cache() / name for name in (backbone.file, *backbone.other_files))


def lpips_backbone(metric: str) -> str | None:
    """The backbone of an LPIPS metric by the metric's name; None for other metrics.

    Example:
        >>> lpips_backbone("lpips"), lpips_backbone("lpips_vgg"), lpips_backbone("psnr")
        ('alex', 'vgg', None)
    """
    name, _, net = metric.partition("_")
    return (net or "alex") if name == "lpips" else None


def backbone_at(net: str) -> Path | None:
    """Where the weights of a backbone lie on this machine; None if they would have to be fetched."""
    return hub_file_at(FEATURE_NETWORKS[net])


def find_backbone(net: str, needed_by: str = "") -> BackboneFile:
    """Weights of a backbone: from $LINKSIM_WEIGHTS, the torch hub cache, or a download, in this order.

    Args:
        net: key of :data:`FEATURE_NETWORKS`.
        needed_by: of the message; empty for the LPIPS of this backbone.

    Raises:
        WeightsUnavailable: none of the three has them, or not the very file that it has to be.
    """
    backbone, needed_by = FEATURE_NETWORKS[net], needed_by or f"lpips_{net}"
    found = backbone_at(net)
    if found is None:
        found = _fetched(needed_by, backbone)
    elif backbone.exact:
        digest = file_digest(found)
        if not digest.startswith(backbone.digest_prefix):
            got, expected = f"SHA-256 {digest[:8]}...", f"{backbone.digest_prefix}..., that of {backbone.url}"
            raise WeightsUnavailable(
                complaint(f"{needed_by}: weights {found}", "another file", got, expected, "Replace the file.")
            )
    return BackboneFile(found, file_digest(found)[:16])


def hub_file_at(file: Backbone) -> Path | None:
    """Where a file of weights lies on this machine; None if it would have to be fetched."""
    return next((path for path in _candidates(file) if path.is_file()), None)


def hub_file(file: Backbone) -> Path:
    """A file of weights: from $LINKSIM_WEIGHTS, the torch hub cache, or a download, in this order.

    Raises:
        WeightsUnavailable: none of the three has it.
    """
    return hub_file_at(file) or _fetched(file.name, file)


def _fetched(what: str, file: Backbone) -> Path:
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


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(backbone: Backbone, target: Path) -> None:
    """Fetch a file, check its digest, and move it into place whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        request = urllib.request.urlopen(backbone.url, timeout=_TIMEOUT_S)  # noqa: S310 (a constant https address)
        with request as response, partial.open("wb") as file:
            while chunk := response.read(1 << 20):
                file.write(chunk)
        if not file_digest(partial).startswith(backbone.digest_prefix):
            raise ValueError(f"{backbone.url} arrived damaged")
        partial.replace(target)
    except (TimeoutError, urllib.error.URLError) as problem:
        raise OSError(f"{backbone.url}: {problem}") from None
    finally:
        partial.unlink(missing_ok=True)

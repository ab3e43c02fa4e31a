"""Names, digests and places of weights: bundled with the package, in a folder of the user, or fetched."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from channels.checks import complaint, in_words
from channels.runtime.moved import names_moved
from linksim.files.digests import file_digest
from linksim.files.places import looked_at, place
from linksim.weights.hub_files import HubFile, WeightsFile, find_weights, hub_file_at
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
    "BundledModel",
    "asset",
    "asset_digest",
    "backbone_at",
    "codec_path",
    "find_backbone",
    "find_folder",
    "is_here",
    "is_repository",
    "lpips_backbone",
    "network_path",
]

DIFFJSCC_INDEX = "diffjscc.json"  # in a folder of linksim convert diffjscc
DIFFJSCC_CODEC = "jscc/codec.safetensors"
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


BACKBONES: dict[str, HubFile] = {
    "alex": HubFile("alexnet", "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth", 0.245),
    "vgg": HubFile("vgg16", "https://download.pytorch.org/models/vgg16-397923af.pth", 0.554),
    "squeeze": HubFile(
        "squeezenet1_1", "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth", 0.005
    ),
}
FEATURE_NETWORKS: dict[str, HubFile] = {  # with those of other metrics
    **BACKBONES,
    "inception": HubFile(  # of FID; torch-fidelity's file and pytorch-fid's have the same digits
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
        said = in_words(problem)
        cure = (
            f"Download it where there is a network (hf download {name}) and give the folder, "
            "or set HF_HOME to a cache that has it."
        )
        expected = "a folder, or a repository of the Hugging Face hub that can be reached"
        raise ModelFormatError(
            complaint(f"checkpoint {name}", "cannot be downloaded", said, expected, cure)
        ) from None


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


def find_backbone(net: str, needed_by: str = "") -> WeightsFile:
    """Weights of a backbone; see :func:`linksim.weights.hub_files.find_weights`.

    Args:
        net: key of :data:`FEATURE_NETWORKS`.
        needed_by: of the message; empty for the LPIPS of this backbone.

    Raises:
        WeightsUnavailable: none of the three has them, or not the very file that it has to be.
    """
    return find_weights(FEATURE_NETWORKS[net], needed_by or f"lpips_{net}")


if not TYPE_CHECKING:  # a checker would take it for any name
    __getattr__ = names_moved(
        __name__,
        {
            "Backbone": "linksim.weights.hub_files:HubFile",
            "BackboneFile": "linksim.weights.hub_files:WeightsFile",
            "WeightsUnavailable": "linksim.weights.hub_files",
        },
    )

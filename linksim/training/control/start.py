"""What the training of a control module begins with, and what of it is frozen."""

from __future__ import annotations

from linksim.build.checkpoints import place_digest, tree_digest
from linksim.build.objects import load_codec, load_diffjscc
from linksim.diffusion.model import DiffusionModel
from linksim.diffusion.start import STABLE_DIFFUSION_FILES, from_stable_diffusion
from linksim.scenario.schema import ControlTrainSpec
from linksim.schemes.jscc import AnalogCodec
from linksim.weights import zoo
from linksim.weights.zoo import find_folder

__all__ = ["frozen_files", "frozen_start"]


def frozen_start(spec: ControlTrainSpec) -> tuple[AnalogCodec, DiffusionModel]:
    """Frozen codec and model with the control module that is trained."""
    if spec.start.model is not None:
        codec, model = load_diffjscc(find_folder(spec.start.model))
        model.snr_db = (spec.snr_db.low, spec.snr_db.high)
    else:
        assert spec.start.stable_diffusion is not None
        folder = find_folder(spec.start.stable_diffusion, STABLE_DIFFUSION_FILES)
        snr_db = (spec.snr_db.low, spec.snr_db.high)
        model = from_stable_diffusion(folder, snr_db, gamma_map=spec.start.gamma_map)
        codec = None
    if spec.start.codec is not None:
        codec = load_codec(spec.start.codec)
    assert codec is not None
    return codec, model


def frozen_files(spec: ControlTrainSpec) -> dict[str, str]:
    """Digests of what is not trained, by field."""
    start, found = spec.start, {}
    if start.model is not None:
        found["model"] = tree_digest(find_folder(start.model))
    if start.stable_diffusion is not None:
        found["stable_diffusion"] = tree_digest(find_folder(start.stable_diffusion, STABLE_DIFFUSION_FILES))
    if start.codec is not None:
        path = zoo.codec_path(start.codec)
        found["codec"] = tree_digest(path) if path.is_dir() else place_digest(path)
    return {f"train_control.start.{name}": digest for name, digest in found.items()}

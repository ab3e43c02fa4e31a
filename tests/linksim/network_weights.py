"""Networks with random weights in files as the real ones come, and the same networks of other packages."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from linksim.weights.zoo import CLIP_MODELS, FEATURE_NETWORKS

CLIP_SIDES = {"b32": 32, "l14_336": 48}


def scaled(network: nn.Module, seed: int) -> nn.Module:
    """Random weights that keep the size of what passes; normalisations that are not the identity."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan = module.weight[0].numel()
            module.weight.data.normal_(0, (2 / fan) ** 0.5, generator=generator)
            if module.bias is not None:
                module.bias.data.normal_(0, 0.1, generator=generator)
        elif isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return network.eval()


def inception_file(folder: Path, patch: pytest.MonkeyPatch) -> tuple[Path, Any]:
    """A file of Inception-v3 weights under the digits of its own digest, which linksim then expects; and
    pytorch-fid's network with these weights, of pixels (x - 128)/128 at 299 x 299.
    """
    from pytorch_fid import inception

    patch.setattr(inception, "load_state_dict_from_url", lambda *_, **__: network.state_dict())
    with pytest.MonkeyPatch.context() as alone:
        alone.setattr(nn.Module, "load_state_dict", lambda *_: None)
        alone.setattr(inception, "load_state_dict_from_url", lambda *_, **__: {})
        network = scaled(inception.fid_inception_v3(), 3)
    theirs = inception.InceptionV3([3], resize_input=False, normalize_input=False).eval()
    path = folder / "unnamed.pth"
    torch.save(network.state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    path = path.rename(folder / f"weights-inception-2015-12-05-{digest}.pth")
    backbone = replace(FEATURE_NETWORKS["inception"], url=f"https://host.invalid/{path.name}")
    patch.setitem(FEATURE_NETWORKS, "inception", backbone)
    return path, theirs


def vgg_file(folder: Path, patch: pytest.MonkeyPatch) -> Any:
    """A file of VGG16's feature layers, and the authors' DISTS with these weights and their own alpha and beta."""
    import DISTS_pytorch
    from DISTS_pytorch import DISTS_pt
    from torchvision.models.vgg import cfgs, make_layers

    features = scaled(make_layers(cfgs["D"]), 4).requires_grad_(False)
    torch.save(features.state_dict(), folder / "vgg16_features.pth")
    patch.setattr(DISTS_pt.models, "vgg16", lambda **_: SimpleNamespace(features=features))
    theirs = DISTS_pt.DISTS(load_weights=False)
    weights = torch.load(Path(DISTS_pytorch.__file__).with_name("weights.pt"), weights_only=True)
    theirs.alpha.data, theirs.beta.data = weights["alpha"], weights["beta"]
    return theirs.eval()


def clip_folder(folder: Path, model: str) -> Any:
    """A tiny CLIP in a folder as a hub has it, text encoder included."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    side = CLIP_SIDES[model]
    tiny = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**tiny, "vocab_size": 64, "bos_token_id": 1, "eos_token_id": 2},
        vision_config={**tiny, "image_size": side, "patch_size": 8, "projection_dim": 24},
        projection_dim=24,
    )
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = CLIPModel(config).eval()
    for part in network.vision_model.embeddings.parameters():
        part.data *= 20  # as it is initialised all pictures look the same
    place = folder / CLIP_MODELS[model].rsplit("/", 1)[1]
    network.save_pretrained(place)
    CLIPImageProcessor(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}
    ).save_pretrained(place)
    return network

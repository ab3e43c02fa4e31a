"""JSCC codecs in the format of DiffJSCC's authors: ``config.yaml`` and tensors of ``preprocess_model``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from channels.checks import complaint, shown
from linksim.files.bounded_yaml import load_yaml, read_text
from linksim.jscc import cnn_yang2024, swin_yang2024
from linksim.jscc.cnn_yang2024 import NUM_DOWN, CnnYang2024, CnnYang2024Config
from linksim.jscc.swin_yang2024 import SwinYang2024, SwinYang2024Config
from linksim.weights.pickle_reader import ModelFormatError, read_tensors
from linksim.weights.undrawn import shapes_only, undrawn

__all__ = [
    "AuthorsCodec",
    "AuthorsCodecConfig",
    "codec_from_authors",
    "load_authors_checkpoint",
    "make_codec",
    "names_of",
    "read_jscc_config",
]

AuthorsCodec = CnnYang2024 | SwinYang2024
AuthorsCodecConfig = CnnYang2024Config | SwinYang2024Config
PREFIX = "preprocess_model."
_CNN, _SWIN = "model.deepjscc_cnn.DeepJSCC", "model.deepjscc_swin.DeepJSCC_SWIN"


def make_codec(config: AuthorsCodecConfig) -> AuthorsCodec:
    """An untrained codec."""
    return CnnYang2024(config) if isinstance(config, CnnYang2024Config) else SwinYang2024(config)


def names_of(config: AuthorsCodecConfig) -> dict[str, str]:
    """Our tensor names to the authors', without their prefix."""
    if isinstance(config, CnnYang2024Config):
        return cnn_yang2024.authors_names(config)
    return swin_yang2024.authors_names(config)


def read_jscc_config(path: Path) -> AuthorsCodecConfig:
    """Sizes of the JSCC network in the authors' ``config.yaml``.

    Raises:
        ModelFormatError: missing, broken, or of another network.
    """
    try:
        settings: Any = load_yaml(read_text(path))
        jscc = settings["params"]["preprocess_config"]
        target, p = jscc["target"], jscc["params"]
        readers: dict[str, Callable[[dict[str, Any], Path], AuthorsCodecConfig]] = {_CNN: _cnn, _SWIN: _swin}
        if target not in readers:
            expected = " or ".join(readers)
            raise ModelFormatError(complaint(str(path), "another JSCC network", target, expected))
        return readers[target](p, path)
    except (
        OSError,
        RecursionError,
        yaml.YAMLError,
        LookupError,
        TypeError,
        ValueError,
        OverflowError,
    ) as problem:
        if isinstance(problem, ModelFormatError):
            raise
        expected = "the authors' config.yaml"
        raise ModelFormatError(complaint(str(path), "cannot be read", repr(problem), expected)) from None


def _require(settings: dict[str, Any], wanted: dict[str, object], path: Path, cure: str = "") -> None:
    wrong = {k: settings.get(k) for k, v in wanted.items() if settings.get(k, v) != v}
    if wrong:
        expected = {k: wanted[k] for k in wrong}
        raise ModelFormatError(complaint(str(path), "settings not supported", wrong, expected, cure))


_MOST_CHANNELS, _MOST_BLOCKS, _MOST_STAGES = 4096, 64, 8


def _size(p: dict[str, Any], name: str, most: int = _MOST_CHANNELS) -> int:
    """A whole number from 0 to ``most``: nothing that a file says makes a network of any size."""
    value = p[name]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise ValueError(f"{name}: got {shown(value)}, expected a whole number up to {most}")
    return value


def _ratio(p: dict[str, Any], name: str) -> float:
    value = float(p[name])
    if not 0 < value <= _MOST_BLOCKS:
        raise ValueError(f"{name}: got {value:g}, expected a number up to {_MOST_BLOCKS}")
    return value


def _cnn(p: dict[str, Any], path: Path) -> CnnYang2024Config:
    _require(p, {"norm": "batch", "n_downsample": NUM_DOWN, "input_nc": 3, "output_nc": 3}, path)
    return CnnYang2024Config(
        latent_channels=_size(p, "C_channel"),
        width=_size(p, "ngf"),
        max_width=_size(p, "max_ngf_E"),
        max_decoder_width=_size(p, "max_ngf_D"),
        blocks=_size(p, "n_blocks_E", _MOST_BLOCKS),
        decoder_blocks=_size(p, "n_blocks_D", _MOST_BLOCKS),
        csi="snr" if p["channel"] == "AWGN" else "snr_h",
    )


def _swin(p: dict[str, Any], path: Path) -> SwinYang2024Config:
    cure = "The authors' Swin decodes faded symbols that nobody equalised, without knowing the fade."
    _require(p, {"channel": "AWGN"}, path, cure)
    _require(p, {"patch_size": 2, "in_chans": 3, "qkv_bias": True, "qk_scale": None}, path)

    def sizes(name: str, most: int = _MOST_CHANNELS) -> tuple[int, ...]:
        if not isinstance(p[name], list | tuple) or len(p[name]) > _MOST_STAGES:
            raise ValueError(f"{name}: got {shown(p[name])}, expected a list of up to {_MOST_STAGES}")
        return tuple(_size({name: value}, name, most) for value in p[name])

    return SwinYang2024Config(
        latent_channels=_size(p, "bottleneck_dim"),
        widths=sizes("embed_dims"),
        depths=sizes("depths", _MOST_BLOCKS),
        heads=sizes("num_heads"),
        decoder_widths=sizes("embed_dims_d"),
        decoder_depths=sizes("depths_d", _MOST_BLOCKS),
        decoder_heads=sizes("num_heads_d"),
        window=_size(p, "window_size", _MOST_BLOCKS),
        mlp_ratio=_ratio(p, "mlp_ratio"),
        image_size=(_size(p, "img_size_h", 65536), _size(p, "img_size_w", 65536)),
    )


def load_authors_checkpoint(folder: Path) -> AuthorsCodec:
    """The JSCC codec inside a DiffJSCC checkpoint folder (config.yaml, model.ckpt).

    Raises:
        ModelFormatError: files missing, another network, tensors missing or misshapen.
    """
    config = read_jscc_config(folder / "config.yaml")  # first: it says which network the file should hold
    return codec_from_authors(config, read_tensors(folder / "model.ckpt"), folder / "model.ckpt")


def codec_from_authors(config: AuthorsCodecConfig, tensors: Mapping[str, Tensor], path: Path) -> AuthorsCodec:
    """The JSCC codec of a checkpoint whose tensors were read before.

    Raises:
        ModelFormatError: tensors missing, unknown or misshapen.
    """
    try:
        with shapes_only():  # nothing of its size is made before the tensors are known to fit
            codec = make_codec(config)
        names = names_of(config)
    except (ValueError, TypeError, RuntimeError, ArithmeticError, IndexError) as problem:
        where = str(path.with_name("config.yaml"))
        raise ModelFormatError(complaint(where, "sizes of no network", problem, "the authors'")) from None
    own = {k: v for k, v in codec.state_dict().items() if k in names}
    shapes = {k: tuple(v.shape) for k, v in tensors.items() if isinstance(v, Tensor)}
    problems = [names[k] for k, v in own.items() if shapes.get(PREFIX + names[k]) != tuple(v.shape)]
    known = {PREFIX + name for name in names.values()}
    is_swin = isinstance(config, SwinYang2024Config)
    problems += [
        k
        for k in shapes
        if k.startswith(PREFIX)
        and k not in known
        and not (is_swin and swin_yang2024.is_redundant(k.removeprefix(PREFIX)))
    ]
    if problems:
        some = ", ".join(problems[:5]) + (f" and {len(problems) - 5} more" if len(problems) > 5 else "")
        expected = f"the {len(own)} tensors of {PREFIX}*"
        raise ModelFormatError(complaint(str(path), "tensors missing, unknown or misshapen", some, expected))
    with undrawn():
        codec = make_codec(config)
    state = codec.state_dict()  # keeps the position numbers that follow from the sizes
    codec.load_state_dict(state | {k: tensors[PREFIX + names[k]] for k in own})
    return codec.eval().requires_grad_(False)

"""Themes of ``linksim new``: scenarios of the library at a size that a laptop runs in less than a minute."""

from __future__ import annotations

import difflib
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from channels.checks import complaint
from channels.runtime.cache import expanded
from linksim.kinds import foreign, load_file, unregister
from linksim.scenario.errors import ScenarioError
from linksim.scenario.files import load_any
from linksim.scenario.overrides import set_path
from linksim.scenario.reading import find_scenario, read_mapping
from linksim.scenario.starting.comments import commented
from linksim.scenario.sweeps import as_written

__all__ = ["THEMES", "Theme", "theme_text", "write_theme"]

_TWO = {"kind": "skimage", "names": ["coffee", "chelsea"], "crop": 256}
_BPG = {"codec": "bpg", "chroma": "420"}
_LEARNED = {"kind": "jscc", "name": "learned", "checkpoint": "dial", "realism": 0.0, "csit": "average_snr"}
_SEPARATE = {"kind": "separation", "name": "BPG + LDPC", "source": _BPG, "mcs": "adaptive"}
_METRICS = ["psnr", "ms_ssim", "bler", "outage"]
_SMALL = {
    "images": _TWO,
    "schemes": [_LEARNED, _SEPARATE],
    "metrics": _METRICS,
    "panel": {"images": 2},
}


@dataclass(frozen=True)
class Theme:
    """What a scenario is about.

    Args:
        about: in one line.
        scenario: of the library, that it is made from.
        changes: values by path, in their order.
        command: that runs it.
        code: bundled Python file that it needs; empty for none.
    """

    about: str
    scenario: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    command: str = "simulate"
    code: str = ""


THEMES: Mapping[str, Theme] = {
    "awgn": Theme(
        "learned and separate coding over additive noise, beside a bound",
        "awgn/awgn-1-96",
        {
            **_SMALL,
            "schemes": [_LEARNED, _SEPARATE, {"kind": "capacity_bound", "name": "bound", "source": _BPG}],
            "sweep": {"snr_db": [0, 5, 10, 15], "trials": 2},
        },
    ),
    "fading": Theme(
        "one Rayleigh fade per picture, with known and with estimated gain",
        "fading/block-rayleigh",
        {**_SMALL, "sweep": {"snr_db": [5, 15], "trials": 4}},
    ),
    "ofdm": Theme(
        "OFDM on TDL-C with least-squares estimates from pilots",
        "ofdm/ofdm-tdlc-ls",
        {**_SMALL, "sweep": {"snr_db": [5, 10, 15], "trials": 2}},
    ),
    "mimo": Theme(
        "two transmit antennas with Alamouti's code against one",
        "mimo/alamouti",
        {**_SMALL, "sweep": {"snr_db": [5, 15], "trials": 2}},
    ),
    "mobility": Theme(
        "the same link at several speeds",
        "mobility/speed",
        {**_SMALL, "sweep": {"snr_db": [15], "channel.model.speed_mps": [1, 30, 80], "trials": 2}},
    ),
    "csi": Theme(
        "the same fades with perfect, LMMSE and least-squares channel knowledge",
        "csi/csi-quality",
        {**_SMALL, "sweep": {"snr_db": [10], "channel.csi.kind": ["perfect", "lmmse", "ls"], "trials": 2}},
    ),
    "impairments": Theme(
        "phase noise and a carrier offset of the oscillator",
        "impairments/oscillator",
        {
            **_SMALL,
            "sweep": {
                "snr_db": [20],
                "channel.impairments.0.linewidth_hz": [0.0, 100.0, 1000.0],
                "trials": 1,
            },
            "metrics": ["psnr", "evm", "bler", "outage"],
        },
    ),
    "38901": Theme(
        "places all over an urban micro cell of TR 38.901",
        "38901/umi",
        {**_SMALL, "sweep": {"snr_db": [10, 20], "trials": 2}},
    ),
    "separation": Theme(
        "BPG + LDPC with fixed and with adaptive MCS, beside its bound",
        "separation/staircase",
        {
            "images": _TWO,
            "sweep": {"snr_db": [0, 4, 8, 12], "trials": 1},
            "schemes": [
                {"kind": "separation", "name": "MCS", "mcs": [2, 8, 14]},
                {"kind": "separation", "name": "adaptive"},
                {"kind": "capacity_bound", "name": "BPG + capacity"},
            ],
        },
    ),
    "learned": Theme(
        "the bundled network from fidelity to realism, with its diffusion",
        "quickstart",
        {
            "images": _TWO,
            "sweep": {"snr_db": [5, 15], "trials": 1},
            "metrics": _METRICS,
            "panel": {"images": 2},
        },
    ),
    "tasks": Theme(
        "QR codes in the pictures: from what SNR on they are decoded",
        "tasks/qr",
        {
            "images.count": 4,
            "sweep": {"snr_db": [-1, 0, 1, 2, 4], "trials": 1},
            "schemes": [_LEARNED, _SEPARATE],
            "metrics": ["qr_decoded", "psnr", "bler"],
        },
    ),
    "robustness": Theme(
        "a transmitter that is told a wrong SNR",
        "robustness/told-snr",
        {
            **_SMALL,
            "sweep": {
                "snr_db": [7],
                "channel.told.transmitter.offset_db": [-6.0, -3.0, 0.0, 1.0, 3.0],
                "trials": 2,
            },
        },
    ),
    "theory": Theme(
        "bit error rates of uncoded QPSK with several antennas, to be held against closed forms",
        "theory/diversity",
        {"images.names": ["coffee"], "images.crop": 128, "sweep": {"snr_db": [0, 4, 8, 12], "trials": 40}},
    ),
    "train": Theme(
        "a training of the small network, for half a minute",
        "train/lean-awgn-1-96-start",
        {
            "images": {"kind": "skimage", "multiple_of": 1},
            "train.crop": 128,
            "train.batch_size": 4,
            "train.steps": 3050,
            "train.time_budget_s": 30.0,
            "train.validation_images": 2,
        },
        command="train",
    ),
    "own-method": Theme(
        "a scheme of your own in a Python file beside the scenario",
        "awgn/awgn-1-96",
        {
            **_SMALL,
            "bandwidth": {"data_ratio": "1/96"},
            "sweep": {"snr_db": [0, 5, 10, 15], "trials": 2},
            "schemes": [{"kind": "own_method", "name": "own method", "block": 8}, _SEPARATE],
        },
        code="own_method.py.txt",
    ),
}


def _asset(code: str) -> Path:
    return Path(__file__).parents[2] / "assets" / code


def theme_text(name: str, file: Path) -> str:
    """The commented scenario of a theme.

    Args:
        name: of :data:`THEMES`.
        file: that it will be, for its name and comments.

    Raises:
        ScenarioError: no such theme.
    """
    theme = _theme(name)
    data = as_written(read_mapping(find_scenario(theme.scenario)))
    for path, value in theme.changes.items():
        set_path(data, path, as_written(value))
    data["name"] = re.sub(r"[^A-Za-z0-9 ._+-]", "-", file.stem).lstrip(" ._+-")[:60] or name
    data["question"] = data["question"] if not theme.code else "How does my method compare?"
    own = f" --with {file.with_suffix('.py').name}" if theme.code else ""
    head = (
        f"{theme.about[0].upper()}{theme.about[1:]}.\n"
        f"linksim check {file.name}{own} says what it costs,\n"
        f"linksim {theme.command} {file.name}{own} runs it.\n"
        f"Made from {theme.scenario} of the library, smaller. Comments name what else can be written; lines\n"
        "with a key right behind # are fields that are left out, with the value that they have then."
    )
    with _known(theme.code):
        return commented(data, load_any(data), head)


@contextmanager
def _known(code: str) -> Iterator[None]:
    """The kinds of a bundled Python file are known meanwhile."""
    if not code:
        yield
        return
    before = {(found.family, found.name) for found in foreign()}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / code.removesuffix(".txt")
        file.write_text(_asset(code).read_text(encoding="utf-8"), encoding="utf-8")
        load_file(file)
        try:
            yield
        finally:
            for family, name in {(found.family, found.name) for found in foreign()} - before:
                unregister(family, name)


def _theme(name: str) -> Theme:
    if name not in THEMES:
        close = difflib.get_close_matches(name, THEMES, n=1)
        cure = f"Did you mean {close[0]}?" if close else '"linksim new" lists them.'
        raise ScenarioError(complaint("theme", "unknown", name, f"one of {', '.join(THEMES)}", cure))
    return THEMES[name]


def write_theme(name: str, out: str | Path) -> list[Path]:
    """Write the scenario of a theme, and the Python file that it needs; the paths.

    Args:
        name: of :data:`THEMES`.
        out: new file; a Python file has the same name.

    Raises:
        ScenarioError: no such theme, a file that is there, or one that cannot be written.
    """
    theme = _theme(name)
    path = expanded("--out", str(out))
    if path.suffix not in (".yaml", ".yml"):
        cure = f"Give {path.stem or name}.yaml."
        raise ScenarioError(complaint("--out", "another name", path, "a name that ends in .yaml", cure))
    files = {path: ""}
    if theme.code:
        files = {path.with_suffix(".py"): _asset(theme.code).read_text(encoding="utf-8"), path: ""}
    for file in files:
        if file.exists():
            cure = "Give another --out; nothing was written."
            raise ScenarioError(complaint("--out", "already there", file, "a new file", cure))
    files[path] = theme_text(name, path)
    return [_written(file, text) for file, text in files.items()]


def _written(file: Path, text: str) -> Path:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as problem:
        got = problem.strerror or str(problem)
        raise ScenarioError(complaint(f"--out {file}", "cannot be written", got, "a new file")) from None
    return file

"""Mistakes of people who bring their own kinds: one line that names kind, file and what was expected, exit code 2 before
a run and 1 within it, and nothing written that no reader takes.
"""

from __future__ import annotations

import re
import textwrap

import pytest

import linksim
from channels import kinds
from linksim.cli.commands import main

HEAD = """
import math, torch, linksim, numpy as np
from dataclasses import dataclass
from channels import seeding
from channels.base import ChannelOperator
from channels.types import *
from linksim.schemes.base import *
from linksim.schemes.base import all_ok

@dataclass(frozen=True)
class D(Draw):
    h: torch.Tensor
    noise: torch.Tensor

class Op(ChannelOperator):
    def uses(self, n): return ChannelUses(data=n)
    def draw(self, n, seeds):
        rows = [seeding.complex_normal((n,), seeding.generator(s), self.cdtype) for s in seeds]
        return D(torch.ones(len(seeds), n, dtype=self.cdtype), torch.stack(rows))
    def propagate(self, x, draw, no): return draw.h * x + no.sqrt() * draw.noise
    def observe(self, y, draw, no): return Received(y, Csi(draw.h, no, torch.zeros_like(no)), self.uses(y.shape[1]))
    def gain(self, draw, no): return draw.h

class S:
    csit = "none"
    def __init__(self, name): self.name = name
    def check(self, height, width, budget): pass
    def transmit(self, image, budget, csit):
        return Frame(torch.ones(len(image), budget, dtype=torch.complex64), tuple(image.shape[2:]))
    def receive(self, received, layout, seeds):
        return Reconstruction(torch.full((len(received.y), 3, *layout), 0.5), all_ok(len(received.y)))
"""
CHANNEL = '''
class O(Op):
    BODY
@linksim.kind("channel", "bad")
class Bad(linksim.ChannelBase):
    """x"""
    def build(self, context): BUILD
'''
SCHEME = '''
class T(S):
    BODY
@linksim.kind("scheme", "bad")
class Bad(linksim.SentSchemeBase):
    """x"""
    def build(self, context): BUILD
'''
METRIC = '''
@linksim.kind("metric", "bad")
class Bad(linksim.BASE):
    """x"""
    BODY
'''
CODEC = '''
import io
from PIL import Image
@linksim.kind("source_codec", "bad")
@dataclass(frozen=True)
class Bad:
    """x"""
    a: int = 1
    name, version, qualities = "bad", "1", QUALITIES
    def refusal(self, size): return ""
    def encode(self, rgb, quality):
        ENCODE
        out = io.BytesIO(); Image.fromarray(rgb).save(out, "JPEG", quality=quality); return out.getvalue()
    def decode(self, data, expected):
        DECODE
        return np.array(Image.open(io.BytesIO(data)).convert("RGB"))
'''
NETWORK = '''
class Net(BASE):
    block = 16
@linksim.kind("network", "bad")
class Bad(linksim.NetworkBase):
    """x"""
    def build(self): return Net()
'''
MODEL = '''
from typing import ClassVar
from channels.models.tdl import TdlModel
class M(TdlModel):
    BODY
@linksim.kind("delay_model", "bad")
class Bad(linksim.DelayModelBase):
    """x"""
    moves: ClassVar[bool] = False
    needs_path_loss: ClassVar[bool] = NEEDS
    def build(self, context): BUILD
'''
ESTIMATOR = '''
from channels.ofdm.estimators.ls import LsEstimator
class E(LsEstimator):
    BODY
@linksim.kind("estimator", "bad")
class Bad(linksim.EstimatorBase):
    """x"""
    def estimator(self, grid, statistics, pilots): BUILD
'''
IMAGES = '''
@linksim.kind("images", "bad")
class Bad(linksim.ImagesBase):
    """x"""
    def build(self): BUILD
'''
INFO = 'info = linksim.MetricInfo("bad", "1", False, "here")\n'
BASE = """
schema_version: 1
name: mistakes
images: {kind: skimage, names: [coffee], crop: 64}
bandwidth: {data_ratio: 1/48}
channel: {kind: awgn}
sweep: {snr_db: [10], trials: 1}
schemes: [{kind: linear_analog, name: l}]
metrics: [psnr]
"""
USES = {
    "channel": ["channel={kind: bad}"],
    "scheme": ["schemes=[{kind: bad, name: s}]"],
    "metric": ["metrics=[psnr, bad]"],
    "source_codec": [
        "schemes=[{kind: separation, name: s, mcs: 5, source: {codec: bad}}]",
        "bandwidth.data_ratio=1/4",
    ],
    "images": ["images={kind: bad}"],
    "delay_model": ["channel={kind: ofdm, model: {kind: bad}}"],
    "link_budget": [
        "channel={kind: ofdm, model: {kind: bad}, link_budget: {transmit_power_dbm: 20}}",
        "sweep={trials: 1}",
        "schemes.l.csit=instantaneous_snr",
    ],
    "estimator": ["channel={kind: ofdm, model: {kind: tdl, profile: A10}, csi: {kind: bad}}"],
}


def channel(body: str = "pass", build: str = "return O(device=context.device)") -> str:
    return HEAD + filled(CHANNEL, BODY=body, BUILD=build)


def scheme(body: str = "pass", build: str = "return T(self.name)") -> str:
    return HEAD + filled(SCHEME, BODY=body, BUILD=build)


def metric(body: str, base: str = "ImageMetric") -> str:
    return HEAD + filled(METRIC, BODY=body, BASE=base)


TAPS = 'return M("A", delay_spread_s=1e-7, carrier_hz=context.carrier_hz)'


def model(body: str = "pass", build: str = TAPS, needs: str = "True") -> str:
    return HEAD + filled(MODEL, BODY=body, BUILD=build, NEEDS=needs)


def estimator(body: str = "pass", build: str = "return E(grid, statistics, pilots)") -> str:
    return HEAD + filled(ESTIMATOR, BODY=body, BUILD=build)


def codec(qualities: str = "(80, 20, 1)", encode: str = "pass", decode: str = "pass") -> str:
    return HEAD + filled(CODEC, QUALITIES=qualities, ENCODE=encode, DECODE=decode)


def filled(text: str, **parts: str) -> str:
    for name, part in parts.items():
        lines = textwrap.dedent(part).strip().splitlines()
        text = text.replace(name, f"\n{'    '}".join(lines))
    return text


def transmit(symbols: str = "torch.ones(len(image), budget, dtype=torch.complex64)", rest: str = "") -> str:
    return f"def transmit(self, image, budget, csit): return Frame({symbols}, tuple(image.shape[2:]){rest})"


SHOWS = "def receive(self, r, layout, seeds): return "
DRAWS = "def draw(self, n, seeds): d = super().draw(n, seeds); return "
SEES = "def observe(self, y, draw, no): return "
NAN = "def propagate(self, x, draw, no): return super().propagate(x, draw, no) * math.nan"
NO_FRAME = "def transmit(self, image, budget, csit): return None"

# name: family, file, what the line says; all found before the run
BEFORE = {
    "channel: build raises": ("channel", channel(build='raise RuntimeError("lib missing")'), "RuntimeError: lib missing"),
    "channel: build gives nothing": ("channel", channel(build="return None"), "built something else, got None, expected build(context) -> channels.base.ChannelOperator"),
    "channel: build without context": ("channel", channel().replace("build(self, context): return O(device=context.device)", "build(self): return O()"), "expected build(context) ->"),
    "channel: methods missing": ("channel", channel("pass").replace("class O(Op)", "class O(ChannelOperator)"), "TypeError: Can't instantiate abstract class O"),
    "channel: KeyError in draw": ("channel", channel('def draw(self, n, seeds): return {}["a"]'), "failed, got KeyError: 'a'"),
    "channel: a tensor for a draw": ("channel", channel("def draw(self, n, seeds): return torch.ones(len(seeds), n)"), "draw: no draw, got a Tensor, expected a channels.types.Draw"),
    "channel: symbols lost": ("channel", channel(SEES + "Received(y[:, :-3], Csi(draw.h, no, 0 * no), self.uses(5))"), "observe: y: wrong shape, got [2, 253], expected [2, 256]"),
    "channel: noise without a column": ("channel", channel(SEES + "Received(y, Csi(draw.h, no[:, 0], 0 * no), self.uses(y.shape[1]))"), "csi.no: wrong shape, got [2], expected [2, 1] or [2, 256]"),
    "channel: own randomness": ("channel", channel(DRAWS + "D(d.h, torch.randn_like(d.noise))"), "draw: not a function of the seeds"),
    "channel: one frame for all seeds": ("channel", channel(DRAWS + "D(d.h, torch.zeros_like(d.noise))"), "draw: ignores the seeds"),
    "channel: values that are none": ("channel", channel(NAN), "observe: y: not finite"),
    "channel: uses": ("channel", channel("def uses(self, n): return ChannelUses(data=1)"), "uses: wrong number, got ChannelUses(data=1"),
    "scheme: build raises": ("scheme", scheme(build="return T()"), "TypeError: S.__init__() missing 1 required positional argument: 'name'"),
    "scheme: half written": ("scheme", scheme("receive = property()"), "half written, got T without receive"),
    "scheme: no name": ("scheme", scheme("def __init__(self, name): pass"), "half written, got T without name"),
    "scheme: unknown csit": ("scheme", scheme("csit = None"), "csit: unknown, got None, expected 'none'"),
    "scheme: told another thing": ("scheme", scheme('csit = "perfect"'), "csit: differs from the description, got 'perfect' of the scheme, expected 'none'"),
    "scheme: KeyError in check": ("scheme", scheme('def check(self, h, w, b): {}["a"]'), "with image coffee: kind bad of own.py, line 34: failed, got KeyError: 'a'"),
    "scheme: check answers": ("scheme", scheme("def check(self, h, w, b): return False"), "check: answers, got False returned, expected a ValueError raised"),
    "scheme: no frame": ("scheme", scheme(NO_FRAME), "transmit: no frame, got NoneType"),
    "scheme: power": ("scheme", scheme(transmit("2 * torch.ones(len(image), budget, dtype=torch.complex64)")), "mean power of x is 4"),
    "scheme: too few symbols": ("scheme", scheme(transmit("torch.ones(len(image), 7, dtype=torch.complex64)")), "symbols: wrong shape, got (1, 7), expected (1, 256)"),
    "scheme: negative side information": ("scheme", scheme(transmit(rest=", side_info_bits=-900")), "side_info_bits: no number of bits, got -900"),
    "scheme: half a bit": ("scheme", scheme(transmit(rest=", side_info_bits=1.5")), "side_info_bits: no number of bits, got 1.5"),
    "scheme: the picture in the layout": ("scheme", scheme(transmit().replace("tuple(image.shape[2:])", "image") + f"\n{SHOWS}Reconstruction(layout, all_ok(len(r.y)))"), "layout: tells of the picture, got 12288 values that differ"),
    "scheme: a tensor shown": ("scheme", scheme(SHOWS + "torch.zeros(1)"), "receive: no reconstruction, got Tensor"),
    "scheme: another size shown": ("scheme", scheme(SHOWS + "Reconstruction(torch.zeros(len(r.y), 3, 32, 32), all_ok(len(r.y)))"), "image: wrong shape, got [1, 3, 32, 32], expected [1, 3, 64, 64]"),
    "scheme: states": ("scheme", scheme(SHOWS + 'Reconstruction(torch.zeros(len(r.y), 3, *layout), ("ok",) * 3)'), "states: wrong number, got 3, expected 1"),
    "scheme: KeyError in receive": ("scheme", scheme(SHOWS + '{}["x"]'), "failed, got KeyError: 'x'"),
    "metric: no info": ("metric", metric("def __call__(self, a, b): return torch.zeros(len(a))"), 'got no info, expected info = linksim.MetricInfo("bad"'),
    "metric: another name": ("metric", metric(INFO.replace('"bad"', '"good"') + "def __call__(self, a, b): return torch.zeros(1)"), "another name, got info.name 'good'"),
    "metric: an argument": ("metric", metric(INFO + "def __init__(self, q): pass\ndef __call__(self, a, b): pass"), "TypeError: Bad.__init__() missing 1 required positional argument: 'q', expected a class without arguments"),
    "metric: a package that is not there": ("metric", metric(INFO + "def __init__(self): import nolib\ndef __call__(self, a, b): pass"), "ModuleNotFoundError: No module named 'nolib'"),
    "metric of sets: no features": ("metric", metric(INFO + "def features(self, image): pass", "SetMetric"), "info.features: no name, got ''"),
    "metric of sets: no distance": ("metric", metric(INFO.replace('"here"', '"here", features="f", distance="kid"') + "def features(self, image): pass", "SetMetric"), "expected one of polynomial_mmd"),
    "codec: no qualities": ("source_codec", codec("()"), "qualities: no whole numbers, got ()"),
    "codec: fractions": ("source_codec", codec("(0.5, 0.1)"), "qualities: no whole numbers, got (0.5, 0.1)"),
    "codec: small streams first": ("source_codec", codec("(1, 20, 80)"), "expected from the largest streams to the smallest"),
    "codec: KeyError in encode": ("source_codec", codec(encode='{}["x"]'), "failed, got KeyError: 'x'"),
    "codec: a text for a stream": ("source_codec", codec(encode='return "x"'), "encode: no stream, got a str, expected bytes"),
    "codec: another shape": ("source_codec", codec(decode="return np.zeros((3, *expected), np.uint8)"), "decode: no picture, got uint8 [3, 64, 64]"),
    "codec: floats": ("source_codec", codec(decode="return np.zeros((*expected, 3))"), "decode: no picture, got float64 [64, 64, 3]"),
    "model: build raises": ("delay_model", model(build='raise OSError("no file")'), "failed, got OSError: no file"),
    "model: build gives nothing": ("delay_model", model(build="return None"), "expected build(context) -> channels.models.base.DelayModel"),
    "model: half written": ("delay_model", model(build="return object()"), "expected build(context) -> channels.models.base.DelayModel"),
    "model: paths lost": ("delay_model", model("def __call__(self, *a, **k): h, t = super().__call__(*a, **k); return h[..., 0], t"), "expected build(context) -> channels.models.base.DelayModel"),
    "model: no mean power": ("link_budget", model(needs="False"), "mean_power: missing, got None"),
    "model: power in decibels": ("link_budget", model("mean_power = -80.0", needs="False"), "mean_power: wrong, got -80"),
    "estimator: none": ("estimator", estimator(build="return None"), "expected estimator(grid, statistics, pilots) -> channels.ofdm.estimators.base.GainEstimator"),
    "estimator: KeyError": ("estimator", estimator(build='return {}["x"]'), "failed, got KeyError: 'x'"),
    "estimator: weights lost": ("estimator", estimator("def read_weights(self, i): p, w = super().read_weights(i); return p, w[..., :-1]"), "failed, got RuntimeError"),
    "images: build raises": ("images", HEAD + filled(IMAGES, BUILD='raise OSError("no disk")'), "failed, got OSError: no disk"),
    "images: build gives nothing": ("images", HEAD + filled(IMAGES, BUILD="return None"), "images: kind bad of own.py, line 36: built something else, got None"),
}  # fmt: skip

COUNTS = ["schemes=[{kind: uncoded, name: s, bits_per_symbol: 2}]", *USES["metric"]]
PAIR = [*USES["metric"], "images.names=[coffee, astronaut]"]
FACTS = INFO.replace('"here"', '"here", features="f", distance="polynomial_mmd"')
# name: changes, file, what the line says; found within the run
WITHIN = {
    "metric: KeyError": (USES["metric"], metric(INFO + 'def __call__(self, a, b): return {}["x"]'), "failed: kind bad of own.py, line 37: KeyError: 'x'"),
    "metric: not a number": (USES["metric"], metric(INFO + "def __call__(self, a, b): return torch.full((len(a),), math.nan)"), "metric bad of image coffee, trial 0: got nan"),
    "metric: a picture for a value": (USES["metric"], metric(INFO + "def __call__(self, a, b): return a - b"), "metric bad: wrong shape, got a tensor [1, 3, 64, 64], expected [1], one per image"),
    "metric of links: short": (USES["metric"], metric(INFO + "def __call__(self, s, r, c, d): return torch.zeros(0)", "LinkMetric"), "metric bad: wrong shape, got 0 values, expected 1"),
    "metric of links: one for all": (USES["metric"], metric(INFO + "def __call__(self, s, r, c, d): return torch.tensor(1.0)", "LinkMetric"), "metric bad: wrong shape"),
    "counts: a share": (COUNTS, metric(INFO + "def __call__(self, a, b): return (a != b).float().mean(1), torch.ones(len(a))", "CountMetric"), "metric bad: unfit for a record, got 0.0, expected a valid integer"),
    "counts: more errors than trials": (COUNTS, metric(INFO + "def __call__(self, a, b): return torch.full((len(a),), 3), torch.ones(len(a)).long()", "CountMetric"), "metric bad: unfit for a record"),
    "features: one dimension": (PAIR, metric(FACTS + "def features(self, image): return np.zeros(3, np.float16)", "SetMetric"), "metric bad: no features, got float16 [3], expected finite floats [n, d]"),
    "scheme: a tensor in info": (USES["scheme"], scheme(transmit(rest=', info=({"p": torch.tensor(1.0)},) * len(image)')), "scheme s: info.p: unfit, got tensor(1.) (Tensor), expected a finite number or a text. Use float"),
    "scheme: fails later": (USES["scheme"], scheme("times = 0\ndef receive(self, r, layout, seeds):\n    T.times += 1\n    return super().receive(r, layout, seeds) if T.times < 2 else {}['x']"), "KeyError: 'x'"),
}  # fmt: skip


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Writes own.py and scenario, and forgets the kinds after the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LINKSIM_CACHE", str(tmp_path / "cache"))
    before = {(k.family, k.name) for k in kinds.foreign()}

    def write(code: str, scenario: str = BASE) -> None:
        (tmp_path / "own.py").write_text(code)
        (tmp_path / "x.yaml").write_text(scenario)

    yield write
    for family, name in {(k.family, k.name) for k in kinds.foreign()} - before:
        kinds.unregister(family, name)


def command(name: str, changes: list[str], *more: str) -> int:
    sets = [word for change in changes for word in ("--set", change)]
    return main([name, "x.yaml", "--with", "own.py", *sets, *more])


def line_of(capsys) -> str:
    """The one line on stderr that says what is wrong."""
    lines = [
        line for line in capsys.readouterr().err.splitlines() if line and not re.match(r"images: \d", line)
    ]
    assert not any(line.startswith("Traceback") for line in lines)
    wrong = [line for line in lines if " units" not in line or "failed" in line]
    assert len(wrong) == 1, lines
    return wrong[0]


@pytest.mark.parametrize("case", BEFORE)
def test_found_before_a_run(own, capsys, tmp_path, case):
    family, code, expected = BEFORE[case]
    own(code)
    changes = PAIR if case.startswith("metric of sets") else USES[family]
    assert command("check", changes) == 2
    line = line_of(capsys)
    assert expected in line
    assert "kind bad of own.py, line " in line
    assert command("simulate", changes, "--out", "run", "--workers", "1") == 2
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("case", WITHIN)
def test_found_within_a_run(own, capsys, tmp_path, case):
    changes, code, expected = WITHIN[case]
    own(code)
    assert command("simulate", changes, "--out", "run", "--no-report", "--workers", "1") == 1
    line = line_of(capsys)
    assert expected in line
    assert line.endswith("(--verbose shows where; the same command resumes)")
    assert (tmp_path / "run" / "records.jsonl").read_bytes() == b""


def test_the_same_in_python(own, tmp_path):
    own(HEAD)
    code: dict = {"__name__": "notebook"}
    exec(compile(channel('def draw(self, n, seeds): return {}["a"]'), "cell", "exec"), code)
    with pytest.raises(linksim.USER_ERRORS, match=r"channels\.bad: kind bad.*KeyError: 'a'"):
        linksim.simulate("x.yaml", {"channel": {"kind": "bad"}}, progress=False)
    with pytest.raises(linksim.USER_ERRORS, match="KeyError: 'a'"):
        linksim.check("x.yaml", {"channel": {"kind": "bad"}})


def test_built_in_kinds_keep_raising(own, monkeypatch):
    """A fault of linksim stays visible."""
    from channels.flat.awgn import AwgnChannel

    def broken(self, num_symbols, seeds):
        raise KeyError("ours")

    own(channel())
    monkeypatch.setattr(AwgnChannel, "draw", broken)
    with pytest.raises(KeyError, match="ours"):
        command("check", [])


def test_a_channel_of_another_power_is_said(own, capsys):
    own(channel(DRAWS + "D(5 * d.h, d.noise)"))
    assert command("check", USES["channel"]) == 0
    assert "mean |h|^2: not 1, got 25 +/- " in capsys.readouterr().err
    own(channel())
    assert command("check", USES["channel"]) == 0
    assert capsys.readouterr().err == ""


def test_a_delay_model_of_another_power_is_said(own, capsys):
    louder = "def __call__(self, *a, **k): h, t = super().__call__(*a, **k); return 3 * h, t"
    for body, told in (
        (louder, r"kind bad .* mean \|h\|\^2: not 1, got [89]\.\d+ \+/- 0\.\d+ over 400 draws"),
        ("pass", "^$"),
    ):
        own(model(body))
        assert command("check", USES["delay_model"]) == 0
        assert re.search(told, capsys.readouterr().err)


def test_side_information_that_is_paid_for_is_no_fault(own, capsys):
    """A scale of the picture in the layout, with its bits counted."""
    sends = transmit(rest=", side_info_bits=6").replace(
        "tuple(image.shape[2:])", "(*image.shape[2:], image.mean())"
    )
    own(scheme(f"{sends}\n{SHOWS}super().receive(r, layout[:2], seeds)"))
    assert command("check", USES["scheme"]) == 0
    own(scheme(f"{sends.replace('=6', '=0')}\n{SHOWS}super().receive(r, layout[:2], seeds)"))


def test_fields_that_cannot_be_keys(own):
    """Lists in the fields of a codec, and of a channel under a bound."""
    text = codec().replace("a: int = 1", "a: list[int] = None")
    own(text)
    changes = [
        USES["source_codec"][0].replace("codec: bad", "codec: bad, a: [1, 2]"),
        USES["source_codec"][1],
    ]
    assert command("check", changes) == 0


TRAIN = """
schema_version: 1
name: mistakes
images: {kind: skimage, crop: 64}
train:
  codec: {kind: CODEC}
  channel: {kind: CHANNEL}
  snr_db: {low: 5, high: 15}
  crop: 64
  batch_size: 2
  steps: 3
  validation_images: 1
  optimizer: {learning_rate: 1.0e-3, warmup_steps: 1}
"""


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("torch.nn.Module", "half written, got Net without num_symbols, layout, encode, decode"),
        ("object", "built something else, got a Net"),
    ],
)
@pytest.mark.parametrize("name", ["check", "train"])
def test_networks_are_tried_when_a_training_begins(own, capsys, name, base, expected):
    own(HEAD + filled(NETWORK, BASE=base), TRAIN.replace("CODEC", "bad").replace("CHANNEL", "awgn"))
    assert command(name, []) == 2
    line = line_of(capsys)
    assert "codec bad: kind bad of own.py, line " in line
    assert expected in line


def test_a_channel_that_fails_within_a_training(own, capsys):
    later = "times = 0\ndef draw(self, n, seeds):\n    O.times += 1\n    return super().draw(n, seeds) if O.times < 2 else {}['x']"
    own(channel(later), TRAIN.replace("{kind: CODEC}", "{kind: lean, latent_channels: 2, width_8: 8, width_16: 8, klt_start: false}").replace("CHANNEL", "bad"))  # fmt: skip
    assert command("train", [], "--out", "training") == 1
    line = line_of(capsys)
    assert "of the training failed: kind bad of own.py, line " in line
    assert "KeyError: 'x'" in line

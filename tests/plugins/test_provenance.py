"""Other code gives other results, and is never taken for the code that a run, a training, a table or a stream
was made with.
"""

from __future__ import annotations

import csv
import os
import pickle
import py_compile
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from PIL import Image

from channels.hardware.impairment import Impairment
from channels.kinds import KindError, find, foreign, load_file, names, register, unregister
from linksim.build.channels import calibration_key
from linksim.build.objects import build_metrics
from linksim.cli import main
from linksim.kinds.schemes.separation import SeparationSpec
from linksim.scenario.files import load_scenario, scenario_hash
from tests.contracts.kind_checks import picture

CODEC = '''
import io
from dataclasses import dataclass
import numpy as np
from PIL import Image
import linksim

@linksim.kind("source_codec", "grey_png")
@dataclass(frozen=True)
class GreyPng:
    """PNG of few colours; name and version say nothing of the field, nor of the code."""

    grey: bool = False
    name = "png"
    version = "1"
    qualities = (64, 8, 2)

    def refusal(self, size):
        return ""

    def encode(self, rgb, quality):
        shown = Image.fromarray(rgb).convert("L" if self.grey else "RGB").convert("RGB")
        out = io.BytesIO()
        shown.quantize(quality).point(lambda v: v)CHANGE.save(out, "PNG", optimize=True)
        return out.getvalue()

    def decode(self, data, expected):
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
'''.replace(".point(lambda v: v)CHANGE", "CHANGE")
CODED = """
name: coded
images: {kind: folder, path: pictures}
bandwidth: {data_ratio: 1/2}
channel: {kind: awgn}
sweep: {snr_db: [30], schemes.png.source.grey: [false, true]}
schemes: [{kind: separation, name: png, mcs: 25, source: {codec: grey_png, resolutions: full}}]
metrics: [psnr]
"""
CHANNEL = '''
import linksim
from channels.awgn import AwgnChannel
IMPORTS

class Padded(AwgnChannel):
    margin = MARGIN

@linksim.kind("channel", "padded")
class PaddedKind(linksim.ChannelBase):
    """Noise."""

    sigma: int = 3

    def build(self, context):
        return Padded(device=context.device, precision=context.precision)
'''
PLAIN = """
name: plain
images: {kind: folder, path: pictures}
bandwidth: {data_ratio: 1/96}
channel: {kind: padded}
sweep: {snr_db: [10]}
schemes: [{kind: jscc, name: lean, checkpoint: lean-awgn-1-96}]
metrics: [psnr]
"""
TRAIN = """
name: training
images: {kind: folder, path: pictures, multiple_of: 1}
train:
  codec: {kind: lean, latent_channels: 4, width_8: 8, width_16: 8, klt_start: false}
  channel: {kind: padded}
  snr_db: {low: 5, high: 15}
  crop: 32
  batch_size: 2
  steps: STEPS
  validation_images: 1
  optimizer: {learning_rate: 1.0e-3, warmup_steps: 1}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with pictures and a cache of its own; kinds of the test are forgotten after it."""
    monkeypatch.setenv("LINKSIM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "pictures").mkdir()
    for i in range(2):
        Image.fromarray(picture(96, i)).save(tmp_path / "pictures" / f"{i}.png")
    before = {(k.family, k.name) for k in foreign()}
    yield tmp_path
    for found in foreign():
        if (found.family, found.name) not in before:
            unregister(found.family, found.name)


def write(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def means(run: Path) -> list[float]:
    with (run / "results.csv").open() as file:
        return [float(row["mean"]) for row in csv.DictReader(file) if row["metric"] == "psnr"]


def test_streams_of_another_codec_are_not_found_again(here):
    """Two processes code, then others for one; a field that neither name nor version tells, and code that changed, make others."""
    scenario = write(here, "x.yaml", CODED)
    file = write(here, "own.py", CODEC.replace("CHANGE", ""))
    assert (
        main(
            ["simulate", scenario, "--with", file, "--workers", "2", "--out", str(here / "a"), "--no-report"]
        )
        == 0
    )
    colour, grey = means(here / "a")
    assert colour > grey + 1
    write(here, "own.py", CODEC.replace("CHANGE", '.convert("L").convert("RGB").quantize(2)'))
    again = ["simulate", scenario, "--with", file, "--no-report", "--out"]
    assert main([*again, str(here / "b")]) == 0
    assert means(here / "b")[0] < colour - 1


def test_a_run_is_not_resumed_with_other_code_and_the_message_says_which(here, capsys):
    scenario = write(here, "x.yaml", PLAIN)
    command = [
        "simulate",
        scenario,
        "--with",
        str(here / "own.py"),
        "--out",
        str(here / "run"),
        "--no-report",
    ]
    write(here, "own.py", CHANNEL.replace("MARGIN", "1").replace("IMPORTS", ""))
    assert main(command) == 0
    assert main(command) == 0
    write(here, "own.py", CHANNEL.replace("MARGIN", "2").replace("IMPORTS", ""))
    capsys.readouterr()
    assert main(command) == 2
    message = capsys.readouterr().err
    assert "made with another channel padded, got own.py " in message
    assert "Nothing was overwritten" in message


def test_modules_beside_a_file_are_part_of_its_digest(here):
    scenario = write(here, "x.yaml", PLAIN)
    file = write(
        here, "own.py", CHANNEL.replace("MARGIN", "SCALE").replace("IMPORTS", "from beside import SCALE")
    )
    hashes = []
    for scale in (1, 9):
        write(here, "beside.py", f"SCALE = {scale}\n")
        load_file(Path(file))
        hashes.append(scenario_hash(load_scenario(scenario)))
        assert find("channel", "padded").target(kind="padded").build.__globals__["Padded"].margin == scale
    assert hashes[0] != hashes[1]


def test_modules_of_one_name_beside_two_files_are_two_modules(here):
    """Each file has those beside it, whichever is loaded first, and again after the other."""
    for folder, scale in (("a", 1), ("b", 9)):
        (here / folder).mkdir()
        write(here / folder, "beside.py", f"SCALE = {scale}\n")
        text = CHANNEL.replace("MARGIN", "SCALE").replace("IMPORTS", "from beside import SCALE")
        write(here / folder, f"own_{folder}.py", text.replace('"padded"', f'"padded_{folder}"'))

    def margin(name: str) -> float:
        return find("channel", name).target(kind=name).build.__globals__["Padded"].margin

    load_file(here / "a" / "own_a.py")
    load_file(here / "b" / "own_b.py")
    assert (margin("padded_a"), margin("padded_b")) == (1, 9)
    for name in "ab":  # the files themselves are modules still: classes of both can be sent to others
        target = find("channel", f"padded_{name}").target
        assert pickle.loads(pickle.dumps(target)) is target
    write(here / "a", "beside.py", "SCALE = 5\n")
    load_file(here / "a" / "own_a.py")
    assert (margin("padded_a"), margin("padded_b")) == (5, 9)


@pytest.mark.parametrize("changed", ["own.py", "beside.py", "package/within.py"])
def test_code_that_runs_is_the_source_even_if_bytecode_of_the_same_second_and_size_is_there(
    here, monkeypatch, changed
):
    """What Python itself would take for the same file: another file, with another digest."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    for module in ("beside", "package", "package.within"):  # of another test
        monkeypatch.delitem(sys.modules, module, raising=False)
    (here / "package").mkdir()
    imports = "from beside import A\nfrom package.within import B\nC = 1"
    texts = {
        "own.py": CHANNEL.replace("MARGIN", "A + B + C").replace("IMPORTS", imports),
        "beside.py": "A = 1\n",
        "package/within.py": "B = 1\n",
    }
    found = []
    for value in (1, 9):
        for name, text in texts.items():
            new = text.replace(" = 1\n", f" = {value}\n") if name == changed else text
            path = Path(write(here, name, new))
            os.utime(path, (1e9, 1e9))
            if value == 1:
                py_compile.compile(str(path))
        load_file(here / "own.py")
        kind = find("channel", "padded")
        found.append((kind.target(kind="padded").build.__globals__["Padded"].margin, kind.origin.digest))
    assert [margin for margin, _ in found] == [3, 11]
    assert found[0][1] != found[1][1]


def test_a_training_is_not_resumed_with_another_channel(here, capsys):
    write(here, "own.py", CHANNEL.replace("MARGIN", "1").replace("IMPORTS", ""))
    command = ["train", write(here, "t.yaml", TRAIN.replace("STEPS", "1")), "--with", str(here / "own.py")]
    command += ["--out", str(here / "training")]
    assert main(command) == 0
    write(here, "own.py", CHANNEL.replace("MARGIN", "2").replace("IMPORTS", ""))
    write(here, "t.yaml", TRAIN.replace("STEPS", "2"))
    capsys.readouterr()
    assert main(command) == 2
    assert "kinds: channel padded: not that of the training in" in capsys.readouterr().err


def test_a_table_calls_a_channel_by_its_code(here):
    scheme = SeparationSpec(kind="separation", name="x")
    keys = []
    for margin in (1, 2):
        load_file(Path(write(here, "own.py", CHANNEL.replace("MARGIN", str(margin)).replace("IMPORTS", ""))))
        keys.append(calibration_key(find("channel", "padded").target(kind="padded"), scheme))
    assert keys[0]["kinds"] != keys[1]["kinds"]


def test_numbers_of_own_fields_are_not_converted(here, capsys):
    file = write(here, "own.py", CHANNEL.replace("MARGIN", "1").replace("IMPORTS", ""))
    scenario = write(here, "x.yaml", PLAIN)
    for value in ("'7'", "true", "2.5"):
        assert main(["check", scenario, "--with", file, "--set", f"channel.sigma={value}"]) == 2
        assert "channel.sigma" in capsys.readouterr().err
    assert main(["check", scenario, "--with", file, "--set", "channel.sigma=7"]) == 0


PLACES = {
    "class": "class Padded(AwgnChannel):\n    margin = {}\n",
    "private": "class Padded(AwgnChannel):\n    _margin = {}\n",
    "list": "class Padded(AwgnChannel):\n    margins = [{}]\n",
    "keyword": "class Padded(AwgnChannel):\n    def f(self, *, by={}):\n        return by\n",
    "constant": "BY = {}\nclass Padded(AwgnChannel):\n    def f(self):\n        return BY\n",
    "table": "BY = {{'a': ({},)}}\nclass Padded(AwgnChannel):\n    def f(self):\n        return BY['a']\n",
    "array": "import numpy as np\nBY = np.full(3, {})\n"
    "class Padded(AwgnChannel):\n    def f(self):\n        return BY\n",
    "tensor": "import torch\nBY = torch.full((3,), {}, dtype=torch.bfloat16)\n"
    "class Padded(AwgnChannel):\n    def f(self):\n        return BY\n",
    "closure": "def make(by):\n    return lambda: by\nBY = make({})\n"
    "class Padded(AwgnChannel):\n    def f(self):\n        return BY()\n",
    "cached": "import functools\nclass Padded(AwgnChannel):\n    @functools.cached_property\n"
    "    def f(self):\n        return {}\n",
    "stored": "import functools\n@functools.lru_cache\ndef by():\n    return {}\n"
    "class Padded(AwgnChannel):\n    def f(self):\n        return by()\n",
    "field": "class PaddedKind(linksim.ChannelBase):\n    _margin: int = {}\n    sigma: int = 3\n"
    "    def build(self, context): ...\n",
    "partial": "import functools\nBY = functools.partial(max, {})\n"
    "class Padded(AwgnChannel):\n    def f(self):\n        return BY(0)\n",
}


@pytest.mark.parametrize("place", PLACES)
def test_a_cell_that_is_executed_again_makes_another_kind(here, place):
    """Classes without a file: what their functions do, and the values and classes that these name, is their
    digest, wherever a number stands.
    """
    kept = CHANNEL.replace("IMPORTS", "").replace('@linksim.kind("channel", "padded")\n', "")
    start = kept.index("class Padded(")
    before, after = kept[:start], kept[kept.index("class PaddedKind") :]
    scenario = write(here, "x.yaml", PLAIN)
    hashes = []
    for margin in ("1", "1", "2"):
        space = {"__name__": "notebook"}
        text = PLACES[place].format(margin)
        exec(compile(before + text + (after if place != "field" else ""), "<cell>", "exec"), space)
        register("channel", "padded", space["PaddedKind"])
        hashes.append(scenario_hash(load_scenario(scenario)))
    assert hashes[0] == hashes[1] != hashes[2]


def test_values_that_cannot_be_told_apart_are_others_in_every_process():
    """Better that a run is made again than that it goes on with other code; what can be told is told alike."""
    code = (
        "from channels.kinds.provenance import code_digest\nBY = object()\nWORDS = {'one', 'two', 'three'}\n"
        "def f(): return BY\n"
        "def g(x, *, y=(1, None)): return x in {'one', 'two', 'three', 'four'} and x in WORDS\n"
        "print(code_digest(f), code_digest(f), code_digest(g))"
    )
    made = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert made[0][0] == made[0][1] != made[1][0] == made[1][1]
    assert made[0][2] == made[1][2]


@pytest.mark.parametrize("last", ["import sys\nsys.exit(0)", "raise SystemExit", "1 / 0"])
def test_a_file_that_leaves_does_not_end_the_program_well(here, capsys, last):
    file = write(here, "own.py", f"import linksim\n{last}\n")
    assert main(["check", write(here, "x.yaml", PLAIN), "--with", file]) == 2
    assert "does not load, got " in capsys.readouterr().err


def test_what_was_loaded_still_works_after_the_file_broke(here):
    text = CHANNEL.replace("IMPORTS", "from beside import SCALE").replace("MARGIN", "SCALE")
    write(here, "beside.py", "SCALE = 1\n")
    file = Path(write(here, "own.py", text))
    load_file(file)
    made, beside = find("channel", "padded").target, sys.modules["beside"]
    for broken in (text + "\nimport sys\nsys.exit(0)\n", text + "\n1 / 0\n"):
        write(here, "own.py", broken)
        with pytest.raises(KindError, match="does not load"):
            load_file(file)
        assert find("channel", "padded").target is made
        assert sys.modules["beside"] is beside
        assert sys.modules[made.__module__].PaddedKind is made


def test_a_file_that_fails_leaves_nothing_and_one_that_changed_leaves_nothing_old(here):
    two = '\n@linksim.kind("channel", "second")\nclass Second(PaddedKind): ...\n'
    path = Path(write(here, "own.py", CHANNEL.replace("MARGIN", "1").replace("IMPORTS", "") + two))
    load_file(path)
    assert {"padded", "second"} <= set(names("channel"))
    write(here, "own.py", CHANNEL.replace("MARGIN", "1").replace("IMPORTS", ""))
    load_file(path)
    assert "second" not in names("channel")
    other = Path(write(here, "other.py", two.replace("PaddedKind", "linksim.ChannelBase") + "\n1 / 0\n"))
    other.write_text(
        "import linksim\n" + other.read_text().replace(": ...", ":\n    def build(self, c): ...")
    )
    with pytest.raises(KindError, match="line 7: does not load, got ZeroDivisionError"):
        load_file(other)
    assert "second" not in names("channel")


def test_a_name_stands_once_in_a_file(here):
    text = CHANNEL.replace("MARGIN", "1").replace("IMPORTS", "")
    again = text[text.index("@linksim.kind") :]
    with pytest.raises(
        KindError, match=r"named twice, got another channel of this name, beside that of own\.py"
    ):
        load_file(Path(write(here, "own.py", text + again)))


def test_fields_of_the_base_keep_their_meaning(here):
    text = CHANNEL.replace("MARGIN", "1").replace("IMPORTS", "").replace("sigma: int", "told: float")
    with pytest.raises(KindError, match="field named twice, got told: "):
        load_file(Path(write(here, "own.py", text)))


def test_metrics_are_of_a_scope_and_have_a_name_that_a_column_can_have():
    from linksim.metrics.base import ImageMetric, Metric, MetricInfo, SetMetric

    with pytest.raises(KindError, match="no metric, got class Alone"):
        register("metric", "alone", type("Alone", (Metric,), {}))
    with pytest.raises(KindError, match="not allowed, got MyErr"):
        register("metric", "MyErr", type("Own", (ImageMetric,), {"__call__": lambda self, a, b: a}))
    info = MetricInfo("own_set", "1", False, "here", features="own", distance="nearest")
    own = type("OwnSet", (SetMetric,), {"info": info, "features": lambda self, image: image})
    register("metric", "own_set", own)
    try:
        with pytest.raises(
            KindError, match=r"own_set.*: info\.distance: unknown, got 'nearest', expected one of"
        ):
            build_metrics(("own_set",))
    finally:
        unregister("metric", "own_set")


def test_an_impairment_is_of_a_side_and_has_an_effect_that_is_known():
    @dataclass(frozen=True)
    class Both(Impairment):
        side: str = "both"
        linear: ClassVar[bool] = True
        effect: ClassVar[str] = "scales"

        def apply(self, samples, state, sample_rate_hz, power):
            return samples

    with pytest.raises(KindError, match=r"an effect out of .* \(it has 'scales'\)"):
        register("impairment", "both_sides", Both)
    with pytest.raises(ValueError, match="Both: side: unknown choice, got 'both'"):
        Both()


OWN_WEIGHTS = '''
import torch
import linksim
from linksim.jscc.layout import SymbolLayout

class Codec(torch.nn.Module):
    block = 16

    def __init__(self):
        super().__init__()
        self.mean = torch.nn.Parameter(torch.zeros(3))

    def layout(self, height, width, budget):
        return SymbolLayout.filled(4, height, width, self.block, budget)

    def encode(self, image, layout, csit):
        mean = torch.nn.functional.avg_pool2d(image - 0.5, self.block)
        return layout.to_symbols(torch.cat([mean, mean[:, :1]], 1))

    def decode(self, received, layout, csit, seeds):
        return self.mean[None, :, None, None].expand(len(received.y), 3, 16 * layout.rows, 16 * layout.cols)

@linksim.kind("scheme", "own_network")
class OwnNetwork(linksim.AnalogSchemeBase):
    """A network with weights in a file."""

    weights: linksim.PathName

    def build(self, context):
        codec = Codec()
        codec.load_state_dict(torch.load(linksim.place(self.weights), weights_only=True))
        return linksim.JsccScheme(self.name, codec.requires_grad_(False), self.csit)
'''


def test_weights_of_an_own_scheme_are_part_of_its_run(tmp_path, monkeypatch, capsys):
    """They lie beside the scenario; others under the same name are not taken for those of the run."""
    import torch

    monkeypatch.chdir(tmp_path)
    study = tmp_path / "study"
    study.mkdir()
    (study / "own.py").write_text(OWN_WEIGHTS)
    (study / "x.yaml").write_text(
        "name: x\nimages: {kind: skimage, names: [coffee], crop: 64}\nbandwidth: {data_ratio: 1/384}\n"
        "channel: {kind: awgn}\nsweep: {snr_db: [5]}\nmetrics: [psnr]\n"
        "schemes: [{kind: own_network, name: own, weights: own.pt}]\n"
    )
    command = ["simulate", "study/x.yaml", "--with", "study/own.py", "--no-report"]
    try:
        torch.save({"mean": torch.full((3,), 0.4)}, study / "own.pt")
        assert main(command) == 0
        assert main(command) == 0
        assert "1 kept from before" in capsys.readouterr().out
        torch.save({"mean": torch.full((3,), 0.6)}, study / "own.pt")
        assert main(command) == 2
        said = capsys.readouterr().err
        assert "made with other weights, tables or recordings, got own.pt: " in said
    finally:
        unregister("scheme", "own_network")

"""Kinds of other people: one of every family from an installed package, from a file, from Python; nothing of
linksim is edited for them.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from channels.kinds import FAMILIES, KindError, find, names, register, unregister
from linksim.cli.commands import main
from linksim.kinds import kind
from linksim.scenario.files import load_scenario, scenario_hash
from tests.contracts.kind_checks import picture

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
OWN = {
    "channel": "nakagami",
    "delay_model": "two_path",
    "impairment": "dc_offset",
    "estimator": "smoothing",
    "scheme": "average",
    "network": "pooling",
    "source_codec": "pnm_by_command",
    "sampler": "euler",
    "metric": "mean_error",
    "images": "waves",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder with labkit as pip installs it: modules and entry points."""
    folder = tmp_path_factory.mktemp("site")
    source = folder / "source"
    shutil.copytree(HERE, source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [
            *pip,
            "--no-index",
            "--disable-pip-version-check",
            "--target",
            str(folder / "packages"),
            str(source),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "packages"


def python(*words: str, path: Path | None = None, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    """A process with labkit installed, or without."""
    search = os.pathsep.join([str(ROOT), *([str(path)] if path else [])])
    env = {**os.environ, "PYTHONPATH": search}
    return subprocess.run(
        [sys.executable, *words], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )


def test_one_kind_of_every_family_goes_the_whole_way(installed, tmp_path):
    """Simulate, resume, plot, report, train; the contracts; what run.json says of them."""
    from benchmarks.make_diffjscc_checkpoint import make

    assert set(OWN) == set(FAMILIES)
    (tmp_path / "pictures").mkdir()
    for i in range(3):
        Image.fromarray(picture(96, i)).save(tmp_path / "pictures" / f"{i}.png")
    make(tmp_path / "checkpoint", "tiny")
    done = python("-m", "tests.plugins.whole_way", str(tmp_path), path=installed)
    assert done.returncode == 0, done.stderr[-3000:]
    header = json.loads((tmp_path / "run" / "run.json").read_text())
    used = {*OWN} - {"sampler"}  # the network by the checkpoint that was trained
    assert set(header["kinds"]) == {f"{family} {OWN[family]}" for family in used}
    (origin,) = set(header["kinds"].values())  # distribution, version, digest of all its modules
    assert re.fullmatch(r"labkit 0\.1 [0-9a-f]{16}", origin)
    training = json.loads((tmp_path / "training" / "train.json").read_text())
    assert training["kinds"] == {f"{family} {OWN[family]}": origin for family in ("channel", "network")}
    diffusion = json.loads((tmp_path / "diffusion" / "run.json").read_text())
    assert diffusion["kinds"]["sampler euler"] == origin
    with (tmp_path / "run" / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["scheme"] for row in rows} == {"means", "trained", "command"}
    assert {row["channel"] for row in rows} == {"nakagami", "grid"}
    assert {row["metric"] for row in rows} >= {"psnr", "mean_error", "outage"}
    arrived = [
        r for r in rows if r["scheme"] == "command" and r["metric"] == "outage" and r["snr_db"] == "20"
    ]
    assert any(float(row["mean"]) < 1 for row in arrived)
    drawn = re.findall(r"<!-- (.*?) -->", (tmp_path / "mean_error.svg").read_text(), re.DOTALL)
    for text in ((tmp_path / "run" / "report.html").read_text(), " ".join(drawn)):
        assert "mean absolute error" in text
        assert "lower is better" in text
    for family, name in OWN.items():
        listed = [line for line in done.stdout.splitlines() if line.split()[:1] == [name]]
        assert listed, family
        assert "labkit 0.1" in listed[0]
    checks = python("-m", "tests.plugins.contracts", str(tmp_path), path=installed)
    assert checks.returncode == 0, checks.stderr[-3000:]


def test_without_the_package_its_kinds_are_unknown(tmp_path, capsys):
    text = "images: {kind: skimage}\nbandwidth: {data_ratio: 1/96}\nchannel: {kind: nakagami, m: 2}\n"
    text += "sweep: {snr_db: [3]}\nschemes: [{kind: jscc, name: x, checkpoint: lean-awgn-1-96}]\nname: x\n"
    (tmp_path / "x.yaml").write_text(text)
    assert main(["check", str(tmp_path / "x.yaml")]) == 2
    message = capsys.readouterr().err
    assert "channel: kind: unknown, got 'nakagami', expected one of awgn, rayleigh, rician, ofdm" in message


# ------------------------------------------------------------------------------------------------ a file

FILE = '''
from typing import Annotated
from pydantic import Field
import linksim

@linksim.kind("channel", "{name}")
class Noise(linksim.ChannelBase):
    """Noise alone, with a margin."""

    margin_db: Annotated[float, Field(ge=0, le=30)] = 0.0

    def build(self, context):
        from channels.flat.awgn import AwgnChannel

        return AwgnChannel(device=context.device, precision=context.precision)
'''
SCENARIO = """
name: from-file
images: {{kind: skimage, names: [astronaut], crop: 64}}
bandwidth: {{data_ratio: 1/96}}
channel: {{kind: {name}, margin_db: {margin}}}
sweep: {{snr_db: [10]}}
schemes: [{{kind: jscc, name: lean, checkpoint: lean-awgn-1-96}}]
metrics: [psnr]
"""


@pytest.fixture
def forgotten():
    """Kinds that a test registers are forgotten after it."""
    made: list[tuple[str, str]] = []
    yield made
    for family, name in made:
        unregister(family, name)


def files(folder: Path, name: str, margin: object = 3, code: str = FILE) -> tuple[str, str]:
    (folder / "own.py").write_text(code.replace("{name}", name))
    (folder / "x.yaml").write_text(SCENARIO.format(name=name, margin=margin))
    return str(folder / "x.yaml"), str(folder / "own.py")


def test_a_file_of_the_command_line_brings_kinds(tmp_path, capsys, forgotten):
    scenario, file = files(tmp_path, "padded_noise")
    forgotten.append(("channel", "padded_noise"))
    assert main(["simulate", scenario, "--with", file, "--out", str(tmp_path / "run"), "--no-report"]) == 0
    header = json.loads((tmp_path / "run" / "run.json").read_text())
    (said,) = header["kinds"].values()
    assert said.startswith("own.py ")
    assert len(said.split()[1]) == 16
    assert main(["list", "channels", "--with", file]) == 0
    assert "padded_noise     Noise alone, with a margin." in capsys.readouterr().out
    plain = load_scenario("quickstart")
    assert scenario_hash(plain) == scenario_hash(load_scenario("quickstart"))


def test_the_digest_of_the_file_is_part_of_the_hash(tmp_path, forgotten):
    hashes = []
    for comment in ("# one", "# two"):
        scenario, file = files(tmp_path, "hashed_noise", code=FILE + comment)
        assert main(["check", scenario, "--with", file]) == 0
        hashes.append(scenario_hash(load_scenario(scenario)))
    forgotten.append(("channel", "hashed_noise"))
    assert hashes[0] != hashes[1]


def test_fields_of_own_kinds_are_checked_like_built_in_ones(tmp_path, capsys, forgotten):
    scenario, file = files(tmp_path, "bounded_noise", margin=50)
    forgotten.append(("channel", "bounded_noise"))
    assert main(["check", scenario, "--with", file]) == 2
    assert "channel.margin_db: " in (message := capsys.readouterr().err)
    assert "got 50, expected a value <= 30" in message
    assert main(["check", scenario, "--with", file, "--set", "channel.margin=3"]) == 2
    message = capsys.readouterr().err
    assert "Did you mean margin_db?" in message
    assert (
        main(
            [
                "check",
                scenario,
                "--with",
                file,
                "--set",
                "channel.margin_db=1",
                "--set",
                "sweep.channel.margin_db=[1,2]",
            ]
        )
        == 0
    )


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("x = 1\n", "registers nothing, got no kind"),
        ("def broken(:\n", "does not load, got SyntaxError"),
        ("import nothing_like_it\n", "line 1: does not load, got ModuleNotFoundError"),
        ("\n\n1 / 0\n", "line 3: does not load, got ZeroDivisionError"),
        (
            FILE.replace("def build", "def construct"),
            "channel {name}: half written, got Noise without build(",
        ),
        (FILE.replace("linksim.ChannelBase", "object"), "channel {name}: no channel, got Noise"),
        (FILE.replace('"{name}"', '"awgn"'), "channel awgn: named twice, got another channel of this name"),
        (FILE.replace('"channel"', '"chanel"'), "family of kinds: unknown, got 'chanel'"),
    ],
)
def test_a_file_that_is_no_good_is_said(tmp_path, capsys, code, expected):
    scenario, file = files(tmp_path, "half_written", code=code)
    assert main(["check", scenario, "--with", file]) == 2
    message = capsys.readouterr().err
    assert expected.replace("{name}", "half_written") in message
    assert "Traceback" not in message
    assert "half_written" not in names("channel")


def test_a_missing_file_is_said(tmp_path, capsys):
    assert main(["check", "quickstart", "--with", str(tmp_path / "no.py")]) == 2
    assert "no such file" in capsys.readouterr().err


def test_a_scenario_alone_executes_nothing(tmp_path, capsys):
    """Neither a dotted path nor a file beside the scenario is ever looked at."""
    _, file = files(tmp_path, "never", code=FILE + f"open({str(tmp_path / 'executed')!r}, 'w').close()\n")
    for value in ("own.Noise", "own", file, "tests.plugins.labkit.radio"):
        (tmp_path / "x.yaml").write_text(SCENARIO.format(name=f"'{value}'", margin=1))
        assert main(["check", str(tmp_path / "x.yaml")]) == 2
        assert "kind: unknown" in capsys.readouterr().err
    assert not (tmp_path / "executed").exists()


# ------------------------------------------------------------------------------------------- from Python


def test_kinds_from_python_come_and_go(forgotten):
    from linksim.metrics.base import ImageMetric, MetricInfo

    @kind("metric", "squared_error")
    class SquaredError(ImageMetric):
        """Mean squared error."""

        info = MetricInfo("squared_error", "1", False, "here")

        def __call__(self, x_hat, x):
            return (x_hat - x).double().square().mean((1, 2, 3))

    forgotten.append(("metric", "squared_error"))
    assert find("metric", "squared_error").make().info.unit == "1"
    assert "squared_error" in names("metric")
    with pytest.raises(KindError, match="built in"):
        register("metric", "psnr", SquaredError)
    with pytest.raises(KindError, match="half written, got Empty without __call__"):
        register("metric", "empty", type("Empty", (ImageMetric,), {}))
    with pytest.raises(KindError, match="to forget"):
        unregister("metric", "psnr")


def test_a_sampler_with_other_arguments_is_refused():
    with pytest.raises(KindError, match=r"other arguments, got a function of \(z\)"):
        register("sampler", "wrong", lambda z: z)


def test_an_impairment_states_its_facts():
    from dataclasses import dataclass

    from channels.hardware.impairment import Impairment

    @dataclass(frozen=True)
    class Silent(Impairment):
        def apply(self, samples, state, sample_rate_hz, power):
            return samples

    with pytest.raises(KindError, match=r"half written, got Silent without linear .*, effect .*, side"):
        register("impairment", "silent", Silent)

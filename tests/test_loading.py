"""What is loaded when: heavy packages by whoever uses them, and without a trace in any result."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from channels.models.tdl import TdlModel
from channels.ofdm.link import OfdmChannel

ROOT = Path(__file__).parent.parent
HEAVY = ("sionna", "diffusers", "transformers", "tensorflow", "lpips", "torchvision", "matplotlib", "scipy.signal",
         "scipy.stats", "torch._dynamo")  # fmt: skip
PICTURES = ("--set", "images={kind: skimage, names: [astronaut], crop: 192}")


def child(code: str, *arguments: str) -> list[str]:
    """Lines that a new process prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


STEPS = """
import contextlib, io, json, sys
heavy, steps = json.loads(sys.argv[1]), json.loads(sys.argv[2])
from linksim.cli.commands import main
for step in steps:
    if isinstance(step, str):
        exec(step)
    else:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
            code = main(step)
        assert code == 0, said.getvalue()
    print(json.dumps([name for name in heavy if name in sys.modules]))
"""


def loaded(heavy: tuple[str, ...], *steps: str | list[str]) -> list[list[str]]:
    """Which of some packages are loaded after each step, a statement or a command, all in one new process."""
    return [json.loads(line) for line in child(STEPS, json.dumps(heavy), json.dumps(steps))]


def test_the_command_line_and_its_lists_load_no_pytorch():
    imports = (
        "import linksim, channels, linksim.report.figures, linksim.results.store, linksim.scenario.files"
    )
    lists = [["list", what] for what in ("channels", "schemes", "models", "scenarios")]
    found = loaded((*HEAVY, "torch", "numba"), imports, *lists)
    assert found == [[]] * 5


def test_flat_links_load_no_sionna():
    """Neither modules nor operators nor the check of a scenario with learned and digital schemes."""
    modules = ["awgn", "flat_fading", "front_end", "impairments", "ofdm", "recorded", "estimation"]
    use = (
        "import torch; from channels.flat.awgn import AwgnChannel;"
        "from channels.flat.fading import FlatFadingChannel; from channels.flat.hardware import SingleCarrierChannel;"
        "from channels.hardware.amplifier import Clipping; from channels.hardware.converter import IqImbalance;"
        "hardware = [Clipping(papr_db=6.0), IqImbalance(gain_db=1.0, phase_deg=2.0)];"
        "links = [AwgnChannel(), FlatFadingChannel(csi='ls', pilots_per_block=1, coherence_symbols=8)];"
        "links.append(SingleCarrierChannel(links[0], hardware, symbol_rate_hz=1e6));"
        "[link(torch.ones(1, 16, dtype=torch.complex64), torch.tensor([10.0]), [1]) for link in links]"
    )
    found = loaded(
        HEAVY,
        *(f"import channels.{name}" for name in modules),
        use,
        ["check", "awgn/awgn-1-96", *PICTURES],
        ["check", "fading/block-rayleigh", *PICTURES],
    )
    assert found == [[]] * (len(modules) + 3)


def test_checking_ofdm_loads_sionna_without_a_compiler():
    found = loaded(HEAVY, ["check", "quickstart", *PICTURES])
    assert found == [["sionna", "matplotlib"]]


# ------------------------------------------------------------------------- loaded in the middle of something


def ofdm_output(symbols: torch.Tensor) -> torch.Tensor:
    model = TdlModel("C", delay_spread_s=1e-7, carrier_hz=3.5e9, speed_mps=3.0)
    link = OfdmChannel(
        model=model, num_subcarriers=24, subcarrier_spacing_hz=15e3, num_ofdm_symbols=14, csi="ls"
    )
    return link(symbols, torch.tensor([10.0]), [5]).y


def digest(y: torch.Tensor) -> str:
    return hashlib.sha256(y.detach().numpy().tobytes()).hexdigest()


LATE = """
import sys, torch
from tests.test_loading import digest, ofdm_output
assert "sionna" not in sys.modules
torch.manual_seed(3)
x = torch.ones(1, 200, dtype=torch.complex64)
with torch.inference_mode():
    print(digest(ofdm_output(x)))
assert "sionna.phy" in sys.modules and "torch._dynamo" not in sys.modules
print(torch.rand(1).item(), torch.initial_seed())
x.requires_grad_()
ofdm_output(x).abs().square().sum().backward()
print(float(x.grad.abs().sum()) > 0)

from channels.runtime.deferred_compilation import compilation_deferred
real = torch.compile, torch.compiler.disable
seen = []
with compilation_deferred():
    @torch.compiler.disable
    def kept(x):
        seen.append(torch.compiler.is_compiling())
        return x + 1
    @torch.compile(backend="eager")
    def compiled(x):
        return kept(x * 2) if torch.compiler.is_compiling() else x
assert (torch.compile, torch.compiler.disable) == real
assert kept(1) == 2 and "torch._dynamo" not in sys.modules
print(kept.__name__, compiled(torch.ones(1)).item(), "torch._dynamo" in sys.modules, seen)
"""
EARLY = """
import sionna.phy, torch
from tests.test_loading import digest, ofdm_output
print(digest(ofdm_output(torch.ones(1, 200, dtype=torch.complex64))))
"""


@pytest.fixture(scope="module")
def late() -> list[str]:
    return child(LATE)


def test_a_draw_is_the_same_whenever_sionna_is_loaded(late):
    """Before everything else, or in the middle of a draw, in inference mode; the global seed stays."""
    drawn, numbers, differentiable, _ = late
    assert child(EARLY) == [drawn]
    assert drawn == digest(ofdm_output(torch.ones(1, 200, dtype=torch.complex64)))
    torch.manual_seed(3)
    assert numbers == f"{torch.rand(1).item()} {torch.initial_seed()}"
    assert differentiable == "True"


def test_what_is_decorated_early_is_compiled_late(late):
    """``compiled`` takes the branch of the compiler, and ``kept`` is called from it without being compiled."""
    assert late[-1] == "kept 3.0 True [False, False]"

"""The bundled network with dials as it is shipped: one file for five rates, any channel and realism."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from channels.base import ChannelOperator
from linksim.build.channels import build_channel
from linksim.build.checkpoints import portable, read_checkpoint
from linksim.build.objects import build_metrics, build_scheme
from linksim.images.sets import SkimageImages
from linksim.link import run_link
from linksim.scenario.schema import AwgnSpec, JsccSpec, LatentDiffusionSpec, OfdmSpec, RayleighSpec, TdlSpec
from linksim.weights.zoo import BUNDLED_FILES, asset

CPU = torch.device("cpu")
NAMES = ("astronaut", "coffee", "chelsea", "rocket")
AWGN = AwgnSpec(kind="awgn")
OFDM = OfdmSpec(kind="ofdm", model=TdlSpec(kind="tdl", profile="C", delay_spread_s=300e-9, speed_mps=10.0))


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    """Four photographs [4, 3, 256, 256] that no training saw."""
    images = SkimageImages(NAMES)
    return torch.stack([images[name][:, 20:276, 40:296] for name in NAMES]).float() / 255


def shown(
    pictures: torch.Tensor, realism: float, ratio: str = "1/96", snr_db: float = 10.0, channel=AWGN, **more
) -> torch.Tensor:
    spec = JsccSpec(kind="jscc", name="dial", checkpoint="dial", realism=realism, **more)
    return sent(build_scheme(spec, channel, CPU), build_channel(channel, CPU), pictures, ratio, snr_db)


def sent(scheme, channel: ChannelOperator, pictures: torch.Tensor, ratio: str, snr_db: float) -> torch.Tensor:
    uses = int(Fraction(ratio) * pictures[0].numel())
    snr = torch.full((len(pictures),), snr_db)
    with torch.no_grad():
        out = run_link(scheme, channel, pictures, snr, range(len(pictures)), uses)
    return out.reconstruction.image.clamp(0, 1)


def measured(name: str, image: torch.Tensor, pictures: torch.Tensor) -> float:
    (metric,) = build_metrics((name,)).image
    return float(metric(image, pictures).mean())


@pytest.mark.parametrize("snr_db", [1.0, 10.0])
@pytest.mark.parametrize("ratio", ["1/384", "1/96", "1/24"])
def test_realism_is_a_dial(pictures, ratio, snr_db):
    """Mean of four pictures: from 0 over 0.5 to 1 PSNR falls, by less than half a decibel, and the top octave
    gains power toward that of the originals, by 1.9 dB or more. (LPIPS, whose weights are not here, falls
    from 0 to 0.5 at all six points.)"""
    images = [shown(pictures, beta, ratio, snr_db) for beta in (0.0, 0.5, 1.0)]
    psnr = [measured("psnr", image, pictures) for image in images]
    octave = [measured("spectrum_db", image, pictures) for image in images]
    assert psnr[0] > psnr[1] > psnr[2] > psnr[0] - 0.5
    assert octave[0] < octave[1] < octave[2] < 0
    assert octave[2] - octave[0] > 1.5


def test_one_file_serves_five_rates_each_better_than_the_last(pictures):
    """At 10 dB every doubling of the rate is worth 0.4 dB or more."""
    psnr = [
        measured("psnr", shown(pictures, 0.0, ratio), pictures)
        for ratio in ("1/384", "1/192", "1/96", "1/48", "1/24")
    ]
    assert all(after > before + 0.4 for before, after in pairwise(psnr))


@pytest.mark.parametrize(
    ("channel", "lost_db"),
    [
        (RayleighSpec(kind="rayleigh", coherence_symbols=1, csi={"kind": "perfect"}), 2.0),
        (OFDM, 2.5),
    ],
    ids=["fast Rayleigh", "OFDM TDL-C LS"],
)
def test_fading_costs_little_without_retraining(pictures, channel, lost_db):
    """10 dB, four pictures and fades; a picture of noise would lose 15 dB."""
    awgn = measured("psnr", shown(pictures, 0.0), pictures)
    assert 0 < awgn - measured("psnr", shown(pictures, 0.0, channel=channel), pictures) < lost_db


def test_diffusion_goes_on_from_what_arrived(pictures):
    """Four steps behind the bundled decoder: within 1.5 dB of it, and another picture."""
    spec = LatentDiffusionSpec(kind="latent_diffusion", name="d", checkpoint="dial-denoiser", steps=4)
    image = sent(build_scheme(spec, AWGN, CPU), build_channel(AWGN, CPU), pictures, "1/96", 10.0)
    plain = shown(pictures, 1.0)
    assert abs(measured("psnr", image, pictures) - measured("psnr", plain, pictures)) < 1.5
    assert not torch.equal(image, plain)


@pytest.mark.parametrize("name", BUNDLED_FILES)
def test_cards_and_recipes_name_no_folder_of_the_machine(name):
    recipe = read_checkpoint(asset(BUNDLED_FILES[name])).recipe
    assert portable(recipe) == recipe
    card = asset(f"{name}.md").read_text()
    assert "linksim train" in card or "scenarios/train" in card


def test_recipes_keep_names_of_files():
    recipe = {"images": {"paths": ["/home/me/a.tar", "b.tar"]}, "initial": "lean", "steps": 3}
    assert portable(recipe) == {"images": {"paths": ["a.tar", "b.tar"]}, "initial": "lean", "steps": 3}
    assert Path(str(recipe["images"]["paths"][0])).is_absolute(), "what was given is left as it is"

"""The bundled network with dials as it is shipped: one file for five rates, any channel and realism."""

from __future__ import annotations

import os
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from channels.base import ChannelOperator
from channels.flat.awgn import AwgnChannel
from channels.types import Csit
from linksim.build.channels import build_channel
from linksim.build.checkpoints import portable, read_checkpoint
from linksim.build.objects import build_metrics, build_scheme, load_codec
from linksim.images.sets import SkimageImages
from linksim.jscc.dial import DialCodec
from linksim.link import run_link
from linksim.metrics.perceptual import Lpips
from linksim.scenario.schema import AwgnSpec, JsccSpec, LatentDiffusionSpec, OfdmSpec, RayleighSpec, TdlSpec
from linksim.weights.zoo import BUNDLED_FILES, asset

CPU = torch.device("cpu")
ROOT = Path(__file__).parent.parent.parent
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
    gains power toward that of the originals, by 1.9 dB or more."""
    images = [shown(pictures, beta, ratio, snr_db) for beta in (0.0, 0.5, 1.0)]
    psnr = [measured("psnr", image, pictures) for image in images]
    octave = [measured("spectrum_db", image, pictures) for image in images]
    assert psnr[0] > psnr[1] > psnr[2] > psnr[0] - 0.5
    assert octave[0] < octave[1] < octave[2] < 0
    assert octave[2] - octave[0] > 1.5


@pytest.mark.skipif(
    "LINKSIM_REAL_WEIGHTS" not in os.environ, reason="set LINKSIM_REAL_WEIGHTS to a weights folder"
)
def test_lpips_falls_with_realism(pictures, monkeypatch):
    """Of the four pictures: from 0 to 0.5 and from 0 to 1 at each of six points, over all of them from 0.5 to 1
    too (.262, .232, .227). Kodak's tables in docs/dials.md have the rest."""
    monkeypatch.setenv("LINKSIM_WEIGHTS", os.environ["LINKSIM_REAL_WEIGHTS"])
    lpips = Lpips("squeeze")
    found = []
    for ratio in ("1/384", "1/96", "1/24"):
        for snr_db in (1.0, 10.0):
            images = [shown(pictures, beta, ratio, snr_db) for beta in (0.0, 0.5, 1.0)]
            found.append([float(lpips(image, pictures).mean()) for image in images])
            assert found[-1][0] > max(found[-1][1:])
    of_all = [sum(column) for column in zip(*found, strict=True)]
    assert of_all[0] > of_all[1] > of_all[2]


def test_the_tables_of_kodak_say_that_realism_is_a_dial():
    """At each of their seven points LPIPS and PSNR fall from realism 0 over .5 to 1, as the document says."""
    text = (ROOT / "docs" / "dials.md").read_text()
    columns = []
    for name in ("fidelity", "half", "realism"):
        rows = [line.split("|")[2:] for line in text.splitlines() if line.startswith(f"| {name} |")]
        columns.append([(row[0], row[2]) for row in rows if len(row) == 9])  # eight measures and the end
    points = list(zip(*columns, strict=True))
    assert len(points) == 7
    for point in points:
        for measure in zip(*point, strict=True):
            zero, half, one = (float(cell.split("±")[0]) for cell in measure)
            assert zero > half > one


def test_the_noise_maps_of_these_weights_have_next_to_no_effect(pictures):
    """As card and documents say: two seeds are 50 dB apart or more, realism 0 and 1 less than 48 dB."""
    codec = load_codec("dial")
    assert isinstance(codec, DialCodec)
    layout = codec.layout(256, 256, 2048)
    with torch.no_grad():
        symbols = codec.encode(pictures, layout, Csit(torch.full((4,), 10.0)))
        received = AwgnChannel()(symbols, torch.full((4,), 10.0), [1, 2, 3, 4])
        frame, one = codec.received_map(received, layout), torch.ones(4)
        images = [
            codec.picture(frame, realism, [s, s + 1, s + 2, s + 3]).clamp(0, 1)
            for realism, s in ((one, 1), (one, 5), (0 * one, 1))
        ]
    assert 50 < measured("psnr", images[0], images[1]) < 60
    assert measured("psnr", images[0], images[2]) < 48


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

"""Every kind that is built in stands in the contract list of its family, and keeps the contract."""

from __future__ import annotations

import tarfile

import pytest
from PIL import Image

from channels import kinds
from channels.hardware import impairments
from linksim.kinds import find, names
from linksim.kinds.images import (
    FolderImagesSpec,
    NoImagesSpec,
    QrCodesSpec,
    SkimageImagesSpec,
    TarImagesSpec,
    TextPanelsSpec,
)
from linksim.kinds.networks import (
    Bourtsoulatze2019Spec,
    CnnYang2024Spec,
    DialCodecSpec,
    LeanCodecSpec,
    SwinJsccSpec,
    SwinYang2024Spec,
)
from linksim.metrics.base import ImageMetric, MetricUnavailable
from linksim.source.codec import make_source_codec
from linksim.source.pillow_codec import PillowCodec
from tests.contracts import kind_checks
from tests.contracts.operators import OPERATORS
from tests.contracts.schemes import SCHEMES

IMPAIRMENTS = {
    "clipping": impairments.Clipping(1.0),
    "rapp": impairments.RappAmplifier(2.0, smoothness=1.7),
    "cfo": impairments.CarrierFrequencyOffset(2.3e4, uniform=True),
    "timing": impairments.TimingOffset(2.3e-6),
    "phase_noise": impairments.PhaseNoise(5e3, loop_bandwidth_hz=1e4, side="transmitter"),
    "iq_imbalance": impairments.IqImbalance(1.0, 5.0),
    "quantization": impairments.Quantization(3, clip_db=6.0),
    "interferer": impairments.NarrowbandInterferer(10.0, 1.1e5),
}
NETWORKS = {
    "lean": LeanCodecSpec(kind="lean", latent_channels=4, width_8=8, width_16=8),
    "dial": DialCodecSpec(kind="dial", rates=(4, 8), width_4=8, width_8=8, width_16=8),
    "bourtsoulatze2019": Bourtsoulatze2019Spec(kind="bourtsoulatze2019", latent_channels=8),
    "cnn_yang2024": CnnYang2024Spec(kind="cnn_yang2024", width=4, max_width=16, max_decoder_width=16),
    "swin_yang2024": SwinYang2024Spec(
        kind="swin_yang2024", widths=(8, 8, 8, 16), depths=(1, 1, 1, 2), heads=(2, 2, 2, 2)
    ),
    "swinjscc": SwinJsccSpec(
        kind="swinjscc", rates=(4, 8), widths=(8, 8, 8, 16), depths=(1, 1, 1, 2), heads=(2, 2, 2, 2)
    ),
}
# Cases of the operator contract, of the scheme contract, or where else the contract of a kind is.
CHANNELS = {"awgn": "awgn", "rayleigh": "rayleigh-ls", "rician": "rician", "ofdm": "ofdm-tdlc-ls"}
MODELS = {
    "tdl": "ofdm-tdlc-ls",
    "cdl": "ofdm-cdlc-2x2-ls",
    "umi": "ofdm-umi-ls",
    "uma": "ofdm-uma-lmmse",
    "rma": "ofdm-rma-perfect",
    "inh": "ofdm-inh-1x2-ls",
    "recorded": "ofdm-recorded-ls",
}
ESTIMATORS = {"perfect": "ofdm-tdla-perfect", "ls": "ofdm-tdlc-ls", "lmmse": "ofdm-tdlc-lmmse"}
SCHEME_CASES = {
    "jscc": "lean",
    "latent_diffusion": "latent-diffusion",
    "linear_analog": "linear-sent",
    "separation": "bpg-qpsk",
    "uncoded": "uncoded-16qam",
}
ELSEWHERE = {
    "images": {"cifar10": "tests/linksim/test_bourtsoulatze2019.py, with files of its own"},
    "source_codec": {
        "command": "tests/linksim/test_command_codec.py, with a program of its own",
        "compressai": "tests/linksim/test_compressai.py, with networks of its own",
    },
    "delay_model": {"raytraced": "tests/channels/test_ray_traced.py, which needs LLVM"},
    "scheme": {
        "diffjscc": "tests/linksim/test_diffjscc.py, with a checkpoint of its own",
        "capacity_bound": "tests/theory/test_bounds.py: a limit, no scheme",
        "finite_blocklength_bound": "tests/theory/test_bounds.py: a limit, no scheme",
    },
    "network": {"latent_denoiser": "tests/theory/test_latent_sampler.py: no codec"},
}
LISTS = {
    "impairment": IMPAIRMENTS,
    "channel": CHANNELS,
    "delay_model": MODELS,
    "estimator": ESTIMATORS,
    "scheme": SCHEME_CASES,
    "network": NETWORKS,
    "source_codec": ("bpg", "bpg_external", "jpeg", "jpeg2000", "webp", "avif", "heic", "jpegxl"),
    "sampler": ("ancestral", "ddim", "dpmsolver++", "unipc"),
    "images": ("folder", "tar", "skimage", "text_panels", "qr_codes", "none"),
    "metric": (
        *("psnr", "ssim", "ms_ssim", "lpips", "lpips_alex", "lpips_vgg", "lpips_squeeze", "haarpsi", "gmsd"),
        *(
            "vif",
            "fsim",
            "flip",
            "dists",
            "clip_similarity",
            "spectrum_db",
            "swd",
            "swd_1",
            "swd_2",
            "swd_3",
            "swd_4",
        ),
        *(
            "niqe",
            "kid_lite2",
            "fid",
            "kid",
            "patch_fid_64",
            "patch_kid_64",
            "patch_fid_256",
            "patch_kid_256",
            "cmmd",
        ),
        *("top1_agreement", "posterior_kl", "ocr_cer", "ocr_confidently_wrong", "qr_decoded"),
        *("ber", "bler", "outage", "papr_db", "evm", "received_snr_db"),
    ),
}


def built_in(family: str) -> set[str]:
    return set(names(family)) - {k.name for k in kinds.foreign() if k.family == family}


def test_every_family_has_a_contract():
    assert set(LISTS) == set(kinds.FAMILIES)


@pytest.mark.parametrize("family", kinds.FAMILIES)
def test_every_kind_stands_in_its_contract_list(family):
    assert built_in(family) == {*LISTS[family], *ELSEWHERE.get(family, {})}


def test_cases_that_are_named_exist():
    assert {*CHANNELS.values(), *MODELS.values(), *ESTIMATORS.values()} <= set(OPERATORS)
    assert set(SCHEME_CASES.values()) <= set(SCHEMES)


@pytest.mark.parametrize("family", kinds.FAMILIES)
def test_every_kind_says_in_a_line_what_it_is(family):
    for name in built_in(family):
        found = find(family, name)
        assert found.summary, name


@pytest.mark.parametrize("name", IMPAIRMENTS)
def test_impairment(name):
    assert isinstance(IMPAIRMENTS[name], find("impairment", name).target)
    kind_checks.check_impairment(IMPAIRMENTS[name])


@pytest.mark.parametrize("name", NETWORKS)
def test_network(name, tmp_path):
    kind_checks.check_network(NETWORKS[name], tmp_path)


@pytest.mark.parametrize("name", LISTS["source_codec"])
def test_source_codec(name):
    if name in ("jpeg", "jpeg2000", "webp", "avif") and not PillowCodec.available(name):
        pytest.skip("this Pillow lacks it")
    try:
        codec = make_source_codec(name, "444" if name in ("jpeg2000", "jpegxl") else "420", "fast")
    except ValueError as problem:
        if name not in ("bpg_external", "heic", "jpegxl"):  # tools and packages that a machine may lack
            raise
        pytest.skip(str(problem))
    kind_checks.check_source_codec(codec)


@pytest.mark.parametrize("name", LISTS["sampler"])
def test_sampler(name):
    kind_checks.check_sampler(name)


@pytest.mark.parametrize("name", LISTS["metric"])
def test_metric(name):
    target = find("metric", name).target
    if not issubclass(target, ImageMetric):
        pytest.skip(
            "not of pairs of pictures: tests/linksim/test_metrics.py, test_set_metrics.py, test_tasks.py"
        )
    try:
        metric = find("metric", name).make()
    except MetricUnavailable as problem:
        pytest.skip(str(problem))
    if name == "niqe":
        pytest.skip("without a reference: tests/linksim/test_niqe.py")
    kind_checks.check_image_metric(metric)


def test_images(tmp_path):
    for i in range(2):
        Image.fromarray(kind_checks.picture(64, i)).save(tmp_path / f"{i}.png")
    with tarfile.open(tmp_path / "all.tar", "w") as tar:
        tar.add(tmp_path / "1.png", "1.png")
    kind_checks.check_images(FolderImagesSpec(kind="folder", path=str(tmp_path)))
    kind_checks.check_images(TarImagesSpec(kind="tar", paths=(str(tmp_path / "all.tar"),)))
    kind_checks.check_images(SkimageImagesSpec(kind="skimage", names=("astronaut",)))
    kind_checks.check_images(TextPanelsSpec(kind="text_panels", size=(128, 192)), may_be_cut=False)
    kind_checks.check_images(QrCodesSpec(kind="qr_codes"), may_be_cut=False)
    kind_checks.check_images(NoImagesSpec(kind="none"))

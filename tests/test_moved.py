"""Names of former versions: modules that moved, modules that were split, names that moved out of a module."""

from __future__ import annotations

import importlib
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from channels.runtime.moved import MOVED

_IMPAIRMENTS = (
    "CarrierFrequencyOffset Clipping FrontEnd Impairment IqImbalance NarrowbandInterferer PhaseNoise Quantization "
    "RappAmplifier Side TimingOffset"
)
_ESTIMATION = "EstimatorFactory GainEstimator Interpolation LmmseEstimator LsEstimator Moments Statistics"
_CALIBRATION = "Calibration CalibrationError ChannelCalibration McsCurve QualityCurve too_few_blocks"
_DIFFUSION = "ControlStartSpec ControlTrainScenario ControlTrainSpec DenoiserTrainScenario DenoiserTrainSpec"

# public names of every module before kinds and rooms, by a script over all __all__
FORMER = dict(
    line.split(": ")
    for line in (Path(__file__).parent / "data" / "former-names.txt").read_text().splitlines()
)
# modules between then and now: names that scripts take from them
NAMES = {
    "channels.hardware.impairments": _IMPAIRMENTS,
    "channels.models.base": "TdlModel TdlProfile",
    "channels.models.geometric": "CdlModel Cell CellModel Panel",
    "channels.ofdm.estimation": _ESTIMATION,
    "channels.ofdm.link": "OfdmChannel OfdmDraw",
    "channels.ofdm.pilot_measurements": "NoiseEstimator PilotElements",
    "linksim.coding.link_adaptation": _CALIBRATION,
    "linksim.images.sets": "Crop FolderImages ImageError SkimageImages TarImages read_image",
    "linksim.scenario.training": f"TrainSpec {_DIFFUSION}",
    "linksim.source.bpg": "MAX_PIXELS decode_bpg encode_bpg read_header",
} | FORMER
# lists of kinds and their unions, which the registry replaced, and questions that kinds answer themselves;
# CHANGELOG says so
GONE = {
    "CHANNEL_KINDS IMPAIRMENT_KINDS MODEL_KINDS SCHEME_KINDS CODEC_NAMES SamplerKind ImpairmentSpec ModelSpec SentSpec",
    "CfoSpec ClippingSpec InterfererSpec IqImbalanceSpec PhaseNoiseSpec QuantizationSpec RappSpec TimingSpec",
    "build_denoiser build_impairment build_model channel_files interleaves resulting_snr_db untraced",
    "residual_power LITE0_STRIDES has_closed_form scheme_files scheme_tools scheme_trained_on uses_gain is_error_rate missing_models",
}


@pytest.mark.parametrize("module", NAMES)
def test_names_of_former_versions_are_found(module):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        former = importlib.import_module(module)
        lost = {name for name in NAMES[module].split() if not hasattr(former, name)}
        assert lost <= set(" ".join(GONE).split())


def test_former_names_are_the_things_themselves():
    from channels.flat import awgn
    from channels.hardware.amplifier import Clipping
    from channels.models.tdl import TdlModel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert importlib.import_module("channels.impairments").Clipping is Clipping
        assert importlib.import_module("channels.delay_models").TdlModel is TdlModel
        assert importlib.import_module("channels.awgn") is awgn


def test_a_name_that_moved_says_where_it_is():
    from channels.models import base

    with pytest.warns(
        DeprecationWarning, match=r"channels\.models\.base\.TdlModel is now channels\.models\.tdl"
    ):
        base.TdlModel  # noqa: B018
    from linksim.build import checkpoints
    from linksim.weights import hub_files, zoo

    with pytest.warns(DeprecationWarning, match=r"zoo\.Backbone is now linksim\.weights\.hub_files\.HubFile"):
        assert zoo.Backbone is hub_files.HubFile
    with pytest.warns(
        DeprecationWarning, match=r"file_digest is now linksim\.build\.checkpoints\.place_digest"
    ):
        assert checkpoints.file_digest(zoo.asset("niqe-pristine.safetensors")) == zoo.asset_digest(
            "niqe-pristine.safetensors"
        )
    with pytest.raises(AttributeError, match="has no attribute 'TdlModul'"):
        base.TdlModul  # noqa: B018


def test_every_former_module_is_imported_with_a_warning_and_nothing_of_ours_uses_one():
    """In a process of its own; what is imported by its present name warns of nothing."""
    program = (
        "import warnings, importlib\n"
        "warnings.simplefilter('error', DeprecationWarning)\n"
        "import linksim\n"  # alone: former names of both packages are known from here on
        "from channels.runtime.moved import MOVED\n"
        "for name in sorted(MOVED):  # packages before what is in them\n"
        "    new = MOVED[name]\n"
        "    with warnings.catch_warnings():\n"
        "        warnings.filterwarnings('ignore', module='(?!linksim|channels)')\n"
        "        for one in [new] if isinstance(new, str) else new:\n"
        "            importlib.import_module(one)\n"
        "    with warnings.catch_warnings(record=True) as said:\n"
        "        warnings.simplefilter('always', DeprecationWarning)\n"
        "        importlib.import_module(name)\n"
        "    print(name if any(name in str(w.message) for w in said) else 'silent: ' + name)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:-1] == sorted(MOVED)

"""Names of former versions: modules that moved, modules that were split, names that moved out of a module."""

from __future__ import annotations

import importlib
import subprocess
import sys
import warnings

import pytest

from channels.runtime.moved import MOVED

_IMPAIRMENTS = (
    "CarrierFrequencyOffset Clipping FrontEnd Impairment IqImbalance NarrowbandInterferer PhaseNoise Quantization "
    "RappAmplifier Side TimingOffset"
)
_ESTIMATION = "EstimatorFactory GainEstimator Interpolation LmmseEstimator LsEstimator Moments Statistics"
_CALIBRATION = "Calibration CalibrationError ChannelCalibration McsCurve QualityCurve too_few_blocks"
_DIFFUSION = "ControlStartSpec ControlTrainScenario ControlTrainSpec DenoiserTrainScenario DenoiserTrainSpec"

# former module: names that scripts take from it
NAMES = {
    "channels.awgn": "AwgnChannel",
    "channels.delay_models": "Covariance DelayModel ExponentialCovariance RobustCovariance TdlModel TdlProfile",
    "channels.estimation": _ESTIMATION,
    "channels.flat_fading": "FlatFadingChannel",
    "channels.geometric_models": "CdlModel Cell CellModel Panel",
    "channels.hardware.impairments": _IMPAIRMENTS,
    "channels.impairments": _IMPAIRMENTS,
    "channels.models.base": "TdlModel TdlProfile",
    "channels.models.geometric": "CdlModel Cell CellModel Panel",
    "channels.ofdm": "OfdmChannel OfdmDraw",
    "channels.ofdm.estimation": _ESTIMATION,
    "channels.ofdm.link": "OfdmChannel OfdmDraw",
    "channels.ofdm.pilot_measurements": "NoiseEstimator PilotElements",
    "channels.ofdm_receiver": "OfdmReceiver estimator_factory",
    "channels.time_ofdm": "TimeDomainOfdmChannel",
    "linksim.coding.link_adaptation": _CALIBRATION,
    "linksim.digital.bpg": "decode_bpg encode_bpg read_header",
    "linksim.digital.link_adaptation": f"AdaptiveMcs {_CALIBRATION}",
    "linksim.diffusion.diffjscc_checkpoint": "open_authors_checkpoint",
    "linksim.figures": "load_rows load_runs metric_figure plot_metric run_names",
    "linksim.images.sets": "Crop FolderImages ImageError SkimageImages TarImages read_image",
    "linksim.jscc.dial": "DialCodec DialConfig Dialled ReceivedMap",
    "linksim.scenario.training": f"TrainSpec {_DIFFUSION}",
    "linksim.source.bpg": "MAX_PIXELS decode_bpg encode_bpg read_header",
    "linksim.training.codec": "Trainer check_recipe train",
    "linksim.training.control": "ControlSummary ControlTrainer train_control",
    "linksim.training.denoiser": "check_denoiser_recipe train_denoiser",
    "linksim.training.losses": "Losses",
    "linksim.training.photographs": "Photographs",
    "linksim.zoo": "codec_path",
}


@pytest.mark.parametrize("module", NAMES)
def test_names_of_former_versions_are_found(module):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        former = importlib.import_module(module)
        assert not [name for name in NAMES[module].split() if not hasattr(former, name)]


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

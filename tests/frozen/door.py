"""The only place where these tests import the project: where modules move, this file changes and no other."""

from __future__ import annotations

from linksim import zoo
from linksim.build_channel import calibration_key, load_calibration
from linksim.checkpoints import read_checkpoint
from linksim.cli import COMMANDS, main
from linksim.digital.link_adaptation import Calibration
from linksim.results import ResultStore
from linksim.scenario import Scenario
from linksim.scenario_io import load_any, scenario_dir, scenario_hash

__all__ = [
    "COMMANDS", "Calibration", "ResultStore", "Scenario", "calibration_key", "load_any", "load_calibration", "main",
    "read_checkpoint", "scenario_dir", "scenario_hash", "zoo",
]  # fmt: skip

"""The only place where these tests import the project: where modules move, this file changes and no other."""

from __future__ import annotations

from linksim.build.channels import calibration_key, load_calibration
from linksim.build.checkpoints import read_checkpoint
from linksim.cli.commands import main
from linksim.cli.parser import COMMANDS
from linksim.coding.calibration import Calibration
from linksim.results.store import ResultStore
from linksim.scenario.files import load_any, scenario_dir, scenario_hash
from linksim.scenario.schema import Scenario
from linksim.weights import zoo

__all__ = [
    "COMMANDS", "Calibration", "ResultStore", "Scenario", "calibration_key", "load_any", "load_calibration", "main",
    "read_checkpoint", "scenario_dir", "scenario_hash", "zoo",
]  # fmt: skip

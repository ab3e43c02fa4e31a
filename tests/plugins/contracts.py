"""The contracts of linksim on the kinds of labkit: run by test_plugins.py with labkit installed.

python -m tests.plugins.contracts FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from linksim.kinds import BuildContext, find, load_installed
from linksim.scenario.schema import OfdmSpec
from tests.contracts import kind_checks
from tests.contracts import operator_checks as checks


def contracts(folder: Path) -> None:
    """Of every family."""
    load_installed()
    kind_checks.check_impairment(find("impairment", "dc_offset").make(level_db=-20.0))
    kind_checks.check_source_codec(find("source_codec", "pnm_by_command").make())
    kind_checks.check_network(find("network", "pooling").target(kind="pooling"), folder)
    kind_checks.check_sampler("euler")
    kind_checks.check_image_metric(find("metric", "mean_error").make())
    kind_checks.check_images(find("images", "waves").target(kind="waves"))
    nakagami = find("channel", "nakagami").target(kind="nakagami", m=2.0)
    grid = {"kind": "ofdm", "model": {"kind": "two_path"}, "csi": {"kind": "smoothing"}}
    for description in (nakagami, OfdmSpec.model_validate(grid)):

        def make(precision: str, description=description):
            return description.build(BuildContext(torch.device("cpu"), precision))

        checks.check_shapes(make("single"))
        checks.check_same_seed_same_bits(make("single"))
        checks.check_batch_split(make("single"), (3, 5))
        checks.check_global_rng_untouched(make)
        checks.check_unit_mean_gain(make("double"), 2000, 0.05)
        checks.check_linear(make("double"))
        checks.check_adjoint(make("double"))
        checks.check_no_peeking(make("single"))
        checks.check_receiver_knows_its_error(make("double"))
        checks.check_uses(make("single"))


if __name__ == "__main__":
    contracts(Path(sys.argv[1]))

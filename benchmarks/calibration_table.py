"""Measure the link-adaptation table that comes with linksim: every adaptive channel of the scenario library.

    python benchmarks/calibration_table.py --list                 # what is measured, and how well
    python benchmarks/calibration_table.py                        # what the table lacks; an hour on two cores
    python benchmarks/calibration_table.py --anew --only mobility # again, whatever the table holds

Writes linksim/assets/mcs-calibration.json after every measurement; an interrupted one goes on. The channels
of the studies have all MCS and many frames, the variants of the library every second MCS at 4096 uses (their
figures compare channels, not steps of 0.3 dB). Quality curves are kept: linksim calibrate --quality-images.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "linksim" / "assets" / "mcs-calibration.json"
SMALL = "images={kind: skimage, names: [coffee, astronaut], crop: [256, 512]}"  # 4096 uses at CBR 1/96
SHORT = "images={kind: skimage, names: [coffee, astronaut], crop: %d}"


class Measurement(NamedTuple):
    """A run of ``linksim calibrate``."""

    scenario: str
    frames: int
    every: int = 1
    overrides: tuple[str, ...] = ()


def _library(scenario: str) -> Measurement:
    return Measurement(scenario, 48, 2, (SMALL,))


MEASUREMENTS = (
    # AWGN from the shortest block to those of Kodak
    Measurement("awgn/awgn-1-96", 200, 1, (SHORT % 32, "bandwidth.data_ratio=1/24")),  # 128 uses
    Measurement("awgn/awgn-1-96", 200, 1, (SHORT % 32, "bandwidth.data_ratio=1/12")),
    Measurement("awgn/awgn-1-96", 100, 1, (SHORT % 128,)),
    Measurement("awgn/awgn-1-96", 200, 1, (SHORT % 128, "bandwidth.data_ratio=1/48")),
    Measurement("awgn/awgn-1-96", 200, 1, (SHORT % 256, "bandwidth.data_ratio=1/64")),
    Measurement("quickstart", 200, 1, ("images={kind: skimage, multiple_of: 16}",)),  # 8192 uses
    Measurement("awgn/awgn-1-96", 200, 1, ("images={kind: skimage, names: [coffee], crop: [384, 512]}",
                                          "bandwidth.data_ratio=1/48")),
    Measurement("awgn/awgn-1-96", 200, 1, ("images={kind: skimage, names: [coffee], crop: [384, 512]}",
                                          "bandwidth.data_ratio=1/12")),
    Measurement("fading/block-rayleigh", 200),
    Measurement("ofdm/ofdm-tdla-ls", 100),
    Measurement("ofdm/ofdm-tdlb-ls", 100),
    Measurement("ofdm/interleaving", 200),
    Measurement("csi/csi-quality", 60),
    Measurement("mobility/speed", 60),
    Measurement("diffjscc/three-channels", 100, 1, (SHORT % 256,)),
    Measurement("learned/kodak-fading", 60, 2,
                ("images={kind: skimage, names: [coffee], crop: [384, 512]}",)),
    *(
        _library(name)
        for name in (
            "fading/rician",
            "38901/cdl-profiles", "38901/cells", "38901/umi-2x2", "38901/umi-power", "38901/umi",
            "csi/estimated-noise", "csi/mismatched-lmmse", "csi/pilot-boost",
            "impairments/amplifier-back-off", "impairments/clipping", "impairments/converter-bits",
            "impairments/interferer", "impairments/oscillator",
            "mimo/alamouti", "mimo/multiplexing-2x2", "mimo/receive-antennas", "mimo/svd-csit",
            "mobility/more-pilots", "raytraced/munich-route", "recorded/street-canyon",
            "paper/wu2024-mimo-svd", "paper/yang2022-ofdm-clipping",
        )
    ),
)  # fmt: skip


def command(one: Measurement, out: Path) -> list[str]:
    """The command line of a measurement."""
    result = [sys.executable, "-m", "linksim", "calibrate", one.scenario, "--out", str(out)]
    result += ["--frames", str(one.frames), "--every", str(one.every)]
    for pair in one.overrides:
        result += ["--set", pair]
    return result


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=TABLE, help="table to extend")
    parser.add_argument("--only", nargs="+", help="scenarios whose name contains one of these")
    parser.add_argument("--anew", action="store_true", help="drop what the table holds of them first")
    parser.add_argument("--list", action="store_true", help="print the commands, run none")
    args = parser.parse_args()
    chosen = [m for m in MEASUREMENTS if args.only is None or any(part in m.scenario for part in args.only)]
    if args.anew and not args.list:
        _forget(args.out, chosen)
    failed = 0
    for one in chosen:
        line = command(one, args.out)
        print(" ".join(f"'{part}'" if " " in part else part for part in line), flush=True)
        if not args.list:
            began = time.monotonic()
            failed += subprocess.run(line, check=False).returncode != 0
            print(f"{one.scenario}: {time.monotonic() - began:.0f} s", flush=True)
    return int(failed > 0)


def _forget(path: Path, chosen: list[Measurement]) -> None:
    """Take the channels of scenarios out of a table."""
    from linksim.build.channels import load_calibration
    from linksim.run.calibrate import links
    from linksim.run.runner import make_plan
    from linksim.scenario.files import load_scenario, parse_overrides

    table = load_calibration(path)
    gone = []
    for one in chosen:
        plan = make_plan(load_scenario(one.scenario, parse_overrides(list(one.overrides))))
        for variant in plan.variants:
            uses = plan.median_budget(variant)
            gone += [(key, uses) for _, _, key in links(variant.scenario)]
    kept = tuple(c for c in table.channels if (c.channel, c.num_uses) not in gone)
    print(f"{len(table.channels) - len(kept)} measurements dropped", flush=True)
    table.model_copy(update={"channels": kept, "unfinished": ()}).save(path)


if __name__ == "__main__":
    sys.exit(main())

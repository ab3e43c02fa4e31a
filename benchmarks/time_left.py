"""How right the time left is that a run tells: JSON lines.

    python benchmarks/time_left.py --images DIR                 # the 24 pictures of Kodak, in one process
    python benchmarks/time_left.py --images DIR --workers 1 2

Runs scenarios/kodak-1-96.yaml from an empty cache, with its three trials or ``--trials``. ``ratio`` is what
was told after the first tenth of the units over what it took from then on, ``at_half`` the same after half
of them. Metrics whose weights are not on this machine are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def told(images: Path, workers: int | None, trials: int, folder: Path) -> dict[str, Any]:
    """The line of a run."""
    import linksim
    from linksim.weights.zoo import backbone_at

    weights = [f"lpips_{net}" for net in ("squeeze", "alex", "vgg") if backbone_at(net)]
    metrics = ["psnr", "ms_ssim", *weights[:1], "ber", "bler"]
    seen: list[tuple[float, int, int, float]] = []

    def progress(done: int, total: int, left: Any) -> None:
        seen.append((time.monotonic(), done, total, left.seconds))

    changes = {"images.path": str(images.resolve()), "sweep.trials": trials, "metrics": metrics}
    scenario = ROOT / "scenarios" / "kodak-1-96.yaml"
    linksim.simulate(scenario, changes, out=folder / "run", workers=workers, progress=progress)
    end, _, units, _ = seen[-1]

    def ratio(share: float) -> float:
        now, _, _, left = next(one for one in seen if one[1] >= share * units)
        return round(left / (end - now), 3)

    return {
        "scenario": "kodak-1-96",
        "workers": workers,
        "units": units,
        "seconds": round(end - seen[0][0], 1),
        "ratio": ratio(0.1),
        "at_half": ratio(0.5),
    }


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=Path, required=True, help="folder of pictures")
    parser.add_argument(
        "--workers", type=int, nargs="+", help="processes of a line; without: one line of this one"
    )
    parser.add_argument("--trials", type=int, default=3)
    args = parser.parse_args()
    for workers in args.workers or (None,):
        with tempfile.TemporaryDirectory() as folder:
            os.environ["LINKSIM_CACHE"] = str(Path(folder) / "cache")
            print(json.dumps(told(args.images, workers, args.trials, Path(folder))), flush=True)


if __name__ == "__main__":
    main()

"""linksim, Sionna and Kaira side by side, in one process: what "SNR" is, and what a symbol costs.

Prints one JSON object: ``versions``, ``machine``, and lists of rows. A package that is not installed is left
out.

- ``error_rates``: uncoded QPSK at 10 dB. On AWGN; and over Rayleigh fading with one fade per frame, frames
  sent one by one, as pictures are, each package at its own argument for an SNR, gains known, with the closed
  form.
- ``demapping``: LLRs of 2^19 symbols of 64-QAM at 15 dB: time (median of ``--repeats``), largest difference
  to exact LLRs computed here in double precision over all 64 points, and the factor by which they are larger
  in the median.
- ``channel``: 2^20 symbols through AWGN.

    python benchmarks/neighbours.py [--frames 4000] [--repeats 5] > docs/measurements/neighbours.json

Kaira is ``pip install pykaira``; linksim does not need it.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from channels.flat.awgn import AwgnChannel
from channels.flat.fading import FlatFadingChannel
from channels.runtime.extras import package_version
from channels.runtime.sionna_seeding import sionna_device, sionna_phy
from linksim import __version__
from linksim.coding.qam import Qam, qam_points
from linksim.report.theory import awgn, qam_error_rate, rayleigh

SNR_DB = 10.0
FRAME = 256  # symbols
DEVICE = torch.device("cpu")


def kaira() -> Any:
    """Kaira's channels and modulations; None without them."""
    try:
        import kaira.channels
        import kaira.modulations
    except ImportError:
        return None
    return kaira


def versions() -> dict[str, str]:
    """Of what is compared."""
    found = {"linksim": __version__}
    for name in ("sionna", "pykaira", "compressai", "torch"):
        try:
            found[name] = package_version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def qpsk(frames: int) -> tuple[torch.Tensor, np.ndarray, torch.Tensor]:
    """Symbols [frames, FRAME], their bits, and fades [frames, 1], the same for all packages."""
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2, (frames, 2 * FRAME), dtype=np.uint8)
    fades = torch.from_numpy((rng.normal(size=(frames, 2)) @ [1, 1j] / 2**0.5).astype(np.complex64))[:, None]
    return Qam(2).modulate(bits), bits, fades


def error_rate(y: torch.Tensor, gain: torch.Tensor | float, bits: np.ndarray) -> float:
    """Of QPSK bits, decided with known gains."""
    turned = y * np.conj(gain) if isinstance(gain, float) else y * gain.conj()
    decided = torch.stack([turned.real < 0, turned.imag < 0], -1).flatten(1).numpy()
    return float((decided != bits).mean())


def error_rates(frames: int) -> list[dict[str, Any]]:
    """Rows by package and channel."""
    x, bits, fades = qpsk(frames)
    snr = 10 ** (SNR_DB / 10)
    no = torch.full((frames, 1), 1 / snr)
    told = torch.full((frames,), SNR_DB)
    theory = {"AWGN": qam_error_rate(2, snr, awgn), "one fade per frame": qam_error_rate(2, snr, rayleigh(1))}
    phy = sionna_phy()
    phy.config.seed = 1
    noise = phy.channel.AWGN(device=sionna_device(DEVICE))
    single = AwgnChannel()
    fading = FlatFadingChannel()
    received = fading(x, told, seeds=range(frames))
    found = [
        ("linksim", "AWGN", error_rate(single(x, told, seeds=range(frames)).y, 1.0, bits)),
        ("linksim", "one fade per frame", error_rate(received.y, received.csi.h, bits)),
        ("Sionna", "AWGN", error_rate(noise(x, no), 1.0, bits)),
        ("Sionna", "one fade per frame", error_rate(noise(x * fades, no), fades, bits)),
    ]
    if (theirs := kaira()) is not None:
        torch.manual_seed(1)
        sent = theirs.channels.AWGNChannel(snr_db=SNR_DB)
        faded = theirs.channels.FlatFadingChannel("rayleigh", coherence_time=FRAME, snr_db=SNR_DB)
        each = torch.cat([faded(x[i : i + 1], csi=fades[i : i + 1].expand(1, FRAME)) for i in range(frames)])
        found += [
            ("Kaira", "AWGN", error_rate(sent(x), 1.0, bits)),
            ("Kaira", "one fade per frame", error_rate(each, fades, bits)),
        ]
    return [
        {
            "package": name,
            "channel": where,
            "snr_db": SNR_DB,
            "ber": rate,
            "theory": theory[where],
            "bits": bits.size,
        }
        for name, where, rate in found
    ]


def timed(work: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Median time after one call, and what the call gave."""
    result = work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times), result


def exact_llrs(y: np.ndarray, no: float, points: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """log(P(0)/P(1)) in double precision: points [M], their bits [M, Q_m]."""
    metric = -(np.abs(y[:, None] - points) ** 2) / no
    weight = np.exp(metric - metric.max(1, keepdims=True))
    return np.log(weight @ (labels == 0)) - np.log(weight @ (labels == 1))


def against_exact(found: np.ndarray, expected: np.ndarray) -> dict[str, float]:
    """Largest difference, and by what factor LLRs that say something are too large."""
    clear = np.abs(expected) > 1
    return {
        "largest_error": float(np.abs(found - expected).max()),
        "factor": float(np.median(found[clear] / expected[clear])),
    }


def demapping(repeats: int) -> list[dict[str, Any]]:
    """Rows by package; each is given symbols of its own constellation and the noise variance per complex
    symbol.
    """
    rng = np.random.default_rng(2)
    number, no = 1 << 19, 10**-1.5
    index = rng.integers(0, 64, number)
    noise = ((rng.normal(size=(number, 2)) @ [1, 1j]) * (no / 2) ** 0.5).astype(np.complex64)
    own = qam_points(6), np.arange(64)[:, None] >> np.arange(6)[::-1] & 1
    level = torch.full((1, number), no)
    theirs = sionna_phy().mapping.Demapper("app", "qam", 6, device=sionna_device(DEVICE))
    jobs: dict[str, tuple[Callable[[torch.Tensor], Any], int, Any, Any]] = {
        "linksim": (lambda y: Qam(6).demodulate(y, level), 1, *own),
        "Sionna": (lambda y: theirs(y, level), -1, *own),  # log(P(1)/P(0))
    }
    if (other := kaira()) is not None:
        demodulator = other.modulations.QAMDemodulator(64)
        known = demodulator.modulator
        points, labels = known.constellation.numpy(), known.bit_patterns.numpy().astype(int)
        jobs["Kaira"] = (lambda y: demodulator(y, no), 1, points, labels)
    rows = []
    for name, (work, sign, points, labels) in jobs.items():
        y = torch.from_numpy(points[index].astype(np.complex64) + noise)[None]
        seconds, found = timed(lambda work=work, y=y: work(y), repeats)
        few = y[0, :20000].numpy().astype(np.complex128)
        expected = exact_llrs(few, no, points.astype(np.complex128), labels)
        llrs = sign * np.asarray(found).reshape(-1, 6)[: len(few)]
        rows.append({"package": name, "symbols": number, "seconds": seconds, **against_exact(llrs, expected)})
    return rows


def channel(repeats: int) -> list[dict[str, Any]]:
    """Rows by package."""
    x, _, _ = qpsk((1 << 20) // FRAME)
    told, no = torch.full((len(x),), SNR_DB), torch.full((len(x), 1), 0.1)
    single, noise = AwgnChannel(), sionna_phy().channel.AWGN(device=sionna_device(DEVICE))
    jobs: dict[str, Callable[[], Any]] = {
        "linksim": lambda: single(x, told, seeds=range(len(x))),
        "Sionna": lambda: noise(x, no),
    }
    if (theirs := kaira()) is not None:
        jobs["Kaira"] = lambda: theirs.channels.AWGNChannel(snr_db=SNR_DB)(x)
    return [
        {"package": name, "seconds": timed(work, repeats)[0], "symbols": x.numel()}
        for name, work in jobs.items()
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    found = {
        "versions": versions(),
        "machine": f"{platform.machine()} {platform.system()}, {torch.get_num_threads()} threads",
        "error_rates": error_rates(args.frames),
        "demapping": demapping(args.repeats),
        "channel": channel(args.repeats),
    }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()

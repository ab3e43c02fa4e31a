"""How much the mistakes that linksim made itself moved its curves: each is switched on again here.

Prints one JSON line per mistake like benchmarks/mistakes.py, whose pictures and codec these are; the page
docs/mistakes.md quotes this output. Under a minute each on two cores.

    python benchmarks/own_mistakes.py [--only NAME ...]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

import numpy as np
import torch
from mistakes import (
    SIZE,
    _rounded,
    chosen,
    gains,
    grey,
    honest_bytes,
    mean_quality,
    photographs,
    psnr_at,
    psnrs,
    tensor,
    uses,
)

from channels.base import ChannelOperator
from channels.equalization import equalize
from channels.flat.awgn import AwgnChannel
from channels.flat.fading import FlatFadingChannel
from channels.flat.hardware import SingleCarrierChannel
from channels.flat.interleaving import InterleavedChannel
from channels.hardware.amplifier import Clipping
from channels.models.tdl import TdlModel
from channels.ofdm.grid import Pilots
from channels.ofdm.link import OfdmChannel
from channels.types import Csi
from channels.units import linear_to_db
from linksim.build.objects import load_codec
from linksim.coding.bounds import capacity_bits
from linksim.coding.mcs import MCS_TABLE_1, Mcs
from linksim.coding.qam import Qam
from linksim.coding.transport import TransportBlock
from linksim.link import run_link
from linksim.results.records import side_info_uses
from linksim.schemes.jscc import JsccScheme

FRAMES = 60


def tdl_c(speed_mps: float, num_rx_antennas: int = 1) -> OfdmChannel:
    """TDL-C of 300 ns over 64 subcarriers, least-squares estimates from two pilot symbols."""
    model = TdlModel(
        "C",
        delay_spread_s=300e-9,
        carrier_hz=3.5e9,
        speed_mps=speed_mps,
        num_rx_antennas=num_rx_antennas,
    )
    return OfdmChannel(model, csi="ls", pilots=Pilots((2, 11)))


def sent(channel: ChannelOperator, mcs: Mcs, n: int, snr_db: float, count: int) -> np.ndarray:
    """Whether each of ``count`` frames decodes; the same fades and noises for every MCS and SNR."""
    block, qam = TransportBlock(n, mcs.bits_per_symbol, mcs.rate), Qam(mcs.bits_per_symbol)
    payload = np.random.default_rng(2).integers(0, 2, (count, block.size), dtype=np.uint8)
    x = qam.modulate(block.encode(payload))
    received = channel(x, torch.full((count,), snr_db), list(range(100, 100 + count)))
    result: np.ndarray = block.decode(qam.demodulate(*equalize(received, "zf"))).ok
    return result


def interleaving_one_side_only() -> dict[str, object]:
    """Block error rates of MCS 12 with its code blocks one behind the other on the grid, and interleaved as
    the analog codes beside it always were.
    """
    result: dict[str, object] = {"effect": f"BLER of MCS 12 on TDL-C with LS estimates, {FRAMES} frames"}
    for n, speed_mps, snrs_db in ((12288, 10.0, (9.0, 12.0)), (24576, 30.0, (10.0, 12.0))):
        plain = tdl_c(speed_mps)
        for name, channel in (("in order", plain), ("interleaved", InterleavedChannel(plain))):
            key = f"{n} uses at {speed_mps:g} m/s, {name}"
            result[key] = {
                f"{s:g} dB": 1 - float(sent(channel, MCS_TABLE_1[12], n, s, FRAMES).mean()) for s in snrs_db
            }
    return result


def learned(channel: ChannelOperator, snr_db: float) -> float:
    """Mean PSNR of the bundled lean network, one frame per picture."""
    scheme, image = JsccScheme("lean", load_codec("lean-awgn-1-96")), tensor()
    snr = torch.full((len(image),), snr_db)
    out = run_link(scheme, channel, image, snr, list(range(len(image))), uses(96))
    return float(np.mean(psnrs(out.reconstruction.image)))


def sparse_list_of_mcs() -> dict[str, object]:
    """The best of MCS 1, 4 and 9 at every SNR, which was said to be what an adapting link has; against link
    adaptation by the shipped table, and against the bundled network. CBR 1/96.
    """
    n = uses(96)
    fixed = [MCS_TABLE_1[i] for i in (1, 4, 9)]
    fits = [
        psnr_at(honest_bytes(fixed[0], n), i) > grey(rgb) + 1e-9 for i, (rgb, _) in enumerate(photographs())
    ]
    awgn = AwgnChannel()
    rows: dict[str, dict[str, float]] = {}
    for snr_db in (5.0, 10.0, 15.0, 20.0):
        best = max(mean_quality(honest_bytes(m, n)) for m in fixed if sent(awgn, m, n, snr_db, 20).all())
        rows[f"AWGN {snr_db:g} dB"] = {
            "best of MCS 1, 4, 9": best,
            "adaptive": mean_quality(honest_bytes(chosen(snr_db, n), n)),
            "learned": learned(awgn, snr_db),
        }
    rows["lost"] = {name: row["adaptive"] - row["best of MCS 1, 4, 9"] for name, row in rows.items()}
    channel = InterleavedChannel(tdl_c(1.0, 4))
    shown = {}
    for index in (9, 16):
        share = float(sent(channel, MCS_TABLE_1[index], n, 15.0, FRAMES).mean())
        quality = mean_quality(honest_bytes(MCS_TABLE_1[index], n))
        lost = float(np.mean([grey(rgb) for rgb, _ in photographs()]))
        shown[f"MCS {index}"] = share * quality + (1 - share) * lost
    rows["TDL-C 1x4, 15 dB"] = {**shown, "learned": learned(channel, 15.0)}
    missing = f"{fits.count(False)} of {len(fits)} pictures of {SIZE[0]} x {SIZE[1]}"
    return {"effect": "PSNR [dB], CBR 1/96", **rows, "MCS 1 fits not": missing}


def free_picture_size() -> dict[str, object]:
    """The size of a reduced picture read off the receiver's canvas: a byte less in the payload; and what
    analog schemes paid for theirs all along.
    """
    percent = {f"1/{c}": 100 * side_info_uses(32) / uses(c) for c in (384, 96, 24)}
    return {
        "effect": "PSNR gained [dB] by a byte; 32 bits of an analog scheme in percent of its uses",
        "1/384": gains(lambda mcs, n: honest_bytes(mcs, n) + 1, 384),
        "1/96": gains(lambda mcs, n: honest_bytes(mcs, n) + 1, 96),
        "analog, percent": percent,
    }


def constant_distortion() -> dict[str, object]:
    """Distortion of the transmitter told, and counted in bounds, as its mean, whatever the fade: frames that
    decode above "the bound that nothing exceeds", and how far the told variance is off. Flat Rayleigh fading,
    clipping at 3 dB, 40 dB, 768 uses, MCS 16, 200 frames.
    """
    channel = SingleCarrierChannel(FlatFadingChannel(), [Clipping(3.0)], symbol_rate_hz=1e6)
    mcs, frames, snr_db = MCS_TABLE_1[16], 200, torch.full((200,), 40.0)
    seeds, no = list(range(frames)), torch.full((frames, 1), 1e-4)
    block, qam = TransportBlock(768, mcs.bits_per_symbol, mcs.rate), Qam(mcs.bits_per_symbol)
    payload = np.random.default_rng(2).integers(0, 2, (frames, block.size), dtype=np.uint8)
    draw = channel.draw(768, seeds)
    received = channel(qam.modulate(block.encode(payload)), snr_db, seeds, draw)
    ok = torch.from_numpy(block.decode(qam.demodulate(*equalize(received, "zf"))).ok)
    true, added = channel.limits(draw, no), channel.hardware.with_symbol
    wrong = capacity_bits(Csi(true.h, true.no + added, true.err_var))
    beyond = ok & (wrong < block.size)
    return {
        "effect": "frames decoded above their bound; told over actual variance [dB] in a tenth of the frames",
        "decoded": int(ok.sum()),
        "above, constant": int(beyond.sum()),
        "by bit per use": float((block.size - wrong)[beyond].max() / 768) if bool(beyond.any()) else 0.0,
        "above, per use": int((ok & (capacity_bits(true) < block.size)).sum()),
        **told_over_actual(channel, frames, 1e-4 + added),
    }


def told_over_actual(channel: ChannelOperator, frames: int, constant: float) -> dict[str, object]:
    """Told variance over the actual one [dB] in the weakest and the strongest tenth of the frames: a
    constant, and what receivers are told. Gaussian symbols, 40 dB.
    """
    x = torch.randn(frames, 768, dtype=torch.complex64, generator=torch.Generator().manual_seed(3))
    received = channel(x, torch.full((frames,), 40.0), list(range(frames)))
    actual = (received.y - received.csi.h * x).abs().square().mean(1)
    told = (received.csi.no + received.csi.err_var).expand(x.shape).mean(1)
    order, tenth = received.csi.h.abs().square().mean(1).argsort(), frames // 10
    found: dict[str, object] = {}
    for name, part in (("weakest", order[:tenth]), ("strongest", order[-tenth:])):
        mean = float(actual[part].mean())
        found[name] = {
            "constant": linear_to_db(constant / mean),
            "per use": linear_to_db(float(told[part].mean()) / mean),
        }
    return found


MISTAKES: dict[str, Callable[[], dict[str, object]]] = {
    f.__name__: f
    for f in (interleaving_one_side_only, sparse_list_of_mcs, free_picture_size, constant_distortion)
}


def main() -> int:
    """Measure every mistake."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=tuple(MISTAKES), default=tuple(MISTAKES))
    for name in parser.parse_args().only:
        with torch.no_grad():
            print(json.dumps({"mistake": name, **_rounded(MISTAKES[name]())}), flush=True)  # type: ignore[dict-item]
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Time and memory of the DiffJSCC receiver on whatever device there is.

Prints one JSON line per (sampler, steps, dtype, batch): milliseconds per image of ``jscc`` (decoder),
``caption``, ``condition`` (autoencoder's encoder), ``denoiser`` (all steps), ``decode`` and ``other``, their
``total``, and ``peak_mb``. Random weights take as long as trained ones; make them with
benchmarks/make_diffjscc_checkpoint.py and convert them with linksim convert diffjscc.

    python benchmarks/diffusion_receiver.py FOLDER [--height 512 --width 768] [--steps 10 20]
        [--sampler ancestral dpmsolver++] [--dtype bfloat16] [--batch 1] [--compile] [--baseline]

``--baseline`` adds a plain loop: 100 ancestral steps in eager float32, and every line its ``speedup``.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from channels.flat.awgn import AwgnChannel
from channels.types import Csit
from linksim.build.objects import load_diffjscc
from linksim.diffusion.caption import HubCaptioner
from linksim.diffusion.receiver import DiffusionReceiver, SamplerOptions
from linksim.schemes.jscc import JsccScheme


class Stopwatch:
    """Seconds by part; parts are methods that are wrapped."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._device = device

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its time added to a part."""

        def wrapped(*arguments: Any, **keywords: Any) -> Any:
            began = self.now()
            result = function(*arguments, **keywords)
            self.seconds[name] += self.now() - began
            return result

        return wrapped

    def now(self) -> float:
        """Seconds, with the device idle."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


def peak_mb(device: torch.device) -> float:
    """Largest memory of this process, on the device or, on a CPU, in all."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def device_name(device: torch.device) -> str:
    """What figures should name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu, {torch.get_num_threads()} threads"


def alone(*arguments: Any) -> dict[str, Any]:
    """:func:`measure` in a process of its own, so that peaks and caches are those of one configuration."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, *arguments).result()


def measure(
    folder: Path, options: SamplerOptions, dtype: torch.dtype, batch: int, args: argparse.Namespace
) -> dict[str, Any]:
    """One configuration: once to warm up (always on a GPU), once measured."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    codec, model = load_diffjscc(folder)
    codec.to(device)  # type: ignore[attr-defined]
    captioner = HubCaptioner(args.caption, device=device, dtype=dtype) if args.caption else None
    receiver = DiffusionReceiver(model, options, captioner, device=device, dtype=dtype)
    if args.compile:
        receiver.compile()
    watch = Stopwatch(device)
    receiver.encode = watch.timed("condition", receiver.encode)  # type: ignore[method-assign]
    receiver.predict = watch.timed("denoiser", receiver.predict)  # type: ignore[method-assign]
    receiver.decode = watch.timed("decode", receiver.decode)  # type: ignore[method-assign]
    if captioner is not None:
        receiver._captioner = watch.timed("caption", captioner)  # type: ignore[assignment]
    jscc = JsccScheme("jscc", codec)
    image = torch.rand(batch, 3, args.height, args.width, generator=torch.Generator().manual_seed(1)).to(
        device
    )
    budget = codec.num_symbols(args.height, args.width)  # type: ignore[attr-defined]
    snr_db, seeds = torch.full((batch,), 10.0, device=device), list(range(batch))
    with torch.no_grad():
        frame = jscc.transmit(image, budget, Csit(snr_db))
        received = AwgnChannel(device=device)(frame.symbols, snr_db, seeds)
        receive = watch.timed("jscc", jscc.receive)
        for _ in range(2 if args.warm_up or device.type == "cuda" else 1):
            watch.seconds.clear()
            began = watch.now()
            first = receive(received, frame.layout, seeds)
            receiver(first.image, snr_db, seeds)
            total = watch.now() - began
    parts = {name: round(1e3 * watch.seconds[name] / batch, 1) for name in
             ("jscc", "caption", "condition", "denoiser", "decode")}  # fmt: skip
    return {
        "sampler": options.kind,
        "steps": options.steps,
        "dtype": str(dtype).removeprefix("torch."),
        "batch": batch,
        "size": f"{args.width}x{args.height}",
        "ms": {**parts, "other": round(1e3 * total / batch - sum(parts.values()), 1)},
        "total_ms": round(1e3 * total / batch, 1),
        "peak_mb": round(peak_mb(device)),
        "device": device_name(device),
    }


def main() -> int:
    """Every combination."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--height", type=int, default=512)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--steps", type=int, nargs="+", default=[10])
    parser.add_argument("--sampler", nargs="+", default=["dpmsolver++"])
    parser.add_argument("--dtype", nargs="+", default=["bfloat16"])
    parser.add_argument("--batch", type=int, nargs="+", default=[1])
    parser.add_argument("--caption", help="captioner: folder or owner/name")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--warm-up", action="store_true", help="run once before measuring on a CPU too")
    parser.add_argument("--baseline", action="store_true", help="100 ancestral steps in float32, for a ratio")
    args = parser.parse_args()
    reference = None
    if args.baseline:
        line = alone(args.folder, SamplerOptions("ancestral", 100), torch.float32, 1, args)
        reference = line["total_ms"]
        print(json.dumps({"baseline": True, **line}), flush=True)
    for kind in args.sampler:
        for steps in args.steps:
            for dtype in args.dtype:
                for batch in args.batch:
                    line = alone(args.folder, SamplerOptions(kind, steps), getattr(torch, dtype), batch, args)
                    if reference is not None:
                        line["speedup"] = round(reference / line["total_ms"], 2)
                    print(json.dumps(line), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Cost of TensorFlow through the bridge against the same TensorFlow on its own, in one process.

Prints one JSON line per figure: ``ratio`` (ours / TensorFlow, median over paired repetitions), ``quartiles``
of it, ``cpu_ratio`` (of processor time, which other work on the machine disturbs less), and the median
milliseconds of both. For each block

* ``call``: ``tensorflow_call`` of a ``tf.function`` on PyTorch tensors, against the call on tf.Tensors;
* ``propagate``: ``TensorFlowChannel.propagate``, which goes image by image, against one ``tf.function`` over
  the whole batch that adds the same noise; and the same with ``per_image=False``;

``forward``, and ``forward+backward`` (gradient with respect to the sent symbols). Blocks are a
multiplication, an amplifier with four paths and a Keras model, or with ``--sionna1``, in an environment that
has Sionna 1.x, its TDL channel over OFDM, from taps to received grid.

    python benchmarks/tf_bridge_overhead.py [--images 8] [--symbols 12288] [--repetitions 60] [--sionna1]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf
import torch
from torch import Tensor

from channels import seeding
from channels.tensorflow.call import tensorflow_call
from channels.tensorflow.channel import TensorFlowChannel

TAPS = [0.8 + 0.1j, 0.3 - 0.3j, 0.2 + 0.2j, -0.1 + 0.15j]


def gain(x: Any, h: Any) -> Any:
    """A gain per symbol. There is no cheaper channel, so the bridge shows most."""
    return h * x


def amplifier(x: Any, h: Any) -> Any:
    """A saturating amplifier, four paths, and a gain per symbol."""
    bent = x / tf.cast(tf.sqrt(1 + 0.2 * tf.square(tf.abs(x))), x.dtype)
    paths = [tap * tf.pad(bent, [[0, 0], [late, 0]])[:, : x.shape[1]] for late, tap in enumerate(TAPS)]
    return h * tf.add_n(paths)


def keras_block() -> Callable[[Any, Any], Any]:
    """A learned channel in small: three convolutions over real and imaginary parts, and a gain per symbol."""
    convolution = tf.keras.layers.Conv1D
    hidden = [convolution(16, 9, padding="same", activation="tanh") for _ in range(2)]
    model = tf.keras.Sequential([tf.keras.Input((None, 2)), *hidden, convolution(2, 9, padding="same")])

    def learned(x: Any, h: Any) -> Any:
        y = model(tf.stack([tf.math.real(x), tf.math.imag(x)], -1))
        return h * tf.complex(y[..., 0], y[..., 1])

    return learned


def fade(num_sent: int, gen: torch.Generator) -> list[Tensor]:
    """A gain per symbol."""
    return [seeding.complex_normal((num_sent,), gen, torch.complex64)]


def sionna1_block() -> Any:
    """The example of the documentation."""
    path = Path(__file__).resolve().parent.parent / "docs" / "examples" / "sionna1_tdl_channel.py"
    spec = importlib.util.spec_from_file_location("sionna1_tdl_channel", path)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return example.Sionna1Tdl()


def in_tensorflow(fn: Callable[..., Any], *inputs: Any) -> dict[str, Callable[[], object]]:
    """TensorFlow on its own; the gradient with respect to the first input."""
    upstream = tf.ones_like(inputs[0])

    def backward() -> object:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(inputs[0])
            y = fn(*inputs)
        return tape.gradient(y, inputs[0], output_gradients=upstream)

    return {"forward": lambda: fn(*inputs), "forward+backward": backward}


def in_pytorch(fn: Callable[[Tensor], Tensor], x: Tensor) -> dict[str, Callable[[], object]]:
    """The same with PyTorch outside."""
    upstream, sent = torch.ones_like(x), x.clone().requires_grad_()
    return {
        "forward": lambda: fn(x),
        "forward+backward": lambda: torch.autograd.grad(fn(sent), sent, upstream),
    }


def compare(ours: Callable[[], object], bare: Callable[[], object], repetitions: int) -> dict[str, object]:
    """Paired runs, every second pair in the other order."""
    for _ in range(5):
        ours(), bare()
    wall, cpu = [], []
    for i in range(repetitions):
        taken = {}
        for call in (ours, bare) if i % 2 else (bare, ours):
            began = time.perf_counter(), time.process_time()
            call()
            taken[call] = time.perf_counter() - began[0], time.process_time() - began[1]
        wall.append((taken[ours][0], taken[bare][0]))
        cpu.append((taken[ours][1], taken[bare][1]))
    low, middle, high = statistics.quantiles([a / b for a, b in wall], n=4)
    return {
        "ratio": round(middle, 3),
        "quartiles": [round(low, 3), round(high, 3)],
        "cpu_ratio": round(statistics.median(a / b for a, b in cpu), 3),
        "ms": round(1e3 * statistics.median(a for a, _ in wall), 3),
        "tensorflow_ms": round(1e3 * statistics.median(b for _, b in wall), 3),
    }


def main() -> None:
    """Run all comparisons."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--symbols", type=int, default=12288)
    parser.add_argument("--repetitions", type=int, default=60)
    parser.add_argument("--threads", type=int, default=0, help="of either framework; 0: as they choose")
    parser.add_argument("--sionna1", action="store_true", help="the channel of Sionna 1.x alone")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
        tf.config.threading.set_intra_op_parallelism_threads(args.threads)
        tf.config.threading.set_inter_op_parallelism_threads(args.threads)
    size, gen = (args.images, args.symbols), seeding.generator(1)
    x, noise = (seeding.complex_normal(size, gen, torch.complex64) for _ in range(2))
    no = torch.full((args.images, 1), 0.1)
    bare_x, bare_noise, bare_no = (tf.constant(t.numpy()) for t in (x, noise, no))
    blocks: dict[str, tuple[Any, dict[str, Any]]] = {
        name: (fn, {"draw": fade, "gain": lambda h: h})
        for name, fn in {"gain": gain, "amplifier": amplifier, "keras": keras_block()}.items()
    }
    if args.sionna1:
        fn = sionna1_block()
        blocks = {"sionna1-tdl": (fn, {"draw": fn.draw, "gain": fn.gain})}
    for block, (fn, state_of) in blocks.items():
        channel = TensorFlowChannel(fn, **state_of)
        batched = TensorFlowChannel(fn, per_image=False, **state_of)
        traced = tf.function(fn)
        noisy = tf.function(lambda x, w, no, *state, fn=fn: fn(x, *state) + w * tf.cast(tf.sqrt(no), w.dtype))
        draw = channel.draw(args.symbols, range(args.images))
        state = [t.contiguous() for t in draw.state]
        bare_state = [tf.constant(t.numpy()) for t in state]
        pairs = {
            "call": (
                in_pytorch(lambda x, f=traced, s=state: tensorflow_call(f, x, *s), x),
                in_tensorflow(traced, bare_x, *bare_state),
            ),
            "propagate": (
                in_pytorch(lambda x, c=channel, d=draw: c.propagate(x, d, no), x),
                in_tensorflow(noisy, bare_x, bare_noise, bare_no, *bare_state),
            ),
            "propagate, per_image=False": (
                in_pytorch(lambda x, c=batched, d=draw: c.propagate(x, d, no), x),
                in_tensorflow(noisy, bare_x, bare_noise, bare_no, *bare_state),
            ),
        }
        for figure, (ours, bare) in pairs.items():
            for direction in ("forward", "forward+backward"):
                result = compare(ours[direction], bare[direction], args.repetitions)
                line = {"block": block, "figure": figure, "pass": direction, **result}
                print(json.dumps({**line, "images": args.images, "symbols": args.symbols}), flush=True)


if __name__ == "__main__":
    main()

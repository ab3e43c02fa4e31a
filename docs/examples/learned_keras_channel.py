"""A channel that nobody has a formula for: learn it with Keras from measurements, then train through it.

1. A radio with a saturating amplifier and echoes is "measured": this script plays it, and the rest of the
   script sees only what went in and what came out.
2. A small Keras network learns the radio.
3. The network becomes a linksim channel. The receiver does not know its gain and estimates it from pilots.
4. A shipped image code is tuned through the channel: gradients of the picture reach the encoder by way of
   TensorFlow.

    pip install 'linksim-wireless[tensorflow]'
    python docs/examples/learned_keras_channel.py [--epochs 12] [--steps 20]
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import tensorflow as tf
import torch
from torch import Tensor

from channels import seeding
from channels.tensorflow.channel import TensorFlowChannel
from linksim.build.objects import load_codec
from linksim.images.sets import SkimageImages
from linksim.link import run_link
from linksim.metrics.distortion import psnr
from linksim.schemes.jscc import JsccScheme

ECHOES = (0.9, 0.25 - 0.2j, -0.1 + 0.15j, 0.08j)
SNR_DB, SIDE = 15.0, 256
SYMBOLS = SIDE * SIDE * 3 // 96


def radio(x: Tensor) -> Tensor:
    """What is measured: an amplifier that saturates, then echoes 1, 2 and 3 symbols late."""
    sent = x / (1 + 0.25 * x.abs().square()).sqrt()
    late = [torch.nn.functional.pad(sent, (delay, 0))[:, : x.shape[1]] for delay in range(len(ECHOES))]
    return sum(gain * copy for gain, copy in zip(ECHOES, late, strict=True))


def measure(frames: int, seed: int) -> tuple[Tensor, Tensor]:
    """Frames of Gaussian symbols at both ends, with measurement noise 30 dB down. The mean gain is scaled to
    one, which is what SNR means in linksim.
    """
    gen = seeding.generator(seed)
    x, noise = (seeding.complex_normal((frames, 512), gen, torch.complex64) for _ in range(2))
    y = radio(x)
    gain = ((y * x.conj()).sum() / x.abs().square().sum()).abs()
    return x, y / gain + 10 ** (-30 / 20) * noise


def network() -> keras.Model:
    """Real and imaginary parts in and out: a linear path, and one that bends."""
    pairs = keras.Input((None, 2))
    bent = keras.layers.Conv1D(32, 5, padding="causal", activation="tanh")(pairs)
    bent = keras.layers.Conv1D(32, 1, activation="tanh")(bent)
    straight = keras.layers.Conv1D(2, 5, padding="causal", use_bias=False)(pairs)
    return keras.Model(pairs, keras.layers.Add()([straight, keras.layers.Conv1D(2, 1)(bent)]))


def learn(epochs: int) -> tuple[keras.Model, float]:
    """The trained network, and its error on frames it has not seen, relative to their power [dB]."""
    keras.utils.set_random_seed(1)
    model = network()
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(5e-3, epochs * 32)), "mse")
    x, y = (torch.view_as_real(part).numpy() for part in measure(256, seed=1))
    model.fit(x, y, batch_size=8, epochs=epochs, verbose=0)
    x, y = (torch.view_as_real(part).numpy() for part in measure(32, seed=2))
    error = tf.reduce_mean(tf.square(model(x) - y)) / tf.reduce_mean(tf.square(y))
    return model, 10 * float(tf.math.log(error) / tf.math.log(10.0))


def make_channel(model: keras.Model) -> TensorFlowChannel:
    """The network behind pilots; what it does beyond a gain is noise to the receiver, and measured once."""
    pilots = {"csi": "ls", "pilots_per_block": 16, "coherence_symbols": 512, "symbols": "pairs"}
    distortion = TensorFlowChannel(model, **pilots).measure_distortion(SYMBOLS)
    return TensorFlowChannel(model, distortion=distortion, **pilots)


def tune(channel: TensorFlowChannel, steps: int) -> tuple[float, float, float]:
    """PSNR of a picture that is not trained on, before and after [dB], and the norm of the first gradient
    that reaches the encoder.
    """
    codec = load_codec("lean-awgn-1-96").requires_grad_(True)
    scheme = JsccScheme("lean", codec)
    photographs = SkimageImages(["chelsea", "coffee", "rocket", "astronaut"])
    crops = [photographs[name][:, :SIDE, 100 : 100 + SIDE] / 255 for name in photographs.names]
    seen, unseen = torch.stack(crops[:3]), torch.stack(crops[3:])
    snr_db = torch.full((3,), SNR_DB)
    optimizer = torch.optim.Adam(codec.parameters(), lr=2e-4)

    def quality() -> float:
        with torch.no_grad():
            sent = run_link(scheme, channel, unseen, snr_db[:1], [1], SYMBOLS)
            return float(psnr(sent.reconstruction.image, unseen))

    before, first = quality(), 0.0
    for step in range(steps):
        seeds = [seeding.derived_seed(step, str(image)) for image in range(3)]
        received = run_link(scheme, channel, seen, snr_db, seeds, SYMBOLS).reconstruction.image
        optimizer.zero_grad()
        (received - seen).square().mean().backward()
        first = first or float(codec.encoder.linear.weight.grad.norm())
        optimizer.step()
    return before, quality(), first


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Run all four parts, print and return their figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args(arguments)
    model, error_db = learn(options.epochs)
    print(f"network: {model.count_params()} weights, error {error_db:.1f} dB (the measurement's own: -30 dB)")
    channel = make_channel(model)
    print(f"channel: distortion {channel.distortion:.3f} of the power, {channel.uses(SYMBOLS)}")
    before, after, gradient = tune(channel, options.steps)
    print(f"picture at {SNR_DB:g} dB: PSNR {before:.2f} dB as shipped, {after:.2f} dB tuned")
    return {"error_db": error_db, "distortion": channel.distortion, "before": before, "after": after,
            "gradient": gradient}  # fmt: skip


if __name__ == "__main__":
    main()

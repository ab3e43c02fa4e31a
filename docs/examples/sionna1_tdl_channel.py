"""Bring a Sionna 1.x channel: a TDL model of Sionna 1 (TensorFlow) over OFDM as a channel of linksim.

Runs where Sionna 1 is installed, which is not where Sionna 2 is (make test-sionna1 makes an environment):

    PYTHONPATH=. .venv-sionna1/bin/python docs/examples/sionna1_tdl_channel.py
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf
import torch
from torch.utils.dlpack import from_dlpack

from channels.equalization import equalize
from channels.tensorflow.channel import TensorFlowChannel

import sionna.phy
from sionna.phy.channel import ApplyOFDMChannel, cir_to_ofdm_channel, subcarrier_frequencies
from sionna.phy.channel.tr38901 import TDL
from sionna.phy.ofdm import ResourceGrid, ResourceGridMapper

SPACING_HZ = 15e3


class Sionna1Tdl:
    """TDL-C at 300 ns and 10 m/s over a grid of F subcarriers, every element carrying a symbol.

    Args:
        precision: "single" or "double".
        num_subcarriers: F.
    """

    def __init__(self, precision: str = "single", num_subcarriers: int = 64) -> None:
        self.precision, self.num_subcarriers = precision, num_subcarriers
        self.tdl = TDL("C", 300e-9, 3.5e9, min_speed=10.0, precision=precision)
        self.apply = ApplyOFDMChannel(precision=precision)
        self.frequencies = subcarrier_frequencies(num_subcarriers, SPACING_HZ, precision=precision)
        self.mappers: dict[int, ResourceGridMapper] = {}
        self.torch_frequencies = (
            torch.arange(num_subcarriers, dtype=torch.float64) - num_subcarriers // 2
        ) * SPACING_HZ

    def draw(self, num_sent: int, generator: torch.Generator) -> list[torch.Tensor]:
        """Path gains [paths, T], delays [paths] and the places of the symbols. Sionna 1 draws with a
        generator of its own, which is given a seed for every image.
        """
        sionna.phy.config.seed = int(torch.randint(2**31, (1,), generator=generator))
        a, tau = self.tdl(1, math.ceil(num_sent / self.num_subcarriers), SPACING_HZ)
        a, tau = (from_dlpack(tf.experimental.dlpack.to_dlpack(t)) for t in (a, tau))
        return [a[0, 0, 0, 0, 0], tau[0, 0, 0], torch.arange(num_sent)]

    def gain(self, a: torch.Tensor, tau: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """The formula in PyTorch, in double: h = sum over paths of a·exp(-j2πfτ), [B, m]."""
        turn = -2 * math.pi * tau.double()[:, :, None] * self.torch_frequencies
        waves = torch.polar(torch.ones_like(turn), turn)
        h = torch.einsum("bpt,bpf->btf", a.to(torch.complex128), waves)
        return h.flatten(1)[:, : places.shape[1]]

    def mapper(self, num_ofdm_symbols: int) -> ResourceGridMapper:
        """Grids of Sionna 1 cannot be made inside a graph, so they are made outside."""
        if num_ofdm_symbols not in self.mappers:
            with tf.init_scope():
                grid = ResourceGrid(
                    num_ofdm_symbols, self.num_subcarriers, SPACING_HZ, precision=self.precision
                )
                self.mappers[num_ofdm_symbols] = ResourceGridMapper(grid, precision=self.precision)
        return self.mappers[num_ofdm_symbols]

    def __call__(self, x: Any, a: Any, tau: Any, places: Any) -> Any:
        """The same channel in Sionna 1's own blocks."""
        count, num_ofdm_symbols = x.shape[1], a.shape[2]
        filled = tf.pad(x, [[0, 0], [0, num_ofdm_symbols * self.num_subcarriers - count]])
        sent = self.mapper(num_ofdm_symbols)(filled[:, None, None, :])
        h = cir_to_ofdm_channel(self.frequencies, a[:, None, None, None, None], tau[:, None, None])
        received = self.apply(sent, h)
        return tf.reshape(received, (-1, num_ofdm_symbols * self.num_subcarriers))[:, :count]


def main() -> float:
    """Send QPSK at 20 dB, equalise, and follow the gradient back; returns the error after the equaliser."""
    block = Sionna1Tdl()
    channel = TensorFlowChannel(block, draw=block.draw, gain=block.gain)
    bits = torch.randint(2, (2, 4, 960), generator=torch.Generator().manual_seed(1)).float()
    x = (torch.complex(1 - 2 * bits[0], 1 - 2 * bits[1]) / math.sqrt(2)).requires_grad_()
    received = channel(x, snr_db=torch.full((4,), 20.0), seeds=[1, 2, 3, 4])
    x_hat, _ = equalize(received, "lmmse")
    error = (x_hat - x).abs().square().mean()
    error.backward()
    assert x.grad is not None
    print(f"mean squared error {float(error):.4f}, norm of its gradient {float(x.grad.norm()):.2e}")
    return float(error)


if __name__ == "__main__":
    main()

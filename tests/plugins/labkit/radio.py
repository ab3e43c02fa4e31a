"""Nakagami-m block fading with least-squares CSI, and an estimator that smooths."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field

from channels.flat.fading import FlatFadingChannel
from channels.models.tdl import TdlModel
from channels.ofdm.estimators.ls import LsEstimator
from linksim.kinds import BuildContext, ChannelBase, DelayModelBase, EstimatorBase, kind


class NakagamiChannel(FlatFadingChannel):
    """|h|² is Gamma(m, 1/m), the phase uniform: m = 1 is Rayleigh, larger m fades less."""

    def __init__(self, m: float, **options) -> None:
        super().__init__(**options)
        self.m = m

    def draw_gain(self, blocks: int, gen: torch.Generator) -> torch.Tensor:
        """One gain per block, E|h|² = 1; the modulus by inversion of the distribution, for any m."""
        uniform = torch.rand(blocks, generator=gen, dtype=torch.float64).clamp(1e-12, 1 - 1e-12)
        from scipy.stats import gamma

        power = torch.from_numpy(gamma.ppf(uniform.numpy(), self.m, scale=1 / self.m))
        phase = 2 * torch.pi * torch.rand(blocks, generator=gen, dtype=torch.float64)
        return torch.polar(power.sqrt(), phase).to(self.cdtype)


@kind("channel", "nakagami")
class Nakagami(ChannelBase):
    """Nakagami-m block fading; every block begins with pilots."""

    m: Annotated[float, Field(ge=0.5, le=50, description="shape; 1 is Rayleigh")]
    coherence_symbols: Annotated[int, Field(ge=1)] = 32
    pilots_per_block: Annotated[int, Field(ge=1)] = 2

    def build(self, context: BuildContext) -> NakagamiChannel:
        """The operator."""
        return NakagamiChannel(
            self.m,
            coherence_symbols=self.coherence_symbols,
            csi="ls",
            pilots_per_block=self.pilots_per_block,
            device=context.device,
            precision=context.precision,
        )


@kind("delay_model", "two_path")
class TwoPath(DelayModelBase):
    """A profile of TR 38.901 under another name, as short as a room."""

    delay_spread_s: Annotated[float, Field(ge=0, le=1e-6)] = 30e-9
    moves: ClassVar[bool] = False

    def build(self, context: BuildContext) -> TdlModel:
        """The delay model."""
        return TdlModel("A", delay_spread_s=self.delay_spread_s, carrier_hz=context.carrier_hz)


class MovingAverage(LsEstimator):
    """Least-squares estimates, averaged over neighbouring subcarriers: other weights of the same pilots, from
    which what the receiver is told of its errors follows.
    """

    def __init__(self, grid, statistics, pilots, width: int) -> None:
        self.width = width
        super().__init__(grid, statistics, pilots)

    def read_weights(self, interpolate):
        """Pilots and their weights [4·width, T, F_used] of every element."""
        index, weight = super().read_weights(interpolate)
        half, size = self.width // 2, index.shape[-1]
        places = [(torch.arange(size) + k).clamp(0, size - 1) for k in range(-half, half + 1)]
        return (
            torch.cat([index[..., place] for place in places]),
            torch.cat([weight[..., place] / self.width for place in places]),
        )


@kind("estimator", "smoothing")
class Smoothing(EstimatorBase):
    """Least squares with a moving average over subcarriers."""

    width: Annotated[int, Field(ge=1, le=9)] = 3

    def estimator(self, grid, statistics, pilots) -> MovingAverage:
        """The estimator of one stream."""
        return MovingAverage(grid, statistics, pilots, self.width)

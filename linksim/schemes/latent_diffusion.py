"""Latent diffusion as a scheme: a codec with dials, and a diffusion that goes on behind the channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from channels.equalization import equalize
from channels.seeding import derived_seed, real_normal
from channels.types import Csit, Received
from linksim.diffusion.latent_sampler import anneal, reliability_of, sample
from linksim.jscc.dial import DialCodec
from linksim.jscc.latent_denoiser import LatentDenoiser
from linksim.jscc.layout import SymbolLayout
from linksim.schemes.base import CsitKind, Frame, Reconstruction, all_ok
from linksim.schemes.jscc import EncodedPictures, JsccLayout, JsccScheme

__all__ = ["LatentDiffusionOptions", "LatentDiffusionScheme"]

_CERTAIN = 0.99  # reliability that the decoder is told of a sampled latent: that of 20 dB
_WHITE = 0.25  # standard deviation that the uncertainty map shows as white


@dataclass(frozen=True)
class LatentDiffusionOptions:
    """How a receiver samples.

    Args:
        steps: evaluations of the denoiser.
        eta: 0 (probability flow) to 1 (samples of the posterior).
        realism: of the decoder behind it.
        samples: pictures per frame; with more than one, ``stages["uncertainty"]`` shows where they differ.
    """

    steps: int = 4
    eta: float = 0.0
    realism: float = 1.0
    samples: int = 1


class LatentDiffusionScheme:
    """Transmitter of a codec with dials; the receiver samples all latent channels given what arrived.

    Every value starts at the noise level that gain, noise and estimation error left it at, values that were
    not sent start as noise from one generator per image.

    Args:
        name: label in results and figures.
        codec: network with dials.
        denoiser: trained on its latents.
        options: of the sampler.
        csit: what the transmitter knows of the channel.
        encoded: see :class:`linksim.schemes.jscc.JsccScheme`.
    """

    def __init__(
        self,
        name: str,
        codec: DialCodec,
        denoiser: LatentDenoiser,
        options: LatentDiffusionOptions,
        csit: CsitKind = "average_snr",
        encoded: EncodedPictures | None = None,
    ) -> None:
        self.name = name
        self.csit: CsitKind = csit
        self.codec, self.denoiser, self.options = codec, denoiser, options
        self._sender = JsccScheme(name, codec, csit, encoded)

    def check(self, height: int, width: int, budget: int) -> None:
        """See :class:`linksim.schemes.jscc.JsccScheme`."""
        self._sender.check(height, width, budget)

    def transmit(self, image: Tensor, budget: int, csit: Csit | None) -> Frame:
        """See :class:`linksim.schemes.base.Scheme`."""
        return self._sender.transmit(image, budget, csit)

    def receive(self, received: Received, layout: JsccLayout, seeds: Sequence[int]) -> Reconstruction:
        """See :class:`linksim.schemes.base.Scheme`."""
        shown = [
            self._picture(received, layout, [derived_seed(seed, f"sample {i}") for seed in seeds])
            for i in range(self.options.samples)
        ]
        stages = {}
        if len(shown) > 1:
            spread = torch.stack([one.clamp(0, 1) for one in shown]).std(0).mean(1, keepdim=True)
            stages["uncertainty"] = (spread / _WHITE).clamp(0, 1).expand_as(shown[0])
        return Reconstruction(shown[0], all_ok(len(seeds)), stages=stages)

    def _picture(self, received: Received, layout: JsccLayout, seeds: Sequence[int]) -> Tensor:
        rate = self.codec.rate_of(layout.symbols)
        csit = None if layout.csit is None else Csit(self.codec.told(layout.csit.snr_db))
        state, reliability = self.start(received, layout.symbols, seeds)

        def noise(step: int) -> Tensor:
            return _noise(state, [derived_seed(seed, f"step {step}") for seed in seeds])

        clean = sample(
            lambda u, r: self.denoiser(u, r, csit, rate),
            state,
            anneal(reliability, self.options.steps),
            noise,
            self.options.eta,
        )
        frame = self.codec.certain_map(clean * self.denoiser.deviation[rate][:, None, None], rate, _CERTAIN)
        realism = torch.full_like(frame.snr_db, self.options.realism)
        return self.codec.picture(frame, realism, seeds)

    def start(self, received: Received, layout: SymbolLayout, seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
        """What arrived as a diffusion state: u and its reliability, [B, c, h, w] both."""
        x_hat, no_eff = equalize(received, "zf")
        variance = self.denoiser.variance(self.codec.rate_of(layout))
        pairs = layout.to_pair_map(no_eff / 2)  # of the real and of the imaginary part
        noise_variance = torch.cat([pairs, pairs], dim=1)
        values = layout.to_map(x_hat)
        sent = variance[: layout.channels]
        arrived = values / (sent + noise_variance).sqrt()
        reliability = reliability_of(sent, noise_variance)
        unsent = self.codec.config.latent_channels - layout.channels
        shape = (len(seeds), unsent, *values.shape[2:])
        drawn = torch.stack([real_normal(shape[1:], derived_seed(seed, "unsent")) for seed in seeds])
        state = torch.cat([arrived, drawn.to(arrived)], dim=1)
        return state, torch.cat([reliability, reliability.new_zeros(shape)], dim=1)


def _noise(like: Tensor, seeds: Sequence[int]) -> Tensor:
    return torch.stack([real_normal(like.shape[1:], seed) for seed in seeds]).to(like)

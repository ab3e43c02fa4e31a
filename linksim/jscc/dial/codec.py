"""One network with three dials: how many symbols (rate), how good the channel (SNR), how much to invent
(realism).

The encoder makes one latent map of 64 channels at 1/16 resolution; a rate sends the first 4, 8, 16, 32 or
64 of them (nested: CBR 1/384 to 1/24 from one file). The decoder sees LMMSE-equalised symbols and the
reliability of every value, zero where nothing was sent, and the effective SNR: one network for AWGN and for
fading with any CSI. Realism 0 asks for the picture nearest to the original in the mean square, realism 1
for the most natural one; for what it adds it has noise maps from one generator per picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from channels.checks import complaint
from channels.equalization import equalize
from channels.seeding import derived_seed, real_normal
from channels.types import Csit, Received
from linksim.jscc.block_klt import BlockKlt
from linksim.jscc.blocks import BLOCK
from linksim.jscc.csi_embedding import effective_snr_db
from linksim.jscc.dial.networks import NOISE_CHANNELS, Decoder, DialConfig, Encoder, ReceivedMap
from linksim.jscc.layout import SymbolLayout
from linksim.jscc.lean import LeanCodec
from linksim.jscc.scale_pilot import checkerboard, estimate_log_scale, remove_pilot

__all__ = ["DialCodec", "Dialled"]

_NOISE_SCALES = (1, 2, 4)  # the noise maps lie at 1/16, 1/8 and 1/4 resolution


class DialCodec(nn.Module):
    """Encoder and decoder of the network with dials.

    As a codec of a scheme it stands at realism 0; :meth:`at` turns that dial.

    Args:
        config: sizes.

    Attributes:
        highest_snr_db: the highest SNR that either end is told [dB], that of the training; None while
            training.

    Source: nested rates after Rippel et al., "Learning Ordered Representations with Nested Dropout", 2014;
    realism after Agustsson et al., "Multi-Realism Image Compression with a Conditional Generator", CVPR
    2023.

    Example:
        >>> codec = DialCodec(DialConfig(rates=(4, 8), width_4=8, width_8=8, width_16=8))
        >>> codec.encode(torch.rand(1, 3, 32, 48), codec.layout(32, 48, 24), None).shape
        torch.Size([1, 24])
    """

    block = BLOCK

    def __init__(self, config: DialConfig) -> None:
        super().__init__()
        rising = all(a < b for a, b in zip(config.rates, config.rates[1:], strict=False))
        if not config.rates or not rising or any(c < 2 or c % 2 for c in config.rates):
            raise ValueError(
                complaint("DialCodec: rates", "not possible", config.rates, "even numbers that rise")
            )
        if not 0 <= config.pilot_share <= 0.1:
            raise ValueError(
                complaint("DialCodec: pilot_share", "out of range", config.pilot_share, "0 to 0.1")
            )
        self.config = config
        self.highest_snr_db: float | None = None
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    # ------------------------------------------------------------------------------- rates

    def layout(self, height: int, width: int, budget: int) -> SymbolLayout:
        """Layout for an image; ``budget`` must be that of one of the rates."""
        positions = (height // BLOCK) * (width // BLOCK)
        channels = next((c for c in self.config.rates if c // 2 * positions == budget), None)
        if channels is None:
            ratios = ", ".join(f"{c}/{6 * BLOCK**2}" for c in self.config.rates)
            got = f"{budget} channel uses for {height} x {width} pixels"
            expected = ", ".join(str(c // 2 * positions) for c in self.config.rates)
            cure = f"Set bandwidth.data_ratio to one of {ratios}, or take another checkpoint."
            raise ValueError(complaint("bandwidth.data_ratio", "no rate of the network", got, expected, cure))
        return SymbolLayout.filled(channels, height, width, BLOCK, budget)

    def num_symbols(self, height: int, width: int) -> int:
        """Symbols of an image at the highest rate."""
        return self.num_symbols_at(len(self.config.rates) - 1, height, width)

    def num_symbols_at(self, rate: int, height: int, width: int) -> int:
        """Symbols of an image at a rate, by its index."""
        return self.config.rates[rate] // 2 * (height // BLOCK) * (width // BLOCK)

    def rate_of(self, layout: SymbolLayout) -> int:
        """Index of the rate of a layout."""
        return self.config.rates.index(layout.channels)

    def _rate_value(self, rate: int) -> float:
        """About -1 to 1, for the embedding."""
        return (torch.log2(torch.tensor(float(self.config.rates[rate]))).item() - 4) / 2

    # ---------------------------------------------------------------------------- both ends

    def latent(self, image: Tensor, csit: Csit | None, rate: int) -> Tensor:
        """[B, C, h, w] all latent channels of images [B, 3, H, W], in the proportions of a rate and with its
        pilot, if the network has one; sent are the first ``config.rates[rate]``, after normalisation.
        """
        snr_db = None if csit is None else self.told(csit.snr_db)
        gain = self.encoder.log_gain[rate].exp()[:, None, None]
        z = self.encoder(image, snr_db).float() * gain
        if self.config.pilot_share > 0:
            last = self.config.rates[rate] - 1
            pilot = self.encoder.log_pilot[rate].exp() * checkerboard(z.shape[2], z.shape[3]).to(z)
            z = torch.cat([z[:, :last], (z[:, last] + pilot)[:, None], z[:, last + 1 :]], dim=1)
        return z

    def encode(self, image: Tensor, layout: SymbolLayout, csit: Csit | None) -> Tensor:
        """Symbols [B, n] complex of images [B, 3, H, W] in [0, 1]; ``csit`` as reported, or None."""
        z = self.latent(image, csit, self.rate_of(layout))
        return layout.to_symbols(z[:, : layout.channels])

    def received_map(self, received: Received, layout: SymbolLayout) -> ReceivedMap:
        """What the decoder makes of what arrived."""
        x_hat, _ = equalize(received, "lmmse")
        gamma = received.csi.gamma
        pairs = layout.to_pair_map(gamma / (1 + gamma))
        latent, reliability = layout.to_map(x_hat), torch.cat([pairs, pairs], dim=1)
        unsent = latent.new_zeros(
            latent.shape[0], self.config.latent_channels - layout.channels, *latent.shape[2:]
        )
        snr_db = self.told(effective_snr_db(received.csi))
        latent, reliability = (torch.cat([part, unsent], dim=1) for part in (latent, reliability))
        return self._with_scale(ReceivedMap(latent, reliability, snr_db, self.rate_of(layout)))

    def _with_scale(self, frame: ReceivedMap) -> ReceivedMap:
        """The frame of a network with a pilot: scale read, pilot taken off."""
        if self.config.pilot_share <= 0:
            return frame
        rate, last = frame.rate, self.config.rates[frame.rate] - 1
        pilot = self.encoder.log_pilot[rate]
        values, reliability = frame.latent[:, last], frame.reliability[:, last]
        log_scale = estimate_log_scale(values, reliability, pilot, self.decoder.log_mean[rate])
        latent = remove_pilot(frame.latent, frame.reliability, last, (pilot - log_scale[0]).exp())
        return replace(frame, latent=latent, log_scale=log_scale)

    def certain_map(self, latent: Tensor, rate: int, reliability: float) -> ReceivedMap:
        """What the decoder is shown of a whole latent that a receiver has made up its mind about.

        Args:
            latent: [B, C, h, w] all channels in the proportions of a rate, of unit power in what it sends.
            rate: index of that rate.
            reliability: that the decoder is told, of every value.
        """
        gain = self.encoder.log_gain
        highest = 20.0 if self.highest_snr_db is None else self.highest_snr_db
        snr_db = torch.full((len(latent),), highest, device=latent.device)
        last, certain = len(self.config.rates) - 1, torch.full_like(latent, reliability)
        frame = self._with_scale(ReceivedMap(latent, torch.ones_like(latent), snr_db, rate))
        full = frame.latent * (gain[-1] - gain[rate]).exp()[:, None, None]
        scale = full.square().mean((1, 2, 3), keepdim=True).mul(2).clamp_min(1e-20).sqrt()
        log_scale = frame.log_scale
        if log_scale is not None:
            log_scale = (log_scale[0] + scale[:, 0, 0, 0].log(), log_scale[1])
        return ReceivedMap(full / scale, certain, snr_db, last, log_scale)

    def picture(
        self, frame: ReceivedMap, realism: Tensor, seeds: Sequence[int], *, shared_noise: bool = False
    ) -> Tensor:
        """Images [B, 3, H, W], not clipped.

        Args:
            frame: what arrived.
            realism: [B] in [0, 1].
            seeds: one per image, of the noise that textures are made of.
            shared_noise: for trainings: drawn on the device from the first seed; faster on a GPU, and another
                one in another batch.
        """
        rows, cols = frame.latent.shape[2:]
        sizes = [(rows * s, cols * s) for s in _NOISE_SCALES]
        if shared_noise:
            gen = torch.Generator(frame.latent.device).manual_seed(seeds[0])
            empty = (frame.latent.new_empty(len(seeds), NOISE_CHANNELS, *size) for size in sizes)
            noise = [one.normal_(generator=gen) for one in empty]
        else:
            noise = [
                self._noise(seeds, size, s).to(frame.latent)
                for size, s in zip(sizes, _NOISE_SCALES, strict=True)
            ]
        return self.decoder(frame, self._rate_value(frame.rate), realism, noise).float()

    @staticmethod
    def _noise(seeds: Sequence[int], size: tuple[int, int], scale: int) -> Tensor:
        maps = [real_normal((NOISE_CHANNELS, *size), derived_seed(s, f"texture {scale}")) for s in seeds]
        return torch.stack(maps)

    def decode(
        self, received: Received, layout: SymbolLayout, csit: Csit | None, seeds: Sequence[int]
    ) -> Tensor:
        """Images [B, 3, H, W] at realism 0, not clipped, from what the receiver has."""
        return self.at(0.0).decode(received, layout, csit, seeds)

    def at(self, realism: float | Tensor, *, shared_noise: bool = False) -> Dialled:
        """The codec with its realism set: a number, or one per image [B]; noise as in :meth:`picture`."""
        return Dialled(self, realism, shared_noise)

    def told(self, snr_db: Tensor) -> Tensor:
        """What either end is told of an SNR [dB]: at most the highest of the training."""
        return snr_db if self.highest_snr_db is None else snr_db.clamp_max(self.highest_snr_db)

    # ------------------------------------------------------------------------------- starts

    @torch.no_grad()
    def start_from_klt(self, klt: BlockKlt) -> None:
        """Set the linear paths to the block KLT with powers in the ratio λ^(1/2) and the matching inverse."""
        kernel, gain, variance = klt.start_analysis(self.encoder.linear, "DialCodec")
        inverse = self.decoder.linear
        assert inverse.bias is not None
        inverse.weight.copy_(kernel / gain[:, None, None, None])
        inverse.bias.copy_(klt.mean.view(3, -1).mean(1))
        power = gain.square() * variance
        for i, sent in enumerate(self.config.rates):
            rms = power[:sent].mean().sqrt() * 2**0.5
            if self.config.pilot_share > 0:
                self.encoder.log_pilot[i] = rms.log() + math.log(self.config.pilot_share * sent / 2) / 2
                self.decoder.log_mean[i] = rms.log()
                self.decoder.log_power[i] = (2 * power / rms.square()).log()
            else:
                self.decoder.log_scale[i] = rms.log()

    @torch.no_grad()
    def start_from_lean(self, lean: LeanCodec) -> None:
        """Begin as a trained lean network, which this one then is at the rate with as many channels: what
        it has more (channels, blocks, dials) starts without effect. Call :meth:`start_from_klt` first, for
        the further channels.

        Raises:
            ValueError: sizes that do not fit.
        """
        if self.config.pilot_share > 0:
            got = self.config.pilot_share
            raise ValueError(complaint("DialCodec: pilot_share", "a lean network has no pilot", got, 0))
        c = lean.config.latent_channels
        same = ("width_8", "width_16", "embedding")
        fits = all(getattr(lean.config, name) == getattr(self.config, name) for name in same)
        more = zip(self.config.encoder_blocks, lean.config.encoder_blocks, strict=True)
        further = zip(self.config.decoder_blocks[1:], lean.config.decoder_blocks, strict=True)
        if c not in self.config.rates or not fits or any(a < b for a, b in (*more, *further)):
            expected = "the same widths, no more blocks, and latent channels that are one of the rates"
            raise ValueError(complaint("DialCodec: lean", "sizes do not fit", lean.config, expected))
        own, given = self.state_dict(), dict(lean.state_dict())
        sent_at_c = self.decoder.log_scale[self.config.rates.index(c)]
        self.decoder.linear.weight.mul_(sent_at_c.exp()[:, None, None, None])
        self.decoder.log_scale.sub_(sent_at_c.clone())
        head = given.pop("decoder.head.weight")
        own["decoder.head.weight"].zero_()
        own["decoder.head.weight"][:, :c] = head[:, :c]
        full = self.config.latent_channels
        for begin in (full, full + c // 2):  # the reliability of a pair is shown once for each of its values
            own["decoder.head.weight"][:, begin : begin + c // 2] = head[:, c:] / 2
        given = {
            key.replace("decoder.tail.", "decoder.tail8.").replace("decoder.up.", "decoder.up8."): value
            for key, value in given.items()
        }
        for key, value in given.items():
            target = own[key]
            target[tuple(slice(0, size) for size in value.shape)] = value


@dataclass(frozen=True)
class Dialled:
    """A :class:`DialCodec` with its realism set; a codec of schemes.

    Args:
        codec: network.
        realism: 0 (fidelity) to 1 (realism), or one value per image [B].
        shared_noise: see :meth:`DialCodec.picture`.
    """

    codec: DialCodec
    realism: float | Tensor
    shared_noise: bool = False

    @property
    def block(self) -> int:
        """Image sides must be multiples of this."""
        return self.codec.block

    def layout(self, height: int, width: int, budget: int) -> SymbolLayout:
        """See :meth:`DialCodec.layout`."""
        return self.codec.layout(height, width, budget)

    def encode(self, image: Tensor, layout: SymbolLayout, csit: Csit | None) -> Tensor:
        """See :meth:`DialCodec.encode`."""
        return self.codec.encode(image, layout, csit)

    def decode(
        self, received: Received, layout: SymbolLayout, csit: Csit | None, seeds: Sequence[int]
    ) -> Tensor:
        """Images [B, 3, H, W], not clipped."""
        frame = self.codec.received_map(received, layout)
        realism = torch.as_tensor(self.realism, dtype=torch.float32, device=frame.latent.device)
        realism = realism.expand(frame.latent.shape[0])
        return self.codec.picture(frame, realism, seeds, shared_noise=self.shared_noise)

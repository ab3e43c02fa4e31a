"""Facts of the transmission itself: peak power at the antennas, error vectors at the receiver."""

from __future__ import annotations

import torch
from torch import Tensor

from channels.base import ChannelOperator
from channels.hardware.signal_quality import evm
from channels.types import Draw, Received
from channels.units import linear_to_db
from linksim.kinds import kind
from linksim.metrics.base import LinkMetric, MetricInfo

__all__ = ["Evm", "Papr", "ReceivedSnr"]

_LARGEST_EVM, _LARGEST_SNR_DB = 1e7, 100.0


@kind("metric", "papr_db")
class Papr(LinkMetric):
    """Peak to average power ratio of what leaves the antennas, per image [dB].

    Of OFDM the waveform at four times the rate F·Δf behind all hardware of the transmitter, the largest of
    its antennas; without a waveform that of the symbols.
    """

    info = MetricInfo("papr_db", "dB", False, "peak over mean power of the samples of an image", label="PAPR")

    def __call__(self, symbols: Tensor, received: Received, channel: ChannelOperator, draw: Draw) -> Tensor:
        """[B] float64 of sent symbols [B, n]."""
        return channel.papr_db(symbols.to(channel.device, channel.cdtype), draw).double()


@kind("metric", "evm")
class Evm(LinkMetric):
    """Error vector magnitude at the receiver, per image [%]: noise, distortion and errors of the estimate.

    100·sqrt(Σ|y - h_hat x|² / Σ|h_hat x|²) over the data symbols: each weighs as much as it was received, so
    that single deep fades do not decide it. Over AWGN without hardware it is 100·10^(-SNR/20). At most 10⁷
    (an SNR of -100 dB): nothing received. The requirements of TS 38.104 sec. 6.5.2 are on the transmitter
    alone: measure at a high SNR.
    """

    info = MetricInfo(
        "evm", "%", False, "error over received power of the data symbols of an image", label="EVM"
    )

    def __call__(self, symbols: Tensor, received: Received, channel: ChannelOperator, draw: Draw) -> Tensor:
        """[B] float64 of sent symbols [B, n] and what was received."""
        wanted = received.csi.h * symbols.to(received.csi.h)
        return (100 * evm(received.y.to(torch.complex128), wanted.to(torch.complex128))).clamp_max(
            _LARGEST_EVM
        )


@kind("metric", "received_snr_db")
class ReceivedSnr(LinkMetric):
    """SNR as the receiver sees it, per image [dB]: 10·log10 of the mean of gamma = |h_hat|²/(no + err_var)
    over the data symbols, combining included, within ±100 dB (a blocked place has no power at all). Where
    draws differ by path loss, this is each one's own.
    """

    info = MetricInfo(
        *("received_snr_db", "dB", True, "mean of gamma over the data symbols of an image"),
        label="SNR at the receiver",
    )

    def __call__(self, symbols: Tensor, received: Received, channel: ChannelOperator, draw: Draw) -> Tensor:
        """[B] float64."""
        return linear_to_db(received.csi.gamma.double().mean(1)).clamp(-_LARGEST_SNR_DB, _LARGEST_SNR_DB)

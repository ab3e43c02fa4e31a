"""ChannelOperator: the one door between symbols and what a receiver gets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor

from channels import checks, seeding, units
from channels.arithmetic import abs_squared
from channels.types import ChannelUses, Csi, Draw, Received

__all__ = ["ChannelOperator", "Precision", "later_seeds"]

Precision = Literal["single", "double"]
_LEAST_POWER = 1e-20  # a blocked place counts as one 200 dB below the ensemble


def later_seeds(seeds: Sequence[int], attempt: int) -> list[int]:
    """Seeds of what is new in transmission ``attempt`` (from 2 on) of the images ``seeds``."""
    return [seeding.derived_seed(seed, f"transmission {attempt}") for seed in seeds]


class ChannelOperator(ABC):
    r"""A differentiable channel y = h·x + w, cut into a random and a deterministic part.

    ``__call__`` is ``check → snr_db_to_no → draw → propagate → observe`` and is never overridden. A plain
    class, not an ``nn.Module``: it has no parameters, and Sionna blocks inside it must not enter a
    network's ``state_dict``.

    Rules for a new operator (held by ``tests/contracts/test_operator_contract.py``):

    * ``draw`` holds all randomness, as a function of one seed per image, whatever the batch;
    * E|h|² = 1 over fading, noise variance ``no`` per complex use, never scaled to a measured power;
    * ``observe`` reads from the draw only what its kind of CSI allows: with estimated CSI, nothing.

    Args:
        device: where tensors live.
        precision: "single" (complex64) or "double" (complex128, for tests).
    """

    memoryless: ClassVar[bool] = False  # given x, the received symbols of an image are independent

    def __init__(self, *, device: torch.device | str = "cpu", precision: Precision = "single") -> None:
        checks.check_choice(f"{type(self).__name__}: precision", precision, ("single", "double"))
        self.device = torch.device(device)
        self.precision: Precision = precision
        self.cdtype = torch.complex64 if precision == "single" else torch.complex128
        self.dtype = torch.float32 if precision == "single" else torch.float64

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "memoryless" not in cls.__dict__:  # an operator that is made of a memoryless one may not be it
            cls.memoryless = False
        if "__call__" in cls.__dict__:
            raise TypeError(
                f"{cls.__name__}: __call__ is final; override draw, propagate and observe instead."
            )

    @abstractmethod
    def uses(self, num_symbols: int) -> ChannelUses:
        """Channel uses that ``num_symbols`` data symbols of one image occupy."""

    @abstractmethod
    def draw(self, num_symbols: int, seeds: Sequence[int]) -> Draw:
        """All randomness of one call (fades and unit-variance noise), one seed per image, no gradient."""

    def draw_again(self, num_symbols: int, seeds: Sequence[int], attempt: int, gap_s: float) -> Draw:
        """The draw of a retransmission of the images that :meth:`draw` drew with the same seeds.

        What the image's place decides stays as it is, fading processes go on in time, noise is new. An
        operator whose fades have no time between them (block fading) draws new ones: this is the default.

        Args:
            num_symbols: of every transmission.
            seeds: those of the first transmission.
            attempt: which transmission, from 2 on.
            gap_s: from the end of one transmission to the begin of the next [s].
        """
        return self.draw(num_symbols, later_seeds(seeds, attempt))

    @abstractmethod
    def propagate(self, x: Tensor, draw: Draw, no: Tensor) -> Tensor:
        """The deterministic, differentiable map from sent symbols [B, n] to the operator's raw output.

        Args:
            x: [B, n] complex, E|x|² = 1.
            draw: from :meth:`draw`.
            no: [B, 1] float, noise variance per complex use.
        """

    @abstractmethod
    def observe(self, y_raw: Tensor, draw: Draw, no: Tensor) -> Received:
        """The receiver's front end: pilots, CSI estimation, demapping to n scalar channels.

        Args:
            y_raw: from :meth:`propagate`.
            draw: from :meth:`draw`.
            no: [B, 1] float, noise variance per complex use as the receiver is told it.
        """

    @abstractmethod
    def gain(self, draw: Draw, no: Tensor) -> Tensor:
        """True gain of every data symbol, [B, n] complex. For perfect transmitter CSI, bounds and tests.

        Args:
            draw: from :meth:`draw`.
            no: [B, 1] float, noise variance per complex use: gains of streams that are detected together
                depend on it (see ``gain_depends_on_noise``), no others.
        """

    @property
    def gain_depends_on_noise(self) -> bool:
        """Whether :meth:`gain` is another one at another noise variance."""
        return False

    def papr_db(self, x: Tensor, draw: Draw) -> Tensor:
        """Peak to average power of what leaves the antennas for symbols [B, n]: [B] float, dB.

        Without a waveform it is that of the symbols.
        """
        power = abs_squared(x)
        return units.linear_to_db(power.amax(1) / power.mean(1))

    def instantaneous_snr_db(self, draw: Draw, snr_db: Tensor) -> Tensor:
        """What a wideband report of the frame itself says of its SNR, fading included: that of the mean power
        of its gains, [B] float, dB.

        Args:
            draw: from :meth:`draw`.
            snr_db: [B] or scalar float, average over all draws [dB].
        """
        no = units.snr_db_to_no(snr_db.to(self.dtype)).reshape(-1, 1)
        power = abs_squared(self.gain(draw, no)).double().mean(1).clamp_min(_LEAST_POWER)
        return (snr_db + units.linear_to_db(power)).to(snr_db.dtype)

    def noise_variance(self, no: Tensor, draw: Draw | None = None) -> Tensor:
        """Variance of what is added to h·x per data use, ``no`` and the interference of a waveform: on
        average over draws, or of one draw.
        """
        return no

    def limits(self, draw: Draw, no: Tensor) -> Csi:
        """What bounds count with: true gains, and all that no receiver of scalar channels can help.

        Args:
            draw: from :meth:`draw`.
            no: [B, 1] float, noise variance per complex use.
        """
        return Csi(self.gain(draw, no), self.noise_variance(no, draw), torch.zeros_like(no))

    @final
    def __call__(
        self,
        x: Tensor,
        snr_db: Tensor,
        seeds: Sequence[int],
        draw: Draw | None = None,
        told_db: Tensor | None = None,
    ) -> Received:
        """Send symbols over the channel.

        Args:
            x: [B, n] complex, mean |x|² of every image 1 (see :func:`channels.checks.check_symbols`).
            snr_db: [B] float, Es/N0 per data use at the receiver, averaged over fading [dB].
            seeds: one whole number per image; the result of an image depends on its own seed only.
            draw: use this draw instead of a new one (perfect transmitter CSI).
            told_db: [B] float, SNR that the receiver is told, from which it takes its noise variance [dB];
                None: ``snr_db``, the truth. One that measures its noise is not told.

        Returns:
            Received with y [B, n].

        Raises:
            TypeError, ValueError: arguments of wrong type, shape or power.
        """
        checks.check_symbols(type(self).__name__, x, snr_db, seeds)
        x = x.to(device=self.device, dtype=self.cdtype)
        no = units.snr_db_to_no(snr_db.to(device=self.device, dtype=self.dtype))[:, None]
        if draw is None:
            draw = self.draw(x.shape[1], seeds)
        told = no
        if told_db is not None:
            told = units.snr_db_to_no(told_db.to(device=self.device, dtype=self.dtype))[:, None]
        return self.observe(self.propagate(x, draw, no), draw, told)

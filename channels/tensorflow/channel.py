"""TensorFlow as a channel: any function or Keras layer x → y, with gradients back to PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Self

import torch
from torch import Tensor

from channels import checks, seeding
from channels.arithmetic import multiply, multiply_conj
from channels.base import ChannelOperator, Precision
from channels.tensorflow.call import one_tensor, tensorflow, tensorflow_call
from channels.types import ChannelUses, Csi, Draw, Received

__all__ = ["TensorFlowChannel", "TensorFlowCsi", "TensorFlowExtra"]

TensorFlowCsi = Literal["perfect", "ls"]
TensorFlowExtra = Literal["noise_variance", "noise"]

# Images in one traced graph: more make tracing slow, fewer the calls.
_UNROLLED = 16
_PILOT_SEED = 38212
_TRIAL_SEEDS = tuple(range(38112, 38120))


def _image_by_image(fn: Callable[..., Any]) -> Callable[..., Any]:
    """``fn`` applied to every image of a batch alone, in graphs.

    An image then goes through the same kernels in the same shape whatever its batch, so its bits are the
    same. The copies for the images of a batch stand side by side in one graph, which TensorFlow runs in
    parallel.
    """
    tf = tensorflow()

    def call(*tensors: Any) -> Any:
        rows = zip(*(tf.split(tensor, tensors[0].shape[0]) for tensor in tensors), strict=True)
        return tf.concat([one_tensor(fn(*row)) for row in rows], 0)

    return call


def _in_parts(fn: Callable[..., Any]) -> Callable[..., Any]:
    """``fn`` applied to no more images at once than a graph should hold."""
    tf = tensorflow()

    def call(*tensors: Any) -> Any:
        count = tensors[0].shape[0]
        if count <= _UNROLLED:
            return fn(*tensors)
        sizes = [_UNROLLED] * (count // _UNROLLED) + [count % _UNROLLED] * (count % _UNROLLED > 0)
        parts = zip(*(tf.split(tensor, sizes) for tensor in tensors), strict=True)
        return tf.concat([fn(*part) for part in parts], 0)

    return call


def _noisy(fn: Callable[..., Any], extra: Sequence[TensorFlowExtra]) -> Callable[..., Any]:
    """x, noise of unit variance, its variance and the state → y, noise included.

    Sums, and products with a real number, round the same wherever in a batch they stand.
    """
    tf = tensorflow()

    def call(x: Any, unit: Any, no: Any, *state: Any) -> Any:
        deviation = tf.sqrt(no) if x.dtype.is_complex else tf.sqrt(no)[:, :, None]
        if x.dtype.is_complex:  # the gradient of a cast would discard an imaginary part, and warn of it
            deviation = tf.complex(deviation, tf.zeros_like(deviation))
        noise = deviation * unit
        offered = {"noise_variance": no, "noise": noise}
        y = _like(x, one_tensor(fn(x, *(offered[name] for name in extra), *state)))
        return y if "noise" in extra else y + noise

    return call


def _like(x: Any, y: Any) -> Any:
    if not y.shape.is_compatible_with(x.shape):
        got, expected = f"{list(y.shape)} for x {list(x.shape)}", "the shape of x"
        raise ValueError(checks.complaint("TensorFlowChannel: fn", "wrong shape", got, expected))
    if y.dtype != x.dtype:
        cure = "Keras layers compute in their own dtype: build them with that of the channel's precision."
        raise TypeError(
            checks.complaint("TensorFlowChannel: fn", "wrong type", y.dtype.name, x.dtype.name, cure)
        )
    return tensorflow().ensure_shape(y, x.shape)


def _check_finite(part: str, values: Tensor, cure: str = "") -> None:
    """Refuse what a part of the user's returned if it is not a number: a mean would take it in silently."""
    values = values.detach()
    reals = torch.view_as_real(values) if values.is_complex() else values
    if bool(torch.isfinite(reals.sum())):  # a tenth of the time; what is not finite stays so in a sum
        return
    finite = torch.isfinite(values)
    if not bool(finite.all()):  # or else only the sum overflows
        place = torch.nonzero(~finite)[0].tolist()
        got = f"{values[tuple(place)].item()} at {place}"
        raise ValueError(checks.complaint(f"TensorFlowChannel: {part}", "not finite", got, "numbers", cure))


@dataclass(frozen=True)
class _TensorFlowDraw(Draw):
    h: Tensor | None  # [B, m] complex, gain of every sent symbol, where it is known
    noise: Tensor  # [B, m] complex, CN(0, 1)
    state: tuple[Tensor, ...]  # what the constructor's draw returned, [B, ...]
    num_symbols: int

    def select(self, rows: Tensor) -> Self:
        state = tuple(tensor[rows.to(tensor.device)] for tensor in self.state)
        return replace(super().select(rows), state=state)


class TensorFlowChannel(ChannelOperator):
    r"""y = f(x, state) + w, where f is a TensorFlow function or a Keras layer, learned or written.

    Randomness stays in PyTorch: ``draw`` makes the state of one image from its seed, and f gets it as a
    constant. f must not be random itself. With E|h|² = 1, h the gain that f applies, SNR means what it means
    everywhere else.

    What a receiver knows:

    * "perfect": the gains that ``gain`` computes from the state;
    * "ls": known QPSK symbols go through f ahead of every block of ``coherence_symbols``, and are counted as
      pilot uses. The mean m of y·p* over the P pilots of a block has an error of e = (no + distortion)/P;
      told is what that says of a gain of unit power, E[h|m] = m/(1 + e), and the variance e/(1 + e). f may be
      anything whose gain is about constant over a block.

    What f does beyond a gain (echoes, saturation) is noise to a receiver of scalar channels. ``distortion``
    is its mean power, which the receiver is told on top of ``no``; :meth:`measure_distortion` measures it.

    f is traced once for each number of symbols and runs image by image (see ``per_image``), so the result of
    an image is the same to the bit in every batch.

    Args:
        fn: f. Takes x, then the ``extra`` tensors, then the state, all with a first axis of images; returns y
            in the shape and type of x. A Keras layer or model will do.
        draw: state of one image: takes the number of sent symbols m (pilots included) and a CPU generator,
            returns tensors without an axis of images. None: no state.
        gain: takes the state [B, ...], returns gains of the sent symbols, [B, m] or what expands to it.
            Computed in PyTorch.
        csi: "perfect" or "ls".
        pilots_per_block: pilot uses per block (P >= 1 for "ls", 0 for "perfect").
        coherence_symbols: data symbols per block; None = one block per image.
        distortion: mean power of what f adds to h·x, relative to E|x|² = 1.
        extra: further arguments of f. "noise_variance": no [B, 1] float. "noise": w in the shape of x, which
            f then adds itself (a receiver that saturates); nothing is added after f.
        symbols: "complex": x is [B, m] complex; "pairs": x is [B, m, 2] float, real and imaginary parts, for
            Keras layers.
        per_image: False hands f the whole batch at once, which suits a GPU; an image's last bits may then
            depend on its batch.

    What fn, ``gain`` or ``draw`` return must be finite; else a call raises ValueError.

    Raises:
        ValueError: arguments out of range, or perfect CSI without ``gain``.

    Source: estimation as in Tse & Viswanath, "Fundamentals of Wireless Communication", 2005, sec. 3.5.2.

    Example::

        layer = keras.layers.Conv1D(2, 9, padding="causal")  # or a trained model
        channel = TensorFlowChannel(layer, symbols="pairs", csi="ls", pilots_per_block=8)
        received = channel(x, snr_db, seeds)  # x: torch, gradients flow
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        draw: Callable[[int, torch.Generator], Sequence[Tensor]] | None = None,
        gain: Callable[..., Tensor] | None = None,
        csi: TensorFlowCsi = "perfect",
        pilots_per_block: int = 0,
        coherence_symbols: int | None = None,
        distortion: float = 0.0,
        extra: Sequence[TensorFlowExtra] = (),
        symbols: Literal["complex", "pairs"] = "complex",
        per_image: bool = True,
        device: torch.device | str = "cpu",
        precision: Precision = "single",
    ) -> None:
        super().__init__(device=device, precision=precision)
        checks.check_choice("TensorFlowChannel: csi", csi, ("perfect", "ls"))
        checks.check_choice("TensorFlowChannel: symbols", symbols, ("complex", "pairs"))
        checks.check_range("TensorFlowChannel: distortion", distortion, 0.0, math.inf)
        for name in extra:
            checks.check_choice("TensorFlowChannel: extra", name, ("noise_variance", "noise"))
        if coherence_symbols is not None:
            checks.check_at_least("TensorFlowChannel: coherence_symbols", coherence_symbols, 1)
        self._check_csi(csi, pilots_per_block, gain)
        self.csi, self.distortion = csi, distortion
        self.pilots_per_block, self.coherence_symbols = pilots_per_block, coherence_symbols
        self._fn, self._per_image = fn, per_image
        self._draw_state, self._gain = draw, gain
        self._extra, self._symbols = tuple(extra), symbols

    @staticmethod
    def _check_csi(csi: str, pilots: int, gain: object) -> None:
        if csi == "ls":
            cure = "Estimated CSI needs at least one pilot per block."
            checks.check_at_least("TensorFlowChannel: pilots_per_block", pilots, 1, cure)
            return
        if pilots != 0:
            field = "TensorFlowChannel: pilots_per_block"
            raise ValueError(checks.complaint(field, "useless with perfect CSI", pilots, 0))
        if gain is None:
            cure = "A channel of unknown gain needs csi='ls'."
            raise ValueError(
                checks.complaint("TensorFlowChannel: gain", "missing", None, "a function of the state", cure)
            )

    @cached_property
    def _map(self) -> Callable[..., Any]:
        tf = tensorflow()
        traced = tf.function(self._fn)
        whole = _noisy(_image_by_image(traced) if self._per_image else traced, self._extra)
        graph: Callable[..., Any] = tf.function(whole, autograph=False)
        return _in_parts(graph) if self._per_image else graph

    def _num_blocks(self, num_symbols: int) -> int:
        return math.ceil(num_symbols / (self.coherence_symbols or num_symbols))

    def uses(self, num_symbols: int) -> ChannelUses:
        return ChannelUses(data=num_symbols, pilot=self._num_blocks(num_symbols) * self.pilots_per_block)

    def noise_variance(self, no: Tensor, draw: Draw | None = None) -> Tensor:
        """Thermal noise and distortion."""
        return no + self.distortion

    def _places(self, num_symbols: int) -> tuple[Tensor, Tensor]:
        """Where data [n] and pilots [blocks, P] stand among the sent symbols."""
        length, count = self.coherence_symbols or num_symbols, self.pilots_per_block
        i = torch.arange(num_symbols, device=self.device)
        block = torch.arange(self._num_blocks(num_symbols), device=self.device)
        first = torch.arange(count, device=self.device)
        return i + (i // length + 1) * count, block[:, None] * (length + count) + first

    def _data(self, sent: Tensor, num_symbols: int) -> Tensor:
        return sent[:, self._places(num_symbols)[0]] if self.pilots_per_block else sent

    def _pilots(self, blocks: int) -> Tensor:
        """[blocks, P] QPSK, the same in every operator."""
        gen, shape = seeding.generator(_PILOT_SEED), (blocks, self.pilots_per_block, 2)
        signs = torch.randint(0, 2, shape, generator=gen).to(self.dtype) * 2 - 1
        return torch.view_as_complex(signs * math.sqrt(0.5)).to(self.device)

    def draw(self, num_symbols: int, seeds: Sequence[int]) -> _TensorFlowDraw:
        sent = self.uses(num_symbols).total
        noise = torch.empty(len(seeds), sent, dtype=self.cdtype)
        seeding.fill_normal(noise, seeds)
        state: tuple[Tensor, ...] = ()
        if self._draw_state is not None:
            with torch.no_grad():
                rows = [self._draw_image(sent, seed) for seed in seeds]
            state = tuple(torch.stack(column).to(self.device) for column in zip(*rows, strict=True))
        return _TensorFlowDraw(self._true_gain(state, noise.shape), noise.to(self.device), state, num_symbols)

    def _draw_image(self, sent: int, seed: int) -> list[Tensor]:
        assert self._draw_state is not None
        row = self._draw_state(sent, seeding.generator(seeding.derived_seed(seed, "tensorflow channel")))
        if not (isinstance(row, Sequence) and all(isinstance(tensor, Tensor) for tensor in row)):
            got = type(row).__name__
            raise TypeError(
                checks.complaint("TensorFlowChannel: draw", "wrong result", got, "a sequence of tensors")
            )
        for tensor in row:
            _check_finite("draw", tensor)
        return [self._cast(tensor) for tensor in row]

    def _cast(self, tensor: Tensor) -> Tensor:
        if tensor.is_complex():
            return tensor.to(self.cdtype)
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor

    def _true_gain(self, state: Sequence[Tensor], shape: torch.Size) -> Tensor | None:
        if self._gain is None:
            return None
        with torch.no_grad():
            h = self._gain(*state).to(device=self.device, dtype=self.cdtype)
        _check_finite("gain", h)
        try:
            return h.expand(shape)
        except RuntimeError as error:
            got, expected = list(h.shape), f"{list(shape)} or what expands to it"
            raise ValueError(
                checks.complaint("TensorFlowChannel: gain", "wrong shape", got, expected)
            ) from error

    def propagate(self, x: Tensor, draw: Draw, no: Tensor) -> Tensor:
        """Received symbols [B, m], pilots at the head of every block."""
        assert isinstance(draw, _TensorFlowDraw)
        sent = self._with_pilots(x)
        if self._symbols == "complex":
            y = tensorflow_call(self._map, sent, draw.noise, no, *draw.state)
        else:
            pairs = torch.view_as_real(sent), torch.view_as_real(draw.noise)
            y = torch.view_as_complex(tensorflow_call(self._map, *pairs, no, *draw.state))
        _check_finite(
            "fn", y, "Look at the symbols and the state that it is given: 0/0, log(0), an overflow."
        )
        return y

    def _with_pilots(self, x: Tensor) -> Tensor:
        if not self.pilots_per_block:
            return x
        data, pilots = self._places(x.shape[1])
        sent = x.new_empty(len(x), data.numel() + pilots.numel())
        sent[:, pilots.flatten()] = self._pilots(len(pilots)).flatten()
        return sent.index_copy(1, data, x)

    def observe(self, y_raw: Tensor, draw: Draw, no: Tensor) -> Received:
        assert isinstance(draw, _TensorFlowDraw)
        num_symbols, no = draw.num_symbols, self.noise_variance(no)
        y, uses = self._data(y_raw, num_symbols), self.uses(num_symbols)
        if self.csi == "perfect":
            assert draw.h is not None
            return Received(y, Csi(draw.h, no, torch.zeros_like(no)), uses)
        pilots = self._places(num_symbols)[1]
        h_block = multiply_conj(y_raw[:, pilots], self._pilots(len(pilots))).mean(-1)
        error = no / self.pilots_per_block
        h = self._spread(h_block / (1 + error), num_symbols)
        return Received(y, Csi(h, no, error / (1 + error)), uses)

    def _spread(self, per_block: Tensor, num_symbols: int) -> Tensor:
        length = self.coherence_symbols or num_symbols
        return per_block.repeat_interleave(length, dim=1)[:, :num_symbols]

    def gain(self, draw: Draw, no: Tensor) -> Tensor:
        """True gains from the constructor's ``gain``.

        Raises:
            ValueError: there is none, so that the truth is unknown.
        """
        assert isinstance(draw, _TensorFlowDraw)
        if draw.h is None:
            cure = "Bounds and perfect transmitter CSI need it."
            raise ValueError(
                checks.complaint("TensorFlowChannel: gain", "missing", None, "a function of the state", cure)
            )
        return self._data(draw.h, draw.num_symbols)

    def measure_distortion(self, num_symbols: int) -> float:
        """Mean power of what f adds to h·x, over eight images of Gaussian symbols without noise.

        h is the gain, where it is known, and else what fits a block best (so blocks should be long).

        Args:
            num_symbols: data symbols per image.
        """
        x = torch.empty(len(_TRIAL_SEEDS), num_symbols, dtype=self.cdtype)
        seeding.fill_normal(x, [seeding.derived_seed(seed, "symbols") for seed in _TRIAL_SEEDS])
        x = x.to(self.device)
        draw, no = self.draw(num_symbols, _TRIAL_SEEDS), torch.zeros(len(x), 1, dtype=self.dtype)
        with torch.no_grad():
            y = self._data(self.propagate(x, draw, no.to(self.device)), num_symbols)
            h = self._fit(y, x) if draw.h is None else self._data(draw.h, num_symbols)
            return float((y - multiply(h, x)).abs().square().mean())

    def _fit(self, y: Tensor, x: Tensor) -> Tensor:
        """The gain of each block that leaves least of y, [B, n]."""
        length = self.coherence_symbols or x.shape[1]
        pad = (0, self._num_blocks(x.shape[1]) * length - x.shape[1])
        y_block, x_block = (torch.nn.functional.pad(t, pad).unflatten(1, (-1, length)) for t in (y, x))
        h = multiply_conj(y_block, x_block).sum(-1) / x_block.abs().square().sum(-1)
        return self._spread(h, x.shape[1])

"""What channels and schemes of other people promise, tried before a run: cheap checks, a line each.

The whole contracts are in ``tests/contracts``; built-in kinds are held to them there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from channels.arithmetic import abs_squared
from channels.base import ChannelOperator
from channels.checks import complaint, shown
from channels.ofdm.draw import frame_power
from channels.types import ChannelUses, Draw, Received
from channels.units import snr_db_to_no
from linksim.build.foreign import Place, foreign_parts, place_of
from linksim.kinds.channels.base import ChannelBase
from linksim.kinds.schemes.base import SchemeBase
from linksim.link import Told, run_link, sent_frame
from linksim.schemes.base import Bound, CsitKind, Frame, Scheme

__all__ = ["channel_warnings", "check_promises", "check_sends"]

_SEEDS, _SNR_DB = (5, 6), 10.0
_DRAWS, _CHUNK, _USES = 400, 50, 256  # of the mean gain
_SIGMAS, _SHARE = 5.0, 0.1
_MOST_STREAMS = 16


def _own_kind(description: ChannelBase | SchemeBase) -> bool:
    """Whether the kind itself is foreign, not only a part of it."""
    return any(
        isinstance(description, k.target) for k in foreign_parts(description) if isinstance(k.target, type)
    )


# ---------------------------------------------------------------------------------------------- channels


def channel_warnings(spec: ChannelBase, operator: ChannelOperator, num_uses: int) -> list[str]:
    """Try an operator that has a foreign kind in it.

    Args:
        spec: its description.
        operator: built.
        num_uses: data uses of a frame.

    Returns:
        What is unusual, a line each.

    Raises:
        ValueError: a promise that is broken.
    """
    place = place_of(None, spec)
    if place is None:
        return []
    _check_draw(place, operator, num_uses)
    _check_uses(place, operator, num_uses)
    x = torch.ones(2, num_uses, dtype=operator.cdtype, device=operator.device)
    snr_db = torch.full((2,), _SNR_DB)
    first, second = operator(x, snr_db, _SEEDS), operator(x, snr_db, _SEEDS)
    check_received(str(place), first, 2, num_uses)
    pairs = zip(_tensors(first), _tensors(second), strict=True)
    if not all(torch.equal(a, b) for a, b in pairs):
        cure = "Take all randomness from channels.seeding.generator(seed), within draw."
        raise _broken(
            place, "draw: not a function of the seeds", "other values from the same seeds", "the same", cure
        )
    if torch.equal(first.y[0], first.y[1]) and not spec.is_constant:
        got, cure = (
            "the same frame from two seeds",
            "One generator per seed: channels.seeding.generator(seed).",
        )
        raise _broken(place, "draw: ignores the seeds", got, "two frames", cure)
    if spec.has_path_loss:
        return []
    model = getattr(spec, "model", None)
    if place_of(None, model) is not None:
        return _gain_warnings(place_of(None, model), operator, min(num_uses, _USES), of_model=True)
    has_gain = _own_kind(spec) and not getattr(spec, "impairments", ())
    return _gain_warnings(place, operator, min(num_uses, _USES)) if has_gain else []


def _broken(place: Place, what: str, got: object, expected: object, cure: str = "") -> ValueError:
    method, _, wrong = what.partition(": ")
    return ValueError(complaint(f"{place}: {method}", wrong, got, expected, cure))


def _tensors(received: Received) -> list[Tensor]:
    return [received.y, received.csi.h, received.csi.no, received.csi.err_var]


def _check_draw(place: Place, operator: ChannelOperator, num_uses: int) -> None:
    draw = operator.draw(num_uses, _SEEDS)
    if not isinstance(draw, Draw):
        cure = "A frozen dataclass that derives from it holds the tensors."
        raise _broken(place, "draw: no draw", f"a {type(draw).__name__}", "a channels.types.Draw", cure)


def _check_uses(place: Place, operator: ChannelOperator, num_uses: int) -> None:
    uses = operator.uses(num_uses)
    if not isinstance(uses, ChannelUses):
        got, expected = f"a {type(uses).__name__}", f"channels.types.ChannelUses(data={num_uses})"
        raise _broken(place, "uses: no channel uses", got, expected)
    by_streams = {-(-num_uses // streams) for streams in range(1, _MOST_STREAMS + 1)}
    if uses.data not in by_streams or min(uses.pilot, uses.guard) < 0:
        got, expected = (
            f"{uses} for {num_uses} symbols",
            f"data={num_uses} (or that over the number of streams)",
        )
        raise _broken(place, "uses: wrong number", got, expected, "Pilots and guards are counted apart.")


def check_received(where: str, received: object, batch: int, num_uses: int) -> None:
    """Refuse what no receiver can use.

    Raises:
        ValueError: another type or shape, values that are not finite.
    """
    if not isinstance(received, Received):
        got = f"a {type(received).__name__}"
        raise ValueError(
            complaint(f"{where}: observe", "no received frame", got, "a channels.types.Received")
        )
    each, csi = [[batch, 1], [batch, num_uses]], received.csi
    wanted: list[tuple[str, Any, list[list[int]]]] = [("y", received.y, each[1:]), ("csi.h", csi.h, each[1:])]
    wanted += [("csi.no", csi.no, each), ("csi.err_var", csi.err_var, each)]
    for name, value, shapes in wanted:
        at = f"{where}: observe: {name}"
        found: object = list(value.shape) if isinstance(value, Tensor) else f"a {type(value).__name__}"
        if found not in shapes:
            raise ValueError(complaint(at, "wrong shape", found, " or ".join(map(str, shapes))))
        if not bool(torch.isfinite(value).all()):
            raise ValueError(complaint(at, "not finite", "NaN or infinity", "numbers"))


def _gain_warnings(
    place: Place | None, operator: ChannelOperator, num_uses: int, *, of_model: bool = False
) -> list[str]:
    """E|h|² = 1 over fading: the mean of sampled frames, which differ among each other as much as they do. Of
    a delay model, over pairs of antennas, before they are combined.
    """
    means = []
    no = torch.full((_CHUNK, 1), float(snr_db_to_no(torch.tensor(_SNR_DB))), dtype=operator.dtype)
    for begin in range(0, _DRAWS, _CHUNK):
        draw = operator.draw(num_uses, [1000 + i for i in range(begin, begin + _CHUNK)])
        power = frame_power(draw)[:, 0] if of_model else _gain_power(operator, draw, no)
        means.append(power.double())
    power = torch.cat(means)
    mean, error = float(power.mean()), float(power.std()) / len(power) ** 0.5
    if abs(mean - 1) <= max(_SIGMAS * error, _SHARE):
        return []
    got = f"{mean:.3g} +/- {error:.2g} over {len(power)} draws"
    cure = "Every SNR of a run is off by that; say has_path_loss if places are meant to differ."
    return [complaint(f"{place}: mean |h|^2", "not 1", got, 1, cure)]


def _gain_power(operator: ChannelOperator, draw: Draw, no: Tensor) -> Tensor:
    """Mean |h|² of every frame, [B]."""
    return abs_squared(operator.gain(draw, no.to(operator.device))).mean(1)


# ----------------------------------------------------------------------------------------------- schemes


def check_promises(spec: SchemeBase, scheme: Any) -> None:
    """Refuse a foreign scheme that lacks something, or is told what its description does not say.

    Raises:
        ValueError: what is broken.
    """
    place = place_of(None, spec)
    limit = isinstance(scheme, Bound)
    if place is not None and _own_kind(spec):
        wanted = ("name", "check", "reach") if limit else ("name", "csit", "check", "transmit", "receive")
        lacking = [name for name in wanted if not hasattr(scheme, name)]
        if lacking:
            got = f"{type(scheme).__name__} without {', '.join(lacking)}"
            cure = "See linksim.schemes.base.Scheme."
            raise ValueError(complaint(f"{place}: build", "half written", got, ", ".join(wanted), cure))
        if spec.is_sent == limit:
            got, expected = (
                ("a limit", "a scheme that transmits") if limit else ("a scheme that transmits", "a limit")
            )
            cure = f"Derive from {'SchemeBase' if limit else 'SentSchemeBase or AnalogSchemeBase'}."
            raise ValueError(complaint(f"{place}: build", "not what it says", got, expected, cure))
    if limit:
        return
    at = f"{place}: csit" if place else "csit"
    if scheme.csit not in get_args(CsitKind):
        expected = " or ".join(repr(name) for name in get_args(CsitKind))
        raise ValueError(complaint(at, "unknown", repr(scheme.csit), expected))
    if scheme.csit != spec.told_by:
        got, expected = f"{scheme.csit!r} of the scheme", f"{spec.told_by!r}, as its description says"
        cure = "Give the scheme the csit of its description, or say it there (told_by)."
        raise ValueError(complaint(at, "differs from the description", got, expected, cure))


def check_sends(
    spec: SchemeBase,
    scheme: Scheme | Bound,
    operator: ChannelOperator,
    image: Tensor,
    snr_db: float,
    budget: int,
    told: Told,
) -> None:
    """Send a picture and its negative through a foreign scheme.

    Args:
        spec: its description.
        scheme: built.
        operator: as the scheme uses it.
        image: [3, H, W] uint8.
        snr_db: of the trial.
        budget: data uses.
        told: what the ends are told.

    Raises:
        ValueError: a promise that is broken.
    """
    place = place_of(None, spec)
    if place is None or not _own_kind(spec):
        return
    pictures = [p[None].to(operator.device).float() / 255 for p in (image, 255 - image)]
    snr, seeds = torch.full((1,), snr_db, device=operator.device), [_SEEDS[0]]
    with torch.no_grad(), _said_of(place):
        if not isinstance(scheme, Bound):
            draw = operator.draw(budget, seeds)
            frames = [sent_frame(scheme, operator, draw, p, snr, seeds, budget, told) for p in pictures]
            _check_layouts(*frames)
        run_link(scheme, operator, pictures[0], snr, seeds, budget, told)


@contextmanager
def _said_of(place: Place) -> Iterator[None]:
    """Kind, file and line in front of what is refused."""
    try:
        yield
    except ValueError as problem:
        raise ValueError(f"{place}: {problem}") from problem


def _check_layouts(first: Frame, second: Frame) -> None:
    """A layout tells nothing of the picture but what side information pays for, a bit a value at least."""
    bits = first.side_info_bits
    if type(bits) is not int or bits < 0:
        raise ValueError(complaint("side_info_bits", "no number of bits", shown(bits), "a whole number >= 0"))
    told = differing(first.layout, second.layout)
    if told > bits:
        got = f"{told} values that differ from picture to picture, side_info_bits {bits}"
        cure = "Send them as symbols, or count them in side_info_bits."
        raise ValueError(complaint("layout", "tells of the picture", got, "sizes alone", cure))


def differing(a: Any, b: Any) -> int:
    """How many values of two layouts differ.

    Example:
        >>> differing((16, {"rms": torch.tensor([1.0, 2.0])}), (16, {"rms": torch.tensor([1.0, 3.0])}))
        1
    """
    if a is b:
        return 0
    if isinstance(a, Tensor | np.ndarray) and isinstance(b, Tensor | np.ndarray):
        x, y = (np.asarray(v.detach().cpu() if isinstance(v, Tensor) else v) for v in (a, b))
        return int((x != y).sum()) if x.shape == y.shape else max(x.size, y.size)
    if type(a) is not type(b):
        return 1
    if isinstance(a, int | float | complex | str | bytes):
        return 0 if a == b else (len(a) if isinstance(a, str | bytes) else 1)
    return sum(differing(x, y) for x, y in _pairs(a, b))


def _pairs(a: Any, b: Any) -> Sequence[tuple[Any, Any]]:
    """Parts of two values of one type, side by side."""
    if isinstance(a, Mapping):
        return [(a.get(key), b.get(key)) for key in dict.fromkeys((*a, *b))]
    if isinstance(a, tuple | list):
        return [
            *zip(a, b, strict=False),
            *((value, None) for value in (a if len(a) > len(b) else b)[min(len(a), len(b)) :]),
        ]
    if is_dataclass(a):
        return [(getattr(a, f.name), getattr(b, f.name)) for f in fields(a)]
    return _pairs(vars(a), vars(b)) if type(a).__module__ != "builtins" and hasattr(a, "__dict__") else []

"""Networks of transformers and diffusers from folders: with all of their tensors, or a message."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from channels.checks import complaint, in_words
from linksim.weights.pickle_reader import ModelFormatError

__all__ = ["quiet", "read_network", "read_preparation", "refuse_tensors"]

_PREPARATIONS = ("preprocessor_config.json", "processor_config.json")
_UNKNOWN = "unexpected_keys"
_FAULTS = {
    "missing_keys": "tensors missing",
    _UNKNOWN: "unknown tensors",
    "mismatched_keys": "tensors of another shape",
    "error_msgs": "tensors that do not fit",
}


@contextmanager
def quiet() -> Iterator[None]:
    """Without progress bars of loading and tables of what a file holds, which say nothing here."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def refuse_tensors(folder: Path, network: str, what: str, names: Iterable[str]) -> None:
    """Raise ModelFormatError if tensors of a folder are not those of a network.

    Args:
        folder: of the network.
        network: name of its class.
        what: is wrong with the tensors.
        names: of the tensors; none is well.
    """
    wrong = sorted(name for name in names if not name.endswith("position_ids"))  # 0, 1, 2, ...
    if wrong:
        got = f"{wrong[0]} and {len(wrong) - 1} more" if wrong[1:] else wrong[0]
        expected = f"the tensors of a {network} as its config.json describes it"
        raise ModelFormatError(complaint(str(folder), what, got, expected))


def read_network(
    read: Callable[..., Any], folder: Path, network: str, *, part: bool = False, **options: Any
) -> Any:
    """A frozen network on the CPU, every tensor of it from its folder. Both packages would make up those that
    a file lacks at random, and only print a table of them.

    Args:
        read: ``from_pretrained`` of a class of transformers or diffusers.
        folder: of the network.
        network: name of the class, for messages.
        part: the file may hold other tensors beside those of the network.
        options: further arguments of ``read``.

    Raises:
        ModelFormatError: broken, or tensors missing, unknown or misshapen.
    """
    kept = {"local_files_only": True, "output_loading_info": True}
    try:
        with quiet():
            found, info = read(folder, **kept, ignore_mismatched_sizes=True, **options)  # named below
    except Exception as problem:  # the packages raise many types, some of no family, for broken folders
        raise ModelFormatError(
            complaint(str(folder), "cannot be read", in_words(problem), f"a {network}")
        ) from None
    for key, what in _FAULTS.items():
        names = [str(name[0] if isinstance(name, tuple) else name) for name in info.get(key) or ()]
        refuse_tensors(folder, network, what, () if part and key == _UNKNOWN else names)
    return found.eval().requires_grad_(False)


def read_preparation(read: Callable[..., Any], folder: Path) -> Any:
    """What makes pictures ready for a network of transformers, as its folder says.

    Args:
        read: ``from_pretrained`` of a class of transformers.
        folder: of the network.

    Raises:
        ModelFormatError: broken, or the folder does not say it: transformers would guess.
    """
    expected = "preprocessor_config.json, how pictures are prepared"
    try:
        with quiet():
            found = read(folder, local_files_only=True)
    except Exception as problem:  # transformers raises many types for a folder that holds another thing
        raise ModelFormatError(
            complaint(str(folder), "cannot be read", in_words(problem), expected)
        ) from None
    of_timm = type(found).__name__.startswith("Timm")  # timm's models say it in config.json
    if not of_timm and not any((folder / name).is_file() for name in _PREPARATIONS):
        raise ModelFormatError(complaint(str(folder), "no such file", _PREPARATIONS[0], expected))
    return found

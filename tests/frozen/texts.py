"""What users read: help of every command, and the message and exit code of every bad input."""

from __future__ import annotations

import contextlib
import io
import platform
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.frozen.door import COMMANDS, main
from tests.linksim import test_bad_input

ROOT = Path(__file__).parents[2]
LEFT_OUT = "test_report_that_cannot_be_written"  # draws all figures first: five seconds for one message


def python() -> str:
    """The version that the layout of argparse's texts depends on, such as 3.11."""
    return ".".join(platform.python_version_tuple()[:2])


# ------------------------------------------------------------------------------------------------ help


def help_texts() -> dict[str, list[str]]:
    """Lines of ``linksim --help`` and of the help of every command, 100 columns wide."""
    return {" ".join(words): _help(*words) for words in (("linksim",), *((c,) for c in COMMANDS))}


def _help(command: str) -> list[str]:
    words = ["--help"] if command == "linksim" else [command, "--help"]
    out = io.StringIO()
    with _columns(100), contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        main(words)
    return out.getvalue().splitlines()


@contextlib.contextmanager
def _columns(count: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(count))
        yield


# ------------------------------------------------------------------------------------------- bad input


class _Listener:
    """A plugin: keeps what every refusal in ``test_bad_input`` says. Tests without a refusal are left out."""

    def __init__(self) -> None:
        self.messages: dict[str, list[str]] = {}
        self.current = ""
        self.place = ""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        refusing = {"refuse", "simulate"}
        items[:] = [
            item
            for item in items
            if refusing & {*item.function.__code__.co_names} and item.name != LEFT_OUT  # type: ignore[attr-defined]
        ]

    def pytest_runtest_call(self, item: pytest.Item) -> None:
        self.current = item.nodeid.rpartition("::")[2]
        self.place = str(item.funcargs.get("tmp_path", ""))  # type: ignore[attr-defined]

    def keep(self, message: str) -> None:
        """A message, without what is of this machine."""
        for place, name in ((self.place, "TMP"), (str(Path.cwd()), "HERE"), (str(ROOT), "LINKSIM")):
            message = message.replace(place, name) if place else message
        message = re.sub(r"(maximum recursion depth exceeded)[^,]*", r"\1", message)  # where is chance
        self.messages.setdefault(self.current, []).extend(message.rstrip("\n").split("\n"))


def bad_input_messages() -> dict[str, list[str]]:
    """Lines that each case of ``tests/linksim/test_bad_input.py`` answers, by the name of the case.

    The cases are run where they are; each asserts exit code 2 by itself.

    Raises:
        RuntimeError: a case fails.
    """
    listener, refuse = _Listener(), test_bad_input.refuse

    def listening(*arguments: object, **keywords: object) -> str:
        message = refuse(*arguments, **keywords)  # type: ignore[arg-type]
        listener.keep(message)
        return message

    with pytest.MonkeyPatch.context() as patch, _columns(100):
        patch.setattr(test_bad_input, "refuse", listening)
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = pytest.main(
                [str(Path(test_bad_input.__file__)), "-p", "no:cacheprovider", "-p", "no:randomly", "--rootdir", str(ROOT)],
                plugins=[listener],
            )  # fmt: skip
    if code != pytest.ExitCode.OK:
        raise RuntimeError(f"{test_bad_input.__file__}: exit code {code}\n{said.getvalue()[-3000:]}")
    return listener.messages

"""The LLVM library that ray tracing on the CPU compiles with: found, and asked for its version, before use.

Dr.Jit loads whatever libLLVM the linker names first, and with releases before 17 the process can die while it
compiles (they do not know the half-precision vector instructions of recent processors). So the version is
asked in a process of its own, and only a library that is new enough is named to Dr.Jit.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from channels.checks import complaint

__all__ = ["LIBRARY_VARIABLE", "MINIMUM_VERSION", "LlvmUnavailable", "find_llvm"]

LIBRARY_VARIABLE = "DRJIT_LIBLLVM_PATH"
MINIMUM_VERSION = 17
_CURE = (
    f"Install one (Debian 12, Ubuntu 24.04 and newer: apt-get install libllvm19; macOS: brew install llvm) "
    f"or set {LIBRARY_VARIABLE} to the path of one."
)
_FOLDERS = (
    "/usr/lib/llvm-*/lib",
    "/usr/lib/*-linux-gnu",
    "/usr/lib64",
    "/usr/lib64/llvm*/lib*",
    "/usr/lib",
    "/usr/local/lib",
    "/opt/homebrew/opt/llvm*/lib",
    "/usr/local/opt/llvm*/lib",
)
_ASK = """
import ctypes, sys
numbers = [ctypes.c_uint() for _ in range(3)]
ctypes.CDLL(sys.argv[1]).LLVMGetVersion(*map(ctypes.byref, numbers))
sys.stdout.write(str(numbers[0].value))
"""


class LlvmUnavailable(RuntimeError):
    """No LLVM library that is new enough, and where to get one."""


def find_llvm() -> str:
    """Path of a libLLVM of version 17 or newer: $DRJIT_LIBLLVM_PATH, else the newest one installed.

    Raises:
        LlvmUnavailable: none, or $DRJIT_LIBLLVM_PATH names one that is older or cannot be loaded.
    """
    named = os.environ.get(LIBRARY_VARIABLE)
    expected = f"libLLVM of version {MINIMUM_VERSION} or newer"
    if named:
        version = library_version(named)
        if version is None or version < MINIMUM_VERSION:
            got = f"{named} (older than 16, or it does not load)" if version is None else f"version {version}"
            raise LlvmUnavailable(complaint(LIBRARY_VARIABLE, "no usable LLVM library", got, expected, _CURE))
        return named
    seen = sorted(set(_installed()), key=lambda path: (-(named_version(path) or 0), len(path), path))
    for path in seen:
        if (named_version(path) or MINIMUM_VERSION) >= MINIMUM_VERSION:
            version = library_version(path)
            if version is not None and version >= MINIMUM_VERSION:
                return path
    old = ", ".join(sorted({Path(path).resolve().name for path in seen})) or "none"
    wrong = "not found (ray tracing on the CPU compiles with it)"
    raise LlvmUnavailable(complaint("LLVM", wrong, old, expected, _CURE))


def _installed() -> Iterator[str]:
    """Paths of everything that is called libLLVM: from the linker's cache and the usual folders."""
    ldconfig = shutil.which("ldconfig", path=f"{os.environ.get('PATH', '')}:/sbin:/usr/sbin")
    if ldconfig:
        listed = subprocess.run([ldconfig, "-p"], capture_output=True, text=True, check=False).stdout
        yield from re.findall(r"=> (\S*/libLLVM[-.\d]*\.so[.\d]*)$", listed, re.MULTILINE)
    own = [str(Path(root) / "lib") for root in (os.environ.get("CONDA_PREFIX"), sys.prefix) if root]
    for folder in (*_FOLDERS, *own):
        root = Path(folder).anchor
        for path in Path(root).glob(f"{folder.removeprefix(root)}/libLLVM*"):
            if re.fullmatch(r"libLLVM[-.\d]*\.(so[.\d]*|dylib)", path.name):
                yield str(path)


def named_version(path: str) -> int | None:
    """Major version that the name tells: libLLVM-14.so.1, libLLVM.so.19.1, libLLVM-14.0.6.so."""
    match = re.search(r"libLLVM(?:-|\.so\.)(\d+)", Path(path).name)
    return int(match.group(1)) if match else None


def library_version(path: str) -> int | None:
    """Major version that the library itself tells, in another process; None if it does not load or is older
    than 16, which could not tell yet.
    """
    try:
        answer = subprocess.run(
            [sys.executable, "-I", "-c", _ASK, path], capture_output=True, text=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return int(answer.stdout) if answer.returncode == 0 and answer.stdout.isdigit() else None

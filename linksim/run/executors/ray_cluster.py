"""A Ray cluster: one that is there, or one of this machine that lasts as long as the run."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from joblib import cpu_count

from channels.checks import complaint, in_words
from channels.runtime.child_processes import safe_children
from linksim.scenario.errors import ScenarioError

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["RayChoice", "connected", "rooms_of"]

log = logging.getLogger("linksim.run.executors.ray_cluster")

_REACHED_S = 10.0
_STORE_BYTES = 1 << 28  # of a cluster of our own: pictures of the run, and of the panel
# Ray sends no statistics of clusters that are started here, and leaves the choice of GPUs to its workers.
_OWN = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


@dataclass(frozen=True)
class RayChoice:
    """Which cluster computes a run.

    Args:
        where: "local" (started here, ended with the run), "auto" (the one that this process or machine
            belongs to), or HOST:PORT of a head.
        gpus: whether GPUs of the cluster may be used.
        argument: how messages call it.

    Raises:
        ScenarioError: none of these, or Ray is not installed.
    """

    where: str
    gpus: bool = True
    argument: str = "ray"

    def __post_init__(self) -> None:
        known = isinstance(self.where, str) and (
            self.where in ("auto", "local") or re.fullmatch(r"[\w.\-\[\]:]+:[0-9]{1,5}", self.where)
        )
        if not known or self.where.startswith("ray:"):
            expected, got = "auto, local or HOST:PORT of a cluster's head", repr(self.where)
            cure = "The run itself is started on a machine of the cluster."
            raise ScenarioError(complaint(self.argument, "no cluster", got, expected, cure))
        if importlib.util.find_spec("ray") is None:
            cure = "Install it: pip install 'linksim-wireless[ray]'"
            raise ScenarioError(
                complaint(self.argument, "Ray is not installed", self.where, "ray>=2.60", cure)
            )


@contextmanager
def connected(choice: RayChoice, workers: int | None, image_bytes: int) -> Iterator[ModuleType]:
    """Ray, connected to a cluster. One of our own ends with the block, with all of its processes.

    Args:
        choice: which one.
        workers: that a cluster of our own has room for; None: one per core.
        image_bytes: of the pictures of the run.

    Raises:
        ScenarioError: no such cluster, or one that cannot be used.
    """
    import ray

    if ray.is_initialized():
        if choice.where != "auto":
            got, cure = "connected already", "Call ray.shutdown() first, or use auto."
            raise ScenarioError(complaint(choice.argument, choice.where, got, "no connection of Ray", cure))
        yield ray
        return
    options: dict[str, Any] = {"address": choice.where}
    if choice.where == "local":
        cpus = max(cpu_count(), workers or 0)  # eight workers fit on two cores, as eight processes do
        store = max(_STORE_BYTES, 4 * image_bytes)
        options |= {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": store}
        options |= {} if choice.gpus else {"num_gpus": 0}
    elif choice.where != "auto":
        _reach(choice)
    try:
        with _quiet_start(), tempfile.TemporaryDirectory(prefix="linksim-ray-") as empty:
            # without one of its own Ray puts the working directory in front of installed packages
            verbose = log.isEnabledFor(logging.INFO)
            level = logging.INFO if verbose else logging.CRITICAL
            options |= {
                "runtime_env": {"working_dir": empty},
                "log_to_driver": verbose,
                "logging_level": level,
            }
            ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as problem:
        ray.shutdown()
        cure = "Start one (ray start --head), or use --ray local." if choice.where == "auto" else ""
        what, got = f"{choice.where} cannot be used", in_words(problem).splitlines()[0]
        raise ScenarioError(
            complaint(choice.argument, what, got, "a cluster of the same Python and Ray", cure)
        ) from None
    except BaseException:  # stopped while it began
        ray.shutdown()
        raise
    try:
        yield ray
    finally:
        ray.shutdown()


def _reach(choice: RayChoice) -> None:
    """Say at once what Ray would say after minutes."""
    host, _, port = choice.where.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _REACHED_S).close()
    except (OSError, OverflowError) as problem:
        got, cure = in_words(problem), "Start it there: ray start --head"
        what, expected = f"{choice.where} cannot be reached", "the head of a cluster"
        raise ScenarioError(complaint(choice.argument, what, got, expected, cure)) from None


@contextmanager
def _quiet_start() -> Iterator[None]:
    """What Ray changes in this process when it begins stays as it was: the end by SIGTERM."""
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM) if main else None
    before = {name: os.environ.get(name) for name in _OWN}
    os.environ.update(_OWN)
    try:
        with safe_children():
            yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        if handler is not None:
            signal.signal(signal.SIGTERM, handler)


@dataclass(frozen=True)
class Rooms:
    """What a cluster has.

    Args:
        cpus: of all nodes that live.
        gpus: of all nodes that live.
        smallest: CPUs of the node that has the fewest.
    """

    cpus: int
    gpus: float
    smallest: int


def rooms_of(ray: ModuleType) -> Rooms:
    """What the cluster has now: nodes come and go."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus = [int(node.get("CPU", 0)) for node in nodes]
    gpus = sum(float(node.get("GPU", 0)) for node in nodes)
    return Rooms(sum(cpus), gpus, min((count for count in cpus if count), default=1))

"""Fixtures for all tests: no user cache, no downloads."""

from __future__ import annotations

import os

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does
if int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1:
    # before torch is imported: workers whose threads fight for cores are ten times slower
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True, scope="session")
def _private_cache(tmp_path_factory):
    """Streams, weights and hub files of the user are neither read nor written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LINKSIM_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))
        patch.delenv("LINKSIM_WEIGHTS", raising=False)
        yield


@pytest.fixture
def no_network(monkeypatch):
    """Any attempt to reach the network fails at once."""
    import socket

    def refuse(*arguments, **keywords):
        raise OSError("no network in tests")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)

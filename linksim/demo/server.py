"""Serving the page on this machine: nothing is fetched, nothing is shared, nothing stays behind."""

from __future__ import annotations

import errno
import importlib.util
import ipaddress
import os
import socket
import tempfile
import threading
from collections.abc import Callable

from channels.checks import complaint
from channels.runtime.extras import install
from linksim.scenario.errors import ScenarioError

__all__ = ["check_gradio", "check_place", "serve"]

_QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_SSR_MODE": "False",
}


def check_gradio() -> None:
    """Refuse where the page cannot be built.

    Raises:
        ScenarioError: gradio is not installed.
    """
    if importlib.util.find_spec("gradio") is None:
        cure = install("demo")
        raise ScenarioError(complaint("linksim demo", "gradio is not installed", "none", "gradio 6", cure))


def check_place(host: str, port: int) -> None:
    """Refuse a host or port that cannot be listened on.

    Raises:
        ScenarioError: says which.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as problem:
        expected = "a name or address of this machine, such as 127.0.0.1"
        raise ScenarioError(complaint("--host", "unknown", f"{host} ({problem})", expected)) from None
    try:
        with socket.socket(family, kind, proto) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as problem:
        if problem.errno == errno.EADDRNOTAVAIL:
            expected = "a name or address of this machine, such as 127.0.0.1"
            raise ScenarioError(complaint("--host", "not of this machine", host, expected)) from None
        got = f"{host}:{port} ({problem.strerror or problem})"
        raise ScenarioError(
            complaint("--port", "cannot be listened on", got, "a free port", "Give another --port.")
        ) from None


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
        (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def serve(host: str, port: int, *, browser: bool, report: Callable[[str], None]) -> None:
    """Serve the page until the process is interrupted. Uploads are deleted at the end.

    Args:
        host, port: to listen on.
        browser: whether to open one.
        report: called with lines for people.

    Raises:
        ScenarioError: no gradio, or a place that cannot be listened on.
    """
    check_gradio()
    check_place(host, port)
    if not is_loopback(host):
        report(f"warning: {host} can be reached from other machines: whoever does can send pictures")
    with tempfile.TemporaryDirectory(prefix="linksim-demo-") as folder:
        os.environ.update(_QUIET, GRADIO_TEMP_DIR=folder)
        report("loading the models ...")
        from linksim.demo.choices import PICTURES, Settings
        from linksim.demo.page import CSS, build_page, theme
        from linksim.demo.pictures import MAX_BYTES, bundled_picture
        from linksim.demo.session import Session

        session = Session()
        session.send(bundled_picture(PICTURES[0]), Settings())
        page = build_page(session)
        page.launch(
            server_name=host,
            server_port=port,
            inbrowser=browser,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            max_file_size=MAX_BYTES,
            enable_monitoring=False,
            ssr_mode=False,
            pwa=False,
            footer_links=[],
            theme=theme(),
            css=CSS,
        )
        report(f"linksim demo: http://{host}:{port} (stop with Ctrl-C)")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            report("stopped")
        finally:
            page.close(verbose=False)

#!/usr/bin/env python3
"""How the examples are started: as people start them, on free ports."""
from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator, List, Optional

from tests.helpers import ROOT, Answer
from tests.machine import free_port, wait_until
from tests.proxies import HERE, HOST, Caddy

FOLDER = ROOT / "examples"
FLASK = [sys.executable, "-W", "error", str(FOLDER / "flask_app.py")]
NODE = ["node", str(FOLDER / "node_app.mjs")]
CHECKING = [sys.executable, "-W", "error", str(FOLDER / "checking_api.py")]
LETTERBOX = [sys.executable, "-W", "error", str(FOLDER / "letterbox.py")]


def desk() -> Dict[str, str]:
    """Return the settings that examples/desk.env has for everybody."""
    lines = (FOLDER / "desk.env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line[:1] != "#")


class Running:
    """An example that listens, in a process of its own."""

    def __init__(self, command: List[str], folder: Path,
                 **environ: str) -> None:
        """Start it; return once it takes connections."""
        self.port = free_port()
        self._log = folder / "example-{}.log".format(self.port)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=str(folder),
                env=dict(os.environ, PORT=str(self.port), **environ))
        wait_until(self._listens)

    def ask(self, path: str, headers: Optional[
            Dict[str, str]] = None) -> Answer:
        """Ask it without a proxy between."""
        connection = http.client.HTTPConnection(HERE, self.port, timeout=60)
        try:
            connection.request("GET", path, headers=headers or {})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def printed(self) -> str:
        """Return what it printed so far."""
        return self._log.read_text(encoding="utf-8")

    def stop(self) -> None:
        """Ask it to end, and wait until it did."""
        self._process.terminate()
        self._process.wait(60)

    def _listens(self) -> bool:
        """Tell whether it takes connections; it never will once it ended."""
        assert self._process.poll() is None, self.printed()
        try:
            socket.create_connection((HERE, self.port), 60).close()
            return True
        except OSError:
            return False


@contextmanager
def running(command: List[str], folder: Path,
            **environ: str) -> Iterator[Running]:
    """Lend an example that listens, and stop it afterwards."""
    made = Running(command, folder, **environ)
    try:
        yield made
    finally:
        made.stop()


class Desk(Caddy):
    """Caddy on the file that the examples come with, as localhost."""

    file = "examples/Caddyfile"
    changes = (
        ("http_port 8080\n", "http_port {plain}\n"),
        ("https_port 8443\n", "https_port {tls}\n"),
        ("tls internal", "tls {cert} {key}"),
        ("localhost {", HOST + ", localhost {{"),
        ("root * examples/page", "root * " + str(FOLDER / "page")),
        ("127.0.0.1:5000", "127.0.0.1:{service}"),
        ("127.0.0.1:8000", "127.0.0.1:{app}"))

#!/usr/bin/env python3
"""What the tests of both production servers share."""
from __future__ import annotations

import json
import os
import socket
import subprocess
from functools import partial
from typing import Any, Dict, List, Type

from tests.helpers import ROOT, Server
from tests.test_going_live import Live


class Production(Live):
    """A production server in the production mode."""

    def told(self) -> List[Dict[str, Any]]:
        """Return every line of the log as what it holds."""
        return [json.loads(line) for line in self.log().splitlines()]

    def lines(self, logger: str) -> List[Dict[str, Any]]:
        """Return what one logger said."""
        return [line for line in self.told() if line["logger"] == logger]


def exchange(server: Server, request: bytes, hang_up: bool = True) -> bytes:
    """Send raw bytes, hang up if asked to, and return all that comes back."""
    with socket.create_connection(
            ("127.0.0.1", server.port), timeout=20) as raw:
        raw.sendall(request)
        if hang_up:
            raw.shutdown(socket.SHUT_WR)
        return b"".join(iter(partial(raw.recv, 4096), b""))


def run_to_its_end(server: Type[Server], *words: str, code: int = 0,
                   **environ: str) -> str:
    """Run a server that ends soon, and return what it printed."""
    done = subprocess.run(
        server.command + words, cwd=str(ROOT), timeout=60,
        env=dict(os.environ, **environ), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, universal_newlines=True)
    assert done.returncode == code
    assert "Traceback" not in done.stdout
    return done.stdout

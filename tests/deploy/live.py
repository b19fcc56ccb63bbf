#!/usr/bin/env python3
"""What the tests of both production servers share."""
from __future__ import annotations

import json
import os
import socket
import subprocess
from functools import partial
from typing import Any, Dict, List, Tuple, Type

from tests.helpers import EMAIL, ROOT, Answer, Server
from tests.test_going_live import Live
from tests.test_hostile import MALLORY, Case, sends


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


def part_of_a_reset(server: Server) -> bytes:
    """Return a request that lacks the last letter of a new password."""
    token = json.loads(server.ask(
        "POST", "/reset_password", email=EMAIL).body)["reset_token"]
    return sends("PUT", "/reset_password", "reset_token={}&new_password="
                 "never".format(token).encode())[:-1]


class Storm:
    """The hostile requests of tests/test_hostile.py, as a server saw them."""

    # With what it refuses itself, where Flask's own server is more patient.
    stricter: Tuple[int, ...] = ()

    def test_each_is_refused(
            self, answers: List[Tuple[Case, Answer]]) -> None:
        """As by Flask's own server, or sooner; none is a mistake of ours."""
        assert [(case.name, answer.status) for case, answer in answers
                if answer.status not in case.statuses + self.stricter] == []

    def test_nobody_came_in(
            self, answers: List[Tuple[Case, Answer]],
            server: Server) -> None:
        """No second request was hidden in a first."""
        assert not any("Set-Cookie" in answer.headers for _, answer in answers)
        assert server.ask("POST", "/reset_password",
                          email=MALLORY).status == 403

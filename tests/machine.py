#!/usr/bin/env python3
"""What tests want of the machine: a port of their own, and some patience."""
from __future__ import annotations

import itertools
import os
import socket
import time
from pathlib import Path
from typing import Callable, List

# Each run counts from a place of its own, so that two can go side by side.
_PORTS = itertools.count(10000 + os.getpid() % 200 * 100)


def free_port() -> int:
    """Return a port that nobody listens on and nobody else will be given.

    Below the range from which the system takes the ports of clients, or a
    crowd of them could be given this one before the server is.
    """
    for port in _PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise AssertionError("ports never end")


def children(pid: int) -> List[int]:
    """Return the process ids of those that a process started, on Linux."""
    tasks = Path("/proc/{}/task".format(pid))
    return sorted(int(each) for task in tasks.glob("*/children")
                  for each in task.read_text().split())


def wait_until(happened: Callable[[], object], seconds: float = 20) -> None:
    """Wait for something that somebody else does."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)

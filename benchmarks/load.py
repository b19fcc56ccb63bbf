#!/usr/bin/env python3
"""The two that load a server: our own client, and wrk for sheer rate.

Both run in processes of their own, never in that of the server or of who
keeps the books.
"""
from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List

from benchmarks.client import Job, as_json
from benchmarks.processes import Process
from benchmarks.wire import Headers

HERE = Path(__file__).resolve().parent
NO_WRK = "wrk is not installed; on Debian: apt-get install wrk"
# Beyond what a job is to take, for those that wait for a stalled server.
GRACE_SECONDS = 180


class Client:
    """A job that is being done by a process of its own."""

    def __init__(self, job: Job) -> None:
        """Start it; it waits for its moment by itself."""
        self._patience = job.seconds + GRACE_SECONDS
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.client"],
            cwd=str(HERE.parent), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            universal_newlines=True)
        assert self._process.stdin is not None
        self._process.stdin.write(as_json(job))
        self._process.stdin.close()
        self._process.stdin = None

    def result(self) -> Dict[str, Any]:
        """Wait for the end and return what it saw."""
        try:
            out, complaints = self._process.communicate(
                timeout=self._patience)
        except subprocess.TimeoutExpired:
            self.abandon()
            raise RuntimeError("the client never ended") from None
        if self._process.returncode:
            raise RuntimeError(complaints.strip().rpartition("\n")[2])
        found: Dict[str, Any] = json.loads(out)
        return found

    def abandon(self) -> None:
        """End it, whatever it is at."""
        self._process.kill()
        self._process.communicate()


def run(job: Job) -> Dict[str, Any]:
    """Have a job done and return its result."""
    return Client(job).result()


def hammer(server: Process, port: int, path: str, readers: List[Headers],
           seconds: float, connections: int = 16) -> Dict[str, Any]:
    """Read as fast as so many connections can (wrk); return what was seen.

    `per_second` counts good answers only; `cpu_us` is what the processes of
    the server spent on a request, in microseconds, and None if there was no
    answer at all.
    """
    before = server.cpu_seconds()
    seen = wrk("http://127.0.0.1:{}{}".format(port, path), path, readers,
               seconds, connections)
    spent = server.cpu_seconds() - before
    good = seen["requests"] - seen["bad"]
    return {"per_second": good / seen["seconds"],
            "cpu_us": (1e6 * spent / seen["requests"]
                       if seen["requests"] else None),
            "p50_ms": seen["p50_ms"], "p99_ms": seen["p99_ms"],
            "bad": seen["bad"] + seen["broken"]}


def wrk(url: str, path: str, readers: List[Headers], seconds: float,
        connections: int) -> Dict[str, float]:
    """Run wrk for so long and return what it counted."""
    program = shutil.which("wrk")
    if not program:
        raise RuntimeError(NO_WRK)
    with tempfile.NamedTemporaryFile("w", suffix=".headers") as written:
        written.write("\n".join("\t".join(
            "{}: {}".format(*pair) for pair in each.items())
            for each in readers))
        written.flush()
        running = subprocess.Popen(
            [program, "-t1", "-c{}".format(connections), "-d1h", "--timeout",
             "30s", "-s", str(HERE / "wrk.lua"), url],
            env=dict(os.environ, WRK_PATH=path, WRK_HEADERS=written.name),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            universal_newlines=True)
        return counted_by_wrk(interrupted(running, seconds))


def interrupted(running: subprocess.Popen[str], seconds: float) -> str:
    """Interrupt a program after so long; return what it said until its end.

    wrk counts whole seconds only, but knows how long it ran.
    """
    try:
        time.sleep(seconds)
        running.send_signal(signal.SIGINT)
        return running.communicate(timeout=GRACE_SECONDS)[0]
    except subprocess.TimeoutExpired:
        raise RuntimeError("wrk never ended") from None
    finally:
        if running.poll() is None:
            running.kill()
            running.communicate()


def counted_by_wrk(printed: str) -> Dict[str, float]:
    """Return what wrk.lua printed among what wrk prints."""
    for line in printed.splitlines():
        if line.startswith("JSON "):
            found: Dict[str, float] = json.loads(line[5:])
            return found
    raise RuntimeError("wrk said: " + " ".join(printed.split())[-300:])

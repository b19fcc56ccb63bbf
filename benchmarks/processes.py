#!/usr/bin/env python3
"""Servers in processes of their own, and what those processes cost.

Linux only: a server is started as a session of its own, and what counts as
its processes are those that /proc says are of that session.
"""
from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence

TICKS = os.sysconf("SC_CLK_TCK")
START_SECONDS = 60
STOP_SECONDS = 10
PROC = Path("/proc")


class Usage(NamedTuple):
    """What one process is: whose, and the CPU seconds that it has cost.

    Those of its children that have ended are among them.
    """

    session: int
    dead: bool
    cpu_seconds: float


class Memory(NamedTuple):
    """Megabytes of one process: resident, and its share of what is shared.

    `own` is its share of what is in no file. Files are shared with whatever
    else runs on the machine, so `pss` grows when a stranger ends.
    """

    rss: float
    pss: float
    own: float


def read_stat(text: str) -> Usage:
    """Understand a line of /proc/PID/stat.

    The name of the program is in brackets and may hold anything; fields are
    counted from behind it (proc_pid_stat(5)).
    """
    fields = text.rpartition(")")[2].split()
    return Usage(session=int(fields[3]), dead=fields[0] in "ZX",
                 cpu_seconds=sum(map(int, fields[11:15])) / TICKS)


def read_memory(text: str) -> Memory:
    """Understand the text of /proc/PID/smaps_rollup."""
    found = {"Rss:": 0, "Pss:": 0, "Pss_Anon:": 0}
    for line in text.splitlines():
        words = line.split()
        if words and words[0] in found:
            found[words[0]] = int(words[1])
    return Memory(*(size / 1024 for size in found.values()))


def session_of(leader: int, proc: Path = PROC) -> Dict[int, Usage]:
    """Return the processes of a session that live, by their number."""
    found = {}
    for folder in proc.iterdir():
        if folder.name.isdigit():
            # It may end while it is looked at.
            with suppress(OSError, IndexError, ValueError):
                usage = read_stat((folder / "stat").read_text())
                if usage.session == leader and not usage.dead:
                    found[int(folder.name)] = usage
    return found


def cpu_seconds(leader: int, proc: Path = PROC) -> float:
    """Return what a session has cost so far, user and system."""
    return sum(each.cpu_seconds
               for each in session_of(leader, proc).values())


def memory(leader: int, proc: Path = PROC) -> List[Memory]:
    """Return the memory of each process of a session, the largest first."""
    found = []
    for number in session_of(leader, proc):
        with suppress(OSError):
            found.append(read_memory(
                (proc / str(number) / "smaps_rollup").read_text()))
    return sorted(found, reverse=True)


class Process:
    """A program in a session of its own, with a log, and not much else."""

    def __init__(self, command: Sequence[str], environ: Dict[str, str],
                 home: Path, log: Path) -> None:
        """Start it; what it prints goes into the log."""
        self._log = log
        self.started = time.monotonic()
        with log.open("ab") as written:
            self._process = subprocess.Popen(
                list(command), env=environ, cwd=str(home), stdout=written,
                stderr=written, stdin=subprocess.DEVNULL,
                start_new_session=True)
        self.leader = self._process.pid

    def demand_alive(self) -> None:
        """Raise RuntimeError, with its last words, if it has ended."""
        if self._process.poll() is not None:
            raise RuntimeError("ended with {}: {}".format(
                self._process.returncode, self.last_words()))

    def last_words(self) -> str:
        """Return the end of its log, on one line."""
        words = self._log.read_text(errors="replace").split()
        return " ".join(words)[-400:]

    def cpu_seconds(self) -> float:
        """Return what it and all below it have cost so far."""
        return cpu_seconds(self.leader)

    def memory(self) -> List[Memory]:
        """Return the memory of each of its processes, the largest first."""
        return memory(self.leader)

    def stop(self) -> None:
        """Ask it to end; after a while, end whatever is left of it."""
        with suppress(subprocess.TimeoutExpired, OSError):
            self._process.terminate()
            self._process.wait(STOP_SECONDS)
        left = session_of(self.leader)
        while left:
            for number in left:
                with suppress(OSError):
                    os.kill(number, signal.SIGKILL)
            time.sleep(0.01)  # the kernel takes them down when it gets to it
            left = session_of(self.leader)
        self._process.wait()

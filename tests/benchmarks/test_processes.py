#!/usr/bin/env python3
"""What a server's processes have cost, by what the system says of them."""
from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from benchmarks.processes import (
    TICKS, Process, cpu_seconds, memory, read_stat)
from tests.machine import wait_until

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="there is no /proc here")
STAT = "{} ({}) {} 1 7 {} 0 -1 0 0 0 0 0 {} {} {} {} 20 0 1 0 5"


def put(proc: Path, number: int, session: int, state: str = "S") -> None:
    """Make a process that has cost 1 + 2 ticks, and its children 3 + 4."""
    folder = proc / str(number)
    folder.mkdir()
    (folder / "stat").write_text(STAT.format(
        number, "a) b (c", state, session, 1, 2, 3, 4))
    (folder / "smaps_rollup").write_text(
        "Rss: {} kB\nPss: 512 kB\nPss_Anon: 256 kB\nSwap: 9 kB\n".format(
            1024 * number))


def test_a_name_with_brackets_moves_no_field() -> None:
    """Anybody may call a program so."""
    usage = read_stat(STAT.format(1, "x) S 9 9 9", "S", 42, 1, 2, 3, 4))
    assert usage.session == 42
    assert usage.cpu_seconds == 10 / TICKS


def test_all_processes_of_the_session_count_and_no_other(
        tmp_path: Path) -> None:
    """Workers are the server's; PostgreSQL and the dead are not."""
    for number, session, state in ((1, 5, "S"), (2, 5, "R"), (3, 6, "R"),
                                   (4, 5, "Z")):
        put(tmp_path, number, session, state)
    (tmp_path / "meminfo").write_text("no process")
    assert cpu_seconds(5, tmp_path) == pytest.approx(20 / TICKS)
    assert memory(5, tmp_path) == [(2, 0.5, 0.25), (1, 0.5, 0.25)]


def test_work_of_a_grandchild_is_seen(tmp_path: Path) -> None:
    """A real tree: the shell does nothing, what it starts does."""
    busy = "import time\nwhile time.process_time() < 60: pass"
    command = ["/bin/sh", "-c", "{} -c '{}' & wait".format(
        sys.executable, busy)]
    process = Process(command, dict(os.environ), tmp_path, tmp_path / "log")
    try:
        wait_until(lambda: process.cpu_seconds() > 0.2)
    finally:
        process.stop()
    assert cpu_seconds(process.leader) == 0

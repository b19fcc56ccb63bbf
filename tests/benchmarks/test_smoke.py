#!/usr/bin/env python3
"""The benchmark itself, as briefly as it runs: a real server under wrk."""
from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.load import NO_WRK
from benchmarks.phases import Results, Servers, reader
from benchmarks.seeding import Crowd
from benchmarks.targets import Ours
from tests.databases import KIND

pytestmark = [
    pytest.mark.skipif(not shutil.which("wrk"), reason=NO_WRK),
    pytest.mark.skipif(KIND != "sqlite", reason="it makes its own file")]


def test_a_read_is_measured_and_what_fails_is_named(tmp_path: Path) -> None:
    """One round: figures of the service, and the reason of a failure."""
    def broken() -> dict[str, float]:
        """Fail as a server that does not start."""
        raise RuntimeError("never answered")
    service = Ours("gunicorn", Crowd(20, cost=10))
    servers, found = Servers(tmp_path / "run"), Results()
    try:
        found.take_turns({"broken": broken, "ours": reader(
            servers, service, "/profile", 1)}, 2)
    finally:
        servers.stop()
    assert found.failed == {"broken": "RuntimeError: never answered"}
    seen = found.rounds["ours"]
    assert len(seen) == 2 and all(each["bad"] == 0 for each in seen)
    assert all(each["per_second"] > 10 and each["cpu_us"] > 10
               and 0 < each["p50_ms"] <= each["p99_ms"] for each in seen)

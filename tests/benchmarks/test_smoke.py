#!/usr/bin/env python3
"""The benchmark itself, as briefly as it runs: real servers under load."""
from __future__ import annotations

import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict

import pytest

from benchmarks import phases, report
from benchmarks.figures import median
from benchmarks.load import NO_WRK
from benchmarks.phases import PHASES, Plan
from tests.databases import KIND

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.version_info < (3, 13), reason=(
        "measured is the newest end only")),
    pytest.mark.skipif(not shutil.which("wrk"), reason=NO_WRK)]
# Everything at once and nothing for long.
BRIEF = Plan(rounds=1, seconds=0.3, cost=10, storms=(8,), flood=0.6,
             sizes=(50,), postgresql=KIND == "postgresql")
# What each phase has to say, of whom, and between which bounds it is no
# nonsense on any machine.
SEEN = [
    ("get", "ours", "per_second", 10, 1e6),
    ("get", "ours, /forward_auth", "cpu_us", 10, 1e5),
    ("get", "limit: empty route", "p99_ms", 0.01, 1e4),
    ("signin", "ours", "cpu_ms", 1, 5000),
    ("signin", "limit: raw bcrypt", "per_second", 0.2, 1000),
    ("storm", "ours, 8 clients", "during.p99_ms", 0.1, 1e4),
    ("storm", "ours, 8 clients", "kept", 0.001, 100),
    ("flood", "ours", "owner_slowest_s", 0.01, 60),
    ("flood", "ours", "statuses.401", 1, 1000),
    ("growth", "SQLite, 50", "sign_in.p50_ms", 1, 1e4),
    ("growth", "no index, 50", "read.p50_ms", 0.01, 1e4),
    ("start", "ours", "cold_s", 0.05, 60),
    ("start", "ours", "worker_rss_mb", 10, 1000)]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Any]:
    """Every phase once, as `make bench` leaves it."""
    with pytest.MonkeyPatch.context() as shorter:
        shorter.setattr(phases, "WARM_UP", 0.3)
        shorter.setattr(phases, "SETTLE", 0.4)
        folder = tmp_path_factory.mktemp("bench")
        # Side by side, as nobody looks at how fast it is here.
        with ThreadPoolExecutor(len(PHASES)) as pool:
            found = list(pool.map(lambda name: phases.measure(
                name, BRIEF, folder), PHASES))
        return {"bench": dict(zip(PHASES, found))}


@pytest.mark.parametrize("phase, name, figure, least, most", SEEN)
def test_phase_sees_what_it_is_for(
        measured: Dict[str, Any], phase: str, name: str, figure: str,
        least: float, most: float) -> None:
    """Nothing failed, and the figure is one."""
    assert measured["bench"][phase]["failed"] == {}
    found = median(report.rounds(measured, "bench." + phase, name), figure)
    assert found is not None and least <= found <= most


def test_answers_are_good_ones(measured: Dict[str, Any]) -> None:
    """Refusals are quick, and would make a fine figure."""
    for phase in ("get", "signin"):
        for rounds in measured["bench"][phase]["rounds"].values():
            assert [each["bad"] for each in rounds] == [0]


def test_every_figure_has_a_verdict(measured: Dict[str, Any]) -> None:
    """But those that need more than a brief run has."""
    rows = report.must_show(measured).splitlines()[2:]
    unknown = [row for row in rows if report.NOT_MEASURED in row]
    # One with peers, four from few rows to many, one on the other database.
    assert len(unknown) == (5 if BRIEF.postgresql else 6)

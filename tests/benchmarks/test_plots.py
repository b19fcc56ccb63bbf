#!/usr/bin/env python3
"""Pictures: those that can be drawn are, and are light enough to be kept."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

import pytest

pytestmark = pytest.mark.once
# Bytes that a picture may have.
KEPT = 60 * 1024


@pytest.fixture(scope="module")
def plots() -> Any:
    """Return what draws; not loaded by a run that leaves this file out."""
    pytest.importorskip(
        "matplotlib", reason="`make bench` installs matplotlib")
    return pytest.importorskip("benchmarks.plots")


def storm(names: Dict[str, float]) -> Dict[str, Any]:
    """Return a storm in which each of these kept readers waiting so long."""
    return {"rounds": {name + ", 8 clients": [{
        "waits_ms": [2.0 + each % 7 for each in range(120)]
        + [wait + 3 * each for each in range(480)] + [2.0] * 120,
        "calm": 3.0, "rough": 12.0, "during": {"p99_ms": wait}}]
        for name, wait in names.items()}}


def test_storm_is_drawn_with_a_peer_if_there_was_one(
        plots: Any, tmp_path: Path) -> None:
    """Not without one of its own run: another day is no comparison."""
    data = {"bench": {"storm": storm({"ours": 9})}}
    alone, = plots.draw(data, tmp_path)
    before = alone.read_bytes()
    data["peers"] = {"storm": storm({"ours": 9, "Django": 2000})}
    assert plots.draw(data, tmp_path) == [alone]
    assert alone.read_bytes() != before


def test_pictures_are_the_same_for_the_same_data_and_light(
        plots: Any, tmp_path: Path) -> None:
    """A repository keeps every version of them for ever."""
    data = {"peers": {"storm": storm({"ours": 9, "Django": 2000})},
            "bench": {"growth": {"rounds": {
                "{}, {}".format(store, users): [{"read": {"p50_ms": 0.5}}]
                for store in ("SQLite", "no index")
                for users in (1000, 1000000)}}}}
    drawn = plots.draw(data, tmp_path)
    first = [each.read_bytes() for each in drawn]
    assert len(drawn) == 2 and all(len(each) < KEPT for each in first)
    assert [each.read_bytes() for each in plots.draw(
        data, tmp_path)] == first


def test_nothing_is_drawn_of_nothing(plots: Any, tmp_path: Path) -> None:
    """A run of other phases leaves the pictures as they are."""
    assert plots.draw({"bench": {}}, tmp_path) == []
    assert list(tmp_path.iterdir()) == []

#!/usr/bin/env python3
"""Turns: who fails is named, and costs nobody else anything."""
from __future__ import annotations

from typing import Dict, List

import pytest

from benchmarks.phases import Results, Round, keep_typical


def test_what_fails_is_named_and_costs_nobody_else(
        capsys: pytest.CaptureFixture[str]) -> None:
    """It is not tried again in the next round."""
    tried = []

    def broken() -> Dict[str, float]:
        """Fail as a server that does not start."""
        tried.append(1)
        raise RuntimeError("never answered")
    found = Results()
    found.take_turns(
        {"broken": broken, "ours": lambda: {"a": 1.0}}, 2, ["a"])
    assert found.failed == {"broken": "RuntimeError: never answered"}
    assert (len(tried), len(found.rounds["ours"])) == (1, 2)
    assert "broken: FAILED, RuntimeError" in capsys.readouterr().out


def test_waits_are_kept_of_the_middle_round() -> None:
    """For a picture that shows neither the best nor the worst."""
    rounds: List[Round] = [{"during": {"p99_ms": each}, "waits_ms": [each]}
                           for each in (9.0, 1.0, 5.0)]
    keep_typical(rounds)
    assert [each.get("waits_ms") for each in rounds] == [None, None, [5.0]]

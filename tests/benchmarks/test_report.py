#!/usr/bin/env python3
"""Tables and verdicts: what is written follows from the JSON of a run."""
from __future__ import annotations

from typing import Any, Dict

import pytest

from benchmarks.report import (
    MARKED, NOT_MEASURED, SELECT, amount, as_text, must_show, renewed)


def run_with(cpu_us: float) -> Dict[str, Any]:
    """Return a run in which a bare look-up costs 100 µs and we so much."""
    return {"bench": {"get": {
        "when": "today", "server": "granian", "failed": {"x": "a|b"},
        "rounds": {SELECT: [{"cpu_us": 100}], "ours": [{"cpu_us": cpu_us}]}}}}


@pytest.mark.parametrize("cpu_us, verdict", [
    (130, "reached"), (131, "**missed**")])
def test_a_verdict_is_on_the_right_side_of_its_bound(
        cpu_us: float, verdict: str) -> None:
    """The bound itself is reached."""
    row = must_show(run_with(cpu_us)).splitlines()[2]
    assert row.endswith("| ≤ 1.30 × | {} | {} |".format(
        amount(cpu_us / 100, "×"), verdict))


def test_what_was_not_measured_is_not_said_to_be_reached() -> None:
    """Nothing is known of it."""
    rows = must_show({}).splitlines()[2:]
    assert rows and all(NOT_MEASURED in row for row in rows)


@pytest.mark.parametrize("number, text", [
    (None, "-"), (0.123, "0.12 ms"), (12.34, "12.3 ms"), (1234.5, "1 234 ms"),
    (3, "3 ms")])
def test_amounts_have_three_digits(number: float, text: str) -> None:
    """More would claim what nobody measured."""
    assert amount(number, "ms") == text


def test_a_page_is_renewed_between_its_markers_only() -> None:
    """What a person wrote stays, and so does what was not measured."""
    page = "\n".join(("before", MARKED.format("must-show", "outdated"),
                      "between",
                      MARKED.format("bench.storm", "kept"), "after"))
    text = renewed(page, run_with(120))
    assert "outdated" not in text and "1.20 ×" in text
    assert MARKED.format("bench.storm", "kept") in text
    assert text.startswith("before\n") and text.endswith("\nafter")
    assert renewed(text, run_with(120)) == text


def test_a_failure_stands_in_the_table() -> None:
    """With its reason, and without breaking the table."""
    page = MARKED.format("bench.get", "")
    assert "| x | failed: a/b |" in renewed(page, run_with(120))


def test_long_lists_of_numbers_take_one_line() -> None:
    """So that a difference between two runs can be read."""
    assert '"a": [1, 2, 3]' in as_text({"a": [1, 2, 3]})

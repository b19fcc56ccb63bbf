#!/usr/bin/env python3
"""The arithmetic of waiting, on numbers that can be checked by hand."""
from __future__ import annotations

import pytest

from benchmarks.figures import (
    Sample, between, median, per_second, percentile, ratio, worst)


@pytest.mark.parametrize("share, expected", [
    (0.01, 1), (0.50, 50), (0.99, 99), (1.00, 100)])
def test_percentile_is_the_value_that_so_many_do_not_exceed(
        share: float, expected: float) -> None:
    """Of the numbers from 1 to 100 each is its own percentile."""
    assert percentile(range(100, 0, -1), share) == expected


def test_percentile_of_few_is_the_largest() -> None:
    """Nothing is invented between values that were seen."""
    assert percentile([3, 1, 2], 0.99) == 3


def test_a_stalled_server_is_charged_for_every_request_that_was_due() -> None:
    """Ten are due in a second that the server sleeps: each waits its part."""
    stalled = [Sample(place / 10, 1 - place / 10, 200) for place in range(10)]
    found = between(stalled, 0, 1)
    assert found["max_ms"] == pytest.approx(1000)
    assert found["p50_ms"] == pytest.approx(500)


def test_only_what_was_due_in_the_stretch_counts() -> None:
    """A late answer belongs to when it was asked for, not to its end."""
    found = between([Sample(0.9, 5, 200), Sample(1, 0.1, 503)], 0, 1)
    assert (found["count"], found["bad"]) == (1, 0)


def test_an_answer_that_is_not_good_is_counted_as_bad() -> None:
    """A refusal is quick, and must not pass for a quick answer."""
    assert between([Sample(0, 0.1, 503)], 0, 1)["bad"] == 1


def test_rate_is_taken_between_the_first_and_the_last_end() -> None:
    """What was half done when the time was over is not counted by halves."""
    assert per_second([1.0, 2.0, 3.0, 9.0], until=4) == 1.0


@pytest.mark.parametrize("ends", [[], [1.0]])
def test_a_rate_needs_two_ends(ends: list[float]) -> None:
    """One moment has no length."""
    assert per_second(ends) == 0.0


def test_ratios_are_taken_within_a_round() -> None:
    """A slow moment of the machine makes both figures slow."""
    ours = [{"cpu": 2}, {"cpu": 20}, {"cpu": 3}]
    limit = [{"cpu": 1}, {"cpu": 10}, {"cpu": 1}]
    assert ratio(ours, limit, "cpu") == 2


def test_a_round_without_the_figure_is_left_out() -> None:
    """One failure does not hide the rounds that worked."""
    seen = [{"a": {"b": 1}}, {}, {"a": {"b": 5}}, {"a": {"b": 3}}]
    assert (median(seen, "a.b"), worst(seen, "a.b")) == (3, 5)
    assert median(seen, "nothing") is None

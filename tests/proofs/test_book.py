#!/usr/bin/env python3
"""Proofs are such: each of them was seen to fail, on something broken."""
from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.conftest import COLLECTED
from tests.databases import postgres_only
from tests.proofs.__main__ import Promise

pytestmark = pytest.mark.once


def case(xml: str) -> ElementTree.Element:
    """Return one test as pytest reports it."""
    return ElementTree.fromstring(
        '<testcase classname="tests.test_x.TestX" name="test_x">{}'
        '</testcase>'.format(xml))


def said(name: str, value: str) -> str:
    """Return the report of something that a test said."""
    return '<properties><property name="{}" value="{}"/></properties>'.format(
        name, value)


def test_every_promise_was_seen_to_fail(request: pytest.FixtureRequest
                                        ) -> None:
    """By a test of the same class that is marked `broken`."""
    promised, broken = set(), set()
    for item in request.config.stash[COLLECTED]:
        if item.get_closest_marker("promise"):
            promised.add(item.nodeid.rpartition("::")[0])
            if item.get_closest_marker("broken"):
                broken.add(item.nodeid.rpartition("::")[0])
    assert promised - broken == set()


class TestRow:
    """A line of docs/proof.md."""

    @pytest.fixture
    def promise(self) -> Promise:
        """What a class says of itself."""
        promise = Promise("tests.test_x", "TestX")
        promise.note("sqlite", case(said("promise", "All is kept.")))
        return promise

    def test_says_where(self, promise: Promise) -> None:
        """With a link to the file."""
        assert promise.row() == (
            "| All is kept. ([`TestX`](../tests/test_x.py)) "
            "| 1 cases, all as promised |  |\n")

    def test_tells_figures_by_database(self, promise: Promise) -> None:
        """Once there is more than one database."""
        promise.note("sqlite", case(said("figure", "0 lost")))
        assert "| 0 lost |" in promise.row()
        promise.note("postgresql", case(said("figure", "1 lost")))
        assert "| SQLite: 0 lost<br>PostgreSQL: 1 lost |" in promise.row()

    def test_tells_each_flaw_once(self, promise: Promise) -> None:
        """However many databases it was tried on."""
        for database in ("sqlite", "postgresql"):
            promise.note(database, case(said("broken", "half is kept")))
        assert promise.row().endswith("| half is kept |\n")

    def test_is_a_line_whatever_it_says(self, promise: Promise) -> None:
        """A | would part it."""
        promise.note("sqlite", case(said("figure", "|t| below 4.5")))
        assert "| \\|t\\| below 4.5 |" in promise.row()

    def test_fails_with_a_run_that_broke_off(self, promise: Promise) -> None:
        """Which reports a test that says nothing."""
        promise.note("sqlite", case(""))
        assert promise.failed

    @pytest.mark.parametrize("outcome", ["failure", "error", "skipped"])
    def test_fails_with_one_test(self, promise: Promise,
                                 outcome: str) -> None:
        """Or with one that did not run: nobody knows what it would say."""
        promise.note("sqlite", case("<{}/>".format(outcome)))
        assert "| **FAILED**: test_x on SQLite |" in promise.row()

    def test_does_not_fail_with_what_is_about_the_other_database(
            self, promise: Promise) -> None:
        """Which is tried there."""
        promise.note("sqlite", case('<skipped message="{}"/>'.format(
            postgres_only.kwargs["reason"])))
        assert promise.failed == []

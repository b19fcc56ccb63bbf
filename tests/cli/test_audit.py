#!/usr/bin/env python3
"""`flask audit`: what happened."""
from __future__ import annotations

from typing import List

import pytest

from audit import Caller, Fact, Trail
from db import DB
from tests.cli.conftest import EVE, Terminal
from tests.helpers import EMAIL, Clock

CALLER = Caller("203.0.113.7", "Lynx", "trace-1")


@pytest.fixture(autouse=True)
def history(db: DB, clock: Clock, bob: int, eve: int) -> None:
    """Four facts, a minute apart; the last is about nobody."""
    for fact, user_id in ((Fact.SESSION_OPENED, bob),
                          (Fact.LOGIN_REFUSED, eve),
                          (Fact.SESSION_ENDED, bob),
                          (Fact.LOGIN_REFUSED, None)):
        with Trail(db).recorded(int(clock.now), CALLER) as record:
            record(fact, user_id, "said {}".format(fact.value))
        clock.advance(60)


@pytest.mark.parametrize("words, ids", [
    ([], [1, 2, 3, 4]), (["--limit", "2"], [3, 4]),
    (["--user", EMAIL], [1, 3]), (["--user", "2"], [2]),
    (["--user", EMAIL, "--limit", "1"], [3]),
    (["--fact", "login.refused"], [2, 4]),
    (["--fact", "login.refused", "--fact", "session.ended"], [2, 3, 4]),
    (["--since", "2m"], [3, 4]), (["--since", "119s"], [4]),
    (["--since", "1d", "--user", EVE, "--fact", "session.ended"], [])])
def test_newest_of_what_is_asked_for(
        terminal: Terminal, words: List[str], ids: List[int]) -> None:
    """In the order of time."""
    assert [each["id"] for each in terminal.reads("audit", *words)] == ids


def test_says_all_that_is_known(terminal: Terminal, clock: Clock) -> None:
    """To programs in seconds, with the address of who it is about."""
    first, *_, last = terminal.reads("audit")
    assert first == {
        "id": 1, "at": int(clock.now) - 240, "fact": "session.opened",
        "user_id": 1, "email": EMAIL, "network": "203.0.113.7",
        "request_id": "trace-1", "detail": "said session.opened"}
    assert (last["user_id"], last["email"]) == (None, None)


def test_table_is_for_people(terminal: Terminal) -> None:
    """A line each."""
    lines = terminal.types("audit", "--limit", "1").stdout.splitlines()
    assert [line.split() for line in lines] == [
        ["at", "fact", "email", "user_id", "network", "request_id",
         "detail"],
        ["2026-11-18", "11:09:40", "login.refused", "-", "-", "203.0.113.7",
         "trace-1", "said", "login.refused"]]


@pytest.mark.parametrize("words", [
    ["--since", "7x"], ["--since", "0s"], ["--since", "-1h"],
    ["--fact", "login.wrong"], ["--limit", "0"], ["--limit", "10001"],
    ["--nonsense"], ["words"]])
def test_what_makes_no_sense(terminal: Terminal, words: List[str]) -> None:
    """Exit code 2, and what would make some."""
    result = terminal.types("audit", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Usage: ")


def test_nobody_there(terminal: Terminal) -> None:
    """Looking for a user who is none."""
    result = terminal.types("audit", "--user", "nobody@me.com")
    assert (result.exit_code, result.stderr) == (
        1, "Error: Nobody is registered as 'nobody@me.com'.\n")

#!/usr/bin/env python3
"""The tables that hang off a user."""
from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import List, Tuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from models import SET_BACK, Session, is_live

IDLE, OPENED, EXPIRES = 100, 1000, 5000
moments = some.integers(OPENED - IDLE, OPENED + 2 * IDLE)


class TestSessionIsLive:
    """When a session still counts."""

    @pytest.mark.parametrize("now, live", [
        (OPENED, True), (OPENED + IDLE - 1, True), (OPENED + IDLE, False),
        (OPENED - 3600, True)])
    def test_idle_end(self, now: int, live: bool) -> None:
        """It ends to the second, and not because a clock went back."""
        session = Session(opened_at=OPENED, seen_at=OPENED,
                          expires_at=EXPIRES)
        assert is_live(session, session.seen_at, now, IDLE) is live

    @pytest.mark.parametrize("now, live", [
        (EXPIRES - 1, True), (EXPIRES, False)])
    def test_absolute_end(self, now: int, live: bool) -> None:
        """Use does not carry it over its end."""
        session = Session(opened_at=OPENED, seen_at=now, expires_at=EXPIRES)
        assert is_live(session, session.seen_at, now, IDLE) is live

    @pytest.mark.parametrize("now, live", [
        (OPENED - SET_BACK, True), (OPENED - SET_BACK - 1, False)])
    def test_opened_in_the_future(self, now: int, live: bool) -> None:
        """A clock that ran ahead by years leaves no session that lasts so."""
        session = Session(opened_at=OPENED, seen_at=OPENED,
                          expires_at=EXPIRES)
        assert is_live(session, session.seen_at, now, IDLE) is live

    @given(some.lists(some.tuples(
        some.integers(OPENED - 3, OPENED + 3), moments, moments)), moments)
    @example([(OPENED, OPENED, EXPIRES)], OPENED + IDLE - 1)
    @example([(OPENED, OPENED, EXPIRES)], OPENED + IDLE)
    @example([(OPENED, EXPIRES, EXPIRES)], EXPIRES - 1)
    @example([(OPENED, EXPIRES, EXPIRES)], EXPIRES)
    @example([(OPENED, OPENED, EXPIRES)], OPENED - SET_BACK)
    @example([(OPENED, OPENED, EXPIRES)], OPENED - SET_BACK - 1)
    def test_condition_for_many_is_the_same(
            self, times: List[Tuple[int, int, int]], now: int) -> None:
        """Whoever counts sessions means those that would be let in."""
        rows = [Session(opened_at=opened, seen_at=seen, expires_at=expires,
                        digest=str(place), user_agent="", network="",
                        user_id=place)
                for place, (opened, seen, expires) in enumerate(times)]
        alive = [each.user_id for each in rows
                 if is_live(each, each.seen_at, now, IDLE)]
        with closing(sqlite3.connect(":memory:")) as file:
            file.execute("CREATE TABLE sessions (user_id, opened_at, seen_at,"
                         " expires_at)")
            file.executemany(
                "INSERT INTO sessions VALUES (?, ?, ?, ?)",
                [(each.user_id, each.opened_at, each.seen_at,
                  each.expires_at) for each in rows])
            found = file.execute("SELECT user_id FROM sessions WHERE " + str(
                Session.live(now, IDLE).compile(
                    compile_kwargs={"literal_binds": True})))
            assert [user_id for user_id, in found] == alive

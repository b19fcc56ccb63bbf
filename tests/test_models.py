#!/usr/bin/env python3
"""The tables that hang off a user."""
from __future__ import annotations

import pytest

from models import SET_BACK, Session

IDLE, OPENED, EXPIRES = 100, 1000, 5000


class TestSessionIsLive:
    """When a session still counts."""

    @pytest.mark.parametrize("now, live", [
        (OPENED, True), (OPENED + IDLE - 1, True), (OPENED + IDLE, False),
        (OPENED - 3600, True)])
    def test_idle_end(self, now: int, live: bool) -> None:
        """It ends to the second, and not because a clock went back."""
        session = Session(opened_at=OPENED, seen_at=OPENED,
                          expires_at=EXPIRES)
        assert session.is_live(now, IDLE) is live

    @pytest.mark.parametrize("now, live", [
        (EXPIRES - 1, True), (EXPIRES, False)])
    def test_absolute_end(self, now: int, live: bool) -> None:
        """Use does not carry it over its end."""
        session = Session(opened_at=OPENED, seen_at=now, expires_at=EXPIRES)
        assert session.is_live(now, IDLE) is live

    @pytest.mark.parametrize("now, live", [
        (OPENED - SET_BACK, True), (OPENED - SET_BACK - 1, False)])
    def test_opened_in_the_future(self, now: int, live: bool) -> None:
        """A clock that ran ahead by years leaves no session that lasts so."""
        session = Session(opened_at=OPENED, seen_at=OPENED,
                          expires_at=EXPIRES)
        assert session.is_live(now, IDLE) is live

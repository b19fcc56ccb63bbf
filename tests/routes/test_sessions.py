#!/usr/bin/env python3
"""A user's sessions on all devices, seen and ended over HTTP."""
from __future__ import annotations

from typing import Any, Callable, Dict, List

import pytest

from db import DB
from tests.helpers import Clock, Visitor, assert_error


def listed(visitor: Visitor) -> List[Dict[str, Any]]:
    """Return the sessions that a visitor is shown."""
    answer = visitor.asks("GET", "/sessions")
    assert list(answer.get_json()) == ["sessions"]
    found: List[Dict[str, Any]] = answer.get_json()["sessions"]
    return found


@pytest.fixture
def phone(new_visitor: Callable[[], Visitor]) -> Visitor:
    """The device on which the user registered and signed in first."""
    device = new_visitor()
    device.registers()
    device.logs_in()
    return device


@pytest.fixture
def laptop(phone: Visitor, new_visitor: Callable[[], Visitor]) -> Visitor:
    """The device on which the user signed in next."""
    device = new_visitor()
    device.logs_in()
    return device


@pytest.fixture
def stranger(new_visitor: Callable[[], Visitor]) -> Visitor:
    """Another user, signed in."""
    device = new_visitor()
    device.registers("eve@me.com")
    device.logs_in("eve@me.com")
    return device


class TestListSessions:
    """Seeing where one is signed in."""

    def test_shows_what_tells_devices_apart(
            self, phone: Visitor, clock: Clock) -> None:
        """All of it, and no digest."""
        session, = listed(phone)
        assert session.pop("user_agent").lower().startswith("werkzeug/")
        assert session == {
            "id": 1, "opened_at": int(clock()), "seen_at": int(clock()),
            "expires_at": int(clock()) + 30 * 86400, "network": "127.0.0.1",
            "current": True}

    def test_marks_the_one_that_asks(
            self, phone: Visitor, laptop: Visitor) -> None:
        """The oldest comes first."""
        assert [each["current"] for each in listed(phone)] == [True, False]
        assert [each["current"] for each in listed(laptop)] == [False, True]

    def test_leaves_out_others(
            self, phone: Visitor, stranger: Visitor) -> None:
        """A user sees their own."""
        assert len(listed(phone)) == len(listed(stranger)) == 1

    def test_leaves_out_what_is_over(
            self, phone: Visitor, laptop: Visitor, clock: Clock) -> None:
        """An idle session is none, though its row is still there."""
        clock.advance(4 * 86400)
        phone.sees_profile()
        clock.advance(4 * 86400)
        assert [each["id"] for each in listed(phone)] == [1]

    def test_needs_a_session(self, visitor: Visitor) -> None:
        """Nobody has none."""
        assert_error(visitor.asks("GET", "/sessions"), 403, "not signed in")


class TestEndSession:
    """Ending a session on another device."""

    def test_ends_it_and_no_other(
            self, phone: Visitor, laptop: Visitor) -> None:
        """By the handle from the list."""
        answer = phone.asks("DELETE", "/sessions/2")
        assert (answer.status_code, answer.get_data()) == (204, b"")
        assert_error(laptop.sees_profile(), 403, "not signed in")
        assert phone.sees_profile().status_code == 200

    @pytest.mark.parametrize("handle", ["3", "0", "9223372036854775807"])
    def test_no_session_of_the_caller(
            self, phone: Visitor, laptop: Visitor, stranger: Visitor,
            handle: str) -> None:
        """Somebody else's and one that never was look alike (ASVS 8.2.2)."""
        assert_error(phone.asks("DELETE", "/sessions/" + handle), 404,
                     "no such session")
        assert stranger.sees_profile().status_code == 200

    @pytest.mark.parametrize("handle", [
        "-1", "x", "1.0", "9223372036854775808", "9" * 1000, "1/2"])
    def test_no_handle_is_no_route(
            self, phone: Visitor, handle: str) -> None:
        """A number the store can hold, or nothing."""
        answer = phone.asks("DELETE", "/sessions/" + handle)
        assert answer.status_code == 404
        assert phone.sees_profile().status_code == 200

    def test_needs_a_session(
            self, phone: Visitor, visitor: Visitor) -> None:
        """Nobody ends nothing."""
        assert_error(visitor.asks("DELETE", "/sessions/1"), 403,
                     "not signed in")
        assert phone.sees_profile().status_code == 200


class TestEndOtherSessions:
    """Ending all but this one."""

    def test_ends_all_but_this_one(
            self, phone: Visitor, laptop: Visitor,
            stranger: Visitor) -> None:
        """Of this user only."""
        answer = laptop.asks("DELETE", "/sessions/others")
        assert (answer.status_code, answer.get_data()) == (204, b"")
        assert_error(phone.sees_profile(), 403, "not signed in")
        assert laptop.sees_profile().status_code == 200
        assert stranger.sees_profile().status_code == 200

    def test_includes_one_that_is_opened_meanwhile(
            self, phone: Visitor, new_visitor: Callable[[], Visitor],
            db: DB, monkeypatch: pytest.MonkeyPatch) -> None:
        """The thief's, right before the deed: it is one statement."""
        thief, delete = new_visitor(), db.delete

        def delete_a_moment_later(*which: Any, **match: Any) -> int:
            """Sign the thief in first."""
            monkeypatch.setattr(db, "delete", delete)
            assert thief.logs_in().status_code == 200
            return delete(*which, **match)
        monkeypatch.setattr(db, "delete", delete_a_moment_later)
        assert phone.asks("DELETE", "/sessions/others").status_code == 204
        assert_error(thief.sees_profile(), 403, "not signed in")
        assert phone.sees_profile().status_code == 200

    def test_needs_a_session(
            self, phone: Visitor, visitor: Visitor) -> None:
        """Nobody ends nothing."""
        assert_error(visitor.asks("DELETE", "/sessions/others"), 403,
                     "not signed in")
        assert phone.sees_profile().status_code == 200

#!/usr/bin/env python3
"""`flask sessions`: who is signed in, and the end of it."""
from __future__ import annotations

from typing import Any, List

import pytest

from audit import Caller
from auth import Auth
from db import DB
from models import Session
from settings import DAY
from tests.cli.conftest import EVE, Terminal
from tests.helpers import EMAIL, Clock
from user import User


@pytest.fixture
def tokens(safe: Auth, bob: int, eve: int) -> List[str]:
    """Sessions with the handles 1 (Bob), 2 (Eve) and 3 (Bob)."""
    caller = Caller("203.0.113.7", "Lynx/\x1b[31m2.8")
    return [str(safe.acting_for(caller).create_session(each))
            for each in (EMAIL, EVE, EMAIL)]


@pytest.mark.usefixtures("tokens")
class TestList:
    """`flask sessions list`."""

    @pytest.mark.parametrize("words, handles", [
        ([], [1, 2, 3]), ([EMAIL], [1, 3]), (["2"], [2]),
        (["--limit", "1"], [3])])
    def test_of_all_or_one(self, terminal: Terminal, words: List[str],
                           handles: List[int]) -> None:
        """The newest, the oldest of them first."""
        rows = terminal.reads("sessions", "list", *words)
        assert [each["id"] for each in rows] == handles

    def test_says_all_but_the_token(
            self, terminal: Terminal, clock: Clock) -> None:
        """And nothing of which a token could be made."""
        row = terminal.reads("sessions", "list", EVE)[0]
        now = int(clock.now)
        assert row == {
            "id": 2, "user_id": 2, "email": EVE, "opened_at": now,
            "seen_at": now, "expires_at": now + 30 * DAY,
            "user_agent": "Lynx/\x1b[31m2.8", "network": "203.0.113.7"}

    def test_browser_cannot_write_on_the_terminal(
            self, terminal: Terminal) -> None:
        """It names itself as it likes (ASVS 16.4.1)."""
        for words in ([], ["--json"]):
            said = terminal.types("sessions", "list", *words).stdout
            assert "\x1b" not in said
        assert "Lynx/\\x1b[31m2.8" in terminal.types(
            "sessions", "list").stdout

    def test_what_is_over_is_not_listed(
            self, terminal: Terminal, clock: Clock) -> None:
        """Whether or not it was swept."""
        clock.advance(7 * DAY)
        assert terminal.reads("sessions", "list") == []

    @pytest.mark.parametrize("over", [
        {"seen_at": 1795000000 - 7 * DAY}, {"expires_at": 1795000000}])
    def test_what_is_over_takes_no_place(
            self, terminal: Terminal, db: DB, over: Any) -> None:
        """The newest of the live ones are shown, not the live of those."""
        db.change(Session, {"id": 3}, **over)
        rows = terminal.reads("sessions", "list", "--limit", "1")
        assert [each["id"] for each in rows] == [2]

    def test_one_from_the_future_is_not_listed(
            self, terminal: Terminal, clock: Clock) -> None:
        """It opens nothing, since a clock ran ahead."""
        clock.advance(-2 * DAY)
        assert terminal.reads("sessions", "list") == []


class TestEnd:
    """`flask sessions end`."""

    def test_everywhere(self, terminal: Terminal, safe: Auth,
                        tokens: List[str]) -> None:
        """At once, and nobody else's."""
        result = terminal.types("sessions", "end", EMAIL, typed="y\n")
        assert "End every session of bob@me.com (number 1)?" in result.stderr
        assert result.exit_code == 0
        assert result.stdout.endswith("2 sessions ended.\n")
        assert [bool(safe.get_user_from_session_id(each))
                for each in tokens] == [False, True, False]
        assert terminal.facts() == [("session.ended", 1, "by terminal")]

    def test_on_one_device(self, terminal: Terminal, safe: Auth, db: DB,
                           tokens: List[str]) -> None:
        """By its handle; the card's column follows."""
        result = terminal.types(
            "sessions", "end", EMAIL, "--id", "3", "--yes")
        assert (result.exit_code, result.stdout) == (0, "1 session ended.\n")
        assert [bool(safe.get_user_from_session_id(each))
                for each in tokens] == [True, True, False]
        left = db.find(Session, id=1)
        assert left and db.find_user_by(id=1).session_id == left.digest

    @pytest.mark.usefixtures("tokens")
    @pytest.mark.parametrize("handle", ["2", "7", str(2 ** 63 - 1)])
    def test_handle_of_somebody_else(
            self, terminal: Terminal, db: DB, handle: str) -> None:
        """Is no session of this user."""
        result = terminal.types(
            "sessions", "end", EMAIL, "--id", handle, "--yes")
        assert (result.exit_code, result.stderr) \
            == (1, "Error: No such session.\n")
        assert len(db.find_all(Session)) == 3 and terminal.facts() == []

    @pytest.mark.usefixtures("tokens")
    def test_without_a_yes(self, terminal: Terminal, db: DB) -> None:
        """Nothing ends at all."""
        result = terminal.types("sessions", "end", EMAIL, "--id", "1",
                                typed="n\n")
        assert "End session 1 of bob@me.com (number 1)?" in result.stderr
        assert result.exit_code == 1 and len(db.find_all(Session)) == 3

    @pytest.mark.usefixtures("bob")
    def test_nobody_is_signed_in(self, terminal: Terminal) -> None:
        """Then it is as it should be, and nothing to record."""
        result = terminal.types("sessions", "end", EMAIL, "--yes")
        assert (result.exit_code, result.stdout) == (0, "0 sessions ended.\n")
        assert terminal.facts() == []


@pytest.mark.usefixtures("tokens")
class TestEndAll:
    """`flask sessions end --all`."""

    def test_signs_everybody_out(
            self, terminal: Terminal, safe: Auth, tokens: List[str],
            db: DB) -> None:
        """At once, after a yes; the record says who did it."""
        result = terminal.types("sessions", "end", "--all", typed="y\n")
        assert result.exit_code == 0
        assert result.stdout.endswith("3 sessions ended.\n")
        assert [safe.get_user_from_session_id(each)
                for each in tokens] == [None] * 3
        assert {each.session_id for each in db.find_all(User)} == {None}
        assert terminal.facts() == [
            ("session.ended", None, "of everybody, by terminal")]

    def test_no_ends_nothing(
            self, terminal: Terminal, db: DB) -> None:
        """It was a question."""
        result = terminal.types("sessions", "end", "--all", typed="n\n")
        assert result.exit_code == 1
        assert len(db.find_all(Session)) == 3

    @pytest.mark.parametrize("words", [
        [], [EMAIL, "--all"], ["--all", "--id", "1"]])
    def test_makes_no_sense(self, terminal: Terminal, words: List[str],
                            db: DB) -> None:
        """Nobody is signed out by a slip of the hand."""
        result = terminal.types("sessions", "end", *words, "--yes")
        assert result.exit_code == 2
        assert len(db.find_all(Session)) == 3

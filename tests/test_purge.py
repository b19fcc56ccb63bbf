#!/usr/bin/env python3
"""What is over goes by itself, in small steps, and the size stays."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List

import pytest

from auth import Auth
from db import DB, STEP
from devices import DEVICE_LIFE
from models import Attempt, Device, Entry, MailToken, Outgoing, Session
from settings import DAY, HOUR
from tests.databases import sqlite_only
from tests.helpers import EMAIL, PASSWORD, Clock
from tests.test_audit import sizes
from user import User

NOW = 1795000000
NOTHING = {"sessions": 0, "mailed links": 0, "devices": 0,
           "counts of attempts": 0, "mails given up": 0, "facts": 0}


@pytest.fixture
def user(db: DB) -> User:
    """Somebody to whom rows belong."""
    return db.add_user(EMAIL, "x", NOW)


def session(user: User, digest: str, **times: int) -> Session:
    """Return a session that was opened and used now."""
    return Session(user_id=user.id, digest=digest, user_agent="", network="",
                   **dict({"opened_at": NOW, "seen_at": NOW,
                           "expires_at": NOW + 30 * DAY}, **times))


def over(user: User) -> Dict[str, Any]:
    """Return a row of each kind that ends at this very second."""
    return {
        "sessions": session(user, "absolute", expires_at=NOW),
        "mailed links": MailToken(
            digest="x", user_id=user.id, purpose="reset", email=EMAIL,
            expires_at=NOW),
        "devices": Device(digest="x", user_id=user.id,
                          seen_at=NOW - DEVICE_LIFE),
        "counts of attempts": Attempt(
            key="x", failures=1, first_at=1, blocked_until=0,
            expires_at=NOW),
        "mails given up": Outgoing(
            purpose="reset", email=EMAIL, detail="", due_at=None, tries=9,
            queued_at=NOW - 90 * DAY),
        "facts": Entry(at=NOW - 90 * DAY, fact="x", network="",
                       request_id="", detail="")}


class TestSweep:
    """Who is over, and who is not."""

    @pytest.mark.parametrize("kind", NOTHING)
    def test_takes_what_ends_this_second(
            self, auth: Auth, db: DB, clock: Clock, user: User,
            kind: str) -> None:
        """And not a second earlier."""
        db.add(over(user)[kind])
        before = sizes(db)
        clock.now = NOW - 1
        assert auth.sweep() == NOTHING
        assert sizes(db) == before
        clock.now = NOW
        assert auth.sweep() == dict(NOTHING, **{kind: 1})
        assert sum(sizes(db).values()) == sum(before.values()) - 1

    def test_takes_an_idle_session(
            self, auth: Auth, db: DB, clock: Clock, user: User) -> None:
        """Long before its absolute end."""
        db.add(session(user, "idle", seen_at=NOW - 7 * DAY))
        db.add(session(user, "used"))
        clock.now = NOW
        assert auth.sweep()["sessions"] == 1
        assert [each.digest for each in db.find_all(Session)] == ["used"]

    def test_leaves_a_mail_that_waits(
            self, auth: Auth, db: DB, clock: Clock) -> None:
        """However long: it was promised."""
        clock.now = NOW
        db.add(Outgoing(purpose="reset", email=EMAIL, detail="", tries=3,
                        queued_at=1, due_at=NOW + 9))
        assert auth.sweep() == NOTHING

    def test_goes_in_steps(
            self, auth: Auth, db: DB, clock: Clock,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """None holds the write lock for more than so many rows."""
        count = 2 * STEP + 1
        with db.transaction():
            db.add_all(Entry, [
                dict(at=1, fact="x", network="", request_id="", detail="",
                     user_id=None) for _ in range(count)])
        taken: List[int] = []
        delete = db.delete

        def noted(*conditions: Any, **match: Any) -> int:
            """Note how many rows go at once."""
            taken.append(delete(*conditions, **match))
            return taken[-1]
        monkeypatch.setattr(db, "delete", noted)
        clock.now = NOW
        assert auth.sweep()["facts"] == count
        assert max(taken) == STEP
        assert sizes(db)["audit"] == 0

    @sqlite_only
    def test_size_stays_flat_under_churn(
            self, auth: Auth, db: DB, clock: Clock, tmp_path: Path) -> None:
        """As much goes as comes, so the file grows no more."""
        auth.register_user(EMAIL, PASSWORD)
        grown = []
        for day in range(120):
            for _ in range(5):
                auth.create_session(EMAIL)
                auth.get_reset_password_token(EMAIL)
            clock.advance(DAY)
            auth.sweep()
            if day in (100, 119):
                db.close()  # which writes the log into the file
                grown.append(((tmp_path / "test.db").stat().st_size,
                              sum(sizes(db).values())))
        assert grown[0] == grown[1]


class TestStretches:
    """Parting a table."""

    @pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 6])
    def test_every_row_is_in_one(self, db: DB, count: int) -> None:
        """Also at the edges, and where ids are missing."""
        for number in range(count + 1):
            db.add_user("u{}@me.com".format(number), "x")
        db.delete(User, email="u0@me.com")
        found = [[each.id for each in db.find_all(User, stretch)]
                 for stretch in db.stretches(User, 2)]
        assert [one for each in found for one in each] == list(
            range(2, count + 2))
        assert all(len(each) <= 2 for each in found)

    def test_goes_by_text_too(self, db: DB) -> None:
        """Some keys are digests."""
        for key in "cab":
            db.add(Attempt(key=key, failures=1, first_at=1, blocked_until=1,
                           expires_at=HOUR))
        found = [[each.key for each in db.find_all(Attempt, stretch)]
                 for stretch in db.stretches(Attempt, 2)]
        assert found == [["a", "b"], ["c"]]

    def test_rows_may_go_meanwhile(self, db: DB) -> None:
        """That is what it is for."""
        for number in range(7):
            db.add_user("u{}@me.com".format(number), "x")
        assert sum(db.delete(User, stretch)
                   for stretch in db.stretches(User, 3)) == 7

#!/usr/bin/env python3
"""What is asked of a table is built once, and given its values each time."""
from __future__ import annotations

from typing import Any

import statements
from db import DB
from models import Account, Attempt
from user import User

HASH = "$2b$12$x"


def attempt(key: str = "k", failures: int = 1) -> Attempt:
    """Return the count of a lane."""
    return Attempt(key=key, failures=failures, first_at=3, blocked_until=4,
                   expires_at=5)


def text(statement: Any) -> str:
    """Return a statement as SQL."""
    return str(statement)


class TestSelect:
    """Rows that match."""

    def test_is_built_once_for_all_values(self) -> None:
        """Building takes several times as long as running it."""
        one, _ = statements.select(User, {"email": "a"})
        other, values = statements.select(User, {"email": "b"})
        assert one is other and list(values.values()) == ["b"]

    def test_null_is_a_question_of_its_own(self) -> None:
        """Nothing equals NULL, so `= NULL` would find nobody."""
        found, values = statements.select(User, {"reset_token": None})
        assert "reset_token IS NULL" in text(found) and values == {}

    def test_keeps_conditions_to_itself(self) -> None:
        """One that was added once must not be there the next time."""
        narrow, _ = statements.select(User, {}, (User.id > 7,), 1)
        wide, _ = statements.select(User, {})
        assert "LIMIT" in text(narrow)
        assert "users.id >" not in text(wide) and "LIMIT" not in text(wide)


class TestUpdate:
    """Columns that are set."""

    def test_column_can_be_compared_and_set(self, db: DB) -> None:
        """The old value is the condition of the new one."""
        db.add(attempt())
        assert db.change(Attempt, {"failures": 1}, failures=2) == 1
        assert db.change(Attempt, {"failures": 1}, failures=3) == 0

    def test_value_may_be_computed_from_the_row(self, db: DB) -> None:
        """Beside one that is given, and neither is remembered."""
        db.add(attempt())
        for _ in range(2):
            db.change(Attempt, {"key": "k"}, failures=Attempt.failures + 1,
                      blocked_until=9)
        db.change(Attempt, {"key": "k"}, blocked_until=10)
        row = db.find(Attempt, key="k")
        assert row and (row.failures, row.blocked_until) == (3, 10)

    def test_null_can_be_set(self, db: DB) -> None:
        """A value that is missing is a value."""
        user = db.add_user("a@me.com", HASH)
        db.change(Account, {"user_id": user.id}, verified_at=7)
        db.change(Account, {"user_id": user.id, "verified_at": 7},
                  verified_at=None)
        account = db.find(Account, user_id=user.id)
        assert account and account.verified_at is None


class TestInsert:
    """Rows that are added."""

    def test_row_gets_its_key(self, db: DB) -> None:
        """And says what it is from then on."""
        row = User(email="a@me.com", hashed_password=HASH)
        assert db.add(row) is row and row.id == db.find_user_by(id=1).id

    def test_missing_row_is_added_once(self, db: DB) -> None:
        """Whoever adds it is told apart from whoever comes second."""
        assert db.add_missing(attempt()) is True
        assert db.add_missing(attempt(failures=2)) is False
        assert [each.failures for each in db.find_all(Attempt)] == [1]


def test_made_is_a_row_like_any_other(db: DB) -> None:
    """Of the right class, with every column, and free of the database."""
    db.add_user("a@me.com", HASH)
    user = db.find(User, email="a@me.com")
    assert type(user) is User
    assert (user.id, user.hashed_password, user.session_id) == (1, HASH, None)

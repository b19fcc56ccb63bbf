#!/usr/bin/env python3
"""Moving everything from a SQLite file into another database."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest

import moving
from app import create_app
from auth import Auth
from db import DB
from errors import InvalidInput, Unavailable
from models import Session
from moving import Table, contents, move, tables
from settings import Settings
from tests.databases import KIND, everything, postgres, rows
from tests.helpers import (
    EMAIL, PRODUCTION, STRONG, STRONGER, Clock, Mailbox, Visitor)
from user import User

OTHER = "eve@me.com"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The settings of the old house, which is a file on either engine."""
    changes: Any = PRODUCTION
    return Settings(database_url="sqlite:///{}".format(tmp_path / "old.db"),
                    bcrypt_cost=4, **changes)


@pytest.fixture
def safe_settings(settings: Settings) -> Settings:
    """The same: the old house is in production."""
    return settings


@pytest.fixture
def new_url(tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database, without a table."""
    if KIND == "sqlite":
        yield "sqlite:///{}".format(tmp_path / "new.db")
    else:
        yield postgres().create("moved")
        postgres().drop("moved")


@pytest.fixture
def new(new_url: str) -> Iterator[DB]:
    """The new house."""
    store = DB(new_url)
    yield store
    store.close()


@pytest.fixture
def moved_in(new: DB, settings: Settings, clock: Clock,
             mailbox: Mailbox) -> Auth:
    """The service in the new house."""
    return Auth(new, settings, clock, mailbox)


@pytest.fixture
def furnished(member: Visitor, safe: Auth, mailbox: Mailbox) -> Visitor:
    """A member who is signed in, with something in every table."""
    member.logs_in(EMAIL, STRONG)
    safe.register_user(OTHER, STRONG)
    safe.deliver_mail()
    safe.request_reset(EMAIL)
    safe.deliver_mail()
    safe.request_reset(OTHER)
    return member


def nothing(_name: str, _rows: int) -> None:
    """Show no progress."""


class TestMove:
    """Copy, compare, go on."""

    def test_takes_every_row_as_it_is(
            self, furnished: Visitor, db: DB, new: DB, settings: Settings,
            new_url: str) -> None:
        """Of every table, none of which was empty."""
        before = everything(settings.database_url)
        assert all(before.values())
        move(db, new, nothing)
        assert everything(new_url) == before
        assert everything(settings.database_url) == before

    def test_says_what_went(
            self, furnished: Visitor, db: DB, new: DB) -> None:
        """Table by table, and as it goes."""
        told: Dict[str, int] = {}

        def note(name: str, count: int) -> None:
            """Add up what is told."""
            told[name] = told.get(name, 0) + count
        found = move(db, new, note)
        assert {each.name: each.rows for each in found} == told
        assert Table("users", 2) in found

    def test_users_go_on_as_if_nothing_happened(
            self, furnished: Visitor, db: DB, new: DB, moved_in: Auth,
            mailbox: Mailbox) -> None:
        """Session, device, password and mailed link are as good as before."""
        move(db, new, nothing)
        furnished.browser.application = create_app(moved_in)
        assert furnished.sees_profile().get_json() == {"email": EMAIL}
        assert furnished.logs_in(EMAIL, STRONG).status_code == 200
        assert furnished.resets_password(
            mailbox.token(EMAIL), STRONGER).status_code == 200
        assert moved_in.deliver_mail() > 0
        assert mailbox.token(OTHER)

    @pytest.mark.parametrize("deleted", ["newest", "all"])
    def test_ids_go_on_where_they_were(
            self, furnished: Visitor, db: DB, new: DB, deleted: str) -> None:
        """The id of somebody who left is given to nobody, here either."""
        db.delete(User, User.id > (1 if deleted == "newest" else 0))
        move(db, new, nothing)
        assert new.add_user("new@me.com", "x").id == 3

    def test_many_rows_go_in_several_loads(
            self, db: DB, new: DB, monkeypatch: pytest.MonkeyPatch) -> None:
        """None twice, and none left behind at an edge."""
        monkeypatch.setattr(moving, "LOAD", 3)
        for number in range(9):
            db.add_user("u{}@me.com".format(number), "x", number)
        found = move(db, new, nothing)
        assert Table("users", 9) in found and Table("accounts", 9) in found
        assert [each.email for each in new.find_all(User)] == [
            "u{}@me.com".format(number) for number in range(9)]

    def test_never_writes_over_anybody(
            self, furnished: Visitor, db: DB, new: DB, new_url: str) -> None:
        """A second move, or one into a database in use."""
        move(db, new, nothing)
        before = everything(new_url)
        with pytest.raises(InvalidInput, match="not empty"):
            move(db, new, nothing)
        assert everything(new_url) == before

    @pytest.mark.parametrize("harm", [
        lambda new: new.change(User, {"id": 1}, session_id="x"),
        lambda new: new.delete(Session, Session.id > 0)],
        ids=["changed", "lost"])
    def test_a_row_that_arrives_differently_undoes_it_all(
            self, furnished: Visitor, db: DB, new: DB, new_url: str,
            harm: Callable[[DB], Any],
            monkeypatch: pytest.MonkeyPatch) -> None:
        """Found by the comparison, and nothing is left of the move."""
        add_all = new.add_all

        def add_badly(table: Any, page: List[Dict[str, Any]]) -> None:
            """Save the rows, and spoil one."""
            add_all(table, page)
            harm(new)
        monkeypatch.setattr(new, "add_all", add_badly)
        with pytest.raises(InvalidInput, match="arrived differently"):
            move(db, new, nothing)
        assert not rows(new_url, "SELECT * FROM users")

    def test_nobody_writes_to_the_old_house_meanwhile(
            self, furnished: Visitor, db: DB, new: DB, settings: Settings,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """A server that was forgotten is told to come back: 503."""
        monkeypatch.setattr("engines.BUSY_SECONDS", 0)
        other, refused = DB(settings.database_url), []

        def try_to_write(_name: str, _rows: int) -> None:
            """Register somebody in mid-move."""
            with pytest.raises(Unavailable):
                other.add_user("late@me.com", "x")
            refused.append(1)
        move(db, new, try_to_write)
        other.close()
        assert refused


class TestContents:
    """What two databases are compared by."""

    def test_differs_for_any_value(self, db: DB) -> None:
        """Also where two rows exchange theirs."""
        for number in range(2):
            db.add_user("u{}@me.com".format(number), str(number), 1)
        seen = {contents(db, User)}
        db.change(User, {"id": 1}, session_id="x")
        seen.add(contents(db, User))
        db.change(User, {"id": 1}, hashed_password="1", session_id=None)
        db.change(User, {"id": 2}, hashed_password="0")
        seen.add(contents(db, User))
        assert len(seen) == 3

    def test_of_nothing_is_nothing(self, db: DB) -> None:
        """An empty table has no digest."""
        assert contents(db, User) == (0, 0)

    def test_covers_every_table(self) -> None:
        """Those that others point at come first."""
        names = [each.__tablename__ for each in tables()]
        assert len(names) == 8
        assert names.index("users") < names.index("sessions")

#!/usr/bin/env python3
"""The store: what its verbs promise beyond the card."""
from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest
from sqlalchemy.exc import (
    IntegrityError, InvalidRequestError, ProgrammingError)
from sqlalchemy.orm.exc import NoResultFound  # type: ignore[attr-defined]

from db import DB, FAULTS
from engines import database_of
from errors import EmailTaken, Unavailable
from models import Account, Attempt, MailToken, Session, Visit
from settings import Settings
from tests.databases import KIND, connect, sqlite_only
from tests.helpers import EMAIL, ROOT, all_at_once
from user import User

HASH = "$2b$04$" + "." * 53


def session_of(user: User, digest: str) -> Session:
    """Return a session of the user, not saved yet."""
    return Session(user_id=user.id, digest=digest, opened_at=1, seen_at=1,
                   expires_at=2, user_agent="", network="")


@pytest.fixture
def outside(db: DB, settings: Settings) -> Iterator[Any]:
    """A connection to the database behind the store, as another program's.

    It waits for nobody.
    """
    db.find(User, id=0)
    with closing(connect(settings.database_url)) as connection:
        if KIND == "sqlite":
            connection.execute("PRAGMA busy_timeout=0")
        yield connection


@sqlite_only
class TestFile:
    """The SQLite file."""

    @pytest.fixture
    def db(self, settings: Settings) -> Iterator[DB]:
        """A store whose file is not there yet."""
        store = DB(settings.database_url, threads=200)
        yield store
        store.close()

    def test_is_not_touched_before_it_is_needed(
            self, db: DB, tmp_path: Path) -> None:
        """Building a store is cheap."""
        assert not list(tmp_path.iterdir())

    def test_is_for_its_owner_only(self, db: DB, tmp_path: Path) -> None:
        """Other users of the machine read no addresses and no hashes."""
        db.add_user(EMAIL, HASH)
        modes = {path.name: path.stat().st_mode & 0o777
                 for path in tmp_path.iterdir()}
        assert modes == {"test.db": 0o600, "test.db-wal": 0o600,
                         "test.db-shm": 0o600}

    def test_keeps_a_write_ahead_log(self, outside: Any) -> None:
        """Readers never wait for a writer."""
        assert outside.execute("PRAGMA journal_mode").fetchone() == ("wal",)

    def test_a_file_of_another_mode_is_switched(
            self, outside: Any, db: DB, tmp_path: Path) -> None:
        """A restored copy may have come without its log."""
        db.close()
        outside.execute("PRAGMA journal_mode=DELETE")
        again = DB("sqlite:///{}".format(tmp_path / "test.db"))
        again.find(User, id=0)
        again.close()
        fresh = sqlite3.connect(str(tmp_path / "test.db"))
        assert fresh.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        fresh.close()

    def test_survives_a_restart(self, db: DB, tmp_path: Path) -> None:
        """The next process finds what this one saved."""
        db.add_user(EMAIL, HASH)
        db.close()
        again = DB("sqlite:///{}".format(tmp_path / "test.db"))
        assert again.find_user_by(email=EMAIL).hashed_password == HASH
        again.close()

    def test_goes_on_after_close(self, db: DB) -> None:
        """Closing gives connections back, and no more."""
        db.add_user(EMAIL, HASH)
        db.close()
        assert db.find_user_by(email=EMAIL).id == 1

    def test_is_let_go_without_being_closed(self, tmp_path: Path) -> None:
        """A script that just ends leaves no warning of Python behind."""
        script = ("from db import DB; from user import User; "
                  "store = DB(); store.find(User, id=1)")
        ended = subprocess.run(
            [sys.executable, "-W", "error", "-c", script],
            cwd=str(ROOT), stderr=subprocess.PIPE,
            env=dict(os.environ, DATABASE_URL="sqlite:///{}".format(
                tmp_path / "script.db")), universal_newlines=True)
        assert (ended.returncode, ended.stderr) == (0, "")


class TestInit:
    """Which database a store is of."""

    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> List[Any]:
        """The URL and the threads of each database that is asked for."""
        asked: List[Any] = []

        def ask(url: str, threads: int) -> Any:
            """Note what is asked for, and give it."""
            asked.append((url, threads))
            return database_of(url, threads)
        monkeypatch.setattr("db.database_of", ask)
        return asked

    def test_of_the_environment(
            self, monkeypatch: pytest.MonkeyPatch, asked: List[Any]) -> None:
        """As everything that is not told."""
        monkeypatch.setenv("DATABASE_URL", "sqlite:////tmp/other.db")
        monkeypatch.setenv("THREADS", "7")
        DB()
        DB(threads=3)
        assert asked == [("sqlite:////tmp/other.db", 7),
                         ("sqlite:////tmp/other.db", 3)]

    def test_of_an_url(
            self, monkeypatch: pytest.MonkeyPatch, asked: List[Any]) -> None:
        """Then the environment is not looked at."""
        monkeypatch.setenv("THREADS", "many")
        DB("sqlite:////tmp/other.db")
        DB("sqlite:////tmp/other.db", 3)
        assert asked == [("sqlite:////tmp/other.db", Settings().threads),
                         ("sqlite:////tmp/other.db", 3)]


class TestAddUser:
    """A new user."""

    def test_opens_an_account_at_that_moment(self, db: DB) -> None:
        """In the same transaction."""
        user = db.add_user(EMAIL, HASH, 1234)
        account = db.find(Account, user_id=user.id)
        assert account is not None
        assert (account.created_at, account.password_changed_at,
                account.verified_at) == (1234, 1234, None)

    def test_stores_the_canonical_address(self, db: DB) -> None:
        """Whoever adds it."""
        assert db.add_user("Bob@ME.com", HASH).email == EMAIL

    def test_taken_address_leaves_nothing(
            self, db: DB, outside: Any) -> None:
        """No second user and no account without one."""
        db.add_user(EMAIL, HASH)
        with pytest.raises(EmailTaken):
            db.add_user("BOB@me.com", HASH)
        found = outside.execute("SELECT (SELECT count(*) FROM users), "
                                "(SELECT count(*) FROM accounts)").fetchone()
        assert found == (1, 1)

    def test_many_at_once_are_one(self, db: DB) -> None:
        """The constraint decides."""
        def add() -> int:
            """Return 1 for success."""
            try:
                return bool(db.add_user(EMAIL, HASH))
            except EmailTaken:
                return 0
        assert sum(all_at_once([add] * 8)) == 1

    def test_an_id_never_comes_back(self, db: DB) -> None:
        """Other services remember users by it."""
        first = db.add_user(EMAIL, HASH)
        db.delete(User, id=first.id)
        assert db.add_user(EMAIL, HASH).id > first.id


class TestFindUserBy:
    """Finding users by what is known of them."""

    def test_any_spelling_of_the_address(self, db: DB) -> None:
        """Stored and asked in one form."""
        user = db.add_user(EMAIL, HASH)
        assert db.find_user_by(email="BOB@Me.com").id == user.id

    def test_first_of_several(self, db: DB) -> None:
        """The oldest one is found."""
        first = db.add_user(EMAIL, HASH)
        db.add_user("eve@me.com", HASH)
        assert db.find_user_by(hashed_password=HASH).id == first.id

    @pytest.mark.parametrize("value", [
        "' OR '1'='1", "x'; DROP TABLE users; --", "%", "_ob@me.com",
        "\\' OR 1=1 --", "bob@me.com' --"])
    def test_value_is_no_sql(self, db: DB, value: str) -> None:
        """It is handed over beside the statement (ASVS 1.2.4)."""
        db.add_user(EMAIL, HASH)
        for name in ("email", "session_id", "hashed_password"):
            with pytest.raises(NoResultFound):
                db.find_user_by(**{name: value})
        assert db.find_user_by(email=EMAIL).id == 1

    def test_says_what_is_wrong(self, db: DB) -> None:
        """Nobody, or no question."""
        with pytest.raises(NoResultFound, match="^no user matches$"):
            db.find_user_by(id=7)
        with pytest.raises(InvalidRequestError,
                           match="^find_user_by needs a criterion$"):
            db.find_user_by()

    def test_is_a_value(self, db: DB) -> None:
        """Changing it, also in a transaction, changes no database."""
        db.add_user(EMAIL, HASH)
        with db.transaction():
            db.find_user_by(email=EMAIL).email = "eve@me.com"
            db.change(User, {"id": 1}, session_id="x")
        assert db.find_user_by(id=1).email == EMAIL


class TestUpdateUser:
    """Changing a user."""

    def test_stores_the_canonical_address(self, db: DB) -> None:
        """Whoever changes it."""
        user = db.add_user(EMAIL, HASH)
        db.update_user(user.id, email="Eve@ME.com")
        assert db.find_user_by(id=user.id).email == "eve@me.com"

    def test_nothing_to_change_is_fine(self, db: DB) -> None:
        """As long as there is somebody to change."""
        user = db.add_user(EMAIL, HASH)
        db.update_user(user.id)
        assert db.find_user_by(id=user.id).email == EMAIL

    @pytest.mark.parametrize("name", ["metadata", "registry", "__table__"])
    def test_only_columns_are_attributes(self, db: DB, name: str) -> None:
        """What SQLAlchemy adds to the class is nobody's to set."""
        user = db.add_user(EMAIL, HASH)
        with pytest.raises(ValueError, match="^{} is not a user attribute$"
                           .format(name)):
            db.update_user(user.id, **{name: "x"})

    def test_address_of_somebody_else(self, db: DB) -> None:
        """Refused, whatever its spelling, and nothing else is changed."""
        db.add_user(EMAIL, HASH)
        eve = db.add_user("eve@me.com", HASH)
        with pytest.raises(EmailTaken,
                           match="^User BOB@ME.COM already exists$"):
            db.update_user(eve.id, email=EMAIL.upper(), session_id="x")
        assert db.find_user_by(id=eve.id).email == "eve@me.com"
        assert db.find_user_by(id=eve.id).session_id is None

    def test_another_constraint_is_no_taken_address(self, db: DB) -> None:
        """It stays what it is: a mistake of ours."""
        user = db.add_user(EMAIL, HASH)
        with pytest.raises(IntegrityError):
            db.update_user(user.id, hashed_password=None)


class TestTransaction:
    """All or nothing."""

    def test_an_exception_undoes_everything(self, db: DB) -> None:
        """Also what an inner one had finished."""
        with pytest.raises(RuntimeError):
            with db.transaction():
                with db.transaction():
                    db.add_user(EMAIL, HASH)
                raise RuntimeError
        assert db.find(User, email=EMAIL) is None

    def test_reads_its_own_writes(self, db: DB) -> None:
        """And not a copy from before them."""
        user = db.add_user(EMAIL, HASH)
        with db.transaction():
            assert db.find_user_by(id=user.id).session_id is None
            db.change(User, {"id": user.id}, session_id="x")
            assert db.find_user_by(id=user.id).session_id == "x"

    def test_is_not_seen_from_outside_before_its_end(
            self, db: DB, outside: Any) -> None:
        """Readers see the state before, without waiting."""
        with db.transaction():
            db.add_user(EMAIL, HASH)
            assert outside.execute(
                "SELECT count(*) FROM users").fetchone() == (0,)
        assert outside.execute("SELECT count(*) FROM users").fetchone() == (1,)

    @sqlite_only
    def test_takes_the_write_lock_at_once(
            self, db: DB, outside: Any) -> None:
        """One that reads first cannot fail at its first write."""
        with db.transaction():
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                outside.execute("BEGIN IMMEDIATE")

    @sqlite_only
    def test_readers_do_not_take_it(self, db: DB, outside: Any) -> None:
        """Nor wait for whoever has it."""
        outside.execute("BEGIN IMMEDIATE")
        assert db.find_all(User) == []
        outside.execute("ROLLBACK")

    def test_the_next_one_works_after_a_failure(self, db: DB) -> None:
        """A constraint violated by one request is not the next one's."""
        db.add_user(EMAIL, HASH)
        for _ in range(100):
            with pytest.raises(EmailTaken):
                db.add_user(EMAIL, HASH)
        assert db.add_user("eve@me.com", HASH).id


class TestVocabulary:
    """The verbs for every table."""

    def test_find_nothing(self, db: DB) -> None:
        """None, and no exception."""
        assert db.find(Session, digest="x") is None

    def test_find_all(self, db: DB) -> None:
        """Those that match, in the order in which they were added."""
        user, other = db.add_user(EMAIL, HASH), db.add_user("eve@me.com", HASH)
        added = [db.add(session_of(user, digest)).id for digest in "cab"]
        db.add(session_of(other, "other"))
        found = db.find_all(Session, user_id=user.id)
        assert [each.id for each in found] == added

    def test_find_all_by_comparison(self, db: DB) -> None:
        """As many as are asked for, the first by key, and no other."""
        users = [db.add_user(each, HASH) for each in ("a", "b", "c", "d")]
        found = db.find_all(User, User.id > users[0].id, limit=2,
                            hashed_password=HASH)
        assert [each.email for each in found] == ["b", "c"]

    def test_count_by_comparison(self, db: DB) -> None:
        """How many there are, without any of them."""
        for key, first_at in (("a", 1), ("b", 2), ("c", 3)):
            db.add(Attempt(key=key, failures=1, first_at=first_at,
                           blocked_until=0, expires_at=9))
        assert db.count(Attempt) == 3
        assert db.count(Attempt, Attempt.first_at < 3) == 2
        assert db.count(Attempt, Attempt.first_at > 3) == 0

    def test_least_by_comparison(self, db: DB) -> None:
        """None where nothing matches."""
        for key, first_at in (("a", 3), ("b", 2), ("c", 1)):
            db.add(Attempt(key=key, failures=1, first_at=first_at,
                           blocked_until=0, expires_at=9))
        assert db.least(Attempt.first_at) == 1
        assert db.least(Attempt.first_at, Attempt.first_at > 1) == 2
        assert db.least(Attempt.first_at, Attempt.first_at > 3) is None

    def test_delete_by_comparison(self, db: DB) -> None:
        """What the comparison leaves out stays."""
        users = [db.add_user(each, HASH) for each in ("a", "b", "c")]
        assert db.delete(User, User.id >= users[1].id, email="b") == 1
        assert [each.email for each in db.find_all(User)] == ["a", "c"]

    def test_add_missing_leaves_what_is_there(self, db: DB) -> None:
        """Two who add the same key add one row, and neither fails."""
        for failures in (1, 2):
            db.add_missing(Attempt(key="k", failures=failures, first_at=3,
                                   blocked_until=4, expires_at=5))
        row, = db.find_all(Attempt)
        assert (row.failures, row.first_at, row.blocked_until,
                row.expires_at) == (1, 3, 4, 5)

    def test_add_all_or_none(self, db: DB) -> None:
        """One that cannot be saved undoes those before it."""
        with pytest.raises(IntegrityError):
            db.add_all(Attempt, [dict(
                key=key, failures=1, first_at=3, blocked_until=4,
                expires_at=5) for key in "aba"])
        assert db.find_all(Attempt) == []

    def test_find_visit_is_a_session_and_whose_it_is(self, db: DB) -> None:
        """All that an answer needs, by one look."""
        db.add_user("eve@me.com", HASH)
        user = db.add_user(EMAIL, HASH)
        session = db.add(session_of(user, "digest"))
        db.change(Account, {"user_id": user.id}, verified_at=7)
        assert db.find_visit("digest") == Visit(
            session.id, user.id, session.opened_at, session.seen_at,
            session.expires_at, session.user_agent, session.network, EMAIL, 7)
        assert db.find_visit("other") is None

    def test_find_visit_without_an_account(self, db: DB) -> None:
        """A user whom another program put there has none."""
        user = db.add_user(EMAIL, HASH)
        db.add(session_of(user, "digest"))
        db.delete(Account, user_id=user.id)
        found = db.find_visit("digest")
        assert found and (found.email, found.verified_at) == (EMAIL, None)

    def test_find_visit_of_a_disabled_user_is_none(self, db: DB) -> None:
        """Whatever session they hold."""
        user = db.add_user(EMAIL, HASH)
        db.add(session_of(user, "digest"))
        db.change(Account, {"user_id": user.id}, disabled_at=7)
        assert db.find_visit("digest") is None

    def test_a_handle_never_comes_back(self, db: DB) -> None:
        """An old page must not end a newer session by it."""
        user = db.add_user(EMAIL, HASH)
        first = db.add(session_of(user, "x"))
        db.delete(Session, id=first.id)
        assert db.add(session_of(user, "y")).id > first.id

    def test_change_counts_what_matched(self, db: DB) -> None:
        """So compare-and-set has one winner."""
        user = db.add_user(EMAIL, HASH)
        match = {"id": user.id, "session_id": None}
        assert db.change(User, match, session_id="x") == 1
        assert db.change(User, match, session_id="y") == 0
        assert db.find_user_by(id=user.id).session_id == "x"

    def test_delete_counts_what_was_there(self, db: DB) -> None:
        """Of two callers, one gets 1."""
        user = db.add_user(EMAIL, HASH)
        assert db.delete(User, id=user.id) == 1
        assert db.delete(User, id=user.id) == 0

    def test_what_hangs_off_a_user_goes_with_it(self, db: DB) -> None:
        """Nothing of a deleted account stays."""
        user = db.add_user(EMAIL, HASH)
        db.add(session_of(user, "x"))
        db.add(MailToken(digest="y", user_id=user.id, purpose="reset",
                         email=EMAIL, expires_at=1))
        db.delete(User, id=user.id)
        assert db.find(Session, digest="x") is None
        assert db.find(MailToken, digest="y") is None
        assert db.find(Account, user_id=user.id) is None


class TestUnavailable:
    """A store that cannot serve says so, and recovers."""

    @sqlite_only
    def test_missing_folder(self, tmp_path: Path) -> None:
        """Until it is there."""
        store = DB("sqlite:///{}".format(tmp_path / "later" / "test.db"))
        with pytest.raises(Unavailable):
            store.find(User, id=1)
        (tmp_path / "later").mkdir()
        assert store.add_user(EMAIL, HASH).id == 1
        store.close()

    @sqlite_only
    def test_file_that_vanished(self, db: DB, tmp_path: Path) -> None:
        """Nothing is written to what is deleted, and it may come back."""
        db.add_user(EMAIL, HASH)
        (tmp_path / "test.db").rename(tmp_path / "away.db")
        for _ in range(2):
            with pytest.raises(Unavailable):
                db.add_user("eve@me.com", HASH)
        assert not (tmp_path / "test.db").exists()
        (tmp_path / "away.db").rename(tmp_path / "test.db")
        assert db.find_user_by(email=EMAIL).id == 1

    @sqlite_only
    def test_file_that_was_replaced(self, db: DB, tmp_path: Path) -> None:
        """Two files must not be mixed up: stop before restoring a copy."""
        db.add_user(EMAIL, HASH)
        (tmp_path / "test.db").rename(tmp_path / "away.db")
        (tmp_path / "test.db").touch()
        with pytest.raises(Unavailable):
            db.find_user_by(email=EMAIL)
        assert (tmp_path / "test.db").stat().st_size == 0

    @sqlite_only
    def test_not_a_database(self, tmp_path: Path) -> None:
        """Whatever the file is, it is not overwritten."""
        path = tmp_path / "test.db"
        path.write_bytes(b"my diary, precious" * 100)
        store = DB("sqlite:///{}".format(path))
        with pytest.raises(Unavailable):
            store.add_user(EMAIL, HASH)
        store.close()
        assert path.read_bytes() == b"my diary, precious" * 100

    def test_the_cause_is_kept_without_its_parameters(
            self, db: DB, outside: Any) -> None:
        """A hash or a digest must not reach a log through a traceback."""
        outside.execute("DROP TABLE sessions")
        with pytest.raises(Unavailable) as caught:
            db.find_visit("precious")
        assert "sessions" in str(caught.value.__cause__)
        assert "precious" not in str(caught.value.__cause__)


class Said(Exception):
    """What PostgreSQL says, with the code of it."""

    def __init__(self, sqlstate: str) -> None:
        """Keep the code that programs go by."""
        self.sqlstate = sqlstate


class TestFaults:
    """Whose fault it is."""

    @pytest.mark.parametrize("code", ["42P01", "42501"])
    def test_table_that_is_gone_or_shut(self, code: str) -> None:
        """The store's: it cannot serve."""
        with pytest.raises(Unavailable):
            with FAULTS:
                raise ProgrammingError("SELECT", {}, Said(code))

    @pytest.mark.parametrize("said", [Said("42601"), Exception()])
    def test_mistake_of_ours(self, said: Exception) -> None:
        """It stays what it is, also from who gives no codes."""
        with pytest.raises(ProgrammingError):
            with FAULTS:
                raise ProgrammingError("SELECT", {}, said)


class TestCounted:
    """The highest id that a table ever gave."""

    def test_table_without_ids(self, db: DB) -> None:
        """It has given none."""
        db.add_missing(Attempt(key="k", failures=1, first_at=3,
                               blocked_until=4, expires_at=5))
        assert db.counted(Attempt) == 0


class TestAddUsers:
    """Many at once, each with an account."""

    @staticmethod
    def person(email: str, **values: Any) -> Dict[str, Any]:
        """Return somebody who is to be saved."""
        return dict({"email": email, "hashed_password": "x", "created_at": 1,
                     "verified_at": None, "disabled_at": 3,
                     "password_changed_at": 4}, **values)

    def test_saves_users_with_their_accounts(self, db: DB) -> None:
        """In the order given; values that are no column are not looked at."""
        sent = [self.person(each, more="y") for each in ("b", "a", "c")]
        assert db.add_users(sent) == 3
        found = db.find_accounts()
        assert [user.email for user, _ in found] == ["b", "a", "c"]
        assert [user.id for user, _ in found] == [1, 2, 3]
        user, account = found[0]
        assert (user.hashed_password, user.session_id) == ("x", None)
        assert (account.user_id, account.created_at, account.verified_at,
                account.disabled_at, account.password_changed_at) \
            == (1, 1, None, 3, 4)

    def test_leaves_who_is_there(self, db: DB) -> None:
        """And of two with one address the second."""
        db.add_user("b", "old", 7)
        assert db.add_users([
            self.person("a"), self.person("b"),
            self.person("a", hashed_password="y"), self.person("c")]) == 2
        assert [(user.email, user.hashed_password, account.created_at)
                for user, account in db.find_accounts()] == [
            ("b", "old", 7), ("a", "x", 1), ("c", "x", 1)]

    def test_accounts_are_of_their_users(self, db: DB) -> None:
        """Also beside users who have none."""
        db.add(User(email="b", hashed_password="old"))
        db.add_users([self.person("a"), self.person("c")])
        assert [each.user_id for each in db.find_all(Account)] == [2, 3]

    def test_nobody(self, db: DB) -> None:
        """None to save is no statement without rows."""
        db.add_user("b", "old")
        assert db.add_users([]) == db.add_users([self.person("b")]) == 0

    def test_is_whole_or_not(
            self, db: DB, monkeypatch: pytest.MonkeyPatch) -> None:
        """One whose address is taken in this moment undoes all of them.

        Whoever looks first and finds nobody is overtaken.
        """
        db.add_user("b", "old")
        monkeypatch.setattr("db._ids_of", lambda *_: {})
        with pytest.raises(EmailTaken, match="^User of one of these addresses "
                                             "already exists$"):
            db.add_users([self.person("a"), self.person("b")])
        assert [user.email for user, _ in db.find_accounts()] == ["b"]


class TestFindAccounts:
    """Users beside what else is known of them."""

    def test_matches_columns_of_both(self, db: DB) -> None:
        """By id, and no more than asked for."""
        for number, email in enumerate(("c", "b", "a")):
            db.add_user(email, "x", number)
        assert [user.email for user, account in db.find_accounts(
            Account.created_at > 0, User.email != "x")] == ["b", "a"]
        assert [user.id for user, _ in db.find_accounts(limit=2)] == [1, 2]

    def test_account_of_another_hand_is_blank(self, db: DB) -> None:
        """It is known whose it would be."""
        db.add(User(email="a", hashed_password="x"))
        (user, account), = db.find_accounts()
        assert account.user_id == user.id
        assert not account.created_at and not account.disabled_at


class TestFindLast:
    """The newest rows."""

    @pytest.mark.parametrize("count, ids", [
        (1, [4]), (3, [2, 3, 4]), (9, [1, 2, 3, 4])])
    def test_in_the_order_of_keys(
            self, db: DB, count: int, ids: List[int]) -> None:
        """However few there are."""
        for email in "dcba":
            db.add_user(email, "x")
        assert [each.id for each in db.find_last(User, count)] == ids

    def test_of_those_that_match(self, db: DB) -> None:
        """By a comparison and by values."""
        for email in "dcba":
            db.add_user(email, "x")
        assert [each.id for each in db.find_last(
            User, 2, User.id < 4, hashed_password="x")] == [2, 3]
        assert db.find_last(User, 2, hashed_password="y") == []

#!/usr/bin/env python3
"""What differs between the engines, and must not differ for the service."""
from __future__ import annotations

import os
import threading
import time
from contextlib import closing
from typing import Any, Callable, Iterator, List

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from db import DB
from engines import SPARE_CONNECTIONS
from errors import Unavailable
from settings import Settings
from tests.databases import connect, postgres_only, rows, sqlite_only
from tests.helpers import EMAIL, all_at_once
from tests.test_db import session_of
from user import User

HASH = "$2b$04$" + "x" * 53


@pytest.fixture
def url(db: DB, settings: Settings) -> str:
    """The URL of a database with one user in it."""
    db.add_user(EMAIL, HASH)
    return settings.database_url


@pytest.fixture
def outside(url: str) -> Iterator[Any]:
    """Another program's connection to it."""
    with closing(connect(url)) as connection:
        yield connection


class TestErrors:
    """What a database says ends up in logs (docs/security.md#secrets)."""

    def test_row_is_not_quoted(self, db: DB, url: str) -> None:
        """PostgreSQL would show all of it, the hash too."""
        with pytest.raises(IntegrityError) as caught:
            db.update_user(1, hashed_password=None)
        told = repr(caught.value) + str(caught.value)
        assert "hashed_password" in told
        assert EMAIL not in told and "$2b$" not in told

    def test_another_constraint_is_no_taken_address(
            self, db: DB, url: str) -> None:
        """A user without a hash is a mistake of ours."""
        none: Any = None
        with pytest.raises(IntegrityError):
            db.add_user("eve@me.com", none)


@sqlite_only
@pytest.mark.skipif(not os.path.exists("/proc/self/fd"),
                    reason="there is no /proc here")
class TestKeptConnections:
    """Look-ups in a file do not go through the pool."""

    @staticmethod
    def open_files(url: str) -> int:
        """Return how many connections this process has to the file."""
        path = os.path.realpath(url.partition(":///")[2])
        return [os.path.realpath("/proc/self/fd/" + each) for each in
                os.listdir("/proc/self/fd")].count(path)

    def test_one_after_the_other_shares_one(self, db: DB, url: str) -> None:
        """Whoever comes next takes the one that was given back."""
        db.close()
        for _ in range(5):
            db.find_visit("nobody's")
        assert self.open_files(url) == 1

    def test_are_closed_with_the_store(self, db: DB, url: str) -> None:
        """And opened anew by whoever looks something up after that."""
        db.find_visit("nobody's")
        db.close()
        assert self.open_files(url) == 0
        assert db.find_visit("nobody's") is None

    def test_one_that_broke_is_not_used_again(
            self, db: DB, url: str, outside: Any) -> None:
        """A table that was away for a moment is found again."""
        outside.execute("ALTER TABLE sessions RENAME TO elsewhere")
        outside.commit()
        with pytest.raises(Unavailable):
            db.find_visit("nobody's")
        outside.execute("ALTER TABLE elsewhere RENAME TO sessions")
        outside.commit()
        assert db.find_visit("nobody's") is None


@postgres_only
class TestPatience:
    """Nobody waits for a server for long."""

    def test_for_a_row_that_somebody_holds(
            self, db: DB, outside: Any) -> None:
        """A second, and the store is busy; a moment later it is not."""
        outside.autocommit = False
        outside.execute("UPDATE users SET session_id = 'x'")
        began = time.monotonic()
        with pytest.raises(Unavailable):
            db.change(User, {"id": 1}, session_id="y")
        assert 0.9 < time.monotonic() - began < 4
        outside.rollback()
        assert db.change(User, {"id": 1}, session_id="y") == 1

    def test_for_a_statement(self, url: str) -> None:
        """As long as the URL says, if it does."""
        store = DB(url + "?options=-c%20statement_timeout%3D200")
        with pytest.raises(Unavailable) as caught:
            store.find_all(User, text("pg_sleep(5) IS NULL"))
        assert "statement timeout" in str(caught.value.__cause__)
        store.close()

    def test_for_a_connection(self, url: str) -> None:
        """With all in use, whoever comes is told to come back."""
        store = DB(url, threads=1)
        crowd = 1 + SPARE_CONNECTIONS
        entered, leave = threading.Barrier(crowd + 1), threading.Event()

        def stay() -> None:
            """Keep a connection, as a request in a transaction does."""
            with store.transaction():
                store.find(User, id=1)
                entered.wait(20)
                leave.wait(20)
        threads = [threading.Thread(target=stay) for _ in range(crowd)]
        for each in threads:
            each.start()
        entered.wait(20)
        with pytest.raises(Unavailable):
            store.find(User, id=1)
        leave.set()
        for each in threads:
            each.join()
        assert store.find(User, id=1) is not None
        store.close()

    def test_for_nobody_who_is_not_there(self, url: str) -> None:
        """A port where nobody listens answers at once."""
        store = DB("postgresql://owner@127.0.0.1:9/x")
        began = time.monotonic()
        with pytest.raises(Unavailable):
            store.find(User, id=1)
        assert time.monotonic() - began < 2


@postgres_only
class TestConnections:
    """How the server is reached."""

    def test_are_as_many_as_threads_and_a_few(
            self, url: str, outside: Any) -> None:
        """Whatever the number of those who ask at once."""
        store = DB(url, threads=3)
        all_at_once([lambda: store.find(User, id=1)] * 20)
        (count,), = rows(url, "SELECT count(*) FROM pg_stat_activity "
                              "WHERE application_name = 'bienvenue' "
                              "AND datname = current_database()")
        assert 1 <= count <= 3 + SPARE_CONNECTIONS
        store.close()

    def test_that_broke_are_replaced_unnoticed(
            self, db: DB, outside: Any) -> None:
        """A look-up, a read and a write after a restart, each the first."""
        user = db.find_user_by(email=EMAIL)
        db.add(session_of(user, "digest"))
        tasks: List[Callable[[], Any]] = [
            lambda: db.find_visit("digest"),
            lambda: db.find(User, id=user.id),
            lambda: db.change(User, {"id": user.id}, session_id="x")]
        for task in tasks:
            all_at_once([lambda: db.find(User, id=user.id)] * 8)
            outside.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'bienvenue' "
                "AND datname = current_database()")
            assert task()

    def test_use_tls_if_told_to(self, url: str) -> None:
        """And go no further with a server that has none."""
        store = DB(url + "?sslmode=require")
        with pytest.raises(Unavailable) as caught:
            store.find(User, id=1)
        assert "SSL" in str(caught.value.__cause__)
        store.close()

    def test_lone_reads_leave_no_transaction_open(
            self, db: DB, url: str) -> None:
        """One that is idle keeps the server from tidying up."""
        db.find(User, id=1)
        assert rows(url, "SELECT count(*) FROM pg_stat_activity WHERE state "
                         "LIKE 'idle in%'") == [(0,)]

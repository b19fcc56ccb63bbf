#!/usr/bin/env python3
"""A copy of a SQLite file that is in use, and the way back from it."""
from __future__ import annotations

import shutil
import stat
import threading
from pathlib import Path
from typing import Callable, List

import pytest

from auth import Auth
from db import DB
from errors import InvalidInput, Unavailable
from settings import Settings
from tests.databases import postgres_only, rows, sqlite_only
from tests.helpers import EMAIL, PASSWORD, Server


def back_up(folder: Path, to: Path) -> None:
    """Copy the database of a folder's servers, as another process does."""
    settings = Settings(
        database_url="sqlite:///{}".format(folder / "server.db"))
    service = Auth(settings=settings)
    service.admin.back_up_database(str(to))
    service.close()


@sqlite_only
class TestBackUp:
    """Copying a file under load."""

    @pytest.fixture
    def busy(self, tmp_path: Path, server: Server) -> List[str]:
        """Copies made while four people register without pause.

        Each with the accounts that were acknowledged before it began.
        """
        acknowledged: List[str] = []
        ended = threading.Event()

        def register(name: str) -> None:
            """Open one account after another."""
            number = 0
            while not ended.is_set():
                email = "{}{}@me.com".format(name, number)
                if server.ask("POST", "/users", email=email,
                              password=PASSWORD).status == 200:
                    acknowledged.append(email)
                number += 1
        people = [threading.Thread(target=register, args=(name,))
                  for name in "abcd"]
        for each in people:
            each.start()
        self.promised = []
        for number in range(5):
            while len(acknowledged) < 20 * (number + 1):
                pass
            self.promised.append(list(acknowledged))
            back_up(tmp_path, tmp_path / "copy{}".format(number))
        ended.set()
        for each in people:
            each.join()
        return acknowledged

    promised: List[List[str]]

    def test_holds_every_account_up_to_its_start(
            self, busy: List[str], tmp_path: Path) -> None:
        """And opens clean, each of them."""
        for number, promised in enumerate(self.promised):
            url = "sqlite:///{}".format(tmp_path / "copy{}".format(number))
            kept = {email for email, in rows(url, "SELECT email FROM users")}
            assert set(promised) <= kept
            assert rows(url, "PRAGMA integrity_check") == [("ok",)]
            assert rows(url, "PRAGMA foreign_key_check") == []
            accounts = rows(url, "SELECT count(*) FROM accounts")
            assert accounts == [(len(kept),)]

    def test_loses_nothing_of_the_original(
            self, busy: List[str], tmp_path: Path) -> None:
        """Those who registered meanwhile are there."""
        url = "sqlite:///{}".format(tmp_path / "server.db")
        kept = {email for email, in rows(url, "SELECT email FROM users")}
        assert kept == set(busy)

    def test_is_for_its_owner_only(
            self, db: DB, auth: Auth, tmp_path: Path) -> None:
        """It holds what the database holds, whatever was there before."""
        copy = tmp_path / "copy.db"
        copy.write_bytes(b"an older one")
        copy.chmod(0o644)
        auth.admin.back_up_database(str(copy))
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
        assert not list(tmp_path.glob("*.partial"))

    def test_never_replaces_the_original(
            self, auth: Auth, settings: Settings, tmp_path: Path) -> None:
        """By whatever name: servers would go on writing to what is gone."""
        auth.register_user(EMAIL, PASSWORD)
        path = settings.database_url.partition(":///")[2]
        link = tmp_path / "link.db"
        link.symlink_to(path)
        for each in (path, str(link)):
            with pytest.raises(InvalidInput, match="the database itself"):
                auth.admin.back_up_database(each)
        assert auth.valid_login(EMAIL, PASSWORD)

    def test_failure_leaves_the_older_copy(
            self, auth: Auth, tmp_path: Path) -> None:
        """Half a copy never takes its place."""
        copy = tmp_path / "copy.db"
        copy.write_bytes(b"an older one")
        (tmp_path / "copy.db.partial").mkdir()
        with pytest.raises(Unavailable):
            auth.admin.back_up_database(str(copy))
        assert copy.read_bytes() == b"an older one"


@sqlite_only
class TestRestore:
    """The steps of docs/operations.md, one after the other."""

    def test_brings_back_what_was_there(
            self, start_server: Callable[[], Server],
            tmp_path: Path) -> None:
        """Stop, put the copy in place without the old log, start."""
        server = start_server()
        server.ask("POST", "/users", email=EMAIL, password=PASSWORD)
        copy, file = tmp_path / "copy.db", tmp_path / "server.db"
        back_up(tmp_path, copy)
        server.ask("POST", "/users", email="late@me.com", password=PASSWORD)
        server.stop()
        for each in tmp_path.glob("server.db*"):
            each.unlink()
        shutil.copy(str(copy), str(file))
        again = start_server()
        assert again.ask("POST", "/sessions", email=EMAIL,
                         password=PASSWORD).status == 200
        assert again.ask("POST", "/sessions", email="late@me.com",
                         password=PASSWORD).status == 401


@postgres_only
def test_postgresql_has_its_own_tools(auth: Auth, tmp_path: Path) -> None:
    """The refusal says which, and where to read on."""
    with pytest.raises(InvalidInput, match="pg_dump"):
        auth.admin.back_up_database(str(tmp_path / "copy"))

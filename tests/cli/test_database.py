#!/usr/bin/env python3
"""`flask db`, `flask purge` and the drill of `flask doctor`."""
from __future__ import annotations

import importlib
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, List

import pytest

import moving
from auth import Auth
from db import DB
from migrations import HEAD
from models import Entry, Session
from settings import DAY
from tests.cli.conftest import Terminal
from tests.databases import (
    KIND, postgres, postgres_only, rows, sqlite_only, tables_of)
from tests.helpers import EMAIL, ROOT, Clock
from tests.migrations.test_history import NEXT, migrate, seed


@pytest.fixture
def empty_url(tmp_path: Path) -> Iterator[str]:
    """The URL of a database without tables."""
    if KIND == "sqlite":
        yield "sqlite:///{}".format(tmp_path / "new.db")
    else:
        yield postgres().create("another")
        postgres().drop("another")


def flask(url: str, *words: str) -> Any:
    """Run a command in a process of its own, on this database."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "flask"] + list(words),
        cwd=str(ROOT), universal_newlines=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, timeout=60, env=dict(
            os.environ, DATABASE_URL=url, FLASK_SKIP_DOTENV="1"))


class TestUpgrade:
    """`flask db upgrade` and `flask db status`."""

    def test_of_an_empty_database(self, empty_url: str) -> None:
        """Made, and said so; the second time nothing is to be done."""
        made = flask(empty_url, "db", "upgrade")
        assert (made.returncode, made.stdout, made.stderr) == (
            0, "The database is of version {}; before, it was without a "
               "version.\n".format(HEAD), "")
        again = flask(empty_url, "db", "upgrade")
        assert again.stdout == \
            "The database is of version {}, as it was.\n".format(HEAD)
        assert "users" in tables_of(empty_url)

    def test_of_the_first_release(self, empty_url: str) -> None:
        """Its users are still there."""
        seed(empty_url, "1.0")
        assert flask(empty_url, "db", "upgrade").returncode == 0
        assert len(rows(empty_url, "SELECT * FROM users")) == 2

    def test_of_a_newer_release(self, empty_url: str) -> None:
        """Refused in a sentence, and nothing is done."""
        migrate(empty_url, "2.0", NEXT)
        for command in ("upgrade", "status"):
            refused = flask(empty_url, "db", command)
            assert refused.returncode == 1
            assert "version 2.0" in refused.stderr
            assert "Traceback" not in refused.stderr

    @sqlite_only
    def test_status_of_none_makes_none(
            self, empty_url: str, tmp_path: Path) -> None:
        """A question leaves no file behind, but by the answer to it."""
        store = DB(empty_url)
        assert store.version() is None
        store.close()
        assert not list(tmp_path.glob("new.db*"))

    def test_status_of_a_good_one(
            self, terminal: Terminal, bob: int) -> None:
        """0, for a script that waits for it."""
        result = terminal.types("db", "status")
        assert (result.exit_code, result.stdout) == (
            0, "The database is of version {}.\n".format(HEAD))

    @postgres_only
    def test_status_of_one_that_needs_it(self, empty_url: str) -> None:
        """1, and which command to run."""
        found = flask(empty_url, "db", "status")
        assert found.returncode == 1
        assert "run `flask db upgrade`" in found.stderr


class TestBackup:
    """`flask db backup`."""

    @sqlite_only
    def test_copies(self, terminal: Terminal, bob: int,
                    tmp_path: Path) -> None:
        """And says where."""
        path = tmp_path / "copy.db"
        result = terminal.types("db", "backup", str(path))
        assert (result.exit_code, result.stdout) == (
            0, "The database was copied to {}.\n".format(path))
        assert rows("sqlite:///{}".format(path),
                    "SELECT email FROM users") == [(EMAIL,)]

    @sqlite_only
    def test_nowhere_to_copy(self, terminal: Terminal,
                             tmp_path: Path) -> None:
        """A sentence, and 1."""
        path = tmp_path / "nowhere" / "copy.db"
        result = terminal.types("db", "backup", str(path))
        assert result.exit_code == 1
        assert result.stderr == "Error: The folder {} is not there, or not " \
            "yours to write to.\n".format(path.parent)

    @postgres_only
    def test_postgresql_has_its_own(self, terminal: Terminal,
                                    tmp_path: Path) -> None:
        """It says which."""
        result = terminal.types("db", "backup", str(tmp_path / "x"))
        assert (result.exit_code, "pg_dump" in result.stderr) == (1, True)


class TestMove:
    """`flask db move`."""

    def test_moves_and_counts(self, terminal: Terminal, bob: int, eve: int,
                              empty_url: str) -> None:
        """A line for each table, and what to do next."""
        result = terminal.types("db", "move", "--to", empty_url)
        assert result.exit_code == 0, result.stderr
        assert "           2  users\n" in result.stdout
        assert "DATABASE_URL" in result.stdout
        assert len(rows(empty_url, "SELECT * FROM accounts")) == 2

    def test_json(self, terminal: Terminal, bob: int,
                  empty_url: str) -> None:
        """The same counts, for programs to read."""
        moved = terminal.reads("db", "move", "--to", empty_url)
        assert (moved["users"], moved["sessions"]) == (1, 0)

    def test_says_how_far_it_is(
            self, terminal: Terminal, bob: int, eve: int, empty_url: str,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """Rows add up, table by table."""
        monkeypatch.setattr(moving, "LOAD", 1)
        said: List[str] = []
        follow(monkeypatch, "cli.database", said)
        terminal.types("db", "move", "--to", empty_url)
        assert said[0] == "Moving"
        assert [each for each in said if "users" in each] == [
            "Moving users, 1 rows so far", "Moving users, 2 rows so far"]

    @pytest.mark.parametrize("url", ["", "nonsense", "mysql://x/y"])
    def test_to_what_is_no_database(
            self, terminal: Terminal, url: str) -> None:
        """An empty variable of a script is none, and not the default."""
        result = terminal.types("db", "move", "--to", url)
        assert result.exit_code == 2
        assert "must name a SQLite file or a PostgreSQL" in result.stderr

    def test_never_twice(self, terminal: Terminal, bob: int,
                         empty_url: str) -> None:
        """Nothing is written over."""
        terminal.types("db", "move", "--to", empty_url)
        result = terminal.types("db", "move", "--to", empty_url)
        assert result.exit_code == 1
        assert "not empty" in result.stderr


class TestPurge:
    """`flask purge`, for whoever cannot wait an hour."""

    def test_says_what_went(self, terminal: Terminal, safe: Auth, bob: int,
                            clock: Clock, db: DB) -> None:
        """A line for each kind, or JSON."""
        for _ in range(2):
            safe.create_session(EMAIL)
        clock.advance(8 * DAY)
        result = terminal.types("purge")
        assert result.exit_code == 0
        assert "           2  sessions\n" in result.stdout
        assert db.find_all(Session) == []
        assert terminal.reads("purge")["sessions"] == 0


class TestLeakDrill:
    """`flask doctor --leak-drill`."""

    def test_finds_nothing_of_ours(
            self, terminal: Terminal, safe: Auth, bob: int) -> None:
        """And says so, in one line."""
        safe.create_session(EMAIL)
        result = terminal.types("doctor", "--leak-drill")
        assert result.stdout.endswith("All is well.\n"), result.stdout
        assert result.exit_code == 0
        assert result.stderr == ""  # as nobody looks on

    def test_says_how_far_it_is(
            self, terminal: Terminal, bob: int,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """Table by table, to whoever waits for it."""
        said: List[str] = []
        follow(monkeypatch, "cli.doctor", said)
        terminal.types("doctor", "--leak-drill")
        assert said[0] == "Trying what is stored"
        assert "Tried sessions, going on" in said

    def test_fails_for_one_that_is_planted(
            self, terminal: Terminal, safe: Auth, bob: int, db: DB) -> None:
        """Where it stands, and not what it is."""
        token = safe.create_session(EMAIL)
        db.add(Entry(at=1, fact="x", network="", request_id="",
                     detail=str(token)))
        result = terminal.types("doctor", "--leak-drill")
        assert result.exit_code == 1
        assert "audit.detail of row 2 opens a session." in result.stdout
        assert str(token) not in result.stdout + result.stderr

    def test_is_not_done_unasked(
            self, terminal: Terminal, safe: Auth,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """It takes its time."""
        said: List[str] = []
        follow(monkeypatch, "cli.doctor", said)
        terminal.types("doctor")
        assert said == []


def follow(monkeypatch: pytest.MonkeyPatch, module: str,
           said: List[str]) -> None:
    """Have a command say here what is going on."""
    @contextmanager
    def waiting(label: str) -> Iterator[Any]:
        """Keep the name of it, and those that come."""
        said.append(label)
        yield said.append
    monkeypatch.setattr(importlib.import_module(module), "waiting", waiting)

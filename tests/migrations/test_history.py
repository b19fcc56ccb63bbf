#!/usr/bin/env python3
"""One history for both engines: nothing is lost on the way to today."""
from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

import engines
from auth import Auth
from db import DB
from errors import NotMigrated, Unavailable
from migrations import HEAD, VERSIONS, is_behind, upgrade
from settings import Settings
from tests.databases import (
    KIND, everything, postgres, postgres_only, rows, run, sqlite_only,
    tables_of)
from tests.helpers import ROOT, Clock, Server, all_at_once
from user import Base

SEEDS = Path(__file__).with_name("seeds")
NEXT = Path(__file__).with_name("next")
RELEASES = ["1.0", "1.1"]
# Tables and rows, in an order that says nothing.
Stored = Dict[str, List[Tuple[Any, ...]]]


def stored(url: str) -> Stored:
    """Return every row of a database, by table, but for its version."""
    return {name: found for name, found in everything(url).items()
            if name != "alembic_version"}


def migrate(url: str, to: str, *more: Path) -> None:
    """Bring a database to a version, as a release of that version would."""
    engine = create_engine(url.replace(
        "postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        upgrade(connection, to, *more)
    engine.dispose()


def seed(url: str, version: str) -> None:
    """Fill a database as the release of that version left it."""
    dump = (SEEDS / (version + ".sql")).read_text()
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.partition(":///")[2])) as file:
            file.executescript(dump)
        return
    migrate(url, version)
    found = re.findall(r'^(INSERT INTO "?(\w+)"? .*)$', dump, re.M)
    for table in Base.metadata.sorted_tables:
        run(url, *(line for line, name in found if name == table.name))


@pytest.fixture
def url(tmp_path: Path, request: Any) -> Iterator[str]:
    """The URL of a database without tables, in a folder with a blank."""
    if KIND == "sqlite":
        folder = tmp_path / "of a release, 100%"
        folder.mkdir()
        yield "sqlite:///{}".format(folder / "old.db")
    else:
        yield postgres().create("empty")
        postgres().drop("empty")


@pytest.fixture
def store(url: str) -> Iterator[DB]:
    """A store on that database."""
    made = DB(url)
    yield made
    made.close()


class TestHistory:
    """The versions that there are."""

    def test_is_one_line_to_the_version_of_the_code(self) -> None:
        """No branch, and the last file is what the code asks for."""
        config = Config()
        config.set_main_option("script_location", str(VERSIONS.parent))
        config.set_main_option("path_separator", "os")
        scripts = ScriptDirectory.from_config(config)
        assert scripts.get_heads() == [HEAD]
        assert [each.revision for each in scripts.walk_revisions()] \
            == RELEASES[::-1]

    def test_each_release_has_a_seed(self) -> None:
        """Whoever adds a version keeps a database of it."""
        assert sorted(each.stem for each in SEEDS.iterdir()) == RELEASES
        assert RELEASES[-1] == HEAD

    def test_tables_are_those_of_the_models(
            self, store: DB, url: str) -> None:
        """Columns, types, keys and indexes: neither more nor less."""
        store.upgrade()
        engine = create_engine(url.replace(
            "postgresql://", "postgresql+psycopg://"))
        with engine.connect() as connection:
            found = compare_metadata(MigrationContext.configure(
                connection, opts={
                    "compare_type": True, "compare_server_default": True,
                    "include_object": ours}), Base.metadata)
        engine.dispose()
        assert found == []

    @pytest.mark.parametrize("version, behind", [
        (None, True), ("1.0", True), ("1.1", False), ("1.2", False),
        ("1.10", False)])
    def test_tells_what_is_behind(
            self, version: Any, behind: bool) -> None:
        """By number, so that 1.10 comes after 1.9."""
        assert is_behind(version, "1.1") is behind

    @pytest.mark.parametrize("version", ["2.0", "10.0", "abc", "1", "1.x"])
    def test_refuses_what_it_does_not_know(self, version: str) -> None:
        """A newer first number, or no version at all."""
        with pytest.raises(NotMigrated, match="newer"):
            is_behind(version, "1.1")


def ours(_object: Any, name: str, *_: Any) -> bool:
    """Leave out what SQLite keeps for itself, which old Alembic sees."""
    return name != "sqlite_sequence"


class TestUpgrade:
    """A database of before."""

    @pytest.mark.parametrize("version", RELEASES)
    def test_keeps_every_row_of_a_release(
            self, url: str, store: DB, version: str) -> None:
        """And adds empty tables beside them."""
        seed(url, version)
        before = stored(url)
        store.upgrade()
        after = stored(url)
        assert {name: after[name] for name in before} == before
        assert not any(after[name] for name in set(after) - set(before))
        assert store.version() == HEAD

    @pytest.mark.parametrize("version", RELEASES)
    def test_keeps_passwords_and_sessions_working(
            self, url: str, store: DB, version: str, clock: Clock) -> None:
        """What users had in hand is still good."""
        seed(url, version)
        store.upgrade()
        clock.now = 1795000500
        service = Auth(store, Settings(database_url=url, bcrypt_cost=4),
                       clock)
        token, password = {
            "1.0": ("0fa93ad6-0f29-4d4a-a6a6-3f1c2dc80b41", "mySuperPwd"),
            "1.1": ("1fa93ad6-0f29-4d4a-a6a6-3f1c2dc80b02",
                    "tartiflette au reblochon")}[version]
        found = service.get_user_from_session_id(token)
        assert found is not None and found.email == "bob@me.com"
        assert service.valid_login("bob@me.com", password)

    def test_ids_go_on_where_they_were(
            self, url: str, store: DB) -> None:
        """The id of a user who left is given to nobody."""
        if KIND == "postgresql":
            pytest.skip("a server has its own sequences, never copied")
        seed(url, "1.0")
        store.upgrade()
        assert store.add_user("new@me.com", "x").id == 4

    def test_is_not_done_twice(self, url: str, store: DB) -> None:
        """Nothing happens to a database that is up to date."""
        store.upgrade()
        store.add_user("bob@me.com", "x", 1)
        before = stored(url)
        store.upgrade()
        assert stored(url) == before

    def test_happens_whole_or_not_at_all(
            self, url: str, store: DB, tmp_path: Path) -> None:
        """One that fails half-way leaves the database as it was."""
        store.upgrade()
        (tmp_path / "v1_2_broken.py").write_text(BROKEN)
        before = tables_of(url)
        with transaction(url) as connection:
            with pytest.raises(RuntimeError, match="half"):
                upgrade(connection, "head", tmp_path)
        assert tables_of(url) == before
        assert store.version() == HEAD

    def test_threads_upgrade_databases_of_their_own(
            self, tmp_path: Path) -> None:
        """Alembic works on globals, so they take turns."""
        stores = [DB("sqlite:///{}".format(tmp_path / str(each)))
                  for each in range(8)]
        all_at_once([each.upgrade for each in stores])
        assert {each.version() for each in stores} == {HEAD}
        for each in stores:
            each.close()

    def test_many_at_once_is_one(self, url: str) -> None:
        """Replicas that start together do not trip over each other."""
        seed(url, "1.0")
        stores = [DB(url) for _ in range(8)]
        all_at_once([each.upgrade for each in stores])
        assert {each.version() for each in stores} == {HEAD}
        for each in stores:
            each.close()
        assert stored(url)["users"]


BROKEN = """
from alembic import op
import sqlalchemy as sa
revision, down_revision = "1.2", "1.1"
def upgrade():
    op.create_table("half", sa.Column("id", sa.Integer, primary_key=True))
    raise RuntimeError("half-way")
"""


@contextmanager
def transaction(url: str) -> Iterator[Any]:
    """Lend a connection in a transaction, undone if what is inside fails."""
    engine = create_engine(url.replace(
        "postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        begun = connection.begin()
        if KIND == "sqlite":
            connection.execute(text("BEGIN"))
        yield connection
        begun.rollback()
    engine.dispose()


@sqlite_only
class TestFile:
    """A SQLite file is upgraded by whoever opens it."""

    def test_is_made_on_the_first_request(
            self, url: str, store: DB) -> None:
        """Without a command."""
        store.add_user("bob@me.com", "x")
        assert store.version() == HEAD

    def test_is_upgraded_on_the_first_request(
            self, url: str, store: DB) -> None:
        """A release starts on the file of the one before."""
        seed(url, "1.0")
        assert store.find_user_by(email="bob@me.com").id == 1
        assert store.version() == HEAD

    def test_is_copied_before_an_upgrade(
            self, url: str, store: DB) -> None:
        """For its owner only, whole, and named by what it was."""
        seed(url, "1.0")
        before = stored(url)
        store.upgrade()
        copy = Path(url.partition(":///")[2] + ".first-release")
        assert copy.stat().st_mode & 0o777 == 0o600
        assert stored("sqlite:///{}".format(copy)) == before
        assert not list(copy.parent.glob("*.partial"))

    def test_is_not_copied_for_nothing(self, url: str, store: DB) -> None:
        """Neither a new one nor one that is up to date."""
        store.upgrade()
        store.upgrade()
        folder = Path(url.partition(":///")[2]).parent
        assert {each.name for each in folder.iterdir()} == {
            "old.db", "old.db-wal", "old.db-shm"}

    def test_a_copy_that_fails_stops_the_upgrade(
            self, url: str, store: DB) -> None:
        """No way back, no way forward: a folder stands in its place."""
        seed(url, "1.0")
        before = tables_of(url)
        Path(url.partition(":///")[2] + ".first-release.partial").mkdir()
        with pytest.raises(Unavailable):
            store.upgrade()
        assert tables_of(url) == before

    def test_of_a_newer_release_is_refused_and_left_alone(
            self, url: str, store: DB) -> None:
        """By a sentence for the log, not for strangers."""
        migrate(url, "head", NEXT)
        before = stored(url)
        with pytest.raises(NotMigrated, match="version 2.0.*newer") as caught:
            store.find_user_by(email="bob@me.com")
        assert "2.0" not in caught.value.public
        assert stored(url) == before

    def test_rebuilding_a_table_keeps_what_hangs_off_it(
            self, url: str, store: DB,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """SQLite deletes the old one, and with foreign keys on all of it."""
        seed(url, "1.1")
        before = stored(url)
        monkeypatch.setattr(engines, "is_behind", partial(
            is_behind, head="2.0"))
        monkeypatch.setattr(engines, "upgrade", lambda connection: upgrade(
            connection, "head", NEXT))
        store.upgrade()
        assert store.version() == "2.0"
        after = stored(url)
        assert before["sessions"]
        assert {name: after[name] for name in before
                if name != "accounts"} == dict(
            (name, found) for name, found in before.items()
            if name != "accounts")

    def test_two_processes_start_on_an_empty_file(
            self, url: str) -> None:
        """Each serves, and neither says a word."""
        script = ("from auth import Auth; import sys; "
                  "Auth().register_user(sys.argv[1], 'pw')")
        environ = dict(os.environ, DATABASE_URL=url, BCRYPT_COST="4")
        ended: List[Any] = all_at_once([partial(
            subprocess.run, [sys.executable, "-W", "error", "-c", script,
                             "u{}@me.com".format(each)],
            cwd=str(ROOT), env=environ, stderr=subprocess.PIPE,
            timeout=60) for each in range(4)])
        assert [(each.returncode, each.stderr) for each in ended] == [
            (0, b"")] * 4
        assert len(rows(url, "SELECT * FROM users")) == 4


@postgres_only
class TestServer:
    """A server's database is upgraded by an administrator."""

    @pytest.mark.parametrize("version", [None, "1.0"])
    def test_is_not_served_before(
            self, url: str, store: DB, version: Any) -> None:
        """The refusal says which command to run; nothing is made."""
        if version:
            seed(url, version)
        before = tables_of(url)
        with pytest.raises(NotMigrated, match="run `flask db upgrade`"):
            store.find_user_by(email="bob@me.com")
        assert tables_of(url) == before

    def test_is_served_as_soon_as_it_is_upgraded(
            self, url: str, store: DB) -> None:
        """The servers that were waiting need no restart."""
        with pytest.raises(NotMigrated):
            store.find_user_by(email="bob@me.com")
        administrator = DB(url)
        administrator.upgrade()
        administrator.close()
        assert store.add_user("bob@me.com", "x").id == 1

    def test_of_a_newer_release_is_refused(
            self, url: str, store: DB) -> None:
        """An older replica that restarts stays out."""
        migrate(url, "head", NEXT)
        with pytest.raises(NotMigrated, match="version 2.0.*newer"):
            store.find_user_by(email="bob@me.com")

    @pytest.fixture
    def serving_url(self, url: str, store: DB) -> Iterator[str]:
        """The URL for a role that reads and writes rows, and no more."""
        store.upgrade()
        run(url, "CREATE ROLE serving LOGIN",
            "GRANT SELECT ON alembic_version TO serving", *(
                "GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO serving".format(
                    each.name) for each in Base.metadata.sorted_tables),
            "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO serving")
        yield postgres().url("empty", "serving")
        run(url, "DROP OWNED BY serving", "DROP ROLE serving")

    def test_role_that_serves_changes_no_table(
            self, serving_url: str) -> None:
        """So a hole in the service is no hole in the schema."""
        import psycopg

        for harm in ("DROP TABLE users", "CREATE TABLE mine (id INTEGER)",
                     "TRUNCATE users"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                run(serving_url, harm)

    def test_role_that_serves_is_enough(
            self, serving_url: str, tmp_path: Path) -> None:
        """The whole journey of the card, through a real server."""
        server = Server(tmp_path, DATABASE_URL=serving_url)
        try:
            walked = subprocess.run(
                [sys.executable, "main.py"], cwd=str(ROOT),
                env=dict(os.environ, BASE_URL=server.url),
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        finally:
            server.stop()
        assert (walked.returncode, walked.stdout) == (0, b"")
        assert "Traceback" not in server.log()

#!/usr/bin/env python3
"""Faults of the disk.

A SQLite file that is locked, full, read-only, gone or spoiled under a server
of two workers: who cannot be served is told to come back, what was
acknowledged stays, and none of it needs a restart.
"""
from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import (
    Any, Callable, ContextManager, Iterator, List, Optional, Sequence)

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

import db
import engines
from auth import Auth
from errors import Unavailable
from tests.databases import (
    file_with_tables, rows, sqlite_only, tables_of)
from tests.helpers import EMAIL, Server, all_at_once
from tests.proofs.servers import Flaw, Workers
from tests.proofs.size import PROVING, size
from tests.proofs.troubles import (
    Heard, Trial, Visitors, faults_of, go_through, refused, unserved,
    workers_of)

pytestmark = [sqlite_only, pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="asks Linux for trouble")]
Figure = Callable[[str], None]
# Breaks the file of a database, and mends it.
Fault = Callable[[Path], ContextManager[None]]
# How many write and how many read at once; few do on what is broken.
FEW, CROWD = 4, size(4, 10)
# What the store waits for a lock; in the ordinary run it is less patient.
BUSY_SECONDS = 5 if PROVING else 0.5
# Of SQLite's file, in bytes.
PAGE = 4096
# How many servers start at once.
TOGETHER = size(2, 3)


def file_in(folder: Path) -> Path:
    """Return the database of the servers of a folder."""
    return folder / "server.db"


def beside(path: Path) -> List[Path]:
    """Return the files that a database is, on the disk."""
    return sorted(path.parent.glob(path.name + "*"))


# -- What breaks a server

def acknowledges_all() -> None:
    """Say that an account is open, whatever the store says."""
    sign_up = Auth.sign_up

    def say_yes(self: Auth, email: str, password: str) -> None:
        """Try, and do not tell how it went."""
        with suppress(Unavailable):
            sign_up(self, email, password)
    setattr(Auth, "sign_up", say_yes)


def lets_faults_through() -> None:
    """Take a fault of the store for a mistake of ours."""
    setattr(db.FAULTS.__class__, "__exit__", lambda *_: None)


def says_no_when() -> None:
    """Tell nobody when to come back."""
    setattr(Unavailable, "retry_after", None)


def waits_half_a_second() -> None:
    """Be less patient, so that a test is as well; no flaw."""
    setattr(engines, "BUSY_SECONDS", 0.5)


def waits_for_ever() -> None:
    """Wait for a lock as long as it takes."""
    setattr(engines, "BUSY_SECONDS", 60)


def locks_readers_out() -> None:
    """Have readers and writers of the file wait for each other."""
    def use_journal(connection: Any) -> None:
        """Leave the write-ahead log."""
        waits_half_a_second()
        connection.execute(text("PRAGMA journal_mode=DELETE"))
    setattr(engines, "_use_write_ahead_log", use_journal)


def keeps_what_broke() -> None:
    """Go on with a connection, whatever happened to its file."""
    setattr(engines, "_open_anew", lambda _: None)


def shares_nothing() -> None:
    """Have each process make a file of its own."""
    begin = engines.SqliteFile.__init__

    def begin_alone(self: Any, url: str) -> None:
        """Use a file that nobody else does."""
        begin(self, "{}-{}".format(url, os.getpid()))
    setattr(engines.SqliteFile, "__init__", begin_alone)


def starts_afresh() -> None:
    """Make a new file where the old one is gone, or is no database."""
    prepare = engines.SqliteFile.prepare

    def find_or_make(self: Any, within: float = 0) -> None:
        """Go on with whatever there is, or with nothing."""
        try:
            prepare(self, within)
        except (OSError, sqlite3.DatabaseError, DBAPIError):
            for each in beside(Path(self._path)):
                each.unlink()
            self.engine.dispose()
            self._file = None
            prepare(self, within)
    setattr(engines.SqliteFile, "prepare", find_or_make)


# -- No space

@contextmanager
def no_file_grows(server: Server, path: Path) -> Iterator[None]:
    """Have the system let no file of the workers grow: a quota is full."""
    size_of_log = Path(str(path) + "-wal").stat().st_size
    limit, endless = resource.RLIMIT_FSIZE, resource.RLIM_INFINITY
    for pid in workers_of(server):
        resource.prlimit(pid, limit, (size_of_log, endless))
    yield
    for pid in workers_of(server):
        resource.prlimit(pid, limit, (endless, endless))


@contextmanager
def disk_filled(_server: Server, path: Path) -> Iterator[None]:
    """Fill the disk of a database to the last byte."""
    filler = path.parent / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 512)
    yield
    filler.unlink()


def mounts(folder: Path) -> bool:
    """Put a small disk at a folder; tell whether we may."""
    return os.getuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "bienvenue", str(folder)],
        stderr=subprocess.DEVNULL).returncode == 0


@pytest.mark.promise("While the disk is full, nobody is told that something "
                     "was stored which was not; reading goes on, and the "
                     "first write is served as soon as there is room.")
class TestNoSpace:
    """The disk takes no more."""

    @pytest.fixture
    def disk(self, tmp_path: Path) -> Iterator[Path]:
        """A folder on a disk of eight mebibytes, if we may have one."""
        folder = tmp_path / "disk"
        folder.mkdir()
        mounted = mounts(folder)
        yield folder
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)

    def fill(self, folder: Path, disk: Path, flaw: Any = None) -> Trial:
        """Fill the disk of a server, if it is one of its own."""
        path = disk / "accounts.db"
        server = Workers(folder, flaw, DATABASE_URL="sqlite:///" + str(path))
        fill = disk_filled if os.path.ismount(str(disk)) else no_file_grows
        return go_through(
            server, [partial(fill, server, path)] * (
                1 if flaw else size(1, 5)), FEW if flaw else CROWD)

    def test_full_disk(self, tmp_path: Path, disk: Path,
                       figure: Figure) -> None:
        """A real one where we may mount it, a limit anywhere else."""
        trial = self.fill(tmp_path, disk)
        assert trial.complaints == []
        assert trial.refused > 0
        assert all(each.well for each in trial.meanwhile if not each.email)
        figure(str(trial))

    @pytest.mark.once
    @pytest.mark.broken("an account is acknowledged although it could not be "
                        "stored")
    def test_finds_what_is_acknowledged_only(self, tmp_path: Path) -> None:
        """Whose account was never stored cannot sign in."""
        trial = self.fill(tmp_path, tmp_path, acknowledges_all)
        assert any(each.startswith("lost") for each in trial.complaints)

    @pytest.mark.once
    @pytest.mark.broken("a full disk is answered 500")
    def test_finds_an_answer_of_500(self, tmp_path: Path) -> None:
        """It is no mistake of ours."""
        trial = self.fill(tmp_path, tmp_path, lets_faults_through)
        assert any(": 500" in each for each in trial.complaints)


# -- Locked

@contextmanager
def lock_held(path: Path) -> Iterator[sqlite3.Connection]:
    """Hold the write lock of a database, as a backup tool might."""
    with closing(sqlite3.connect(
            str(path), isolation_level=None,
            check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield other


def let_go_soon(other: sqlite3.Connection) -> None:
    """Release a lock when those who want it have been waiting a while."""
    time.sleep(0.2)
    other.rollback()


@pytest.mark.promise("While another program holds the database, who reads is "
                     "served, who writes is told within 5.5 seconds to come "
                     "back, and is served at once when it lets go.")
class TestLocked:
    """Another process does not let go of the database."""

    def lock(self, folder: Path, flaw: Any) -> Trial:
        """Lock the database for ten seconds, or half of one."""
        return go_through(
            Workers(folder, flaw), [partial(lock_held, file_in(folder))],
            FEW if flaw else CROWD, times=1 if flaw else 2, reading=1,
            patience=BUSY_SECONDS + size(2, 1) / 2)

    def test_locked(self, tmp_path: Path, figure: Figure) -> None:
        """Writers wait for the lock, and not for long."""
        trial = self.lock(
            tmp_path, None if PROVING else waits_half_a_second)
        assert trial.complaints == []
        assert {each.well for each in trial.meanwhile if each.email} \
            == {False}
        assert trial.slowest > BUSY_SECONDS
        assert all(each.well for each in trial.meanwhile if not each.email)
        figure(str(trial))

    def test_short_lock_is_waited_for(self, tmp_path: Path) -> None:
        """Nobody is turned away for what is over in a moment.

        Neither at the first write of all, when SQLite itself would not wait
        to switch to a write-ahead log, nor later.
        """
        path = tmp_path / "new.db"
        server = Workers(tmp_path, DATABASE_URL="sqlite:///" + str(path))
        try:
            for email in (EMAIL, "another@me.com"):
                with lock_held(path) as other:
                    answer, _ = all_at_once([
                        partial(Visitors(server).register, email),
                        partial(let_go_soon, other)])
                assert answer.well
        finally:
            server.stop()

    @pytest.mark.once
    @pytest.mark.broken("who waits for a lock waits for as long as it takes")
    def test_finds_endless_patience(self, tmp_path: Path) -> None:
        """Every thread would wait in the end."""
        server = Workers(tmp_path, waits_for_ever)
        try:
            with lock_held(file_in(tmp_path)) as other:
                heard, _ = all_at_once([
                    Visitors(server).register, partial(let_go_soon, other)])
            assert faults_of([heard], 0.1)
        finally:
            server.stop()

    @pytest.mark.once
    @pytest.mark.broken("who reads waits for who writes")
    def test_finds_readers_locked_out(self, tmp_path: Path) -> None:
        """As in a file without a write-ahead log."""
        assert any(each.startswith("GET /profile") for each in self.lock(
            tmp_path, locks_readers_out).complaints)


# -- Unfit

@contextmanager
def read_only(path: Path) -> Iterator[None]:
    """Let nobody write into a database or beside it.

    Another program has it open, so that it can be read.
    """
    with closing(sqlite3.connect(str(path))) as other:
        other.execute("SELECT id FROM users").fetchall()
        shut = beside(path) + [path.parent]
        for each in shut:
            each.chmod(0o555)
        yield
        for each in shut:
            each.chmod(0o755)


@contextmanager
def folder_gone(path: Path) -> Iterator[None]:
    """Have no folder where a database belongs."""
    elsewhere = path.parent.with_name("elsewhere")
    path.parent.rename(elsewhere)
    yield
    # Had anything been made there, this would fail.
    elsewhere.rename(path.parent)


@contextmanager
def file_gone(path: Path) -> Iterator[None]:
    """Have no file where a database was."""
    away = {each: each.with_name("moved-" + each.name)
            for each in beside(path)}
    for here, there in away.items():
        here.rename(there)
    yield
    assert beside(path) == [], "a new file was made"
    for here, there in away.items():
        there.rename(here)


@contextmanager
def no_database(path: Path) -> Iterator[None]:
    """Have something else entirely in the file."""
    garbage = b"This is not a database. " * 1000
    good = path.read_bytes()
    path.write_bytes(garbage)
    yield
    assert path.read_bytes() == garbage, "the file was overwritten"
    path.write_bytes(good)


@contextmanager
def pages_spoiled(path: Path) -> Iterator[None]:
    """Overwrite every page of a database but the first.

    Those that are still so are put right afterwards.
    """
    with closing(sqlite3.connect(str(path))) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    garbage = b"\xff" * PAGE
    good = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(PAGE)
        file.write(garbage * (len(good) // PAGE - 1))
    yield
    with path.open("r+b") as file:
        for place in range(PAGE, len(good), PAGE):
            file.seek(place)
            if file.read(PAGE) == garbage:
                file.seek(place)
                file.write(good[place:place + PAGE])


class Unprivileged(Workers):
    """A server that may write only what it is allowed to, even for root."""

    within = ("setpriv", "--bounding-set", "-dac_override", "--") \
        if os.getuid() == 0 else ()


@pytest.mark.promise("A database that is read-only, gone, or no database any "
                     "more, is answered 503, when the server starts and while "
                     "it runs; nothing is made or written in its place, and "
                     "it is served again as soon as it is whole.")
class TestUnfit:
    """The file is not what it should be."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        """A database in a folder of its own."""
        path = tmp_path / "home" / "accounts.db"
        path.parent.mkdir()
        shutil.copyfile(str(file_with_tables()), str(path))
        return path

    def server(self, path: Path, flaw: Optional[Flaw] = None) -> Server:
        """Start one on this file."""
        return Unprivileged(path.parent.parent, flaw,
                            DATABASE_URL="sqlite:///{}".format(path))

    def start(self, path: Path, fault: Fault,
              flaw: Optional[Flaw] = None) -> Trial:
        """Start a server on it in a fault, which ends when some came."""
        with ExitStack() as trouble:
            trouble.enter_context(fault(path))
            server = self.server(path, flaw)
            return go_through(server, [lambda: trouble],
                              FEW if flaw else CROWD, settled=False)

    def run(self, path: Path, faults: Sequence[Fault],
            flaw: Optional[Flaw] = None) -> Trial:
        """Have a server go through faults while it runs."""
        return go_through(self.server(path, flaw), [
            partial(each, path) for each in faults], FEW if flaw else CROWD)

    @pytest.mark.parametrize("fault", [read_only, folder_gone, no_database])
    def test_at_the_start(self, path: Path, fault: Fault,
                          figure: Figure) -> None:
        """It starts, and serves once it can."""
        trial = self.start(path, fault)
        assert trial.complaints == []
        assert not any(each.well for each in trial.meanwhile if each.email)
        figure("{} at the start: {}".format(
            fault.__name__.replace("_", " "), trial))

    def test_who_only_read_meanwhile_keeps_nobody_from_writing(
            self, path: Path) -> None:
        """Their connections are those of a file that is read-only."""
        with ExitStack() as ending:
            with read_only(path):
                server = self.server(path)
                ending.callback(server.stop)
                visitors = Visitors(server)
                assert refused(visitors.come(FEW))
                assert unserved([visitors.look() for _ in range(CROWD)]) == []
            assert unserved([visitors.register() for _ in range(CROWD)]) == []

    def test_while_it_runs(self, path: Path, figure: Figure) -> None:
        """One after the other; who has the file open may write on."""
        trial = self.run(path, [folder_gone, file_gone, pages_spoiled,
                                read_only] * size(1, 3))
        assert trial.complaints == []
        assert all(trial.noticed[:3])
        figure("while it runs: {}".format(trial))

    @pytest.mark.once
    @pytest.mark.broken("a connection that was opened while the file was "
                        "read-only is kept")
    def test_finds_connections_that_stay_so(self, path: Path) -> None:
        """SQLite asks once, when it opens the file."""
        complaints = self.start(path, read_only, keeps_what_broke).complaints
        assert any(each.startswith("afterwards") for each in complaints)

    @pytest.mark.once
    @pytest.mark.broken("a new file is made where the old one is gone")
    def test_finds_a_new_file(self, path: Path) -> None:
        """Everybody would be told that they have no account."""
        with pytest.raises(AssertionError, match="a new file was made"):
            self.run(path, [file_gone], starts_afresh)

    @pytest.mark.once
    @pytest.mark.broken("a spoiled file is overwritten")
    def test_finds_a_file_that_was_overwritten(self, path: Path) -> None:
        """Perhaps some of it could have been saved."""
        with pytest.raises(AssertionError, match="the file was overwritten"):
            self.start(path, no_database, starts_afresh)


# -- Two at once

@pytest.mark.promise("Servers that start at once on an empty file all serve, "
                     "and make one set of tables.")
class TestStart:
    """Nobody makes the database for them."""

    def begin(self, folder: Path, flaw: Optional[Flaw] = None) -> List[str]:
        """Start some at once; return what is wrong with them."""
        url = "sqlite:///{}".format(folder / "empty.db")
        (folder / "empty.db").touch()
        servers = all_at_once([partial(Workers, folder, flaw,
                                       DATABASE_URL=url)] * TOGETHER)
        visitors = [Visitors(each) for each in servers]
        try:
            heard: List[Heard] = sum((
                each.come(FEW) for each in visitors), [])
            complaints = unserved(heard)
            for each in visitors:
                each.heard = heard
                complaints += ["lost: " + email for email in each.missing()]
        finally:
            for server in servers:
                server.stop()
        if tables_of(url) != tables_of("sqlite:///{}".format(
                file_with_tables())):
            return complaints + ["other tables"]
        (stored,), = rows(url, "SELECT count(*) FROM users")
        if stored != TOGETHER * FEW:
            complaints.append("{} users".format(stored))
        return complaints

    def test_empty_file(self, tmp_path_factory: pytest.TempPathFactory,
                        figure: Figure) -> None:
        """Each time anew."""
        times = size(1, 5)
        for _ in range(times):
            assert self.begin(tmp_path_factory.mktemp("empty")) == []
        figure("{} servers of 2 workers, {} times: all served".format(
            TOGETHER, times))

    @pytest.mark.once
    @pytest.mark.broken("each process makes a database of its own")
    def test_finds_lost_accounts(self, tmp_path: Path) -> None:
        """Who is known to one would be a stranger to the next."""
        complaints = self.begin(tmp_path, shares_nothing)
        assert any(each.startswith("lost") for each in complaints)
        assert "other tables" in complaints

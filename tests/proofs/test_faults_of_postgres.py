#!/usr/bin/env python3
"""Faults of the database server.

PostgreSQL that is stopped, that crashes, that takes no more connections or
says nothing any more, under a server of two workers: who cannot be served is
told so within seconds, and the first who come after it are served.
"""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Callable, Iterator, List, NamedTuple, Optional

import pytest
from sqlalchemy import text

import engines
import migrations
from migrations import is_behind, version_of
from tests.databases import (
    Postgres, connect, postgres_only, rows, run, tables_of)
from tests.helpers import ROOT, all_at_once
from tests.machine import wait_until
from tests.proofs.servers import Flaw, Workers
from tests.proofs.size import PROVING, size
from tests.proofs.test_faults_of_disk import lets_faults_through
from tests.proofs.troubles import (
    Heard, Trial, Trouble, Visitors, faults_of, go_through, unserved)

pytestmark = postgres_only
Figure = Callable[[str], None]
FEW, CROWD = 4, size(4, 10)
# How many start or upgrade at once.
TOGETHER = size(2, 3)
UPGRADE = """
import sys
from importlib import import_module
from db import DB
module, flaw, url = sys.argv[1:]
getattr(import_module(module), flaw)()
DB(url).upgrade()
"""
DURABLE = ("max_connections=100", "fsync=off")


class Durable(Postgres):
    """A server that loses nothing when it crashes, unlike its machine."""

    settings = DURABLE


class Forgetful(Postgres):
    """One that says that all is stored, and stores it later."""

    settings = DURABLE + ("synchronous_commit=off", "wal_writer_delay=10s")


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    """A server of our own, which may be stopped."""
    server = Durable()
    yield server
    server.remove()


@pytest.fixture
def url(database: Postgres) -> Iterator[str]:
    """A database of it, with all tables."""
    name = "faults{}".format(time.monotonic_ns())
    yield database.create(name, template="ready")
    database.drop(name)


# -- What breaks a server

def trusts_connections() -> None:
    """Write by any connection, whatever became of it since."""
    setattr(engines, "_ping", lambda _: None)


def waits_a_second() -> None:
    """Be less patient, so that a test is as well; no flaw."""
    setattr(engines, "SILENCE_SECONDS", 1)


def waits_for_ever() -> None:
    """Wait for a server as long as it is silent."""
    setattr(engines, "_hang_up_on_silence", lambda *_: None)


def takes_no_turns() -> None:
    """Upgrade a database without a look at whoever does the same.

    Nobody is done before somebody else has found no tables, too, and waits
    to make them, however long that one needed to start.
    """
    def upgrade_blindly(self: Any) -> None:
        """Make the tables, if there are none."""
        with self.engine.execution_options(
                writes=True).begin() as connection:
            if is_behind(version_of(connection)):
                migrations.upgrade(connection)
                wait_until(lambda: connection.execute(text(
                    "SELECT count(*) FROM pg_locks WHERE NOT granted"
                    )).scalar())
    setattr(engines.PostgresServer, "upgrade", upgrade_blindly)


def upgrade(url: str, flaw: Optional[Flaw] = None) -> int:
    """Run `flask db upgrade` in a process of its own; return its code.

    With a flaw, by a store that has it.
    """
    command = [sys.executable, "-m", "flask", "db", "upgrade"]
    if flaw:
        command = [sys.executable, "-c", UPGRADE, flaw.__module__,
                   flaw.__name__, url]
    return subprocess.run(
        command, cwd=str(ROOT), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, env=dict(
            os.environ, DATABASE_URL=url, FLASK_SKIP_DOTENV="1")).returncode


# -- Away

@contextmanager
def stopped(database: Postgres, seconds: float) -> Iterator[None]:
    """Stop a server, for those who come meanwhile and so many seconds."""
    database.stop()
    yield
    time.sleep(seconds)
    database.start()


class Crash(NamedTuple):
    """What visitors heard after a crash, and what was wrong at any time."""

    after: List[Heard]
    faults: List[str]
    lost: List[str]


@pytest.mark.promise("While PostgreSQL is down every answer is 503 within "
                     "4 seconds, the first one after its start is 200, and "
                     "a crash of it loses nothing that was acknowledged.")
class TestAway:
    """The database stops, in the middle of work."""

    def stop(self, folder: Path, database: Postgres, url: str,
             flaw: Optional[Flaw] = None) -> Trial:
        """Stop it, and start it again."""
        return go_through(
            Workers(folder, flaw, DATABASE_URL=url),
            [partial(stopped, database, 0 if flaw else size(0, 5))] * (
                1 if flaw else size(1, 3)), FEW if flaw else CROWD)

    def crash(self, folder: Path, database: Postgres, url: str) -> Crash:
        """Crash it under load, and start it again."""
        server = Workers(folder, DATABASE_URL=url)
        try:
            visitors = Visitors(server)
            visitors.settle()
            with visitors.without_pause(CROWD) as heard:
                wait_until(lambda: len(heard) > 4 * CROWD)
                database.stop("immediate")
                database.start()
                started = time.monotonic()
                time.sleep(0.5)
            return Crash([each for each in heard if each.began > started],
                         faults_of(heard), visitors.missing())
        finally:
            server.stop()

    def restart_unnoticed(self, folder: Path, database: Postgres,
                          url: str) -> Trial:
        """Restart it while nobody asks for anything, not even for mails."""
        return go_through(
            Workers(folder, DATABASE_URL=url, MAIL_IN_SERVER="0"),
            [partial(stopped, database, 0)] * size(1, 3), FEW, times=0)

    def test_stopped(self, tmp_path: Path, database: Postgres, url: str,
                     figure: Figure) -> None:
        """Who comes meanwhile is told so at once; nobody is let down after."""
        trial = self.stop(tmp_path, database, url)
        assert trial.complaints == []
        assert not any(each.well for each in trial.meanwhile)
        figure(str(trial))

    def test_crashed(self, tmp_path: Path, database: Postgres, url: str,
                     figure: Figure) -> None:
        """Nothing but what was in flight gets a 503; all is there."""
        crash = self.crash(tmp_path, database, url)
        assert crash.faults + crash.lost + unserved(crash.after) == []
        figure("0 of {} refused and 0 accounts lost after a crash".format(
            len(crash.after)))

    def test_restarted_unnoticed(self, tmp_path: Path, database: Postgres,
                                 url: str, figure: Figure) -> None:
        """The first to write afterwards finds a connection that is dead."""
        trial = self.restart_unnoticed(tmp_path, database, url)
        assert trial.complaints == []
        figure("no request noticed a restart between two")

    def test_not_there_at_the_start(self, tmp_path: Path, database: Postgres,
                                    url: str) -> None:
        """A server that finds no database starts, and waits for it."""
        with ExitStack() as trouble:
            trouble.enter_context(stopped(database, 0))
            trial = go_through(Workers(tmp_path, DATABASE_URL=url),
                               [lambda: trouble], CROWD, settled=False)
        assert trial.complaints == []
        assert not any(each.well for each in trial.meanwhile)

    @pytest.mark.broken("a connection is used without asking whether it is "
                        "alive")
    def test_finds_dead_connections(
            self, tmp_path: Path, database: Postgres, url: str) -> None:
        """Each would cost a request of who writes, unless others read first.

        Those notice, and all connections are opened anew.
        """
        server = Workers(tmp_path, trusts_connections, DATABASE_URL=url,
                         MAIL_IN_SERVER="0", WORKERS="1")
        try:
            visitors = Visitors(server)
            visitors.settle()
            with stopped(database, 0):
                pass  # nobody asks for anything
            assert unserved([visitors.register()])
        finally:
            server.stop()

    @pytest.mark.broken("a write is acknowledged before it is on the disk")
    def test_finds_what_a_crash_lost(self, tmp_path: Path) -> None:
        """As PostgreSQL does without synchronous_commit."""
        database = Forgetful()
        try:
            assert self.crash(tmp_path, database, database.create(
                "forgetful", template="ready")).lost
        finally:
            database.remove()

    @pytest.mark.broken("a database that is down is answered 500")
    def test_finds_an_answer_of_500(
            self, tmp_path: Path, database: Postgres, url: str) -> None:
        """It is no mistake of ours."""
        complaints = self.stop(
            tmp_path, database, url, lets_faults_through).complaints
        assert any(": 500" in each for each in complaints)


# -- Silent

@contextmanager
def frozen(database: Postgres) -> Iterator[Callable[[], None]]:
    """Have a server say nothing, though its machine takes what is sent.

    Lends what lets it go on, as the end of this does.
    """
    pids = database.processes()

    def send(number: int) -> None:
        """Send a signal to all that are left of it."""
        for each in pids:
            with suppress(ProcessLookupError):
                os.kill(each, number)
    send(signal.SIGSTOP)
    try:
        yield partial(send, signal.SIGCONT)
    finally:
        send(signal.SIGCONT)


@contextmanager
def rows_held(url: str) -> Iterator[None]:
    """Hold every user, as a long transaction of another program does."""
    with closing(connect(url)) as other:
        other.autocommit = False
        other.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        yield
        other.rollback()


@contextmanager
def connections_taken(database: Postgres, url: str) -> Iterator[None]:
    """Let nobody have a connection any more, not even those who have one."""
    role = url.partition("//")[2].partition("@")[0]
    run(database.url("postgres"),
        "ALTER ROLE {} CONNECTION LIMIT 0".format(role),
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE usename = '{}'".format(role))
    yield
    run(database.url("postgres"),
        "ALTER ROLE {} CONNECTION LIMIT -1".format(role))


@pytest.mark.promise("PostgreSQL that holds our rows for somebody else, takes "
                     "no more connections, or says nothing at all any more, "
                     "keeps nobody waiting for more than 7 seconds; they are "
                     "told to come back, and served as soon as it goes on.")
class TestSlow:
    """The database is there, but does not serve."""

    def test_slow(self, tmp_path: Path, database: Postgres, url: str,
                  figure: Figure) -> None:
        """By a role whose host limits its connections, as hosts do."""
        run(url, "CREATE ROLE serving LOGIN",
            "GRANT ALL ON ALL TABLES IN SCHEMA public TO serving",
            "GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO serving")
        theirs = url.replace("owner@", "serving@")
        troubles: List[Trouble] = [
            partial(rows_held, url), partial(frozen, database),
            partial(connections_taken, database, theirs)]
        trial = go_through(
            Workers(tmp_path, None if PROVING else waits_a_second,
                    DATABASE_URL=theirs),
            troubles * size(1, 3), CROWD, patience=size(4, 7))
        assert trial.complaints == []
        assert all(trial.noticed)
        figure(str(trial))

    @pytest.mark.broken("whoever asks waits as long as PostgreSQL is silent")
    def test_finds_endless_patience(
            self, tmp_path: Path, database: Postgres, url: str) -> None:
        """Each would hold a thread, until there is none left."""
        server = Workers(tmp_path, waits_for_ever, DATABASE_URL=url)
        try:
            visitors = Visitors(server)
            visitors.settle()
            with frozen(database) as thaw:
                timer = threading.Timer(2, thaw)
                timer.start()
                heard = visitors.look()
                timer.join()
            assert faults_of([heard], patience=1)
        finally:
            server.stop()


# -- Two at once

@pytest.mark.promise("Administrators who upgrade an empty PostgreSQL database "
                     "at once, and servers that start on it at once, make one "
                     "set of tables, and all serve.")
class TestStart:
    """Nobody took turns for them."""

    def begin(self, folder: Path, url: str,
              flaw: Optional[Flaw] = None) -> List[str]:
        """Upgrade and start by twos; return what is wrong afterwards."""
        codes = all_at_once([partial(upgrade, url, flaw)] * TOGETHER)
        complaints = ["an upgrade ended with {}".format(each)
                      for each in codes if each]
        if complaints:
            return complaints
        servers = all_at_once([
            partial(Workers, folder, DATABASE_URL=url)] * TOGETHER)
        visitors = [Visitors(each) for each in servers]
        try:
            complaints = unserved(sum((
                each.come(FEW) for each in visitors), []))
        finally:
            for each in servers:
                each.stop()
        (stored,), = rows(url, "SELECT count(*) FROM users")
        if stored != TOGETHER * FEW:
            complaints.append("{} users".format(stored))
        return complaints

    def test_empty_database(self, tmp_path: Path, database: Postgres,
                            url: str, figure: Figure) -> None:
        """Each time anew."""
        times = size(1, 2)
        for turn in range(times):
            empty = database.create("empty{}".format(turn))
            assert self.begin(tmp_path, empty) == []
            assert tables_of(empty) == tables_of(url)
        figure("{} upgrades and {} servers, {} times: all went well".format(
            TOGETHER, TOGETHER, times))

    @pytest.mark.broken("administrators do not wait for each other")
    def test_finds_two_who_make_the_same_table(
            self, tmp_path: Path, database: Postgres) -> None:
        """All but one would fail, with an error of PostgreSQL."""
        assert self.begin(
            tmp_path, database.create("race"), takes_no_turns)

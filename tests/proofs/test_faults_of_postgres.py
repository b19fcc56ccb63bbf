#!/usr/bin/env python3
"""Faults of the database server.

PostgreSQL that is stopped, that crashes, that takes no more connections or
says nothing any more, under a server of two workers: who cannot be served is
told so within seconds, and the first who come after it are served.
"""
from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Callable, Iterator, List, Optional

import pytest
from sqlalchemy import event

import engines
from db import DB
from tests.databases import (
    Postgres, connect, postgres_only, rows, run, tables_of)
from tests.helpers import all_at_once
from tests.machine import wait_until
from tests.proofs.servers import Flaw, Workers
from tests.proofs.size import size
from tests.proofs.test_faults_of_disk import lets_faults_through
from tests.proofs.troubles import (
    PATIENCE, Heard, Trial, Visitors, faults_of, go_through, refused,
    unserved, workers_of)

pytestmark = postgres_only
Figure = Callable[[str], None]
CROWD = size(4, 10)
# What the service promises for a server that says nothing any more.
SILENT_SECONDS = 6


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    """A server of our own, which may be stopped."""
    server = Postgres()
    yield server
    server.remove()


@pytest.fixture
def url(database: Postgres) -> Iterator[str]:
    """A database of it, with all tables."""
    name = "faults{}".format(time.monotonic_ns())
    yield database.create(name, template="ready")
    database.drop(name)


# -- What breaks a server

def keeps_what_broke() -> None:
    """Use connections for ever, whatever became of them."""
    setattr(engines, "_ping", lambda _: None)
    setattr(engines.Lookup, "_drop",
            lambda self, connection: self._give_back(connection, []))
    prepare = engines.PostgresServer.__init__

    def never_invalidate(self: Any, url: str, threads: int) -> None:
        """Take a broken connection for one that is not."""
        prepare(self, url, threads)
        event.listen(self.engine, "handle_error", lambda context: setattr(
            context, "is_disconnect", False))
    setattr(engines.PostgresServer, "__init__", never_invalidate)


# -- Away

@contextmanager
def stopped(database: Postgres, seconds: float) -> Iterator[None]:
    """Stop a server, for those who come meanwhile and so many seconds."""
    database.stop()
    yield
    time.sleep(seconds)
    database.start()


@pytest.mark.promise("While PostgreSQL is down every answer is 503 within "
                     "2.5 seconds, the first one after its start is 200, and "
                     "a crash of it loses nothing that was acknowledged.")
class TestAway:
    """The database stops, in the middle of work."""

    def stop(self, folder: Path, database: Postgres, url: str,
             flaw: Optional[Flaw] = None) -> Trial:
        """Stop it, and start it again."""
        return go_through(
            Workers(folder, flaw, DATABASE_URL=url),
            [partial(stopped, database, size(0, 5))] * size(1, 3), CROWD)

    def crash(self, folder: Path, database: Postgres, url: str
              ) -> List[Heard]:
        """Crash it under load; return what was heard from its start on."""
        server = Workers(folder, DATABASE_URL=url)
        try:
            visitors = Visitors(server)
            visitors.settle()
            with visitors.without_pause(CROWD) as heard:
                time.sleep(0.3)
                database.stop("immediate")
                database.start()
                started = time.monotonic()
                time.sleep(0.5)
            assert faults_of(heard) == []
            assert visitors.missing() == []
            return [each for each in heard if each.began > started]
        finally:
            server.stop()

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
        after = self.crash(tmp_path, database, url)
        assert unserved(after) == []
        figure("of {} after a crash, none was refused".format(len(after)))

    def test_not_there_at_the_start(self, tmp_path: Path, database: Postgres,
                                    url: str) -> None:
        """A server that finds no database starts, and waits for it."""
        with ExitStack() as trouble:
            trouble.enter_context(stopped(database, 0))
            trial = go_through(Workers(tmp_path, DATABASE_URL=url),
                               [lambda: trouble], CROWD, settled=False)
        assert trial.complaints == []
        assert not any(each.well for each in trial.meanwhile)

    @pytest.mark.broken("a connection that broke is used again")
    def test_finds_connections_that_stay_broken(
            self, tmp_path: Path, database: Postgres, url: str) -> None:
        """There would be nothing but 503, to the end of the process."""
        complaints = self.stop(
            tmp_path, database, url, keeps_what_broke).complaints
        assert any(each.startswith("afterwards") for each in complaints)

    @pytest.mark.broken("a database that is down is answered 500")
    def test_finds_an_answer_of_500(
            self, tmp_path: Path, database: Postgres, url: str) -> None:
        """It is no mistake of ours."""
        complaints = self.stop(
            tmp_path, database, url, lets_faults_through).complaints
        assert any(": 500" in each for each in complaints)


# -- Silent

@contextmanager
def frozen(database: Postgres) -> Iterator[None]:
    """Have a server say nothing, though its machine takes what is sent."""
    pids = database.processes()
    for each in pids:
        os.kill(each, signal.SIGSTOP)
    yield
    for each in pids:
        os.kill(each, signal.SIGCONT)


@contextmanager
def rows_held(url: str) -> Iterator[None]:
    """Hold every user, as a long transaction of another program does."""
    with closing(connect(url)) as other:
        other.autocommit = False
        other.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        yield
        other.rollback()


@pytest.mark.promise("PostgreSQL that is slow, or says nothing at all any "
                     "more, keeps nobody waiting for more than 6 seconds; "
                     "they are told to come back.")
class TestSlow:
    """The database is there, but does not answer."""

    def test_silent(self, tmp_path: Path, database: Postgres, url: str,
                    figure: Figure) -> None:
        """As if its machine were suspended, or its disk hung."""
        trial = go_through(
            Workers(tmp_path, DATABASE_URL=url),
            [partial(frozen, database)], CROWD, patience=SILENT_SECONDS)
        assert trial.complaints == []
        figure(str(trial))

    def test_locked(self, tmp_path: Path, url: str, figure: Figure) -> None:
        """By somebody who is busy with the same rows."""
        trial = go_through(
            Workers(tmp_path, DATABASE_URL=url), [partial(rows_held, url)],
            CROWD, patience=SILENT_SECONDS)
        assert trial.complaints == []
        figure(str(trial))

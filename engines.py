#!/usr/bin/env python3
"""How the database is reached: a SQLite file, or a PostgreSQL server.

What differs between the two is here, so that db.py says one thing to both.
Each kind makes an engine and, before every piece of work, makes sure that
the tables are those that this code knows.
"""
from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any, Dict, Iterator, List, Optional, Tuple, Union

from sqlalchemy import create_engine, event, inspect, text
from sqlalchemy.engine.url import make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import NullPool, QueuePool

from errors import InvalidInput, NotMigrated
from migrations import HEAD, UPGRADE, is_behind, upgrade, version_of

# How long a writer of a file waits for another before the caller is told to
# come back.
BUSY_SECONDS = 5
# How long to wait after each try to write to a file that is read-only; there
# is none after the last.
REOPENING = (0.002, 0.02, 0)
# Who is not answered by a server for so long is told to come back.
CONNECT_SECONDS = 2
POOL_SECONDS = 1
# What a statement may take, and a wait for somebody else's row.
STATEMENT_MS, LOCK_MS = 5000, 1000
# A server that says nothing for so long will not say that it gave up either.
SILENCE_SECONDS = 6
# Beside those of requests: the mail sender, health checks.
SPARE_CONNECTIONS = 4
# Whoever upgrades a server's database holds this; any number will do.
UPGRADE_LOCK = 20261125


class SqliteFile:
    """One file of this machine, shared by any number of its processes.

    It is made and upgraded by itself.
    """

    def __init__(self, url: str) -> None:
        """Prepare to use the file of this URL; touches nothing yet."""
        self._url = url
        self.engine = create_engine(
            url,
            # Parameters are hashes and digests: keep them out of tracebacks.
            hide_parameters=True,
            # One pool for both ends of SQLAlchemy. A connection is used by
            # one thread at a time, which is all that SQLite asks for.
            poolclass=QueuePool, pool_size=20, max_overflow=30,
            pool_timeout=BUSY_SECONDS,
            connect_args={"timeout": BUSY_SECONDS,
                          "check_same_thread": False})
        event.listen(self.engine, "connect", _tune)
        event.listen(self.engine, "begin", _begin_immediate)
        event.listen(self.engine, "handle_error", _open_anew)
        self._writers: Any = self.engine.execution_options(writes=True)
        self._path = str(self.engine.url.database)
        self._lock = threading.Lock()
        self._file: Optional[Tuple[int, int]] = None
        self._looked_at = 0.0

    def prepare(self, within: float = 0) -> None:
        """Make the file ready to serve, once in this process.

        Afterwards, refuse to serve while it is gone or replaced: our
        connections would go on writing into the deleted file, and what was
        acknowledged would be lost. Put it back, or restart. Found out within
        so many seconds, by whoever writes at once.
        """
        if self._file is not None:
            now = time.monotonic()
            if now < self._looked_at + within:
                return
            if self._file != _identity(self._path):
                raise FileNotFoundError(
                    "the database file was moved, deleted or replaced")
            self._looked_at = now
            return
        with self._lock:
            self.upgrade()
            self._file = _identity(self._path)

    def version(self) -> Optional[str]:
        """Return the version of the tables, None if there are none yet."""
        if _identity(self._path) is None:
            return None  # and make none, for everybody to read
        with self.engine.connect() as connection:
            return version_of(connection)

    def upgrade(self) -> None:
        """Make the file, or bring it to the version of this code.

        Of any number of processes that start at once one does it, and the
        others wait. Raises NotMigrated for a file of a newer release.
        """
        # For its owner only, as it holds addresses and hashes. SQLite gives
        # the files beside it the same mode.
        os.close(os.open(self._path, os.O_CREAT | os.O_RDONLY, 0o600))
        with self.engine.connect() as connection:
            _use_write_ahead_log(connection)
            behind = is_behind(version_of(connection))
        if not behind:
            return
        altering = _altering_engine(self._url)
        with altering.begin() as connection:
            before = version_of(connection)
            # Asked again inside: another process may have been faster.
            if is_behind(before):
                if inspect(connection).get_table_names():
                    self._keep_copy(before)
                upgrade(connection)
                _check_references(connection)

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """Lend a connection in a transaction that will write.

        A file may be written to again while somebody still reads it who was
        there before, and keeps the answer for all (_open_anew): so after a
        refusal it is tried anew, when they are gone. Nothing was done yet.
        """
        with ExitStack() as ending:
            for pause in REOPENING:
                try:
                    work = ending.enter_context(self._writers.begin())
                    break
                except OperationalError as fault:
                    if not pause or "readonly" not in str(fault.orig):
                        raise
                time.sleep(pause)
            yield work

    def counted(self, connection: Any, table: str) -> int:
        """Return the highest id that a table ever gave, 0 for none."""
        return int(connection.execute(
            text("SELECT seq FROM sqlite_sequence WHERE name = :name"),
            {"name": table}).scalar() or 0)

    def count_on(self, connection: Any, table: str, given: int) -> None:
        """Give no id of a table again up to this one."""
        said = {"name": table, "given": given}
        if not connection.execute(
                text("UPDATE sqlite_sequence SET seq = max(seq, :given) "
                     "WHERE name = :name"), said).rowcount:
            connection.execute(
                text("INSERT INTO sqlite_sequence (name, seq) "
                     "VALUES (:name, :given)"), said)

    def back_up(self, path: str) -> None:
        """Copy the file as it is at this moment, whoever writes meanwhile.

        Whole or not at all, and for its owner only. What was there before is
        replaced; but never the file itself, which servers write to meanwhile.
        """
        if _identity(path) == _identity(self._path):
            raise InvalidInput("the copy would replace the database itself: "
                               "name another file")
        partial = path + ".partial"
        with suppress(FileNotFoundError):
            os.remove(partial)
        os.close(os.open(partial, os.O_CREAT | os.O_WRONLY, 0o600))
        with closing(sqlite3.connect(self._path)) as source, \
                closing(sqlite3.connect(partial)) as copy:
            source.backup(copy)
        os.replace(partial, path)

    def _keep_copy(self, version: Optional[str]) -> None:
        """Copy the file as it is before an upgrade, beside it.

        Called under the write lock, so nothing changes meanwhile; the name
        says which version the copy is of.
        """
        self.back_up("{}.{}".format(self._path, version or "first-release"))


class PostgresServer:
    """A database of a PostgreSQL server, shared by any number of hosts.

    It is upgraded by an administrator, with a role of their own; the role
    that serves only reads and writes rows.
    """

    def __init__(self, url: str, threads: int) -> None:
        """Prepare to use a database with so many threads; connects later."""
        self.engine = create_engine(
            "postgresql+psycopg://" + url.partition("://")[2],
            hide_parameters=True,
            # A lone SELECT needs neither BEGIN nor ROLLBACK around it.
            isolation_level="AUTOCOMMIT", pool_timeout=POOL_SECONDS,
            pool_size=threads, max_overflow=SPARE_CONNECTIONS,
            connect_args=_patience(url))
        event.listen(self.engine, "handle_error", _say_less)
        event.listen(self.engine, "engine_connect", _ping)
        event.listen(self.engine, "begin", _begin)
        if "options" in _patience(url):
            event.listen(self.engine, "connect", _hang_up_on_silence)
        self._writers: Any = self.engine.execution_options(writes=True)
        self._ready = False

    def prepare(self, within: float = 0) -> None:
        """Refuse to serve before the tables are those of this code.

        Raises NotMigrated, which says what to do. Asked until they are, then
        never again: a newer version of the same first number is no trouble.
        """
        if self._ready:
            return
        found = self.version()
        if is_behind(found):
            raise NotMigrated("the database is of version {}, and this "
                              "release needs {}: {}".format(
                                  found or "none", HEAD, UPGRADE))
        self._ready = True

    def version(self) -> Optional[str]:
        """Return the version of the tables, None if there are none yet."""
        with self.engine.connect() as connection:
            return version_of(connection)

    def upgrade(self) -> None:
        """Bring the database to the version of this code, whole or not.

        Of any number of administrators at once, one does it. Gives up rather
        than wait long for a lock, since everybody else would wait behind.
        """
        with self.transaction() as connection:
            connection.execute(text(
                "SELECT pg_advisory_xact_lock({})".format(UPGRADE_LOCK)))
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.info["patient"] = True
            if is_behind(version_of(connection)):
                upgrade(connection)

    def back_up(self, path: str) -> None:
        """Refuse, since PostgreSQL has better tools for it."""
        raise InvalidInput("a PostgreSQL database is backed up by pg_dump "
                           "(docs/operations.md#back-up)")

    def transaction(self) -> Any:
        """Lend a connection in a transaction that will write."""
        return self._writers.begin()

    def counted(self, connection: Any, table: str) -> int:
        """Return the highest id that a table ever gave, 0 for none."""
        return int(connection.execute(text(
            "SELECT CASE WHEN is_called THEN last_value ELSE 0 END "
            "FROM {}_id_seq".format(table))).scalar())  # nosec B608 # ours

    def count_on(self, connection: Any, table: str, given: int) -> None:
        """Give no id of a table again up to this one."""
        connection.execute(text("SELECT setval('{}_id_seq', {:d})".format(
            table, given)))


class Lookup:
    """One SELECT by one value, for what every request asks.

    Compiled once and run on the driver itself, since the layers between take
    several times as long as the database.
    """

    def __init__(self, engine: Any, statement: Any) -> None:
        """Prepare a statement with one parameter that has a name."""
        self._engine = engine
        self._statement = statement
        compiled = statement.compile(dialect=engine.dialect)
        self._name, = compiled.params
        self._text, self._positional = str(compiled), compiled.positional
        self._fault = engine.dialect.dbapi.Error
        # A file has as many connections as one likes, so some are kept here:
        # the pool takes as long as the file. A server does not.
        self._keeps = engine.dialect.name == "sqlite"
        self._kept: List[Any] = []
        event.listen(engine, "handle_error", self._open_anew)

    def first(self, value: str) -> Any:
        """Return the first row, None if there is none.

        What goes wrong on the short way is found out again on the long one,
        which replaces a connection that broke, and says what it is. Raises
        ConnectionError if there is no connection at all.
        """
        kept = self._kept
        connection = self._connection()
        try:
            cursor = connection.cursor()
            cursor.execute(self._text, (value,) if self._positional
                           else {self._name: value})
            found = cursor.fetchone()
        except self._fault:
            self._drop(connection)
        except TimeoutError:
            self._drop(connection)
            raise
        else:
            self._give_back(connection, kept)
            return found
        with self._engine.connect() as another:
            return another.execute(
                self._statement, {self._name: value}).first()

    def close(self) -> None:
        """Close what is kept; the next look-up opens it anew."""
        kept, self._kept = self._kept, []
        while kept:
            kept.pop().close()

    def _open_anew(self, context: Any) -> None:
        """Keep no connection from before a fault."""
        if context.is_disconnect:
            self.close()

    def _connection(self) -> Any:
        """Return a connection that nobody else uses."""
        try:
            return self._kept.pop()
        except IndexError:
            pass  # the first so many, and all to a server
        try:
            connection = self._engine.raw_connection()
        except self._fault as fault:
            raise ConnectionError(str(fault)) from fault
        if self._keeps:
            connection.detach()
        return connection

    def _give_back(self, connection: Any, kept: List[Any]) -> None:
        """Have a connection for the next look-up, the sooner the better.

        Unless all that were kept since it was taken have been closed.
        """
        if self._keeps and kept is self._kept:
            kept.append(connection)
        else:
            connection.close()

    def _drop(self, connection: Any) -> None:
        """Let nobody use a connection that broke."""
        if not self._keeps:
            connection.invalidate()
        connection.close()


Database = Union[SqliteFile, PostgresServer]


def database_of(url: str, threads: int) -> Database:
    """Return the database of a URL, for a process of so many threads."""
    if url.startswith("sqlite:"):
        return SqliteFile(url)
    return PostgresServer(url, threads)


# -- SQLite

def _identity(path: str) -> Optional[Tuple[int, int]]:
    """Tell a file from every other one; None if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _tune(connection: Any, _record: Any) -> None:
    """Set up a fresh SQLite connection."""
    # Python must not open transactions by itself: _begin_immediate decides.
    connection.isolation_level = None
    # FULL: an acknowledged write survives a power cut, not only a crash.
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_immediate(connection: Any) -> None:
    """Take the write lock at once for a transaction that will write.

    One that reads first and writes later fails with "database is locked",
    whatever the timeout. A lone SELECT needs no transaction at all.
    """
    if connection.get_execution_options().get("writes"):
        connection.execute(text("BEGIN IMMEDIATE"))


def _open_anew(context: Any) -> None:
    """Keep no connection from before a fault of the file.

    SQLite asks whether a file is read-only when it opens it, and shares the
    answer between all connections of a process: as long as one is left, none
    would write. A lock is no fault, and neither is a constraint.
    """
    error = context.original_exception
    if type(error) in (sqlite3.DatabaseError, sqlite3.OperationalError) \
            and "locked" not in str(error):
        context.is_disconnect = True  # those in use end with their use
        context.engine.pool.dispose()


def _altering_engine(url: str) -> Any:
    """Return an engine whose transactions may rebuild tables.

    That is how SQLite alters one; with foreign keys on, dropping the old
    `users` would delete whatever hangs off it.
    """
    def tune(connection: Any, _record: Any) -> None:
        """Leave transactions to us, and foreign keys off."""
        connection.isolation_level = None

    engine = create_engine(url, hide_parameters=True, poolclass=NullPool,
                           connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", tune)
    event.listen(engine, "begin", _begin_immediate)
    return engine.execution_options(writes=True)


def _check_references(connection: Any) -> None:
    """Raise unless every row still points at one that is there."""
    broken = connection.execute(text("PRAGMA foreign_key_check")).fetchall()
    if broken:
        raise NotMigrated("the upgrade would have broken {} rows, so nothing "
                          "was changed".format(len(broken)))


def _use_write_ahead_log(connection: Any) -> None:
    """Let readers go on while somebody writes; the file remembers it.

    SQLite's own timeout does not cover this switch: when several processes
    start on a new file, all but one are told "locked" at once.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while connection.execute(
            text("PRAGMA journal_mode")).scalar() != "wal":
        try:
            connection.execute(text("PRAGMA journal_mode=WAL"))
        except OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


# -- PostgreSQL

def _ping(connection: Any) -> None:
    """Notice a server that was restarted before a statement is lost on it.

    Not the pool's own ping: a Lookup takes its connection without one, as it
    would cost as much as the statement, which can be repeated.
    """
    try:
        connection.scalar(text("SELECT 1"))
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        connection.rollback()
        connection.scalar(text("SELECT 1"))  # on a new one
    connection.rollback()  # or what comes next could not begin anything


def _hang_up_on_silence(connection: Any, record: Any) -> None:
    """Have whoever waits for a server wait for so long, and no longer.

    The limits above are the server's: it keeps none of them while its machine
    is suspended or its disk hangs, and the kernel there goes on to say that
    all is well.
    """
    wait = connection.wait

    def wait_in_time(talk: Any, *words: Any, **named: Any) -> Any:
        """Wait for the end of a talk with the server."""
        if not record.info.get("patient"):
            talk = _in_time(talk, connection)
        return wait(talk, *words, **named)
    connection.wait = wait_in_time


def _in_time(talk: Any, connection: Any) -> Any:
    """Go on with a talk, and hang up on a server that is silent.

    Raises TimeoutError.
    """
    until = time.monotonic() + SILENCE_SECONDS
    try:
        wanted = next(talk)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() > until:
                connection.pgconn.finish()
                raise TimeoutError("the database server says nothing")
            wanted = talk.send(ready)
    except StopIteration as done:
        return done.value


def _begin(connection: Any) -> None:
    """Open the transaction of whoever will write."""
    if connection.get_execution_options().get("writes"):
        connection.execute(text("BEGIN"))


def _say_less(context: Any) -> None:
    """Take the row that failed out of an error, and leave the reason.

    PostgreSQL quotes the whole row, with the hash in it, and errors end up in
    logs (Flask-AppBuilder CVE-2023-34110; docs/security.md#secrets).
    """
    error, said = context.original_exception, context.sqlalchemy_exception
    if isinstance(error, TimeoutError):
        context.is_disconnect = True
    reason = getattr(getattr(error, "diag", None), "message_primary", None)
    if reason:
        error.args = (reason,)
        if said is not None:
            said.args = ("({}) {}".format(type(error).__name__, reason),)


def _patience(url: str) -> Dict[str, Any]:
    """Return how long a server may take, but for what the URL says itself.

    A server that is cut off answers nothing at all, so the kernel is told to
    give up on it as well.
    """
    patience: Dict[str, Any] = {
        "application_name": "bienvenue",
        "connect_timeout": CONNECT_SECONDS,
        "tcp_user_timeout": 1000,
        "keepalives_idle": 5, "keepalives_interval": 1,
        "keepalives_count": 3,
        "options": "-c statement_timeout={} -c lock_timeout={}".format(
            STATEMENT_MS, LOCK_MS)}
    said = make_url("postgresql://" + url.partition("://")[2]).query
    return {name: value for name, value in patience.items()
            if name not in said}

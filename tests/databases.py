#!/usr/bin/env python3
"""The databases that tests run on: SQLite files, or a real PostgreSQL.

    TEST_DATABASE=postgresql python -m pytest

starts a server of its own, for this run only, out of the programs that are
installed (on Debian: apt-get install postgresql). A test asks for a database
by a folder, so that whoever shares the folder shares the database, and looks
into it past the service by the functions below.
"""
from __future__ import annotations

import atexit
import hashlib
import os
import pwd
import shutil
import sqlite3
import subprocess
import tempfile
import threading
from contextlib import closing
from functools import lru_cache, partial
from pathlib import Path
from typing import (
    Any, Callable, Dict, List, Optional, Sequence, Tuple, Type)

import pytest

from db import DB
from tests.machine import children, free_port, wait_until
from user import Base

KIND = os.environ.get("TEST_DATABASE", "sqlite")
sqlite_only = pytest.mark.skipif(
    KIND != "sqlite", reason="about a SQLite file")
postgres_only = pytest.mark.skipif(
    KIND != "postgresql", reason="about a PostgreSQL server")
# Held by whoever starts a server of a run; and those, one of a kind.
_STARTING = threading.Lock()
_STARTED: Dict[Type[Postgres], Postgres] = {}


# -- What tests ask for

def url_in(folder: Path, name: str = "server") -> str:
    """Return the URL of a database that belongs to a folder.

    A server's has all tables already; a file makes its own.
    """
    if KIND == "sqlite":
        return "sqlite:///{}".format(folder / (name + ".db"))
    called = "t" + hashlib.sha256(str(folder / name).encode()).hexdigest()[:20]
    return postgres().create(called, template="ready")


def put_tables_in(url: str) -> None:
    """Make the file of a database, with all tables, unless it is there.

    Much quicker than an upgrade; a server's databases have them already.
    """
    path = Path(url.partition(":///")[2])
    if KIND == "sqlite" and not path.exists():
        shutil.copyfile(str(file_with_tables()), str(path))
        path.chmod(0o600)


@lru_cache(maxsize=None)
def file_with_tables() -> Path:
    """Return a SQLite file to copy, made on the first call."""
    folder = Path(tempfile.mkdtemp(prefix="bienvenue-sqlite-"))
    atexit.register(shutil.rmtree, str(folder), ignore_errors=True)
    made = DB("sqlite:///{}".format(folder / "ready.db"), threads=1)
    made.upgrade()
    made.close()
    return folder / "ready.db"


def fresh_url(folder: Path) -> str:
    """Return the URL of a database without rows, the one of this test.

    On a server it is the one of all tests, emptied: that is quicker, unless
    the test before took it apart.
    """
    if KIND == "sqlite":
        return url_in(folder, "test")
    import psycopg

    url = postgres().create("shared", template="ready")
    try:
        postgres().sweeper(url).execute(emptying())
    except (psycopg.errors.UndefinedTable, psycopg.OperationalError):
        postgres().sweeper(url).close()
        postgres().drop("shared")
        postgres().create("shared", template="ready")
    return url


def rows(url: str, sql: str) -> List[Tuple[Any, ...]]:
    """Ask a database something, past the service."""
    with closing(connect(url)) as connection:
        return [tuple(each) for each in connection.execute(sql).fetchall()]


def run(url: str, *statements: str) -> None:
    """Change a database behind the back of the service."""
    with closing(connect(url)) as connection:
        for each in statements:
            connection.execute(each)


def connect(url: str) -> Any:
    """Return a connection of one's own; each statement is done at once."""
    if url.startswith("sqlite"):
        return sqlite3.connect(url.partition(":///")[2], isolation_level=None,
                               check_same_thread=False)
    import psycopg

    return psycopg.connect(url, autocommit=True)


def tables_of(url: str) -> List[str]:
    """Return the names of all tables, sorted."""
    if url.startswith("sqlite"):
        found = rows(url, "SELECT name FROM sqlite_master WHERE type = "
                          "'table' AND name <> 'sqlite_sequence'")
    else:
        found = rows(url, "SELECT tablename FROM pg_tables "
                          "WHERE schemaname = 'public'")
    return sorted(name for name, in found)


def everything(url: str) -> Dict[str, List[Tuple[Any, ...]]]:
    """Return every row of every table, in an order that says nothing."""
    return {name: sorted(rows(url, "SELECT * FROM " + name), key=repr)
            for name in tables_of(url)}


def stored_bytes(url: str) -> bytes:
    """Return all that a database is on the disk, with its log of writes."""
    if url.startswith("sqlite"):
        path = Path(url.partition(":///")[2])
        files = sorted(path.parent.glob(path.name + "*"))
    else:
        return postgres().stored_bytes(url)
    return b"".join(each.read_bytes() for each in files)


@lru_cache(maxsize=None)
def emptying() -> str:
    """Return what deletes every row and counts from 1 again."""
    names = [each.name for each in Base.metadata.sorted_tables]
    counted = [each.name for each in Base.metadata.sorted_tables
               if "id" in each.columns]
    return ";".join(
        ["DELETE FROM " + each for each in reversed(names)]
        + ["SELECT setval('{}_id_seq', 1, false)".format(each)
           for each in counted])


# -- The server

class Postgres:
    """A PostgreSQL server with its data in a folder of its own.

    It trades safety for speed, as nobody needs its data tomorrow.
    """

    settings: Tuple[str, ...] = (
        "max_connections=300", "fsync=off", "synchronous_commit=off",
        "full_page_writes=off", "autovacuum=off", "jit=off")

    def __init__(self, addresses: Sequence[str] = ("127.0.0.1",)) -> None:
        """Make it, to be reached at these addresses, and start it."""
        self._programs = programs()
        self._user = _unprivileged()
        self.folder = Path(tempfile.mkdtemp(prefix="bienvenue-postgres-"))
        self.data = self.folder / "data"
        self.folder.chmod(0o755)
        if self._user:
            os.chown(str(self.folder), self._user.pw_uid, self._user.pw_gid)
        self.port = free_port()
        self._addresses = addresses
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._made: Dict[str, str] = {}
        self._begun: Dict[str, str] = {}
        self._lock = threading.RLock()
        self._sweeper: Any = None
        self._call("initdb", "-D", str(self.data), "-U", "owner", "-A",
                   "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        with (self.data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all samenet trust\n")
        self.start()

    def url(self, name: str, user: str = "owner") -> str:
        """Return the URL of one of its databases."""
        return "postgresql://{}@127.0.0.1:{}/{}".format(user, self.port, name)

    def create(self, name: str, template: str = "template0") -> str:
        """Return the URL of a database, made on the first call.

        The template `ready` has all tables.
        """
        with self._lock:
            if template == "ready" and template not in self._made:
                store = DB(self.create("ready"), threads=1)
                store.upgrade()
                store.close()
            if name not in self._made:
                run(self.url("postgres"),
                    "CREATE DATABASE {} TEMPLATE {}".format(name, template))
                self._made[name] = url = self.url(name)
                (self._begun[url],), = rows(
                    url, "SELECT pg_current_wal_lsn()::text")
            return self._made[name]

    def stored_bytes(self, url: str) -> bytes:
        """Return the files of a database, and the log of writes since it was.

        Other databases write into that log, too.
        """
        run(url, "CHECKPOINT")
        (oid,), = rows(url, "SELECT oid FROM pg_database "
                            "WHERE datname = current_database()")
        (first, offset, last, end), = rows(
            url, "SELECT begun.*, ended.* FROM pg_walfile_name_offset('{}') "
                 "begun, pg_walfile_name_offset(pg_current_wal_lsn()) ended"
                 .format(self._begun[url]))
        # Beyond the end lies what the file was used for before.
        log = [(each.name, each.read_bytes()) for each in sorted(
            (self.data / "pg_wal").iterdir())
            if each.is_file() and first <= each.name <= last]
        said = b"".join(written[:end] if name == last else written
                        for name, written in log)
        return said[offset:] + b"".join(
            each.read_bytes() for each in sorted(
                (self.data / "base" / str(oid)).iterdir()))

    def sweeper(self, url: str) -> Any:
        """Return a connection that is kept, as each costs a process."""
        if self._sweeper is None or self._sweeper.closed:
            self._sweeper = connect(url)
        return self._sweeper

    def drop(self, name: str) -> None:
        """Delete a database, whoever is connected to it."""
        run(self.url("postgres"),
            "DROP DATABASE {} WITH (FORCE)".format(name))
        del self._made[name]

    def start(self) -> None:
        """Start again; return once it answers."""
        options = ["-D", str(self.data), "-p", str(self.port),
                   "-c", "listen_addresses=" + ",".join(self._addresses),
                   "-c", "unix_socket_directories="]
        options += ["--" + each for each in self.settings]
        log = (self.folder / "log").open("ab")
        with log:
            self._process = self._start("postgres", *options, output=log)
        wait_until(self.answers, 30)

    def stop(self, mode: str = "fast") -> None:
        """Stop it, hanging up on everybody; `immediate` is a crash."""
        assert self._process is not None
        self._call("pg_ctl", "stop", "-D", str(self.data), "-m", mode)
        self._process.wait()

    def remove(self) -> None:
        """Stop it for good, and delete its data."""
        if self._sweeper is not None:
            self._sweeper.close()
        if self._process is not None and self._process.poll() is None:
            self.stop("immediate")
        shutil.rmtree(str(self.folder), ignore_errors=True)

    def processes(self) -> List[int]:
        """Return the process ids of it and of all that it started."""
        assert self._process is not None
        return [self._process.pid] + children(self._process.pid)

    def answers(self) -> bool:
        """Tell whether it takes connections."""
        import psycopg

        try:
            return bool(rows(self.url("postgres"), "SELECT 1"))
        except psycopg.OperationalError:
            return False

    def _call(self, program: str, *words: str) -> None:
        """Run one of its programs to the end."""
        log = (self.folder / "log").open("ab")
        with log:
            process = self._start(program, *words, output=log)
            assert process.wait() == 0, (self.folder / "log").read_text()

    def _start(self, program: str, *words: str,
               output: Any) -> subprocess.Popen[bytes]:
        """Start one of its programs; it refuses to be run by root."""
        become: Optional[Callable[[], None]] = None
        if self._user:
            become = partial(_become, self._user)
        return subprocess.Popen(
            [str(self._programs / program)] + list(words), cwd=str(
                self.folder), stdout=output, stderr=output, preexec_fn=become)


def postgres(kind: Type[Postgres] = Postgres) -> Postgres:
    """Return the server of this kind and run, started on the first call.

    Whoever else comes first as well waits for it.
    """
    with _STARTING:
        if kind not in _STARTED:
            _STARTED[kind] = kind()
            atexit.register(_STARTED[kind].remove)
        return _STARTED[kind]


def programs() -> Path:
    """Return the folder of PostgreSQL's programs, the newest there is."""
    found = [Path(each).parent for each in [shutil.which("initdb")] if each]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"),
                    key=lambda each: int(each.parent.name), reverse=True)
    for folder in found:
        if (folder / "initdb").exists():
            return folder
    raise AssertionError("PostgreSQL is not installed; on Debian: "
                         "apt-get install postgresql")


def _unprivileged() -> Optional[pwd.struct_passwd]:
    """Return whom root becomes to run PostgreSQL; None for anybody else."""
    return pwd.getpwnam("nobody") if os.getuid() == 0 else None


def _become(user: pwd.struct_passwd) -> None:
    """Give root's rights away, in the child process."""
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)

#!/usr/bin/env python3
"""Many accounts and sessions at once, each of which can be signed in to.

Rows are written past the service, by what each database has for it, but into
tables that the service made. Everything about an account follows from its
number, so whoever measures knows every token without asking.
"""
from __future__ import annotations

import hashlib
import sqlite3
import time
from contextlib import closing, contextmanager
from typing import Any, Dict, Iterator, List, NamedTuple, Tuple

import bcrypt

from benchmarks.limits import floor
from db import DB

# Fit for the rules of every peer.
PASSWORD = "Tartiflette au 1er reblochon"
LIFE = 30 * 86400
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140"
TABLES: Dict[str, str] = {
    "users": "id, email, hashed_password, session_id",
    "accounts": "user_id, created_at, verified_at, password_changed_at",
    "sessions": "id, user_id, digest, opened_at, seen_at, expires_at, "
                "user_agent, network"}


def email(number: int) -> str:
    """Return the address of an account; they count from 1."""
    return "user{}@example.com".format(number)


def token(number: int) -> str:
    """Return what the bearer of a session presents; they count from 1."""
    return "{:08x}-0000-4000-8000-{:012x}".format(number, number)


def digest(number: int) -> str:
    """Return the form in which that is stored."""
    return hashlib.sha256(token(number).encode()).hexdigest()


class Crowd(NamedTuple):
    """So many users, with so many sessions each."""

    users: int
    sessions: int = 1
    cost: int = 12

    def rows(self) -> Iterator[Tuple[str, Iterator[Tuple[Any, ...]]]]:
        """Yield each table with its rows, in the order of TABLES."""
        now, numbers = int(time.time()), range(1, self.users + 1)
        hashed = bcrypt.hashpw(
            PASSWORD.encode(), bcrypt.gensalt(self.cost)).decode()
        yield "users", ((each, email(each), hashed, digest(each))
                        for each in numbers)
        yield "accounts", ((each, now, now, now) for each in numbers)
        yield "sessions", (
            (each, (each - 1) % self.users + 1, digest(each), now, now,
             now + LIFE, AGENT, "203.0.113.7")
            for each in range(1, self.users * self.sessions + 1))

    def spread(self, count: int) -> List[str]:
        """Return tokens from all over the table of sessions."""
        every = self.users * self.sessions
        count = min(count, every)
        return [token(1 + place * every // count) for place in range(count)]

    def emails(self, count: int) -> List[str]:
        """Return addresses from all over the table of users."""
        count = min(count, self.users)
        return [email(1 + place * self.users // count)
                for place in range(count)]


def seed(url: str, crowd: Crowd) -> None:
    """Fill the empty database of a URL, whose tables are made if need be."""
    if url.startswith("sqlite"):
        store = DB(url)
        store.prepare()
        store.close()  # who writes quickly has to be alone
        fill_file(url.partition(":///")[2], crowd)
    else:
        fill_server(url, crowd)


def fill_file(path: str, crowd: Crowd) -> None:
    """Write the rows into a SQLite file; a crash meanwhile would ruin it."""
    with quick_connection(path) as connection:
        for table, rows in crowd.rows():
            names = TABLES[table]
            connection.executemany("INSERT INTO {} ({}) VALUES ({})".format(
                table, names, ", ".join("?" * len(names.split(",")))), rows)


def fill_server(url: str, crowd: Crowd) -> None:
    """Write the rows into PostgreSQL, and have it look at them."""
    import psycopg

    with closing(psycopg.connect(url, autocommit=True)) as connection:
        cursor = connection.cursor()
        for table, rows in crowd.rows():
            with cursor.copy("COPY {} ({}) FROM STDIN".format(
                    table, TABLES[table])) as copy:
                for row in rows:
                    copy.write_row(row)
        for table in ("users", "sessions"):
            cursor.execute("SELECT setval('{0}_id_seq', max(id)) FROM {0}"
                           .format(table))
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")


def fill_floor(path: str, users: int, students: bool = False) -> None:
    """Make the file of the bare look-up, or of the student's walk."""
    numbers = range(1, users + 1)
    with quick_connection(path) as connection:
        connection.executescript(floor.SCHEMA)
        if students:
            connection.executemany(
                "INSERT INTO students VALUES (?, ?, ?)",
                ((each, email(each), token(each)) for each in numbers))
        else:
            connection.executemany("INSERT INTO users VALUES (?, ?)", (
                (each, email(each)) for each in numbers))
            connection.executemany("INSERT INTO sessions VALUES (?, ?)", (
                (token(each), each) for each in numbers))


@contextmanager
def quick_connection(path: str) -> Iterator[sqlite3.Connection]:
    """Open a file in a way that trades safety for speed, and leave it safe."""
    with closing(sqlite3.connect(path)) as connection:
        for each in ("journal_mode=OFF", "synchronous=OFF",
                     "cache_size=-500000"):
            connection.execute("PRAGMA " + each)
        yield connection
        connection.commit()
        connection.execute("PRAGMA journal_mode=WAL")

#!/usr/bin/env python3
"""The store: one class, a closed set of verbs for any number of tables.

Tables grow, verbs do not. Each verb is safe alone; inside `transaction()`
several happen together or not at all. Nothing is kept between calls: no ORM
session, no open transaction, no live row.
"""
from __future__ import annotations

import os
import threading
import time
import weakref
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Optional, Tuple, Type, TypeVar

from sqlalchemy import create_engine, event, inspect, text
from sqlalchemy.exc import (
    DataError, DBAPIError, IntegrityError, InvalidRequestError,
    OperationalError, ProgrammingError, TimeoutError as PoolTimeout)
from sqlalchemy.orm import sessionmaker
from sqlalchemy.orm.exc import NoResultFound  # type: ignore[attr-defined]
from sqlalchemy.pool import QueuePool

from errors import EmailTaken, Unavailable
from models import Account, Session
from settings import Settings
from user import Base, User, canonical_email

Row = TypeVar("Row")
# How long a writer waits for another before the caller is told to come back.
BUSY_SECONDS = 5


class DB:
    """Users and what hangs off them, in one SQLite file.

    Every verb raises Unavailable when the store cannot serve: locked for
    longer than 5 s, full, unreadable. It recovers by itself. Safe to share
    between threads; building one touches no file.
    """

    def __init__(self, url: Optional[str] = None) -> None:
        """Prepare to use the database of `url`, by default DATABASE_URL."""
        self._engine = create_engine(
            url or Settings.from_env().database_url,
            # Parameters are hashes and digests: keep them out of tracebacks.
            hide_parameters=True,
            # One pool for both ends of SQLAlchemy. A connection is used by
            # one thread at a time, which is all that SQLite asks for.
            poolclass=QueuePool, pool_size=20, max_overflow=30,
            pool_timeout=BUSY_SECONDS,
            connect_args={"timeout": BUSY_SECONDS,
                          "check_same_thread": False})
        # Nobody has to close a store: its connections end with it.
        weakref.finalize(self, self._engine.dispose)
        event.listen(self._engine, "connect", _tune)
        event.listen(self._engine, "begin", _begin)
        self._sessions = sessionmaker(
            bind=self._engine, expire_on_commit=False)
        self._schema_lock = threading.Lock()
        self._file: Optional[Tuple[int, int]] = None
        self._open = threading.local()

    # -- The card's verbs

    def add_user(self, email: str, hashed_password: str,
                 now: Optional[int] = None) -> User:
        """Save a new user, with an account opened `now`, and return it.

        The address is stored in its canonical form. Raises EmailTaken when
        it has an account, however many ask at once: the UNIQUE constraint
        decides, not a look beforehand.
        """
        opened = int(time.time()) if now is None else now
        user = User(email=canonical_email(email),
                    hashed_password=hashed_password)
        try:
            with self.transaction():
                self.add(user)
                self.add(Account(user_id=user.id, created_at=opened,
                                 password_changed_at=opened))
        except IntegrityError as error:
            raise EmailTaken(email) from error
        return user

    def find_user_by(self, **criteria: Any) -> User:
        """Return the first user that matches every criterion.

        Raises NoResultFound when there is none, and InvalidRequestError, of
        which the former is a subclass, for an unknown attribute or no
        criterion at all. None as a value means NULL: refuse a missing token
        before asking.
        """
        if not criteria:
            raise InvalidRequestError("find_user_by needs a criterion")
        with self._work() as work:
            user: Optional[User] = work.query(User).filter_by(
                **_canonical(criteria)).order_by(User.id).first()
        if user is None:
            raise NoResultFound("no user matches")
        return user

    def update_user(self, user_id: int, **values: Any) -> None:
        """Change attributes of one user, all or none of them.

        Raises ValueError for a name that is no column of users,
        NoResultFound for an unknown id, and EmailTaken, a ValueError too, for
        the address of somebody else.
        """
        for name in values:
            if name not in User.__table__.columns:
                raise ValueError("{} is not a user attribute".format(name))
        try:
            with self.transaction():
                self.find_user_by(id=user_id)
                if values:
                    self.change(User, {"id": user_id}, **_canonical(values))
        except IntegrityError as error:
            if "email" not in values:
                raise
            raise EmailTaken(values["email"]) from error

    # -- The vocabulary for every table

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make everything inside happen or not happen, together.

        Joins the transaction this thread has open, if any. Leaving with an
        exception undoes everything. Writers of one file take turns, so keep
        it short and never hash a password inside.
        """
        with self._work(writes=True):
            yield

    def add(self, row: Row) -> Row:
        """Save a row and return it with its id."""
        with self._work(writes=True) as work:
            work.add(row)
            work.flush()
        return row

    def add_missing(self, row: Any) -> None:
        """Save a row unless there is one with its key."""
        values = {each.key: getattr(row, each.key)
                  for each in row.__table__.columns}
        with self._work(writes=True) as work:
            work.execute(row.__table__.insert().prefix_with("OR IGNORE"),
                         values)

    def find(self, table: Type[Row], **match: Any) -> Optional[Row]:
        """Return the row that matches, or None; match on unique columns."""
        with self._work() as work:
            row: Optional[Row] = work.query(table).filter_by(**match).first()
        return row

    def find_all(self, table: Type[Row], *conditions: Any,
                 limit: Optional[int] = None, **match: Any) -> List[Row]:
        """Return the rows that match, in the order of their keys.

        A condition is a comparison with a column, as in `Entry.at < now`.
        """
        with self._work() as work:
            rows: List[Row] = work.query(table).filter(
                *conditions).filter_by(**match).order_by(
                *inspect(table).primary_key).limit(limit).all()
        return rows

    def find_session(self, digest: str) -> Optional[Tuple[Session, User]]:
        """Return a session and its user, live or not, in one statement."""
        with self._work() as work:
            found = work.query(Session, User).join(
                User, User.id == Session.user_id).filter(
                Session.digest == digest).first()
        return None if found is None else (found[0], found[1])

    def change(self, table: Type[Row], match: Dict[str, Any],
               *conditions: Any, **values: Any) -> int:
        """Set values in the rows that match, and return how many there were.

        One statement, so that compare-and-set is `change(...) == 1`: of any
        number of callers who match the old value, one wins.
        """
        with self._work(writes=True) as work:
            return int(work.query(table).filter(*conditions).filter_by(
                **match).update(values, synchronize_session=False))

    def delete(self, table: Type[Row], *conditions: Any,
               **match: Any) -> int:
        """Delete the rows that match, and return how many there were.

        One statement: of any number of callers who delete the same row, one
        gets 1 and the others 0.
        """
        with self._work(writes=True) as work:
            return int(work.query(table).filter(*conditions).filter_by(
                **match).delete(synchronize_session=False))

    def close(self) -> None:
        """Give back every connection; the next verb opens new ones."""
        self._engine.dispose()

    # -- Inside

    @contextmanager
    def _work(self, writes: bool = False) -> Iterator[Any]:
        """Lend an ORM session: the open transaction's, or one of its own.

        Typed Any, because columns are typed as the values of a row. Rows that
        leave the block are values, also in mid-transaction.
        """
        joined = getattr(self._open, "work", None)
        if joined is not None:
            yield joined
            joined.expunge_all()
            return
        with _faults():
            self._ensure_schema()
            work = self._sessions()
            try:
                if writes:
                    work.connection(execution_options={"writes": True})
                    self._open.work = work
                yield work
                if writes:
                    work.commit()
            finally:
                self._open.work = None
                work.close()

    def _ensure_schema(self) -> None:
        """Make the file ready to serve, once in this process.

        Afterwards, refuse to serve while it is gone or replaced: our
        connections would go on writing into the deleted file, and what was
        acknowledged would be lost. Put it back, or restart.
        """
        path = str(self._engine.url.database)
        if self._file is not None:
            if self._file != _identity(path):
                raise FileNotFoundError(
                    "the database file was moved, deleted or replaced")
            return
        with self._schema_lock:
            # For its owner only, as it holds addresses and hashes. SQLite
            # gives the files beside it the same mode.
            os.close(os.open(path, os.O_CREAT | os.O_RDONLY, 0o600))
            with self._engine.connect() as connection:
                _use_write_ahead_log(connection)
                found = inspect(connection).get_table_names()
            if not set(Base.metadata.tables) <= set(found):
                # Looked up again inside: another process may be faster.
                writer = self._engine.execution_options(writes=True)
                with writer.begin() as connection:
                    Base.metadata.create_all(connection)
            self._file = _identity(path)


def _identity(path: str) -> Optional[Tuple[int, int]]:
    """Tell a file from every other one; None if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _tune(connection: Any, _record: Any) -> None:
    """Set up a fresh SQLite connection."""
    # Python must not open transactions by itself: _begin decides.
    connection.isolation_level = None
    # FULL: an acknowledged write survives a power cut, not only a crash.
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin(connection: Any) -> None:
    """Take the write lock at once for a transaction that will write.

    One that reads first and writes later fails with "database is locked",
    whatever the timeout. A lone SELECT needs no transaction at all.
    """
    if connection.get_execution_options().get("writes"):
        connection.execute(text("BEGIN IMMEDIATE"))


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


@contextmanager
def _faults() -> Iterator[None]:
    """Turn a store that cannot serve into Unavailable, and only that.

    A constraint or a mistake of ours is not a fault of the store.
    """
    try:
        yield
    except (IntegrityError, DataError, ProgrammingError):
        raise
    except (DBAPIError, PoolTimeout, OSError) as fault:
        raise Unavailable() from fault


def _canonical(values: Dict[str, Any]) -> Dict[str, Any]:
    """Return the values with an address among them in canonical form."""
    if isinstance(values.get("email"), str):
        return dict(values, email=canonical_email(values["email"]))
    return values

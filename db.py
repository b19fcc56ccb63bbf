#!/usr/bin/env python3
"""The store: one class, a closed set of verbs for any number of tables.

Tables grow, verbs do not. Each verb is safe alone; inside `transaction()`
several happen together or not at all. Nothing is kept between calls: no ORM
session, no open transaction, no live row.
"""
from __future__ import annotations

import threading
import time
import weakref
from contextlib import contextmanager
from typing import (
    Any, Dict, Iterable, Iterator, List, Optional, Tuple, Type, TypeVar)

from sqlalchemy import and_, bindparam, func, inspect, true
from sqlalchemy.exc import (
    DataError, DBAPIError, IntegrityError, InvalidRequestError,
    ProgrammingError, TimeoutError as PoolTimeout)
from sqlalchemy.orm.exc import NoResultFound  # type: ignore[attr-defined]

import statements
from engines import Lookup, database_of
from errors import EmailTaken, Unavailable
from models import Account, Session, Visit
from settings import Settings
from statements import made, query
from user import Base, User, canonical_email

Row = TypeVar("Row")
# How many rows are looked at before others have their turn.
STEP = 1000
# How often look-ups make sure that the file is still there, in seconds: the
# question costs as much as the look-up itself when many ask.
LOOK_EVERY = 0.01
# What PostgreSQL says when a table is not there, or not for us.
SHUT = ("42P01", "42501")
# A session by its digest and what is said of its user, unless that is
# disabled: asked at every look-up, so that it holds at once and whatever was
# going on meanwhile. As SQL, not as objects: see Lookup.
_TABLES: Any = (Session, User, Account)
_SESSION, _USER, _ACCOUNT = _TABLES
VISIT: Any = query([
    _SESSION.id, _SESSION.user_id, _SESSION.opened_at, _SESSION.seen_at,
    _SESSION.expires_at, _SESSION.user_agent, _SESSION.network, _USER.email,
    _ACCOUNT.verified_at]).join(
        User, _USER.id == _SESSION.user_id).outerjoin(
        Account, _ACCOUNT.user_id == _USER.id).filter(
        _SESSION.digest == bindparam("digest"),
        _ACCOUNT.disabled_at.is_(None)).statement
# Every user with what else is known of them.
ACCOUNTS: Any = query([User, Account]).outerjoin(
    Account, _ACCOUNT.user_id == _USER.id).order_by(_USER.id).statement
# A user by their id, held until the transaction ends.
HOLD: Any = query([_USER.id]).filter(
    _USER.id == bindparam("id")).with_for_update().statement


class DB:
    """Users and what hangs off them, in SQLite or PostgreSQL.

    Every verb raises Unavailable when the store cannot serve: locked for too
    long, full, unreadable, down. It recovers by itself. Safe to share between
    threads; building one touches no file and connects to nothing.
    """

    def __init__(self, url: Optional[str] = None,
                 threads: Optional[int] = None) -> None:
        """Prepare to use the database of `url`, by default DATABASE_URL.

        `threads` is how many of this process may be at work at once, by
        default THREADS.
        """
        settings = Settings.from_env() if url is None else Settings()
        self._database = database_of(url or settings.database_url,
                                     threads or settings.threads)
        self._visits = Lookup(self._database.engine, VISIT)
        # Nobody has to close a store: its connections end with it.
        for each in (self._database.engine.dispose, self._visits.close):
            weakref.finalize(self, each)
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
            if not _is_taken(error):
                raise
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
        statement = query([_USER]).filter_by(
            **_canonical(criteria)).order_by(_USER.id).limit(1).statement
        with self._work() as work:
            found = work.execute(statement).first()
        if found is None:
            raise NoResultFound("no user matches")
        return made(User, found)

    def add_users(self, people: Iterable[Dict[str, Any]]) -> int:
        """Save many users with their accounts; return how many were new.

        Each has `email` in canonical form, `hashed_password` and the columns
        of an account but for its id. Whoever has one of the addresses is left
        as they are, and so is the first of several with one. Raises
        EmailTaken, and saves nobody, if one of them is registered in this
        very moment: try again.
        """
        sent: Dict[str, Dict[str, Any]] = {}
        for each in people:
            sent.setdefault(each["email"], each)
        try:
            with self._work(writes=True) as work:
                known = _ids_of(work, sent)
                new = [each for each in sent.values()
                       if each["email"] not in known]
                if new:
                    _insert(work, User, new)
                    ids = _ids_of(work, sent)
                    _insert(work, Account, [
                        dict(each, user_id=ids[each["email"]])
                        for each in new])
        except IntegrityError as error:
            if not _is_taken(error):
                raise
            raise EmailTaken("of one of these addresses") from error
        return len(new)

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
            if not _is_taken(error):
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
            done = work.execute(*statements.insert(row))
        for key, value in zip(_keys(type(row)), done.inserted_primary_key):
            setattr(row, key.key, value)
        return row

    def add_all(self, table: Any, rows: List[Dict[str, Any]]) -> None:
        """Save many rows at once, given by their columns."""
        with self._work(writes=True) as work:
            _insert(work, table, rows)

    def add_missing(self, row: Any) -> bool:
        """Save a row unless there is one with its key; tell if so."""
        with self._work(writes=True) as work:
            return bool(work.execute(*statements.insert_missing(
                row, work.dialect.name)).rowcount)

    def find(self, table: Type[Row], **match: Any) -> Optional[Row]:
        """Return the row that matches, or None; match on unique columns."""
        with self._work() as work:
            found = work.execute(*statements.select(table, match)).first()
        return None if found is None else made(table, found)

    def find_all(self, table: Type[Row], *conditions: Any,
                 limit: Optional[int] = None, **match: Any) -> List[Row]:
        """Return the rows that match, in the order of their keys.

        A condition is a comparison with a column, as in `Entry.at < now`.
        """
        with self._work() as work:
            found = work.execute(*statements.select(
                table, match, conditions, limit)).fetchall()
        return [made(table, each) for each in found]

    def stretches(self, table: Any, rows: int = STEP) -> Iterator[Any]:
        """Yield conditions that part a table into so many rows each.

        In the order of keys. Whatever is done to all rows is done to one
        stretch after the other, so that nobody waits for the whole.
        """
        key, = _keys(table)
        after = None
        while True:
            beyond = key.isnot(None) if after is None else key > after
            statement = query([key]).filter(beyond).order_by(key).offset(
                rows - 1).limit(1).statement
            with self._work() as work:
                last = work.execute(statement).scalar()
            if last is None:
                yield beyond
                return
            yield beyond & (key <= last)
            after = last

    def count(self, table: Type[Row], *conditions: Any) -> int:
        """Return how many rows match; costs a look at each of them."""
        statement = query([func.count()]).select_from(table).filter(
            *conditions).statement
        with self._work() as work:
            return int(work.execute(statement).scalar())

    def least(self, column: Any, *conditions: Any) -> Any:
        """Return the least value of a column in the rows that match.

        None if there is none.
        """
        statement = query([func.min(column)]).filter(*conditions).statement
        with self._work() as work:
            return work.execute(statement).scalar()

    def find_last(self, table: Type[Row], count: int, *conditions: Any,
                  **match: Any) -> List[Row]:
        """Return the rows with the highest keys, in the order of those."""
        statement, values = statements.select(table, match, conditions, count)
        with self._work() as work:
            found = work.execute(statement.order_by(None).order_by(
                *(each.desc() for each in _keys(table))), values).fetchall()
        return [made(table, each) for each in found[::-1]]

    def find_accounts(self, *conditions: Any, limit: Optional[int] = None
                      ) -> List[Tuple[User, Account]]:
        """Return the users that match with their accounts, in order of ids.

        The account of one who was put there by another hand is blank.
        """
        with self._work() as work:
            found = work.execute(ACCOUNTS.where(and_(true(), *conditions)
                                                ).limit(limit)).fetchall()
        return [_person(each) for each in found]

    def find_visit(self, digest: str) -> Optional[Visit]:
        """Return the session of a digest and whose it is, live or not.

        None where the user is disabled. One statement on the shortest way:
        it joins no transaction.
        """
        with FAULTS:
            self._database.prepare(LOOK_EVERY)
            found = self._visits.first(digest)
        return None if found is None else Visit(*found)

    def hold(self, user_id: int) -> bool:
        """Let nobody else change a user until the transaction ends.

        Whatever changes several things of a user does this first, or changes
        the user first, so that two who do it at once take turns, and never
        wait for each other. False if the user is gone.
        """
        with self._work(writes=True) as work:
            return work.execute(HOLD, {"id": user_id}).first() is not None

    def change(self, table: Type[Row], match: Dict[str, Any],
               *conditions: Any, **values: Any) -> int:
        """Set values in the rows that match, and return how many there were.

        One statement, so that compare-and-set is `change(...) == 1`: of any
        number of callers who match the old value, one wins.
        """
        with self._work(writes=True) as work:
            return int(work.execute(*statements.update(
                table, match, conditions, values)).rowcount)

    def delete(self, table: Type[Row], *conditions: Any,
               **match: Any) -> int:
        """Delete the rows that match, and return how many there were.

        One statement: of any number of callers who delete the same row, one
        gets 1 and the others 0.
        """
        with self._work(writes=True) as work:
            return int(work.execute(*statements.delete(
                table, match, conditions)).rowcount)

    def counted(self, table: Any) -> int:
        """Return the highest id that a table ever gave, 0 for none."""
        with self._work() as work:
            return self._database.counted(work, table.__tablename__) \
                if "id" in table.__table__.columns else 0

    def count_on(self, table: Any, given: int) -> None:
        """Give no id again up to this one, were its row deleted since."""
        if given:
            with self._work(writes=True) as work:
                self._database.count_on(work, table.__tablename__, given)

    def purge(self, table: Any, *conditions: Any) -> int:
        """Delete the rows that match, and return how many there were.

        In steps that hold up nobody, each a transaction of its own.
        """
        return sum(self.delete(table, stretch, *conditions)
                   for stretch in self.stretches(table))

    def check(self) -> None:
        """Raise Unavailable unless somebody could write something now."""
        with self._work(writes=True) as work:
            work.execute(HOLD, {"id": 0})

    def knows_schema(self) -> bool:
        """Tell whether every table that we may need is there."""
        with self._work() as work:
            found = inspect(work).get_table_names()
        return set(Base.metadata.tables) <= set(found)

    def close(self) -> None:
        """Give back every connection; the next verb opens new ones."""
        self._visits.close()
        self._database.engine.dispose()

    # -- The database itself

    def prepare(self) -> None:
        """Make sure that the database can serve.

        Raises NotMigrated, which says what an administrator has to do.
        """
        with FAULTS:
            self._database.prepare()

    def version(self) -> Optional[str]:
        """Return the version of the database, None if it has no tables."""
        with FAULTS:
            return self._database.version()

    def upgrade(self) -> None:
        """Bring the database to the version of this code, whole or not."""
        with FAULTS:
            self._database.upgrade()

    def back_up(self, path: str) -> None:
        """Copy a SQLite file as it is at this moment, while it is in use.

        Raises InvalidInput for a PostgreSQL database, and for a path that is
        the file itself.
        """
        with FAULTS:
            self._database.prepare()
            self._database.back_up(path)

    # -- Inside

    @contextmanager
    def _work(self, writes: bool = False) -> Iterator[Any]:
        """Lend a connection: the open transaction's, or one of its own.

        Typed Any, because the two ends of SQLAlchemy type it differently.
        """
        joined = getattr(self._open, "work", None)
        if joined is not None:
            yield joined
            return
        with FAULTS:
            self._database.prepare()
            if not writes:
                with self._database.engine.connect() as work:
                    yield work
                return
            with self._database.transaction() as work:
                self._open.work = work
                try:
                    yield work
                finally:
                    self._open.work = None


class _Faults:
    """Turns a store that cannot serve into Unavailable, and only that.

    A constraint or a mistake of ours is not a fault of the store; a table
    that is gone or shut to us is.
    """

    def __enter__(self) -> None:
        """Begin to look."""

    def __exit__(self, _kind: object, fault: Optional[BaseException],
                 _trace: object) -> None:
        """Raise Unavailable if it was the store's fault."""
        if isinstance(fault, ProgrammingError):
            shut = getattr(fault.orig, "sqlstate", None) in SHUT
        else:
            shut = isinstance(fault, (DBAPIError, PoolTimeout, OSError)) \
                and not isinstance(fault, (IntegrityError, DataError))
        if shut:
            raise Unavailable() from fault


# One for all: a generator would cost a look-up a tenth of its time.
FAULTS = _Faults()


def _is_taken(error: IntegrityError) -> bool:
    """Tell whether it was the address that broke a constraint.

    As SQLite says it, or PostgreSQL.
    """
    said = str(error.orig)
    return "UNIQUE constraint failed: users.email" in said \
        or '"users_email_key"' in said


def _keys(table: Any) -> Tuple[Any, ...]:
    """Return the columns by which a table's rows are told apart."""
    return tuple(table.__table__.primary_key)


def _person(values: Any) -> Tuple[User, Account]:
    """Return a row of ACCOUNTS as a user and their account."""
    width = len(statements.columns(User))
    user, account = values[:width], values[width:]
    return made(User, user), (
        Account(user_id=user[0]) if account[0] is None
        else made(Account, account))


def _ids_of(work: Any, emails: Iterable[str]) -> Dict[str, int]:
    """Return the ids of those addresses that have a user."""
    column: Any = User.email
    return dict(work.execute(query([_USER.email, _USER.id]).filter(
        column.in_(list(emails))).statement).fetchall())


def _insert(work: Any, table: Any, rows: List[Dict[str, Any]]) -> None:
    """Save many rows at once, by those of the values that are columns."""
    names = [each for each in table.__table__.columns.keys()
             if each in rows[0]]
    work.execute(table.__table__.insert(), [
        {name: row[name] for name in names} for row in rows])


def _canonical(values: Dict[str, Any]) -> Dict[str, Any]:
    """Return the values with an address among them in canonical form."""
    if isinstance(values.get("email"), str):
        return dict(values, email=canonical_email(values["email"]))
    return values

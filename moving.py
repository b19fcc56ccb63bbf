#!/usr/bin/env python3
"""Moving house: everything of one database into another, and proof of it.

Nothing is changed on the way: passwords, sessions, mailed links and devices
go on working, and ids stay what they are. Whoever moves stops the servers
first, since what is written to the old database afterwards stays there.
"""
from __future__ import annotations

import functools
import hashlib
from typing import Any, Callable, Dict, Iterator, List, NamedTuple

from db import DB
from errors import InvalidInput
from user import Base

# Rows on their way at once.
LOAD = 5000


class Contents(NamedTuple):
    """How many rows a table has, and a digest of them in whatever order."""

    rows: int
    digest: int

    def with_page(self, page: List[Dict[str, Any]]) -> Contents:
        """Return what it is with these rows as well.

        A sum, since two databases do not order text alike.
        """
        return Contents(self.rows + len(page),
                        (self.digest + _digest(page)) % 2 ** 256)


NOTHING = Contents(0, 0)


class Table(NamedTuple):
    """What became of a table."""

    name: str
    rows: int


def move(source: DB, target: DB, progress: Callable[[str, int], None]
         ) -> List[Table]:
    """Copy every row of a store into another, and compare them.

    All or nothing: in one transaction, undone if a row differs at its end.
    Raises InvalidInput if there is anybody in the target already, so that
    nothing is ever written over. `progress` is told a table and how many rows
    more were copied.
    """
    target.upgrade()
    # The first keeps a server that was forgotten from writing meanwhile.
    with source.transaction(), target.transaction():
        moved = []
        for table in tables():
            if next(pages(target, table), None):
                raise InvalidInput("the database to move to is not empty: "
                                   "make a new one")
            sent = _copy(source, target, table, progress)
            if contents(target, table) != sent:
                raise InvalidInput(
                    "table {} arrived differently, so nothing was moved"
                    .format(table.__tablename__))
            target.count_on(table, source.counted(table))
            moved.append(Table(table.__tablename__, sent.rows))
        return moved


def tables() -> List[Any]:
    """Return the class of every table, those that others point at first."""
    order = [each.name for each in Base.metadata.sorted_tables]
    return sorted(Base.__subclasses__(),
                  key=lambda each: order.index(each.__tablename__))


def pages(store: DB, table: Any) -> Iterator[List[Dict[str, Any]]]:
    """Yield the rows of a table as dictionaries, so many at once."""
    names = [each.key for each in table.__table__.columns]
    for stretch in store.stretches(table, LOAD):
        found = store.find_all(table, stretch)
        if found:
            yield [{name: getattr(row, name) for name in names}
                   for row in found]


def contents(store: DB, table: Any) -> Contents:
    """Return what a table holds, to compare it with another's."""
    return functools.reduce(Contents.with_page, pages(store, table), NOTHING)


def _copy(source: DB, target: DB, table: Any,
          progress: Callable[[str, int], None]) -> Contents:
    """Copy one table, and return what was sent."""
    sent = NOTHING
    for page in pages(source, table):
        target.add_all(table, page)
        sent = sent.with_page(page)
        progress(table.__tablename__, len(page))
    return sent


def _digest(page: List[Dict[str, Any]]) -> int:
    """Return the sum of the digests of some rows."""
    return sum(int.from_bytes(hashlib.sha256(
        repr(sorted(row.items())).encode()).digest(), "big") for row in page)

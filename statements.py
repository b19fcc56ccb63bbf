#!/usr/bin/env python3
"""Statements about one table, each built once for each shape of a question.

Building one takes several times as long as running it. So what is asked with
other values each time is built with parameters and kept; what is asked by a
comparison is that, with the comparison added. Each function returns what
`execute()` takes: a statement, and its parameters.
"""
from __future__ import annotations

from functools import lru_cache
from typing import (
    Any, Callable, Dict, Iterable, List, Optional, Tuple, Type, TypeVar, cast)

from sqlalchemy import and_, bindparam, true
from sqlalchemy.orm import Query
from sqlalchemy.sql import ClauseElement

Row = TypeVar("Row")
Values = Dict[str, Any]
Asked = Tuple[Any, Values]
Conditions = Tuple[Any, ...]
# The columns that are compared, each with whether it is with NULL.
Shape = Tuple[Tuple[str, bool], ...]
Build = TypeVar("Build", bound=Callable[..., Any])
# Of columns of several tables; typed for the rows of a session otherwise.
query: Any = Query


def _once(build: Build) -> Build:
    """Keep what was built for each combination of arguments."""
    return cast(Build, lru_cache(maxsize=None)(build))


# -- What is asked

def select(table: Any, match: Values, conditions: Conditions = (),
           limit: Optional[int] = None) -> Asked:
    """Find the rows that match, in the order of their keys."""
    statement = _also(_select(table, _shape(match)), conditions)
    return (statement if limit is None else statement.limit(limit),
            _compared(match))


def update(table: Any, match: Values, conditions: Conditions,
           values: Values) -> Asked:
    """Set columns of the rows that match, to values or what is computed."""
    computed = {name: value for name, value in values.items()
                if isinstance(value, ClauseElement)}
    constant = {name: value for name, value in values.items()
                if name not in computed}
    statement = _update(table, _shape(match), tuple(constant))
    if computed:
        statement = statement.values(computed)
    parameters = {"to_" + name: value for name, value in constant.items()}
    return (_also(statement, conditions),
            dict(_compared(match), **parameters))


def delete(table: Any, match: Values, conditions: Conditions) -> Asked:
    """Delete the rows that match."""
    return (_also(_delete(table, _shape(match)), conditions),
            _compared(match))


def insert(row: Any) -> Asked:
    """Add a row."""
    return row.__table__.insert(), _values(row)


def insert_missing(row: Any, dialect: str) -> Asked:
    """Add a row unless there is one with its key."""
    return _insert_missing(type(row), dialect), _values(row)


def made(table: Type[Row], values: Iterable[Any]) -> Row:
    """Return what was read from a table as one of its rows."""
    row = table()
    vars(row).update(zip(columns(table), values))
    return row


@_once
def columns(table: Any) -> List[str]:
    """Return the names of a table's columns, in their order."""
    return list(table.__table__.columns.keys())


# -- What is built

@_once
def _select(table: Any, shape: Shape) -> Any:
    """Return the statement that finds rows."""
    return table.__table__.select().where(_equal(table, shape)).order_by(
        *table.__table__.primary_key)


@_once
def _update(table: Any, shape: Shape, names: Tuple[str, ...]) -> Any:
    """Return the statement that sets columns of rows."""
    return table.__table__.update().where(_equal(table, shape)).values(
        {name: bindparam("to_" + name) for name in names})


@_once
def _delete(table: Any, shape: Shape) -> Any:
    """Return the statement that deletes rows."""
    return table.__table__.delete().where(_equal(table, shape))


@_once
def _insert_missing(table: Any, dialect: str) -> Any:
    """Return the statement that adds a row unless its key is taken."""
    statement = table.__table__.insert().prefix_with("OR IGNORE")
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql  # 5 MB of it

        statement = postgresql.insert(
            table.__table__).on_conflict_do_nothing()
    # Otherwise what an INSERT counted is thrown away.
    return statement.execution_options(preserve_rowcount=True)


def _equal(table: Any, shape: Shape) -> Any:
    """Return the condition that columns have the values of a match."""
    known = table.__table__.columns
    return and_(true(), *(
        known[name].is_(None) if is_null
        else known[name] == bindparam("of_" + name)
        for name, is_null in shape))


def _also(statement: Any, conditions: Conditions) -> Any:
    """Return a statement about the rows that meet conditions as well."""
    return statement.where(and_(*conditions)) if conditions else statement


def _shape(match: Values) -> Shape:
    """Return what a statement that compares with these values looks like."""
    return tuple((name, value is None) for name, value in match.items())


def _compared(match: Values) -> Values:
    """Return the values that columns are compared with, as parameters."""
    return {"of_" + name: value for name, value in match.items()
            if value is not None}


def _values(row: Any) -> Values:
    """Return the columns of a row, but for a key that it is yet to get."""
    table = row.__table__
    values = {name: getattr(row, name) for name in columns(type(row))}
    return {name: value for name, value in values.items()
            if value is not None or not table.columns[name].primary_key}

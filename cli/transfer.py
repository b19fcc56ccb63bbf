#!/usr/bin/env python3
"""Users as lines of a file: JSON Lines or CSV, in and out.

One user a line in both, so that a bad line spoils nobody else's and a file of
any size takes the memory of one batch.
"""
from __future__ import annotations

import csv
import io
import itertools
import json
from typing import (
    IO, Any, Callable, Dict, Iterator, List, Optional, Tuple, Type,
    Union)

import click

from auth import Auth
from errors import InvalidInput

# Several times what one user takes.
LONGEST_LINE = 64 * 1024
# So many users are saved in one transaction: short enough that sign-ins go on
# meanwhile, long enough that the disk is not all there is to wait for.
BATCH = 500
# With these a spreadsheet begins a formula, which may fetch and run things.
FORMULA = tuple("=+-@\t\r\uff1d\uff0b\uff0d\uff20'")


class JsonLines:
    """A JSON object a line."""

    def read(self, line: str) -> Optional[Dict[str, Any]]:
        """Return what a line says; InvalidInput if that cannot be told."""
        try:
            values = json.loads(line, object_pairs_hook=_once)
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            raise InvalidInput("is not a JSON object, or has a name twice")
        return values

    def write(self, values: Dict[str, Any]) -> str:
        """Return the line that says this, in ASCII."""
        return json.dumps(values) + "\n"


class Csv:
    """Values between commas, whose names stand in the first line.

    What a spreadsheet would take for a formula gets an apostrophe before it,
    and loses it on the way back (CWE-1236; docs/security.md#exports).
    """

    def __init__(self) -> None:
        """Know no name of a column yet."""
        self._names: List[str] = []

    def read(self, line: str) -> Optional[Dict[str, Any]]:
        """Return what a line says, None for the first, which names it."""
        try:
            cells, = csv.reader([line], strict=True)
        except (csv.Error, ValueError):
            raise InvalidInput("is not a line of CSV: its quotation marks do "
                               "not match") from None
        if not self._names:
            self._names = self._header([each.strip() for each in cells])
            return None
        if len(cells) != len(self._names):
            raise InvalidInput("has {} values for {} columns".format(
                len(cells), len(self._names)))
        return dict(zip(self._names, map(_unguarded, cells)))

    def write(self, values: Dict[str, Any]) -> str:
        """Return the line that says this, the first with names before it."""
        names = [] if self._names else [list(values)]
        self._names = list(values)
        lines = io.StringIO()
        csv.writer(lines, lineterminator="\n").writerows(
            names + [[_guarded(each) for each in values.values()]])
        return lines.getvalue()

    @staticmethod
    def _header(names: List[str]) -> List[str]:
        """Return the names of columns; give up if they cannot be that."""
        if "email" not in names or len(set(names)) != len(names):
            raise click.ClickException(
                "The first line has to name the columns, with commas between "
                "and each once; email is one of them.")
        return names


Format = Union[JsonLines, Csv]
FORMATS: Dict[str, Type[Format]] = {"csv": Csv, "jsonl": JsonLines}


def format_of(path: str) -> str:
    """Return the format that a file has by its name."""
    return "csv" if path.lower().endswith(".csv") else "jsonl"


class Import:
    """One run over a file, which saves its users batch by batch."""

    def __init__(self, service: Auth, form: str) -> None:
        """Save with this service what comes in that form."""
        self.counts = {"added": 0, "there": 0, "bad": 0}
        self._admin = service.admin
        self._format = FORMATS[form]()
        self._batch: List[Dict[str, Any]] = []

    def run(self, file: IO[bytes], advance: Callable[[int], None]) -> None:
        """Read to the end; `advance` is told how many bytes were read."""
        for number, line in lines_of(file, advance):
            try:
                self._take(line)
            except InvalidInput as reason:
                self.counts["bad"] += 1
                click.echo("line {}: {}".format(number, reason), err=True)
            if len(self._batch) == BATCH:
                self._save()
        self._save()

    def _take(self, line: bytes) -> None:
        """Add the user of a line to the batch; InvalidInput if there is none.

        A blank line says nothing.
        """
        if len(line) > LONGEST_LINE:
            raise InvalidInput("is longer than {} bytes".format(LONGEST_LINE))
        try:
            text = line.decode("utf-8").strip("\r\n\ufeff")
        except UnicodeDecodeError:
            raise InvalidInput("is not UTF-8") from None
        values = self._format.read(text) if text.strip() else None
        if values is not None:
            self._batch.append(self._admin.person(values))

    def _save(self) -> None:
        """Save what was read so far."""
        added = self._admin.import_people(self._batch)
        self.counts["added"] += added
        self.counts["there"] += len(self._batch) - added
        self._batch = []


def lines_of(file: IO[bytes], advance: Callable[[int], None]
             ) -> Iterator[Tuple[int, bytes]]:
    """Yield each line with its number; of one that is too long, its start."""
    for number in itertools.count(1):
        line = more = file.readline(LONGEST_LINE + 1)
        if not line:
            return
        advance(len(line))
        while more and not more.endswith(b"\n"):
            more = file.readline(LONGEST_LINE)
            advance(len(more))
        yield number, line


def _once(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    """Return the pairs as a dictionary; ValueError if a name comes twice."""
    if len(dict(pairs)) != len(pairs):
        raise ValueError
    return dict(pairs)


def _guarded(value: Any) -> Any:
    """Return a value as it is safe to open in a spreadsheet."""
    return "'" + value if isinstance(value, str) and value.startswith(
        FORMULA) else value


def _unguarded(cell: str) -> str:
    """Return the value of a cell that _guarded() made."""
    return cell[1:] if cell[:1] == "'" and cell[1:].startswith(
        FORMULA) else cell

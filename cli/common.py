#!/usr/bin/env python3
"""What commands share: the service, the tables, and the exit codes.

0 is done, 1 is refused, not found or done in part, 2 is a command that makes
no sense. What is asked for goes to standard output, everything else to
standard error.
"""
from __future__ import annotations

import json
import re
import sys
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any, Callable, Dict, Iterator, List, Sequence, cast

import click
from flask import current_app
from flask.cli import AppGroup

from audit import TERMINAL
from auth import Auth
from errors import AuthError, Unavailable
from logs import configure
from settings import UNITS

# How many rows a list has, unless asked otherwise.
LINES = 50


def auth() -> Auth:
    """Return the service of the app that the command runs in."""
    return cast(Auth, current_app.extensions["auth"])


def acting() -> Auth:
    """Return the service as it acts for whoever sits at the terminal.

    What is recorded goes to the log as well, on standard error.
    """
    configure(auth().settings.production)
    return auth().acting_for(TERMINAL)


# -- Refusals

class Refusing(click.Command):
    """A command whose refusals are a sentence and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; what the service refuses is no traceback."""
        try:
            return super().invoke(ctx)
        except Unavailable as fault:
            raise click.ClickException("{}: {}".format(
                fault, fault.__cause__ or "nobody knows why")) from fault
        except AuthError as error:
            raise click.ClickException(str(error)) from error


class Group(Refusing, AppGroup):
    """A group of commands, refusing alike."""


def confirm(question: str, yes: bool) -> None:
    """Go on only if somebody says yes, unless they did beforehand."""
    if not yes:
        click.confirm(question, abort=True, err=True)


# -- Options that several commands have

as_json = click.option("--json", "as_json", is_flag=True,
                       help="Print JSON, for programs.")
in_advance = click.option("--yes", is_flag=True,
                          help="Do not ask whether you are sure.")
at_most = click.option("--limit", type=click.IntRange(1, 10000),
                       default=LINES, show_default=True,
                       help="The most rows to show.")
# An address, or a number as `users list` shows it.
whom = click.argument("who", metavar="EMAIL")


def duration(text: str) -> int:
    """Return the seconds of 90s, 15m, 1h or 30d, as in the settings."""
    match = re.match(r"([1-9][0-9]{0,8})([smhd])\Z", text)
    if match is None:
        raise click.BadParameter("{!r} is no duration such as 90s, 15m, 1h or "
                                 "30d.".format(text))
    return int(match.group(1)) * UNITS[match.group(2)]


# -- Saying it

def say(rows: List[Dict[str, Any]], columns: Sequence[str],
        as_json: bool) -> None:
    """Print rows: all of them as JSON, or these columns as a table."""
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    cells = [[name.partition("_at")[0] for name in columns]] + [
        [shown(name, row[name]) for name in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells)]
    for line in cells:
        click.echo("  ".join(
            cell.ljust(width) for cell, width in zip(line, widths)).rstrip())


def say_one(values: Dict[str, Any], as_json: bool) -> None:
    """Print one thing: as JSON, or a line for each of its values."""
    if as_json:
        click.echo(json.dumps(values, indent=2))
        return
    width = max(map(len, values))
    for name, value in values.items():
        click.echo("{}  {}".format(name.ljust(width), shown(name, value)))


def shown(name: str, value: Any) -> str:
    """Return a value for human eyes; times (…at) are in UTC.

    What a terminal would obey, or would not show at all, is spelled out: a
    browser names itself as it likes (ASVS 16.4.1).
    """
    if value is None or value == "":
        return "-"
    if name == "at" or name.endswith("_at"):
        return datetime.fromtimestamp(value, timezone.utc).strftime(
            "%Y-%m-%d %H:%M:%S")
    return "".join(char if char.isprintable() else ascii(char)[1:-1]
                   for char in str(value))


def is_watched() -> bool:
    """Tell whether standard error is a terminal, and not a file."""
    return sys.stderr.isatty()


@contextmanager
def progress(label: str, length: int) -> Iterator[Callable[[int], None]]:
    """Lend a function that moves a bar on by so much.

    On standard error, and only where somebody looks at it.
    """
    if not length or not is_watched():
        yield lambda steps: None
        return
    with click.progressbar(length=length, label=label, file=sys.stderr,
                           update_min_steps=length // 200 + 1) as bar:
        yield bar.update

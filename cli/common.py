#!/usr/bin/env python3
"""What commands share: the service, the tables, and the exit codes.

0 is done, 1 is refused, not found or done in part, 2 is a command that makes
no sense. What is asked for goes to standard output, everything else to
standard error.
"""
from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import IO, Any, Callable, Dict, Iterator, List, Sequence, cast

import click
from flask import current_app
from flask.cli import AppGroup, FlaskGroup

from audit import TERMINAL
from auth import Auth
from errors import AuthError, NotMigrated, Unavailable
from logs import configure
from settings import UNITS

# How many rows a list has, unless asked otherwise.
LINES = 50
# How often somebody who waits is told that it goes on, in seconds.
TICK = 1.0


def auth() -> Auth:
    """Return the service of the app that the command runs in."""
    return cast(Auth, current_app.extensions["auth"])


def acting() -> Auth:
    """Return the service as it acts for whoever sits at the terminal.

    What is recorded goes to the log as well, on standard error.
    """
    configure(auth().settings.production)
    return auth().acting_for(TERMINAL)


def is_command() -> bool:
    """Tell whether the app is loaded for one command, and not to serve."""
    context = click.get_current_context(silent=True)
    return context is not None and "run" not in sys.argv and isinstance(
        context.find_root().command, FlaskGroup)


# -- Refusals

class Refusing(click.Command):
    """A command whose refusals are a sentence and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; what the service refuses is no traceback."""
        try:
            return super().invoke(ctx)
        except Unavailable as fault:
            raise click.ClickException(out_of_order(fault)) from fault
        except AuthError as error:
            raise click.ClickException(sentence(str(error))) from error


class Group(Refusing, AppGroup):
    """A group of commands, refusing alike."""


def out_of_order(fault: Unavailable) -> str:
    """Return why the database does not serve, as a sentence."""
    return sentence(str(fault) if isinstance(fault, NotMigrated)
                    else "the database cannot be used: " + cause_of(fault))


def cause_of(fault: Exception) -> str:
    """Return in one line what is behind a fault, a file by its name.

    As the driver of the database says it: the statement is for the log.
    """
    cause = fault.__cause__ or fault
    cause = getattr(cause, "orig", None) or cause
    if isinstance(cause, OSError) and cause.filename and cause.strerror:
        return "{}: {}".format(cause.filename, cause.strerror)
    return "; ".join(each.strip() for each in str(cause).splitlines())


def sentence(text: str) -> str:
    """Return what a person reads alone, as they would write it."""
    end = "" if text.endswith((".", "?")) else "."
    return text[:1].upper() + text[1:] + end


def confirm(question: str, yes: bool) -> None:
    """Go on only if somebody says yes, unless they did beforehand."""
    if yes:
        return
    with answered_by("--yes"):
        agreed = click.confirm(question, err=True)
    if not agreed:
        raise click.Abort()


@contextmanager
def answered_by(option: str) -> Iterator[None]:
    """Name the option that answers a question if nobody is there to."""
    try:
        yield
    except click.Abort:
        if sys.stdin.isatty():
            raise  # Ctrl+C is an answer
        raise click.ClickException(
            "Nobody answers; where there is no terminal, say {}.".format(
                option)) from None


# -- Options that several commands have

as_json = click.option("--json", "as_json", is_flag=True,
                       help="Print JSON, for programs.")
in_advance = click.option("--yes", is_flag=True,
                          help="Do not ask whether you are sure.")
# An address, or a number as `users list` shows it.
whom = click.argument("who", metavar="EMAIL")


def whole(low: int, high: int) -> Callable[[Any], int]:
    """Build a type of option: whole numbers, both bounds included."""
    def number(text: Any) -> int:
        """Return the number, or complain in a sentence."""
        if not re.match(r"[0-9]{1,19}\Z", str(text)) \
                or not low <= int(text) <= high:
            raise click.BadParameter("{!r} is no whole number from {} to {}."
                                     .format(str(text), low, high))
        return int(text)
    return number


at_most = click.option("--limit", type=whole(1, 10000), default=LINES,
                       show_default=True, metavar="NUMBER",
                       help="The most rows to show, up to 10000.")


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


def painted(text: str, colour: str, stream: IO[str]) -> str:
    """Return a text in a colour, if a terminal that has any shows it.

    Not for who wants none (no-color.org).
    """
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain or not stream.isatty() else click.style(
        text, fg=colour)


# -- Meanwhile

def is_watched() -> bool:
    """Tell whether standard error is a terminal, and not a file."""
    return sys.stderr.isatty()


@contextmanager
def waiting(label: str) -> Iterator[Callable[[str], None]]:
    """Show how long something goes on; lend a function that renames it.

    On standard error, only where somebody looks at it, and only once it took
    a second.
    """
    doing, done = [label], threading.Event()

    def tell() -> None:
        """Write one line over and over."""
        began, width = time.monotonic(), 0
        while not done.wait(TICK):
            line = "{}: {:.0f} s".format(doing[-1], time.monotonic() - began)
            click.echo("\r" + line.ljust(width), nl=False, err=True)
            width = len(line)
        if width:
            click.echo(err=True)
    teller = threading.Thread(target=tell, daemon=True)
    if is_watched():
        teller.start()
    try:
        yield doing.append
    finally:
        done.set()
        if teller.is_alive():
            teller.join()


@contextmanager
def progress(label: str, length: int) -> Iterator[Callable[[int], None]]:
    """Lend a function that moves a bar on by so much.

    On standard error, and only where somebody looks at it. There is no bar
    without an end.
    """
    if not length or not is_watched():
        with waiting(label):
            yield lambda steps: None
        return
    with click.progressbar(length=length, label=label, file=sys.stderr,
                           update_min_steps=length // 200 + 1) as bar:
        yield bar.update

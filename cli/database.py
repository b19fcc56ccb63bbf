#!/usr/bin/env python3
"""`flask db`, `flask purge`: the database, for who upgrades and moves it."""
from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Callable, Dict

import click
from flask.cli import with_appcontext

from auth import Auth
from cli.common import (
    Group, Refusing, as_json, auth, cause_of, sentence, waiting)
from errors import NotMigrated, Unavailable
from settings import BadSettings, Settings

log = logging.getLogger("bienvenue")
database = Group("db", help="Upgrade, copy and move the database.")


@database.command()
def upgrade() -> None:
    """Bring the database to the version of this release.

    For PostgreSQL, with a role that owns the tables, before the servers of a
    new release start. A SQLite file is upgraded by the server itself.
    """
    before = auth().admin.database_version()
    with waiting("Upgrading"):
        after = auth().admin.upgrade_database()
    click.echo("The database is of version {}{}.".format(
        after, ", as it was" if after == before else
        "; before, it was {}".format(before or "without a version")))


@database.command()
def status() -> None:
    """Show the version of the database.

    The exit code is 1 if this release cannot use it.
    """
    click.echo("The database is of version {}.".format(
        auth().admin.database_version() or "none"))
    auth().prepare()


@database.command()
@click.argument("path", metavar="FILE", type=click.Path(
    dir_okay=False, writable=True))
def backup(path: str) -> None:
    """Copy a SQLite database into a FILE, while it is in use.

    The copy is whole, and replaces what was there before.
    """
    folder = Path(path).resolve().parent
    if not os.access(str(folder), os.W_OK | os.X_OK):
        raise click.ClickException("The folder {} is not there, or not yours "
                                   "to write to.".format(folder))
    with waiting("Copying"):
        auth().admin.back_up_database(path)
    click.echo("The database was copied to {}.".format(path))


def address(url: str) -> str:
    """Return the URL of a database, if it is one."""
    try:
        Settings.from_env({"DATABASE_URL": url or "-"})
    except BadSettings as problem:
        raise click.BadParameter(str(problem)) from problem
    return url


@database.command()
@click.option("--to", "url", required=True, metavar="URL", type=address,
              help="Where to: the DATABASE_URL of an empty database.")
@as_json
def move(url: str, as_json: bool) -> None:
    """Copy everything into an empty database, and compare.

    Stop the servers first: what they write afterwards stays behind. Then set
    DATABASE_URL to the new one and start them.
    """
    with waiting("Moving") as now:
        moved = auth().admin.move_database(url, counting(now))
    if as_json:
        click.echo(json.dumps(moved, indent=2))
        return
    for name, rows in moved.items():
        click.echo("{:>12}  {}".format(rows, name))
    click.echo("Every row arrived as it was. Now set DATABASE_URL, and start "
               "the servers.")


@click.command(cls=Refusing)
@as_json
@with_appcontext
def purge(as_json: bool) -> None:
    """Delete what is over, which whoever sends mail does once an hour."""
    with waiting("Deleting"):
        found: Dict[str, int] = auth().sweep()
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for kind, rows in found.items():
        click.echo("{:>12}  {}".format(rows, kind))


def counting(now: Callable[[str], None]) -> Callable[[str, int], None]:
    """Return what says how many rows of a table are moved so far."""
    moved: Dict[str, int] = {}

    def count(table: str, rows: int) -> None:
        """Add what went just now."""
        moved[table] = moved.get(table, 0) + rows
        now("Moving {}, {} rows so far".format(table, moved[table]))
    return count


def make_ready(service: Auth) -> None:
    """Prepare the database before anybody is served.

    One that is away for the moment is waited for; one that an administrator
    has to upgrade is a reason not to start.
    """
    try:
        service.prepare()
    except NotMigrated as refused:
        raise SystemExit("Bienvenue does not start.\n" + sentence(
            str(refused))) from refused
    except Unavailable as fault:
        log.warning("the database cannot be used yet: %s", cause_of(fault))

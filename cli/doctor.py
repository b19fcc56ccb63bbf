#!/usr/bin/env python3
"""`flask doctor`: the settings in effect, and what is wrong with them."""
from __future__ import annotations

import sys
from typing import List

import click
from flask.cli import with_appcontext

from cli.common import auth
from errors import Unavailable
from settings import BadSettings, Settings


@click.command()
@click.option("--leak-drill", is_flag=True,
              help="Try everything that is stored as a credential, too.")
@with_appcontext
def doctor(leak_drill: bool) -> None:
    """Show the settings that are in effect, and what is wrong with them.

    With --leak-drill every value in the database is tried as a session, a
    device, a mailed link and a password. It changes nothing, and takes a few
    seconds, with many users minutes.
    """
    click.echo(report(auth().settings))
    try:
        found = auth().warnings()
        if leak_drill:
            found += auth().admin.leak_drill(tell)
    except Unavailable as fault:
        found = ["The database cannot be reached: {}.".format(
            str(fault.__cause__ or fault).partition("\n")[0])]
    click.echo("\n".join(found or ["All is well."]))
    sys.exit(1 if found else 0)


def tell(done: str) -> None:
    """Say on standard error how far the drill is."""
    click.echo("Tried: {}.".format(done), err=True)


def report(settings: Settings) -> str:
    """Return every setting as a line, with secrets masked."""
    return "\n".join("{}={}".format(*each)
                     for each in sorted(settings.shown().items()))


def refusal(error: BadSettings) -> str:
    """Return why the service does not start, every reason at once.

    `flask doctor` has to load the app before it can say anything, so its
    report goes before the reasons here.
    """
    lines: List[str] = ["Bienvenue does not start."]
    if "doctor" in sys.argv[1:]:
        lines = [report(error.settings)]
    return "\n".join(lines + error.problems)

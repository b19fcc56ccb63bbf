#!/usr/bin/env python3
"""The service from a terminal: `flask doctor`, `flask mail send`.

Talks only to Auth, as the web face does.
"""
from __future__ import annotations

import sys
from typing import List, cast

import click
from flask import current_app
from flask.cli import AppGroup, with_appcontext

from auth import Auth
from errors import Unavailable
from logs import configure
from mail.sender import Sender
from settings import BadSettings, Settings

mail = AppGroup("mail", help="Send the mails that wait in the outbox.")


def auth() -> Auth:
    """Return the service of the app that the command runs in."""
    return cast(Auth, current_app.extensions["auth"])


@click.command()
@with_appcontext
def doctor() -> None:
    """Show the settings that are in effect, and what is wrong with them."""
    click.echo(report(auth().settings))
    try:
        found = auth().warnings()
    except Unavailable as fault:
        found = ["The database cannot be reached: {}.".format(
            fault.__cause__)]
    click.echo("\n".join(found or ["All is well."]))
    sys.exit(1 if found else 0)


@mail.command()
@click.option("--watch", is_flag=True,
              help="Go on until stopped, instead of one round.")
def send(watch: bool) -> None:
    """Send what is due: all of it once, or as it comes.

    Run `flask mail send --watch` beside servers that leave the sending to it
    (MAIL_IN_SERVER=0). Either clears away what is old, as a server does.
    """
    configure(auth().settings.production)
    if watch:
        Sender(auth().deliver_mail, auth().sweep).run()
    click.echo("{} mails dealt with.".format(auth().deliver_mail()))
    auth().sweep()


@mail.command()
def retry() -> None:
    """Make the mails that were given up due again."""
    click.echo("{} mails are due again.".format(auth().revive_mail()))


COMMANDS = (doctor, mail)


def start_sender(service: Auth) -> None:
    """Send mail from this process, if it is the one to do so."""
    if service.settings.mail_in_server:
        Sender(service.deliver_mail, service.sweep).start()


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

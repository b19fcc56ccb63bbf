#!/usr/bin/env python3
"""`flask mail`: the outbox, for a scheduler and for who mends MAIL_URL."""
from __future__ import annotations

from typing import Optional

import click

from auth import Auth
from cli.common import Group, auth
from ending import Ending
from logs import configure
from mail.sender import Sender

mail = Group("mail", help="Send the mails that wait in the outbox.")


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
        watch_outbox(auth())
        return
    click.echo("Mails dealt with: {}.".format(auth().deliver_mail()))
    auth().sweep()


@mail.command()
def retry() -> None:
    """Make the mails that were given up due again."""
    click.echo("Mails due again: {}.".format(auth().revive_mail()))


def start_sender(service: Auth) -> Optional[Sender]:
    """Send mail from this process, if it is the one to do so.

    Whoever ends the process has to finish() the sender before.
    """
    if not service.settings.mail_in_server:
        return None
    return _started_sender(service)


def watch_outbox(service: Auth) -> None:
    """Send mail until this process is told to end."""
    with Ending() as ending:
        sender = _started_sender(service)
        ending.wait()
        sender.finish()


def _started_sender(service: Auth) -> Sender:
    """Return a thread that sends the mail of a service."""
    sender = Sender(
        service.deliver_mail, service.sweep, service.release_mail)
    sender.start()
    return sender

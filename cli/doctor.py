#!/usr/bin/env python3
"""`flask doctor`: the settings in effect, and what is wrong with them."""
from __future__ import annotations

import errno
import socket
import sys

import click
from flask.cli import with_appcontext

from cli.common import auth, out_of_order, painted, waiting
from errors import Unavailable
from settings import BadSettings, Settings


@click.command()
@click.option("--leak-drill", is_flag=True,
              help="Try everything that is stored as a credential, too.")
@with_appcontext
def doctor(leak_drill: bool) -> None:
    """Show the settings in effect, and what is wrong.

    With --leak-drill every value in the database is tried as a session, a
    device, a mailed link and a password. It changes nothing, and takes a few
    seconds, with many users minutes.
    """
    click.echo(report(auth().settings))
    try:
        found = auth().warnings()
        if leak_drill:
            with waiting("Trying what is stored") as now:
                found += auth().admin.leak_drill(
                    lambda done: now("Tried {}, going on".format(done)))
    except Unavailable as fault:
        found = [out_of_order(fault)]
    for each in found:
        click.echo(painted(each, "red", sys.stdout))
    if found:
        sys.exit(1)
    click.echo(painted("All is well.", "green", sys.stdout))


def report(settings: Settings) -> str:
    """Return every setting as a line, with secrets masked."""
    return "\n".join("{}={}".format(*each)
                     for each in sorted(settings.shown().items()))


def refusal(error: BadSettings) -> str:
    """Return why the service does not start, every reason at once.

    `flask doctor` has to load the app before it can say anything, so its
    report goes before the reasons here.
    """
    if "doctor" in sys.argv[1:]:
        return "\n".join([report(error.settings)] + [
            painted(each, "red", sys.stderr) for each in error.problems])
    return "\n".join(["Bienvenue does not start."] + error.problems)


def demand_port(host: str, port: int) -> None:
    """End with a sentence unless a server may listen there."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise SystemExit(no_door(host, port, error)) from error


def no_door(host: str, port: int, error: OSError) -> str:
    """Return why nobody can come in there, and what to do."""
    return "Bienvenue does not start.\n" + {
        errno.EADDRINUSE: "Port {1} of {0} is taken: stop the program that "
                          "listens there, or set PORT to another.",
        errno.EACCES: "This user may not listen on port {1}: set PORT to 1024 "
                      "or more.",
    }.get(error.errno or 0, "{0} is no address of this machine ({2}): set "
          "HOST to one, as 127.0.0.1.").format(
              host, port, str(error.strerror).partition(" (")[0])

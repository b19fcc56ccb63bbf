#!/usr/bin/env python3
"""`flask sessions`: who is signed in, and the end of it."""
from __future__ import annotations

from typing import Optional

import click

from cli.common import (
    Group, acting, as_json, at_most, auth, confirm, in_advance, say, waiting,
    whole)

COLUMNS = ("id", "email", "opened_at", "seen_at", "expires_at", "network",
           "user_agent")

sessions = Group("sessions", help="See and end the sessions of users.")


@sessions.command("list")
@click.argument("who", metavar="[EMAIL]", default="")
@at_most
@as_json
def list_sessions(who: str, limit: int, as_json: bool) -> None:
    """Show the live sessions of a user, or of all: the newest of them."""
    say(auth().admin.list_sessions(who, limit), COLUMNS, as_json)


@sessions.command()
@click.argument("who", metavar="[EMAIL]", default="")
@click.option("--all", "everybody", is_flag=True,
              help="Those of every user, after a break-in.")
@click.option("--id", "handle", metavar="NUMBER",
              type=whole(1, 2 ** 63 - 1),
              help="Only this one, by its id in `flask sessions list`.")
@in_advance
def end(who: str, everybody: bool, handle: Optional[int],
        yes: bool) -> None:
    """Sign a user out, everywhere or on one device; or everybody."""
    if bool(who) == everybody or (everybody and handle):
        raise click.UsageError("Name a user, or say --all.")
    if everybody:
        confirm("End every session of every user?", yes)
        with waiting("Signing everybody out"):
            ended = acting().admin.end_all_sessions()
        say_ended(ended)
        return
    user = auth().admin.find(who)
    confirm("End {} of {} (number {})?".format(
        "session {}".format(handle) if handle else "every session",
        user.email, user.id), yes)
    say_ended(acting().admin.end_sessions(user.email, handle))


def say_ended(ended: int) -> None:
    """Print how many sessions it was."""
    click.echo("{} session{} ended.".format(ended, "s" * (ended != 1)))

#!/usr/bin/env python3
"""`flask users`: everybody's accounts, one at a time or all at once."""
from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from typing import IO, Iterator, Optional

import click

from audit import TERMINAL
from cli.common import (
    Group, acting, answered_by, as_json, at_most, auth, confirm, in_advance,
    progress, say, say_one, whole, whom)
from cli.transfer import FORMATS, Import, format_of

COLUMNS = ("id", "email", "created_at", "verified_at", "disabled_at")
WARNING = """Whoever reads the file can guess at every password in it, as fast
as their machines go. Keep it as you keep the database, and delete it."""

users = Group("users", help="See and change the accounts of users.")
as_format = click.option(
    "--format", "form", type=click.Choice(sorted(FORMATS)),
    help="What is in it: JSON Lines or CSV. By default as its name says.")


# -- Looking

@users.command("list")
@click.option("--search", default="", metavar="TEXT",
              help="Only those with this in their address.")
@click.option("--disabled", is_flag=True, help="Only the disabled.")
@click.option("--unverified", is_flag=True,
              help="Only those who have not verified their address.")
@click.option("--after", type=whole(0, 2 ** 31 - 1), default=0,
              metavar="NUMBER", help="Go on after the user of this number.")
@at_most
@as_json
def list_users(search: str, disabled: bool, unverified: bool, after: int,
               limit: int, as_json: bool) -> None:
    """Show users, in the order of their numbers."""
    found = auth().admin.list_users(
        search, disabled, unverified, after, limit + 1)
    say(found[:limit], COLUMNS, as_json)
    if found[limit:]:
        click.echo("There are more: --after {}".format(
            found[limit - 1]["id"]), err=True)


@users.command()
@whom
@as_json
def show(who: str, as_json: bool) -> None:
    """Show what is known of a user, by address or number."""
    say_one(auth().admin.show_user(who), as_json)


# -- Changing one

@users.command()
@click.argument("email")
@click.option("--password-stdin", "from_stdin", is_flag=True,
              help="Read the password from standard input: its first line.")
@click.option("--verified", is_flag=True,
              help="Vouch for the address; otherwise a mail asks its owner.")
def add(email: str, from_stdin: bool, verified: bool) -> None:
    """Open an account, by the rules of signing up.

    The password is asked for, or read from standard input: on a command line
    every user of the machine could see it.
    """
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        with answered_by("--password-stdin"):
            password = click.prompt("Password", hide_input=True, err=True,
                                    confirmation_prompt=True)
    user = acting().register_user(email, password)
    if verified:
        acting().admin.vouch(user.email)
    click.echo("{} is user {}.".format(user.email, user.id))


@users.command()
@whom
@in_advance
def disable(who: str, yes: bool) -> None:
    """Sign a user out everywhere, and keep them out.

    To whoever tries, every password is a wrong one; no reset is mailed.
    """
    email = sure("Disable", who, yes)
    done = acting().admin.disable(email)
    click.echo("{} {}.".format(
        email, "is disabled" if done else "was disabled already"))


@users.command()
@whom
def enable(who: str) -> None:
    """Let a disabled user sign in again, with the password of before."""
    email = auth().admin.find(who).email
    done = acting().admin.enable(email)
    click.echo("{} {}.".format(
        email, "can sign in again" if done else "was not disabled"))


@users.command()
@whom
@in_advance
def delete(who: str, yes: bool) -> None:
    """Delete an account with all that hangs off it; no way leads back."""
    email = sure("Delete all there is of", who, yes)
    acting().admin.delete(email)
    click.echo("{} is deleted.".format(email))


@users.command()
@whom
def reset(who: str) -> None:
    """Mail a user the link by which they set a new password.

    Nothing changes before they do, and nobody else sees the link.
    """
    email = auth().admin.find(who).email
    acting().admin.request_reset(email)
    click.echo("A reset is on its way to {}.".format(email))


def sure(what: str, who: str, yes: bool) -> str:
    """Return the address that is meant, once somebody is sure of it."""
    user = auth().admin.find(who)
    confirm("{} {} (number {})?".format(what, user.email, user.id), yes)
    return user.email


# -- All of them

@users.command("import")
@click.argument("path", metavar="FILE", type=click.Path(
    exists=True, dir_okay=False, readable=True, allow_dash=True))
@as_format
@as_json
def import_users(path: str, form: Optional[str], as_json: bool) -> None:
    """Add the users of a FILE, or of standard input (-).

    JSON Lines or CSV with a header, one user a line: email, hashed_password,
    created_at, verified_at, disabled_at, password_changed_at; all but the
    first may be missing; docs/commands.md lists the hashes that are kept.
    Who is there already stays as they are, so it can be run again. Bad lines
    are named, and the rest goes on.
    """
    work = Import(auth().acting_for(TERMINAL), form or format_of(path))
    size = 0 if path == "-" else os.path.getsize(path)
    try:
        with progress("Importing", size) as advance, \
                click.open_file(path, "rb") as file:
            work.run(file, advance)
    except KeyboardInterrupt:
        raise click.ClickException(
            "Stopped with {added} added, who stay; the same command adds the "
            "rest.".format(**work.counts)) from None
    if as_json:
        click.echo(json.dumps(work.counts))
    else:
        click.echo("{added} added, {there} already there, {bad} bad.".format(
            **work.counts))
    sys.exit(1 if work.counts["bad"] else 0)


@users.command("export")
@click.argument("path", metavar="FILE")
@as_format
@click.option("--with-hashes", is_flag=True,
              help="With the hashes of passwords, so that an import of the "
                   "file makes the same users.")
@in_advance
def export_users(path: str, form: Optional[str], with_hashes: bool,
                 yes: bool) -> None:
    """Write every user to a new FILE that only you can read, or to -."""
    if with_hashes:
        click.echo(WARNING, err=True)
        confirm("Export the hashes?", yes)
    admin, count, last = acting().admin, 0, 0
    lines = FORMATS[form or format_of(path)]()
    with progress("Exporting", admin.last_number()) as advance, \
            private_file(path) as file:
        for each in admin.export_people(with_hashes):
            file.write(lines.write(each).encode())
            advance(each["id"] - last)
            last, count = each["id"], count + 1
    click.echo("Users exported: {}.".format(count), err=True)


@contextmanager
def private_file(path: str) -> Iterator[IO[bytes]]:
    """Lend a new file that only its owner can read, or standard output.

    A file that is there is not replaced, and one that was not finished is
    removed: half an export must not be taken for all there is.
    """
    if path == "-":
        yield sys.stdout.buffer
        sys.stdout.flush()
        return
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise click.ClickException("{} is there already: name a new file."
                                   .format(path)) from None
    except OSError as error:
        raise click.ClickException("{}: {}.".format(
            path, error.strerror)) from error
    try:
        with os.fdopen(number, "wb") as file:
            yield file
    except BaseException:
        os.unlink(path)
        raise

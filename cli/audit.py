#!/usr/bin/env python3
"""`flask audit`: what happened, from the record in the database."""
from __future__ import annotations

from typing import Optional, Sequence

import click
from flask.cli import with_appcontext

from audit import Fact
from cli.common import Refusing, as_json, at_most, auth, duration, say

COLUMNS = ("at", "fact", "email", "user_id", "network", "request_id",
           "detail")


@click.command(cls=Refusing)
@click.option("--user", "who", metavar="EMAIL", default="",
              help="Only what is about this user.")
@click.option("--fact", "facts", multiple=True, metavar="FACT",
              type=click.Choice([each.value for each in Fact]),
              help="Only facts of this kind, as login.refused; may be given "
                   "several times.")
@click.option("--since", "seconds", type=duration, metavar="DURATION",
              help="Only the last 90s, 15m, 1h or 30d.")
@at_most
@as_json
@with_appcontext
def audit(who: str, facts: Sequence[str], seconds: Optional[int],
          limit: int, as_json: bool) -> None:
    """Show what happened: the newest facts, in the order of time.

    They are kept for AUDIT_LIFE, and those of a user as long as the user.
    """
    say(auth().admin.list_facts(who, facts, seconds or 0, limit), COLUMNS,
        as_json)

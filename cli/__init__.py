#!/usr/bin/env python3
"""The service from a terminal. One file a group of commands.

`COMMANDS` is what create_app() registers. Talks only to Auth, as the web
face does.
"""
from cli.audit import audit
from cli.database import database, make_ready, purge
from cli.doctor import doctor, refusal, report
from cli.mail import mail, start_sender
from cli.sessions import sessions
from cli.users import users

__all__ = ["COMMANDS", "make_ready", "refusal", "report", "start_sender"]
COMMANDS = (audit, database, doctor, mail, purge, sessions, users)

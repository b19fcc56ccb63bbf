#!/usr/bin/env python3
"""The service from a terminal. One file a group of commands.

`COMMANDS` is what create_app() registers. Talks only to Auth, as the web
face does.
"""
from cli.audit import audit
from cli.common import is_command
from cli.database import database, make_ready, purge
from cli.doctor import demand_port, doctor, no_door, refusal, report
from cli.mail import mail, start_sender
from cli.sessions import sessions
from cli.users import users

__all__ = ["COMMANDS", "demand_port", "is_command", "make_ready", "no_door",
           "refusal", "report", "start_sender"]
COMMANDS = (audit, database, doctor, mail, purge, sessions, users)

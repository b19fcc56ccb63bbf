#!/usr/bin/env python3
"""What else can a client call? One blueprint a resource, beside the card's.

`BLUEPRINTS` is what create_app() registers.
"""
from routes.accounts import accounts
from routes.description import description
from routes.emails import emails
from routes.forward import forward
from routes.operations import operations
from routes.pages import pages
from routes.problems import problems
from routes.sessions import sessions

BLUEPRINTS = (accounts, description, emails, forward, operations, pages,
              problems, sessions)

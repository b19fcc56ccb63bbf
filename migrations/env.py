#!/usr/bin/env python3
"""What Alembic runs to reach the database: the connection it was given.

Only through migrations.upgrade(), never by the command `alembic`, so that a
database is prepared in one way.
"""
from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    # SQLite alters a table by making another and moving the rows.
    render_as_batch=True)
context.run_migrations()

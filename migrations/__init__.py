#!/usr/bin/env python3
"""The versions that a database goes through, one history for both engines.

A version is two numbers. The second grows with what is only added (a table,
an index, a column that may be empty): code of the same first number goes on
running on it, so that a fleet is upgraded one by one. The first grows with
what code of before cannot live with (docs/operations.md#rolling-upgrade).
"""
from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import Any, Optional, Tuple

from sqlalchemy import inspect, text

from errors import NotMigrated

# The version that this code was written for.
HEAD = "1.1"
VERSIONS = Path(__file__).with_name("versions")
# Where Alembic keeps the version of a database.
TABLE = "alembic_version"
UPGRADE = "run `flask db upgrade`"
# Alembic keeps what it works on in globals, one for all threads.
_ALEMBIC = threading.Lock()


def version_of(connection: Any) -> Optional[str]:
    """Return the version of a database, or None if it says none.

    One without tables has none, and so has one of the first release.
    """
    if TABLE not in inspect(connection).get_table_names():
        return None
    version = connection.execute(
        text("SELECT version_num FROM " + TABLE)  # nosec B608 # ours
    ).scalar()
    return None if version is None else str(version)


def is_behind(version: Optional[str], head: str = HEAD) -> bool:
    """Tell whether a database has to be upgraded for code of this version.

    Raises NotMigrated for one that code so old must not touch.
    """
    if version is None:
        return True
    found, known = _numbers(version), _numbers(head)
    if found is None or known is None or found[0] > known[0]:
        raise NotMigrated(
            "the database is of version {}, and this release knows {}: run "
            "the release that upgraded it, or a newer one".format(
                version, head))
    return found < known


def upgrade(connection: Any, to: str = "head", *more: Path) -> None:
    """Bring a database to a version, by default the newest.

    Joins the transaction that the connection is in, so that it happens whole
    or not at all. Nothing happens to one that is up to date. `more` are
    folders with versions that are not ours.
    """
    # It tells of every step as if somebody had asked, the first as it loads.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # Large, and needed once in the life of a database.
    from alembic import command

    with _ALEMBIC:
        command.upgrade(_config(connection, *more), to)


def _config(connection: Any, *more: Path) -> Any:
    """Return what Alembic has to know, without a file of settings."""
    from alembic.config import Config

    config = Config()
    for name, value in (
            ("script_location", str(VERSIONS.parent)),
            ("version_locations", os.pathsep.join(
                map(str, (VERSIONS,) + more))),
            # The second is what Alembic called the first before 1.16.
            ("path_separator", "os"), ("version_path_separator", "os")):
        config.set_main_option(name, value.replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _numbers(version: str) -> Optional[Tuple[int, int]]:
    """Return the two numbers of a version, or None if it is no such thing."""
    major, dot, minor = version.partition(".")
    if not (dot and major.isdecimal() and minor.isdecimal()):
        return None
    return int(major), int(minor)

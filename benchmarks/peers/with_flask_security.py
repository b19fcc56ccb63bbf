#!/usr/bin/env python3
"""Flask-Security-Too as in its quickstart, spoken to in JSON.

Its session is a signed cookie; each request loads the row of the user.
"""
from __future__ import annotations

import os
from typing import Any

from flask import Flask, Response, jsonify
from flask_security import (
    Security, SQLAlchemyUserDatastore, auth_required, current_user)
from flask_security.models import fsqla_v3
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event

application = Flask(__name__)
application.config.update(
    SECRET_KEY="a key for measuring, and for nothing else",
    SECURITY_PASSWORD_SALT="146585145368132386173505678016728509634",
    SQLALCHEMY_DATABASE_URI="sqlite:///" + os.environ["PEER_DATABASE"],
    SECURITY_REGISTERABLE=True, SECURITY_SEND_REGISTER_EMAIL=False,
    SECURITY_USE_REGISTER_V2=True, SECURITY_PASSWORD_CONFIRM_REQUIRED=False,
    SECURITY_PASSWORD_HASH="bcrypt",
    SECURITY_PASSWORD_HASH_PASSLIB_OPTIONS={"bcrypt__rounds": 12},
    SECURITY_EMAIL_VALIDATOR_ARGS={"check_deliverability": False},
    WTF_CSRF_ENABLED=False, SECURITY_CSRF_IGNORE_UNAUTH_ENDPOINTS=True)
db: Any = SQLAlchemy(application)
Model: Any = db.Model
fsqla_v3.FsModels.set_db_info(db)


class Role(Model, fsqla_v3.FsRoleMixin):
    """The table of roles, with nobody in it."""


class User(Model, fsqla_v3.FsUserMixin):
    """The table of users as the library wants it."""


security = Security(application, SQLAlchemyUserDatastore(db, User, Role))


def tune(connection: Any, _record: Any) -> None:
    """Use SQLite as well as it can be used."""
    for each in ("journal_mode=WAL", "synchronous=NORMAL",
                 "busy_timeout=5000"):
        connection.execute("PRAGMA " + each)


with application.app_context():
    event.listen(db.engine, "connect", tune)


def prepare() -> None:
    """Make the tables."""
    with application.app_context():
        db.create_all()


@application.route("/profile")
@auth_required("session")
def profile() -> Response:
    """Say who is signed in."""
    return jsonify(email=current_user.email)


@application.route("/health")
def health() -> Response:
    """Say that requests are answered."""
    return jsonify(ok=True)

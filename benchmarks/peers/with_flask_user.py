#!/usr/bin/env python3
"""Flask-User as in its examples; it takes forms only.

Its session is a signed cookie; each request loads the row of the user.
"""
from __future__ import annotations

import os
from typing import Any

from flask import Flask, Response, jsonify
from flask_sqlalchemy import SQLAlchemy
from flask_user import UserManager, UserMixin, current_user, login_required
from sqlalchemy import event

application = Flask(__name__)
application.config.update(
    SECRET_KEY="a key for measuring, and for nothing else",
    SQLALCHEMY_DATABASE_URI="sqlite:///" + os.environ["PEER_DATABASE"],
    WTF_CSRF_ENABLED=False, USER_APP_NAME="benchmark",
    USER_ENABLE_USERNAME=False, USER_ENABLE_CONFIRM_EMAIL=False,
    USER_SEND_REGISTERED_EMAIL=False, USER_REQUIRE_RETYPE_PASSWORD=False,
    USER_EMAIL_SENDER_EMAIL="nobody@example.com",
    USER_PASSLIB_CRYPTCONTEXT_SCHEMES=["bcrypt"],
    USER_PASSLIB_CRYPTCONTEXT_KEYWORDS={"bcrypt__rounds": 12})
db: Any = SQLAlchemy(application)
Model: Any = db.Model


class User(Model, UserMixin):
    """The table of users as the library wants it."""

    id = db.Column(db.Integer, primary_key=True)
    active = db.Column("is_active", db.Boolean(), nullable=False,
                       server_default="1")
    email = db.Column(db.String(255), nullable=False, unique=True)
    email_confirmed_at = db.Column(db.DateTime())
    password = db.Column(db.String(255), nullable=False, server_default="")
    first_name = db.Column(db.String(100), nullable=False, server_default="")
    last_name = db.Column(db.String(100), nullable=False, server_default="")


user_manager = UserManager(application, db, User)


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


@application.route("/")
@application.route("/health")
def health() -> Response:
    """Say that requests are answered; it sends who has signed in here."""
    return jsonify(ok=True)


@application.route("/profile")
@login_required
def profile() -> Response:
    """Say who is signed in."""
    return jsonify(email=current_user.email)

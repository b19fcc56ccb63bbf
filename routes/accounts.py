#!/usr/bin/env python3
"""The life of an account beyond the card: how its owner ends it."""
from __future__ import annotations

from flask import Blueprint, Response

from routes.common import auth, clear_session, fields, session_id

accounts = Blueprint("accounts", __name__)


@accounts.route("/profile", methods=["DELETE"])
def delete_profile() -> Response:
    """Delete the caller's account, given its password once more."""
    password, = fields("password")
    auth().delete_account(session_id(), password)
    return clear_session(Response(status=204))

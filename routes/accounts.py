#!/usr/bin/env python3
"""The life of an account beyond the card, in its owner's hands."""
from __future__ import annotations

from flask import Blueprint, Response, jsonify

from routes.common import (
    auth, clear_session, fields, session_id, set_session)

accounts = Blueprint("accounts", __name__)


@accounts.route("/profile", methods=["DELETE"])
def delete_profile() -> Response:
    """Delete the caller's account, given its password once more."""
    password, = fields("password")
    auth().delete_account(session_id(), password)
    return clear_session(Response(status=204))


@accounts.route("/profile/export", methods=["GET"])
def export_profile() -> Response:
    """Hand the caller everything that is stored about them."""
    return jsonify(auth().export_account(session_id()))


@accounts.route("/password", methods=["PUT"])
def change_password() -> Response:
    """Set a new password; the caller goes on under a new session id."""
    current_password, new_password = fields(
        "current_password", "new_password")
    token = auth().change_password(
        session_id(), current_password, new_password)
    return set_session(jsonify(message="Password updated"), token)

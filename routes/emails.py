#!/usr/bin/env python3
"""Addresses: prove that a mailbox is yours, and move to another one."""
from __future__ import annotations

from flask import Blueprint, Response, jsonify

from routes.common import auth, fields, keep_device, session_id

emails = Blueprint("emails", __name__)


@emails.route("/verify_email", methods=["POST"])
def request_verification() -> Response:
    """Mail the link again, and say the same whether or not there is one."""
    email, = fields("email")
    auth().request_verification(email)
    return jsonify(email=email, message="if the address has to be verified, "
                                        "a mail is on its way")


@emails.route("/verify_email", methods=["PUT"])
def verify_email() -> Response:
    """Take a mailed token as proof of a mailbox."""
    token, = fields("token")
    return keep_device(jsonify(email=auth().verify_email(token),
                               message="email verified"))


@emails.route("/email", methods=["PUT"])
def change_email() -> Response:
    """Mail a new address of the caller, which is theirs once confirmed."""
    password, email = fields("password", "email")
    auth().change_email(session_id(), password, email)
    return jsonify(email=email, message="open the link that is mailed to the "
                                        "new address")

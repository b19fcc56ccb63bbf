#!/usr/bin/env python3
"""What whoever runs the service asks it: whether it lives, serves, and how.

Off the public side: strangers find nothing here but that it is alive
(docs/security.md#metrics).
"""
from __future__ import annotations

import hmac

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import NotFound

from routes.common import auth, bearer, service
from routes.guards import OPERATIONS, is_neighbour

operations = Blueprint(OPERATIONS, __name__)


@operations.route("/healthz", methods=["GET"])
def tell_alive() -> Response:
    """Say that this process answers; nothing else is asked or touched."""
    return jsonify(message="alive")


@operations.route("/readyz", methods=["GET"])
def tell_ready() -> Response:
    """Tell neighbours whether requests can be served, within a second."""
    if not (is_neighbour(request) or bears_key()):
        raise NotFound()
    auth().check_ready()
    return jsonify(message="ready")


@operations.route("/metrics", methods=["GET"])
def show_metrics() -> Response:
    """Show what was measured to whoever bears METRICS_TOKEN."""
    if not bears_key():
        raise NotFound()
    content_type, text = auth().metrics()
    return Response(text, content_type=content_type)


def bears_key() -> bool:
    """Tell whether the request bears METRICS_TOKEN, and there is one.

    Compared in a time that does not tell how much of it is right.
    """
    key = service().settings.metrics_token
    return bool(key) and hmac.compare_digest(
        (bearer() or "").encode(), key.encode())

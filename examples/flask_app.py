#!/usr/bin/env python3
"""An app in Flask without a sign-in of its own.

The proxy in front asks Bienvenue about each request. What gets here is from
somebody who is signed in, and two headers say who that is:

- Remote-User, an id that never changes and is never given to anybody else:
  keep what belongs to a user under it;
- Remote-Email, the address, if its mailbox was proven; otherwise nothing.
  It may change.

The proxy writes them over whatever a client sent under these names. So they
can be believed as long as nobody reaches this port but the proxy: it listens
on this machine only.
"""
from __future__ import annotations

import os

from flask import Flask, Response, abort, request

app = Flask(__name__, static_folder=None)


@app.before_request
def refuse_without_proxy() -> None:
    """Notice that the proxy is missing, or does not ask.

    It keeps nobody out who writes the header by hand: that is what the
    address to listen on is for.
    """
    if not request.headers.get("Remote-User"):
        abort(500, "no proxy in front says whose request this is")


@app.route("/")
def greet() -> Response:
    """Tell who is signed in, as plain text, in which no address is HTML."""
    return Response("Hello {}, user {}.\n".format(
        request.headers.get("Remote-Email") or "whoever you are",
        request.headers["Remote-User"]), mimetype="text/plain")


if __name__ == "__main__":
    app.run("127.0.0.1", int(os.environ.get("PORT", "8000")))

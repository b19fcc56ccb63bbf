#!/usr/bin/env python3
"""Whose request is this? A proxy asks before it passes one on to an app.

nginx (auth_request), Caddy (forward_auth) and Traefik (forwardAuth) send the
headers that they got, let the request through if the answer is 200, and hand
any other answer back. docs/forward-auth.md says how to set them up.
"""
from __future__ import annotations

import re
from urllib.parse import quote

from flask import Blueprint, Response, jsonify, request

from errors import NotSignedIn, SignInRequired
from routes.common import auth, service, session_id

forward = Blueprint("forward", __name__)
# What a header carries as it is: no blank, no letter beyond ASCII, and no %,
# or b%6fb@me.com would be bob@me.com to whoever decodes.
PLAIN = re.compile(r"[!-$&-~]*\Z")
# A path on our own host; browsers read // and /\ as another host.
OWN_PATH = re.compile(r"/(?!/)[!-\[\]-~]{0,1999}\Z")


@forward.route("/forward_auth", methods=["GET"])
def forward_auth() -> Response:
    """Name the user of a session in headers, for the app behind a proxy.

    The id is never given to another user; the address is empty unless its
    mailbox is proven to be theirs, as an app may go by it. It is as it is, or
    percent-encoded where that would not do; to decode it is right for either
    (docs/security.md#forward-auth).
    """
    asked = auth()
    try:
        visit = asked.identify(session_id())
    except NotSignedIn:
        return _sign_in()
    email = asked.proven_email(visit)
    response = jsonify(message="signed in")
    response.headers["Remote-User"] = str(visit.user_id)
    response.headers["Remote-Email"] = (
        email if PLAIN.match(email) else quote(email, safe="@"))
    return response


def _sign_in() -> Response:
    """Send a browser to the page for it, and refuse everybody else.

    The page is one of ours, whatever the request says, and hears in the
    fragment where to go on; there is no URL to be taken for ours
    (Flask-Security CVE-2021-32618).
    """
    settings = service().settings
    if not settings.sign_in_path or not _is_navigation():
        raise SignInRequired()
    wanted = _forwarded("X-Forwarded-Uri")
    response = jsonify(message=SignInRequired.default)
    response.status_code = 302
    response.headers["Location"] = "{}{}{}".format(
        settings.public_url, settings.sign_in_path,
        "#next=" + quote(wanted, safe="") if OWN_PATH.match(wanted) else "")
    return response


def _is_navigation() -> bool:
    """Tell whether a browser is on its way to a page.

    A script that is sent to one reads it as its data, or loops (authelia
    #2922). Browsers since 2020 say what they are up to; the others at least
    ask for HTML, which fetch() and XMLHttpRequest do not by themselves.
    """
    if _forwarded("X-Forwarded-Method") not in ("", "GET"):
        return False
    mode = request.headers.get("Sec-Fetch-Mode")
    if mode is not None:
        return mode == "navigate"
    return ("text/html" in request.headers.get("Accept", "")
            and "X-Requested-With" not in request.headers)


def _forwarded(name: str) -> str:
    """Return what our proxies say of the request that they got, "" if none.

    Without proxies that are counted anybody may have written it.
    """
    settings = service().settings
    known = settings.production and settings.trusted_proxies
    return request.headers.get(name, "") if known else ""

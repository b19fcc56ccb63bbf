#!/usr/bin/env python3
"""What every request passes on its way in, and every answer on its way out.

The order is the order of guard(): a name for the log, who may call at all,
on whose behalf, and how much is said.
"""
from __future__ import annotations

import re
import uuid
from ipaddress import ip_address

from flask import Flask, Response, g, request
from werkzeug.exceptions import RequestEntityTooLarge

from errors import CrossSite, DevelopmentOnly
from routes.common import MAX_BODY, TOO_LARGE

HEADERS = {
    # Answers hold personal data and cookies (ASVS 14.3.2, CVE-2023-30861).
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    # An answer is data: it runs nothing, and no page shows or embeds it.
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; "
                               "form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}
# What may be taken over from a proxy into our log and back into a header.
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
SAFE_METHODS = ("GET", "HEAD")
LOOPBACK_HOST = re.compile(
    r"(localhost|127\.0\.0\.1|\[::1\]|0\.0\.0\.0)(:[0-9]{1,5})?\Z", re.I)
FORWARDED = re.compile(r"(Forwarded|Via|X-Real-Ip|X-Forwarded-.*)\Z", re.I)


def guard(app: Flask) -> None:
    """Put these checks and headers around every route of an app."""
    for check in (name_request, refuse_strangers, refuse_other_sites,
                  refuse_large_bodies):
        app.before_request(check)
    app.after_request(add_headers)


def name_request() -> None:
    """Give the request an id, the caller's own if it is fit for a log."""
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if REQUEST_ID.match(given) else str(uuid.uuid4())


def refuse_strangers() -> None:
    """Answer this machine only, as long as the mode is development.

    That mode hands a reset token to whoever names an address. The peer must
    be loopback, no proxy may stand between, and the Host must be a loopback
    name, or a web page could reach us through a name of its own (DNS
    rebinding; docs/security.md#development-mode).
    """
    if not _is_loopback(request.remote_addr or "") \
            or not LOOPBACK_HOST.match(request.host) \
            or any(FORWARDED.match(name) for name, _ in request.headers):
        raise DevelopmentOnly()


def refuse_other_sites() -> None:
    """Let a browser change something only from our own pages.

    Forms of other sites need no permission to be sent, and the cookie goes
    with them; signing somebody in to a stranger's account counts too. What
    the browser says of itself decides: Sec-Fetch-Site, and Origin where that
    is missing. Neither is sent by curl and apps, which act for nobody else
    (OWASP CSRF Prevention Cheat Sheet; docs/security.md#cross-site).
    """
    if request.method in SAFE_METHODS:
        return
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    if site is not None:
        ours = site in ("same-origin", "none")
    else:
        ours = origin in (None, "http://" + request.host)
    if not ours:
        raise CrossSite()


def refuse_large_bodies() -> None:
    """Refuse a body that says it is too large before any of it is read."""
    if (request.content_length or 0) > MAX_BODY:
        raise RequestEntityTooLarge(TOO_LARGE)


def add_headers(response: Response) -> Response:
    """Put the headers that no answer goes without."""
    response.headers.update(HEADERS)
    response.headers["X-Request-ID"] = g.request_id
    return response


def _is_loopback(address: str) -> bool:
    """Tell whether a peer is this machine, IPv4 inside IPv6 included."""
    try:
        peer = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(peer, "ipv4_mapped", None)
    return (mapped or peer).is_loopback

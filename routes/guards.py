#!/usr/bin/env python3
"""What every request passes on its way in, and every answer on its way out.

The order is the order of guard(): who asks, whether they may call at all, on
whose behalf, and how much is said.
"""
from __future__ import annotations

import random
import re
import time
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

from flask import Flask, Request, Response, g, request
from werkzeug.exceptions import RequestEntityTooLarge

from audit import Caller
from credentials import tokens
from errors import CrossSite, DevelopmentOnly, UnknownHost
from routes.common import (
    DEVICE_COOKIE, MAX_BODY, TOO_LARGE, service, the_cookie)
from settings import Settings

HEADERS = {
    # Answers hold personal data and cookies (ASVS 14.3.2, CVE-2023-30861).
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    # An answer is data: it runs nothing, and no page shows or embeds it.
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; "
                               "form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    # What is answered depends on these, should anybody keep it after all.
    "Vary": "Cookie, Authorization",
}
# Browsers come by TLS only, for a year to come (ASVS 3.4.1); production only.
HSTS = "max-age=31536000; includeSubDomains"
# All who come from no address that we understand count as one party.
NOWHERE = "unknown"
# What may be taken over from a proxy into our log and back into a header.
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
SAFE_METHODS = ("GET", "HEAD")
LOOPBACK_HOST = re.compile(
    r"(localhost|127\.0\.0\.1|\[::1\]|0\.0\.0\.0)(:[0-9]{1,5})?\Z", re.I)
HOST = re.compile(r"([a-z0-9.-]+)(?::[0-9]{1,5})?\Z")
# What stands in Host when a machine is called by number, as health checks do.
# No page can have a browser say so under a name of its own (DNS rebinding).
NUMBERED = re.compile(r"(localhost|[0-9]{1,3}(\.[0-9]{1,3}){3}|"
                      r"\[[0-9a-f:.]+\])(:[0-9]{1,5})?\Z")
# Those who may be on our own network: this machine, private addresses.
NEIGHBOURS = tuple(ip_network(each) for each in (
    "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
    "169.254.0.0/16", "::1/128", "fc00::/7", "fe80::/10"))
# The routes for whoever runs the service.
OPERATIONS = "operations"
# All that we answer; another one is a word of the client's.
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE"))
FORWARDED = re.compile(r"HTTP_(FORWARDED|VIA|X_REAL_IP|X_FORWARDED_.*)\Z")
# Under which name a request carries its id, from the first on.
NAME = "bienvenue.request_id"


def guard(app: Flask) -> None:
    """Put these checks and headers around every route of an app."""
    settings = app.extensions["auth"].settings
    app.before_request(let_in)
    if settings.metrics_token:
        app.after_request(stop_clock)
    # What only adds to answers needs no request context around it.
    application: Any = app
    application.wsgi_app = Named(app.wsgi_app, headers_of(
        settings.production))


class Named:
    """Around the app: each request has an id, each answer our headers.

    The id is the caller's own if it is fit for a log. Otherwise it is no
    secret, so the system is not asked for it, which would give up the turn
    that this thread has in the interpreter; but of Python's own generator,
    which alone starts anew in a process that is forked. A header that an
    answer has already goes before ours.
    """

    def __init__(self, app: Any, headers: Mapping[str, str]) -> None:
        """Surround a WSGI application with these headers."""
        self._app = app
        self._headers = list(headers.items())

    def __call__(self, environ: Dict[str, Any], start_response: Any) -> Any:
        """Answer a request as the application does, and say whose it is."""
        given = environ.get("HTTP_X_REQUEST_ID", "")
        request_id = given if REQUEST_ID.match(given) else "{:032x}".format(
            random.getrandbits(128))  # nosec B311 # as said, no secret
        environ[NAME] = request_id

        def start(status: str, headers: List[Tuple[str, str]],
                  *error: Any) -> Any:
            """Begin the answer."""
            said = {name for name, _ in headers}
            return start_response(status, headers + [
                each for each in self._headers if each[0] not in said
            ] + [("X-Request-ID", request_id)], *error)
        return self._app(environ, start)


def let_in() -> None:
    """Find out who asks and whether they may call at all."""
    # The request itself: each look through Flask's proxy costs as much as
    # what is looked at.
    asked, settings = request.environ["werkzeug.request"], service().settings
    g.came_at = time.perf_counter()
    g.request_id = asked.environ[NAME]
    g.auth = service().acting_for(caller_of(asked, settings))
    if settings.production:
        refuse_other_hosts(asked, settings)
    else:
        refuse_strangers(asked)
    if asked.method not in SAFE_METHODS:
        refuse_other_sites(asked, settings)
    refuse_large_bodies(asked)


def caller_of(asked: Request, settings: Settings) -> Caller:
    """Return who asks: for the log, the record and the throttle.

    A device is known by its cookie, in production only, and has a next one
    where it may sign in.
    """
    production = settings.production
    peer = asked.remote_addr or ""
    changes = asked.method not in SAFE_METHODS
    return Caller(
        network=network_of(client_address(
            peer, asked.environ.get("HTTP_X_FORWARDED_FOR", ""),
            settings.trusted_proxies if production else 0))
        or network_of(peer) or NOWHERE,
        user_agent=asked.environ.get("HTTP_USER_AGENT", ""),
        request_id=asked.environ[NAME],
        device=the_cookie(DEVICE_COOKIE) if production and changes else "",
        next_device=tokens.mint() if production and changes else "")


def client_address(peer: str, forwarded: str, hops: int) -> str:
    """Return the address of the client that is `hops` proxies away.

    Each proxy appends whom it heard from, so the last of our proxies wrote
    the last entry, and what stands left of theirs is the client's own
    invention (allauth 65.14.2). With fewer entries than proxies somebody
    came around them; then the peer is all we know.
    """
    if not hops:
        return peer
    heard = [each.strip() for each in forwarded.split(",") if each.strip()]
    return heard[-hops] if hops <= len(heard) else peer


@lru_cache(maxsize=1024)
def network_of(address: str) -> str:
    """Return what counts as one party: an IPv4 address, or an IPv6 /64.

    "" for what is no address. A /64 is one household; counting its 2**64
    addresses apart would be no count (better-auth CVE-2026-45364). IPv4
    inside IPv6 is IPv4.
    """
    found = _parsed(address)
    if found is None:
        return ""
    return str(found) if found.version == 4 else str(
        ip_network((int(found), 64), strict=False))


def refuse_strangers(asked: Request) -> None:
    """Answer this machine only, as long as the mode is development.

    That mode hands a reset token to whoever names an address. The peer must
    be loopback, no proxy may stand between, and the Host must be a loopback
    name, or a web page could reach us through a name of its own (DNS
    rebinding; docs/security.md#development-mode).
    """
    peer = _parsed(asked.remote_addr or "")
    if peer is None or not peer.is_loopback \
            or not LOOPBACK_HOST.match(asked.host) \
            or came_by_proxy(asked):
        raise DevelopmentOnly()


def came_by_proxy(asked: Request) -> bool:
    """Tell whether somebody passed this request on, or says so."""
    return any(FORWARDED.match(name) for name in asked.environ)


def is_neighbour(asked: Request) -> bool:
    """Tell whether somebody on this machine or network asks us directly.

    Behind a proxy on this machine every visitor has a loopback address, so
    what was passed on is nobody's here (docs/security.md#metrics).
    """
    peer = _parsed(asked.remote_addr or "")
    return peer is not None and not came_by_proxy(asked) and any(
        peer in each for each in NEIGHBOURS)


def refuse_other_hosts(asked: Request, settings: Settings) -> None:
    """Answer in production under our own names only.

    Links never depend on it, but a name that somebody else points at us is
    no way to be reached (docs/security.md#hosts). Health checks have no name
    for us, only a number.
    """
    # As it was sent: Werkzeug's reading of it costs as much as a look-up.
    host = (asked.environ.get("HTTP_HOST") or asked.host).lower()
    match = HOST.match(host)
    if match is not None and match.group(1) in settings.hosts:
        return
    if asked.blueprint != OPERATIONS or not NUMBERED.match(host):
        raise UnknownHost()


def refuse_other_sites(asked: Request, settings: Settings) -> None:
    """Let a browser change something only from our own pages.

    Forms of other sites need no permission to be sent, and the cookie goes
    with them; signing somebody in to a stranger's account counts too. What
    the browser says of itself decides: Sec-Fetch-Site, and Origin where that
    is missing. Neither is sent by curl and apps, which act for nobody else
    (OWASP CSRF Prevention Cheat Sheet; docs/security.md#cross-site).
    """
    own = (settings.public_url if settings.production
           else "http://" + asked.host)
    site = asked.headers.get("Sec-Fetch-Site")
    origin = asked.headers.get("Origin")
    if site is not None:
        ours = site in ("same-origin", "none")
    else:
        ours = origin in (None, own)
    if not ours:
        raise CrossSite()


def refuse_large_bodies(asked: Request) -> None:
    """Refuse a body that says it is too large before any of it is read."""
    if (asked.content_length or 0) > MAX_BODY:
        raise RequestEntityTooLarge(TOO_LARGE)


def stop_clock(response: Response) -> Response:
    """Note how long the answer took, and of which route it is.

    By the route's rule and never by the path, of which there is no end, and
    which may hold what is nobody's business.
    """
    rule = request.url_rule.rule if request.url_rule else "none"
    method = request.method if request.method in METHODS else "other"
    service().measure_request(as_written(rule), method, response.status_code,
                              time.perf_counter() - g.came_at)
    return response


@lru_cache(maxsize=None)
def as_written(rule: str) -> str:
    """Return a rule as the README writes it: `<int:id>` as `<id>`."""
    return re.sub(r"<\w+(\([^)]*\))?:", "<", rule)


def headers_of(production: bool) -> Dict[str, str]:
    """Return the headers of every answer in a mode."""
    return dict(HEADERS, **{"Strict-Transport-Security": HSTS}
                ) if production else HEADERS


def _parsed(address: str) -> Optional[Union[IPv4Address, IPv6Address]]:
    """Return an IP address, IPv4 inside IPv6 as IPv4; None if it is none."""
    try:
        found = ip_address(address)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found

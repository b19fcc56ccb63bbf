#!/usr/bin/env python3
"""What routes share: who is asking, what was sent, and the session cookie."""
from __future__ import annotations

import json
from typing import Any, Dict, List, Optional, Tuple, cast
from urllib.parse import parse_qsl

from flask import Response, current_app, g, request
from werkzeug.exceptions import (
    BadRequest, RequestEntityTooLarge, UnsupportedMediaType)

from auth import Auth
from credentials.passwords import PASSWORD_MAX
from devices import DEVICE_LIFE
from errors import InvalidInput
from user import EMAIL_MAX

# The contract's name for the session; browsers let nobody else set one that
# starts with __Host-, not even a neighbour of the same domain.
COOKIE, SAFE_COOKIE = "session_id", "__Host-session_id"
# By which a browser tells that it was here before (OWASP device cookies).
DEVICE_COOKIE = "__Host-device"
# Every field any route reads fits several times over.
MAX_BODY = 16 * 1024
TOO_LARGE = "the body is larger than 16 KiB"
# The longest value of each field; a token has 36 characters, and a longer
# one is merely wrong, so its limit only keeps nonsense out.
MAX_LENGTH = {"email": EMAIL_MAX, "password": PASSWORD_MAX,
              "current_password": PASSWORD_MAX, "new_password": PASSWORD_MAX,
              "reset_token": 250, "token": 250}


def service() -> Auth:
    """Return the service behind the app that is answering."""
    return cast(Auth, current_app.extensions["auth"])


def auth() -> Auth:
    """Return the service as it acts for whoever is asking."""
    return cast(Auth, g.auth)


# -- Who is asking

def session_id() -> str:
    """Return the token the request presents, "" if none.

    `Authorization: Bearer` goes before the cookie, since only the caller's
    own code can set it. Two session cookies are none: which of them a planted
    one would shadow depends on the parser (Werkzeug CVE-2023-23934).
    """
    token = bearer()
    return the_cookie(session_cookie_name()) if token is None else token


def bearer() -> Optional[str]:
    """Return the token of `Authorization: Bearer`, None without one."""
    scheme, _, token = request.environ.get(
        "HTTP_AUTHORIZATION", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def the_cookie(name: str) -> str:
    """Return the value of a cookie, "" unless there is exactly one.

    Only the blanks that browsers put between cookies are taken off a name. A
    neighbour can set a cookie whose name is some other blank and then ours,
    which passes for ours where all of them are taken off (PortSwigger 2025,
    "Cookie Chaos"; docs/security.md#sessions).
    """
    cookies = [value.strip(" \t") for said, _, value in (
        each.partition("=") for each in request.environ.get(
            "HTTP_COOKIE", "").split(";")) if said.strip(" \t") == name]
    return cookies[0] if len(cookies) == 1 else ""


def session_cookie_name() -> str:
    """Return what the session cookie is called in this mode."""
    return SAFE_COOKIE if service().settings.production else COOKIE


def set_session(response: Response, token: str) -> Response:
    """Give the browser its session, out of reach of scripts and other sites.

    The browser forgets it when the session ends at the latest.
    """
    _set_cookie(response, session_cookie_name(), token,
                service().settings.session_absolute)
    return keep_device(response)


def clear_session(response: Response) -> Response:
    """Make the browser forget its session, and what it kept of ours.

    In production with Clear-Site-Data (ASVS 14.3.1), but not its "cookies":
    that would take those of every neighbour under the domain, and the one
    by which this device is known.
    """
    settings = service().settings
    _set_cookie(response, session_cookie_name(), "", 0)
    if settings.production:
        response.headers["Clear-Site-Data"] = '"cache", "storage"'
    return response


def keep_device(response: Response) -> Response:
    """Have the browser say from now on that it was here before."""
    if auth().caller.next_device:
        _set_cookie(response, DEVICE_COOKIE, auth().caller.next_device,
                    DEVICE_LIFE)
    return response


def _set_cookie(response: Response, name: str, value: str,
                seconds: int) -> None:
    """Set a cookie that neither scripts nor pages of other sites use."""
    response.set_cookie(
        name, value, max_age=seconds, httponly=True, samesite="Lax",
        secure=service().settings.production,
        expires=None if seconds else 0)


# -- What browsers show

def html(text: str) -> Response:
    """Answer with a page, of which no other window gets hold (ASVS 3.4.8)."""
    response = Response(text, content_type="text/html; charset=utf-8")
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    return response


# -- What browsers keep

def cached(body: bytes, content_type: str) -> Response:
    """Answer with what is the same for everybody, or that it has not changed.

    A browser keeps it and asks each time, so an upgrade is seen at once.
    """
    response = Response(body, content_type=content_type)
    response.headers["Cache-Control"] = "no-cache"
    response.headers["Vary"] = "Accept-Encoding"
    response.add_etag()
    response.make_conditional(request)
    return response


# -- What was sent

def fields(*names: str) -> Tuple[str, ...]:
    """Return the named fields of the form or JSON body, in order.

    An absent field is "" and meets the rule of its verb; unknown ones are
    ignored. A body that cannot be read in one way only is refused: not UTF-8,
    not an object, a field given twice (parsers disagree on which counts, ASVS
    15.3.7), a value that is not text (docs/security.md#input).
    """
    sent = _sent()
    return tuple(_text(name, sent.get(name, "")) for name in names)


def _sent() -> Dict[str, Any]:
    """Parse the body by its content type."""
    body = _body()
    if not body:
        return {}
    try:
        text = body.decode("utf-8")
        if request.mimetype == "application/json":
            return _object(json.loads(text, object_pairs_hook=_once))
        if request.mimetype == "application/x-www-form-urlencoded":
            return _once(parse_qsl(
                text, keep_blank_values=True, errors="strict"))
    except UnicodeDecodeError as error:
        raise BadRequest("the body is not UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise BadRequest("the body is not valid JSON") from error
    raise UnsupportedMediaType(
        "send application/x-www-form-urlencoded or application/json")


def _body() -> bytes:
    """Read the body, but no more of it than any route needs.

    The length is counted here because a chunked body does not declare it,
    and because old Flask does not hold JSON to its own limit. How slowly it
    comes is up to a proxy in front (docs/security.md#slow-senders).
    """
    body = bytearray()
    try:
        while len(body) <= MAX_BODY:
            chunk = request.stream.read(MAX_BODY + 1 - len(body))
            if not chunk:
                return bytes(body)
            body += chunk
    except OSError as error:
        raise BadRequest("the body ended early") from error
    raise RequestEntityTooLarge(TOO_LARGE)


def _once(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    """Return the pairs as a dictionary; refuse a name that comes twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadRequest("a field is given twice")
    return found


def _object(value: Any) -> Dict[str, Any]:
    """Return a JSON object as it is; refuse any other JSON."""
    if not isinstance(value, dict):
        raise BadRequest("the body is not a JSON object")
    return value


def _text(name: str, value: Any) -> str:
    """Return a field's value if it is text of a length that makes sense."""
    if not isinstance(value, str):
        raise InvalidInput("{} is not a string".format(name))
    if len(value) > MAX_LENGTH[name]:
        raise InvalidInput("{} is longer than {} characters".format(
            name, MAX_LENGTH[name]))
    # JSON can spell half a surrogate pair, which no encoder can write.
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise InvalidInput("{} is not valid Unicode".format(name))
    return value

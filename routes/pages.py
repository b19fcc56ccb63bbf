#!/usr/bin/env python3
"""The pages for people: files, sent as they are, which call our own routes.

Nothing here asks the database; a page finds out by fetch() who is signed in.
What it may load, run and call is in its Content-Security-Policy, and that is
our own origin (docs/security.md#account-page).
"""
from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Callable, Dict, Tuple

from flask import Blueprint, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from werkzeug.exceptions import NotFound

from routes import brand
from routes.common import cached, html, service, session_id
from settings import Settings

pages = Blueprint("pages", __name__)
FOLDER = Path(__file__).resolve().parent.parent / "pages" / "account"
# Where browsers are told to change a password, and where that is done.
CHANGE_PASSWORD = "/account#password"
# No inline script or style and nothing of elsewhere but the logo; no string
# ever becomes markup or code; no form goes anywhere but by our own script.
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; "
          "img-src {}; connect-src 'self'; form-action 'none'; "
          "frame-ancestors 'none'; base-uri 'none'; "
          "require-trusted-types-for 'script'; trusted-types 'none'")
# A picture that somebody opens by itself runs nothing: SVG could.
PICTURE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
CSS, SCRIPT = "text/css; charset=utf-8", "text/javascript; charset=utf-8"


@pages.route("/account", methods=["GET"])
def show_account() -> Response:
    """Show the page on which people sign up, sign in and help themselves."""
    settings = service().settings
    response = html(account_html(settings, bool(session_id())))
    response.headers["Content-Security-Policy"] = POLICY.format(
        " ".join(filter(None, ("'self'", brand.logo_origin(settings)))))
    return response


@pages.route("/account/<name>", methods=["GET"])
def send_asset(name: str) -> Response:
    """Send a file of the page."""
    if name not in ASSETS:
        raise NotFound()
    response = cached(*asset_named(name, service().settings))
    if name == "logo":
        response.headers["Content-Security-Policy"] = PICTURE_POLICY
    return response


@pages.route("/.well-known/change-password", methods=["GET"])
def find_change_password() -> Response:
    """Lead password managers to the place (W3C, change-password URL)."""
    response = Response(status=302)
    response.headers["Location"] = CHANGE_PASSWORD
    return response


@lru_cache(maxsize=8)
def account_html(settings: Settings, has_session: bool) -> str:
    """Return the page in a deployer's name.

    It is told whether the browser sent a session, so that it asks whose only
    where there is something to ask.
    """
    templates = Environment(
        loader=FileSystemLoader(str(FOLDER)), undefined=StrictUndefined,
        autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return templates.get_template("account.html").render(
        settings=settings, has_session=has_session,
        logo=settings.logo if brand.logo_origin(settings) else "/account/logo")


@lru_cache(maxsize=32)
def asset_named(name: str, settings: Settings) -> Tuple[bytes, str]:
    """Return a file of the page and its content type, made once."""
    return ASSETS[name](settings)


def _read(name: str) -> bytes:
    """Return the bytes of a file in our folder."""
    return (FOLDER / name).read_bytes()


# The files of the page by name, and how each comes by its bytes and type.
ASSETS: Dict[str, Callable[[Settings], Tuple[bytes, str]]] = {
    "account.css": lambda _: (_read("account.css"), CSS),
    "account.js": lambda _: (_read("account.js"), SCRIPT),
    "brand.css": lambda settings: (brand.style(settings).encode(), CSS),
    "logo": brand.logo}

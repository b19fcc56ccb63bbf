#!/usr/bin/env python3
"""The card's end-to-end journey against a running server.

    BASE_URL=http://localhost:5000 python3 main.py

No output means that all is well. It can be run again and again against the
same server, because it deletes the account that it opens.
"""
from __future__ import annotations

import os
import sys
from typing import Any, Dict

import requests

BASE_URL = os.environ.get("BASE_URL", "http://localhost:5000").rstrip("/")
EMAIL = "guillaume@holberton.io"
PASSWD = "b4l0u"
NEW_PASSWD = "t4rt1fl3tt3"
TIMEOUT = 30


def _ask(method: str, path: str, session_id: str = "",
         **data: str) -> requests.Response:
    """Send one request and return its answer, redirects not followed."""
    return requests.request(
        method, BASE_URL + path, data=data, allow_redirects=False,
        cookies={"session_id": session_id} if session_id else {},
        timeout=TIMEOUT)


def _check(response: requests.Response, status: int,
           body: Dict[str, Any]) -> None:
    """Assert an exact answer, saying what came instead."""
    asked = "{} {}".format(response.request.method, response.request.url)
    assert response.status_code == status, "{}: {} instead of {}: {}".format(
        asked, response.status_code, status, response.text)
    assert response.json() == body, "{}: {} instead of {}".format(
        asked, response.text, body)


def register_user(email: str, password: str) -> None:
    """Open an account; a second time for the same address is refused."""
    answer = _ask("POST", "/users", email=email, password=password)
    _check(answer, 200, {"email": email, "message": "user created"})
    answer = _ask("POST", "/users", email=email, password=password)
    _check(answer, 400, {"message": "email already registered"})


def log_in_wrong_password(email: str, password: str) -> None:
    """Fail to sign in: 401, and no cookie."""
    answer = _ask("POST", "/sessions", email=email, password=password)
    assert answer.status_code == 401, answer.text
    assert "Set-Cookie" not in answer.headers


def log_in(email: str, password: str) -> str:
    """Sign in and return the session id from the cookie."""
    answer = _ask("POST", "/sessions", email=email, password=password)
    _check(answer, 200, {"email": email, "message": "logged in"})
    return answer.cookies["session_id"]


def profile_unlogged() -> None:
    """Ask for a profile without a session: 403."""
    assert _ask("GET", "/profile").status_code == 403


def profile_logged(session_id: str) -> None:
    """Ask for a profile with a session and find the address in it."""
    _check(_ask("GET", "/profile", session_id), 200, {"email": EMAIL})


def log_out(session_id: str) -> None:
    """Sign out: a redirect home, and the session is dead."""
    answer = _ask("DELETE", "/sessions", session_id)
    assert answer.status_code == 302, answer.text
    assert answer.headers["Location"] in ("/", BASE_URL + "/")
    assert _ask("GET", "/profile", session_id).status_code == 403


def reset_password_token(email: str) -> str:
    """Ask for a reset token and return it."""
    answer = _ask("POST", "/reset_password", email=email)
    assert answer.status_code == 200, answer.text
    token = answer.json()["reset_token"]
    _check(answer, 200, {"email": email, "reset_token": token})
    return str(token)


def update_password(email: str, reset_token: str, new_password: str) -> None:
    """Set a new password; the token works once."""
    sent = {"email": email, "reset_token": reset_token,
            "new_password": new_password}
    _check(_ask("PUT", "/reset_password", **sent), 200,
           {"email": email, "message": "Password updated"})
    assert _ask("PUT", "/reset_password", **sent).status_code == 403


def _forget_account() -> None:
    """Delete the account of this or an interrupted earlier run."""
    for password in (NEW_PASSWD, PASSWD):
        answer = _ask("POST", "/sessions", email=EMAIL, password=password)
        if answer.status_code == 200:
            _ask("DELETE", "/profile", answer.cookies["session_id"],
                 password=password)


def main() -> None:
    """Walk the whole journey, leaving nothing behind."""
    _forget_account()
    try:
        register_user(EMAIL, PASSWD)
        log_in_wrong_password(EMAIL, NEW_PASSWD)
        profile_unlogged()
        session_id = log_in(EMAIL, PASSWD)
        profile_logged(session_id)
        log_out(session_id)
        reset_token = reset_password_token(EMAIL)
        update_password(EMAIL, reset_token, NEW_PASSWD)
        log_in(EMAIL, NEW_PASSWD)
    finally:
        _forget_account()


if __name__ == "__main__":
    try:
        main()
    except (requests.ConnectionError, requests.Timeout,
            requests.exceptions.MissingSchema,
            requests.exceptions.InvalidSchema,
            requests.exceptions.InvalidURL):
        sys.exit("No server answers at {}. Start one with `make run`, or "
                 "name another: BASE_URL=http://host:port python3 main.py"
                 .format(BASE_URL))

#!/usr/bin/env python3
"""One person's account from a script: sign up, look around, leave.

    BASE_URL=http://localhost:5000 python3 examples/account.py

The session is a cookie, which requests keeps and renews by itself. Whoever is
told to wait (429: too often; 503: busy) gets `Retry-After`, in seconds, and
nothing was done: the same request may be sent again then, and not sooner.
"""
from __future__ import annotations

import os
import secrets
import time
from typing import Any

import requests

BASE_URL = os.environ.get("BASE_URL", "http://localhost:5000").rstrip("/")
# A longer wait is no hiccup: better to fail and say so.
PATIENCE, TRIES = 30, 5


def ask(session: requests.Session, method: str, path: str,
        **fields: str) -> Any:
    """Send a form, wait as told, and return the answer's JSON, None if none.

    Raises requests.HTTPError with the sentence of a refusal.
    """
    for left in reversed(range(TRIES)):
        answer = session.request(method, BASE_URL + path, data=fields,
                                 timeout=30, allow_redirects=False)
        wait = int(answer.headers.get("Retry-After", "0"))
        if answer.status_code not in (429, 503) or wait > PATIENCE or not left:
            break
        time.sleep(wait)
    body: Any = answer.json() if answer.content else None
    if answer.status_code >= 400:
        raise requests.HTTPError(body["message"], response=answer)
    return body


def main() -> None:
    """Walk through an account that nobody else has, and delete it."""
    email = "{}@example.com".format(secrets.token_hex(8))
    old, new = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
    with requests.Session() as here:
        print(ask(here, "POST", "/users", email=email, password=old))
        print(ask(here, "POST", "/sessions", email=email, password=old))
        print(ask(here, "GET", "/sessions"))
        print(ask(here, "PUT", "/password", current_password=old,
                  new_password=new))
        print(ask(here, "DELETE", "/sessions"))
        print(ask(here, "POST", "/sessions", email=email, password=new))
        ask(here, "DELETE", "/profile", password=new)


if __name__ == "__main__":
    main()

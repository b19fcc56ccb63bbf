#!/usr/bin/env python3
"""How a service is spoken to: which request means what, byte for byte.

Written out by hand, so that a client costs next to nothing beside the server
that shares its machine.
"""
from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Dict, List, NamedTuple, Tuple
from urllib.parse import urlencode

Headers = Dict[str, str]
FORM, JSON = "application/x-www-form-urlencoded", "application/json"


@dataclass(frozen=True)
class Api:
    """Where a service takes what, and how it says that all is well."""

    ready: str = "/readyz"
    # Answered before that, where the two differ.
    alive: str = ""
    profile: str = "/profile"
    sign_in: str = "/sessions"
    register: str = "/users"
    sign_in_type: str = FORM
    register_type: str = FORM
    # The field of a sign-in that holds the address.
    name: str = "email"
    good: Tuple[int, ...] = (200,)
    headers: Headers = field(default_factory=dict)


class Answer(NamedTuple):
    """What a server sent back; names of headers in small letters."""

    status: int
    headers: Headers
    cookies: Headers
    body: bytes

    @property
    def retry_after(self) -> str:
        """When to come back; "" if it does not say."""
        return self.headers.get("retry-after", "")


def encode(method: str, path: str, headers: Headers,
           body: bytes = b"") -> bytes:
    """Return a request as it goes over the wire."""
    lines = ["{} {} HTTP/1.1".format(method, path)]
    lines += ["{}: {}".format(*each) for each in headers.items()]
    if method != "GET":
        lines.append("Content-Length: {}".format(len(body)))
    return "\r\n".join(lines + ["", ""]).encode() + body


def get(api: Api, path: str, headers: Headers) -> bytes:
    """Return a request that reads."""
    return encode("GET", path, dict({"Host": "127.0.0.1"}, **dict(
        api.headers, **headers)))


def post(api: Api, path: str, kind: str, fields: Dict[str, str],
         headers: Headers) -> bytes:
    """Return a request that sends fields, as a form or as JSON."""
    body = (json.dumps(fields) if kind == JSON else urlencode(fields)).encode()
    return encode("POST", path, dict(
        {"Host": "127.0.0.1", "Content-Type": kind},
        **dict(api.headers, **headers)), body)


def sign_in(api: Api, email: str, password: str, headers: Headers) -> bytes:
    """Return the request that signs somebody in."""
    return post(api, api.sign_in, api.sign_in_type,
                {api.name: email, "password": password}, headers)


def register(api: Api, email: str, password: str) -> bytes:
    """Return the request that opens an account."""
    return post(api, api.register, api.register_type,
                {"email": email, "password": password}, {})


def cookie_header(cookies: Headers) -> Headers:
    """Return what a browser sends that holds these cookies."""
    return {"Cookie": "; ".join(
        "{}={}".format(*each) for each in cookies.items())}


async def read_answer(stream: asyncio.StreamReader) -> Answer:
    """Read one answer to its end.

    Raises ValueError for one that does not say how long it is.
    """
    head = (await stream.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    status, pairs = int(first.split(" ", 2)[1]), split_headers(lines)
    headers = dict(pairs)
    length = headers.get("content-length", "0" if status == 204 else "")
    if not length:
        raise ValueError("an answer of unknown length")
    body = await stream.readexactly(int(length))
    return Answer(status, headers, cookies_of(pairs), body)


def split_headers(lines: List[str]) -> List[Tuple[str, str]]:
    """Return the name and the value of each line."""
    pairs = (line.partition(":") for line in lines)
    return [(name.strip().lower(), said.strip()) for name, _, said in pairs]


def cookies_of(pairs: List[Tuple[str, str]]) -> Headers:
    """Return the cookies that an answer sets."""
    set_ = [said.partition(";")[0].partition("=")
            for name, said in pairs if name == "set-cookie"]
    return {name.strip(): text.strip() for name, _, text in set_}

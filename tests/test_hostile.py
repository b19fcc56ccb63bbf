#!/usr/bin/env python3
"""Whatever arrives on the socket gets an answer in JSON, below 500.

Every request is bytes written by hand, since a client library would refuse to
send most of them. `CASES` is the storm; what follows it looks at the service
that has been through it.
"""
from __future__ import annotations

import gzip
import json
import socket
import struct
from contextlib import closing, suppress
from http.client import HTTPResponse
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Tuple, Union
from urllib.parse import urlencode

import pytest

from tests.databases import rows, url_in
from tests.helpers import (
    EMAIL, NO_TOKENS, PASSWORD, STRANGE_TOKEN, Answer, Server)

KIB = 1024
JSON = b"application/json"
FORM = b"application/x-www-form-urlencoded"
# Nobody may get an account under this name, whatever they send.
MALLORY = "mallory@example.com"
# The storm may open these, because nothing is wrong with what it sends.
HARMLESS = ("nul-in-password@example.com", "crlf-in-password@example.com",
            "exactly-once@example.com")
REFUSED = tuple(range(400, 500))

# The routes that read a body, with the fields they read from it.
ROUTES: Dict[Tuple[str, str], Tuple[str, ...]] = {
    ("POST", "/users"): ("email", "password"),
    ("POST", "/sessions"): ("email", "password"),
    ("POST", "/reset_password"): ("email",),
    ("PUT", "/reset_password"): ("email", "reset_token", "new_password"),
    ("PUT", "/password"): ("current_password", "new_password"),
    ("PUT", "/email"): ("password", "email"),
    ("POST", "/verify_email"): ("email",),
    ("PUT", "/verify_email"): ("token",),
    ("DELETE", "/profile"): ("password",)}
FIELDS = [(method, path, field) for (method, path), names in ROUTES.items()
          for field in names]
# What a readable body that proves nothing is answered with.
UNPROVEN = {
    ("POST", "/users"): 400, ("POST", "/sessions"): 401,
    ("POST", "/reset_password"): 403, ("PUT", "/reset_password"): 403,
    ("PUT", "/password"): 403, ("PUT", "/email"): 403,
    ("POST", "/verify_email"): 400, ("PUT", "/verify_email"): 403,
    ("DELETE", "/profile"): 403}
# HEAD comes with GET; nothing else comes by itself.
ALLOWED = {
    "/": {"GET", "HEAD"}, "/users": {"POST"},
    "/sessions": {"GET", "HEAD", "POST", "DELETE"},
    "/sessions/1": {"DELETE"}, "/sessions/others": {"DELETE"},
    "/profile": {"GET", "HEAD", "DELETE"}, "/password": {"PUT"},
    "/profile/export": {"GET", "HEAD"}, "/reset_password": {"POST", "PUT"},
    "/email": {"PUT"}, "/verify_email": {"POST", "PUT"}}


class Case(NamedTuple):
    """One request, and the statuses that may answer it.

    Whoever `ends` says after the last byte that no more will come, without
    hanging up: the answer can still arrive.
    """

    name: str
    request: bytes
    statuses: Tuple[int, ...]
    ends: bool = False


def request(method: str, path: Union[str, bytes], *headers: bytes,
            body: bytes = b"", host: bytes = b"Host: localhost") -> bytes:
    """Put a request together, with nothing in it that was not asked for."""
    target = path if isinstance(path, bytes) else path.encode("ascii")
    lines = [method.encode("latin-1") + b" " + target + b" HTTP/1.1", host]
    return b"\r\n".join(lines + list(headers) + [b"", body])


def sends(method: str, path: str, body: bytes, kind: bytes = FORM,
          *headers: bytes) -> bytes:
    """Put together a request with a body of a declared type and length."""
    return request(method, path, b"Content-Type: " + kind,
                   b"Content-Length: %d" % len(body), *headers, body=body)


def chunked(method: str, path: str, chunks: bytes, *headers: bytes) -> bytes:
    """Put together a form whose length is not declared."""
    return request(method, path, b"Content-Type: " + FORM,
                   b"Transfer-Encoding: chunked", *headers, body=chunks)


def form_with(method: str, path: str, field: str, value: bytes) -> bytes:
    """Fill in a route's form, with this text for one of the fields."""
    return b"&".join(
        name.encode() + b"=" + (value if name == field else filler(name))
        for name in ROUTES[method, path])


def json_with(method: str, path: str, field: str, value: bytes) -> bytes:
    """Fill in a route's fields as JSON, with this literal for one of them."""
    return b"{%s}" % b", ".join(
        b'"%s": %s' % (name.encode(), value if name == field
                       else b'"%s"' % filler(name))
        for name in ROUTES[method, path])


def filler(field: str) -> bytes:
    """Return what stands in a field that is not the point of a case."""
    return {"email": MALLORY, "reset_token": STRANGE_TOKEN}.get(
        field, "mallory").encode()


# -- Bodies that cannot be read in one way only

BAD_JSON = {
    "nothing-but-space": b"   ", "word": b"nonsense", "brace": b"{",
    "truncated": b'{"email": "a', "single-quotes": b"{'email': 'a'}",
    "trailing": b'{"email": "a"} x', "two-objects": b"{}{}",
    "null": b"null", "true": b"true", "number": b"1", "string": b'"email"',
    "nan": b"NaN", "array": b'["email", "password"]', "no-array": b"[]",
    "array-of-objects": b'[{"email": "a", "password": "b"}]',
    "deep-array": b"[" * 10000, "deep-closed-array": b"[" * 8000 + b"]" * 8000,
    "nul": b'{"email": "a\0"}', "utf-8-mark": b"\xef\xbb\xbf{}",
    "utf-16": '{"email": "a"}'.encode("utf-16"),
    "latin-1": b'{"email": "\xe9"}', "raw-surrogate": b'{"a": "\xed\xa0\x80"}',
    "duplicate": b'{"password": "a", "password": "b"}',
    "duplicate-unknown": b'{"x": 1, "x": 1}',
    "nested-duplicate": b'{"x": {"y": 1, "y": 2}}',
    "form-as-json": b"email=a&password=b", "comment": b'{} // "a"'}
BAD_VALUES = {
    "null": b"null", "true": b"true", "zero": b"0", "real": b"1e400",
    "nan": b"NaN", "infinity": b"-Infinity", "array": b"[]",
    "array-of-text": b'["a"]', "object": b"{}", "object-of-text": b'{"a": ""}',
    "huge-integer": b"9" * 5000, "deep": b"[" * 5000 + b"]" * 5000,
    "high-surrogate": b'"\\ud800"', "low-surrogate": b'"a\\udfff"',
    "reversed-surrogates": b'"\\udc00\\ud800"',
    "too-long": b'"%s"' % (b"a" * 8000)}
BAD_TEXTS = {
    "raw-ff": b"\xff", "escaped-ff": b"%FF", "overlong-slash": b"%C0%AF",
    "surrogate": b"%ED%A0%80", "beyond-unicode": b"%F4%90%80%80",
    "truncated-character": b"a%C3", "too-long": b"a" * 8000}
WRONG_TYPES = {
    "none": b"", "text": b"text/plain", "html": b"text/html",
    "xml": b"application/xml", "bytes": b"application/octet-stream",
    "multipart": b"multipart/form-data; boundary=x",
    "multipart-without-boundary": b"multipart/form-data",
    "nearly-form": FORM + b"ed", "nearly-json": b"application/jsonp",
    "not-ascii": b"\xff\xfe", "slash": b"/",
    "nul": b"application/json\0"}


def unreadable_bodies() -> Iterator[Case]:
    """Send each route what it cannot take for fields: 400 everywhere."""
    for method, path in ROUTES:
        for name, body in BAD_JSON.items():
            yield Case("json-{}-{}{}".format(name, method, path),
                       sends(method, path, body, JSON), (400,))
        # Too deep for some Pythons, and an object without fields for others.
        deep = b'{"a":' * 2500 + b"1" + b"}" * 2500
        yield Case("json-deep-object-{}{}".format(method, path), sends(
            method, path, deep, JSON), (400, UNPROVEN[method, path]))
    for method, path, field in FIELDS:
        where = "{}{}-{}".format(method, path, field)
        for name, value in BAD_VALUES.items():
            body = json_with(method, path, field, value)
            yield Case("json-value-{}-{}".format(name, where),
                       sends(method, path, body, JSON), (400,))
        for name, value in BAD_TEXTS.items():
            body = form_with(method, path, field, value)
            yield Case("form-{}-{}".format(name, where),
                       sends(method, path, body), (400,))
        twice = form_with(method, path, field, b"a")
        yield Case("form-duplicate-{}".format(where), sends(
            method, path, twice + b"&" + field.encode() + b"=a"), (400,))
        yield Case("form-escaped-duplicate-{}".format(where), sends(
            method, path, twice + b"&%%%02x" % ord(field[0])
            + field[1:].encode() + b"=a"), (400,))


def wrong_types() -> Iterator[Case]:
    """Send a good body as something that no route reads: 415."""
    for method, path in ROUTES:
        body = form_with(method, path, "", b"")
        for name, kind in WRONG_TYPES.items():
            yield Case("type-{}-{}{}".format(name, method, path),
                       sends(method, path, body, kind), (415,))
    yield Case("type-absent", request(
        "POST", "/users", b"Content-Length: 9", body=b"email=a&a"), (415,))
    yield Case("encoding-gzip", sends(
        "POST", "/users", gzip.compress(b"email=a&password=b"), FORM,
        b"Content-Encoding: gzip"), (400, 415))


def large_bodies() -> Iterator[Case]:
    """Send more than any route reads, with and without saying so: 413."""
    for method, path in ROUTES:
        where = "-{}{}".format(method, path)
        for name, size in (("16k-and-1", 16 * KIB + 1), ("1m", KIB * KIB)):
            body = b"password=".ljust(size, b"a")
            yield Case("size-" + name + where,
                       sends(method, path, body), (413,))
            yield Case("size-chunked-" + name + where, chunked(
                method, path, b"%x\r\n%s\r\n0\r\n\r\n" % (size, body)),
                (413,))
        yield Case("size-small-chunks" + where, chunked(
            method, path, b"1\r\na\r\n" * (16 * KIB + 1) + b"0\r\n\r\n"),
            (413,))
        # The field is too long, the body is not.
        yield Case("size-16k" + where, sends(
            method, path, b"password=".ljust(16 * KIB, b"a")),
            (400, UNPROVEN[method, path]))
        yield Case("size-16k-of-fields" + where, sends(
            method, path, b"&".join(b"%x=" % n for n in range(3000))),
            (UNPROVEN[method, path],))
    yield Case("size-1m-GET/", sends("GET", "/", b"a" * KIB * KIB), (413,))
    yield Case("size-claimed", request(
        "POST", "/users", b"Content-Length: 99999999999999999999"), (413,))


# -- Bodies that can be read, and prove nothing

def odd_texts() -> Iterator[Case]:
    """Send each field what is text, but breaks logs, headers and databases."""
    odd = {"nul": ("%00", "\\u0000"), "crlf": ("%0D%0AX:%20y", "\\r\\nX: y"),
           "escape": ("%1B%5B2J", "\\u001b[2J"),
           "line-separator": ("%E2%80%A8", "\\u2028")}
    for method, path, field in FIELDS:
        if (path, field) == ("/users", "password"):
            continue
        for name, (text, literal) in odd.items():
            where = "{}-{}{}-{}".format(name, method, path, field)
            status = (UNPROVEN[method, path],)
            body = form_with(method, path, field, ("a" + text).encode())
            yield Case("text-form-" + where,
                       sends(method, path, body), status)
            body = json_with(
                method, path, field, '"a{}"'.format(literal).encode())
            yield Case("text-json-" + where,
                       sends(method, path, body, JSON), status)
        yield Case("text-raw-nul-{}{}-{}".format(method, path, field), sends(
            method, path, form_with(method, path, field, b"a\0")),
            (UNPROVEN[method, path],))
    # Any character may stand in a password.
    for email, password in zip(HARMLESS, ("a\0b", "a\r\nb")):
        body = urlencode({"email": email, "password": password}).encode()
        yield Case("text-" + email.partition("@")[0],
                   sends("POST", "/users", body), (200,))


def no_tokens() -> Iterator[Case]:
    """Present as a token whatever is none."""
    for place, value in enumerate(NO_TOKENS):
        if isinstance(value, bytes):
            continue
        body = json.dumps({"reset_token": value, "new_password": "mallory"})
        yield Case("no-token-{}".format(place), sends(
            "PUT", "/reset_password", body.encode(), JSON), (400, 403))


# -- Requests for what there is not

def wrong_methods() -> Iterator[Case]:
    """Ask each route for what it does not do: 405."""
    methods = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS",
               "TRACE", "CONNECT", "PROPFIND", "FROBNICATE", "G\xffT",
               "A" * KIB)
    for path, allowed in ALLOWED.items():
        for method in methods:
            if method not in allowed:
                name = method.encode("ascii", "replace").decode()[:12]
                yield Case("method-{}{}".format(name, path),
                           request(method, path), (405,))
    yield Case("method-override", sends(
        "POST", "/users", b"", FORM, b"X-HTTP-Method-Override: DELETE"),
        (400,))


def wrong_paths() -> Iterator[Case]:
    """Ask for paths that no route has: 404, or what the path comes down to."""
    unknown = (
        "/%00", "/users%00", "/users%00.html", "/users/", "/users//",
        "/users/1", "/USERS", "/users%2F", "/users%5C", "/users;a=b",
        "/users%20", "/users%0D%0ASet-Cookie:%20session_id=a", "/%0A", "/%",
        "/%zz", "/%ff", "/%c0%ae%c0%ae/", "/..", "/../users",
        "/%2e%2e/%2e%2e/etc/passwd", "/.git/config", "/.env", "/static/",
        "/static/app.py", "/console", "/console?__debugger__=yes&cmd=1",
        "/favicon.ico", "/robots.txt", "/admin", "/%F0%9F%92%A9", "/*",
        "/profile/../users", "/" + "a/" * 1000, "/" + "a" * 60000)
    for place, path in enumerate(unknown):
        yield Case("path-{}-{}".format(place, path[1:30]),
                   request("POST", path), (404,))
    for name, raw in {"nul": b"/users\0", "ff": b"/\xff", "tab": b"/\tusers",
                      "quote": b'/"', "backslash": b"/\\users",
                      "utf-8": "/\u00e9".encode()}.items():
        yield Case("path-raw-" + name, request("POST", raw), REFUSED)
    for path in ("//users", "///users", "//evil.example/users", "//[", "//"):
        yield Case("path-slashes-{}".format(path[:12]),
                   request("POST", path), (400, 404, 405))
    yield Case("path-70k", request("GET", "/" + "a" * 70000), (414,))
    yield Case("query", request("GET", "/?%00=%ff&a&a=%0D%0A;"), (200,))
    yield Case("query-60k", request("GET", "/?" + "a=b&" * 15000), (200,))
    # Fields belong in the body: addresses end up in logs.
    yield Case("query-fields", request(
        "POST", "/users?email={}&password=a".format(MALLORY)), (400,))


# -- What is hardly HTTP

def bad_request_lines() -> Iterator[Case]:
    """Open with a line that is no request for anything."""
    end = b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
    targets = {
        "open-bracket": b"http://[", "bracket-port": b"http://[::1]:x/",
        "wordy-port": b"http://localhost:x/", "stranger": b"http://evil.test/",
        "huge-port": b"http://localhost:99999/x", "asterisk": b"*",
        "stranger-without-path": b"http://evil.test", "authority": b"evil:443",
        "user": b"http://a:b@localhost/users", "file": b"file:///etc/passwd",
        "javascript": b"javascript:alert(1)", "fragment": b"#", "dot": b"."}
    for name, target in targets.items():
        yield Case("target-" + name, b"POST " + target + end, REFUSED)
    for name, target in {"question": b"?", "scheme": b"http://",
                         "without-path": b"http://localhost"}.items():
        yield Case("target-" + name, b"GET " + target + end,
                   (200,) + REFUSED)
    lines = {
        "word": b"GARBAGE", "two-words": b"POST /users", "spaces": b"   ",
        "four-words": b"GET / x HTTP/1.1", "no-method": b" / HTTP/1.1",
        "no-target": b"GET HTTP/1.1",
        "version-2": b"GET / HTTP/2.0", "version-9": b"GET / HTTP/9.9",
        "version-huge": b"GET / HTTP/1" + b"1" * 5000 + b".1",
        "version-half": b"GET / HTTP/1", "version-triple": b"GET / HTTP/1.1.1",
        "version-wordy": b"GET / HTTP/one.one",
        "version-lower-case": b"GET / http/1.1",
        "other-protocol": b"GET / XTTP/1.1", "rtsp": b"OPTIONS * RTSP/1.0",
        "http-2": b"PRI * HTTP/2.0\r\n\r\nSM", "ssh": b"SSH-2.0-OpenSSH_9.9",
        "smtp": b"EHLO localhost", "tls": b"\x16\x03\x01\x02\x00\x01\x00\xfc",
        "nul": b"\0\0\0\0", "ff": b"\xff" * 100, "crlf-only": b"",
        "blank-line-first": b"\r\nPOST /users HTTP/1.1\r\nHost: localhost"}
    for name, line in lines.items():
        yield Case("line-" + name, line + b"\r\n\r\n", REFUSED, ends=True)
    yield Case("line-70k", b"A" * 70000, (414,), ends=True)
    for name, line in {"version-0": b"GET / HTTP/0.0", "no-version": b"GET /",
                       "version-negative": b"GET / HTTP/-1.1"}.items():
        yield Case("line-" + name, line + b"\r\n\r\n", (200,) + REFUSED)


def bad_headers() -> Iterator[Case]:
    """Send headers that are too many, too long or none at all."""
    odd = {
        "no-colon": b"nonsense", "no-name": b": a", "space": b"X : a",
        "folded": b"X: a\r\n b", "lone-cr": b"X: a\rY: b", "nul": b"X: a\0b",
        "nul-in-name": b"X\0: a", "not-ascii": b"X-\xff: \xff",
        "90": b"\r\n".join(b"X-%d: a" % n for n in range(90)),
        "accept": b"Accept: text/html;q=x,*/*;q=-1,\xff", "range":
        b"Range: bytes=-1,99999999999999999999-", "date":
        b"If-Modified-Since: yesterday", "etag": b'If-None-Match: "', "expect":
        b"Expect: 100-continue", "strange-expect": b"Expect: the worst",
        "keep-alive": b"Connection: keep-alive", "trailer": b"Trailer: a",
        "te": b"TE: trailers, deflate;q=0.5", "origin": b"Origin: null",
        "user-agent": b"User-Agent: " + b"\xff" * 5000}
    for name, header in odd.items():
        yield Case("header-" + name, request("GET", "/", header), (200,))
    yield Case("header-upgrade", request(
        "GET", "/", b"Connection: Upgrade", b"Upgrade: websocket"), (200, 400))
    yield Case("header-500", request(
        "GET", "/", *[b"X-%d: a" % n for n in range(500)]), (431,))
    yield Case("header-70k", request("GET", "/", b"X: " + b"a" * 70000),
               (431,))
    yield Case("header-70k-name", request("GET", "/", b"X" * 70000), (431,))
    yield Case("header-newlines-only", request("GET", "/").replace(
        b"\r", b""), (200,))
    yield Case("header-user-agent-at-sign-in", sends(
        "POST", "/sessions", form_with("POST", "/sessions", "", b""), FORM,
        b"User-Agent: " + b"\xff\xfe" * 500), (401,))


# Who leaves in doubt where the body ends asks to sign in, without knowing the
# password, and goes on with a request for an account. That must not be taken
# for a request of its own.
SIGN_IN = form_with("POST", "/sessions", "", b"")
SIGN_IN_CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(SIGN_IN), SIGN_IN)
SMUGGLED = sends("POST", "/users", form_with("POST", "/users", "", b""))
UNCLEAR = (400, 401, 413, 415, 501)


def bad_lengths() -> Iterator[Case]:
    """Declare lengths that are no number, or not the number of the bytes."""
    declared = b"Content-Type: " + FORM + b"\r\nContent-Length: "
    size = len(SIGN_IN)
    for value in (b"-1", b"-99999", b"abc", b"", b"0x10", b"1e3", b"1.5",
                  b"+%d" % size, b"1_0", b"\xb2", b"9" * 5000, b"0",
                  b"1, 2", b"%d, %d" % (size, size), b"NaN"):
        name = value[:12].decode("ascii", "replace") or "empty"
        yield Case("length-" + name, request(
            "POST", "/sessions", declared + value, body=SIGN_IN + SMUGGLED),
            UNCLEAR, ends=True)
    for larger in (size + 1, 16 * KIB):
        yield Case("length-{}-too-large".format(larger - size), request(
            "POST", "/sessions", declared + b"%d" % larger, body=SIGN_IN),
            (400,), ends=True)
    yield Case("length-twice", request(
        "POST", "/sessions", b"Content-Length: 3", declared + b"%d" % size,
        body=SIGN_IN + SMUGGLED), UNCLEAR)
    for value in (b"0", b"%d" % len(SIGN_IN_CHUNKS)):
        yield Case("length-{}-and-chunks".format(value.decode()), chunked(
            "POST", "/sessions", SIGN_IN_CHUNKS + SMUGGLED,
            b"Content-Length: " + value), UNCLEAR)
    yield Case("pipelined", request("GET", "/", body=SMUGGLED), (200,))
    once = urlencode({"email": HARMLESS[2], "password": "a"}).encode()
    yield Case("pipelined-twice", sends("POST", "/users", once) * 2, (200,))


def bad_chunks() -> Iterator[Case]:
    """Cut the body into chunks that do not fit together."""
    chunks = {
        "wordy": b"zz\r\n", "negative": b"-1\r\n", "empty": b"\r\n",
        "prefix-only": b"0x\r\n", "space": b" \r\n", "not-ascii": b"\xb2\r\n",
        "endless": b"1" * 5000 + b"\r\n", "extension": b"3;a=b\r\nabc\r\n",
        "too-short": b"1\r\nabc\r\n0\r\n\r\n", "no-last": b"3\r\nabc\r\n",
        "cut": b"ff\r\nabc", "none": b"", "no-size": b"abc"}
    for name, sent in chunks.items():
        yield Case("chunk-" + name, chunked("POST", "/sessions", sent),
                   UNCLEAR, ends=True)
        yield Case("chunk-{}-smuggling".format(name), chunked(
            "POST", "/sessions", sent + SMUGGLED), UNCLEAR, ends=True)
    for value in (b"gzip", b"gzip, chunked", b"chunked, chunked", b"identity",
                  b"xchunked", b"\x0bchunked", b"CHUNKED", b"", b"\xff"):
        yield Case("transfer-{}".format(ascii(value)[2:-1] or "empty"),
                   request("POST", "/sessions", b"Content-Type: " + FORM,
                           b"Transfer-Encoding: " + value,
                           body=SIGN_IN_CHUNKS), UNCLEAR, ends=True)


# -- Strangers

def strangers() -> Iterator[Case]:
    """Come from elsewhere, or look like it: 403, and never a reset token."""
    body = b"email=" + EMAIL.encode()
    hosts = {
        "stranger": b"evil.test", "rebound": b"localhost.evil.test",
        "prefix": b"evil-localhost", "user": b"localhost@evil.test",
        "empty": b"", "bracket": b"[", "brackets": b"[]", "dots": b"a..b",
        "dot": b"localhost.", "not-ascii": b"\xff\xfe", "path": b"localhost/a",
        "wordy-port": b"localhost:a", "huge-port": b"localhost:999999",
        "no-port": b"localhost:", "two": b"localhost, localhost", "any": b"*",
        "private": b"192.168.1.1", "link-local": b"169.254.169.254",
        "other-loopback": b"127.0.0.2", "decimal": b"2130706433",
        "ipv6": b"[::2]", "nul": b"localhost\0", "space": b"local host",
        "10k": b"a" * 10000, "punycode": b"xn--", "null": b"null"}
    for name, value in hosts.items():
        yield Case("host-" + name, request(
            "GET", "/", host=b"Host: " + value), (400, 403))
        yield Case("host-{}-reset".format(name), request(
            "POST", "/reset_password", b"Content-Type: " + FORM,
            b"Content-Length: %d" % len(body), host=b"Host: " + value,
            body=body), (400, 403))
    yield Case("host-twice", request(
        "GET", "/", b"Host: evil.test"), (400, 403))
    yield Case("host-absent", b"GET / HTTP/1.1\r\n\r\n", (200, 400, 403))
    for header in (b"Forwarded: for=1.2.3.4", b"Via: 1.1 proxy", b"VIA: a",
                   b"X-Real-IP: 127.0.0.1", b"X-Forwarded-For: 127.0.0.1",
                   b"X-Forwarded-Host: localhost", b"x-forwarded-proto: https",
                   b"X-Forwarded-Port: 443", b"X-Forwarded-Prefix: /a",
                   b"X-Forwarded-For:", b"X-Forwarded-Anything: \xff"):
        name = header.partition(b":")[0].decode()
        yield Case("forwarded-{}-{}".format(name, len(header)),
                   request("GET", "/", header), (403,))
        yield Case("forwarded-{}-{}-reset".format(name, len(header)), sends(
            "POST", "/reset_password", body, FORM, header), (403,))


def nobodies() -> Iterator[Case]:
    """Claim to be signed in, with what opens no session: 403."""
    tokens = [value.encode("utf-8", "surrogatepass") for value in NO_TOKENS
              if isinstance(value, str) and "\n" not in value]
    claims = {"none": b"X: a", "basic": b"Authorization: Basic Ym9iOmI=",
              "no-scheme": b"Authorization: " + STRANGE_TOKEN.encode(),
              "bearer-only": b"Authorization: Bearer", "strange-bearer":
              b"Authorization: Bearer " + STRANGE_TOKEN.encode(),
              "digest": b'Authorization: Digest username="', "strange-cookie":
              b"Cookie: session_id=" + STRANGE_TOKEN.encode(),
              "bare-cookie": b"Cookie: session_id", "no-cookie": b"Cookie:",
              "quoted-cookie": b'Cookie: session_id="\\000\\377',
              "many-cookies": b"Cookie: " + b"session_id=a; " * 3000,
              "nameless-cookie": b"Cookie: =a; ;; =; session_id==",
              "other-cookies": b"Cookie: SESSION_ID=a; __Host-session_id=a",
              "10k-cookie-name": b"Cookie: " + b"a" * 10000,
              "two-bearers": b"Authorization: Bearer a\r\n"
                             b"Authorization: Bearer b"}
    for place, token in enumerate(tokens):
        claims["cookie-{}".format(place)] = b"Cookie: session_id=" + token
        claims["bearer-{}".format(place)] = b"Authorization: Bearer " + token
    for name, header in claims.items():
        for method, path in (("GET", "/profile"), ("DELETE", "/sessions"),
                             ("DELETE", "/profile"), ("HEAD", "/profile"),
                             ("GET", "/sessions"), ("PUT", "/password"),
                             ("DELETE", "/sessions/1"),
                             ("DELETE", "/sessions/others"),
                             ("GET", "/profile/export")):
            yield Case("claim-{}-{}{}".format(name, method, path),
                       request(method, path, header), (403,))


CASES: List[Case] = [case for group in (
    unreadable_bodies, wrong_types, large_bodies, odd_texts, no_tokens,
    wrong_methods, wrong_paths, bad_request_lines, bad_headers, bad_lengths,
    bad_chunks, strangers, nobodies) for case in group()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server that stands in the storm keeps its database."""
    return tmp_path_factory.mktemp("storm")


@pytest.fixture(scope="module")
def besieged(folder: Path) -> Iterator[Server]:
    """The one server that all the cases hit; it has one account."""
    server = Server(folder)
    server.ask("POST", "/users", email=EMAIL, password=PASSWORD)
    yield server
    server.stop()


def send(server: Server, case: Case) -> Answer:
    """Send a case and return the answer.

    Raises an exception of http.client if what comes back is not HTTP.
    """
    with closing(socket.create_connection(
            ("127.0.0.1", server.port), timeout=10)) as connection:
        # A server that has seen enough may close before the last byte.
        with suppress(OSError):
            connection.sendall(case.request)
            if case.ends:
                connection.shutdown(socket.SHUT_WR)
        method = case.request.partition(b" ")[0].decode("latin-1")
        with closing(HTTPResponse(connection, method=method)) as response:
            response.begin()
            return Answer(response)


def assert_json(case: Case, answer: Answer) -> None:
    """Assert that the answer is JSON; an error has its one shape."""
    assert answer.headers["Content-Type"] == "application/json"
    assert b"Traceback" not in answer.body
    if case.request.startswith(b"HEAD "):
        assert answer.body == b""
        return
    body = json.loads(answer.body.decode("utf-8"))
    assert isinstance(body, dict)
    if answer.status >= 400:
        assert list(body) == ["message"] and isinstance(body["message"], str)


def test_storm_is_a_storm() -> None:
    """At least two hundred cases, and no two with one name."""
    assert len(CASES) >= 200
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_is_answered(besieged: Server, case: Case) -> None:
    """In JSON, with a status that says what is wrong, and without a cookie."""
    answer = send(besieged, case)
    assert answer.status in case.statuses, answer.body
    assert "Set-Cookie" not in answer.headers
    assert_json(case, answer)


class TestSessionAmongRubbish:
    """A live session counts when it is presented in one way, and once."""

    @pytest.fixture
    def session(self, besieged: Server) -> str:
        """The id of a live session."""
        answer = besieged.ask(
            "POST", "/sessions", email=EMAIL, password=PASSWORD)
        cookie = str(answer.headers["Set-Cookie"]).partition(";")[0]
        return cookie.partition("=")[2]

    @pytest.mark.parametrize("header, status", [
        ("Cookie: session_id={}", 200),
        ("Cookie: a=b; session_id={}; c", 200),
        ("Authorization: bearer {}", 200),
        ("Cookie: session_id={0}; session_id={0}", 403),
        ("Cookie: session_id=a; session_id={}", 403),
        ("Cookie: session_id={}; session_id=a", 403),
        ("Cookie: session_id={0}\r\nCookie: session_id={0}", 403),
        ("Cookie: session_id={}\r\nCookie: session_id=a", 403),
        ("Cookie: session_id={}, a", 403),
        ("Cookie: session_id={}\xff", 403),
        ("Cookie: Session_Id={}", 403),
        ("Cookie: session_id={}\r\nAuthorization: Bearer a", 403),
        ("Authorization: Bearer {0}, Bearer {0}", 403),
        ("Authorization: Bearer {}\r\nX-Forwarded-For: 127.0.0.1", 403),
        ("X-Session-Id: {}", 403)])
    def test_profile(self, besieged: Server, session: str, header: str,
                     status: int) -> None:
        """The status says whether the session was seen."""
        sent = header.format(session).encode("latin-1")
        case = Case("", request("GET", "/profile", sent), (status,))
        assert send(besieged, case).status == status


class TestHangingUp:
    """The client is gone before it has said everything."""

    WHOLE = sends("POST", "/users", b"email=" + MALLORY.encode() +
                  b"&password=a&and=so on", FORM)

    @pytest.mark.parametrize("abruptly", [False, True])
    @pytest.mark.parametrize("sent", [0, 3, 20, 60, len(WHOLE) - 1])
    def test_others_are_served(self, besieged: Server, sent: int,
                               abruptly: bool) -> None:
        """It takes nobody else with it."""
        with closing(socket.create_connection(
                ("127.0.0.1", besieged.port), timeout=20)) as connection:
            connection.sendall(self.WHOLE[:sent])
            if abruptly:
                # Closing then resets the connection instead of ending it.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                      struct.pack("ii", 1, 0))
        assert besieged.ask("GET", "/").status == 200


class TestAfterTheStorm:
    """These stand last, because they look back on all of the above."""

    def test_account_opens_with_its_password(self, besieged: Server) -> None:
        """It was neither deleted nor given another."""
        answer = besieged.ask(
            "POST", "/sessions", email=EMAIL, password=PASSWORD)
        assert answer.status == 200

    @pytest.mark.usefixtures("besieged")
    def test_nobody_came_in(self, folder: Path) -> None:
        """There are the account and those that were asked for properly."""
        found = {email for email, in rows(
            url_in(folder), "SELECT email FROM users")}
        assert found - set(HARMLESS) == {EMAIL}

    def test_log_holds_no_traceback(self, besieged: Server) -> None:
        """Every refusal was meant; no warning of Python either."""
        assert "Traceback" not in besieged.log()
        assert "Warning:" not in besieged.log()

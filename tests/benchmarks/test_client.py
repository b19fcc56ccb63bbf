#!/usr/bin/env python3
"""The client: what it sends, what it understands, and how it counts."""
from __future__ import annotations

import asyncio
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ThreadingMixIn
from typing import Any, Callable, Dict, Iterator, List

import pytest

from benchmarks import wire
from benchmarks.client import Job, as_json, read_job, work
from benchmarks.load import counted_by_wrk
from benchmarks.wire import JSON, Answer, Api


def parsed(data: bytes) -> Answer:
    """Let the client read these bytes as an answer."""
    async def read() -> Answer:
        """Read them from a stream that ends after them."""
        stream = asyncio.StreamReader()
        stream.feed_data(data)
        stream.feed_eof()
        return await wire.read_answer(stream)
    return asyncio.run(read())


# -- Byte for byte

def test_form_is_sent_with_its_length_and_the_headers_of_the_service(
) -> None:
    """No library stands between, so none adds a word."""
    api, body = Api(headers={"Host": "auth.example.com"}), (
        b"email=a%40b.c&password=x+y")
    assert wire.sign_in(api, "a@b.c", "x y", {"Cookie": "d=1"}) == (
        b"POST /sessions HTTP/1.1\r\nHost: auth.example.com\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\n"
        b"Cookie: d=1\r\nContent-Length: 26\r\n\r\n" + body)


def test_json_is_sent_where_a_service_wants_it() -> None:
    """Under the name that it has for an address."""
    api = Api(sign_in_type=JSON, name="username")
    assert wire.sign_in(api, "a@b.c", "x", {}).endswith(
        b'\r\n\r\n{"username": "a@b.c", "password": "x"}')


def test_answer_is_read_with_its_cookies() -> None:
    """Of those only names and values, as a browser sends them back."""
    answer = parsed(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3\r\n"
                    b"Set-Cookie: a=1; Path=/\r\nset-cookie: b=2=3\r\n"
                    b"Content-Length: 2\r\n\r\nno")
    assert (answer.status, answer.retry_after, answer.body) == (
        503, "3", b"no")
    assert answer.cookies == {"a": "1", "b": "2=3"}
    assert wire.cookie_header(answer.cookies) == {"Cookie": "a=1; b=2=3"}


def test_answer_without_a_body_needs_no_length() -> None:
    """204 has none by definition."""
    assert parsed(b"HTTP/1.1 204 No Content\r\n\r\n").body == b""


def test_answer_of_unknown_length_is_refused() -> None:
    """Rather than to wait for its end for ever."""
    with pytest.raises(ValueError):
        parsed(b"HTTP/1.1 200 OK\r\n\r\n")


def test_job_survives_the_way_to_its_process() -> None:
    """With all that it holds, and its api as it was."""
    job = Job("sparse", 5000, Api(profile="/me", good=(302,)), seconds=2.5,
              readers=[{"Cookie": "a=1"}])
    read = read_job(as_json(job))
    assert (read.seconds, read.readers, read.api.profile, list(
        read.api.good)) == (2.5, [{"Cookie": "a=1"}], "/me", [302])


def test_what_wrk_counts_is_found_among_what_it_prints() -> None:
    """And its own words end up in the message if it counted nothing."""
    assert counted_by_wrk('Running 3s test\nJSON {"requests": 7}\n') == {
        "requests": 7}
    with pytest.raises(RuntimeError, match="unable to connect"):
        counted_by_wrk("unable to connect to 127.0.0.1\n")


# -- What it counts

class Scripted(ThreadingMixIn, HTTPServer):
    """A server that gives the answers of a list, the last one for ever."""

    daemon_threads = True

    def __init__(self, answers: List[Dict[str, Any]]) -> None:
        """Listen; each answer has a status, headers and a delay."""
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = answers
        self.seen: List[Any] = []
        self.lock = threading.Lock()

    def next_answer(self, headers: Any) -> Dict[str, Any]:
        """Return what comes next, and remember who asked."""
        with self.lock:
            self.seen.append(headers)
            return self.answers[min(
                len(self.seen), len(self.answers)) - 1]


class Handler(BaseHTTPRequestHandler):
    """Answers as the script says."""

    protocol_version = "HTTP/1.1"
    server: Scripted

    def do_GET(self) -> None:
        """Read what was sent, and answer when it is time."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = self.server.next_answer(self.headers)
        time.sleep(answer.get("delay", 0))
        self.send_response(answer.get("status", 200))
        for name, said in answer.get("headers", {}).items():
            self.send_header(name, said)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET

    def log_message(self, *_: Any) -> None:
        """Be silent; what a test prints should be its failure."""


Script = Callable[..., Scripted]


@pytest.fixture
def scripted() -> Iterator[Script]:
    """Start servers by their answers."""
    servers: List[Scripted] = []

    def start(*answers: Dict[str, Any]) -> Scripted:
        """Start one that gives these."""
        server = Scripted(list(answers))
        threading.Thread(target=server.serve_forever, daemon=True,
                         kwargs={"poll_interval": 0.01}).start()
        servers.append(server)
        return server
    yield start
    for each in servers:
        each.shutdown()
        each.server_close()


def do(server: Scripted, name: str, **changes: Any) -> Dict[str, Any]:
    """Do a job against a server, beginning at once."""
    return asyncio.run(work(Job(
        name, server.server_address[1], Api(), **dict(
            {"begin": time.monotonic(), "emails": ["a@b.c"],
             "readers": [{}]}, **changes))))


def test_wait_counts_from_when_a_request_was_due(scripted: Script) -> None:
    """A client that begins late has kept its requests waiting itself."""
    found = do(scripted({}), "sparse", begin=time.monotonic() - 5,
               seconds=0.2, rate=10)
    assert [each[0] for each in found["samples"]] == [0.0, 0.1]
    assert all(4.5 < each[1] < 20 for each in found["samples"])
    assert [each[2] for each in found["samples"]] == [200, 200]


def test_slow_answer_keeps_no_later_request_from_being_sent(
        scripted: Script) -> None:
    """Only the first one waits, since the others take other connections."""
    found = do(scripted({"delay": 1.5}, {}), "sparse", seconds=0.4, rate=10)
    waits = [each[1] for each in found["samples"]]
    assert waits[0] >= 1.5 and max(waits[1:]) < 1.2


def test_no_answer_is_a_sample_too(scripted: Script) -> None:
    """Its status is 0, and nobody leaves it out."""
    server = scripted({})
    server.server_close()
    found = do(server, "sparse", seconds=0.2, rate=10)
    assert [each[2] for each in found["samples"]] == [0, 0]


def test_refusal_that_says_not_when_to_come_back_is_counted(
        scripted: Script) -> None:
    """Two are refused, one of them barely, and then all is well."""
    found = do(scripted(
        {"status": 429}, {"status": 503, "headers": {"Retry-After": "0"}},
        {"delay": 0.05}), "sign_ins", seconds=0.5)
    assert (found["bare"], found["statuses"]["429"],
            found["statuses"]["503"]) == (1, 1, 1)
    assert found["statuses"]["200"] == len(found["ends"]) >= 1


@pytest.mark.parametrize("polite, tries", [(True, 1), (False, 2)])
def test_who_is_refused_comes_back_when_told_to(
        scripted: Script, polite: bool, tries: int) -> None:
    """Unless it is somebody who guesses."""
    server = scripted({"status": 503, "headers": {"Retry-After": "9"}},
                      {"delay": 1})
    do(server, "sign_ins", seconds=0.5, polite=polite)
    assert len(server.seen) == tries


def test_each_client_has_its_network(scripted: Script) -> None:
    """As a proxy in front would say."""
    server = scripted({"delay": 0.5})
    do(server, "sign_ins", seconds=0.4, clients=2,
       networks=["192.0.2.1", "192.0.2.2"])
    assert {each["X-Forwarded-For"] for each in server.seen} == {
        "192.0.2.1", "192.0.2.2"}


def test_owner_presents_the_newest_cookie(scripted: Script) -> None:
    """A known device is known by what it was given last."""
    server = scripted(
        {"headers": {"Set-Cookie": "device=1; Secure"}}, {"status": 503},
        {"headers": {"Set-Cookie": "device=2; Secure"}})
    found = do(server, "owner", seconds=0.5)
    assert [each["Cookie"] for each in server.seen] == [
        "", "device=1", "device=1"]
    assert len(found["waits"]) == 1


def test_connection_that_was_closed_is_opened_again(
        scripted: Script) -> None:
    """A server may do so after any answer; that is no failure."""
    found = do(scripted({"headers": {"Connection": "close"}}), "sparse",
               seconds=0.3, rate=10)
    assert [each[2] for each in found["samples"]] == [200, 200, 200]


def test_server_that_takes_no_account_is_named(scripted: Script) -> None:
    """Nothing can be measured of it, and its answer says why."""
    with pytest.raises(RuntimeError, match="no account: 500"):
        do(scripted({"status": 500}), "arrive", clients=1)

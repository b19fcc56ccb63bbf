#!/usr/bin/env python3
"""Real proxies on the files of deploy/, with an app behind them, for tests.

    with SampleApp() as app, Nginx(folder, bienvenue_port, app.port) as proxy:
        proxy.ask("GET", "/", {"Cookie": "…"})

A proxy listens on loopback ports under the name www.example.com, by TLS with
a certificate that signed itself. It runs the shipped file, in which exactly
that is put in which the file itself asks for.
"""
from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple
from urllib.parse import urlencode

import pytest

from tests.helpers import ROOT, Answer
from tests.machine import free_port
from tests.smtp_server import make_certificate

HERE, HOST = "127.0.0.1", "www.example.com"


def require(program: str) -> str:
    """Return where a program is; without it the test is skipped.

    Not on the machine that checks the project, where .ci/run installs it.
    """
    places = os.environ.get("PATH", "") + ":/usr/sbin"
    found = shutil.which(program, path=places)
    if found is None and not os.environ.get("CI"):
        pytest.skip("needs {}".format(program))
    assert found, program + " is missing"
    return found


class Heard(NamedTuple):
    """A request as it reached the app."""

    method: str
    path: str
    headers: List[Tuple[str, str]]
    body: bytes

    def header(self, name: str) -> List[str]:
        """Return the values of a header, whatever its separators are.

        Many an app makes the same variable of Remote-User, Remote_User and
        Remote.User (as CGI and WSGI do).
        """
        return [value for each, value in self.headers
                if _variable(each) == _variable(name)]


class SampleApp(ThreadingHTTPServer):
    """An app that protects nothing itself, and remembers what it heard."""

    daemon_threads = True

    def __init__(self) -> None:
        """Listen on a free port."""
        self.heard: List[Heard] = []
        super().__init__((HERE, free_port()), _SampleAnswer)
        self._thread = threading.Thread(target=self.serve_forever)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return int(self.server_address[1])

    def stop(self) -> None:
        """Stop, and give the port back."""
        self.shutdown()
        self._thread.join()
        self.server_close()


class _SampleAnswer(BaseHTTPRequestHandler):
    """Tells everybody the same."""

    def handle_one_request(self) -> None:
        """Answer whatever method it is."""
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server: Any = self.server
        server.heard.append(Heard(
            self.command, self.path, self.headers.items(), body))
        self.send_response(200)
        self.send_header("Content-Length", "8")
        self.end_headers()
        self.wfile.write(b"the app\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the tests' output free of a line a request."""


class Proxy:
    """A proxy in a process of its own; a subclass says which."""

    # The program, the file that is tested, and what is put in there: what
    # the file says, and the name of what goes in its place.
    program = ""
    file = ""
    changes: Tuple[Tuple[str, str], ...] = ()

    def __init__(self, folder: Path, service_port: int,
                 app_port: int) -> None:
        """Start it before these two; return once it answers."""
        self.program = require(self.program)
        self.folder = folder / type(self).__name__
        self.folder.mkdir()
        certificate = make_certificate(self.folder, HOST)
        self._context = ssl.create_default_context(cafile=certificate.cert)
        self.port, self.plain_port = free_port(), free_port()
        self._values = {
            "cert": certificate.cert, "key": certificate.key,
            "service": str(service_port), "app": str(app_port),
            "tls": str(self.port), "plain": str(self.plain_port)}
        (self.folder / "config").write_text(self.rendered())
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, cwd=str(self.folder),
                env=dict(os.environ, HOME=str(self.folder),
                         XDG_DATA_HOME=str(self.folder),
                         XDG_CONFIG_HOME=str(self.folder)))
        deadline = time.monotonic() + 30
        while not self._listens():
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.01)

    def rendered(self) -> str:
        """Return the shipped file with this machine's values in it."""
        text = (ROOT / self.file).read_text(encoding="utf-8")
        for old, new in self.changes:
            assert old in text, "{} does not say {}".format(self.file, old)
            text = text.replace(old, new.format(**self._values))
        return text

    def command(self) -> List[str]:
        """Return how the program is started."""
        raise NotImplementedError

    def connect(self, address: str = HERE, name: str = HOST,
                ciphers: str = "", newest: Any = None) -> ssl.SSLSocket:
        """Return a TLS connection from one of this machine's addresses.

        With ciphers it is of TLS 1.2, or of another version at the newest.
        """
        context = self._context
        if ciphers:
            context = ssl.create_default_context(
                cafile=str(self._values["cert"]))
            context.set_ciphers(ciphers)
            if newest:
                context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = newest or ssl.TLSVersion.TLSv1_2
        plain = socket.create_connection(
            (HERE, self.port), 60, (address, 0))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            return context.wrap_socket(plain, server_hostname=name)
        except BaseException:
            plain.close()
            raise

    def ask(self, method: str, path: str, headers: Optional[
            Dict[str, str]] = None, address: str = HERE,
            body: Any = None, **data: str) -> Answer:
        """Send a form, or another body, and return the answer."""
        sent = {"Content-Type": "application/x-www-form-urlencoded"}
        sent.update(headers or {})
        connection = http.client.HTTPConnection(HOST, self.port)
        connection.sock = self.connect(address)
        try:
            connection.request(method, path, body or urlencode(data), dict(
                {"Host": HOST}, **sent))
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def log(self) -> str:
        """Return what it printed so far."""
        return (self.folder / "log").read_text(errors="replace")

    def stop(self) -> None:
        """Ask it to end, and wait until it did."""
        self._process.terminate()
        self._process.wait()

    def _listens(self) -> bool:
        """Tell whether it takes connections yet."""
        try:
            self.connect().close()
            return True
        except OSError:
            return False


class Nginx(Proxy):
    """nginx, with the file in a main one that is as Debian's where it counts.

    IPv6 is left out, as the file allows, because not every machine has it.
    """

    program, file = "nginx", "deploy/nginx/bienvenue.conf"
    changes = (
        ("    listen [::]:443 ssl default_server;\n", ""),
        ("    listen [::]:443 ssl;\n", ""),
        ("    listen [::]:80;\n", ""),
        ("listen 443 ", "listen 127.0.0.1:{tls} "),
        ("listen 80;", "listen 127.0.0.1:{plain};"),
        ("/etc/ssl/www.example.com.pem", "{cert}"),
        ("/etc/ssl/www.example.com.key", "{key}"),
        ("server 127.0.0.1:5000", "server 127.0.0.1:{service}"),
        ("server 127.0.0.1:8000", "server 127.0.0.1:{app}"))
    main = """
daemon off;
{user}
pid {folder}/pid;
events {{
    worker_connections 768;
}}
http {{
    access_log off;
    {temporary}
    include {folder}/config;
}}
"""

    def command(self) -> List[str]:
        """Run it in the foreground, with all that it writes in its folder."""
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        (self.folder / "main").write_text(self.main.format(
            folder=self.folder,
            # Workers change to www-data otherwise, who cannot write here.
            user="user root;" if os.getuid() == 0 else "",
            temporary=" ".join("{0}_temp_path {1}/{0};".format(
                each, self.folder) for each in kinds)))
        return [self.program, "-e", "stderr", "-p", str(self.folder),
                "-c", str(self.folder / "main")]


class Caddy(Proxy):
    """Caddy, with a certificate of our own, as the file allows."""

    program, file = "caddy", "deploy/caddy/Caddyfile"
    changes: Tuple[Tuple[str, str], ...] = (
        ("http_port 80\n", "http_port {plain}\n"),
        ("https_port 443\n", "https_port {tls}\n"),
        ("# tls /etc/ssl/www.example.com.pem /etc/ssl/www.example.com.key",
         "tls {cert} {key}"),
        ("127.0.0.1:5000", "127.0.0.1:{service}"),
        ("127.0.0.1:8000", "127.0.0.1:{app}"))

    def command(self) -> List[str]:
        """Run it in the foreground."""
        return [self.program, "run", "--adapter", "caddyfile", "--config",
                str(self.folder / "config")]


def connections_to(port: int) -> int:
    """Return how many connections to a port of this machine are open."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    rows = [line.split() for line in lines]
    return sum(row[2].endswith(":{:04X}".format(port)) and row[3] == "01"
               for row in rows)


def message(answer: Answer) -> str:
    """Return the sentence of an error, which is JSON."""
    assert answer.headers.get_content_type() == "application/json"
    return str(json.loads(answer.body.decode())["message"])


def _variable(name: str) -> str:
    """Return what CGI makes of the name of a header."""
    return "".join(each if each.isalnum() else "_" for each in name.upper())

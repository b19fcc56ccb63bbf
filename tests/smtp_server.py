#!/usr/bin/env python3
"""A real mail server on this machine, for tests that want no stand-in.

    with SmtpServer() as server:
        ...  # MAIL_URL=server.url
        server.wait_for("bob@me.com")
        assert "Set a new password" in server.text("bob@me.com")

It takes every mail, unless told to refuse, to dawdle or to be down.
"""
from __future__ import annotations

import asyncio
import email
import email.policy
import logging
import socket
import ssl
import subprocess
import threading
import time
from email.message import EmailMessage
from pathlib import Path
from typing import (
    Any, AnyStr, Dict, List, NamedTuple, Optional, Set, Tuple)

from aiosmtpd.smtp import SMTP, AuthResult

from tests.machine import free_port

HERE = "127.0.0.1"
# What the server thinks of its clients is not what a test looks at.
logging.getLogger("mail.log").setLevel(logging.CRITICAL)


class Certificate(NamedTuple):
    """A certificate that signed itself, and its key, as names of files."""

    cert: str
    key: str

    @property
    def environ(self) -> Dict[str, str]:
        """The variable that makes a process trust it."""
        return {"SSL_CERT_FILE": self.cert}

    def context(self) -> ssl.SSLContext:
        """Return what a server needs to present it."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.cert, self.key)
        return context


def make_certificate(folder: Path, *names: str) -> Certificate:
    """Make a certificate for host names, by default this machine's.

    Needs the command `openssl`.
    """
    made = Certificate(str(folder / "cert.pem"), str(folder / "key.pem"))
    hosts = ["DNS:" + each for each in names] or [
        "DNS:localhost", "IP:" + HERE]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=Bienvenue tests", "-addext",
         "subjectAltName=" + ",".join(hosts), "-keyout", made.key, "-out",
         made.cert], check=True, stderr=subprocess.DEVNULL)
    return made


class SmtpServer:
    """Takes mails on a loopback port, which stays the same when restarted.

    It listens once it is made. Switches, which may be turned at any time:

    - `answer`: what it says instead of OK, such as "550 no", when it hears
      `answer_to`, one of MAIL, RCPT, DATA, QUIT and STARTTLS;
    - `asleep_seconds`: how long it says nothing, before its greeting, or
      before it answers a mail if `asleep_at` is DATA; it keeps that mail
      even if the client hangs up meanwhile;
    - `login`: the one user and password that it lets in, anybody if None.

    With `tls` it is "smtps" (from the start) or "starttls" (if the client
    asks), and needs a certificate. What it learned: `mails`, each with its
    recipient, `senders`, `logins`, and `in_clear`, the commands MAIL and AUTH
    that came without TLS.
    """

    def __init__(self, tls: str = "",
                 certificate: Optional[Certificate] = None) -> None:
        """Start to listen, on a port that no client is given meanwhile."""
        self.mails: List[Tuple[str, EmailMessage]] = []
        self.senders: List[str] = []
        self.logins: List[Tuple[str, str]] = []
        self.in_clear: List[str] = []
        self.answer, self.answer_to = "", "RCPT"
        self.asleep_seconds, self.asleep_at = 0.0, "greeting"
        self.login: Optional[Tuple[str, str]] = None
        self.tls = tls
        self._context = certificate.context() if certificate else None
        self._threads: List[_Listener] = []
        self.port = free_port()
        self._socket = _bound(self.port)
        self.start()

    def __enter__(self) -> SmtpServer:
        """Lend the server that listens already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and give the port back."""
        self.stop()
        self._socket.close()

    @property
    def url(self) -> str:
        """What MAIL_URL has to be."""
        return "{}://{}:{}".format(
            "smtps" if self.tls == "smtps" else "smtp", HERE, self.port)

    def start(self) -> None:
        """Listen again; return once it does."""
        if not self._threads:
            self._threads.append(_Listener(self, self._socket, self._context))
            self._threads[0].begin()

    def stop(self) -> None:
        """Hang up on everybody, and refuse connections from now on.

        The port is bound, but not listened on, until start().
        """
        if self._threads:
            self._threads.pop().end()
            self._socket = _bound(self.port)

    def to(self, recipient: str) -> List[EmailMessage]:
        """Return every mail that an address got, the oldest first."""
        return [message for each, message in self.mails if each == recipient]

    def text(self, recipient: str) -> str:
        """Return the text of the newest mail to an address."""
        body = self.to(recipient)[-1].get_body(("plain",))
        return str(body.get_content()) if body else ""

    def wait_for(self, recipient: str, count: int = 1,
                 seconds: float = 20) -> List[EmailMessage]:
        """Return the mails to an address once there are so many of them."""
        deadline = time.monotonic() + seconds
        while len(self.to(recipient)) < count:
            assert time.monotonic() < deadline, "{} of {} mails came".format(
                len(self.to(recipient)), count)
            time.sleep(0.01)
        return self.to(recipient)


class _Listener(threading.Thread):
    """Serves a socket until told to end."""

    def __init__(self, server: SmtpServer, listening: socket.socket,
                 context: Optional[ssl.SSLContext]) -> None:
        """Serve this socket, with TLS if there is a context."""
        super().__init__(name="smtp-server", daemon=True)
        self._server, self._socket, self._context = server, listening, context
        self._ready = threading.Event()
        self._loop: Any = None
        self._ending: Any = None
        self.open: Set[_Conversation] = set()

    def begin(self) -> None:
        """Start, and wait until clients are heard."""
        self.start()
        assert self._ready.wait(20), "the mail server did not start"

    def end(self) -> None:
        """End, and wait until everybody is gone."""
        self._loop.call_soon_threadsafe(self._ending.set)
        self.join(20)
        assert not self.is_alive(), "the mail server did not stop"

    def run(self) -> None:
        """Serve, in a thread and a loop of its own."""
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        """Take connections until told to end, then drop them all."""
        self._loop, self._ending = asyncio.get_event_loop(), asyncio.Event()
        # A client that does not like our certificate is no news either.
        self._loop.set_exception_handler(lambda *_: None)
        implicit = self._context if self._server.tls == "smtps" else None
        serving = await self._loop.create_server(
            self._converse, sock=self._socket, ssl=implicit, backlog=100)
        self._ready.set()
        await self._ending.wait()
        serving.close()
        while self.open:
            for each in list(self.open):
                each.drop()
            await asyncio.sleep(0.001)

    def _converse(self) -> _Conversation:
        """Return who talks to the client that just came."""
        later = self._context if self._server.tls == "starttls" else None
        return _Conversation(
            self, self._server, loop=self._loop, hostname="localhost",
            tls_context=later, auth_require_tls=False,
            authenticator=_Handler(self._server).let_in)


class _Conversation(SMTP):
    """Talks to one client."""

    def __init__(self, listener: _Listener, server: SmtpServer,
                 **options: Any) -> None:
        """Talk by the switches of this server."""
        super().__init__(_Handler(server), **options)
        self._listener, self._server, self._greeted = listener, server, False

    def connection_made(self, transport: Any) -> None:
        """Note that somebody is there."""
        super().connection_made(transport)
        self._listener.open.add(self)

    def connection_lost(self, error: Optional[Exception]) -> None:
        """Note that they went."""
        super().connection_lost(error)
        self._listener.open.discard(self)

    def drop(self) -> None:
        """Hang up without a word."""
        transport: Any = self.transport
        if transport is not None:
            transport.abort()

    async def push(self, status: AnyStr) -> None:
        """Say something; the first time is the greeting."""
        first, self._greeted = not self._greeted, True
        if first and self._server.asleep_at == "greeting":
            await asyncio.sleep(self._server.asleep_seconds)
        await super().push(status)

    async def smtp_STARTTLS(self, arg: str) -> None:
        """Turn to TLS, unless told to say something else."""
        if self._server.answer and self._server.answer_to == "STARTTLS":
            await self.push(self._server.answer)
        else:
            await super().smtp_STARTTLS(arg)


class _Handler:
    """Answers what a client asks, by the switches of a server."""

    def __init__(self, server: SmtpServer) -> None:
        """Put what comes into the lists of this server."""
        self._server = server

    def let_in(self, _smtp: Any, session: Any, _envelope: Any,
               _mechanism: str, given: Any) -> AuthResult:
        """Note who signs in, and decide."""
        self._note("AUTH", session)
        login = given.login.decode(), given.password.decode()
        self._server.logins.append(login)
        return AuthResult(
            success=self._server.login in (None, login), handled=False)

    async def handle_MAIL(self, _smtp: Any, session: Any, envelope: Any,
                          address: str, _options: List[str]) -> str:
        """Hear who sends."""
        self._note("MAIL", session)
        self._server.senders.append(address)
        envelope.mail_from = address
        return self._or("MAIL", "250 OK")

    async def handle_RCPT(self, _smtp: Any, _session: Any, envelope: Any,
                          address: str, _options: List[str]) -> str:
        """Hear who it is for."""
        said = self._or("RCPT", "250 OK")
        if said.startswith("250"):
            envelope.rcpt_tos.append(address)
        return said

    async def handle_DATA(self, _smtp: Any, _session: Any,
                          envelope: Any) -> str:
        """Take the mail itself, once for each recipient.

        All of it is here by now; so it is kept, as by any mail server, even
        if the client hangs up before it is told so.
        """
        said = self._or("DATA", "250 OK")
        try:
            if self._server.asleep_at == "DATA":
                await asyncio.sleep(self._server.asleep_seconds)
            said = self._or("DATA", "250 OK")
        finally:
            if said.startswith("250"):
                self._keep(envelope)
        return said

    def _keep(self, envelope: Any) -> None:
        """Put a mail into every mailbox that it is for."""
        message = email.message_from_bytes(
            envelope.content.replace(b"\r\n", b"\n"),
            policy=email.policy.default)
        for each in envelope.rcpt_tos:
            self._server.mails.append((each, message))

    async def handle_QUIT(self, _smtp: Any, _session: Any,
                          _envelope: Any) -> str:
        """Say goodbye, as a rule."""
        return self._or("QUIT", "221 Bye")

    def _note(self, heard: str, session: Any) -> None:
        """Remember a command if everybody on the way could read it."""
        if session.ssl is None and self._server.tls != "smtps":
            self._server.in_clear.append(heard)

    def _or(self, heard: str, otherwise: str) -> str:
        """Return what to say to a command."""
        if self._server.answer and self._server.answer_to == heard:
            return self._server.answer
        return otherwise


def _bound(port: int) -> socket.socket:
    """Return a socket on a port; whoever connects is refused yet.

    A process that another thread is starting holds a copy of what listened
    here until it runs its program; that is waited for.
    """
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    deadline = time.monotonic() + 5
    while True:
        try:
            made.bind((HERE, port))
            return made
        except OSError:
            if time.monotonic() > deadline:
                made.close()
                raise
            time.sleep(0.01)

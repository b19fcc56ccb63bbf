#!/usr/bin/env python3
"""How a mail travels, seen by a real server on the other side."""
from __future__ import annotations

import dataclasses
import logging
import os
import shutil
import smtplib
import socket
import ssl
import time
from contextlib import suppress
from email.message import EmailMessage
from typing import (
    Any, Callable, ContextManager, Iterator, List, Optional, Tuple, Type)

import pytest

import mail.transports
from mail.transports import ConsoleMailer, Mailer, SmtpMailer, mailer_for
from settings import Settings
from tests.helpers import EMAIL
from tests.smtp_server import Certificate, SmtpServer, make_certificate

# A host that is not this machine, for all that the mailer can know.
ELSEWHERE = "mail.example.com"
KINDS = ["smtps", "starttls"]
SCHEMES = {"smtps": "smtps", "starttls": "smtp"}

Certify = Callable[..., Certificate]


@pytest.fixture(scope="module")
def certify(tmp_path_factory: pytest.TempPathFactory) -> Certify:
    """Make a certificate for a host."""
    if shutil.which("openssl") is None:
        pytest.skip("no command openssl to make a certificate with")
    return lambda *names: make_certificate(
        tmp_path_factory.mktemp("certificate"), *names)


@pytest.fixture(scope="module")
def certificate(certify: Certify) -> Certificate:
    """The certificate of a mail server elsewhere."""
    return certify(ELSEWHERE)


@pytest.fixture(params=KINDS)
def tls_server(request: Any,
               certificate: Certificate) -> Iterator[SmtpServer]:
    """A server elsewhere, with TLS from the start and by STARTTLS."""
    with SmtpServer(request.param, certificate) as server:
        yield server


@pytest.fixture
def server() -> Iterator[SmtpServer]:
    """A server that knows nothing of TLS."""
    with SmtpServer() as running:
        yield running


@pytest.fixture(autouse=True)
def untrusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this process trust nobody: the system's list is long to read."""
    monkeypatch.setenv("SSL_CERT_FILE", os.devnull)


@pytest.fixture
def trusted(untrusting: None, certificate: Certificate,
            monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this process trust that certificate, and no other."""
    for name, value in certificate.environ.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every host name lead to this machine."""
    real = socket.getaddrinfo

    def look_up(_host: Any, *args: Any, **options: Any) -> Any:
        """Find 127.0.0.1, whoever is looked for."""
        return real("127.0.0.1", *args, **options)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def message(to: str = EMAIL) -> EmailMessage:
    """Return a small mail."""
    made = EmailMessage()
    made["From"] = "Bienvenue <auth@example.com>"
    made["To"] = to
    made["Subject"] = "Caf\u00e9"
    made.set_content("Gr\u00fc\u00dfe\n.\nund mehr\n")
    return made


def send(url: str, email: str = EMAIL, to: str = EMAIL) -> None:
    """Send a small mail by a URL; the envelope names `email`."""
    with SmtpMailer(url).connection() as hand_over:
        hand_over(message(to), email)


def url_of(server: SmtpServer, host: str = ELSEWHERE, login: str = "") -> str:
    """Return the URL of a server under this name."""
    return "{}://{}{}:{}".format(
        SCHEMES.get(server.tls, "smtp"), login, host, server.port)


def assert_untouched(server: SmtpServer) -> None:
    """Assert that a server heard nothing worth hearing."""
    assert (server.mails, server.senders, server.logins, server.in_clear) \
        == ([], [], [], [])


class TestHere:
    """A server on this very machine, which is spoken to as it is."""

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
    def test_takes_the_mail(self, server: SmtpServer, host: str) -> None:
        """Whole, from our address to theirs."""
        send(url_of(server, host))
        (recipient, received), = server.mails
        assert (recipient, server.senders) == (EMAIL, ["auth@example.com"])
        assert received["Subject"] == "Caf\u00e9"
        assert server.text(EMAIL) == "Gr\u00fc\u00dfe\n.\nund mehr\n"

    def test_one_connection_takes_several(self, server: SmtpServer) -> None:
        """The lent function may be called again."""
        with SmtpMailer(server.url).connection() as hand_over:
            hand_over(message(), EMAIL)
            hand_over(message(), "eve@me.com")
        assert [to for to, _ in server.mails] == [EMAIL, "eve@me.com"]

    def test_login_is_decoded(self, server: SmtpServer) -> None:
        """A URL has to encode what a password may hold; a plus is a plus."""
        server.login = ("bob@example.com", "p@ss/w:rd%+#?")
        send(url_of(server, "127.0.0.1", "bob%40example.com:"
                    "p%40ss%2Fw%3Ard%25+%23%3F@"))
        assert server.logins == [server.login]
        assert len(server.mails) == 1

    def test_nobody_logs_in_without_a_user(self, server: SmtpServer) -> None:
        """Many a server here lets everybody in, and offers no login."""
        send(server.url)
        assert server.logins == []


class TestElsewhere:
    """A server on any other machine: TLS, or not a word."""

    @pytest.mark.usefixtures("names", "trusted")
    def test_hears_us_by_tls_alone(self, tls_server: SmtpServer) -> None:
        """The login too: nothing that somebody on the way could read."""
        send(url_of(tls_server, login="bob:secret@"))
        assert [to for to, _ in tls_server.mails] == [EMAIL]
        assert tls_server.logins == [("bob", "secret")]
        assert tls_server.in_clear == []

    @pytest.mark.usefixtures("names")
    @pytest.mark.parametrize("host", [
        ELSEWHERE, "localhost.example.com", "127.0.0.1.example.com",
        "10.0.0.1", "mylocalhost", "128.0.0.1"])
    def test_is_told_nothing_without_starttls(
            self, server: SmtpServer, host: str) -> None:
        """Whoever sits on the way could leave the offer out."""
        with pytest.raises(smtplib.SMTPException):
            send(url_of(server, host, "bob:secret@"))
        assert_untouched(server)

    @pytest.mark.usefixtures("names", "trusted")
    @pytest.mark.parametrize("answer", ["454 later", "502 what?", "250 OK"])
    def test_is_told_nothing_when_starttls_is_refused(
            self, certificate: Certificate, answer: str) -> None:
        """Offered or not: what counts is that TLS is there."""
        with SmtpServer("starttls", certificate) as server:
            server.answer, server.answer_to = answer, "STARTTLS"
            with pytest.raises(smtplib.SMTPException):
                send(url_of(server, login="bob:secret@"))
            assert_untouched(server)

    @pytest.mark.usefixtures("names")
    def test_is_told_nothing_with_a_certificate_of_its_own(
            self, tls_server: SmtpServer) -> None:
        """Anybody can make one."""
        with pytest.raises(ssl.SSLCertVerificationError):
            send(url_of(tls_server, login="bob:secret@"))
        assert_untouched(tls_server)

    @pytest.mark.usefixtures("names", "trusted")
    @pytest.mark.parametrize("host", ["mail.example.org", "example.com"])
    def test_is_told_nothing_with_the_certificate_of_another_host(
            self, tls_server: SmtpServer, host: str) -> None:
        """A good one, and somebody else's."""
        with pytest.raises(ssl.SSLCertVerificationError):
            send(url_of(tls_server, host, "bob:secret@"))
        assert_untouched(tls_server)

    def test_this_machine_is_verified_too_if_the_url_asks_for_tls(
            self, certify: Certify, monkeypatch: pytest.MonkeyPatch) -> None:
        """smtps is smtps, wherever it leads."""
        certificate = certify()
        with SmtpServer("smtps", certificate) as server:
            with pytest.raises(ssl.SSLCertVerificationError):
                send(server.url)
            monkeypatch.setenv("SSL_CERT_FILE", certificate.cert)
            send(server.url)
            assert len(server.mails) == 1

    @pytest.mark.parametrize("url, port", [
        ("smtp://mail.example.com", 587), ("smtps://mail.example.com", 465),
        ("smtp://mail.example.com:25", 25),
        ("smtps://u:p@mail.example.com:2465/", 2465),
        ("smtp://[2001:db8::1]", 587)])
    def test_is_called_on_the_port_for_mail_of_users(
            self, monkeypatch: pytest.MonkeyPatch, url: str,
            port: int) -> None:
        """Submission (RFC 6409, RFC 8314), unless the URL says otherwise.

        And for no longer than it says, since a round of mails waits for it.
        """
        called: List[Tuple[Any, ...]] = []

        def connect(address: Tuple[str, int], timeout: float,
                    *_: Any) -> socket.socket:
            """Note where to, and fail."""
            called.append(address + (timeout,))
            raise ConnectionRefusedError()
        monkeypatch.setattr(socket, "create_connection", connect)
        with pytest.raises(ConnectionRefusedError):
            send(url)
        host = "2001:db8::1" if "[" in url else ELSEWHERE
        assert called == [
            (host, port, mail.transports.TIMEOUT_SECONDS)]
        assert 5 <= mail.transports.TIMEOUT_SECONDS <= 30


class TestEnvelope:
    """Who gets a mail."""

    @pytest.mark.parametrize("header", [
        "bob@me.com, eve@evil.example", "eve@evil.example",
        "bob@me.com <eve@evil.example>"])
    def test_has_the_one_recipient(
            self, server: SmtpServer, header: str) -> None:
        """Whatever stands in the header To (ASVS 1.3.11)."""
        send(server.url, EMAIL, header)
        assert [to for to, _ in server.mails] == [EMAIL]

    @pytest.mark.parametrize("email", [
        "bob@me.com>\r\nRCPT TO:<eve@evil.example",
        "bob@me.com\nRCPT TO:<eve@evil.example>"])
    def test_cannot_be_extended(
            self, server: SmtpServer, email: str) -> None:
        """A line break in an address would be a command of its own.

        Some Pythons refuse the address, others read its beginning.
        """
        with suppress(ValueError):
            send(server.url, email)
        assert {to for to, _ in server.mails} <= {EMAIL}


class TestFailures:
    """Everything is an OSError; a refusal is an SMTPException."""

    def test_nobody_listens(self, server: SmtpServer) -> None:
        """And once somebody does, all is well."""
        mailer = SmtpMailer(server.url)
        server.stop()
        with pytest.raises(ConnectionRefusedError):
            with mailer.connection():
                raise AssertionError("there is nobody")
        server.start()
        with mailer.connection() as hand_over:
            hand_over(message(), EMAIL)
        assert len(server.mails) == 1

    @pytest.mark.parametrize("at", ["greeting", "DATA"])
    def test_silence_is_an_end(self, server: SmtpServer, at: str,
                               monkeypatch: pytest.MonkeyPatch) -> None:
        """A server that accepts and says nothing does not hold us up."""
        for name in ("TIMEOUT_SECONDS", "TAKING_SECONDS"):
            monkeypatch.setattr(mail.transports, name, 0.2)
        server.asleep_seconds, server.asleep_at = 30, at
        started = time.monotonic()
        with pytest.raises(OSError):
            send(server.url)
        assert time.monotonic() < started + 10

    def test_slow_to_take_a_mail_is_no_silence(
            self, server: SmtpServer,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """It may have it already; to hang up would send it twice.

        RFC 5321, 4.5.3.2.6, has us wait for minutes.
        """
        assert mail.transports.TAKING_SECONDS >= 60
        monkeypatch.setattr(mail.transports, "TIMEOUT_SECONDS", 0.2)
        server.asleep_seconds, server.asleep_at = 0.6, "DATA"
        send(server.url)
        assert len(server.mails) == 1

    def test_silence_to_the_goodbye_is_short(
            self, server: SmtpServer,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """Once the mail is taken there is nothing to be patient for."""
        monkeypatch.setattr(mail.transports, "TIMEOUT_SECONDS", 0.2)
        waits: List[Optional[float]] = []
        goodbye = smtplib.SMTP.quit

        def quit_after_a_look(client: Any) -> Any:
            """Note how long it would wait."""
            waits.append(client.sock.gettimeout())
            return goodbye(client)
        monkeypatch.setattr(smtplib.SMTP, "quit", quit_after_a_look)
        send(server.url)
        assert waits == [0.2]

    @pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
    @pytest.mark.parametrize("answer", ["550 no", "451 not now"])
    def test_refused(self, server: SmtpServer, verb: str,
                     answer: str) -> None:
        """At whatever point of the conversation."""
        server.answer, server.answer_to = answer, verb
        with pytest.raises(smtplib.SMTPException):
            send(server.url)
        assert server.mails == []

    def test_wrong_login(self, server: SmtpServer) -> None:
        """Noticed before a mail is made: nothing is lent."""
        server.login = ("bob", "right")
        mailer = SmtpMailer(url_of(server, "127.0.0.1", "bob:wrong@"))
        with pytest.raises(smtplib.SMTPAuthenticationError):
            with mailer.connection():
                raise AssertionError("nobody let us in")
        assert server.mails == []


class Killed(BaseException):
    """What ends a process, as Ctrl+C does."""


class TestGoodbye:
    """Leaving the server, in peace or not."""

    @pytest.mark.parametrize("error", [Killed, KeyError])
    def test_rudeness_hides_no_error(
            self, server: SmtpServer, error: Type[BaseException]) -> None:
        """What went wrong is what is raised, whatever comes after it.

        Ctrl+C while the server thinks about a mail leaves an answer on the
        line. It is taken for that to QUIT, and must not replace Ctrl+C: a
        mail that was taken would be sent again, and the process goes on.
        """
        server.answer, server.answer_to = "250 OK", "QUIT"
        with pytest.raises(error):
            with SmtpMailer(server.url).connection():
                raise error()

    def test_server_that_is_gone_by_then_has_the_mail(
            self, server: SmtpServer) -> None:
        """It took it; that it is restarted right after is no failure."""
        with SmtpMailer(server.url).connection() as hand_over:
            hand_over(message(), EMAIL)
            server.stop()
        assert len(server.mails) == 1


class TestConsoleMailer:
    """The development mode, which needs no server."""

    def test_shows_the_text_on_the_log(
            self, caplog: pytest.LogCaptureFixture) -> None:
        """With the link that is to be tried, and without the HTML."""
        caplog.set_level(logging.INFO)
        shown = message()
        shown.add_alternative("<p>html</p>", subtype="html")
        with ConsoleMailer().connection() as hand_over:
            hand_over(shown, EMAIL)
        record, = caplog.records
        assert (record.name, record.levelname) == ("bienvenue.mail", "INFO")
        assert record.getMessage() == (
            "mail to bob@me.com: Caf\u00e9\n\nGr\u00fc\u00dfe\n.\nund mehr\n")


class TestMailerFor:
    """Which mode sends how."""

    def test_development_shows(self, settings: Settings) -> None:
        """Even with a server at hand: its addresses are made up."""
        assert isinstance(mailer_for(dataclasses.replace(
            settings, mail_url="smtp://localhost")), ConsoleMailer)

    def test_production_sends(self, safe_settings: Settings) -> None:
        """And never shows a token on a log."""
        assert isinstance(mailer_for(safe_settings), SmtpMailer)

    def test_one_without_a_way_says_so(self) -> None:
        """Whoever writes a mailer has to say how it sends."""
        lent: ContextManager[Any] = Mailer().connection()
        with pytest.raises(NotImplementedError):
            lent.__enter__()

#!/usr/bin/env python3
"""How a mail leaves the house: by SMTP, or onto the log of a desk."""
from __future__ import annotations

import logging
import smtplib
import ssl
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from ipaddress import ip_address
from typing import Any, Callable, Iterator
from urllib.parse import unquote, urlsplit

from settings import Settings

log = logging.getLogger("bienvenue.mail")
# A server that says nothing for so long is taken for dead;
TIMEOUT_SECONDS = 10
# but not so soon while it takes a mail. It may have it long before it says so,
# and whoever hangs up meanwhile sends it twice (RFC 5321, 4.5.3.2.6).
TAKING_SECONDS = 120
# Takes the message and the one address that it goes to.
Send = Callable[[EmailMessage, str], None]


class Mailer:
    """Hands mails to whoever carries them on."""

    @contextmanager
    def connection(self) -> Iterator[Send]:
        """Lend a function that sends; raise OSError if nobody takes mail.

        That function raises OSError, of which smtplib.SMTPException is one,
        when this very mail is not taken.
        """
        raise NotImplementedError
        yield


class SmtpMailer(Mailer):
    """Speaks to the mail server of a URL, smtp:// or smtps://.

    Nothing is said in clear: smtps is TLS from the start, smtp turns to TLS
    at once and gives up without. The certificate must be good for the host
    (SSL_CERT_FILE names an authority of your own). Only a server on this very
    machine is spoken to as it is.
    """

    def __init__(self, url: str) -> None:
        """Prepare to use that server; connects to nothing yet."""
        parts = urlsplit(url)
        self._secure = parts.scheme == "smtps"
        self._host = parts.hostname or ""
        self._port = parts.port or (465 if self._secure else 587)
        self._user = unquote(parts.username or "")
        self._password = unquote(parts.password or "")

    @contextmanager
    def connection(self) -> Iterator[Send]:
        """Lend a function that sends; the server has let us in by then."""
        server = self._connect()
        try:
            if not self._secure and not _is_this_machine(self._host):
                server.starttls(context=ssl.create_default_context())
            if self._user:
                server.login(self._user, self._password)

            def send(message: EmailMessage, email: str) -> None:
                """Hand over one mail; the envelope has one recipient.

                Not read from the header, where a comma would make two.
                """
                with _patience(server):
                    server.send_message(message, to_addrs=[email])
            yield send
            with suppress(OSError):  # what was taken is taken
                server.quit()
        finally:
            server.close()

    def _connect(self) -> smtplib.SMTP:
        """Open the connection, with TLS if the URL starts with it."""
        if self._secure:
            return smtplib.SMTP_SSL(
                self._host, self._port, timeout=TIMEOUT_SECONDS,
                context=ssl.create_default_context())
        return smtplib.SMTP(self._host, self._port, timeout=TIMEOUT_SECONDS)


class ConsoleMailer(Mailer):
    """Prints mails to the log: development mode only, as they hold tokens."""

    @contextmanager
    def connection(self) -> Iterator[Send]:
        """Lend a function that prints."""
        yield self._print

    @staticmethod
    def _print(message: EmailMessage, email: str) -> None:
        """Print the text of a mail, the HTML being the same."""
        text = message.get_body(("plain",))
        log.info("mail to %s: %s\n\n%s", email, message["Subject"],
                 text.get_content() if text else "")


@contextmanager
def _patience(server: smtplib.SMTP) -> Iterator[None]:
    """Wait longer for a server, for a while."""
    sock: Any = server.sock
    sock.settimeout(TAKING_SECONDS)
    yield
    sock.settimeout(TIMEOUT_SECONDS)


def mailer_for(settings: Settings) -> Mailer:
    """Return what carries the mail of a mode."""
    if settings.production:
        return SmtpMailer(settings.mail_url)
    return ConsoleMailer()


def _is_this_machine(host: str) -> bool:
    """Tell whether what is sent to a host leaves this machine at all."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

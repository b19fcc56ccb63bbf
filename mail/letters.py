#!/usr/bin/env python3
"""The words of a mail: from a purpose and what is known to a message.

Each purpose has a template `<purpose>.txt`: the subject on its first line, a
blank line, the text. The HTML part is the same text laid out by
`layout.html`, or by `<purpose>.html` if a deployer wrote one.
"""
from __future__ import annotations

from datetime import datetime, timezone
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from pathlib import Path
from typing import List

from jinja2 import (
    Environment, FileSystemLoader, StrictUndefined, select_autoescape)

from models import CHANGE, RESET, VERIFY
from settings import HOUR, MINUTE, Settings

# The mails that carry a token are named as the token's purpose.
ALREADY_REGISTERED = "already_registered"
CHANGE_REQUESTED = "change_requested"
EMAIL_CHANGED = "email_changed"
PASSWORD_CHANGED = "password_changed"
NEW_DEVICE = "new_device"
PURPOSES = (RESET, VERIFY, CHANGE, ALREADY_REGISTERED, CHANGE_REQUESTED,
            EMAIL_CHANGED, PASSWORD_CHANGED, NEW_DEVICE)
OURS = str(Path(__file__).resolve().parent / "templates")


class Letters:
    """Writes every mail of the service, in a deployer's words if there are.

    Stateless but for parsed templates; safe to share between threads.
    """

    def __init__(self, settings: Settings) -> None:
        """Take templates from MAIL_TEMPLATES first, then ours."""
        folders: List[str] = [
            each for each in (settings.mail_templates, OURS) if each]
        self._settings = settings
        # A name that a template misspells is an error, not a blank.
        self._templates = Environment(
            loader=FileSystemLoader(folders), undefined=StrictUndefined,
            autoescape=select_autoescape(["html"]),
            keep_trailing_newline=True)

    def write(self, purpose: str, email: str, at: int, token: str = "",
              detail: str = "") -> EmailMessage:
        """Return the mail of a purpose to an address.

        Templates are given `service`, `email`, `link`, `detail` (a new
        address or a device) and `life`, as in "24 hours".
        """
        settings = self._settings
        known = {
            "service": settings.service_name, "email": email,
            "detail": detail, "link": self.link(purpose, token),
            "life": _said(self._life(purpose))}
        text = self._templates.get_template(purpose + ".txt").render(known)
        subject, _, body = text.partition("\n")
        html = self._templates.select_template(
            [purpose + ".html", "layout.html"]).render(
                known, subject=subject.strip(),
                paragraphs=body.strip().split("\n\n"))
        return self._sealed(email, at, subject.strip(),
                            body.strip() + "\n", html)

    def link(self, purpose: str, token: str) -> str:
        """Return the link of a mail, "" for one that needs none.

        Built from settings alone, never from a request (CVE-2021-30185). The
        token is in the fragment, which browsers send to nobody.
        """
        if not token:
            return ""
        kind = "verify" if purpose in (VERIFY, CHANGE) else "reset"
        return "{}#{}={}".format(self._settings.links, kind, token)

    def _life(self, purpose: str) -> int:
        """Return the seconds for which a link of this purpose works."""
        return (self._settings.verify_token_life
                if purpose in (VERIFY, CHANGE)
                else self._settings.reset_token_life)

    def _sealed(self, email: str, at: int, subject: str, text: str,
                html: str) -> EmailMessage:
        """Return the message with its headers and both of its parts.

        Raises ValueError for an address that cannot stand in a header.
        """
        sender = self._settings.mail_from or "bienvenue@localhost"
        message = EmailMessage()
        message["From"] = Address(self._settings.service_name,
                                  addr_spec=sender)
        message["To"] = _recipient(email)
        message["Subject"] = subject
        message["Date"] = format_datetime(
            datetime.fromtimestamp(at, timezone.utc))
        message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
        # No out-of-office replies, please (RFC 3834).
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text)
        message.add_alternative(html, subtype="html")
        return message


def _said(seconds: int) -> str:
    """Return a duration as one says it, never longer than it is."""
    for size, unit in ((HOUR, "hour"), (MINUTE, "minute"), (1, "second")):
        if seconds >= size:
            break
    number = seconds // size
    return "{} {}{}".format(number, unit, "" if number == 1 else "s")


def _recipient(email: str) -> Address:
    """Return an address for a header, or raise ValueError."""
    try:
        return Address(addr_spec=email)
    except Exception as error:  # the parser fails in many ways
        raise ValueError("no mail can have this address") from error

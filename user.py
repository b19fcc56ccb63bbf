#!/usr/bin/env python3
"""The users table, and the rule that says when two addresses are one user.

The five columns are the card's, exactly: tools written for its contract
print and use them. What else is known of a user hangs off it in models.py.
"""
from __future__ import annotations

import unicodedata
from email.headerregistry import Address
from typing import Any, Optional

import sqlalchemy
from sqlalchemy import Integer, String

from errors import InvalidInput

try:
    from sqlalchemy.orm import declarative_base
except ImportError:  # SQLAlchemy 1.3, the card's end
    from sqlalchemy.ext.declarative import declarative_base

EMAIL_MAX = 250

Base: Any = declarative_base()
# Lets SQLAlchemy 2 take `email: str = Column(...)`, which 1.3 takes as well.
Base.__allow_unmapped__ = True
# Typed Any so that `user.email` is a str to a type checker, as it is on a row.
Column: Any = sqlalchemy.Column


class User(Base):
    """One account: who it is, and digests of what it may present.

    A User that is handed out is a value: changing it changes no database,
    and it goes on being readable when its row is gone.
    """

    __tablename__ = "users"
    # An id never comes back after a deletion: whoever is told `Remote-User: 7`
    # must not take the next 7 for the last one.
    __table_args__ = {"sqlite_autoincrement": True}

    id: int = Column(Integer, primary_key=True)
    # Canonical (canonical_email), so UNIQUE means one account a mailbox.
    email: str = Column(String(EMAIL_MAX), nullable=False, unique=True)
    # bcrypt; see credentials/passwords.py for its two forms.
    hashed_password: str = Column(String(250), nullable=False)
    # SHA-256 of the session opened last, until it is signed out of.
    session_id: Optional[str] = Column(String(250), nullable=True)
    # SHA-256 of the reset token made last, NULL once it was used.
    reset_token: Optional[str] = Column(String(250), nullable=True)

    def __repr__(self) -> str:
        """Show the id only: a repr ends up in logs (CVE-2020-15105)."""
        return "<User {}>".format(self.id)


def canonical_email(email: str) -> str:
    """Return the one spelling under which an address is stored and found.

    Composed (NFC) and lower-case, with the domain in its ASCII form (IDNA
    2008), so that neither case nor an equivalent character makes a second
    account for one mailbox (CVE-2019-19844). Compatibility characters stay
    apart: no look-alike finds another's account. Never raises; canonical
    addresses are left as they are (docs/security.md#addresses).
    """
    composed = unicodedata.normalize("NFC", email).lower()
    local, at, domain = unicodedata.normalize("NFC", composed).rpartition("@")
    if at and not domain.isascii():
        domain = _ascii_domain(domain)
    return local + at + domain


def _ascii_domain(domain: str) -> str:
    """Return the A-labels of a domain, or the domain if it has none."""
    import idna  # its tables are large and rarely needed

    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except UnicodeError:
        return domain


def validate_email(email: object) -> None:
    """Raise InvalidInput unless the value can be stored as an address.

    Any text of 1 to 250 characters will do in development mode, as the card
    asks. Control characters are refused in every mode: they break mail
    headers (ASVS 1.3.11), logs, and NUL breaks PostgreSQL.
    """
    if not isinstance(email, str) or not email:
        raise InvalidInput("email is missing")
    if len(email) > EMAIL_MAX or len(canonical_email(email)) > EMAIL_MAX:
        raise InvalidInput(
            "email is longer than {} characters".format(EMAIL_MAX))
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")
           for char in email):
        raise InvalidInput("email contains a character no address may have")


def validate_mailable(email: str) -> None:
    """Raise InvalidInput unless mail can be sent to this address.

    By syntax alone; nobody is asked. The part before the @ is ASCII, because
    many mail servers still take nothing else. One address is one recipient:
    commas, quotes and angle brackets are refused (ASVS 1.3.11).
    """
    import email_validator  # slow to import, and production only

    try:
        email_validator.validate_email(
            email, check_deliverability=False, allow_smtputf8=False)
        # What cannot stand in a header would wait in the outbox for ever.
        Address(addr_spec=canonical_email(email))
    except Exception as error:  # the parser fails in many ways
        raise InvalidInput("email is not an address that mail can reach") \
            from error

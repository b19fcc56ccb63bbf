#!/usr/bin/env python3
"""What can go wrong for a user of this service, as nouns of the domain.

No status, no header: app.py maps each class to its HTTP answer in one table.
`code` is stable and made for programs; str(error) is made for people.
"""
from __future__ import annotations


class AuthError(Exception):
    """The root: catch it to catch every refusal of the service.

    `public` is the sentence that leaves the service, on the wire too. It
    never holds a secret. `retry_after`, if not 0, is the number of seconds
    after which the same request may succeed.
    """

    code = "auth_error"
    default = "the request was refused"
    retry_after = 0

    def __init__(self, message: str = "") -> None:
        """Say what happened, or leave the sentence to the class."""
        super().__init__(message or self.default)

    @property
    def public(self) -> str:
        """The sentence a client may read."""
        return str(self)


class InvalidInput(AuthError, ValueError):
    """Raised when a value cannot be what its field asks for.

    Missing, over-long, of another type, or impossible to store. The message
    names the field and never repeats the value.
    """

    code = "invalid_input"
    default = "the input is not valid"


class EmailTaken(AuthError, ValueError):
    """Raised when the address belongs to an account already.

    str(error) is the sentence of the card's Python contract, `public` that
    of its HTTP contract; they differ.
    """

    code = "email_taken"

    def __init__(self, email: str) -> None:
        """Name the address as the caller spelled it."""
        super().__init__("User {} already exists".format(email))

    @property
    def public(self) -> str:
        """The card's answer, which does not repeat the address."""
        return "email already registered"


class BadCredentials(AuthError):
    """Raised when address and password do not open an account.

    Says the same for an unknown address and a wrong password, so that it
    tells nobody who has an account (ASVS 6.3.8).
    """

    code = "bad_credentials"
    default = "wrong email or password"


class NotSignedIn(AuthError):
    """Raised when a request carries no live session."""

    code = "not_signed_in"
    default = "not signed in"


class UnknownSession(AuthError):
    """Raised when a user ends a session that is not one of theirs.

    Somebody else's and one that never was look alike.
    """

    code = "unknown_session"
    default = "no such session"


class WrongPassword(AuthError):
    """Raised when somebody signed in repeats the password wrongly.

    Dangerous verbs ask for it again (ASVS 7.5.1), so that an unlocked screen
    is not enough.
    """

    code = "wrong_password"
    default = "wrong password"


class UnknownEmail(AuthError, ValueError):
    """Raised when a reset is asked for an address without an account.

    Development mode only: it is what the card's contract says.
    """

    code = "unknown_email"
    default = "email is not registered"


class ResetRefused(AuthError, ValueError):
    """Raised when a password reset has no valid token, or lacks a field.

    Unknown, used, replaced, expired and foreign tokens look alike.
    """

    code = "reset_refused"
    default = "reset_token is not valid"


class DevelopmentOnly(AuthError):
    """Raised when the development mode is reached from elsewhere.

    That mode answers this machine alone, because it hands a reset token to
    whoever names an address.
    """

    code = "development_only"
    default = ("this is the development mode, which answers only its own "
               "machine: set AUTH_ENV=production to serve others")


class CrossSite(AuthError):
    """Raised when a browser asks for a change on behalf of another site.

    It would send the user's cookie along, whoever made the page.
    """

    code = "cross_site"
    default = "this request was made by a page of another site"


class Unavailable(AuthError):
    """Raised when the database cannot serve for the moment.

    Locked, full, unreadable or gone; what was acknowledged before is safe.
    """

    code = "unavailable"
    default = "the service is busy, try again in a moment"
    retry_after = 1

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


class WeakPassword(InvalidInput):
    """Raised when a new password breaks a rule of the production mode.

    The message says which rule and why (NIST SP 800-63B-4, 3.1.1.2).
    """

    code = "weak_password"


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


class NotVerified(AuthError):
    """Raised when the password is right and the address not yet verified.

    Told to nobody who does not know the password.
    """

    code = "not_verified"
    default = ("verify your email first: open the link that was mailed to "
               "you, or ask for a new one (POST /verify_email)")


class Throttled(AuthError):
    """Raised when something was tried too often, and before it is done.

    The same for known and unknown addresses. `retry_after` is the number of
    seconds after which the next try counts again.
    """

    code = "throttled"
    default = "too many attempts, try again later"

    def __init__(self, message: str = "", retry_after: int = 1) -> None:
        """Keep how long to wait, in whole seconds, at least one."""
        super().__init__(message)
        self.retry_after = retry_after


class NotSignedIn(AuthError):
    """Raised when a request carries no live session."""

    code = "not_signed_in"
    default = "not signed in"


class SignInRequired(AuthError):
    """Raised when a proxy asks whose request it holds, and it is nobody's.

    Not NotSignedIn, which the card answers with 403: a proxy takes 401 for
    "sign in", and 403 for "and do not come back".
    """

    code = "sign_in_required"
    default = "sign in first"


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

    In the development mode only, as the card's contract says; and when an
    administrator names nobody that there is.
    """

    code = "unknown_email"
    default = "email is not registered"


class ResetRefused(AuthError, ValueError):
    """Raised when a password reset has no valid token, or lacks a field.

    Unknown, used, replaced and expired tokens look alike. A good one of
    another user is told apart, to whoever holds it.
    """

    code = "reset_refused"
    default = "reset_token is not valid"


class VerificationRefused(AuthError):
    """Raised when an address is confirmed without a valid token.

    Unknown, used, replaced and expired tokens look alike, and so does one
    for an address that somebody else has registered meanwhile.
    """

    code = "verification_refused"
    default = "token is not valid"


class DevelopmentOnly(AuthError):
    """Raised when the development mode is reached from elsewhere.

    That mode answers this machine alone, because it hands a reset token to
    whoever names an address.
    """

    code = "development_only"
    default = ("this is the development mode, which answers only its own "
               "machine: set AUTH_ENV=production to serve others")


class UnknownHost(AuthError):
    """Raised when a request names a host that is not ours.

    A name that points here without our doing is somebody's attempt to have
    us answer, cache or link under it (CVE-2021-30185).
    """

    code = "unknown_host"
    default = ("this host is not served here; PUBLIC_URL and TRUSTED_HOSTS "
               "name those that are")


class CrossSite(AuthError):
    """Raised when a browser asks for a change on behalf of another site.

    It would send the user's cookie along, whoever made the page.
    """

    code = "cross_site"
    default = ("this request was made by a page of another site; only pages "
               "of this service's own origin may make it")


class Unavailable(AuthError):
    """Raised when the database cannot serve for the moment.

    Locked, full, unreadable or gone; what was acknowledged before is safe.
    """

    code = "unavailable"
    default = "the service is busy, try again in a moment"
    retry_after = 1


class Overloaded(AuthError):
    """Raised when more passwords wait to be hashed than can be soon.

    Nothing was computed, and the try counts nowhere. The same for known and
    unknown addresses. `retry_after` is the number of seconds in which those
    who wait will have had their turn.
    """

    code = "overloaded"
    default = "too many are signing in at this moment, try again shortly"

    def __init__(self, message: str = "", retry_after: int = 1) -> None:
        """Keep how long to wait, in whole seconds, at least one."""
        super().__init__(message)
        self.retry_after = max(retry_after, 1)


class NotMigrated(Unavailable):
    """Raised when the database is of a version that this code does not know.

    str(error) says which command to run; clients learn no more than of any
    other database that cannot serve.
    """

    code = "not_migrated"
    retry_after = 30

    @property
    def public(self) -> str:
        """The sentence of a store that cannot serve."""
        return Unavailable.default


class NotReady(Unavailable):
    """Raised when a health check finds that requests cannot be served.

    The message names the check that failed and nothing of its cause, which
    is for the log.
    """

    code = "not_ready"
    default = "not ready"

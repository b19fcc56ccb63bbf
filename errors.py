#!/usr/bin/env python3
"""What can go wrong for a user of this service, as nouns of the domain.

No status, no header: app.py maps each class to its HTTP answer in one table.
`code` is stable and made for programs, `title` is its name among people, and
str(error) is what happened this time. `remedy` is what to do about it; with
the first sentence of each class it makes docs/errors.md.
"""
from __future__ import annotations


class AuthError(Exception):
    """The root: catch it to catch every refusal of the service.

    `public` is the sentence that leaves the service, on the wire too. It
    never holds a secret. `retry_after`, if not 0, is the number of seconds
    after which the same request may succeed.
    """

    code = "auth_error"
    title = "Request refused"
    remedy = "Read the message."
    default = "the request was refused"
    retry_after = 0

    def __init__(self, message: str = "") -> None:
        """Say what happened, or leave the sentence to the class."""
        super().__init__(message or self.default)

    @property
    def public(self) -> str:
        """The sentence a client may read."""
        return str(self)

    @property
    def public_code(self) -> str:
        """The code a client may read."""
        return self.code


class InvalidInput(AuthError, ValueError):
    """Raised when a value cannot be what its field asks for.

    Missing, over-long, of another type, or impossible to store. The message
    names the field and never repeats the value.
    """

    code = "invalid_input"
    title = "Invalid input"
    remedy = "Mend the field that the message names."
    default = "the input is not valid"


class WeakPassword(InvalidInput):
    """Raised when a new password breaks a rule of the production mode.

    The message says which rule and why (NIST SP 800-63B-4, 3.1.1.2).
    """

    code = "weak_password"
    title = "Weak password"
    remedy = "Choose another password, by the rule that the message names."


class EmailTaken(AuthError, ValueError):
    """Raised when the address belongs to an account already.

    str(error) is the sentence of the card's Python contract, `public` that
    of its HTTP contract; they differ.
    """

    code = "email_taken"
    title = "Email already registered"
    remedy = "Sign in, or reset the password if it is forgotten."

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
    title = "Sign-in refused"
    remedy = "Try again, or reset the password if it is forgotten."
    default = "wrong email or password"


class NotVerified(AuthError):
    """Raised when the password is right and the address not yet verified.

    Told to nobody who does not know the password.
    """

    code = "not_verified"
    title = "Email not verified"
    remedy = ("Open the link that was mailed, or ask for a new one: POST "
              "/verify_email.")
    default = ("verify your email first: open the link that was mailed to "
               "you, or ask for a new one (POST /verify_email)")


class Throttled(AuthError):
    """Raised when something was tried too often, and before it is done.

    The same for known and unknown addresses. `retry_after` is the number of
    seconds after which the next try counts again.
    """

    code = "throttled"
    title = "Too many attempts"
    remedy = "Wait as long as Retry-After says, then try again."
    default = "too many attempts, try again later"

    def __init__(self, message: str = "", retry_after: int = 1) -> None:
        """Keep how long to wait, in whole seconds, at least one."""
        super().__init__(message)
        self.retry_after = retry_after


class NotSignedIn(AuthError):
    """Raised when a request carries no live session."""

    code = "not_signed_in"
    title = "Not signed in"
    remedy = "Sign in, and send the cookie or the Bearer token along."
    default = "not signed in"


class SignInRequired(AuthError):
    """Raised when a proxy asks whose request it holds, and it is nobody's.

    Not NotSignedIn, which the card answers with 403: a proxy takes 401 for
    "sign in", and 403 for "and do not come back".
    """

    code = "sign_in_required"
    title = "Sign in required"
    remedy = "Sign in, and come back with the session."
    default = "sign in first"


class UnknownSession(AuthError):
    """Raised when a user ends a session that is not one of theirs.

    Somebody else's and one that never was look alike.
    """

    code = "unknown_session"
    title = "No such session"
    remedy = "Take an id from GET /sessions; this one may have ended already."
    default = "no such session"


class WrongPassword(AuthError):
    """Raised when somebody signed in repeats the password wrongly.

    Dangerous verbs ask for it again (ASVS 7.5.1), so that an unlocked screen
    is not enough.
    """

    code = "wrong_password"
    title = "Wrong password"
    remedy = "Ask for the password of the account again."
    default = "wrong password"


class UnknownEmail(AuthError, ValueError):
    """Raised when a reset is asked for an address without an account.

    In the development mode only, as the card's contract says; and when an
    administrator names nobody that there is.
    """

    code = "unknown_email"
    title = "Email not registered"
    remedy = "Check the spelling, or register the address first."
    default = "email is not registered"


class ResetRefused(AuthError, ValueError):
    """Raised when a password reset has no valid token, or lacks a field.

    Unknown, used, replaced and expired tokens look alike. A good one of
    another user is told apart, to whoever holds it.
    """

    code = "reset_refused"
    title = "Password reset refused"
    remedy = "Ask for a new token: POST /reset_password."
    default = "reset_token is not valid"


class VerificationRefused(AuthError):
    """Raised when an address is confirmed without a valid token.

    Unknown, used, replaced and expired tokens look alike, and so does one
    for an address that somebody else has registered meanwhile.
    """

    code = "verification_refused"
    title = "Verification refused"
    remedy = ("Ask for a new link: POST /verify_email, or PUT /email for a "
              "new address.")
    default = "token is not valid"


class DevelopmentOnly(AuthError):
    """Raised when the development mode is reached from elsewhere.

    That mode answers this machine alone, because it hands a reset token to
    whoever names an address.
    """

    code = "development_only"
    title = "Development mode answers its own machine only"
    remedy = ("Call it as localhost and without a proxy, or set "
              "AUTH_ENV=production.")
    default = ("this is the development mode, which answers only its own "
               "machine: set AUTH_ENV=production to serve others")


class UnknownHost(AuthError):
    """Raised when a request names a host that is not ours.

    A name that points here without our doing is somebody's attempt to have
    us answer, cache or link under it (CVE-2021-30185).
    """

    code = "unknown_host"
    title = "Unknown host"
    remedy = "Use the name of the service, or add this one to TRUSTED_HOSTS."
    default = ("this host is not served here; PUBLIC_URL and TRUSTED_HOSTS "
               "name those that are")


class CrossSite(AuthError):
    """Raised when a browser asks for a change on behalf of another site.

    It would send the user's cookie along, whoever made the page.
    """

    code = "cross_site"
    title = "Request of another site"
    remedy = "Make the change from a page of the service's own origin."
    default = ("this request was made by a page of another site; only pages "
               "of this service's own origin may make it")


class Unavailable(AuthError):
    """Raised when the database cannot serve for the moment.

    Locked, full, unreadable or gone; what was acknowledged before is safe.
    """

    code = "unavailable"
    title = "Service unavailable"
    remedy = ("Wait as long as Retry-After says, then try again; the log has "
              "the cause.")
    default = "the service is busy, try again in a moment"
    retry_after = 1


class Overloaded(AuthError):
    """Raised when more passwords wait to be hashed than can be soon.

    Nothing was computed, and the try counts nowhere. The same for known and
    unknown addresses. `retry_after` is the number of seconds in which those
    who wait will have had their turn.
    """

    code = "overloaded"
    title = "Too many sign-ins at once"
    remedy = "Wait as long as Retry-After says, then try again."
    default = "too many are signing in at this moment, try again shortly"

    def __init__(self, message: str = "", retry_after: int = 1) -> None:
        """Keep how long to wait, in whole seconds, at least one."""
        super().__init__(message)
        self.retry_after = max(retry_after, 1)


class NotMigrated(Unavailable):
    """Raised when the database is of a version that this code does not know.

    In the log; str(error) says which command to run. Clients learn no more
    than of any other database that cannot serve.
    """

    code = "not_migrated"
    title = "Database of another version"
    remedy = "Run flask db upgrade, or the release that the database is of."
    retry_after = 30

    @property
    def public(self) -> str:
        """The sentence of a store that cannot serve."""
        return Unavailable.default

    @property
    def public_code(self) -> str:
        """The code of a store that cannot serve."""
        return Unavailable.code


class NotReady(Unavailable):
    """Raised when a health check finds that requests cannot be served.

    The message names the check that failed and nothing of its cause, which
    is for the log.
    """

    code = "not_ready"
    title = "Not ready"
    remedy = "Look for the cause in the log."
    default = "not ready"

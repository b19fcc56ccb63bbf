#!/usr/bin/env python3
"""The whole service, one verb a use case.

A verb has at most five beats: allow, find, decide, change, tell. Knowledge of
passwords and tokens lives in credentials/, storage in db.py; here is the
order in which things happen, and why.

The card's verbs answer None, False or ValueError, as its contract says. The
service's own verbs raise the errors of errors.py and return what was asked
for.
"""
from __future__ import annotations

import re
import time
from contextlib import contextmanager, suppress
from typing import (
    Any, Callable, ContextManager, Dict, Iterator, List, NoReturn, Optional,
    Tuple, Type)

from admin import Administration
from audit import NOBODY, Caller, Fact, Record, Trail
from cores import count_cores
from credentials import passwords, tokens
from credentials.pool import HashingPool
from db import DB
from devices import Devices
from errors import (
    AuthError, BadCredentials, EmailTaken, InvalidInput, NotSignedIn,
    NotVerified, Overloaded, ResetRefused, Unavailable, UnknownEmail,
    UnknownSession, VerificationRefused, WrongPassword)
from health import Health, Inquiry, checks_of
from mail.letters import (
    ALREADY_REGISTERED, CHANGE_REQUESTED, EMAIL_CHANGED, NEW_DEVICE,
    PASSWORD_CHANGED)
from mail.outbox import Outbox
from mail.proofs import Proofs
from mail.transports import Mailer, mailer_for
from metrics import metrics_for
from models import (
    CHANGE, RESET, VERIFY, Account, Device, Entry, MailToken, Outgoing,
    Session, Visit, is_live)
from settings import DAY, Settings
from sightings import SEEN_EVERY, Sightings
from throttle import Lanes, NoThrottle, Throttle
from user import User, canonical_email, validate_email, validate_mailable

# Labels of most addresses and hosts; no password leans on them.
COMMON_LABELS = frozenset((
    "account", "accounts", "auth", "http", "https", "info", "login", "mail"))
# How old the count of sessions may be that GET /metrics shows; it looks at
# every one of them, 0.3 s for 3 000 000.
SESSIONS_COUNTED_EVERY = 15
# From here on the numbers say something: see Auth.warnings().
MANY_REQUESTS = 50
# What a sign-in is told where it must not learn which of the two it is.
WRONG_OR_NOT_VERIFIED = (
    "wrong email or password, or an email that is not verified yet: open the "
    "link that was mailed to it, or ask for a new one (POST /verify_email)")


def _hash_password(password: str, cost: int = passwords.DEFAULT_COST,
                   peppers: passwords.Peppers = passwords.NO_PEPPER) -> bytes:
    """Return a salted bcrypt hash of the password, as the card asks.

    Up to 72 bytes without NUL it is plain bcrypt and checks with
    bcrypt.checkpw; beyond, see credentials/passwords.py.
    """
    return passwords.hash_password(password, cost, peppers).encode("ascii")


def _generate_uuid() -> str:
    """Return a fresh version-4 UUID of 36 characters."""
    return tokens.mint()


class Auth:
    """User authentication: accounts, sessions and password resets.

    Safe to share between threads. Every verb raises Unavailable when the
    database cannot serve; whatever was returned before is on disk. In
    production signing in, registering, asking for mail and repeating a
    password raise Throttled, before anything is computed, when it is done
    too often.
    """

    def __init__(self, db: Optional[DB] = None,
                 settings: Optional[Settings] = None,
                 now: Callable[[], float] = time.time,
                 mailer: Optional[Mailer] = None,
                 health: Optional[Health] = None,
                 pool: Optional[HashingPool] = None,
                 defers: bool = False) -> None:
        """Work on `db` by `settings`, by default those of the environment.

        `now` tells the time in seconds since 1970 UTC; `mailer` carries the
        mail, by default as MAIL_URL says, or onto the log in development;
        `health` finds out whether all is in order; `pool` hashes, by default
        on every core, and in production by the half of THREADS at most. If
        it `defers`, a thread writes down when sessions were last seen, so
        that no look-up waits for it; for whoever serves, until close().
        """
        self.settings = settings or Settings.from_env()
        self.caller = NOBODY
        self._db = db or DB(self.settings.database_url, self.settings.threads)
        self._now = now
        self._metrics = metrics_for(self.settings)
        self._trail = Trail(self._db, self._metrics)
        self._devices = Devices(self._db)
        self._sightings = Sightings(self._db, defers)
        self._proofs = Proofs(self._db, self.settings, now)
        self._throttle = (Throttle if self.settings.production
                          else NoThrottle)(
                              self._db, self.settings, self._metrics)
        self._outbox = Outbox(
            self._db, self.settings, mailer or mailer_for(self.settings),
            self._throttle, self._proofs.issue, now, self._trail)
        self._health = health or Health(checks_of(self._db, self.settings))
        self._pool = pool or HashingPool(
            count_cores(), self.settings.hashing_places,
            self._metrics.hashes_are)
        self._sessions_counted = Inquiry(
            self._count_sessions, SESSIONS_COUNTED_EVERY)
        self._mails_counted = Inquiry(self._outbox.depth)

    def acting_for(self, caller: Caller) -> Auth:
        """Return this service as one caller sees it.

        Who it is goes into the record of what they do, their sessions and
        the count of their attempts.
        """
        bound = Auth.__new__(type(self))
        bound.__dict__.update(self.__dict__, caller=caller)
        return bound

    @property
    def admin(self) -> Administration:
        """The verbs that act on other people's accounts, for this caller.

        For whoever may run commands on the server's machine, and nobody else:
        they ask for no password.
        """
        return Administration(self._db, self.settings, self._trail,
                              self._outbox, self._throttle, self._now,
                              self.caller)

    # -- Accounts

    def sign_up(self, email: str, password: str) -> None:
        """Open an account, and tell nobody but its owner if there was one.

        Where REVEAL_REGISTERED is off, an address that is taken costs the
        same and gets the same answer, and its owner a mail (ASVS 6.3.8;
        docs/security.md#enumeration). Otherwise like register_user().
        """
        try:
            self.register_user(email, password)
        except EmailTaken:
            if self.settings.reveals_registered:
                raise
            with self._recorded() as record:
                self._outbox.put(ALREADY_REGISTERED, canonical_email(email))
                record(Fact.ACCOUNT_REPEATED)

    def register_user(self, email: str, password: str) -> User:
        """Open an account, mail a link to verify it, and return its user.

        Raises EmailTaken ("User <email> already exists", a ValueError) when
        the address has one already, and InvalidInput, naming the field, for
        a missing or impossible address or password.
        """
        _require(InvalidInput, email=email, password=password)
        self._validate_email(email)
        self._validate_new_password(password, email)
        lanes = self._throttle.network("register", self.caller.network)
        with self._admitted(lanes):
            hashed = self._hash(password, lanes)
        with self._recorded() as record:
            user = self._db.add_user(email, hashed, self._time())
            self._outbox.put(VERIFY, user.email, user.id)
            record(Fact.ACCOUNT_CREATED, user.id)
        return user

    def valid_login(self, email: str, password: str) -> bool:
        """Tell whether the password is the one of that address.

        False in every other case. Costs one hash whether or not the address
        has an account, so that time does not tell (ASVS 6.3.8). Counts and
        records nothing: a sign-in is log_in().
        """
        return self._check(email, password, [])[1]

    def delete_account(self, session_id: str, password: str) -> None:
        """Delete the account of a session with all that hangs off it.

        Raises NotSignedIn, and WrongPassword unless the password is the
        user's. There is no way back.
        """
        user = self._user_of(self.identify(session_id))
        self._check_again(user, password)
        if not self.admin.erase(user, **_as_read(user)):
            raise WrongPassword()  # changed meanwhile

    def export_account(self, session_id: str) -> Dict[str, Any]:
        """Return everything that is stored about the user of a session.

        Times are seconds since 1970 UTC. No digest and no hash is among it.
        Raises NotSignedIn, and Throttled, as it is work and leaves a record.
        """
        current = self.identify(session_id)
        user = self._user_of(current)
        self._throttle.admit(
            [self._throttle.rarely("export", user.id)], self._time())
        account = self._db.find(Account, user_id=user.id)
        stored = {
            "id": user.id, "email": user.email,
            "created_at": account and account.created_at,
            "verified_at": account and account.verified_at,
            "password_changed_at": account and account.password_changed_at,
            "sessions": self._shown_sessions(current),
            "devices": self._shown(Device, Device.user_id == user.id),
            "mails_waiting": self._shown(
                Outgoing, (Outgoing.user_id == user.id)
                | (Outgoing.email == user.email)),
            "links_mailed": self._shown(
                MailToken, MailToken.user_id == user.id),
            "history": self._shown(Entry, Entry.user_id == user.id)}
        self._record(Fact.ACCOUNT_EXPORTED, user.id)
        return stored

    # -- Addresses

    def request_verification(self, email: str) -> None:
        """Mail the link that verifies an address once more, if it needs one.

        Says nothing of whether it does. Raises InvalidInput for what is no
        address.
        """
        self._request_mail(VERIFY, Fact.VERIFY_REQUESTED, email)

    def verify_email(self, token: str) -> str:
        """Take a mailed token as proof of a mailbox; return its address.

        That of a new account is verified, and a change of address happens
        now: mailed tokens to the old one die, and it is told. Raises
        VerificationRefused for a token that is missing, malformed, unknown,
        used, replaced or expired. Of any number of callers with one token,
        one succeeds.
        """
        _require(VerificationRefused, token=token)
        found, user = self._proofs.find(
            token, (VERIFY, CHANGE), VerificationRefused)
        with suppress(EmailTaken), self._recorded() as record:
            self._db.hold(user.id)
            if not self._db.delete(MailToken, digest=found.digest):
                raise VerificationRefused()
            if found.purpose == CHANGE:
                self._move(user, found.email)
                record(Fact.EMAIL_CHANGED, user.id)
            self._prove_mailbox(user.id, found.email)
            record(Fact.EMAIL_VERIFIED, user.id)
            return found.email
        raise VerificationRefused()  # somebody else has the address now

    def change_email(self, session_id: str, password: str,
                     email: str) -> None:
        """Mail a link to a new address, which becomes the user's by it.

        The address of today is told at once, while a reset can still undo
        everything. Raises NotSignedIn, WrongPassword unless the password is
        the user's, InvalidInput for what is no address, and Throttled, as
        each of these mails goes to a stranger. Whether somebody has the new
        address already, only its mailbox learns.
        """
        user = self._user_of(self.identify(session_id))
        self._validate_email(email)
        wanted = canonical_email(email)
        if wanted == user.email:
            raise InvalidInput("email is your address already")
        self._check_again(user, password)
        self._throttle.admit(self._throttle.moves(
            user.id, self.caller.network), self._time())
        with self._recorded() as record:
            # The address as it is: a lock.
            if not self._db.change(User, _as_read(user), email=user.email):
                raise WrongPassword()  # changed meanwhile
            for table in (Outgoing, MailToken):  # the one asked for before
                self._db.delete(table, user_id=user.id, purpose=CHANGE)
            self._outbox.put(CHANGE, wanted, user.id)
            self._outbox.put(CHANGE_REQUESTED, user.email, user.id, wanted)
            record(Fact.EMAIL_REQUESTED, user.id)

    # -- Sessions

    def create_session(self, email: str) -> Optional[str]:
        """Open a session without a password and return its token.

        None for an unknown address or a disabled user. The caller vouches
        for the user; a sign-in is log_in().
        """
        (user, account), token = self._find_user(email), _generate_uuid()
        if user and account.disabled_at is None:
            with self._recorded() as record:
                if self._open_session(token, {"id": user.id}):
                    record(Fact.SESSION_OPENED, user.id, "vouched for")
                    return token
        return None

    def log_in(self, email: str, password: str) -> str:
        """Open a session for whoever knows the password; return its token.

        The token is shown this once: only its digest is kept. Sessions on
        other devices go on. A hash cheaper than today's cost or of an older
        pepper is replaced. Raises BadCredentials, naming a field only if it
        is missing; where addresses have to be verified, for one that is not
        as well, or NotVerified where registering hides nothing anyway.
        """
        _require(BadCredentials, email=email, password=password)
        lanes = self._login_lanes(email)
        with self._admitted(lanes):
            user, right, verified = self._check(email, password, lanes)
        if user is None or not right or not verified:
            self._refuse_login(user, right)
        upgraded = user.hashed_password
        if passwords.needs_rehash(upgraded, self.settings.bcrypt_cost,
                                  self.settings.peppers):
            with suppress(Overloaded):  # then the next sign-in does it
                upgraded = self._hash(password, lanes)
        token = _generate_uuid()
        with self._recorded() as record:
            if self._open_session(token, _as_read(user),
                                  hashed_password=upgraded):
                self._throttle.forgive(lanes)
                self._greet_device(user)
                record(Fact.SESSION_OPENED, user.id)
                return token
        # The stored hash changed since we verified it. A reset that just
        # ended all sessions must not be followed by one of its old password,
        # so start again with what is stored now.
        return self.log_in(email, password)

    def sign_in(self, email: str, password: str, before: str) -> str:
        """Open a session like log_in(), and end the one of before.

        So a browser that signs in again leaves no session behind that nobody
        uses but a thief (ASVS 7.2.4). `before` is what it came with.
        """
        token = self.log_in(email, password)
        with suppress(NotSignedIn):
            self.log_out(before)
        return token

    def get_user_from_session_id(
            self, session_id: Optional[str]) -> Optional[User]:
        """Return the user signed in with this token, or None.

        None as well for a session that was idle or open for too long.
        """
        with suppress(NotSignedIn):
            return self._user_of(self.identify(session_id))
        return None

    def identify(self, session_id: object) -> Visit:
        """Return the session of a token and whose it is; raise NotSignedIn.

        Its end is checked here, at every look-up (docs/security.md#sessions),
        and whatever it is looked up for is a use of it. One statement, and
        nothing is remembered: what ended on one replica has ended on all.
        """
        digest = tokens.presented_digest(session_id)
        visit = self._db.find_visit(digest) if digest else None
        if visit is None:
            raise NotSignedIn()
        now, seen_at = self._time(), self._sightings.last(visit)
        if not is_live(visit, seen_at, now, self.settings.session_idle):
            raise NotSignedIn()
        if now >= seen_at + SEEN_EVERY:
            self._sightings.note(visit.id, now)
        return visit

    def proven_email(self, visit: Visit) -> str:
        """Return the address of a user whose mailbox is theirs, "" otherwise.

        What another app may go by. Without REQUIRE_VERIFIED anybody is signed
        in under any address, and it must not pass for its owner there.
        Development proves nothing, and takes it as it is.
        """
        proven = visit.verified_at is not None or not self.settings.production
        return visit.email if proven else ""

    def log_out(self, session_id: Optional[str]) -> None:
        """End one session; those on other devices go on.

        Raises NotSignedIn unless it was live: of several callers with one
        token, one succeeds.
        """
        current = self.identify(session_id)
        if not self._end_sessions(current.user_id, Session.id == current.id):
            raise NotSignedIn()

    def list_sessions(self, session_id: str) -> List[Dict[str, Any]]:
        """Return the live sessions of the user who asks, the oldest first.

        Each with `id` (the handle to end it by), `opened_at`, `seen_at` and
        `expires_at` in seconds since 1970 UTC, `user_agent`, `network`, and
        `current`, true of the one that asks. Raises NotSignedIn.
        """
        return self._shown_sessions(self.identify(session_id))

    def end_session(self, session_id: str, handle: int) -> None:
        """End a session of the user who asks, by its handle.

        Raises NotSignedIn, and UnknownSession for a handle that is not the
        user's, whoever else's it may be.
        """
        current = self.identify(session_id)
        if not self._end_sessions(current.user_id, Session.id == handle):
            raise UnknownSession()

    def end_other_sessions(self, session_id: str) -> None:
        """End every session of the user but the one that asks.

        Raises NotSignedIn.
        """
        current = self.identify(session_id)
        self._end_sessions(current.user_id, Session.id != current.id)

    def destroy_session(self, user_id: int) -> None:
        """Sign the user out on every device; silent for an unknown id."""
        # True would be user 1; beyond 64 bits there is nobody.
        if type(user_id) is not int or not 0 < user_id < 2 ** 63:
            return
        with self._recorded() as record:
            self._db.change(User, {"id": user_id}, session_id=None)
            if self._db.delete(Session, user_id=user_id):
                record(Fact.SESSION_ENDED, user_id)

    # -- Passwords

    def change_password(self, session_id: str, current_password: str,
                        new_password: str) -> str:
        """Set a new password for the user of a session; return a new token.

        Every session ends, and the one that asks goes on under the token
        that is returned (ASVS 7.2.4, 7.4.3); mailed tokens die too. Raises
        NotSignedIn, WrongPassword unless `current_password` is the user's,
        and InvalidInput for a new one that cannot be. Throttled, as each
        change mails the user.
        """
        current = self.identify(session_id)
        user = self._user_of(current)
        self._validate_new_password(new_password, user.email, "new_password")
        self._check_again(user, current_password, "current_password")
        with self._admitted([self._throttle.rarely("password", user.id)]):
            hashed = self._hash(new_password,
                                [self._throttle.confirm(user.id)])
        token = _generate_uuid()
        with self._recorded() as record:
            if not self._replace_password(user, _as_read(user), hashed):
                raise WrongPassword()  # changed meanwhile
            self._open_session(token, {"id": user.id}, current.user_agent,
                               current.network)
            self._devices.remember(self.caller, user.id, self._time())
            record(Fact.PASSWORD_CHANGED, user.id)
        return token

    def request_reset(self, email: str) -> None:
        """Mail a reset link to an address, if it has an account.

        Says nothing of whether it has: the request is the same, and the
        sender finds out later (docs/security.md#enumeration). Raises
        InvalidInput for what is no address.
        """
        self._request_mail(RESET, Fact.RESET_REQUESTED, email)

    def get_reset_password_token(self, email: str) -> str:
        """Return a token that sets a new password once, before it ends.

        It lives for RESET_TOKEN_LIFE, and each call replaces the one before.
        Raises UnknownEmail, a ValueError, for a disabled user too.
        """
        _require(UnknownEmail, email=email)
        user, _ = self._find_user(email)
        if user is None:
            raise UnknownEmail()
        with self._recorded() as record:
            record(Fact.RESET_REQUESTED, user.id)
            return self._proofs.issue(user, RESET, user.email)

    def update_password(self, reset_token: str, password: str) -> None:
        """Set the password of whoever holds this reset token.

        Raises ValueError for a bad token or password; see reset_password().
        """
        self.reset_password(reset_token, password)

    def reset_password(self, reset_token: str, password: str,
                       email: str = "") -> User:
        """Set a new password with a reset token and return its user.

        Every session of the user ends and nobody is signed in by it. A token
        is refused, and nothing changed, when it is
        1. missing, malformed or unknown;
        2. used, or replaced by a newer one;
        3. older than RESET_TOKEN_LIFE;
        4. somebody else's than `email`, if one is given.
        Raises ResetRefused for these and for a missing password, and
        InvalidInput for an impossible one. Of any number of callers with one
        token, one succeeds.
        """
        _require(ResetRefused, reset_token=reset_token, new_password=password)
        # Before the hash, so that a bad token costs nothing.
        found, user = self._proofs.find(reset_token, (RESET,), ResetRefused)
        if email and canonical_email(email) != user.email:
            raise ResetRefused("reset_token is not for this email")
        self._validate_new_password(password, user.email, "new_password")
        hashed = self._hash(password, [self._throttle.confirm(user.id)])
        with self._recorded() as record:
            if not self._replace_password(
                    user, {"id": user.id, "reset_token": found.digest},
                    hashed):
                raise ResetRefused()
            if self.settings.production:  # elsewhere anybody gets a token
                self._prove_mailbox(user.id, user.email)
            record(Fact.PASSWORD_RESET, user.id)
        return user

    # -- Keeping it running

    def prepare(self) -> None:
        """Make sure that the database is ready before anybody asks.

        A SQLite file is made or upgraded by this. Raises NotMigrated, which
        says what an administrator has to do.
        """
        self._db.prepare()

    def deliver_mail(self) -> int:
        """Send the mails that are due; return how many were dealt with.

        Any number of processes may. What fails is tried again later.
        """
        return self._outbox.deliver()

    def release_mail(self, seconds: float) -> int:
        """Send nothing more, and make what was begun due for others.

        What is on its way has so many seconds to arrive. Returns how many
        mails are due again; this service sends none of them any more.
        """
        return self._outbox.release(seconds)

    def revive_mail(self) -> int:
        """Make the mails that were given up due again; return how many."""
        return self._outbox.revive()

    def sweep(self) -> Dict[str, int]:
        """Delete what is over; return how many rows of each kind that was.

        Nothing depends on it but the size of the database, and nobody waits
        for it: it goes in small steps. Any number of processes may.
        """
        now = self._time()
        return {
            "sessions": self._db.purge(
                Session, (Session.expires_at <= now) | (
                    Session.seen_at <= now - self.settings.session_idle)),
            "mailed links": self._db.purge(
                MailToken, MailToken.expires_at <= now),
            "devices": self._devices.forget_old(now),
            "counts of attempts": self._throttle.forget_old(now),
            "mails given up": self._outbox.forget_old(),
            "facts": self._db.purge(
                Entry, Entry.at <= now - self.settings.audit_life)}

    def warnings(self) -> List[str]:
        """Return what a deployer should look at, each a sentence."""
        late, stuck, given_up = self._outbox.counts()
        found = []
        if stuck:
            found.append("Mails that were tried and not taken: {}. The log "
                         "says why, as mail.delayed.".format(stuck))
        if given_up:
            found.append("Mails that were given up: {}. Mend MAIL_URL, then "
                         "run `flask mail retry`.".format(given_up))
        if late:
            found.append(
                "Mails that are due and nobody sends: {}. `make serve` and "
                "`make run` do, if MAIL_IN_SERVER is 1, and `flask mail send "
                "--watch`.".format(late))
        recent = (Entry.at > self._time() - DAY) & (Entry.network != "")
        seen = self._db.find_all(Entry, recent, limit=MANY_REQUESTS)
        if self.settings.production and not self.settings.trusted_proxies \
                and len(seen) == MANY_REQUESTS and not self._db.find_all(
                    Entry, recent, Entry.network != seen[0].network, limit=1):
            found.append(
                "Everything that is recorded of the last day came from {}: if "
                "a proxy stands in front, set TRUSTED_PROXIES, or all "
                "visitors share one count of attempts.".format(
                    seen[0].network))
        return found

    def check_ready(self) -> None:
        """Raise NotReady, naming what fails, unless requests can be served.

        Known within a second, whatever hangs.
        """
        self._health.demand()

    def measure_request(self, route: str, method: str, status: int,
                        seconds: float) -> None:
        """Note how long an answer took; `route` is as it was declared."""
        self._metrics.answered(route, method, status, seconds)

    def metrics(self) -> Tuple[str, bytes]:
        """Return what was measured: its content type, and the text.

        What the database does not tell within a second is left out.
        """
        gauges: Dict[str, float] = {}
        with suppress(Unavailable):
            (gauges["auth_outbox_mails"],
             gauges["auth_outbox_oldest_seconds"],
             gauges["auth_outbox_given_up"]) = self._mails_counted.answer()
        with suppress(Unavailable):
            gauges["auth_sessions"] = self._sessions_counted.answer()
        return self._metrics.content_type, self._metrics.text(gauges)

    def close(self) -> None:
        """Hash nothing more, and give back the database connections.

        The next verb starts anew.
        """
        self._pool.close()
        self._sightings.finish()
        self._db.close()

    # -- Inside

    def _time(self) -> int:
        """Return the current second."""
        return int(self._now())

    def _recorded(self) -> ContextManager[Record]:
        """Do several things together, and record what they were.

        The block is one transaction, and is given a function that takes a
        fact, a user's id and a detail.
        """
        return self._trail.recorded(self._time(), self.caller)

    def _record(self, fact: Fact, user_id: Optional[int] = None,
                detail: str = "") -> None:
        """Record a fact that changed nothing else.

        Of a user who left meanwhile, say while a password was checked, no row
        is kept.
        """
        with self._recorded() as record:
            user = self._db.find(User, id=user_id or 0)
            record(fact, user and user.id, detail)

    @contextmanager
    def _admitted(self, lanes: Lanes) -> Iterator[None]:
        """Count a try, unless it is sent away before it is hashed.

        Whoever would be is so before anything is written, so that a flood
        costs little; one that has to go while it waits is not held against
        anybody.
        """
        with self._shedding(lanes):
            self._pool.demand_room(*_claim(lanes))
        receipt = self._throttle.admit(lanes, self._time())
        try:
            yield
        except Overloaded:
            self._throttle.take_back(receipt)
            raise

    @contextmanager
    def _shedding(self, lanes: Lanes) -> Iterator[None]:
        """Count who is sent away inside."""
        try:
            yield
        except Overloaded:
            self._metrics.shed(_claim(lanes)[1])
            raise

    def _hash(self, password: str, lanes: Lanes) -> str:
        """Hash as configured, as the text that is stored, in its turn."""
        with self._shedding(lanes):
            return str(self._pool.run(
                lambda: _hash_password(
                    password, self.settings.bcrypt_cost,
                    self.settings.peppers).decode(), *_claim(lanes)))

    def _verify(self, password: str, hashed: str, lanes: Lanes) -> bool:
        """Tell whether a valid password has this stored hash, in its turn."""
        with self._shedding(lanes):
            return bool(self._pool.run(
                lambda: passwords.verify_password(
                    password, hashed, self.settings.bcrypt_cost,
                    self.settings.peppers), *_claim(lanes)))

    def _validate_email(self, email: str) -> None:
        """Raise InvalidInput for what cannot be an address in this mode."""
        validate_email(email)
        if self.settings.production:
            validate_mailable(email)

    def _validate_new_password(self, password: str, email: str,
                               field: str = "password") -> None:
        """Raise InvalidInput unless this may be the user's password.

        In production not if it is easily guessed; leaning on the service's
        name or the user's address counts as such.
        """
        passwords.validate_password(password, field)
        if self.settings.production:
            named = " ".join((canonical_email(email), self.settings.public_url,
                              self.settings.service_name)).lower()
            passwords.refuse_weak(
                password, self.settings.password_min,
                set(re.findall(r"[^\W_]+", named)) - COMMON_LABELS, field)

    def _find_user(self, email: object) -> Tuple[Optional[User], Account]:
        """Return the user of an address and their account, blank for nobody.

        One statement for all that can be an address, and none otherwise.
        """
        with suppress(InvalidInput):
            validate_email(email)
            for found in self._db.find_accounts(
                    User.email == canonical_email(str(email))):
                return found
        return None, Account()

    def _check(self, email: object, password: str,
               lanes: Lanes) -> Tuple[Optional[User], bool, bool]:
        """Return the user of an address, and whether the password is theirs.

        And whether they have proved the address, if they have to. One hash,
        in the line of these lanes, for every password that could be one,
        known address or not. What cannot be a password is refused before
        either is looked at (docs/security.md#timing). No password is that of
        a disabled user, and nothing tells that from a wrong one
        (docs/security.md#disabled).
        """
        if not passwords.is_valid_password(password):
            return None, False, False
        user, account = self._find_user(email)
        hashed = (user.hashed_password if user else
                  passwords.unmatchable_hash(self.settings.bcrypt_cost))
        return (user, self._verify(password, hashed, lanes)
                and account.disabled_at is None,
                account.verified_at is not None
                or not self.settings.demands_verified)

    def _check_again(self, user: User, password: str,
                     field: str = "password") -> None:
        """Make sure that it is the user who asks for something dangerous.

        Verifies the very hash that was read, so that what follows can be
        conditional on it. Raises WrongPassword, naming the field if it is
        missing; whoever holds a stolen session has few guesses.
        """
        _require(WrongPassword, **{field: password})
        lanes = [self._throttle.confirm(user.id)]
        with self._admitted(lanes):
            right = passwords.is_valid_password(password) and self._verify(
                password, user.hashed_password, lanes)
        if not right:
            self._record(Fact.PASSWORD_REFUSED, user.id)
            raise WrongPassword()
        self._throttle.forgive(lanes)

    def _refuse_login(self, user: Optional[User], right: bool) -> NoReturn:
        """Record that a sign-in came to nothing, and raise why.

        Whoever registers an address and signs in with the same password must
        not learn from a special answer that it was new; so one that is not
        verified is told apart only where registering tells it anyway
        (docs/security.md#enumeration). It counts as a failure either way, or
        an account without a mailbox would hash without a limit.
        """
        self._record(Fact.LOGIN_REFUSED, user and user.id,
                     "not verified" if right else "")
        if not self.settings.demands_verified:
            raise BadCredentials()
        if not self.settings.reveals_registered:
            raise BadCredentials(WRONG_OR_NOT_VERIFIED)
        raise NotVerified() if right else BadCredentials()

    def _login_lanes(self, email: object) -> Lanes:
        """Return the lanes in which a sign-in counts.

        A device that its owner has used before has one of its own, so that
        nobody else's guesses shut it out (docs/security.md#throttling). What
        is no address has none, and all of that counts as one.
        """
        address = ""
        with suppress(InvalidInput):
            validate_email(email)
            address = canonical_email(str(email))
        if self._devices.knows(self.caller, address, self._time()):
            return [self._throttle.device(tokens.digest(self.caller.device))]
        return self._throttle.network("login", self.caller.network) + [
            self._throttle.account(address)]

    def _greet_device(self, user: User) -> None:
        """Remember the caller's browser, and mail the user of a new one.

        Not of the very first, which is theirs for all we can know.
        """
        known = self._devices.knows(self.caller, user.email, self._time())
        others = self._devices.remember(self.caller, user.id, self._time())
        if self.settings.new_device_mail and others and not known:
            self._outbox.put(
                NEW_DEVICE, user.email, user.id, "{}, {}".format(
                    self.caller.user_agent[:180] or "unknown browser",
                    self.caller.network or "unknown network"))

    def _request_mail(self, purpose: str, fact: Fact, email: str) -> None:
        """Put a mail that anybody may ask for into the outbox."""
        self._validate_email(email)
        self._throttle.admit(self._throttle.network(
            "mail", self.caller.network), self._time())
        with self._recorded() as record:
            self._outbox.put(purpose, canonical_email(email))
            record(fact)

    def _move(self, user: User, email: str) -> None:
        """Give a user another address; raise EmailTaken if it has a user.

        Tokens that were mailed to the old one die (Keycloak #26815), and what
        was counted of it is counted of nobody any more.
        """
        self._db.update_user(user.id, email=email, reset_token=None)
        self._db.delete(MailToken, user_id=user.id)
        self._throttle.forget(self._lanes_of(user.email))
        self._outbox.put(EMAIL_CHANGED, user.email, user.id, email)

    def _lanes_of(self, email: str) -> Lanes:
        """Return every lane in which an address is counted."""
        return [self._throttle.account(email)] + self._outbox.lanes(email)

    def _prove_mailbox(self, user_id: int, email: str) -> None:
        """Note that the caller reads the mailbox of a user.

        So the address is verified, guesses of strangers count no longer, and
        this browser is the owner's (docs/security.md#mailbox).
        """
        self._db.change(Account, {"user_id": user_id, "verified_at": None},
                        verified_at=self._time())
        self._throttle.forgive([self._throttle.account(email),
                                self._throttle.confirm(user_id)])
        self._devices.remember(self.caller, user_id, self._time())

    def _replace_password(self, user: User, match: Dict[str, Any],
                          hashed: str) -> bool:
        """Set the password hash of the user that matches, and start afresh.

        Every session ends, every mailed token and every known device is
        forgotten, a change of address that is under way is off, and the owner
        gets a mail. The first statement is the condition: of several callers
        with one token or one old hash, one gets True, and for the others
        nothing changes (docs/security.md#races).
        """
        with self._db.transaction():
            won = self._db.change(
                User, match, hashed_password=hashed, reset_token=None,
                session_id=None) == 1
            if won:
                self._db.change(Account, {"user_id": user.id},
                                password_changed_at=self._time())
                for table in (MailToken, Session, Device):
                    self._db.delete(table, user_id=user.id)
                self._db.delete(Outgoing, user_id=user.id, purpose=CHANGE)
                self._outbox.put(PASSWORD_CHANGED, user.email, user.id)
        return won

    def _open_session(self, token: str, match: Dict[str, Any],
                      user_agent: str = "", network: str = "",
                      **values: Any) -> bool:
        """Store a session under a token, and set values of its user.

        False, and nothing done, when no user matches any more: the user is
        gone, or has another password hash than the one that was read.
        """
        now, digest = self._time(), tokens.digest(token)
        with self._db.transaction():
            if not self._db.change(User, match, session_id=digest, **values):
                return False
            self._db.add(Session(
                user_id=match["id"], digest=digest, opened_at=now,
                seen_at=now, expires_at=now + self.settings.session_absolute,
                user_agent=(user_agent or self.caller.user_agent)[:250],
                network=(network or self.caller.network)[:64]))
            self._drop_surplus(match["id"])
        return True

    def _drop_surplus(self, user_id: int) -> None:
        """Delete a user's sessions that are over, and the oldest of too many.

        So a user's rows stay few, whatever their devices forget to end.
        """
        stored = self._db.find_all(Session, user_id=user_id)
        kept = self._live(stored)[-self.settings.sessions_per_user:]
        for each in stored:
            if each not in kept:
                self._db.delete(Session, id=each.id)

    def _end_sessions(self, user_id: int, which: Any) -> int:
        """End those of a user's sessions, and return how many there were.

        `which` is a comparison, so that none is opened between look and end.
        """
        with self._recorded() as record:
            self._db.hold(user_id)
            ended = self._db.delete(Session, which, user_id=user_id)
            left = self._db.find_all(Session, user_id=user_id)
            self._db.change(User, {"id": user_id},
                            session_id=left[-1].digest if left else None)
            if ended:
                record(Fact.SESSION_ENDED, user_id)
        return ended

    def _count_sessions(self) -> int:
        """Return how many sessions of all users are live."""
        return self._db.count(Session, Session.live(
            self._time(), self.settings.session_idle))

    def _live(self, sessions: List[Session]) -> List[Session]:
        """Return those of the sessions that are not over."""
        return [each for each in sessions
                if is_live(each, each.seen_at, self._time(),
                           self.settings.session_idle)]

    def _shown(self, table: Any, which: Any) -> List[Dict[str, Any]]:
        """Return what a user may see of the rows that a comparison picks."""
        return [each.shown() for each in self._db.find_all(table, which)]

    def _shown_sessions(self, current: Visit) -> List[Dict[str, Any]]:
        """Return what the owner of a session may see of all of theirs."""
        self._sightings.finish()
        stored = self._db.find_all(Session, user_id=current.user_id)
        return [dict(each.shown(), current=each.id == current.id)
                for each in self._live(stored)]

    def _user_of(self, visit: Visit) -> User:
        """Return the row of whose session it is; raise NotSignedIn if gone."""
        user = self._db.find(User, id=visit.user_id)
        if user is None:
            raise NotSignedIn()
        return user


def _claim(lanes: Lanes) -> Tuple[Tuple[Tuple[str, str], ...], bool]:
    """Return whose share of the line a try takes, and whether they are known.

    The same parties as the throttle's, so that who is counted apart waits
    apart.
    """
    return (tuple(each.party for each in lanes),
            any(each.known for each in lanes))


def _as_read(user: User) -> Dict[str, Any]:
    """Return what matches this user while address and password are the same.

    What follows a check of the password must not happen under another, nor
    undo a change of address that was confirmed meanwhile.
    """
    return {"id": user.id, "email": user.email,
            "hashed_password": user.hashed_password}


def _require(error: Type[AuthError], **values: object) -> None:
    """Raise `error`, naming them, if any of the values is missing."""
    missing = [name for name, value in values.items()
               if value is None or value == ""]
    if missing:
        raise error("{} {} missing".format(
            " and ".join(missing), "is" if len(missing) == 1 else "are"))

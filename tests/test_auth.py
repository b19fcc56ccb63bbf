#!/usr/bin/env python3
"""The service beyond the card: devices, time, races, and what never leaks."""
from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Tuple

import bcrypt
import pytest

from audit import Caller
from auth import Auth
from credentials import passwords, tokens
from credentials.pool import HashingPool, Party
from db import DB
from errors import (
    AuthError, BadCredentials, EmailTaken, InvalidInput, NotSignedIn,
    ResetRefused, Throttled, Unavailable, UnknownEmail, WrongPassword)
from mail.letters import CHANGE_REQUESTED, PASSWORD_CHANGED
from models import (
    RESET, VERIFY, Account, Attempt, Device, Entry, MailToken, Outgoing,
    Session)
from settings import DAY, HOUR, Settings
from tests.databases import rows, run
from tests.helpers import (
    EMAIL, NO_TOKENS, PASSWORD, STRANGE_TOKEN, STRONG, Clock, Mailbox,
    all_at_once)
from throttle import RARELY, Lane
from user import User

NO_TEXT = [None, "", 7, True, b"x", ["x"], {"a": "x"}]
LONG = "x" * 10000


def brief(value: object) -> str:
    """Name a case after its value, in a few characters."""
    return ascii(value)[:20]


@pytest.fixture
def user(auth: Auth) -> User:
    """Somebody with an account."""
    return auth.register_user(EMAIL, PASSWORD)


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> List[int]:
    """The cost of every bcrypt hash computed from now on."""
    computed: List[int] = []
    checkpw, hashpw = bcrypt.checkpw, bcrypt.hashpw

    def check(password: bytes, hashed: bytes) -> bool:
        """Note one check."""
        computed.append(int(hashed[4:6]))
        return checkpw(password, hashed)

    def make(password: bytes, salt: bytes) -> bytes:
        """Note one new hash."""
        computed.append(int(salt[4:6]))
        return hashpw(password, salt)
    monkeypatch.setattr(bcrypt, "checkpw", check)
    monkeypatch.setattr(bcrypt, "hashpw", make)
    return computed


def facts_of(db: DB, user: User) -> List[Tuple[str, str]]:
    """Return what is recorded of a user: the facts and their details."""
    return [(each.fact, each.detail)
            for each in db.find_all(Entry, user_id=user.id)]


class Untouchable(DB):
    """A store that must not be asked anything."""

    def __init__(self) -> None:
        """Have nothing to ask."""

    def __getattribute__(self, name: str) -> Any:
        """Fail whoever uses it."""
        raise AssertionError("the database was asked: " + name)


@pytest.fixture
def blind(settings: Settings, clock: Clock) -> Auth:
    """A service whose database fails the test when it is asked."""
    return Auth(Untouchable(), settings, clock)


class TestInit:
    """What a service is made of, if nobody says so."""

    def test_store_is_as_the_settings_have_it(
            self, settings: Settings, monkeypatch: pytest.MonkeyPatch
            ) -> None:
        """With a connection for each thread."""
        asked: List[Tuple[str, int]] = []

        def store(url: str, threads: int) -> DB:
            """Note what is asked for, and give it."""
            asked.append((url, threads))
            return DB(url, threads)
        monkeypatch.setattr("auth.DB", store)
        Auth(settings=dataclasses.replace(settings, threads=3))
        assert asked == [(settings.database_url, 3)]


class TestRegisterUser:
    """Opening an account."""

    @pytest.mark.parametrize("email", NO_TEXT + [LONG, "a\0b"], ids=brief)
    def test_impossible_address(self, blind: Auth, email: Any) -> None:
        """Refused, naming the field, before anything is asked."""
        with pytest.raises(InvalidInput, match="email"):
            blind.register_user(email, PASSWORD)

    @pytest.mark.parametrize("password", NO_TEXT + [LONG, "\ud800"],
                             ids=brief)
    def test_impossible_password(self, blind: Auth, password: Any) -> None:
        """Refused, naming the field, before anything is asked."""
        with pytest.raises(InvalidInput, match="password"):
            blind.register_user(EMAIL, password)

    def test_names_every_missing_field(self, auth: Auth) -> None:
        """Once, so that one correction is enough."""
        with pytest.raises(InvalidInput,
                           match="^email and password are missing$"):
            auth.register_user("", "")

    def test_variant_of_a_taken_address(self, auth: Auth, user: User) -> None:
        """Case makes no second account."""
        with pytest.raises(EmailTaken,
                           match="^User BOB@Me.com already exists$"):
            auth.register_user("BOB@Me.com", "other")

    def test_taken_keeps_the_owners_password(
            self, auth: Auth, user: User) -> None:
        """A second registration changes nothing."""
        with pytest.raises(EmailTaken):
            auth.register_user(EMAIL, "squatter")
        assert auth.valid_login(EMAIL, PASSWORD)

    def test_hashes_outside_the_transaction(
            self, auth: Auth, hashes: List[int], db: DB,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """Another writer gets its turn while a password is hashed."""
        hashpw = bcrypt.hashpw

        def hash_while_another_writes(password: bytes, salt: bytes) -> bytes:
            """Write from another thread, which waits for no transaction."""
            all_at_once([lambda: db.add_user("eve@me.com", "x")])
            return hashpw(password, salt)
        monkeypatch.setattr(bcrypt, "hashpw", hash_while_another_writes)
        assert auth.register_user(EMAIL, PASSWORD).id == 2


class TestValidLogin:
    """Right or wrong, in the same time."""

    @pytest.mark.parametrize("email", NO_TEXT + [LONG, "a\0b", "\ud800"],
                             ids=brief)
    def test_impossible_address(self, blind: Auth, email: Any) -> None:
        """False, and no query was made of it."""
        assert blind.valid_login(email, PASSWORD) is False

    @pytest.mark.parametrize("password", NO_TEXT + [LONG, "\ud800"],
                             ids=brief)
    def test_impossible_password(
            self, blind: Auth, hashes: List[int], password: Any) -> None:
        """False at once, whoever the address belongs to."""
        assert blind.valid_login(EMAIL, password) is False
        assert hashes == []

    @pytest.mark.parametrize("stored", [
        "", "x", "$2b$04$short", "$2b$31$" + "." * 53,
        "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA"])
    def test_damaged_hash_is_a_wrong_password(
            self, auth: Auth, user: User, db: DB, stored: str) -> None:
        """Not an error."""
        db.update_user(user.id, hashed_password=stored)
        assert auth.valid_login(EMAIL, PASSWORD) is False

    @pytest.mark.parametrize("email, password, stored", [
        (EMAIL, PASSWORD, None), (EMAIL, "wrong", None),
        ("eve@me.com", PASSWORD, None), ("", PASSWORD, None),
        (EMAIL, PASSWORD, "damaged"), (EMAIL, "x" * 100, None),
        (EMAIL, "p\0w", None), ("eve@me.com", "x" * 100, None)])
    def test_exactly_one_hash(self, auth: Auth, user: User, db: DB,
                              hashes: List[int], email: str, password: str,
                              stored: Any) -> None:
        """Known, unknown, wrong and damaged take the same time."""
        if stored:
            db.update_user(user.id, hashed_password=stored)
        auth.valid_login(email, password)
        assert hashes == [4]

    def test_any_spelling_of_the_address(
            self, auth: Auth, user: User) -> None:
        """Signing in is not a spelling test."""
        assert auth.valid_login("BOB@Me.COM", PASSWORD)


class TestLogIn:
    """Opening a session with a password."""

    def test_opens_a_session(self, auth: Auth, user: User) -> None:
        """For the user whose password it is."""
        found = auth.get_user_from_session_id(auth.log_in(EMAIL, PASSWORD))
        assert found is not None and found.id == user.id

    @pytest.mark.parametrize("email, password", [
        (EMAIL, "wrong"), ("eve@me.com", PASSWORD)])
    def test_wrong_or_unknown_look_alike(
            self, auth: Auth, user: User, email: str, password: str) -> None:
        """One sentence for both."""
        with pytest.raises(BadCredentials, match="^wrong email or password$"):
            auth.log_in(email, password)

    def test_names_what_is_missing(self, auth: Auth) -> None:
        """Still as a refused sign-in."""
        with pytest.raises(BadCredentials, match="^password is missing$"):
            auth.log_in(EMAIL, "")
        with pytest.raises(BadCredentials, match="^email is missing$"):
            auth.log_in("", PASSWORD)

    def test_several_devices_at_once(self, auth: Auth, user: User) -> None:
        """Signing in here signs nobody out there."""
        phone, laptop = (auth.log_in(EMAIL, PASSWORD) for _ in range(2))
        assert phone != laptop
        assert auth.get_user_from_session_id(phone)
        assert auth.get_user_from_session_id(laptop)

    def test_stores_digests_only(
            self, auth: Auth, user: User, db: DB) -> None:
        """In the session and in the card's column, the same one."""
        token = auth.log_in(EMAIL, PASSWORD)
        digest = tokens.digest(token)
        assert db.find(Session, digest=digest) is not None
        assert db.find_user_by(id=user.id).session_id == digest
        assert db.find(Session, digest=token) is None

    def test_a_stored_digest_signs_nobody_in(
            self, auth: Auth, user: User, db: DB) -> None:
        """A copy of the database is no key."""
        auth.log_in(EMAIL, PASSWORD)
        stored = db.find_user_by(id=user.id).session_id
        assert auth.get_user_from_session_id(stored) is None

    def test_notes_the_device(self, auth: Auth, user: User, db: DB,
                              clock: Clock) -> None:
        """Cut to what its columns hold."""
        browser = auth.acting_for(Caller("1" * 70, "A" * 300))
        token = browser.log_in(EMAIL, PASSWORD)
        session = db.find(Session, digest=tokens.digest(token))
        assert session is not None
        assert session.user_agent == "A" * 250
        assert session.network == "1" * 64
        assert session.opened_at == session.seen_at == int(clock())

    def test_upgrades_a_cheap_hash(self, auth: Auth, user: User, db: DB,
                                   settings: Settings, clock: Clock) -> None:
        """Raising the cost reaches everybody who signs in."""
        dearer = Auth(db, dataclasses.replace(settings, bcrypt_cost=5), clock)
        assert dearer.log_in(EMAIL, PASSWORD)
        assert db.find_user_by(id=user.id).hashed_password.startswith("$2b$05")
        assert auth.valid_login(EMAIL, PASSWORD)

    def test_costs_one_hash(
            self, auth: Auth, user: User, hashes: List[int]) -> None:
        """As a refused one does."""
        auth.log_in(EMAIL, PASSWORD)
        assert hashes == [4]

    def test_leaves_other_hashes_alone(
            self, auth: Auth, user: User, db: DB) -> None:
        """One of today's cost is not computed again."""
        auth.log_in(EMAIL, PASSWORD)
        assert db.find_user_by(id=user.id).hashed_password \
            == user.hashed_password

    def test_racing_upgrades_all_succeed(
            self, auth: Auth, user: User, db: DB, settings: Settings,
            clock: Clock) -> None:
        """Two devices signing in after a change of cost both get in."""
        dearer = Auth(db, dataclasses.replace(settings, bcrypt_cost=5), clock)
        opened = all_at_once([lambda: dearer.log_in(EMAIL, PASSWORD)] * 8)
        assert len(set(opened)) == 8
        assert all(auth.get_user_from_session_id(token) for token in opened)

    def test_password_reset_while_it_is_checked(
            self, auth: Auth, user: User,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """A session of the old password must not outlive the reset."""
        verify = passwords.verify_password
        reset_token = auth.get_reset_password_token(EMAIL)

        def verify_then_reset(password: str, *how: Any) -> bool:
            """Let a reset happen between the check and the session."""
            right = verify(password, *how)
            monkeypatch.setattr(passwords, "verify_password", verify)
            auth.update_password(reset_token, "new")
            return right
        monkeypatch.setattr(passwords, "verify_password", verify_then_reset)
        with pytest.raises(BadCredentials):
            auth.log_in(EMAIL, PASSWORD)


class TestCreateSession:
    """Opening a session on the caller's word."""

    def test_leaves_a_fact(
            self, auth: Auth, user: User, db: DB) -> None:
        """Whoever vouched for it; and nothing of somebody unknown."""
        auth.create_session(EMAIL)
        auth.create_session("eve@me.com")
        assert facts_of(db, user)[1:] == [("session.opened", "vouched for")]
        assert len(db.find_all(Entry)) == 2

    @pytest.mark.parametrize("email", NO_TEXT + [LONG], ids=brief)
    def test_impossible_address(self, blind: Auth, email: Any) -> None:
        """None, and no query was made of it."""
        assert blind.create_session(email) is None

    def test_of_a_user_who_just_went(
            self, auth: Auth, user: User, db: DB,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """Deleted between being found and being signed in."""
        monkeypatch.setattr(db, "find_user_by", lambda **_: user)
        db.delete(User, id=user.id)
        assert auth.create_session(EMAIL) is None


class TestGetUserFromSessionId:
    """Who is asking."""

    @pytest.mark.parametrize("token", NO_TOKENS, ids=brief)
    def test_no_token_is_nobody(self, blind: Auth, token: Any) -> None:
        """And never becomes a query."""
        assert blind.get_user_from_session_id(token) is None

    def test_strange_token_is_nobody(self, auth: Auth, user: User) -> None:
        """Also while somebody has no session at all."""
        assert auth.get_user_from_session_id(STRANGE_TOKEN) is None

    @pytest.mark.parametrize("seconds, live", [
        (7 * DAY - 1, True), (7 * DAY, False), (-HOUR, True),
        (10 * 365 * DAY, False)])
    def test_idle_end(self, auth: Auth, user: User, clock: Clock,
                      seconds: int, live: bool) -> None:
        """Seven days after it was last seen, to the second."""
        token = auth.create_session(EMAIL)
        clock.advance(seconds)
        assert bool(auth.get_user_from_session_id(token)) is live

    def test_absolute_end(self, auth: Auth, user: User,
                          clock: Clock) -> None:
        """Thirty days after it was opened, however busy."""
        token = auth.create_session(EMAIL)
        for _ in range(29):
            clock.advance(DAY)
            assert auth.get_user_from_session_id(token)
        clock.advance(DAY - 1)
        assert auth.get_user_from_session_id(token)
        clock.advance(1)
        assert auth.get_user_from_session_id(token) is None

    @pytest.mark.parametrize("verb", [
        "list_sessions", "export_account", "end_other_sessions"])
    def test_whatever_it_is_looked_up_for_is_a_use(
            self, auth: Auth, user: User, clock: Clock, verb: str) -> None:
        """Or a device that only lists its sessions would be idle."""
        token = auth.create_session(EMAIL) or ""
        for _ in range(2):
            clock.advance(4 * DAY)
            getattr(auth, verb)(token)
        assert auth.get_user_from_session_id(token)

    def test_an_ended_session_stays_ended(
            self, auth: Auth, user: User, clock: Clock) -> None:
        """Asking does not revive it."""
        token = auth.create_session(EMAIL)
        clock.advance(7 * DAY)
        for _ in range(2):
            assert auth.get_user_from_session_id(token) is None

    @pytest.mark.parametrize("seconds, noted", [(59, 0), (60, 60)])
    def test_last_seen_is_noted_once_a_minute(
            self, auth: Auth, user: User, db: DB, clock: Clock,
            seconds: int, noted: int) -> None:
        """Reading is not writing."""
        opened, token = int(clock()), auth.create_session(EMAIL) or ""
        clock.advance(seconds)
        auth.get_user_from_session_id(token)
        session = db.find(Session, digest=tokens.digest(token))
        assert session is not None and session.seen_at == opened + noted

    def test_a_busy_database_turns_no_reader_away(
            self, auth: Auth, user: User, db: DB, clock: Clock,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """Noting the time can wait for the next request."""
        def busy(*_: Any, **__: Any) -> int:
            """Fail as a locked database does."""
            raise Unavailable()
        token = auth.create_session(EMAIL)
        clock.advance(60)
        monkeypatch.setattr(db, "change", busy)
        assert auth.get_user_from_session_id(token)


class TestLogOut:
    """Ending one session."""

    def test_ends_this_one_only(self, auth: Auth, user: User) -> None:
        """Other devices go on."""
        phone, laptop = (auth.log_in(EMAIL, PASSWORD) for _ in range(2))
        auth.log_out(phone)
        assert auth.get_user_from_session_id(phone) is None
        assert auth.get_user_from_session_id(laptop)

    def test_users_names_the_newest_that_is_left(
            self, auth: Auth, user: User, db: DB) -> None:
        """And nothing once signed out everywhere."""
        first, second, third = (auth.log_in(EMAIL, PASSWORD)
                                for _ in range(3))
        for ended, left in ((second, third), (third, first), (first, None)):
            auth.log_out(ended)
            assert db.find_user_by(id=user.id).session_id \
                == (left and tokens.digest(left))

    def test_users_names_no_session_of_somebody_else(
            self, auth: Auth, user: User, db: DB) -> None:
        """However new it is."""
        first, last = (auth.log_in(EMAIL, PASSWORD) for _ in range(2))
        auth.register_user("eve@me.com", PASSWORD)
        auth.log_in("eve@me.com", PASSWORD)
        auth.log_out(last)
        assert db.find_user_by(id=user.id).session_id == tokens.digest(first)

    @pytest.mark.parametrize("token", [STRANGE_TOKEN, *NO_TOKENS],
                             ids=brief)
    def test_nobody(self, auth: Auth, user: User, token: Any) -> None:
        """Whoever is not signed in cannot sign out."""
        with pytest.raises(NotSignedIn):
            auth.log_out(token)

    def test_twice(self, auth: Auth, user: User) -> None:
        """The second time there is nobody."""
        token = auth.log_in(EMAIL, PASSWORD)
        auth.log_out(token)
        with pytest.raises(NotSignedIn):
            auth.log_out(token)

    def test_after_its_end(
            self, auth: Auth, user: User, clock: Clock) -> None:
        """An expired session is none."""
        token = auth.log_in(EMAIL, PASSWORD)
        clock.advance(7 * DAY)
        with pytest.raises(NotSignedIn):
            auth.log_out(token)

    def test_many_at_once(self, auth: Auth, user: User) -> None:
        """One of them ends it."""
        token = auth.log_in(EMAIL, PASSWORD)

        def ends() -> bool:
            """Tell whether this caller ended it."""
            try:
                auth.log_out(token)
                return True
            except NotSignedIn:
                return False
        assert sum(all_at_once([ends] * 8)) == 1


class TestSessionsPerUser:
    """How many sessions a user may have at once."""

    @pytest.fixture
    def few(self, auth: Auth, db: DB, settings: Settings,
            clock: Clock) -> Auth:
        """The service, with at most three sessions a user."""
        return Auth(db, dataclasses.replace(settings, sessions_per_user=3),
                    clock)

    def test_one_more_ends_the_oldest(self, few: Auth, user: User) -> None:
        """Of this user only."""
        few.register_user("eve@me.com", PASSWORD)
        hers = few.log_in("eve@me.com", PASSWORD)
        opened = [few.log_in(EMAIL, PASSWORD) for _ in range(5)]
        live = [bool(few.get_user_from_session_id(each)) for each in opened]
        assert live == [False, False, True, True, True]
        assert few.get_user_from_session_id(hers)

    def test_those_that_are_over_make_room(
            self, few: Auth, user: User, clock: Clock) -> None:
        """A live one is not ended in place of a dead one."""
        first = few.log_in(EMAIL, PASSWORD)
        few.log_in(EMAIL, PASSWORD)
        few.log_in(EMAIL, PASSWORD)
        clock.advance(6 * DAY)
        assert few.get_user_from_session_id(first)
        clock.advance(2 * DAY)
        few.log_in(EMAIL, PASSWORD)
        assert few.get_user_from_session_id(first)

    def test_rows_stay_few(
            self, few: Auth, user: User, db: DB, clock: Clock) -> None:
        """Whatever devices forget to end."""
        for _ in range(20):
            few.create_session(EMAIL)
            clock.advance(3 * DAY)
        assert len(db.find_all(Session, user_id=user.id)) <= 3

    def test_many_at_once(self, few: Auth, user: User, db: DB) -> None:
        """The limit holds however they fall."""
        all_at_once([lambda: few.log_in(EMAIL, PASSWORD)] * 12)
        assert len(db.find_all(Session, user_id=user.id)) == 3


class TestEndOtherSessions:
    """Ending all sessions but one."""

    def test_users_names_the_one_that_is_left(
            self, auth: Auth, user: User, db: DB) -> None:
        """Though it is not the newest."""
        first, _, _ = (auth.log_in(EMAIL, PASSWORD) for _ in range(3))
        auth.end_other_sessions(first)
        assert db.find_user_by(id=user.id).session_id == tokens.digest(first)


class TestDestroySession:
    """Ending every session of a user."""

    def test_on_every_device(self, auth: Auth, user: User, db: DB) -> None:
        """And the card's column is empty."""
        opened = [auth.log_in(EMAIL, PASSWORD) for _ in range(3)]
        auth.destroy_session(user.id)
        assert not any(map(auth.get_user_from_session_id, opened))
        assert db.find_user_by(id=user.id).session_id is None

    def test_of_the_last_of_many_users(
            self, auth: Auth, settings: Settings) -> None:
        """However many there are."""
        run(settings.database_url, "INSERT INTO users (id, email, "
            "hashed_password) VALUES ({}, '{}', '')".format(10 ** 9, EMAIL))
        token = auth.create_session(EMAIL)
        assert auth.get_user_from_session_id(token)
        auth.destroy_session(10 ** 9)
        assert auth.get_user_from_session_id(token) is None

    def test_of_that_user_only(self, auth: Auth, user: User) -> None:
        """Others go on."""
        auth.register_user("eve@me.com", PASSWORD)
        token = auth.log_in("eve@me.com", PASSWORD)
        auth.destroy_session(user.id)
        assert auth.get_user_from_session_id(token)

    @pytest.mark.parametrize("user_id", [None, "", "1", [], True, 10 ** 9, -1,
                                         0, 2 ** 63, 2 ** 70])
    def test_unknown_is_silent(self, auth: Auth, user: User,
                               user_id: Any) -> None:
        """Nobody is signed out by it."""
        token = auth.log_in(EMAIL, PASSWORD)
        auth.destroy_session(user_id)
        assert auth.get_user_from_session_id(token)


class TestGetResetPasswordToken:
    """Asking for a reset."""

    def test_stores_digests_only(
            self, auth: Auth, user: User, db: DB, clock: Clock) -> None:
        """In the token's row and in the card's column, the same one."""
        digest = tokens.digest(auth.get_reset_password_token(EMAIL))
        row = db.find(MailToken, digest=digest)
        assert row is not None and row.purpose == RESET
        assert (row.user_id, row.email) == (user.id, EMAIL)
        assert row.expires_at == int(clock()) + HOUR
        assert db.find_user_by(id=user.id).reset_token == digest

    def test_leaves_a_fact(self, auth: Auth, user: User, db: DB) -> None:
        """Whoever vouches for it; somebody has to see it afterwards."""
        auth.get_reset_password_token(EMAIL)
        assert facts_of(db, user)[-1:] == [("reset.requested", "")]

    def test_leaves_one_row_a_user(
            self, auth: Auth, user: User, db: DB) -> None:
        """However often it is asked."""
        first = auth.get_reset_password_token(EMAIL)
        auth.get_reset_password_token(EMAIL)
        assert db.find(MailToken, digest=tokens.digest(first)) is None

    def test_changes_no_password_and_ends_no_session(
            self, auth: Auth, user: User) -> None:
        """Asking is free to anybody, so it must hurt nobody."""
        token = auth.log_in(EMAIL, PASSWORD)
        auth.get_reset_password_token(EMAIL)
        assert auth.get_user_from_session_id(token)
        assert auth.valid_login(EMAIL, PASSWORD)

    @pytest.mark.parametrize("email", NO_TEXT + [LONG], ids=brief)
    def test_impossible_address(self, blind: Auth, email: Any) -> None:
        """Refused, and no query was made of it."""
        with pytest.raises(UnknownEmail):
            blind.get_reset_password_token(email)

    def test_names_what_is_missing(self, auth: Auth) -> None:
        """Rather than say that nothing is registered."""
        with pytest.raises(UnknownEmail, match="^email is missing$"):
            auth.get_reset_password_token("")

    def test_of_a_user_who_just_went(
            self, auth: Auth, user: User, db: DB,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """Deleted between being found and being given a token."""
        monkeypatch.setattr(db, "find_user_by", lambda **_: user)
        db.delete(User, id=user.id)
        with pytest.raises(UnknownEmail):
            auth.get_reset_password_token(EMAIL)
        assert facts_of(db, user) == [("account.created", "")]


class TestResetPassword:
    """Setting a password with a token."""

    @pytest.fixture
    def token(self, auth: Auth, user: User) -> str:
        """The user's live reset token."""
        return auth.get_reset_password_token(EMAIL)

    @pytest.mark.parametrize("bad", [STRANGE_TOKEN, *NO_TOKENS],
                             ids=brief)
    def test_bad_token_changes_nothing(
            self, auth: Auth, user: User, hashes: List[int],
            bad: Any) -> None:
        """And costs no hash, so it is no way to keep us busy."""
        with pytest.raises(ResetRefused):
            auth.update_password(bad, "new")
        assert hashes == []
        assert auth.valid_login(EMAIL, PASSWORD)

    @pytest.mark.parametrize("bad", NO_TOKENS, ids=brief)
    def test_no_token_is_never_looked_up(self, blind: Auth, bad: Any) -> None:
        """`reset_token IS NULL` matches whoever asked for nothing."""
        with pytest.raises(ResetRefused):
            blind.update_password(bad, "new")

    @pytest.mark.parametrize("password, error", [
        ("", ResetRefused), (None, ResetRefused), (LONG, InvalidInput),
        (["x"], InvalidInput), ("\ud800", InvalidInput)], ids=brief)
    def test_impossible_password_keeps_the_token(
            self, auth: Auth, token: str, password: Any, error: Any) -> None:
        """A typing mistake costs no second mail."""
        with pytest.raises(error, match="new_password"):
            auth.update_password(token, password)
        auth.update_password(token, "new")

    def test_kills_every_mailed_token(
            self, auth: Auth, token: str, user: User, db: DB) -> None:
        """Whoever read the mailbox before has nothing left to present."""
        mailed = [tokens.digest(token), "of another purpose"]
        db.add(MailToken(digest=mailed[1], user_id=user.id, purpose="verify",
                         email=EMAIL, expires_at=10 ** 10))
        auth.update_password(token, "new")
        assert [db.find(MailToken, digest=each) for each in mailed] \
            == [None, None]

    def test_a_token_of_another_purpose_costs_no_hash(
            self, auth: Auth, user: User, db: DB, hashes: List[int]) -> None:
        """What proves an address does not set a password."""
        db.add(MailToken(
            digest=tokens.digest(STRANGE_TOKEN), user_id=user.id,
            purpose="verify", email=EMAIL, expires_at=10 ** 10))
        with pytest.raises(ResetRefused):
            auth.update_password(STRANGE_TOKEN, "new")
        assert hashes == []

    def test_ends_every_session(
            self, auth: Auth, token: str, user: User, db: DB) -> None:
        """Whoever knew the old password is out (Keycloak #20957)."""
        opened = [auth.log_in(EMAIL, PASSWORD) for _ in range(3)]
        auth.update_password(token, "new")
        assert not any(map(auth.get_user_from_session_id, opened))
        left = db.find_user_by(id=user.id)
        assert (left.session_id, left.reset_token) == (None, None)

    def test_notes_when_the_password_changed(
            self, auth: Auth, token: str, user: User, db: DB,
            clock: Clock) -> None:
        """In the account."""
        clock.advance(5)
        auth.update_password(token, "new")
        account = db.find(Account, user_id=user.id)
        assert account is not None
        assert account.password_changed_at == int(clock())
        assert account.created_at == int(clock()) - 5

    @pytest.mark.parametrize("seconds, works", [
        (HOUR - 1, True), (HOUR, False), (10 * 365 * DAY, False)])
    def test_token_ends(self, auth: Auth, token: str, clock: Clock,
                        seconds: int, works: bool) -> None:
        """An hour after it was asked for, to the second."""
        clock.advance(seconds)
        if not works:
            with pytest.raises(ResetRefused):
                auth.update_password(token, "new")
        else:
            auth.update_password(token, "new")
        assert auth.valid_login(EMAIL, "new") is works

    def test_returns_the_user(
            self, auth: Auth, token: str, user: User) -> None:
        """Whom the token belongs to."""
        assert auth.reset_password(token, "new").id == user.id

    def test_with_another_spelling_of_the_address(
            self, auth: Auth, token: str) -> None:
        """The owner may type it as they like."""
        auth.reset_password(token, "new", "BOB@Me.com")
        assert auth.valid_login(EMAIL, "new")

    def test_with_somebody_elses_address(
            self, auth: Auth, token: str) -> None:
        """Refused, and the token is still good for its owner."""
        auth.register_user("eve@me.com", "hers")
        with pytest.raises(ResetRefused, match="^reset_token is not for this "
                                               "email$"):
            auth.reset_password(token, "new", "eve@me.com")
        assert auth.valid_login("eve@me.com", "hers")
        auth.reset_password(token, "new", EMAIL)

    def test_of_a_user_who_is_gone(
            self, auth: Auth, token: str, user: User, db: DB) -> None:
        """A deleted account cannot be reset."""
        db.delete(User, id=user.id)
        with pytest.raises(ResetRefused):
            auth.update_password(token, "new")

    def test_many_at_once(self, auth: Auth, token: str) -> None:
        """One of them sets its password."""
        def sets(password: str) -> str:
            """Return the password if it was set."""
            try:
                auth.update_password(token, password)
                return password
            except ResetRefused:
                return ""
        results = all_at_once([
            partial(sets, "new{}".format(number)) for number in range(8)])
        winner, = filter(None, results)
        assert auth.valid_login(EMAIL, winner)

    def test_token_replaced_while_the_password_is_hashed(
            self, auth: Auth, token: str,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """The late one changes nothing: no session ends, the newer is good."""
        make, newer = passwords.hash_password, []

        def make_and_replace(password: str, *how: Any) -> str:
            """Let the user ask again in the meantime."""
            newer.append(auth.get_reset_password_token(EMAIL))
            return make(password, *how)
        session = auth.create_session(EMAIL)
        with monkeypatch.context() as patched:
            patched.setattr(passwords, "hash_password", make_and_replace)
            with pytest.raises(ResetRefused):
                auth.update_password(token, "new")
        assert auth.get_user_from_session_id(session)
        auth.update_password(newer[0], "newer")

    def test_half_a_reset_is_none(
            self, auth: Auth, token: str, db: DB,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """A fault between its statements leaves the old state whole."""
        def fail(*_: Any, **__: Any) -> int:
            """Fail as a database that went away."""
            raise Unavailable()
        session = auth.log_in(EMAIL, PASSWORD)
        with monkeypatch.context() as patched:
            patched.setattr(db, "delete", fail)
            with pytest.raises(Unavailable):
                auth.update_password(token, "new")
        assert auth.get_user_from_session_id(session)
        assert auth.valid_login(EMAIL, PASSWORD)
        auth.update_password(token, "new")


class TestChangePassword:
    """Setting a password with the old one."""

    def test_keeps_one_session_under_a_new_token(
            self, auth: Auth, user: User, db: DB) -> None:
        """On the same device, and users names it."""
        phone = auth.acting_for(Caller("127.0.0.1", "Lynx")).log_in(
            EMAIL, PASSWORD)
        laptop = auth.log_in(EMAIL, PASSWORD)
        token = auth.change_password(phone, PASSWORD, "new")
        assert not any(map(auth.get_user_from_session_id, [phone, laptop]))
        session, = db.find_all(Session, user_id=user.id)
        assert session.digest == tokens.digest(token)
        assert (session.user_agent, session.network) == ("Lynx", "127.0.0.1")
        assert db.find_user_by(id=user.id).session_id == session.digest

    def test_stops_the_mail_of_a_change_and_no_other(
            self, auth: Auth, user: User, db: DB) -> None:
        """And the owner gets one more."""
        token = auth.log_in(EMAIL, PASSWORD)
        auth.change_email(token, PASSWORD, "new@me.com")
        auth.change_password(token, PASSWORD, "new")
        assert [(each.purpose, each.email, each.user_id)
                for each in db.find_all(Outgoing)] == [
            (purpose, EMAIL, user.id)
            for purpose in (VERIFY, CHANGE_REQUESTED, PASSWORD_CHANGED)]

    def test_kills_a_pending_reset(self, auth: Auth, user: User) -> None:
        """Who asked for one before must ask again (Contao #7510)."""
        mailed = auth.get_reset_password_token(EMAIL)
        auth.change_password(auth.log_in(EMAIL, PASSWORD), PASSWORD, "new")
        with pytest.raises(ResetRefused):
            auth.update_password(mailed, "newer")

    def test_impossible_new_password_costs_no_hash(
            self, auth: Auth, user: User, hashes: List[int]) -> None:
        """It is refused before the old one is checked."""
        token = auth.create_session(EMAIL) or ""
        with pytest.raises(InvalidInput, match="new_password"):
            auth.change_password(token, PASSWORD, LONG)
        assert hashes == []

    def test_many_at_once(self, auth: Auth, user: User) -> None:
        """One of them sets its password, and its session is the only one."""
        token = auth.log_in(EMAIL, PASSWORD)

        def changes(password: str) -> str:
            """Return the new token if the password was set."""
            try:
                return auth.change_password(token, PASSWORD, password)
            except (WrongPassword, NotSignedIn):
                return ""
        results = all_at_once([
            partial(changes, "new{}".format(number)) for number in range(8)])
        winner, = filter(None, results)
        assert auth.valid_login(EMAIL, "new{}".format(results.index(winner)))
        assert auth.get_user_from_session_id(winner)


class TestDeleteAccount:
    """The way out."""

    def test_nothing_is_left(self, auth: Auth, user: User, db: DB) -> None:
        """Neither the user nor what hangs off it."""
        token = auth.log_in(EMAIL, PASSWORD)
        auth.get_reset_password_token(EMAIL)
        auth.delete_account(token, PASSWORD)
        for table, match in ((User, "id"), (Account, "user_id"),
                             (Session, "user_id"), (MailToken, "user_id")):
            assert db.find(table, **{match: user.id}) is None
        assert auth.get_user_from_session_id(token) is None

    @pytest.mark.parametrize("password", ["wrong", *NO_TEXT], ids=brief)
    def test_needs_the_password(
            self, auth: Auth, user: User, password: Any) -> None:
        """An unlocked screen is not enough."""
        token = auth.log_in(EMAIL, PASSWORD)
        with pytest.raises(WrongPassword):
            auth.delete_account(token, password)
        assert auth.get_user_from_session_id(token)

    def test_needs_a_session(self, auth: Auth, user: User) -> None:
        """Knowing the password is not enough either."""
        with pytest.raises(NotSignedIn):
            auth.delete_account(STRANGE_TOKEN, PASSWORD)

    def test_password_reset_while_it_is_checked(
            self, auth: Auth, user: User,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """The old password must not delete what the owner took back."""
        verify, token = passwords.verify_password, auth.log_in(EMAIL, PASSWORD)
        reset_token = auth.get_reset_password_token(EMAIL)

        def verify_then_reset(password: str, *how: Any) -> bool:
            """Let a reset happen between the check and the deletion."""
            right = verify(password, *how)
            auth.update_password(reset_token, "new")
            return right
        with monkeypatch.context() as patched:
            patched.setattr(passwords, "verify_password", verify_then_reset)
            with pytest.raises(WrongPassword):
                auth.delete_account(token, PASSWORD)
        assert auth.valid_login(EMAIL, "new")

    def test_the_address_is_free_again(self, auth: Auth, user: User) -> None:
        """For a new account, with nothing of the old."""
        auth.delete_account(auth.log_in(EMAIL, PASSWORD), PASSWORD)
        assert auth.register_user(EMAIL, "new").id > user.id


class TestExportAccount:
    """What is stored about somebody, for them."""

    def test_holds_nothing_of_others(
            self, auth: Auth, user: User, db: DB, clock: Clock) -> None:
        """Who are as busy at the same time."""
        clock.advance(7)
        for each in (user, auth.register_user("eve@me.com", PASSWORD)):
            db.add(Device(digest=each.email, user_id=each.id, seen_at=each.id))
            auth.get_reset_password_token(each.email)
            session_id = auth.log_in(each.email, PASSWORD)
        stored = auth.export_account(session_id)
        assert [(each["email"]) for each in stored["mails_waiting"]
                + stored["links_mailed"]] == ["eve@me.com"] * 2
        assert stored["devices"] == [{"seen_at": 2}]
        assert stored["created_at"] == int(clock())
        assert [each["fact"] for each in stored["history"]] == [
            "account.created", "reset.requested", "session.opened"]
        assert [each["current"] for each in stored["sessions"]] == [True]


class Person(NamedTuple):
    """Somebody who is signed in and about to change their address."""

    email: str
    session_id: str
    token: str


class TestBystander:
    """Somebody else, whose rows nothing that a user does may touch."""

    @pytest.fixture
    def service(self, db: DB, settings: Settings, clock: Clock,
                mailbox: Mailbox) -> Auth:
        """The service, with a mailbox."""
        return Auth(db, settings, clock, mailbox)

    @pytest.fixture
    def bob(self, service: Auth, mailbox: Mailbox) -> Person:
        """The first user, and after him Eve, who has something of all."""
        people = []
        for email in (EMAIL, "eve@me.com"):
            service.register_user(email, PASSWORD)
            session_id = service.log_in(email, PASSWORD)
            service.change_email(session_id, PASSWORD, "new-" + email)
            service.deliver_mail()
            people.append(Person(email, session_id,
                                 mailbox.token("new-" + email)))
            service.get_reset_password_token(email)
        bob, eve = people
        service.acting_for(Caller(next_device=STRANGE_TOKEN)).log_in(
            eve.email, PASSWORD)
        service.change_email(eve.session_id, PASSWORD, "newer@me.com")
        return bob

    @pytest.mark.parametrize("act", [
        lambda auth, bob: auth.verify_email(bob.token),
        lambda auth, bob: auth.reset_password(
            auth.get_reset_password_token(bob.email), "new"),
        lambda auth, bob: auth.change_password(
            bob.session_id, PASSWORD, "new"),
        lambda auth, bob: auth.change_email(
            bob.session_id, PASSWORD, "newest@me.com"),
        lambda auth, bob: auth.delete_account(bob.session_id, PASSWORD),
        lambda auth, bob: auth.log_in(bob.email, PASSWORD),
        lambda auth, bob: auth.log_out(bob.session_id),
        lambda auth, bob: auth.end_other_sessions(bob.session_id),
        lambda auth, bob: auth.destroy_session(1)],
        ids=["verify_email", "reset_password", "change_password",
             "change_email", "delete_account", "log_in", "log_out",
             "end_other_sessions", "destroy_session"])
    def test_keeps_everything(
            self, service: Auth, bob: Person, settings: Settings,
            act: Callable[[Auth, Person], object]) -> None:
        """Rows are looked for by whose they are."""
        def hers() -> Dict[str, List[Tuple[Any, ...]]]:
            """Return the rows of the second user."""
            return {
                table: rows(settings.database_url, "SELECT * FROM {} WHERE "
                            "{} = 2 ORDER BY 1".format(table, owner))
                for table, owner in (
                    ("users", "id"), ("accounts", "user_id"),
                    ("sessions", "user_id"), ("devices", "user_id"),
                    ("mail_tokens", "user_id"), ("outbox", "user_id"),
                    ("audit", "user_id"))}
        before = hers()
        assert all(before.values())
        act(service, bob)
        assert hers() == before

    def test_user_loses_what_was_mailed_to_the_old_address(
            self, service: Auth, bob: Person, db: DB) -> None:
        """In both of its places (Keycloak #26815)."""
        service.verify_email(bob.token)
        assert db.find_all(MailToken, user_id=1) == []
        assert db.find_user_by(id=1).reset_token is None


class TestVerifyEmail:
    """A mailed token, in production."""

    def test_guesses_of_strangers_count_no_longer(
            self, safe: Auth, mailbox: Mailbox) -> None:
        """Nobody has to wait who can read the mail."""
        safe.register_user(EMAIL, STRONG)
        safe.deliver_mail()
        for _ in range(6):
            with pytest.raises(AuthError) as refused:
                safe.log_in(EMAIL, "wrong")
        assert isinstance(refused.value, Throttled)
        safe.verify_email(mailbox.token(EMAIL))
        assert safe.log_in(EMAIL, STRONG)


class TestChangeEmail:
    """Asking for a mail to a new address, in production."""

    def test_counts_among_the_mails_of_a_network(
            self, safe: Auth, db: DB, mailbox: Mailbox) -> None:
        """As every other mail to a stranger."""
        service = safe.acting_for(Caller("203.0.113.7"))
        service.register_user(EMAIL, STRONG)
        service.deliver_mail()
        service.verify_email(mailbox.token(EMAIL))
        service.change_email(service.log_in(EMAIL, STRONG), STRONG,
                             "new@example.com")
        lane = Lane("mail:network", "203.0.113.7", RARELY)
        counted = db.find(Attempt, key=lane.key)
        assert counted and counted.failures == 1


class Noted(HashingPool):
    """A line that notes on whose account something is hashed."""

    def __init__(self) -> None:
        """Hash two at once."""
        super().__init__(2, 9)
        self.claims: List[Tuple[Tuple[Party, ...], bool]] = []

    def run(self, task: Callable[[], Any], parties: Tuple[Party, ...] = (),
            known: bool = False) -> Any:
        """Note the claim, and hash."""
        self.claims.append((parties, known))
        return super().run(task, parties, known)


class TestClaims:
    """Whose share of the line a hash takes."""

    @pytest.fixture
    def line(self) -> Iterator[Noted]:
        """The line of the service."""
        line = Noted()
        yield line
        line.close()

    @pytest.fixture
    def service(self, db: DB, settings: Settings, clock: Clock,
                line: Noted) -> Auth:
        """The service, for somebody with an account."""
        service = Auth(db, settings, clock, pool=line).acting_for(
            Caller("203.0.113.7"))
        service.register_user(EMAIL, PASSWORD)
        return service

    def test_stranger(self, service: Auth, line: Noted) -> None:
        """The network's, and the account's."""
        service.log_in(EMAIL, PASSWORD)
        assert line.claims == [
            ((("register:network", "203.0.113.7"),), False),
            ((("login:network", "203.0.113.7"), ("login:account", EMAIL)),
             False)]

    def test_owner(self, service: Auth, line: Noted) -> None:
        """Their own, before strangers."""
        service.reset_password(
            service.get_reset_password_token(EMAIL), "new")
        service.change_password(service.log_in(EMAIL, "new"), "new", "newer")
        own = ((("confirm", "1"),), True)
        assert line.claims[1:2] + line.claims[3:] == [own] * 3


class TestErrors:
    """What a refusal says."""

    @pytest.mark.parametrize("secret", ["s3cr3t", "s3cr3t" * 300, "s3cr3t\0"],
                             ids=brief)
    def test_no_error_repeats_a_secret(
            self, auth: Auth, user: User, secret: str) -> None:
        """Neither a password nor a token."""
        session: Any = auth.log_in(EMAIL, PASSWORD)
        for attempt in (
                lambda: auth.register_user(EMAIL, secret),
                lambda: auth.log_in(EMAIL, secret),
                lambda: auth.log_out(secret),
                lambda: auth.update_password(secret, secret),
                lambda: auth.delete_account(session, secret)):
            with pytest.raises(AuthError) as caught:
                attempt()
            assert "s3cr3t" not in caught.value.public + repr(caught.value)

#!/usr/bin/env python3
"""Proving that a mailbox is yours, and moving to another one, over HTTP."""
from __future__ import annotations

import functools
from contextlib import contextmanager
from typing import Any, Callable, Iterator, List

import pytest

from auth import Auth
from credentials import passwords
from db import DB
from mail.transports import Send
from models import Account, Device, Outgoing
from settings import DAY, HOUR, MINUTE
from tests.helpers import (
    EMAIL, NO_TOKENS, PASSWORD, STRANGE_TOKEN, STRONG, STRONGER, Clock,
    Mailbox, Visitor, all_at_once, assert_error, link_token)

NEW, OTHER, THIEF = "bob@work.me", "eve@me.com", "thief@evil.example"
NO_MAIL = "email is not an address that mail can reach"
CONTROL = "email contains a character no address may have"
REFUSED = "token is not valid"
VERIFY, CHANGE = ("Confirm your address for Bienvenue",
                  "Confirm your new address for Bienvenue")
REQUESTED, CHANGED, TAKEN = (
    "Your address at Bienvenue is about to change",
    "Your address at Bienvenue was changed",
    "You already have an account at Bienvenue")
# What is no address, in production, and what is said of it.
MALFORMED = (
    ("", "email is missing"), ("bob", NO_MAIL), ("@", NO_MAIL),
    ("bob@", NO_MAIL), ("@work.me", NO_MAIL), ("bob@work", NO_MAIL),
    # Two recipients to a mail library (ASVS 1.3.11);
    ("a@b.cc, d@e.fr", NO_MAIL), ("a@b.cc,d@e.fr", NO_MAIL),
    ("a@b.cc d@e.fr", NO_MAIL), ("a@b.cc;d@e.fr", NO_MAIL),
    ("Bob <bob@work.me>", NO_MAIL), ("<bob@work.me>", NO_MAIL),
    ("=?utf-8?q?x?=@c.com", NO_MAIL), ('"bob"@work.me', NO_MAIL),
    (" bob@work.me", NO_MAIL),
    ("bob@[127.0.0.1]", NO_MAIL), ("b\u00f6b@work.me", NO_MAIL),
    # and a header of one's own (Django CVE-2015-5144).
    ("bob@work.me\n", CONTROL), ("bob@work.me\r\nBcc: eve@me.com", CONTROL),
    ("bob\0@work.me", CONTROL), ("bob@work.me\u2028", CONTROL),
    ("x" * 251, "email is longer than 250 characters"))


@pytest.fixture
def visit(visit: Callable[..., Visitor]) -> Callable[..., Visitor]:
    """Somebody elsewhere who visits the production mode, as it is set."""
    return functools.partial(visit, "198.51.100.9")


@pytest.fixture
def newcomer(guest: Visitor) -> Visitor:
    """Somebody with an account who has read no mail of ours yet."""
    guest.registers(EMAIL, STRONG)
    return guest


@pytest.fixture
def owner(guest: Visitor, safe: Auth, db: DB) -> Visitor:
    """Somebody with a verified account and a session."""
    return settled(guest, EMAIL, safe, db)


def settled(visitor: Visitor, email: str, safe: Auth, db: DB) -> Visitor:
    """Give a visitor a verified account, with no mail on its way."""
    user = safe.register_user(email, STRONG)
    db.change(Account, {"user_id": user.id}, verified_at=1)
    db.delete(Outgoing, user_id=user.id)
    assert visitor.logs_in(email, STRONG).status_code == 200
    return visitor


class Links:
    """The links that were mailed, by whom they went to, in order."""

    def __init__(self, safe: Auth, mailbox: Mailbox) -> None:
        """Read this mailbox, once it is delivered to."""
        self._safe = safe
        self._mailbox = mailbox

    def to(self, email: str) -> List[str]:
        """Return the token of every link to an address."""
        self._safe.deliver_mail()
        parts = [message.get_body(("plain",))
                 for to, message in self._mailbox.mails if to == email]
        texts = [str(each.get_content()) for each in parts if each]
        return [link_token(each) for each in texts if "#" in each]

    def newest(self, email: str) -> str:
        """Return the token of the newest link to an address."""
        return self.to(email)[-1]


@pytest.fixture
def links(safe: Auth, mailbox: Mailbox) -> Links:
    """All links that are mailed."""
    return Links(safe, mailbox)


def verifies(visitor: Visitor, token: str) -> Any:
    """Open the link of a mail."""
    return visitor.asks("PUT", "/verify_email", token=token)


def moves(visitor: Visitor, email: str, password: str = STRONG) -> Any:
    """Ask for another address."""
    return visitor.asks("PUT", "/email", password=password, email=email)


def forgets(visitor: Visitor, email: str = EMAIL) -> None:
    """Ask for a reset."""
    answer = visitor.asks("POST", "/reset_password", email=email)
    assert answer.status_code == 200


class TestRequestVerification:
    """Asking for the link once more."""

    def test_answers_what_it_knows_and_mails_the_link(
            self, newcomer: Visitor, safe: Auth, mailbox: Mailbox,
            links: Links) -> None:
        """Which is nothing; the mail says the rest."""
        safe.deliver_mail()
        answer = newcomer.asks("POST", "/verify_email", email=EMAIL)
        assert answer.status_code == 200
        assert answer.get_json() == {
            "email": EMAIL, "message": "if the address has to be verified, a "
                                       "mail is on its way"}
        token = links.newest(EMAIL)
        assert mailbox.subjects(EMAIL) == [VERIFY, VERIFY]
        assert verifies(newcomer, token).status_code == 200

    def test_goes_to_the_stored_address(
            self, newcomer: Visitor, safe: Auth, mailbox: Mailbox) -> None:
        """Never to the spelling that was typed (Django CVE-2019-19844)."""
        safe.deliver_mail()
        newcomer.asks("POST", "/verify_email", email="BOB@Me.com")
        safe.deliver_mail()
        assert [to for to, _ in mailbox.mails] == [EMAIL, EMAIL]

    def test_mails_nobody_who_needs_none(
            self, owner: Visitor, safe: Auth, mailbox: Mailbox) -> None:
        """Neither a verified address nor one without an account."""
        for email in (EMAIL, OTHER):
            answer = owner.asks("POST", "/verify_email", email=email)
            assert answer.status_code == 200
        safe.deliver_mail()
        assert mailbox.mails == []

    def test_malformed_address(self, guest: Visitor, safe: Auth,
                               mailbox: Mailbox) -> None:
        """Refused as by any route that takes one."""
        for email, message in MALFORMED:
            answer = guest.asks("POST", "/verify_email", email=email)
            assert_error(answer, 400, message)
        safe.deliver_mail()
        assert mailbox.mails == []

    def test_without_a_field(self, guest: Visitor) -> None:
        """It names what is missing."""
        assert_error(guest.asks("POST", "/verify_email"), 400,
                     "email is missing")


class TestVerifyEmail:
    """Opening the link."""

    def test_proves_the_mailbox(self, newcomer: Visitor, links: Links,
                                db: DB, clock: Clock) -> None:
        """From now on its owner can sign in."""
        clock.advance(5)
        answer = verifies(newcomer, links.newest(EMAIL))
        assert answer.status_code == 200
        assert answer.get_json() == {"email": EMAIL,
                                     "message": "email verified"}
        account, = db.find_all(Account)
        assert account.verified_at == int(clock())
        assert newcomer.logs_in(EMAIL, STRONG).status_code == 200

    def test_signs_nobody_in(self, newcomer: Visitor, links: Links) -> None:
        """The link proves a mailbox, and no password (ASVS 6.4.3)."""
        answer = verifies(newcomer, links.newest(EMAIL))
        assert "session_id" not in str(answer.headers)
        assert newcomer.sees_profile().status_code == 403

    def test_works_from_any_browser(
            self, newcomer: Visitor, new_guest: Callable[..., Visitor],
            links: Links) -> None:
        """Mails are read on the phone."""
        phone = new_guest("198.51.100.9")
        assert verifies(phone, links.newest(EMAIL)).status_code == 200

    def test_what_is_no_token(self, newcomer: Visitor, links: Links,
                              db: DB) -> None:
        """Refused in one sentence, and nothing is verified."""
        links.to(EMAIL)
        bad = [each for each in NO_TOKENS if isinstance(each, str)
               and 0 < len(each) <= 250 and each != "\ud800"]
        assert len(bad) > 8
        for token in bad + [STRANGE_TOKEN]:
            assert_error(verifies(newcomer, token), 403, REFUSED)
        account, = db.find_all(Account)
        assert account.verified_at is None

    def test_without_a_token(self, newcomer: Visitor) -> None:
        """It names what is missing."""
        for answer in (newcomer.asks("PUT", "/verify_email"),
                       verifies(newcomer, "")):
            assert_error(answer, 403, "token is missing")

    def test_longer_than_any_token(self, newcomer: Visitor) -> None:
        """Refused as a field, before it is looked at."""
        assert_error(verifies(newcomer, "x" * 251), 400,
                     "token is longer than 250 characters")

    def test_in_the_query(self, newcomer: Visitor, links: Links) -> None:
        """Queries end up in logs (ASVS 14.2.1)."""
        answer = newcomer.asks(
            "PUT", "/verify_email?token=" + links.newest(EMAIL))
        assert_error(answer, 403, "token is missing")

    def test_twice(self, newcomer: Visitor, links: Links) -> None:
        """A used one looks like one that never was."""
        token = links.newest(EMAIL)
        assert verifies(newcomer, token).status_code == 200
        assert_error(verifies(newcomer, token), 403, REFUSED)

    def test_many_at_once(
            self, newcomer: Visitor, new_guest: Callable[..., Visitor],
            links: Links) -> None:
        """One of them has proved it (Keycloak #37231)."""
        token = links.newest(EMAIL)
        statuses = all_at_once([
            lambda: verifies(new_guest(), token).status_code] * 20)
        assert sorted(statuses) == [200] + [403] * 19

    def test_replaced(self, newcomer: Visitor, links: Links) -> None:
        """Only the newest link works."""
        first = links.newest(EMAIL)
        newcomer.asks("POST", "/verify_email", email=EMAIL)
        second = links.newest(EMAIL)
        assert_error(verifies(newcomer, first), 403, REFUSED)
        assert verifies(newcomer, second).status_code == 200

    @pytest.mark.parametrize("seconds, status", [(DAY - 1, 200), (DAY, 403)])
    def test_end(self, newcomer: Visitor, links: Links, clock: Clock,
                 seconds: int, status: int) -> None:
        """A day after it was mailed, to the second."""
        clock.advance(HOUR)  # the mail waited, and its link did not age
        token = links.newest(EMAIL)
        clock.advance(seconds)
        assert verifies(newcomer, token).status_code == status

    def test_a_reset_token_is_none(
            self, newcomer: Visitor, links: Links) -> None:
        """And is still good for what it is (ASVS 2.3.1)."""
        forgets(newcomer)
        token = links.newest(EMAIL)
        assert_error(verifies(newcomer, token), 403, REFUSED)
        assert newcomer.resets_password(token, STRONGER).status_code == 200

    def test_is_no_reset_token(
            self, newcomer: Visitor, links: Links) -> None:
        """And is still good for what it is."""
        token = links.newest(EMAIL)
        assert_error(newcomer.resets_password(token, STRONGER), 403,
                     "reset_token is not valid")
        assert verifies(newcomer, token).status_code == 200

    def test_of_an_account_that_is_gone(
            self, visit: Callable[..., Visitor], links: Links) -> None:
        """Its links went with it, and one who comes next is no owner."""
        relaxed = visit(require_verified=False)
        relaxed.registers(EMAIL, STRONG)
        token = links.newest(EMAIL)
        relaxed.logs_in(EMAIL, STRONG)
        relaxed.asks("DELETE", "/profile", password=STRONG)
        relaxed.registers(EMAIL, STRONGER)
        assert_error(verifies(relaxed, token), 403, REFUSED)


class TestChangeEmail:
    """Asking for another address."""

    def test_answers_and_mails_both_addresses(
            self, owner: Visitor, safe: Auth, mailbox: Mailbox) -> None:
        """The old one while a reset can still undo it."""
        answer = moves(owner, NEW)
        assert answer.status_code == 200
        assert answer.get_json() == {
            "email": NEW, "message": "open the link that is mailed to the "
                                     "new address"}
        safe.deliver_mail()
        assert mailbox.subjects(NEW) == [CHANGE]
        assert mailbox.subjects(EMAIL) == [REQUESTED]
        assert NEW in mailbox.text(EMAIL) and "#" not in mailbox.text(EMAIL)

    def test_changes_nothing_yet(self, owner: Visitor, links: Links) -> None:
        """Until somebody who reads the new mailbox says so."""
        moves(owner, NEW)
        links.to(NEW)
        assert owner.sees_profile().get_json() == {"email": EMAIL}
        assert owner.logs_in(NEW, STRONG).status_code == 401
        assert owner.logs_in(EMAIL, STRONG).status_code == 200

    def test_needs_the_password(self, owner: Visitor, safe: Auth,
                                mailbox: Mailbox) -> None:
        """An unlocked screen is not enough (ASVS 7.5.1)."""
        assert_error(moves(owner, NEW, ""), 403, "password is missing")
        for password in (STRONGER, STRONG + " ", STRONG.upper()):
            assert_error(moves(owner, NEW, password), 403, "wrong password")
        safe.deliver_mail()
        assert mailbox.mails == []

    def test_needs_a_session(self, owner: Visitor, safe: Auth,
                             mailbox: Mailbox) -> None:
        """Knowing the password is not enough either."""
        owner.logs_out()
        assert_error(moves(owner, NEW), 403, "not signed in")
        safe.deliver_mail()
        assert mailbox.mails == []

    def test_guesses_at_the_password_are_few(self, owner: Visitor) -> None:
        """A stolen session does not help to find it."""
        for _ in range(5):
            assert_error(moves(owner, NEW, STRONGER), 403, "wrong password")
        answer = moves(owner, NEW)
        assert_error(answer, 429, "too many attempts, try again later")
        assert answer.headers["Retry-After"] == "1"

    def test_fourth_in_an_hour_is_refused(
            self, owner: Visitor, safe: Auth, mailbox: Mailbox,
            clock: Clock) -> None:
        """Each mails a stranger; the owner hears of all that went through."""
        for number in range(3):
            answer = moves(owner, "x{}@evil.example".format(number))
            assert answer.status_code == 200
        answer = moves(owner, NEW)
        assert_error(answer, 429, "too many attempts, try again later")
        assert answer.headers["Retry-After"] == str(HOUR)
        safe.deliver_mail()
        assert NEW not in [email for email, _ in mailbox.mails]
        clock.advance(HOUR)
        assert moves(owner, NEW).status_code == 200

    def test_own_address(self, owner: Visitor, safe: Auth,
                         mailbox: Mailbox) -> None:
        """In any spelling there is nothing to change."""
        for email in (EMAIL, "BOB@ME.COM", "Bob@me.com"):
            assert_error(moves(owner, email), 400,
                         "email is your address already")
        safe.deliver_mail()
        assert mailbox.mails == []

    def test_malformed_address(self, owner: Visitor, safe: Auth,
                               mailbox: Mailbox) -> None:
        """Refused, before the password is looked at."""
        for email, message in MALFORMED:
            for password in (STRONG, "wrong"):
                assert_error(moves(owner, email, password), 400, message)
        safe.deliver_mail()
        assert mailbox.mails == []

    def test_taken_address_gets_the_same_answer(
            self, owner: Visitor, new_guest: Callable[..., Visitor],
            safe: Auth, db: DB, mailbox: Mailbox) -> None:
        """Only the mailbox learns it, and what it can do (ASVS 6.3.8)."""
        settled(new_guest(), OTHER, safe, db)
        free, taken = (moves(owner, email)
                       for email in ("ann@me.com", OTHER))
        assert free.status_code == taken.status_code == 200
        assert free.get_data(as_text=True).replace("ann@", "eve@") \
            == taken.get_data(as_text=True)
        assert [each for each, _ in free.headers] \
            == [each for each, _ in taken.headers]
        safe.deliver_mail()
        assert mailbox.subjects(OTHER) == [TAKEN]
        # A reset of her own account, and no change of his.
        token = mailbox.token(OTHER)
        assert_error(verifies(owner, token), 403, REFUSED)
        assert owner.resets_password(token, STRONGER, OTHER).status_code \
            == 200
        assert owner.sees_profile().get_json() == {"email": EMAIL}

    def test_second_request_replaces_the_first(
            self, owner: Visitor, links: Links) -> None:
        """Only the address that was named last can become the user's."""
        moves(owner, THIEF)
        first = links.newest(THIEF)
        moves(owner, NEW)
        second = links.newest(NEW)
        assert_error(verifies(owner, first), 403, REFUSED)
        assert verifies(owner, second).status_code == 200
        assert owner.sees_profile().get_json() == {"email": NEW}

    def test_second_request_replaces_one_that_waits(
            self, owner: Visitor, links: Links) -> None:
        """The mail that was not sent yet is not sent any more."""
        moves(owner, THIEF)
        moves(owner, NEW)
        assert links.to(THIEF) == []
        assert verifies(owner, links.newest(NEW)).status_code == 200

    def test_second_request_ends_the_first_at_once(
            self, owner: Visitor, links: Links) -> None:
        """Not once its own mail is sent, which may take a day or never be.

        Whoever corrects a wrong address must not lose the account to it.
        """
        moves(owner, THIEF)
        first = links.newest(THIEF)
        moves(owner, NEW)
        assert_error(verifies(owner, first), 403, REFUSED)


class TestConfirmChange:
    """Opening the link that was mailed to the new address."""

    @pytest.fixture
    def token(self, owner: Visitor, links: Links) -> str:
        """What the new address was mailed."""
        moves(owner, NEW)
        return links.newest(NEW)

    def test_the_new_address_is_the_users(
            self, owner: Visitor, token: str, safe: Auth,
            mailbox: Mailbox) -> None:
        """Sessions stay, and signing in goes by the new one alone."""
        answer = verifies(owner, token)
        assert answer.status_code == 200
        assert answer.get_json() == {"email": NEW,
                                     "message": "email verified"}
        assert owner.sees_profile().get_json() == {"email": NEW}
        assert owner.logs_in(EMAIL, STRONG).status_code == 401
        assert owner.logs_in(NEW, STRONG).status_code == 200

    def test_the_old_address_is_told(
            self, owner: Visitor, token: str, safe: Auth,
            mailbox: Mailbox) -> None:
        """Its last mail, and not a link in it (NIST 4.6)."""
        verifies(owner, token)
        safe.deliver_mail()
        assert mailbox.subjects(EMAIL) == [REQUESTED, CHANGED]
        assert NEW in mailbox.text(EMAIL) and "#" not in mailbox.text(EMAIL)

    def test_the_old_address_is_free(
            self, owner: Visitor, token: str,
            new_guest: Callable[..., Visitor], links: Links) -> None:
        """For an account of whoever reads it now."""
        verifies(owner, token)
        links.to(EMAIL)
        stranger = new_guest()
        stranger.registers(EMAIL, STRONGER)
        assert verifies(stranger, links.newest(EMAIL)).status_code == 200
        stranger.logs_in(EMAIL, STRONGER)
        assert stranger.sees_profile().get_json() == {"email": EMAIL}
        assert owner.sees_profile().get_json() == {"email": NEW}

    @pytest.mark.parametrize("mailed", [True, False])
    def test_a_reset_by_the_old_address_dies(
            self, owner: Visitor, token: str, links: Links,
            mailed: bool) -> None:
        """Whether its mail was sent before or not (Keycloak #26815)."""
        forgets(owner)
        resets = links.to(EMAIL) if mailed else []
        verifies(owner, token)
        assert links.to(EMAIL) == resets and len(resets) == mailed
        for each in resets:
            assert_error(owner.resets_password(each, STRONGER, EMAIL), 403,
                         "reset_token is not valid")
            assert_error(owner.resets_password(each, STRONGER, NEW), 403,
                         "reset_token is not valid")
        assert owner.logs_in(NEW, STRONG).status_code == 200

    def test_a_reset_that_is_on_its_way_to_the_old_address_dies(
            self, owner: Visitor, token: str, safe: Auth, mailbox: Mailbox,
            links: Links, monkeypatch: pytest.MonkeyPatch) -> None:
        """Reaching a mail server takes seconds; nobody is at fault then."""
        forgets(owner)
        meanwhile(mailbox, monkeypatch, lambda: verifies(owner, token))
        for each in links.to(EMAIL):
            assert_error(owner.resets_password(each, STRONGER, ""), 403,
                         "reset_token is not valid")
        assert owner.sees_profile().get_json() == {"email": NEW}
        assert safe.warnings() == []

    def test_a_verification_of_the_old_address_dies(
            self, visit: Callable[..., Visitor], links: Links,
            mailbox: Mailbox, clock: Clock, db: DB) -> None:
        """Also one whose mail had to wait, as for a server that was down.

        Its reader has nothing to do with the account any more.
        """
        owner = visit(require_verified=False)
        owner.registers(EMAIL, STRONG)
        mailbox.refuses = ConnectionResetError()
        links.to(EMAIL)
        mailbox.refuses = None
        owner.logs_in(EMAIL, STRONG)
        moves(owner, NEW)
        assert verifies(owner, links.newest(NEW)).status_code == 200
        clock.advance(HOUR)
        devices = len(db.find_all(Device))
        for each in links.to(EMAIL):
            assert_error(verifies(visit(), each), 403, REFUSED)
        assert VERIFY not in mailbox.subjects(EMAIL)
        assert len(db.find_all(Device)) == devices

    def test_a_reset_by_the_new_address_works(
            self, owner: Visitor, token: str, links: Links) -> None:
        """And the old one gets none any more."""
        verifies(owner, token)
        before = links.to(EMAIL)
        for email in (EMAIL, NEW):
            forgets(owner, email)
        assert links.to(EMAIL) == before
        answer = owner.resets_password(links.newest(NEW), STRONGER, NEW)
        assert answer.status_code == 200

    def test_twice(self, owner: Visitor, token: str) -> None:
        """Nor back again."""
        verifies(owner, token)
        assert_error(verifies(owner, token), 403, REFUSED)

    def test_many_at_once(
            self, owner: Visitor, token: str, safe: Auth, mailbox: Mailbox,
            new_guest: Callable[..., Visitor]) -> None:
        """One of them moves the account, and one mail says so."""
        statuses = all_at_once([
            lambda: verifies(new_guest(), token).status_code] * 20)
        assert sorted(statuses) == [200] + [403] * 19
        safe.deliver_mail()
        assert mailbox.subjects(EMAIL) == [REQUESTED, CHANGED]

    @pytest.mark.parametrize("seconds, status", [(DAY - 1, 200), (DAY, 403)])
    def test_end(self, owner: Visitor, token: str, clock: Clock,
                 seconds: int, status: int) -> None:
        """A day after it was mailed, to the second."""
        clock.advance(seconds)
        assert verifies(owner, token).status_code == status

    def test_is_no_reset_token(self, owner: Visitor, token: str) -> None:
        """A mailbox that is not yet the user's sets no password."""
        for email in (EMAIL, NEW, ""):
            assert_error(owner.resets_password(token, STRONGER, email), 403,
                         "reset_token is not valid")

    def test_taken_meanwhile(
            self, owner: Visitor, token: str, safe: Auth, mailbox: Mailbox,
            new_guest: Callable[..., Visitor]) -> None:
        """Whoever was first has it, and for the other nothing changed."""
        stranger = new_guest()
        stranger.registers(NEW, STRONGER)
        for _ in range(2):
            assert_error(verifies(owner, token), 403, REFUSED)
        safe.deliver_mail()
        assert CHANGED not in mailbox.subjects(EMAIL)
        assert verifies(stranger, mailbox.token(NEW)).status_code == 200
        stranger.logs_in(NEW, STRONGER)
        assert stranger.sees_profile().get_json() == {"email": NEW}
        assert owner.sees_profile().get_json() == {"email": EMAIL}
        assert owner.logs_in(EMAIL, STRONG).status_code == 200

    def test_of_two_users_who_want_it_one_gets_it(
            self, owner: Visitor, token: str, safe: Auth, db: DB,
            links: Links, new_guest: Callable[..., Visitor]) -> None:
        """The one who confirms first, as both read that mailbox."""
        other = settled(new_guest(), OTHER, safe, db)
        moves(other, NEW)
        theirs = links.newest(NEW)
        assert verifies(other, theirs).status_code == 200
        assert_error(verifies(owner, token), 403, REFUSED)
        assert other.sees_profile().get_json() == {"email": NEW}
        assert owner.sees_profile().get_json() == {"email": EMAIL}


class TestConfirmedMeanwhile:
    """A change that is confirmed while a password is checked."""

    @pytest.fixture
    def confirms(self, owner: Visitor, links: Links,
                 new_guest: Callable[..., Visitor],
                 monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the first check of a password take until then."""
        moves(owner, NEW)
        token, verify = links.newest(NEW), passwords.verify_password

        def verify_then_move(password: str, *how: Any) -> bool:
            """Open the link between the check and what follows it."""
            monkeypatch.setattr(passwords, "verify_password", verify)
            right = verify(password, *how)
            assert verifies(new_guest(), token).status_code == 200
            return right
        monkeypatch.setattr(passwords, "verify_password", verify_then_move)

    @pytest.mark.usefixtures("confirms")
    def test_is_not_undone_by_the_next(
            self, owner: Visitor, links: Links) -> None:
        """Whoever asks for another knows of the one that happened."""
        assert_error(moves(owner, OTHER), 403, "wrong password")
        assert owner.sees_profile().get_json() == {"email": NEW}
        assert links.to(OTHER) == []

    @pytest.mark.usefixtures("confirms")
    def test_signs_nobody_in_by_the_address_of_before(
            self, owner: Visitor, new_guest: Callable[..., Visitor]) -> None:
        """It is somebody else's by then, perhaps."""
        assert new_guest().logs_in(EMAIL, STRONG).status_code == 401
        assert new_guest().logs_in(NEW, STRONG).status_code == 200

    @pytest.mark.usefixtures("confirms")
    @pytest.mark.parametrize("method, path, data", [
        ("PUT", "/password", {"current_password": STRONG,
                              "new_password": STRONGER}),
        ("DELETE", "/profile", {"password": STRONG})])
    def test_stops_what_was_meant_for_the_account_of_before(
            self, owner: Visitor, method: str, path: str,
            data: Any) -> None:
        """Its mail would go to the wrong address, and so would the word."""
        assert_error(owner.asks(method, path, **data), 403, "wrong password")
        assert owner.logs_in(NEW, STRONG).status_code == 200


class TestStopChange:
    """What the owner of the old address can do about a change."""

    def resets(self, visitor: Visitor, links: Links) -> None:
        """Set a new password by the old address."""
        forgets(visitor)
        answer = visitor.resets_password(links.newest(EMAIL), STRONGER)
        assert answer.status_code == 200

    @pytest.mark.parametrize("mailed", [True, False])
    def test_a_reset_stops_it(
            self, owner: Visitor, new_guest: Callable[..., Visitor],
            links: Links, mailed: bool) -> None:
        """Whether the new address was mailed or not."""
        token = ""
        if not mailed:
            forgets(owner)
            token = links.newest(EMAIL)
        moves(owner, THIEF)
        if mailed:
            assert len(links.to(THIEF)) == 1
            self.resets(new_guest(), links)
        else:
            new_guest().resets_password(token, STRONGER)
        stolen = links.to(THIEF)
        assert len(stolen) == mailed
        for each in stolen:
            assert_error(verifies(owner, each), 403, REFUSED)
        owner.logs_in(EMAIL, STRONGER)
        assert owner.sees_profile().get_json() == {"email": EMAIL}

    def test_a_change_of_password_stops_it(
            self, owner: Visitor, links: Links) -> None:
        """Whoever knew the old password asked for it, perhaps."""
        moves(owner, THIEF)
        token = links.newest(THIEF)
        owner.asks("PUT", "/password", current_password=STRONG,
                   new_password=STRONGER)
        assert_error(verifies(owner, token), 403, REFUSED)

    def test_a_reset_while_the_link_is_being_sent_stops_it(
            self, owner: Visitor, links: Links, mailbox: Mailbox,
            new_guest: Callable[..., Visitor],
            monkeypatch: pytest.MonkeyPatch) -> None:
        """Reaching a mail server takes seconds, in which that may happen.

        A link that is minted after the reset must not outlive it.
        """
        forgets(owner)
        token = links.newest(EMAIL)
        moves(owner, THIEF)
        meanwhile(mailbox, monkeypatch, lambda: new_guest().resets_password(
            token, STRONGER))
        for each in links.to(THIEF):
            assert_error(verifies(owner, each), 403, REFUSED)
        owner.logs_in(EMAIL, STRONGER)
        assert owner.sees_profile().get_json() == {"email": EMAIL}

    def test_a_reset_while_the_password_is_checked_stops_it(
            self, owner: Visitor, links: Links, mailbox: Mailbox,
            new_guest: Callable[..., Visitor],
            monkeypatch: pytest.MonkeyPatch) -> None:
        """The old password is none any more when the change is noted."""
        forgets(owner)
        token, verify = links.newest(EMAIL), passwords.verify_password

        def verify_then_reset(password: str, *how: Any) -> bool:
            """Let a reset happen between the check and the change."""
            right = verify(password, *how)
            answer = new_guest().resets_password(token, STRONGER)
            assert answer.status_code == 200
            return right
        with monkeypatch.context() as patched:
            patched.setattr(passwords, "verify_password", verify_then_reset)
            assert_error(moves(owner, THIEF), 403, "wrong password")
        assert links.to(THIEF) == []
        assert REQUESTED not in mailbox.subjects(EMAIL)


def meanwhile(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch,
              happens: Callable[[], Any]) -> None:
    """Let something happen while the mail server is reached next."""
    reach = mailbox.connection

    @contextmanager
    def reach_slowly() -> Iterator[Send]:
        """Reach it after that, and from then on as ever."""
        monkeypatch.setattr(mailbox, "connection", reach)
        assert happens().status_code == 200
        with reach() as send:
            yield send
    monkeypatch.setattr(mailbox, "connection", reach_slowly)


class TestDevelopment:
    """The same on a desk, where mails are printed."""

    @pytest.fixture
    def developer(self, visitor: Visitor) -> Visitor:
        """Somebody signed in to the development mode."""
        visitor.registers()
        assert visitor.logs_in().status_code == 200
        return visitor

    def test_verification(self, developer: Visitor, links: Links, db: DB,
                          clock: Clock) -> None:
        """Nobody needs it, and whoever tries it out sees it work."""
        token = links.newest(EMAIL)
        answer = verifies(developer, token)
        assert answer.get_json() == {"email": EMAIL,
                                     "message": "email verified"}
        assert_error(verifies(developer, token), 403, REFUSED)
        account, = db.find_all(Account)
        assert account.verified_at == int(clock())

    def test_reset_is_no_proof(self, developer: Visitor, db: DB) -> None:
        """Its token was handed to whoever named the address."""
        token = developer.forgets_password()
        assert developer.resets_password(token, "new").status_code == 200
        account, = db.find_all(Account)
        assert account.verified_at is None

    def test_verification_that_is_asked_for(
            self, developer: Visitor, links: Links) -> None:
        """For any text that can be stored, as for an account."""
        for email, status in ((EMAIL, 200), ("eve", 200), ("", 400)):
            answer = developer.asks("POST", "/verify_email", email=email)
            assert answer.status_code == status
        assert len(links.to(EMAIL)) == 2

    def test_change(self, developer: Visitor, links: Links) -> None:
        """From here to there."""
        assert moves(developer, NEW, PASSWORD).status_code == 200
        assert developer.sees_profile().get_json() == {"email": EMAIL}
        assert verifies(developer, links.newest(NEW)).status_code == 200
        assert developer.sees_profile().get_json() == {"email": NEW}
        assert developer.logs_in(NEW).status_code == 200
        assert developer.logs_in(EMAIL).status_code == 401

    def test_refusals(self, developer: Visitor) -> None:
        """In the words of production."""
        for password, email, status, message in (
                ("", NEW, 403, "password is missing"),
                ("wrong", NEW, 403, "wrong password"),
                (PASSWORD, "", 400, "email is missing"),
                (PASSWORD, "BOB@me.com", 400,
                 "email is your address already"),
                (PASSWORD, "bob\n@me.com", 400, CONTROL)):
            assert_error(moves(developer, email, password), status, message)

    def test_mails_wait(self, developer: Visitor, mailbox: Mailbox,
                        clock: Clock) -> None:
        """Until a sender prints them; no request does."""
        moves(developer, NEW, PASSWORD)
        clock.advance(MINUTE)
        assert mailbox.mails == []
        export = developer.asks("GET", "/profile/export").get_json()
        assert [each["purpose"] for each in export["mails_waiting"]] \
            == ["verify", "change", "change_requested"]

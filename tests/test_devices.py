#!/usr/bin/env python3
"""Known browsers: who is one, for how long, and how many a user has."""
from __future__ import annotations

import dataclasses
from typing import Any, Callable, List

import pytest

from audit import NOBODY, Caller
from auth import Auth
from credentials import tokens
from db import DB
from devices import DEVICE_LIFE, DEVICES_PER_USER, Devices
from models import Account, Device, Outgoing
from settings import HOUR, Settings
from tests.helpers import (
    EMAIL, NO_TOKENS, STRANGE_TOKEN, STRONG, Clock, Mailbox, Visitor)
from user import User

NOW = 1795000000
OTHER = "eve@me.com"


@pytest.fixture
def devices(db: DB) -> Devices:
    """The browsers in a store, none yet."""
    return Devices(db)


@pytest.fixture
def user(db: DB) -> User:
    """Somebody with an account."""
    return db.add_user(EMAIL, "x")


@pytest.fixture
def other(db: DB) -> User:
    """Somebody else with an account."""
    return db.add_user(OTHER, "x")


def visits(devices: Devices, user: User, now: int = NOW,
           device: str = "", token: str = "") -> str:
    """Have a browser remembered; return the token that it has from then."""
    token = token or tokens.mint()
    devices.remember(Caller(device=device, next_device=token), user.id, now)
    return token


def known(devices: Devices, device: Any, email: str = EMAIL,
          now: int = NOW) -> bool:
    """Tell whether a browser with this token is one of an address."""
    return devices.knows(Caller(device=device), email, now)


class TestKnows:
    """Whether an address signed in from a browser before."""

    def test_browser_that_was_here(
            self, devices: Devices, user: User) -> None:
        """By the token that it was given."""
        assert known(devices, visits(devices, user))

    def test_stranger(self, devices: Devices, user: User) -> None:
        """A token that was made up opens no lane."""
        visits(devices, user)
        assert not known(devices, STRANGE_TOKEN)

    def test_token_to_come(self, devices: Devices, user: User) -> None:
        """What a browser will be given proves nothing yet."""
        token = visits(devices, user)
        assert not devices.knows(Caller(next_device=token), EMAIL, NOW)

    @pytest.mark.parametrize("email", [OTHER, "", "nobody@me.com"])
    def test_another_address(self, devices: Devices, user: User, other: User,
                             email: str) -> None:
        """Or one account of one's own would do to guess at any other."""
        assert not known(devices, visits(devices, user), email)

    def test_user_who_moved(
            self, devices: Devices, user: User, db: DB) -> None:
        """The browser is the user's, whatever their address is by now."""
        token = visits(devices, user)
        db.update_user(user.id, email="bob@new.example")
        assert [known(devices, token, email)
                for email in (EMAIL, "bob@new.example")] == [False, True]

    def test_user_who_is_gone(self, devices: Devices, user: User, db: DB
                              ) -> None:
        """Whoever has the address next is somebody else."""
        token = visits(devices, user)
        db.delete(User, id=user.id)
        db.add_user(EMAIL, "x")
        assert not known(devices, token)

    def test_ends_to_the_second(self, devices: Devices, user: User) -> None:
        """After a year without a visit, however the sweep sleeps."""
        token = visits(devices, user)
        assert known(devices, token, now=NOW + DEVICE_LIFE - 1)
        assert not known(devices, token, now=NOW + DEVICE_LIFE)

    def test_clock_that_was_set_back(
            self, devices: Devices, user: User) -> None:
        """A browser is not forgotten for an hour that comes twice."""
        assert known(devices, visits(devices, user), now=NOW - HOUR)

    @pytest.mark.parametrize("device", NO_TOKENS,
                             ids=lambda value: ascii(value)[:20])
    def test_what_is_no_token_is_never_looked_up(
            self, devices: Devices, user: User, db: DB, device: Any,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """No cookie is the usual case, and must match nothing (ASVS 2.2)."""
        visits(devices, user)
        asked: List[Any] = []
        monkeypatch.setattr(
            db, "find", lambda table, **match: asked.append(match))
        assert not known(devices, device)
        assert asked == []


class TestRemember:
    """A browser in which its user has just proved who they are."""

    def test_old_token_is_worthless(
            self, devices: Devices, user: User) -> None:
        """A copy that was taken before stops being one of the user's."""
        first = visits(devices, user)
        second = visits(devices, user, device=first)
        assert not known(devices, first)
        assert known(devices, second)

    def test_rotation_is_no_second_browser(
            self, devices: Devices, user: User, db: DB) -> None:
        """However often it visits, it is stored once."""
        token = ""
        for _ in range(5):
            token = visits(devices, user, device=token)
        assert len(db.find_all(Device)) == 1

    def test_other_browsers_stay(self, devices: Devices, user: User) -> None:
        """The phone is known while the desk signs in."""
        phone, desk = visits(devices, user), visits(devices, user)
        visits(devices, user, device=desk)
        assert known(devices, phone)

    def test_token_of_somebody_else_is_left_alone(
            self, devices: Devices, user: User, other: User) -> None:
        """Presenting it takes no browser away from its user."""
        hers = visits(devices, other)
        mine = visits(devices, user, device=hers)
        assert known(devices, hers, OTHER)
        assert known(devices, mine)
        assert not known(devices, mine, OTHER)

    @pytest.mark.parametrize("device", ["", STRANGE_TOKEN, "nonsense"])
    def test_planted_token_does_not_become_known(
            self, devices: Devices, user: User, device: str) -> None:
        """Whoever set the cookie beforehand gains nothing (OWASP)."""
        visits(devices, user, device=device)
        assert not known(devices, device)

    def test_caller_without_a_next_token(
            self, devices: Devices, user: User, db: DB) -> None:
        """Code that calls us is no browser; it keeps no cookie."""
        token = visits(devices, user)
        devices.remember(NOBODY, user.id, NOW)
        devices.remember(Caller(device=token), user.id, NOW)
        assert len(db.find_all(Device)) == 1
        assert known(devices, token)

    def test_tells_of_browsers_before(
            self, devices: Devices, user: User, other: User) -> None:
        """The very first is no news to mail to its owner."""
        visits(devices, other)
        told = [devices.remember(Caller(next_device=tokens.mint()),
                                 user.id, NOW) for _ in range(3)]
        assert told == [False, True, True]

    def test_only_digests_are_stored(
            self, devices: Devices, user: User, db: DB) -> None:
        """A copy of the table is no browser of anybody (ASVS 14.2)."""
        token = visits(devices, user)
        row, = db.find_all(Device)
        assert (row.digest, row.user_id, row.seen_at) == (
            tokens.digest(token), user.id, NOW)
        assert not known(devices, row.digest)


class TestLimit:
    """How many browsers of one user are known."""

    @pytest.fixture
    def full(self, devices: Devices, user: User) -> List[str]:
        """The tokens of as many as there may be, the longest unseen first.

        In another order than that of their rows, which is the digests'.
        """
        seen = [STRANGE_TOKEN[:-2] + str(number)
                for number in range(10, 10 + DEVICES_PER_USER)]
        assert tokens.digest(seen[0]) > min(map(tokens.digest, seen))
        return [visits(devices, user, NOW + place, token=token)
                for place, token in enumerate(seen)]

    def test_as_many_as_the_limit_are_known(
            self, devices: Devices, full: List[str]) -> None:
        """A person with many devices is not asked for them again."""
        assert all(known(devices, token) for token in full)

    def test_longest_unseen_goes_for_one_more(
            self, devices: Devices, user: User, full: List[str]) -> None:
        """The newest must be known, or a full list would lock it out."""
        newest = visits(devices, user, NOW + 100)
        assert [known(devices, token) for token in full + [newest]] == \
            [False] + [True] * DEVICES_PER_USER

    def test_rows_stay_few(self, devices: Devices, user: User, db: DB,
                           full: List[str]) -> None:
        """Whatever their browsers throw away."""
        for _ in range(5):
            visits(devices, user, NOW + 100)
        assert len(db.find_all(Device)) == DEVICES_PER_USER

    def test_browser_that_returns_takes_nobodys_place(
            self, devices: Devices, user: User, full: List[str]) -> None:
        """It has one already: twenty are not too many."""
        visits(devices, user, NOW + 100, device=full[-1])
        assert all(known(devices, token) for token in full[:-1])

    def test_others_have_a_limit_of_their_own(
            self, devices: Devices, other: User, full: List[str]) -> None:
        """Nobody is forgotten for the browsers of somebody else."""
        visits(devices, other)
        assert known(devices, full[0])


class TestNewDeviceMail:
    """What the owner is told of a browser that was not here before."""

    SUBJECT = "A new device signed in to Bienvenue"

    @pytest.fixture
    def browsers(self, visit: Callable[..., Visitor], safe: Auth,
                 db: DB) -> Callable[..., Visitor]:
        """Browsers of somebody with an account; each has its network."""
        user = safe.register_user(EMAIL, STRONG)
        db.change(Account, {"user_id": user.id}, verified_at=1)
        db.delete(Outgoing)
        return lambda last, on=True: visit(
            "203.0.113.{}".format(last), new_device_mail=on)

    @pytest.fixture
    def told(self, safe: Auth, mailbox: Mailbox) -> Callable[[], List[str]]:
        """The subjects of the mails since it was asked last."""
        def read() -> List[str]:
            """Deliver what waits and take it out."""
            safe.deliver_mail()
            subjects = mailbox.subjects(EMAIL)
            mailbox.mails.clear()
            return subjects
        return read

    def test_first_browser_is_no_news(
            self, browsers: Callable[..., Visitor],
            told: Callable[[], List[str]]) -> None:
        """It is the owner's, for all we can know."""
        assert browsers(1).logs_in(EMAIL, STRONG).status_code == 200
        assert told() == []

    def test_second_browser_is_told_of_once(
            self, browsers: Callable[..., Visitor], safe: Auth,
            told: Callable[[], List[str]], mailbox: Mailbox) -> None:
        """By its own name and from where it came; then it is known."""
        first, second = browsers(1), browsers(2)
        first.logs_in(EMAIL, STRONG)
        second.asks("POST", "/sessions", {"User-Agent": "Lynx/2.9"},
                    email=EMAIL, password=STRONG)
        safe.deliver_mail()
        assert "\nLynx/2.9, 203.0.113.2\n" in mailbox.text(EMAIL)
        assert told() == [self.SUBJECT]
        for each in (second, first):
            assert each.logs_in(EMAIL, STRONG).status_code == 200
        assert told() == []

    def test_wrong_password_is_no_sign_in(
            self, browsers: Callable[..., Visitor],
            told: Callable[[], List[str]]) -> None:
        """Or a stranger could fill the mailbox."""
        browsers(1).logs_in(EMAIL, STRONG)
        assert browsers(2).logs_in(EMAIL, "wrong").status_code == 401
        assert told() == []

    def test_is_a_setting(
            self, browsers: Callable[..., Visitor],
            told: Callable[[], List[str]]) -> None:
        """Off, if nobody decided otherwise."""
        for each in (1, 2):
            browsers(each, False).logs_in(EMAIL, STRONG)
        assert told() == [] and not Settings().new_device_mail

    def test_more_than_the_limit_are_withheld(
            self, browsers: Callable[..., Visitor],
            told: Callable[[], List[str]], clock: Clock) -> None:
        """A program that keeps no cookies is a new browser each time."""
        for number in range(6):
            browsers(number).logs_in(EMAIL, STRONG)
        assert told() == [self.SUBJECT] * 3
        clock.advance(HOUR)
        browsers(7).logs_in(EMAIL, STRONG)
        assert told() == [self.SUBJECT]

    def test_without_a_name_it_is_said_so(
            self, browsers: Callable[..., Visitor], safe: Auth,
            mailbox: Mailbox) -> None:
        """A client need not tell what it is."""
        browsers(1).logs_in(EMAIL, STRONG)
        browsers(2).asks("POST", "/sessions", {"User-Agent": ""},
                         email=EMAIL, password=STRONG)
        safe.deliver_mail()
        assert "unknown browser, 203.0.113.2" in mailbox.text(EMAIL)

    def test_name_is_cut_and_a_network_need_not_be(
            self, browsers: Callable[..., Visitor], safe: Auth, db: DB,
            clock: Clock, mailbox: Mailbox) -> None:
        """Whatever the caller says fits into the mail."""
        browsers(1).logs_in(EMAIL, STRONG)
        service = Auth(db, dataclasses.replace(
            safe.settings, new_device_mail=True), clock, mailbox)
        service.acting_for(Caller(
            user_agent="A" * 200, next_device=STRANGE_TOKEN)).log_in(
                EMAIL, STRONG)
        service.deliver_mail()
        assert "\n{}, unknown network\n".format("A" * 180) \
            in mailbox.text(EMAIL)


class TestForgetOld:
    """Browsers that were away for too long."""

    def test_goes_to_the_second(
            self, devices: Devices, user: User, db: DB) -> None:
        """Just when they are not known any more."""
        visits(devices, user)
        token = visits(devices, user, NOW + 1)
        assert devices.forget_old(NOW + DEVICE_LIFE - 1) == 0
        assert devices.forget_old(NOW + DEVICE_LIFE) == 1
        assert [row.digest for row in db.find_all(Device)] == [
            tokens.digest(token)]

#!/usr/bin/env python3
"""Throttling without lockout: guesses end, and the owner still gets in."""
from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Tuple

import pytest
from werkzeug.test import TestResponse

from app import create_app
from audit import Caller
from auth import Auth
from credentials import passwords
from db import DB
from errors import AuthError, BadCredentials, Throttled, Unavailable
from models import Attempt, Entry
from routes.guards import client_address, network_of
from settings import DAY, HOUR, Rate, Settings
from tests.helpers import (
    EMAIL, ORIGIN, PASSWORD, STRANGE_TOKEN, STRONG, STRONGER, Clock, Mailbox,
    Visitor, all_at_once, assert_error, cookies_of)
from throttle import Throttle

WRONG, NOBODY = "tartiflette au gruyere", "nobody@me.com"
TOO_MANY = "too many attempts, try again later"
# The fixtures' guest is here; and here is nobody yet.
OFFICE, ELSEWHERE = "203.0.113.7", "192.0.2.1"
LONGEST_WAIT, LIMIT = 900, 6
NewGuest = Callable[..., Visitor]
# What somebody signed in has to repeat the password for.
DANGEROUS = [
    ("PUT", "/password", "current_password", {"new_password": STRONGER}),
    ("PUT", "/email", "password", {"email": "bob@new.example"}),
    ("DELETE", "/profile", "password", {})]


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> List[str]:
    """The passwords that are hashed or checked from now on."""
    computed: List[str] = []
    for name in ("verify_password", "hash_password"):
        monkeypatch.setattr(passwords, name, partial(
            noted, computed, getattr(passwords, name)))
    return computed


def noted(computed: List[str], work: Callable[..., Any], password: str,
          *others: Any) -> Any:
    """Note a password before it is worked on."""
    computed.append(password)
    return work(password, *others)


@pytest.fixture
def attacker(new_guest: NewGuest, clock: Clock) -> Attacker:
    """Somebody with as many networks as there are."""
    return Attacker(new_guest, clock)


class Attacker:
    """Guesses from a new network each time, and has all the time there is."""

    def __init__(self, new_guest: NewGuest, clock: Clock) -> None:
        """Start with no guess made."""
        self._new_guest = new_guest
        self._clock = clock
        self._tries = 0

    def moves_on(self) -> Visitor:
        """Take another network."""
        self._tries += 1
        return self._new_guest("198.{}.{}.7".format(
            self._tries // 250, self._tries % 250))

    def guesses(self, email: str = EMAIL) -> TestResponse:
        """Try a wrong password."""
        return self.moves_on().logs_in(email, WRONG)

    def besieges(self, tries: int, email: str = EMAIL) -> Dict[int, int]:
        """Try on and on, after the longest wait; count the statuses."""
        answers: Counter[int] = Counter()
        for _ in range(tries):
            self._clock.advance(LONGEST_WAIT)
            answers[self.guesses(email).status_code] += 1
        return dict(answers)


@pytest.fixture
def siege(member: Visitor, attacker: Attacker, db: DB,
          safe_settings: Settings) -> Attacker:
    """An attacker who has made all the guesses there are at the member.

    The first and the last of them; those between are made up.
    """
    lane = Throttle(db, safe_settings).account(EMAIL)
    attacker.guesses()
    db.change(Attempt, {"key": lane.key}, failures=99)
    assert attacker.guesses().status_code == 401
    assert wait_of(attacker.guesses()) == (429, str(30 * DAY))
    return attacker


@pytest.fixture
def thief(member: Visitor, new_guest: NewGuest) -> Callable[..., TestResponse]:
    """Somebody elsewhere who asks with a stolen session of the member."""
    cookie = cookies_of(member.logs_in(EMAIL, STRONG))["__Host-session_id"]
    stolen = {"Authorization": "Bearer " + cookie.partition(";")[0]}
    return partial(asks_with, new_guest(ELSEWHERE), stolen)


def asks_with(visitor: Visitor, headers: Dict[str, str], method: str,
              path: str, **data: str) -> TestResponse:
    """Send a form with these headers."""
    return visitor.asks(method, path, headers, **data)


def wait_of(answer: TestResponse) -> Tuple[int, Optional[str]]:
    """Return the status and how long the client is told to wait."""
    return answer.status_code, answer.headers.get("Retry-After")


def looks(answer: TestResponse) -> Tuple[Any, ...]:
    """Return all that could tell one answer from another."""
    return (answer.status_code, answer.get_json(),
            sorted(answer.headers.keys()), answer.headers.get("Retry-After"),
            answer.headers["Content-Length"])


def spray(visitor: Visitor, tries: int) -> List[int]:
    """Try a password at one address after the other; return the statuses."""
    return [visitor.logs_in("user{}@me.com".format(number), WRONG).status_code
            for number in range(tries)]


def guess_on(visitor: Visitor, tries: int) -> List[int]:
    """Try wrong passwords at one address; return the statuses."""
    return [visitor.logs_in(EMAIL, WRONG).status_code for _ in range(tries)]


def fill_network(visitor: Visitor) -> None:
    """Use up what a network of TestNetwork has."""
    assert spray(visitor, LIMIT) == [401] * LIMIT


class TestAccount:
    """Guessing at one account, from wherever."""

    def test_five_are_free_then_waits_double(
            self, member: Visitor, attacker: Attacker, clock: Clock) -> None:
        """To the second, and the answer says how long, in whole seconds."""
        assert [wait_of(attacker.guesses()) for _ in range(5)] == [
            (401, None)] * 5
        for wait in (1, 2, 4, 8):
            for left in range(wait, 0, -1):
                assert wait_of(attacker.guesses()) == (429, str(left))
                clock.advance(1)
            assert attacker.guesses().status_code == 401

    def test_seconds_are_whole_between_the_seconds(
            self, member: Visitor, attacker: Attacker, clock: Clock) -> None:
        """A fraction in Retry-After is no HTTP (RFC 9110, 10.2.3)."""
        clock.advance(0.75)
        attacker.besieges(7)
        clock.advance(0.5)
        assert wait_of(attacker.guesses()) == (429, "3")

    def test_right_password_waits_like_a_wrong_one(
            self, member: Visitor, attacker: Attacker, hashes: List[str]
            ) -> None:
        """Otherwise waiting would be no limit to guesses."""
        for _ in range(5):
            attacker.guesses()
        hashes.clear()
        answer = attacker.moves_on().logs_in(EMAIL, STRONG)
        assert_error(answer, 429, TOO_MANY)
        assert answer.headers["Retry-After"] == "1"
        assert "Set-Cookie" not in answer.headers
        assert hashes == []

    def test_right_password_ends_the_row(
            self, member: Visitor, attacker: Attacker, clock: Clock) -> None:
        """Yesterday's typing errors cost nothing today."""
        for _ in range(5):
            attacker.guesses()
        clock.advance(1)
        assert attacker.moves_on().logs_in(EMAIL, STRONG).status_code == 200
        assert [attacker.guesses().status_code for _ in range(6)] == \
            [401] * 5 + [429]

    def test_right_password_of_an_unverified_account_is_a_failure(
            self, guest: Visitor, attacker: Attacker, hashes: List[str]
            ) -> None:
        """Or its hashes would be without a limit, for whoever opened it."""
        guest.registers(EMAIL, STRONG)
        hashes.clear()
        answers = [attacker.moves_on().logs_in(EMAIL, STRONG).status_code
                   for _ in range(8)]
        assert answers == [401] * 5 + [429] * 3
        assert len(hashes) == 5

    @pytest.mark.parametrize("spellings", [
        ["bob@me.com", "Bob@ME.com", "BOB@ME.COM", "bOB@me.Com",
         "bob@me.COM"],
        ["eve@b\u00fccher.example", "eve@xn--bcher-kva.example",
         "EVE@B\u00dcCHER.example", "eve@bu\u0308cher.example",
         "Eve@XN--BCHER-KVA.example"]], ids=["case", "domain"])
    def test_spellings_of_one_address_share_one_count(
            self, attacker: Attacker, spellings: List[str]) -> None:
        """Five times five guesses would be 25 (allauth 0.51.0)."""
        for email in spellings:
            assert attacker.guesses(email).status_code == 401
        for email in spellings:
            assert attacker.guesses(email).status_code == 429

    def test_known_and_unknown_address_look_the_same(
            self, member: Visitor, attacker: Attacker, clock: Clock) -> None:
        """A wait that only accounts have would list them (Supabase #2398)."""
        seen = set()
        for _ in range(16):
            known, unknown = map(looks, map(
                attacker.guesses, (EMAIL, NOBODY)))
            assert known == unknown
            seen.add(known[0])
            clock.advance(1)
        assert seen == {401, 429}

    def test_eight_tries_at_once_look_the_same(
            self, member: Visitor, attacker: Attacker) -> None:
        """The row of answers too, without a moment between them."""
        rows = [[looks(attacker.guesses(email)) for _ in range(8)]
                for email in (EMAIL, NOBODY)]
        assert rows[0] == rows[1]
        assert [each[0] for each in rows[0]] == [401] * 5 + [429] * 3

    def test_address_that_cannot_be(self, safe: Auth) -> None:
        """Refused like any other by whoever calls from Python."""
        with pytest.raises(BadCredentials):
            safe.log_in("\ud800@me.com", STRONG)

    def test_counts_name_nobody(
            self, member: Visitor, attacker: Attacker, new_guest: NewGuest,
            safe: Auth, db: DB) -> None:
        """A copy of the table says neither who nor from where."""
        attacker.guesses()
        new_guest().asks("POST", "/reset_password", email=EMAIL)
        safe.deliver_mail()
        keys = [row.key for row in db.find_all(Attempt)]
        assert len(keys) >= 4
        for said in ("bob", "me.com", OFFICE, "198.", "login", "mail"):
            assert not any(said in key for key in keys)


class TestKnownDevice:
    """The owner, where they signed in before."""

    def test_owner_gets_in_after_500_failures(
            self, member: Visitor, siege: Attacker) -> None:
        """On the first try (a lockout would be a weapon)."""
        assert siege.besieges(400) == {429: 400}
        assert member.logs_in(EMAIL, STRONG).status_code == 200

    def test_owners_errors_count_apart(
            self, member: Visitor, new_guest: NewGuest, hashes: List[str]
            ) -> None:
        """They have a limit too, and it shuts nothing else."""
        assert guess_on(member, 8) == [401] * 5 + [429] * 3
        assert len(hashes) == 5
        assert new_guest().logs_in(EMAIL, STRONG).status_code == 200

    def test_success_there_starts_afresh(
            self, member: Visitor, clock: Clock) -> None:
        """The next errors are free again."""
        for _ in range(3):
            assert guess_on(member, 5) == [401] * 5
            clock.advance(1)
            assert member.logs_in(EMAIL, STRONG).status_code == 200

    def test_is_a_stranger_to_other_accounts(
            self, member: Visitor, attacker: Attacker) -> None:
        """One account of one's own is no way around the limits."""
        for _ in range(5):
            attacker.guesses(NOBODY)
        assert member.logs_in(NOBODY, WRONG).status_code == 429

    def test_signing_out_keeps_it(
            self, member: Visitor, attacker: Attacker) -> None:
        """Whoever signs out every evening gets in every morning."""
        member.logs_in(EMAIL, STRONG)
        member.logs_out()
        attacker.besieges(10)
        attacker.guesses()
        assert member.logs_in(EMAIL, STRONG).status_code == 200

    def test_copy_of_an_older_token_is_a_stranger(
            self, member: Visitor, safe: Auth, attacker: Attacker) -> None:
        """Each sign-in makes the last cookie worthless (OWASP)."""
        cookie = cookies_of(member.logs_in(EMAIL, STRONG))["__Host-device"]
        stolen = {"Cookie": "__Host-device=" + cookie.partition(";")[0]}
        copy = partial(asks_with, Visitor(create_app(safe).test_client(
            use_cookies=False), ORIGIN, ELSEWHERE), stolen,
            "POST", "/sessions", email=EMAIL, password=WRONG)
        for _ in range(6):
            attacker.guesses()
        assert copy().status_code == 401
        member.logs_in(EMAIL, STRONG)
        assert copy().status_code == 429


class TestReset:
    """The owner on any other device: a mail helps, always."""

    def test_owner_resets_and_signs_in_under_attack(
            self, siege: Attacker, new_guest: NewGuest, safe: Auth,
            mailbox: Mailbox) -> None:
        """Step by step between guesses (Keycloak GHSA-cq42-vhv7-xr7p)."""
        owner = new_guest(ELSEWHERE)
        assert owner.logs_in(EMAIL, STRONG).status_code == 429
        assert owner.asks("POST", "/reset_password",
                          email=EMAIL).status_code == 200
        siege.guesses()
        safe.deliver_mail()
        siege.guesses()
        answer = owner.resets_password(mailbox.token(EMAIL), STRONGER)
        assert answer.status_code == 200
        guesses = [siege.guesses().status_code for _ in range(10)]
        assert guesses == [401] * 5 + [429] * 5
        assert owner.logs_in(EMAIL, STRONGER).status_code == 200

    def test_only_a_reset_helps_after_a_hundred(
            self, member: Visitor, attacker: Attacker, new_guest: NewGuest,
            safe: Auth, mailbox: Mailbox, clock: Clock) -> None:
        """Patience does not (NIST SP 800-63B-4, 3.2.2)."""
        assert attacker.besieges(100) == {401: 100}
        clock.advance(29 * DAY)
        answer = attacker.moves_on().logs_in(EMAIL, STRONG)
        assert wait_of(answer) == (429, str(DAY))
        new_guest().asks("POST", "/reset_password", email=EMAIL)
        safe.deliver_mail()
        new_guest().resets_password(mailbox.token(EMAIL), STRONGER)
        assert attacker.moves_on().logs_in(EMAIL, STRONGER).status_code == 200

    def test_reset_asked_for_by_the_attacker_helps_nobody_else(
            self, member: Visitor, attacker: Attacker, safe: Auth,
            new_guest: NewGuest) -> None:
        """The mail opens the lane, not the wish for it."""
        attacker.besieges(10)
        attacker.moves_on().asks("POST", "/reset_password", email=EMAIL)
        safe.deliver_mail()
        attacker.moves_on().resets_password(
            STRANGE_TOKEN, STRONGER)
        assert attacker.guesses().status_code == 429

    def test_leaving_while_asking_for_the_address_helps_nobody(
            self, siege: Attacker, safe: Auth, new_guest: NewGuest,
            mailbox: Mailbox) -> None:
        """What is counted of an address goes with its owner alone."""
        eve = new_guest(ELSEWHERE)
        eve.registers("eve@me.com", STRONG)
        safe.deliver_mail()
        eve.asks("PUT", "/verify_email", token=mailbox.token("eve@me.com"))
        eve.logs_in("eve@me.com", STRONG)
        assert eve.asks("PUT", "/email", password=STRONG,
                        email=EMAIL).status_code == 200
        assert eve.asks("DELETE", "/profile",
                        password=STRONG).status_code == 204
        assert siege.guesses().status_code == 429

    def test_reset_ends_the_waits_of_a_thief_too(
            self, thief: Callable[..., TestResponse], member: Visitor,
            safe: Auth, mailbox: Mailbox) -> None:
        """After a hundred of his guesses they would be 30 days."""
        for _ in range(6):
            thief("DELETE", "/profile", password=WRONG)
        member.asks("POST", "/reset_password", email=EMAIL)
        safe.deliver_mail()
        member.resets_password(mailbox.token(EMAIL), STRONGER)
        member.logs_in(EMAIL, STRONGER)
        answer = member.asks("PUT", "/password", current_password=STRONGER,
                             new_password=STRONG)
        assert answer.status_code == 200


class TestNetworkLimit:
    """How much of it one network may do, where nobody decided otherwise."""

    def test_thirty_failures_in_five_minutes(
            self, member: Visitor, new_guest: NewGuest, clock: Clock) -> None:
        """Then none at any address, known or not, till the time is over."""
        assert spray(new_guest(ELSEWHERE), 31) == [401] * 30 + [429]
        clock.advance(299)
        for email, password in ((EMAIL, STRONG), (NOBODY, WRONG)):
            answer = new_guest(ELSEWHERE).logs_in(email, password)
            assert_error(answer, 429, TOO_MANY)
            assert answer.headers["Retry-After"] == "1"
        clock.advance(1)
        assert new_guest(ELSEWHERE).logs_in(EMAIL, STRONG).status_code == 200


class TestNetwork:
    """One network that tries many accounts, of six allowed."""

    @pytest.fixture
    def safe_settings(self, safe_settings: Settings) -> Settings:
        """The production mode with a limit that is soon reached."""
        return dataclasses.replace(
            safe_settings, login_network_limit=Rate(LIMIT, 300))

    def test_owner_gets_in_from_it_on_a_known_device(
            self, member: Visitor, new_guest: NewGuest) -> None:
        """A bot in the office does not send everybody home."""
        fill_network(new_guest(OFFICE))
        assert new_guest(OFFICE).logs_in(EMAIL, STRONG).status_code == 429
        assert member.logs_in(EMAIL, STRONG).status_code == 200

    def test_other_networks_go_on(
            self, member: Visitor, new_guest: NewGuest) -> None:
        """One sprayer is no outage."""
        fill_network(new_guest(ELSEWHERE))
        assert new_guest(OFFICE).logs_in(EMAIL, STRONG).status_code == 200

    def test_success_gives_its_try_back(
            self, member: Visitor, new_guest: NewGuest) -> None:
        """An office of any size signs in each morning."""
        spray(new_guest(ELSEWHERE), LIMIT - 1)
        for _ in range(5):
            assert new_guest(ELSEWHERE).logs_in(
                EMAIL, STRONG).status_code == 200
        assert [new_guest(ELSEWHERE).logs_in(NOBODY, WRONG).status_code
                for _ in range(2)] == [401, 429]

    def test_refusals_of_one_account_do_not_count(
            self, member: Visitor, new_guest: NewGuest) -> None:
        """Somebody's stuck mail client does not shut the office."""
        stuck = new_guest(OFFICE)
        for _ in range(4 * LIMIT):
            stuck.logs_in(NOBODY, WRONG)
        assert new_guest(OFFICE).logs_in(EMAIL, STRONG).status_code == 200

    def test_errors_on_known_devices_do_not_count(
            self, member: Visitor, new_guest: NewGuest, clock: Clock) -> None:
        """One person's bad morning is nobody else's."""
        for _ in range(2 * LIMIT):
            member.logs_in(EMAIL, WRONG)
            clock.advance(1)
        assert new_guest(OFFICE).logs_in(NOBODY, WRONG).status_code == 401

    def test_invented_headers_change_nothing(
            self, new_guest: NewGuest) -> None:
        """Nobody vouched for them (allauth 65.14.2)."""
        sprayer = new_guest(ELSEWHERE)
        fill_network(sprayer)
        for header in ("X-Forwarded-For", "X-Real-IP", "X-Client-IP",
                       "Forwarded", "True-Client-IP"):
            for said in ("198.51.100.1", "198.51.100.2", "127.0.0.1"):
                answer = sprayer.asks("POST", "/sessions", {header: said},
                                      email=NOBODY, password=WRONG)
                assert answer.status_code == 429

    @pytest.mark.parametrize("peer, forwarded, network", [
        ("2001:db8:1:2:{:x}::7", "", "2001:db8:1:2::/64"),
        (ELSEWHERE, "198.51.100.{}", ELSEWHERE)],
        ids=["addresses-of-a-line", "invented-headers"])
    def test_many_faces_are_one_party(
            self, new_guest: NewGuest, hashes: List[str], db: DB,
            safe_settings: Settings, peer: str, forwarded: str,
            network: str) -> None:
        """One count, of which the refusals cost no hash and leave no row."""
        browser = new_guest().browser
        answers: Counter[int] = Counter()
        for number in range(200):
            visitor = Visitor(browser, ORIGIN, peer.format(number))
            answers[visitor.asks(
                "POST", "/sessions",
                {"X-Forwarded-For": forwarded.format(number)},
                email="u{}@me.com".format(number), password=WRONG
            ).status_code] += 1
        assert answers == {401: LIMIT, 429: 200 - LIMIT}
        assert len(hashes) == LIMIT
        lane, = Throttle(db, safe_settings).network("login", network)
        counts = {row.key: row.failures for row in db.find_all(Attempt)}
        assert counts.pop(lane.key) == LIMIT
        assert list(counts.values()) == [1] * LIMIT

    def test_addresses_of_one_house_are_one(
            self, new_guest: NewGuest) -> None:
        """An IPv6 line has 2**64 of them (better-auth CVE-2026-45364)."""
        house = "2001:db8:1:2:{:x}::7"
        for number in range(LIMIT):
            fill = new_guest(house.format(number * 11111 + 1))
            assert fill.logs_in("u{}@me.com".format(number),
                                WRONG).status_code == 401
        assert new_guest(house.format(0xffff)).logs_in(
            NOBODY, WRONG).status_code == 429
        assert new_guest("2001:db8:1:3::7").logs_in(
            NOBODY, WRONG).status_code == 401

    def test_ipv4_inside_ipv6_is_ipv4(self, new_guest: NewGuest) -> None:
        """A second way in is not a second count (CVE-2026-45364)."""
        fill_network(new_guest("::ffff:" + ELSEWHERE))
        assert new_guest(ELSEWHERE).logs_in(NOBODY, WRONG).status_code == 429

    def test_callers_without_an_address_are_one_party(
            self, new_guest: NewGuest) -> None:
        """A socket file has none; nobody goes uncounted for it."""
        fill_network(new_guest(""))
        assert new_guest("unix:").logs_in(NOBODY, WRONG).status_code == 429


class TestBehindAProxy:
    """One proxy of ours in front, which says whom it heard from."""

    @pytest.fixture
    def proxied(self, db: DB, safe_settings: Settings, clock: Clock,
                mailbox: Mailbox) -> Callable[..., int]:
        """Try a wrong password with a header; the peer is the proxy."""
        visitor = Visitor(create_app(Auth(db, dataclasses.replace(
            safe_settings, trusted_proxies=1,
            login_network_limit=Rate(LIMIT, 300)), clock,
            mailbox)).test_client(), ORIGIN, "10.0.0.1")

        def tries(forwarded: str, number: int = 0) -> int:
            """Return the status that this client gets."""
            return visitor.asks(
                "POST", "/sessions", {"X-Forwarded-For": forwarded},
                email="user{}@me.com".format(number),
                password=WRONG).status_code
        return tries

    def test_right_most_entry_counts(
            self, proxied: Callable[..., int]) -> None:
        """What stands left of it is the client's own invention."""
        answers = [proxied("203.0.113.{}, {}".format(number, ELSEWHERE),
                           number) for number in range(LIMIT + 1)]
        assert answers == [401] * LIMIT + [429]

    def test_clients_have_counts_of_their_own(
            self, proxied: Callable[..., int]) -> None:
        """The proxy is not one great visitor."""
        for number in range(LIMIT + 1):
            proxied(ELSEWHERE, number)
        assert proxied("{}, {}".format(ELSEWHERE, OFFICE)) == 401

    def test_entry_that_is_no_address_counts_for_the_proxy(
            self, proxied: Callable[..., int]) -> None:
        """What one proxy cannot say shuts nobody out behind another."""
        for number in range(LIMIT):
            proxied("unknown", number)
        assert [proxied(said) for said in ("10.0.0.1", "10.0.0.2")] == [
            429, 401]

    @pytest.mark.parametrize("entry", [
        ELSEWHERE + ":{}", "unknown", "_hidden{}"])
    def test_entry_that_is_no_address_does_not_end_the_count(
            self, proxied: Callable[..., int], entry: str) -> None:
        """Some proxies write a port as well; nobody goes uncounted."""
        answers = [proxied(entry.format(40000 + number), number)
                   for number in range(LIMIT + 1)]
        assert answers == [401] * LIMIT + [429]


class TestClientAddress:
    """Which address is the client's, of all that are named."""

    @pytest.mark.parametrize("forwarded, hops, address", [
        ("", 0, "peer"), ("a", 0, "peer"), ("a, b", 0, "peer"),
        ("", 1, "peer"), ("a", 1, "a"), ("a, b", 1, "b"), ("a,b,c", 1, "c"),
        ("a, b", 2, "a"), ("x, a, b", 2, "a"), ("b", 2, "peer"),
        (" , ,a ,", 1, "a"), (",,", 1, "peer")])
    def test_is_named_by_our_farthest_proxy(
            self, forwarded: str, hops: int, address: str) -> None:
        """Or is the peer's, if too few of them spoke."""
        assert client_address("peer", forwarded, hops) == address


class TestNetworkOf:
    """Which addresses are one party."""

    @pytest.mark.parametrize("address, network", [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("::FFFF:cb00:7107", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:0DB8:0001:0002::", "2001:db8:1:2::/64"),
        ("::1", "::/64"), ("", ""), ("unknown", ""), ("203.0.113", ""),
        ("203.0.113.7/24", ""), ("1" * 5000, "")],
        ids=lambda value: value[:20])
    def test_spelling(self, address: str, network: str) -> None:
        """One network has one name, and what is no address none."""
        assert network_of(address) == network

    def test_thousand_addresses_of_one_line(self) -> None:
        """They are one network, and its neighbour is another."""
        line = {network_of("2001:db8:0:1:{:x}:{:x}::".format(
            number, 65535 - number)) for number in range(1000)}
        assert line == {"2001:db8:0:1::/64"}
        assert network_of("2001:db8:0:2::") not in line

    def test_neighbours_on_ipv4_are_apart(self) -> None:
        """Unlike a /64, a /24 is many customers."""
        assert len({network_of("203.0.113.{}".format(last))
                    for last in range(256)}) == 256


class TestManyAtOnce:
    """A limit that a crowd gets past is none (Cacti #6996)."""

    def test_two_hundred_guesses_cost_five_hashes(
            self, member: Visitor, attacker: Attacker, hashes: List[str]
            ) -> None:
        """Counted before anything is computed (Keycloak #31726).

        By 40 workers, as a server has; each has a connection to the store.
        """
        workers: List[Callable[[], List[int]]] = [
            partial(guess_on, attacker.moves_on(), 5) for _ in range(40)]
        answers = Counter(itertools.chain(*all_at_once(workers)))
        assert answers == {401: 5, 429: 195}
        assert len(hashes) == 5


class TestMail:
    """Mails that a stranger may cause."""

    def test_three_an_hour_to_an_address(
            self, member: Visitor, attacker: Attacker, safe: Auth,
            mailbox: Mailbox) -> None:
        """However many ask: no answer tells that the mail was one too many."""
        mailbox.mails.clear()
        answers = []
        for _ in range(6):
            answers.append(looks(attacker.moves_on().asks(
                "POST", "/reset_password", email=EMAIL)))
            safe.deliver_mail()
        assert answers == answers[:1] * 6
        assert answers[0][0] == 200
        assert [to for to, _ in mailbox.mails] == [EMAIL] * 3

    def test_spellings_share_the_three(
            self, member: Visitor, attacker: Attacker, safe: Auth,
            mailbox: Mailbox) -> None:
        """All go to the one mailbox that is stored, and it is not flooded."""
        mailbox.mails.clear()
        for email in ("BOB@me.com", "bob@ME.com", "bOb@me.com", "Bob@me.com"):
            attacker.moves_on().asks("POST", "/reset_password", email=email)
        safe.deliver_mail()
        assert [to for to, _ in mailbox.mails] == [EMAIL] * 3

    def test_fourth_is_mailed_after_an_hour(
            self, member: Visitor, attacker: Attacker, safe: Auth,
            mailbox: Mailbox, clock: Clock) -> None:
        """To the second; the ones that were withheld stay away."""
        mailbox.mails.clear()
        arrived = []
        for pause in (0, 0, 0, HOUR - 1, 1):
            clock.advance(pause)
            attacker.moves_on().asks("POST", "/reset_password", email=EMAIL)
            safe.deliver_mail()
            arrived.append(len(mailbox.mails))
        assert arrived == [1, 2, 3, 3, 4]

    def test_newest_mail_works_while_others_ask(
            self, member: Visitor, attacker: Attacker, safe: Auth,
            mailbox: Mailbox) -> None:
        """A flood of requests takes the owner's link from nobody."""
        for _ in range(8):
            attacker.moves_on().asks("POST", "/reset_password", email=EMAIL)
            safe.deliver_mail()
        answer = member.resets_password(mailbox.token(EMAIL), STRONGER)
        assert answer.status_code == 200

    def test_twenty_an_hour_from_a_network(
            self, member: Visitor, new_guest: NewGuest, clock: Clock) -> None:
        """For whatever address, reset and verification together."""
        asks = partial(new_guest(ELSEWHERE).asks, "POST")
        kinds = [(path, email) for path in ("/reset_password",
                                            "/verify_email")
                 for email in (EMAIL, NOBODY)]
        assert [asks(path, email=email).status_code
                for path, email in kinds * 5] == [200] * 20
        for path, email in kinds:
            answer = asks(path, email=email)
            assert_error(answer, 429, TOO_MANY)
            assert answer.headers["Retry-After"] == str(HOUR)
        clock.advance(HOUR)
        assert asks("/reset_password", email=EMAIL).status_code == 200

    def test_sign_in_goes_on_when_mails_are_used_up(
            self, member: Visitor, new_guest: NewGuest) -> None:
        """Each thing that a network does is counted apart."""
        for _ in range(21):
            new_guest(ELSEWHERE).asks("POST", "/reset_password", email=NOBODY)
        assert new_guest(ELSEWHERE).logs_in(EMAIL, STRONG).status_code == 200


class TestRegister:
    """Accounts that one network opens."""

    def test_twenty_an_hour_from_a_network(
            self, member: Visitor, new_guest: NewGuest, clock: Clock,
            hashes: List[str]) -> None:
        """New or taken; then none, before anything is hashed."""
        builder = new_guest(ELSEWHERE)
        names = [EMAIL, "new{}@me.com"] * 10
        answers = [builder.registers(name.format(number), STRONG)
                   for number, name in enumerate(names)]
        assert {each.status_code for each in answers} == {200}
        refused = builder.registers(NOBODY, STRONG)
        assert_error(refused, 429, TOO_MANY)
        assert refused.headers["Retry-After"] == str(HOUR)
        assert len(hashes) == 20
        assert new_guest("192.0.2.2").registers(
            NOBODY, STRONG).status_code == 200
        clock.advance(HOUR)
        assert builder.registers(NOBODY, STRONG).status_code == 200

    def test_typing_errors_do_not_count(self, new_guest: NewGuest) -> None:
        """What opens nothing and hashes nothing is free."""
        builder = new_guest(ELSEWHERE)
        for _ in range(25):
            assert builder.registers(NOBODY, "short").status_code == 400
        assert builder.registers(NOBODY, STRONG).status_code == 200


class TestConfirm:
    """A stolen session: the password is asked for once more."""

    @pytest.mark.parametrize("method, path, field, others", DANGEROUS)
    def test_few_guesses_and_the_owner_goes_on(
            self, thief: Callable[..., TestResponse], member: Visitor,
            hashes: List[str], method: str, path: str, field: str,
            others: Dict[str, str]) -> None:
        """An open screen is no place to guess a password (ASVS 7.5.1)."""
        guess = partial(thief, method, path, **dict(others, **{field: WRONG}))
        answers = [guess() for _ in range(8)]
        assert [wait_of(each) for each in answers] == \
            [(403, None)] * 5 + [(429, "1")] * 3
        assert len(hashes) == 5
        right = thief(method, path, **dict(others, **{field: STRONG}))
        assert_error(right, 429, TOO_MANY)
        assert len(hashes) == 5
        assert member.logs_in(EMAIL, STRONG).status_code == 200

    def test_one_count_for_all_of_them(
            self, thief: Callable[..., TestResponse]) -> None:
        """Three doors of one room, not three times five guesses."""
        answers = [thief(method, path, **dict(others, **{field: WRONG}))
                   for method, path, field, others in DANGEROUS * 2]
        assert [each.status_code for each in answers] == [403] * 5 + [429]

    def test_is_one_count_from_every_network_and_device(
            self, thief: Callable[..., TestResponse], member: Visitor
            ) -> None:
        """It is the user's: a session moves freely."""
        for _ in range(5):
            thief("DELETE", "/profile", password=WRONG)
        answer = member.asks("DELETE", "/profile", password=STRONG)
        assert answer.status_code == 429

    def test_right_password_ends_the_row(
            self, thief: Callable[..., TestResponse], clock: Clock) -> None:
        """The owner's own errors of before are forgiven."""
        change = partial(thief, "PUT", "/email", email="bob@new.example")
        for _ in range(2):
            assert [change(password=WRONG).status_code for _ in range(4)] == \
                [403] * 4
            assert change(password=STRONG).status_code == 200

    def test_deleted_account_leaves_no_count(
            self, thief: Callable[..., TestResponse], member: Visitor,
            attacker: Attacker, db: DB, safe_settings: Settings) -> None:
        """Nothing of a person stays; networks are nobody's."""
        thief("DELETE", "/profile", password=WRONG)
        member.logs_in(EMAIL, WRONG)
        attacker.guesses()
        before = {row.key for row in db.find_all(Attempt)}
        assert thief("DELETE", "/profile",
                     password=STRONG).status_code == 204
        counts = Throttle(db, safe_settings)
        networks = {lane.key for lane in counts.network("register", OFFICE)
                    + counts.network("login", "198.0.1.7")}
        assert len(before) == 6
        assert {row.key for row in db.find_all(Attempt)} == networks


class TestRarely:
    """What leaves a row or a mail, for whoever is signed in."""

    @pytest.mark.parametrize("method, path, data", [
        ("GET", "/profile/export", {}),
        ("PUT", "/password", {"current_password": STRONG,
                              "new_password": STRONG})])
    def test_ten_an_hour(
            self, member: Visitor, new_guest: NewGuest, clock: Clock,
            hashes: List[str], db: DB, method: str, path: str,
            data: Dict[str, str]) -> None:
        """A script without end fills neither disk nor mailbox.

        It is the user's count, from wherever; the rest goes on.
        """
        member.logs_in(EMAIL, STRONG)
        ask = partial(member.asks, method, path, None, **data)
        assert [ask().status_code for _ in range(10)] == [200] * 10
        hashes.clear()
        member.logs_in(EMAIL, STRONG)
        facts = len(db.find_all(Entry))
        answer = ask()
        assert_error(answer, 429, TOO_MANY)
        assert answer.headers["Retry-After"] == str(HOUR)
        # The sign-in and, of a dangerous one, the check of who asks.
        assert len(hashes) == 1 + len(data) // 2
        assert len(db.find_all(Entry)) == facts
        assert member.sees_profile().status_code == 200
        clock.advance(HOUR)
        assert ask().status_code == 200

    def test_are_counted_apart(self, member: Visitor) -> None:
        """Who exports a lot may still change the password."""
        member.logs_in(EMAIL, STRONG)
        for _ in range(11):
            member.asks("GET", "/profile/export")
        answer = member.asks("PUT", "/password", current_password=STRONG,
                             new_password=STRONGER)
        assert answer.status_code == 200

    def test_development_counts_neither(self, visitor: Visitor) -> None:
        """As nothing else."""
        visitor.registers()
        visitor.logs_in()
        assert [visitor.asks("GET", "/profile/export").status_code
                for _ in range(12)] == [200] * 12


class TestUnreachableCounts:
    """The store fails just where attempts are counted."""

    @pytest.fixture
    def fails(self, monkeypatch: pytest.MonkeyPatch
              ) -> Callable[[str], None]:
        """A switch after which one verb of the store fails for counts."""
        def switch(name: str) -> None:
            """Make this verb fail."""
            work = getattr(DB, name)

            def fail(db: DB, table: Any, *args: Any, **values: Any) -> Any:
                """Fail for attempts, and work for everything else."""
                if table is Attempt or isinstance(table, Attempt):
                    raise Unavailable()
                return work(db, table, *args, **values)
            monkeypatch.setattr(DB, name, fail)
        return switch

    @pytest.mark.parametrize("method, path, data", [
        ("POST", "/sessions", {"email": EMAIL, "password": STRONG}),
        ("POST", "/sessions", {"email": NOBODY, "password": STRONG}),
        ("POST", "/users", {"email": NOBODY, "password": STRONG}),
        ("POST", "/reset_password", {"email": EMAIL}),
        ("POST", "/verify_email", {"email": EMAIL})] + [
        (method, path, dict(others, **{field: STRONG}))
        for method, path, field, others in DANGEROUS])
    def test_nobody_is_let_through_uncounted(
            self, thief: Callable[..., TestResponse], hashes: List[str],
            fails: Callable[[str], None], method: str, path: str,
            data: Dict[str, str]) -> None:
        """Refused for the moment, and nothing is hashed."""
        fails("find")
        answer = thief(method, path, **data)
        assert wait_of(answer) == (503, "1")
        assert hashes == []

    def test_count_that_cannot_be_written_is_none(
            self, member: Visitor, attacker: Attacker, hashes: List[str],
            fails: Callable[[str], None]) -> None:
        """A full disk must not open the door either."""
        fails("add_missing")
        fails("change")
        answers = [attacker.guesses(), member.logs_in(EMAIL, STRONG)]
        assert [each.status_code for each in answers] == [503, 503]
        assert hashes == []


class TestFromPython:
    """The same limits for whoever calls the service's own verbs."""

    def test_throttled_says_how_long(self, safe: Auth) -> None:
        """The error carries what its reader needs."""
        caller = safe.acting_for(Caller(network=ELSEWHERE))
        found: List[AuthError] = []
        for _ in range(6):
            with pytest.raises(AuthError) as refusal:
                caller.log_in(EMAIL, WRONG)
            found.append(refusal.value)
        assert [type(each) for each in found] == \
            [BadCredentials] * 5 + [Throttled]
        assert found[-1].retry_after == 1


class TestDevelopment:
    """The card's contract, which knows no 429."""

    def test_is_not_throttled(self, visitor: Visitor, db: DB) -> None:
        """Fifty errors, and the right password at once."""
        visitor.registers()
        answers = [visitor.logs_in(EMAIL, WRONG).status_code
                   for _ in range(50)]
        assert answers == [401] * 50
        assert visitor.logs_in(EMAIL, PASSWORD).status_code == 200
        assert db.find_all(Attempt) == []

#!/usr/bin/env python3
"""Throttling by itself: the rules, the counts, and clocks that jump."""
from __future__ import annotations

import dataclasses
import hashlib
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Callable, Iterator, List, Optional, Type

import pytest
from hypothesis import given
from hypothesis import strategies as some

import throttle
from db import DB
from errors import Throttled, Unavailable
from models import RESET, VERIFY, Attempt
from settings import DAY, HOUR, Rate, Settings
from tests.helpers import all_at_once
from throttle import (
    FORGOTTEN_AFTER, SKEW, Backoff, Lane, NoThrottle, Throttle, Window)

# As many as the two stores of a test have connections.
NOW, CROWD = 1795000000, 100
LONGEST, YEARS = 900, 3650 * DAY
BACKOFF = Backoff(free=5, longest=LONGEST, most=100)
WINDOW = Window(limit=5, seconds=300)
GUESSES = Lane("login:account", "bob@me.com", BACKOFF)
NETWORK = Lane("login:network", "203.0.113.7", WINDOW)
both_rules = pytest.mark.parametrize("lane", [GUESSES, NETWORK],
                                     ids=["backoff", "window"])
moments = some.integers(0, 2 ** 40)
# What a clock does: mostly a little, at times a jump to another year.
jumps = some.lists(some.one_of(
    some.integers(0, 1000), some.integers(-HOUR, HOUR),
    some.integers(-YEARS, YEARS)), max_size=60)


@pytest.fixture
def counts(db: DB, safe_settings: Settings) -> Throttle:
    """The counts of production, with nothing in them."""
    return Throttle(db, safe_settings)


def refused_for(counts: Throttle, lane: Lane, now: int) -> int:
    """Try once and return for how long that is refused, 0 if it is not."""
    try:
        counts.admit([lane], now)
        return 0
    except Throttled as refusal:
        return refusal.retry_after


def gets_through(counts: Throttle, *lanes: Lane) -> bool:
    """Try, and come back if the database is too busy to say (503)."""
    for _ in range(CROWD):
        with suppress(Unavailable):
            with suppress(Throttled):
                counts.admit(list(lanes), NOW)
                return True
            return False
    raise Unavailable()


def fill(counts: Throttle, lane: Lane, now: int = NOW) -> None:
    """Use up the five tries that both rules allow at once."""
    for _ in range(5):
        counts.admit([lane], now)


def failures_of(db: DB, lane: Lane) -> Optional[int]:
    """Return what a lane has counted, None if it has no row."""
    row = db.find(Attempt, key=lane.key)
    return row and row.failures


def nothing_yet(now: int) -> Attempt:
    """Return the row of a lane in which nobody has tried anything."""
    return Attempt(failures=0, first_at=now, blocked_until=0, expires_at=now)


class Interrupted(DB):
    """A store in which somebody else is quick after each read."""

    def __init__(self, url: str, meanwhile: Callable[[Any], Any]) -> None:
        """Call `meanwhile` with the key of each count that was read."""
        super().__init__(url)
        self.meanwhile = meanwhile

    def find(self, table: Type[Any], **match: Any) -> Any:
        """Read, and let the other one have a turn."""
        row = super().find(table, **match)
        self.meanwhile(match.get("key"))
        return row


class Untouchable(DB):
    """A store that must not be asked anything."""

    def __init__(self) -> None:
        """Have nothing to ask."""

    def __getattribute__(self, name: str) -> Any:
        """Fail whoever uses it."""
        raise AssertionError("the database was asked: " + name)


class TestBackoff:
    """Failures in a row, and the waits that they cost."""

    def test_waits_double_from_one_second_to_the_longest(self) -> None:
        """Typing errors are free; a machine soon guesses 4 times an hour."""
        assert [BACKOFF.wait(failures) for failures in range(18)] == [
            0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512,
            LONGEST, LONGEST, LONGEST]

    def test_nothing_helps_after_so_many(self) -> None:
        """No more than 100 in a row (NIST SP 800-63B-4, 3.2.2)."""
        assert [BACKOFF.wait(failures) for failures in (99, 100, 101)] == [
            LONGEST, FORGOTTEN_AFTER, FORGOTTEN_AFTER]

    @pytest.mark.parametrize("failures", [
        63, 64, 1000, 2 ** 31, 2 ** 63, sys.maxsize ** 4])
    def test_huge_count_never_shortens_the_wait(self, failures: int) -> None:
        """A wait that overflows would be none (Keycloak #30939)."""
        assert BACKOFF.wait(failures) in (LONGEST, FORGOTTEN_AFTER)

    def test_refuses_to_the_second(self, counts: Throttle) -> None:
        """Refused in the last second of a wait, admitted after it."""
        fill(counts, GUESSES)
        counts.admit([GUESSES], NOW + 1)  # from now on 2 s
        assert [refused_for(counts, GUESSES, NOW + 1 + later)
                for later in (0, 1, 2)] == [2, 1, 0]

    def test_refusal_does_not_lengthen_the_wait(
            self, counts: Throttle) -> None:
        """Or whoever knocks on would keep the lane shut for good."""
        fill(counts, GUESSES)
        refusals = [refused_for(counts, GUESSES, NOW) for _ in range(20)]
        assert refusals == [1] * 20
        assert refused_for(counts, GUESSES, NOW + 1) == 0

    def test_remembers_the_first_failure(self) -> None:
        """Until the row is forgotten."""
        counted = Attempt(**BACKOFF.after(nothing_yet(NOW), NOW))
        assert BACKOFF.after(counted, NOW + 1)["first_at"] == NOW
        late = NOW + FORGOTTEN_AFTER
        assert BACKOFF.after(counted, late)["first_at"] == late

    def test_patience_gets_a_hundred_tries(self) -> None:
        """And then none for as long as the lane is remembered."""
        now, counted = NOW, nothing_yet(NOW)
        while BACKOFF.refusal(counted, now) == 0:
            counted = Attempt(**BACKOFF.after(counted, now))
            now += LONGEST
        assert counted.failures == 100
        assert BACKOFF.refusal(counted, now) == FORGOTTEN_AFTER - LONGEST

    @given(moments, moments, some.integers(0, 200))
    def test_refusal_is_one_of_its_own_waits(
            self, now: int, until: int, failures: int) -> None:
        """Whatever is stored and whatever the clock says."""
        counted = Attempt(failures=failures, blocked_until=until)
        refusal, wait = BACKOFF.refusal(counted, now), BACKOFF.wait(failures)
        assert 0 <= refusal <= (wait + SKEW if wait else 0)


class TestWindow:
    """So many tries in a while."""

    def test_takes_its_limit_and_no_more(self, counts: Throttle) -> None:
        """The first refusal says how long the window goes on."""
        assert [refused_for(counts, NETWORK, NOW) for _ in range(7)] == [
            0, 0, 0, 0, 0, 300, 300]

    def test_is_over_to_the_second(self, counts: Throttle) -> None:
        """Counted from the first try, not from the last."""
        counts.admit([NETWORK], NOW)
        for _ in range(4):
            counts.admit([NETWORK], NOW + 200)
        assert refused_for(counts, NETWORK, NOW + 299) == 1
        assert refused_for(counts, NETWORK, NOW + 300) == 0

    def test_last_second_is_of_the_window(self, counts: Throttle) -> None:
        """And no start of the next."""
        for moment in (NOW, NOW, NOW, NOW, NOW + 299):
            counts.admit([NETWORK], moment)
        assert refused_for(counts, NETWORK, NOW + 299) == 1

    def test_next_one_starts_with_the_first_try_in_it(
            self, counts: Throttle) -> None:
        """Not on a grid, where two limits fit into a moment."""
        fill(counts, NETWORK)
        fill(counts, NETWORK, NOW + 1000)
        assert refused_for(counts, NETWORK, NOW + 1299) == 1
        assert refused_for(counts, NETWORK, NOW + 1300) == 0

    def test_refused_tries_do_not_count(
            self, counts: Throttle, db: DB) -> None:
        """A flood writes nothing."""
        for _ in range(20):
            counts.admits(NETWORK, NOW)
        assert failures_of(db, NETWORK) == 5

    @given(moments, moments, some.integers(-5, 200))
    def test_refusal_is_within_the_window(
            self, now: int, first_at: int, failures: int) -> None:
        """Whatever is stored and whatever the clock says."""
        counted = Attempt(failures=failures, first_at=first_at)
        assert 0 <= WINDOW.refusal(counted, now) <= 300 + SKEW


class TestClocks:
    """A clock that jumps must neither shut anybody out nor stop counting."""

    @both_rules
    @given(jumps)
    def test_whoever_waits_as_told_is_admitted(
            self, lane: Lane, jumps: List[int]) -> None:
        """Retry-After is a promise, after any history of jumps."""
        now, counted = NOW, nothing_yet(NOW)
        for jump in jumps:
            now += jump
            wait = lane.rule.refusal(counted, now)
            assert lane.rule.refusal(counted, now + wait) == 0
            if not wait:
                counted = Attempt(**lane.rule.after(counted, now))

    @both_rules
    @pytest.mark.parametrize("jump", [-SKEW - 1, -HOUR, -YEARS])
    def test_set_back(self, counts: Throttle, lane: Lane, jump: int) -> None:
        """Nobody waits for the time that comes twice."""
        fill(counts, lane)
        assert refused_for(counts, lane, NOW) > 0
        assert refused_for(counts, lane, NOW + jump) == 0

    @both_rules
    @pytest.mark.parametrize("behind", [1, 2, SKEW])
    def test_a_clock_that_is_behind_lets_nobody_in(
            self, counts: Throttle, lane: Lane, behind: int) -> None:
        """A replica's, or a try that began in the second before.

        It is no clock that was set back, and nothing is counted anew; who
        waits as told, by that clock, gets in.
        """
        fill(counts, lane)
        wait = {GUESSES: 1, NETWORK: WINDOW.seconds}[lane]
        for _ in range(3):
            assert refused_for(counts, lane, NOW - behind) == wait + behind
        assert refused_for(counts, lane, NOW) == wait

    def test_a_clock_that_is_behind_leaves_free_tries_free(
            self, counts: Throttle) -> None:
        """Nobody waits for a wait that there is not."""
        for _ in range(4):
            counts.admit([GUESSES], NOW)
        assert refused_for(counts, GUESSES, NOW - 1) == 0

    @both_rules
    def test_set_back_goes_on_counting(
            self, counts: Throttle, lane: Lane) -> None:
        """The jump is worth a few tries, not a free ride."""
        fill(counts, lane)
        tries = [refused_for(counts, lane, NOW - HOUR) for _ in range(20)]
        assert tries.count(0) <= 5
        assert 0 < tries[-1] <= 300

    @both_rules
    def test_there_and_back_again(self, counts: Throttle, lane: Lane) -> None:
        """A day in the future leaves no shut lane behind."""
        fill(counts, lane, NOW + YEARS)
        assert refused_for(counts, lane, NOW + YEARS) > 0
        assert refused_for(counts, lane, NOW) == 0

    def test_set_back_does_not_open_what_only_a_reset_opens(
            self, counts: Throttle, db: DB) -> None:
        """One try slips in with the jump; the next waits for 30 days."""
        counts.admit([GUESSES], NOW)
        db.change(Attempt, {"key": GUESSES.key}, failures=100,
                  blocked_until=NOW + FORGOTTEN_AFTER)
        counts.admit([GUESSES], NOW - HOUR)
        assert refused_for(counts, GUESSES, NOW - HOUR) == FORGOTTEN_AFTER


class TestAdmit:
    """Counting in several lanes at once."""

    def test_counts_in_every_lane(self, counts: Throttle, db: DB) -> None:
        """Each has its row and its own count."""
        counts.admit([NETWORK], NOW)
        counts.admit([NETWORK, GUESSES], NOW)
        assert [failures_of(db, each) for each in (NETWORK, GUESSES)] == [
            2, 1]

    @pytest.mark.parametrize("full, free", [
        (NETWORK, GUESSES), (GUESSES, NETWORK)])
    @pytest.mark.parametrize("backwards", [False, True])
    def test_counts_in_none_if_one_is_full(
            self, counts: Throttle, db: DB, full: Lane, free: Lane,
            backwards: bool) -> None:
        """Knocking at a shut account is not a failure of the network."""
        fill(counts, full)
        lanes = [full, free][::-1 if backwards else 1]
        with pytest.raises(Throttled):
            counts.admit(lanes, NOW)
        assert [failures_of(db, each) for each in (full, free)] == [5, None]

    def test_overtaken_in_one_lane_starts_again_in_all(
            self, counts: Throttle, db: DB, settings: Settings) -> None:
        """Nobody else's try is lost and no own one counts twice."""
        rivals = [GUESSES]

        def meanwhile(key: str) -> None:
            """Count a try of somebody else, once."""
            if rivals and key == GUESSES.key:
                counts.admit([rivals.pop()], NOW)
        slow = Throttle(Interrupted(settings.database_url, meanwhile),
                        settings)
        slow.admit([NETWORK, GUESSES], NOW)
        assert [failures_of(db, each) for each in (NETWORK, GUESSES)] == [
            1, 2]

    @both_rules
    def test_overtaken_on_a_count_that_is_over(
            self, counts: Throttle, db: DB, settings: Settings,
            lane: Lane) -> None:
        """Two that start afresh from one old failure are two failures."""
        rivals = [lane]
        later = NOW + FORGOTTEN_AFTER
        counts.admit([lane], NOW)

        def meanwhile(_key: str) -> None:
            """Count a try of somebody else, once."""
            if rivals:
                counts.admit([rivals.pop()], later)
        slow = Throttle(Interrupted(settings.database_url, meanwhile),
                        settings)
        slow.admit([lane], later)
        assert failures_of(db, lane) == 2

    def test_overtaken_without_end(
            self, counts: Throttle, settings: Settings, db: DB,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """Unavailable, and not admitted uncounted."""
        monkeypatch.setattr(throttle, "TRIES", 3)
        generous = Lane("login:account", "bob@me.com", Window(1000, 60))
        slow = Throttle(Interrupted(
            settings.database_url,
            lambda key: counts.admit([generous], NOW)), settings)
        with pytest.raises(Unavailable):
            slow.admit([generous], NOW)
        assert failures_of(db, generous) == 3

    @both_rules
    def test_taken_back_is_as_if_it_had_not_been(
            self, counts: Throttle, db: DB, lane: Lane) -> None:
        """Neither the count nor the wait stays."""
        for _ in range(4):
            counts.admit([lane], NOW)
        counts.take_back(counts.admit([lane], NOW))
        assert failures_of(db, lane) == 4
        counts.admit([lane], NOW)
        with pytest.raises(Throttled):
            counts.admit([lane], NOW)

    def test_taken_back_leaves_the_wait_of_others(
            self, counts: Throttle, db: DB) -> None:
        """One that is sent away sets nobody free who guessed wrongly."""
        for _ in range(4):
            counts.admit([GUESSES], NOW)
        receipt = counts.admit([GUESSES], NOW)
        counts.admit([GUESSES], NOW + 1)
        counts.take_back(receipt)
        assert failures_of(db, GUESSES) == 5
        with pytest.raises(Throttled):
            counts.admit([GUESSES], NOW + 2)

    def test_taken_back_takes_its_own_wait_along(
            self, counts: Throttle) -> None:
        """Whoever had to wait before, and did, waits for nothing more."""
        fill(counts, GUESSES)
        counts.take_back(counts.admit([GUESSES], NOW + 1))
        assert refused_for(counts, GUESSES, NOW + 1) == 0

    @both_rules
    def test_taken_back_is_of_one_lane(
            self, counts: Throttle, db: DB, lane: Lane) -> None:
        """Others have counted as many, and keep theirs."""
        other = Lane(lane.name, "eve@me.com", lane.rule)
        counts.admit([other], NOW)
        counts.take_back(counts.admit([lane], NOW))
        assert [failures_of(db, each) for each in (lane, other)] == [0, 1]

    def test_admits_tells_instead_of_raising(self, counts: Throttle) -> None:
        """And counts all the same."""
        assert [counts.admits(NETWORK, NOW) for _ in range(6)] == \
            [True] * 5 + [False]

    def test_lanes_of_others_stay_open(self, counts: Throttle) -> None:
        """One lane is one thing of one party."""
        fill(counts, GUESSES)
        for lane in (Lane("confirm", GUESSES.who, BACKOFF),
                     Lane(GUESSES.name, "eve@me.com", BACKOFF)):
            assert refused_for(counts, lane, NOW) == 0

    def test_unreachable_store(self, tmp_path: Path,
                               safe_settings: Settings) -> None:
        """Nobody is let through uncounted."""
        lost = Throttle(DB("sqlite:///{}".format(tmp_path / "no" / "x.db")),
                        safe_settings)
        with pytest.raises(Unavailable):
            lost.admit([GUESSES], NOW)
        with pytest.raises(Unavailable):
            lost.admits(NETWORK, NOW)


class TestManyAtOnce:
    """A limit that a crowd gets past is none (Cacti #6996)."""

    @pytest.fixture
    def replicas(self, counts: Throttle, safe_settings: Settings
                 ) -> Iterator[List[Throttle]]:
        """Two services with one file, as two processes have it."""
        other = DB(safe_settings.database_url)
        yield [counts, Throttle(other, safe_settings)]
        other.close()

    @both_rules
    def test_no_more_than_the_limit_get_through(
            self, replicas: List[Throttle], db: DB, lane: Lane) -> None:
        """Of a hundred at once through two replicas, exactly five."""
        admitted = all_at_once([
            partial(gets_through, replicas[place % 2], lane)
            for place in range(CROWD)])
        assert admitted.count(True) == failures_of(db, lane) == 5

    def test_crowd_counts_in_every_lane_or_in_none(
            self, counts: Throttle, db: DB) -> None:
        """Whoever loses the race in one lane has not counted in the other."""
        roomy = Lane("login:network", "203.0.113.7", Window(1000, 300))
        admitted = all_at_once(
            [partial(gets_through, counts, roomy, GUESSES)] * 50)
        assert admitted.count(True) == 5
        assert [failures_of(db, each) for each in (roomy, GUESSES)] == [5, 5]

    def test_replicas_share_what_they_counted(
            self, replicas: List[Throttle]) -> None:
        """A load balancer does not multiply the guesses."""
        one, other = replicas
        for each in (one, other, one, other, one):
            each.admit([GUESSES], NOW)
        assert [refused_for(each, GUESSES, NOW) for each in replicas] == [
            1, 1]


class TestForgive:
    """A try that turned out well."""

    def test_failures_in_a_row_are_over(
            self, counts: Throttle, db: DB) -> None:
        """The row is gone, so five tries are free again."""
        fill(counts, GUESSES)
        counts.forgive([GUESSES])
        assert failures_of(db, GUESSES) is None
        fill(counts, GUESSES)

    def test_window_has_one_try_more(self, counts: Throttle) -> None:
        """One alone: a valid account is no way to guess at others'."""
        counts.admit([NETWORK], NOW)
        counts.forgive([NETWORK])
        fill(counts, NETWORK)
        counts.forgive([NETWORK])
        assert [counts.admits(NETWORK, NOW) for _ in range(2)] == [
            True, False]

    def test_lane_without_a_count(self, counts: Throttle, db: DB) -> None:
        """A proof of a mailbox forgives whether there is something or not."""
        counts.forgive([GUESSES, NETWORK])
        assert db.find_all(Attempt) == []

    def test_given_back_after_its_window_adds_none_to_the_next(
            self, counts: Throttle) -> None:
        """Slow sign-ins that end well are no stock of tries for later."""
        fill(counts, NETWORK)
        counts.admit([NETWORK], NOW + 300)
        for _ in range(6):
            counts.forgive([NETWORK])
        tries = [counts.admits(NETWORK, NOW + 300) for _ in range(10)]
        assert tries.count(True) <= 5


class TestForget:
    """Counts that nobody needs any more."""

    @both_rules
    def test_party_that_is_no_more(
            self, counts: Throttle, db: DB, lane: Lane) -> None:
        """Of its count nothing is left; the others keep theirs."""
        other = Lane(lane.name, "eve@me.com", lane.rule)
        counts.admit([lane], NOW)
        counts.admit([other], NOW)
        counts.forget([lane])
        assert [failures_of(db, each) for each in (lane, other)] == [None, 1]

    @pytest.mark.parametrize("lane, life", [
        (GUESSES, FORGOTTEN_AFTER), (NETWORK, 300)],
        ids=["backoff", "window"])
    def test_old_ones_go_to_the_second(
            self, counts: Throttle, db: DB, lane: Lane, life: int) -> None:
        """And no sooner: a swept count is a fresh start."""
        counts.admit([lane], NOW)
        assert counts.forget_old(NOW + life - 1) == 0
        assert counts.forget_old(NOW + life) == 1
        assert db.find_all(Attempt) == []

    @both_rules
    def test_shut_lane_is_not_swept_open(
            self, counts: Throttle, lane: Lane) -> None:
        """The sweep deletes no count that a rule still looks at."""
        fill(counts, lane)
        wait = refused_for(counts, lane, NOW)
        counts.forget_old(NOW + wait - 1)
        assert refused_for(counts, lane, NOW + wait - 1) == 1

    @both_rules
    def test_old_count_is_forgotten_without_a_sweep(
            self, counts: Throttle, lane: Lane) -> None:
        """Nothing depends on the sweep but the size of the database."""
        fill(counts, lane)
        fill(counts, lane, NOW + FORGOTTEN_AFTER)


class TestLane:
    """What a row says of whom it counts."""

    def test_keys_differ_by_name_and_party(self) -> None:
        """Also where one's end could be the other's start."""
        lanes = [Lane(name, who, WINDOW) for name, who in (
            ("a", "bc"), ("ab", "c"), ("a", "b"), ("abc", ""), ("", "abc"),
            ("a", "\ud800b"))]
        assert len({each.key for each in lanes}) == len(lanes)

    def test_key_is_that_of_every_release(self) -> None:
        """Another one would forget what is counted, and let all guess on."""
        assert GUESSES.key == hashlib.sha256(
            b"login:account\0bob@me.com").hexdigest()

    @both_rules
    def test_row_names_nobody(
            self, counts: Throttle, db: DB, lane: Lane) -> None:
        """A copy of the table is no list of addresses and networks."""
        counts.admit([lane], NOW)
        row, = db.find_all(Attempt)
        assert len(row.key) == 64
        for said in (lane.name, lane.who, "bob", "203.0"):
            assert said not in row.key

    @pytest.mark.parametrize("who", ["bob@b\u00fccher.example", "\0", "",
                                     "\ud800@me.com", "x" * 10000], ids=ascii)
    def test_whatever_was_typed_has_a_lane(
            self, counts: Throttle, who: str) -> None:
        """An address comes from a stranger, and is counted unseen."""
        assert counts.admits(Lane("login:account", who, BACKOFF), NOW)


class TestLanes:
    """The lanes that there are, and the limits of each."""

    def test_passwords(self, counts: Throttle) -> None:
        """One rule for every way to try one, and no count is shared."""
        lanes = [counts.account("7"), counts.device("7"), counts.confirm(7)]
        assert {lane.rule for lane in lanes} == {BACKOFF}
        assert [(lane.name, lane.who) for lane in lanes] == [
            ("login:account", "7"), ("login:device", "7"), ("confirm", "7")]

    def test_known_ones(self, counts: Throttle) -> None:
        """Those of whom we have seen a proof before."""
        assert [lane.known for lane in (
            counts.device("7"), counts.confirm(7), counts.account("7"))] \
            == [True, True, False]

    @pytest.mark.parametrize("name, rule", [
        ("login", Window(30, 300)), ("register", Window(20, HOUR)),
        ("mail", Window(20, HOUR))])
    def test_networks(self, counts: Throttle, name: str,
                      rule: Window) -> None:
        """Each thing that a network does has a limit of its own."""
        lane, = counts.network(name, "203.0.113.7")
        assert lane.rule == rule

    def test_caller_without_a_network(self, counts: Throttle) -> None:
        """Our own code is no client; all of it would share one lane."""
        assert counts.network("login", "") == []

    def test_users(self, counts: Throttle) -> None:
        """What one has used up is nobody else's loss."""
        lanes = counts.moves(7, "203.0.113.7") + [counts.rarely("export", 7)]
        assert [(lane.name, lane.who) for lane in lanes] == [
            ("mail:network", "203.0.113.7"), ("moves", "7"), ("export", "7")]

    def test_mails(self, counts: Throttle) -> None:
        """Three an hour of a kind, so that no mailbox is flooded."""
        lanes = [counts.mail(purpose, "bob@me.com")
                 for purpose in (RESET, VERIFY)]
        assert {lane.rule for lane in lanes} == {Window(3, HOUR)}
        assert len({lane.key for lane in lanes}) == 2

    def test_limits_are_settings(
            self, db: DB, safe_settings: Settings) -> None:
        """Each of them can be changed."""
        changed = Throttle(db, dataclasses.replace(
            safe_settings, login_free_failures=1, login_longest_wait=2,
            login_most_failures=10, login_network_limit=Rate(3, 4),
            register_network_limit=Rate(5, 6),
            mail_network_limit=Rate(7, 8), mail_address_limit=Rate(9, 10)))
        assert changed.account("x").rule == Backoff(1, 2, 10)
        assert [changed.network(name, "x")[0].rule
                for name in ("login", "register", "mail")] == [
                    Window(3, 4), Window(5, 6), Window(7, 8)]
        assert changed.mail(RESET, "x").rule == Window(9, 10)


class TestNoThrottle:
    """The development mode, which counts nothing."""

    def test_lets_everybody_through_and_asks_nothing(
            self, settings: Settings) -> None:
        """The card's contract knows no 429."""
        nobody = NoThrottle(Untouchable(), settings)
        lanes = [nobody.account("bob@me.com"), NETWORK]
        for _ in range(200):
            nobody.admit(lanes, NOW)
            assert nobody.admits(NETWORK, NOW)
        nobody.forgive(lanes)
        nobody.forget(lanes)

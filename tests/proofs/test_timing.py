#!/usr/bin/env python3
"""Time tells nobody who has an account.

Measured against a server in production, in a random order, once the machine
has nothing else to do. That takes minutes, so it is no part of the ordinary
run; that it would notice a leak is.
"""
from __future__ import annotations

import math
import random
from itertools import islice
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional, Tuple

import pytest

from app import create_app
from db import DB
from settings import Settings
from tests.helpers import STRONG, Clock, Visitor
from tests.proofs import timing
from tests.proofs.servers import Flaw, LiveWorkers
from tests.proofs.size import PROVING
from tests.proofs.timing import (
    ACCOUNTS, ATTEMPTS, FAILED, FINE, NOISY, TRIALS, UNLIMITED, WARM_UP,
    Comparison, NaiveAuth, Trial, address, auc, compare, judge, measure,
    naive, open_accounts, welch_t)
from tests.smtp_server import SmtpServer

# Whoever measures does so on one Python and one kind of database.
pytestmark = pytest.mark.once


def silent_but(**change: float) -> Comparison:
    """Return a comparison that tells nothing, but for what is changed."""
    return Comparison(**dict(
        {"known": 0.1, "unknown": 0.1, "t": 0.0, "auc": 0.5}, **change))


SILENT = silent_but()
TELLS = silent_but(known=0.2, t=99.0, auc=1.0)
by_name = pytest.mark.parametrize(
    "trial", TRIALS, ids=[each.name for each in TRIALS])


def noise(seed: int, shift: float = 0.0, count: int = 300) -> List[float]:
    """Return what a hash takes on a shared machine: 90 ms, and a long tail.

    Shifted by so many seconds.
    """
    chance = random.Random(seed)
    return [0.088 + shift + chance.lognormvariate(-6.2, 0.6)
            for _ in range(count)]


class TestWelchT:
    """How far apart two means are, in standard errors."""

    def test_is_as_calculated_by_hand(self) -> None:
        """Means 2 and 4, variances 1 and 4, three of each: -2/sqrt(5/3)."""
        assert welch_t([1, 2, 3], [2, 4, 6]) == pytest.approx(
            -2 / math.sqrt(5 / 3))

    def test_counts_each_sample_by_its_own_size(self) -> None:
        """Variances 1/2 of two and 1 of three: 2/sqrt(1/4 + 1/3)."""
        assert welch_t([4, 5], [1.5, 2.5, 3.5]) == pytest.approx(
            2 / math.sqrt(1 / 4 + 1 / 3))

    @pytest.mark.parametrize("one, other, t", [
        ([1, 1], [1, 1], 0.0), ([2, 2], [1, 1], math.inf),
        ([1, 1], [2, 2], -math.inf)])
    def test_without_spread_is_all_or_nothing(
            self, one: List[float], other: List[float], t: float) -> None:
        """And no division by zero."""
        assert welch_t(one, other) == t


class TestAuc:
    """How often a guess about a pair would be right."""

    @pytest.mark.parametrize("one, other, expected", [
        ([3, 4], [1, 2], 1.0), ([1, 2], [3, 4], 0.0), ([1, 4], [2, 3], 0.5),
        ([1, 1], [1, 1], 0.5), ([1, 2], [2, 3], 0.125),
        ([5, 1, 9], [3], 2 / 3)])
    def test_counts_pairs_and_half_of_ties(
            self, one: List[float], other: List[float],
            expected: float) -> None:
        """Whatever the order in which they came."""
        assert auc(one, other) == pytest.approx(expected)


class TestCriterion:
    """What counts as telling nothing (research, T13)."""

    def test_compares_medians(self) -> None:
        """One request that waited for something else changes nothing."""
        found = compare([1, 2, 3, 4, 1000], [2, 3, 4])
        assert (found.known, found.unknown) == (3, 3)
        assert found.difference == 0

    @pytest.mark.parametrize("known, unknown", [(0.1, 0.11), (0.11, 0.1)])
    def test_difference_is_of_the_smaller(
            self, known: float, unknown: float) -> None:
        """In per cent, whichever kind it is."""
        found = silent_but(known=known, unknown=unknown)
        assert found.difference == pytest.approx(10)

    @pytest.mark.parametrize("change", [
        {"known": 0.10299}, {"unknown": 0.10299}, {"t": 4.49}, {"t": -4.49},
        {"auc": 0.4}, {"auc": 0.6}])
    def test_takes_what_is_just_within(self, change: Dict[str, float]) -> None:
        """A machine is never perfectly even."""
        assert silent_but(**change).tells_nothing

    @pytest.mark.parametrize("change", [
        {"known": 0.10301}, {"unknown": 0.10301}, {"t": 4.5}, {"t": -4.5},
        {"auc": 0.399}, {"auc": 0.601}])
    def test_rejects_what_any_one_figure_tells(
            self, change: Dict[str, float]) -> None:
        """The three see different leaks, so each can say no."""
        assert not silent_but(**change).tells_nothing

    @pytest.mark.parametrize("seed", range(5))
    def test_takes_two_samples_of_the_same(self, seed: int) -> None:
        """A long tail alone is no leak."""
        assert compare(noise(seed), noise(seed + 100)).tells_nothing

    @pytest.mark.parametrize("shift", [-0.003, -0.001, 0.001, 0.003])
    @pytest.mark.parametrize("seed", range(5))
    def test_rejects_a_sample_that_is_shifted(
            self, seed: int, shift: float) -> None:
        """By a millisecond in ninety: a statement or two of SQL."""
        assert not compare(noise(seed, shift), noise(seed + 100)
                           ).tells_nothing


class TestMeasure:
    """From requests to a comparison."""

    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> List[str]:
        """The addresses that are asked about; each is answered at once.

        The first ones seem to take an hour, then known addresses 0.2 s and
        others 0.1 s.
        """
        asked: List[str] = []

        def ask(_port: int, _path: str, form: Dict[str, str],
                _status: int) -> float:
            """Note the address."""
            asked.append(form["email"])
            if len(asked) <= 2 * WARM_UP:
                return 3600.0
            return 0.2 if form["email"].startswith("known") else 0.1
        monkeypatch.setattr(timing, "ask", ask)
        return asked

    @by_name
    def test_asks_as_often_about_either_kind(
            self, asked: List[str], trial: Trial) -> None:
        """Some to warm up, and then those that count."""
        measure(0, trial, 50, random.Random(1))
        known = sum(each.startswith("known") for each in asked)
        assert known == len(asked) - known == WARM_UP + 50 * trial.times

    @by_name
    def test_counts_what_comes_after_the_warm_up(
            self, asked: List[str], trial: Trial) -> None:
        """For the kind that it was of."""
        found = measure(0, trial, 50, random.Random(1))
        assert (found.known, found.unknown) == (0.2, 0.1)
        assert (found.t, found.auc) == (math.inf, 1.0)

    def test_kinds_are_mixed(self, asked: List[str]) -> None:
        """Or a machine that gets slower would look like a leak."""
        measure(0, TRIALS[0], 50, random.Random(1))
        kinds = [each[:5] for each in asked]
        changes = sum(one != other for one, other in zip(kinds, kinds[1:]))
        assert changes > len(kinds) / 3
        assert kinds[:100] != ["known", "other"] * 50

    @by_name
    def test_control_asks_about_known_addresses_only(
            self, asked: List[str], trial: Trial) -> None:
        """As often, and about each as often; nothing else may differ."""
        found = measure(0, trial.as_control(), 50, random.Random(1))
        assert {each[:5] for each in asked} == {"known"}
        assert len(asked) == 2 * (WARM_UP + 50 * trial.times)
        assert found.known == found.unknown

    @by_name
    def test_known_addresses_take_turns(self, trial: Trial) -> None:
        """They are the ones that were registered."""
        emails = [each["email"] for each
                  in islice(trial.forms(True), 2 * ACCOUNTS)]
        assert emails == [address(each) for each in range(ACCOUNTS)] * 2

    def test_unknown_addresses_take_turns(self) -> None:
        """As many as there are known ones, and as long."""
        emails = [each["email"] for each
                  in islice(TRIALS[0].forms(False), 2 * ACCOUNTS)]
        assert len(set(emails)) == ACCOUNTS
        assert {len(each) for each in emails} == {len(address(0))}

    def test_who_registers_is_new_each_time(self) -> None:
        """In every run, or the second would be about known addresses."""
        trial, = [each for each in TRIALS if each.always_new]
        emails = [form["email"] for _ in range(2)
                  for form in islice(trial.forms(False), 100)]
        assert len(set(emails)) == 200


class TestJudge:
    """The best of some attempts, and a control before anybody is blamed."""

    @pytest.mark.parametrize("silent, found, verdict", [
        (True, [SILENT], FINE), (True, [TELLS, SILENT], FINE),
        (True, [TELLS] * ATTEMPTS + [SILENT], FAILED),
        (True, [TELLS] * (ATTEMPTS + 1) + [SILENT], FAILED),
        (True, [TELLS] * 2 * ATTEMPTS, NOISY),
        (False, [TELLS], FINE), (False, [SILENT, SILENT], FAILED),
        (False, [SILENT] + [TELLS] * ATTEMPTS, NOISY)])
    def test_says_what_was_found(
            self, monkeypatch: pytest.MonkeyPatch, silent: bool,
            found: List[Comparison], verdict: str) -> None:
        """By exactly so many attempts; the last ones are the control's."""
        rest: Iterator[Comparison] = iter(found)
        noted: List[Tuple[bool, Comparison]] = []
        monkeypatch.setattr(timing, "measure", lambda *_: next(rest))
        assert judge(0, TRIALS[0], silent, lambda trial, each: noted.append(
            (trial.control, each))) == verdict
        assert [each for _, each in noted] == found
        own = ATTEMPTS if silent else 1
        assert [control for control, _ in noted] \
            == [place >= own for place in range(len(found))]


class TestNaiveAuth:
    """The service that has to be found out, and by its time alone."""

    @by_name
    def test_answers_as_ours_does(self, db: DB, safe_settings: Settings,
                                  clock: Clock, trial: Trial) -> None:
        """Or it would not be the clock that tells."""
        guest = Visitor(create_app(NaiveAuth(db, safe_settings, clock)
                                   ).test_client(),
                        safe_settings.public_url)
        guest.registers(address(0), STRONG)
        known, unknown = (
            guest.asks("POST", trial.path, {}, **next(trial.forms(kind)))
            for kind in (True, False))
        assert known.status_code == unknown.status_code == trial.status
        assert set(known.get_json()) == set(unknown.get_json())
        assert known.get_json()["message"] == unknown.get_json()["message"]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory
          ) -> Iterator[Callable[..., int]]:
    """Start a server in which the known have accounts; return its port."""
    started: List[LiveWorkers] = []
    with SmtpServer() as mail:

        def start(flaw: Optional[Flaw] = None) -> int:
            """Start one, perhaps with a flaw."""
            folder: Path = tmp_path_factory.mktemp("timing")
            started.append(LiveWorkers(
                folder, flaw, MAIL_URL=mail.url, **UNLIMITED))
            open_accounts(started[-1].port)
            return started[-1].port
        yield start
        for each in started:
            each.stop()


@pytest.fixture(scope="module")
def ours(start: Callable[..., int]) -> int:
    """The port of the service."""
    return start()


@pytest.fixture(scope="module")
def theirs(start: Callable[..., int]) -> int:
    """The port of a service that makes the mistakes everybody makes."""
    return start(naive)


@pytest.mark.promise(
    "Time tells nobody who has an account: of known and unknown addresses "
    "the medians are within 3 %, |t| is below 4.5, and a guess by one answer "
    "is right in 40 to 60 of 100 cases.")
@pytest.mark.skipif(not PROVING, reason="takes minutes on a quiet machine: "
                                        "make proof, make timing")
class TestTime:
    """Of 300 requests of either kind, and of 1,200 without a hash."""

    @staticmethod
    def noted(figure: Callable[[str], None], whose: str
              ) -> Callable[[Trial, Comparison], None]:
        """Return what tells of each attempt."""
        def note(trial: Trial, found: Comparison) -> None:
            """Tell of one."""
            figure("{} ({}): {:.2f} and {:.2f} ms, {:.2f} % apart, t {:.2f}, "
                   "AUC {:.3f}".format(
                       trial.name, "control" if trial.control else whose,
                       1000 * found.known, 1000 * found.unknown,
                       found.difference, found.t, found.auc))
        return note

    @by_name
    def test_is_silent(self, ours: int, trial: Trial,
                       figure: Callable[[str], None]) -> None:
        """In the best of three attempts: a machine is never quite even."""
        assert judge(ours, trial, True, self.noted(figure, "ours")) == FINE

    @pytest.mark.broken("sign-in and registration hash only if they have to, "
                        "and a reset makes its token at once")
    @by_name
    def test_tells_where_it_is_naive(self, theirs: int, trial: Trial,
                                     figure: Callable[[str], None]) -> None:
        """Or the measurement would prove nothing."""
        assert judge(theirs, trial, False,
                     self.noted(figure, "naive")) == FINE

#!/usr/bin/env python3
"""What the service has to answer, by a model of lists and dictionaries.

Written from what the README and docs/security.md say, and not from the code:
no database, no digest, no HTTP. A verb returns what there is to say or raises
Refused with the status that is due. Secrets are the service's own, as the
model is told them: it cannot make any.
"""
from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from settings import DAY, HOUR, MINUTE, Settings

YEAR, MONTH = 365 * DAY, 30 * DAY
# So far may clocks be apart before a time is taken for a wrong one.
SKEW, SET_BACK = MINUTE, DAY
# A session is seen once in so many seconds.
SEEN_EVERY = MINUTE
RESET, VERIFY, CHANGE = "reset", "verify", "change"
ALREADY, NEW_DEVICE = "already registered", "new device"
CHANGE_ASKED, EMAIL_CHANGED = "change asked", "email changed"
PASSWORD_CHANGED = "password changed"
# The link that a mail has, and the mails that a stranger may cause.
LINKS = {RESET: RESET, ALREADY: RESET, VERIFY: VERIFY, CHANGE: CHANGE}
CAUSED = tuple(LINKS) + (NEW_DEVICE,)
Key = Tuple[Any, ...]


class Refused(Exception):
    """Raised for what must not be done: its status, and how long to wait."""

    def __init__(self, status: int, wait: int = 0) -> None:
        """Keep the answer that is due."""
        super().__init__(status, wait)
        self.answer = status, wait


class Hand(NamedTuple):
    """Who asks, and what was put into their hands by the answer.

    `device` is what they came with; `next_device` and `token`, a session's,
    are what they got.
    """

    network: str
    session: str
    device: str
    next_device: str
    token: str


class Person:
    """Somebody with an account."""

    def __init__(self, email: str, password: str) -> None:
        """Start without a proof of the mailbox."""
        self.email, self.password = email, password
        self.verified = False


class Session:
    """A device that is signed in, and its token."""

    def __init__(self, person: Person, token: str, now: int,
                 expires: int) -> None:
        """Start to be used."""
        self.person, self.token = person, token
        self.opened = self.seen = now
        self.expires = expires
        self.handle = 0

    def is_live(self, now: int, idle: int) -> bool:
        """Tell whether it still counts."""
        return (self.opened - SET_BACK <= now < self.expires
                and now < self.seen + idle)


class Link(NamedTuple):
    """A token that was mailed, and what it is good for."""

    purpose: str
    person: Person
    email: str
    expires: int
    token: str


class Letter(NamedTuple):
    """A mail that waits."""

    purpose: str
    email: str
    person: Optional[Person]
    due: int


class Count:
    """How often something was tried: failures in a row, or in a window."""

    def __init__(self) -> None:
        """Start without a try."""
        self.tries = self.first = self.until = self.forgotten = 0


class World:
    """Everybody, and all that they have."""

    def __init__(self, policy: Settings, now: int) -> None:
        """Start with nobody there."""
        self.policy, self.now = policy, now
        self.people: List[Person] = []
        self.sessions: List[Session] = []
        self.links: List[Link] = []
        self.letters: List[Letter] = []
        self.devices: Dict[str, Tuple[Person, int]] = {}
        self.counts: Dict[Key, Count] = {}

    # -- Accounts

    def register(self, hand: Hand, email: str, password: str) -> None:
        """Open an account, or tell its owner that somebody tried to."""
        self._admit([("register", hand.network)])
        if self.find(email):
            if not self.policy.production:
                raise Refused(400)
            self._post(ALREADY, email)
            return
        person = Person(email, password)
        self.people.append(person)
        self._post(VERIFY, email, person)

    def delete(self, hand: Hand, password: str) -> None:
        """Let somebody go, with all that is theirs.

        What is counted of an address that somebody else has is theirs.
        """
        person = self._confirmed(hand, password).person
        asked = {each.email for each in self.letters + self.links
                 if each.person is person and each.purpose == CHANGE}
        self.people.remove(person)
        for email in asked | {person.email}:
            if not self.find(email):
                self._forget_counts(email)
        self.letters = [each for each in self.letters if person is not
                        each.person and each.email != person.email]
        self._end_sessions(person)
        self.links = [each for each in self.links
                      if each.person is not person]
        for device in self._devices_of(person):
            del self.devices[device]

    def sign_in(self, hand: Hand, email: str, password: str) -> None:
        """Open a session, and leave the one of before.

        A device that is known is counted apart.
        """
        person, known = self.find(email), self._knows(hand, email)
        keys: List[Key] = [("device", hand.device)] if known else [
            ("login", hand.network), ("account", email)]
        self._admit(keys)
        if person is None or person.password != password or (
                self.policy.demands_verified and not person.verified):
            raise Refused(401)
        self._forgive(keys)
        self._open(person, hand.token)
        if self._devices_of(person) and not known:
            self._post(NEW_DEVICE, email, person)
        self._remember(hand, person)
        self.sessions = [each for each in self.sessions
                         if each.token != hand.session
                         or each not in self.live_sessions()]

    # -- Sessions

    def look(self, token: str) -> Session:
        """Return the session of a token; to look is to be seen."""
        for each in self.live_sessions():
            if each.token == token:
                if self.now >= each.seen + SEEN_EVERY:
                    each.seen = self.now
                return each
        raise Refused(403)

    def live_sessions(self) -> List[Session]:
        """Return the sessions that count at this moment."""
        return [each for each in self.sessions
                if each.is_live(self.now, self.policy.session_idle)]

    def list_sessions(self, hand: Hand) -> List[Session]:
        """Return the sessions of whoever asks, the oldest first."""
        person = self.look(hand.session).person
        return [each for each in self.live_sessions()
                if each.person is person]

    def sign_out(self, hand: Hand) -> None:
        """End the session that is presented."""
        self.sessions.remove(self.look(hand.session))

    def end_session(self, hand: Hand, handle: int) -> None:
        """End a session by its handle, if it is one's own."""
        person = self.look(hand.session).person
        for each in self.sessions:
            if each.handle == handle and each.person is person:
                self.sessions.remove(each)
                return
        raise Refused(404)

    def end_others(self, hand: Hand) -> None:
        """End all of one's sessions but this."""
        current = self.look(hand.session)
        self._end_sessions(current.person, kept=current)

    # -- Passwords

    def change_password(self, hand: Hand, password: str, new: str) -> None:
        """Set a new password, and go on under a new session alone."""
        person = self._confirmed(hand, password).person
        self._admit([("password", person)])
        self._set_password(person, new)
        self._open(person, hand.token)
        self._remember(hand, person)

    def ask_reset(self, hand: Hand, email: str) -> Optional[Person]:
        """Have a reset link mailed; return whose it is in development."""
        if self.policy.production:
            self._ask_mail(hand, RESET, email)
            return None
        person = self.find(email)
        if person is None:
            raise Refused(403)
        return person

    def reset_password(self, hand: Hand, token: str, new: str,
                       email: str) -> None:
        """Set a password by a mailed token; that proves the mailbox."""
        link = self._link(token, (RESET,))
        if email not in ("", link.person.email):
            raise Refused(403)
        self._set_password(link.person, new)
        if self.policy.production:
            self._prove(hand, link.person)

    # -- Addresses

    def ask_verification(self, hand: Hand, email: str) -> None:
        """Have the link mailed that verifies an address."""
        self._ask_mail(hand, VERIFY, email)

    def verify(self, hand: Hand, token: str) -> None:
        """Take a mailed token as a proof of a mailbox, or move there."""
        link = self._link(token, (VERIFY, CHANGE))
        person = link.person
        if link.purpose == CHANGE:
            if self.find(link.email):
                raise Refused(403)
            self._forget_counts(person.email)
            self._post(EMAIL_CHANGED, person.email, person)
            self._kill_links(person)
            person.email = link.email
        self._kill_links(person, link.purpose)
        self._prove(hand, person)

    def change_email(self, hand: Hand, password: str, email: str) -> None:
        """Have a link mailed to a new address, and word to the old one."""
        if self.look(hand.session).person.email == email:
            raise Refused(400)
        person = self._confirmed(hand, password).person
        self._admit([("mail", hand.network), ("moves", person)])
        self._call_off_change(person)
        self._kill_links(person, CHANGE)
        self._post(CHANGE, email, person)
        self._post(CHANGE_ASKED, person.email, person)

    def give(self, purpose: str, person: Person, email: str,
             token: str) -> None:
        """Know a token as the only one of its purpose."""
        self._kill_links(person, purpose)
        self.links.append(Link(
            purpose, person, email, self.now + self._life(purpose), token))

    # -- Beside requests

    def deliver(self) -> List[Tuple[str, str, Optional[Person]]]:
        """Send what is due; return the kind and address of each mail.

        And whom the token in it is for, unless it has none.
        """
        due = [each for each in self.letters if each.due <= self.now
               or each.due > self.now + DAY]
        self.letters = [each for each in self.letters if each not in due]
        sent = []
        for letter in due:
            kind, person = self._occasion(letter)
            if person and self._may_go(letter):
                sent.append((kind, letter.email,
                             person if kind in LINKS else None))
        return sent

    def sweep(self) -> None:
        """Forget what is over."""
        self.sessions = [
            each for each in self.sessions if each.expires > self.now
            and each.seen > self.now - self.policy.session_idle]
        self.links = [each for each in self.links if each.expires > self.now]
        self.devices = {
            device: (person, seen) for device, (person, seen)
            in self.devices.items() if seen > self.now - YEAR}
        self.counts = {key: each for key, each in self.counts.items()
                       if each.forgotten > self.now}

    # -- Inside

    def find(self, email: str) -> Optional[Person]:
        """Return who has an address."""
        return next((each for each in self.people if each.email == email),
                    None)

    def _confirmed(self, hand: Hand, password: str) -> Session:
        """Return the session of whoever gives the password once more."""
        session = self.look(hand.session)
        keys: List[Key] = [("confirm", session.person)]
        self._admit(keys)
        if session.person.password != password:
            raise Refused(403)
        self._forgive(keys)
        return session

    def _open(self, person: Person, token: str) -> None:
        """Open a session, and drop what is over and the oldest of too many."""
        self.sessions.append(Session(
            person, token, self.now,
            self.now + self.policy.session_absolute))
        live = [each for each in self.live_sessions()
                if each.person is person]
        kept = live[-self.policy.sessions_per_user:]
        self.sessions = [each for each in self.sessions
                         if each.person is not person or each in kept]

    def _end_sessions(self, person: Person,
                      kept: Optional[Session] = None) -> None:
        """End the sessions of somebody, but one perhaps."""
        self.sessions = [each for each in self.sessions
                         if each.person is not person or each is kept]

    def _set_password(self, person: Person, new: str) -> None:
        """Set a password; with it everything starts afresh."""
        person.password = new
        self._kill_links(person)
        self._end_sessions(person)
        for device in self._devices_of(person):
            del self.devices[device]
        self._call_off_change(person)
        self._post(PASSWORD_CHANGED, person.email, person)

    def _prove(self, hand: Hand, person: Person) -> None:
        """Take it that a mailbox is somebody's, and this browser, too."""
        person.verified = True
        self._forgive([("account", person.email), ("confirm", person)])
        self._remember(hand, person)

    # -- Devices

    def _knows(self, hand: Hand, email: str) -> bool:
        """Tell whether the owner of an address has used this browser."""
        person, seen = self.devices.get(hand.device, (None, 0))
        return bool(person and person.email == email
                    and self.now < seen + YEAR)

    def _devices_of(self, person: Person) -> List[str]:
        """Return the browsers that somebody has used."""
        return [device for device, (owner, _) in self.devices.items()
                if owner is person]

    def _remember(self, hand: Hand, person: Person) -> None:
        """Know a browser, by another token than before."""
        if self.policy.production:
            if hand.device in self._devices_of(person):
                del self.devices[hand.device]
            self.devices[hand.next_device] = person, self.now

    # -- Mail

    def _ask_mail(self, hand: Hand, purpose: str, email: str) -> None:
        """Have a mail sent that anybody may ask for."""
        self._admit([("mail", hand.network)])
        self._post(purpose, email)

    def _post(self, purpose: str, email: str,
              person: Optional[Person] = None) -> None:
        """Write a mail."""
        self.letters.append(Letter(purpose, email, person, self.now))

    def _call_off_change(self, person: Person) -> None:
        """Send no link for a change of address any more."""
        self.letters = [each for each in self.letters if
                        each.person is not person or each.purpose != CHANGE]

    def _occasion(self, letter: Letter) -> Tuple[str, Optional[Person]]:
        """Return what there is to say, and about whom."""
        holder = self.find(letter.email)
        if letter.purpose == CHANGE and holder:
            return ALREADY, holder
        if letter.purpose == VERIFY and holder and holder.verified:
            return VERIFY, None
        if letter.purpose in (RESET, VERIFY, ALREADY):
            return letter.purpose, holder
        return letter.purpose, letter.person

    def _may_go(self, letter: Letter) -> bool:
        """Tell whether strangers have not caused too many of these."""
        if letter.purpose in CAUSED:
            try:
                self._admit([("letter", letter.purpose, letter.email)])
            except Refused:
                return False
        return True

    # -- Links

    def _life(self, purpose: str) -> int:
        """Return how long a link works."""
        return (self.policy.reset_token_life if purpose == RESET
                else self.policy.verify_token_life)

    def live_links(self) -> List[Link]:
        """Return the links that work at this moment."""
        return [each for each in self.links if 0 < each.expires - self.now
                <= 2 * self._life(each.purpose)]

    def _link(self, token: str, purposes: Tuple[str, ...]) -> Link:
        """Return the link of a token that works for one of the purposes."""
        for each in self.live_links():
            if each.token == token and each.purpose in purposes:
                return each
        raise Refused(403)

    def _kill_links(self, person: Person, purpose: str = "") -> None:
        """Have the links of somebody work no more, or those of a kind."""
        self.links = [each for each in self.links if each.person is not person
                      or purpose not in ("", each.purpose)]

    # -- Counts

    def _window(self, key: Key) -> Optional[Tuple[int, int]]:
        """Return how many are let in, in how long; None: by failures."""
        policy = self.policy
        return {"login": policy.login_network_limit,
                "register": policy.register_network_limit,
                "mail": policy.mail_network_limit,
                "moves": policy.mail_address_limit,
                "letter": policy.mail_address_limit,
                "password": (10, HOUR)}.get(key[0])

    def _wait(self, failures: int) -> int:
        """Return how long to wait after so many failures in a row."""
        policy = self.policy
        if failures < policy.login_free_failures:
            return 0
        if failures >= policy.login_most_failures:
            return MONTH
        return min(1 << failures - policy.login_free_failures,
                   policy.login_longest_wait)

    def _refusal(self, key: Key, count: Count) -> int:
        """Return for how long the next try is refused."""
        window = self._window(key)
        if window:
            left = count.first + window[1] - self.now
            longest = window[1] if count.tries >= window[0] else -SKEW
        else:
            left, longest = count.until - self.now, self._wait(count.tries)
        return left if longest > 0 and 0 < left <= longest + SKEW else 0

    def _admit(self, keys: List[Key]) -> None:
        """Count a try everywhere, or nowhere if it is refused."""
        if not self.policy.production:
            return
        counts = [self.counts.get(key, Count()) for key in keys]
        for key, count in zip(keys, counts):
            wait = self._refusal(key, count)
            if wait:
                raise Refused(429, wait)
        for key, count in zip(keys, counts):
            self._count(self._window(key), count)
            self.counts[key] = count

    def _count(self, window: Optional[Tuple[int, int]],
               count: Count) -> None:
        """Count one try more."""
        if window:
            left = count.first + window[1] - self.now
            if not 0 < left <= window[1] + SKEW:
                count.tries, count.first = 0, self.now
            count.tries += 1
            count.forgotten = count.first + window[1]
        else:
            count.tries = 1 if self.now >= count.forgotten \
                else count.tries + 1
            count.until = self.now + self._wait(count.tries)
            count.forgotten = self.now + MONTH

    def _forgive(self, keys: List[Key]) -> None:
        """Take back what turned out well."""
        for key in set(keys) & set(self.counts):
            if self._window(key):
                self.counts[key].tries -= self.counts[key].tries > 0
            else:
                del self.counts[key]

    def _forget_counts(self, email: str) -> None:
        """Forget what is counted of an address."""
        for key in [("account", email)] + [
                ("letter", each, email) for each in CAUSED]:
            self.counts.pop(key, None)

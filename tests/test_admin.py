#!/usr/bin/env python3
"""What an administrator's verbs mean for those whom they are about."""
from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, List, Tuple

import bcrypt
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

import admin
from audit import TERMINAL
from auth import Auth
from credentials import passwords
from db import DB
from errors import (
    BadCredentials, EmailTaken, NotSignedIn, ResetRefused, Unavailable,
    UnknownEmail)
from models import (
    CHANGE, Account, Device, Entry, MailToken, Outgoing, Session)
from tests.helpers import (
    EMAIL, PASSWORD, STRONG, STRONGER, Mailbox, Visitor)
from user import User

EVE = "eve@me.com"


@pytest.fixture
def statements() -> Iterator[List[str]]:
    """What the store is asked from now on."""
    asked: List[str] = []

    def note(_connection: Any, _cursor: Any, statement: str,
             *_: Any) -> None:
        """Keep the words of a statement."""
        asked.append(statement)
    event.listen(Engine, "before_cursor_execute", note)
    yield asked
    event.remove(Engine, "before_cursor_execute", note)


class TestDisabled:
    """To a disabled user, and to who tries, every password is wrong."""

    @pytest.fixture
    def disable(self, safe: Auth) -> Callable[[], None]:
        """Disable Bob, as the terminal does."""
        def act() -> None:
            """Do it, and make sure that it was done."""
            assert safe.acting_for(TERMINAL).admin.disable(EMAIL)
        return act

    def test_sign_in_answers_as_to_a_wrong_password(
            self, member: Visitor, disable: Callable[[], None],
            new_guest: Callable[..., Visitor]) -> None:
        """The same bytes, to a right and a wrong one (CVE-2018-6188)."""
        wrong = new_guest("192.0.2.1").logs_in(EMAIL, STRONGER)
        disable()
        for number, password in ((2, STRONG), (3, STRONGER)):
            answer = new_guest("192.0.2.{}".format(number)).logs_in(
                EMAIL, password)
            assert answer.status_code == wrong.status_code == 401
            assert answer.get_data() == wrong.get_data()
            assert "Set-Cookie" not in answer.headers
            assert sorted(answer.headers.keys()) \
                == sorted(wrong.headers.keys())

    def test_sign_in_costs_the_same(
            self, member: Visitor, safe: Auth, disable: Callable[[], None],
            statements: List[str], monkeypatch: pytest.MonkeyPatch) -> None:
        """Hash for hash and statement for statement, known or not."""
        hashes: List[int] = []
        check = bcrypt.checkpw

        def note(password: bytes, hashed: bytes) -> bool:
            """Count the cost of one hash, and compute it."""
            hashes.append(int(hashed[4:6]))
            return check(password, hashed)
        monkeypatch.setattr(bcrypt, "checkpw", note)

        def cost(email: str, password: str) -> Tuple[List[int], List[str]]:
            """Return what a refused sign-in computes and asks."""
            del hashes[:], statements[:]
            with pytest.raises(BadCredentials):
                safe.log_in(email, password)
            return list(hashes), list(statements)
        wrong = cost(EMAIL, STRONGER)
        unknown = cost("nobody@me.com", STRONGER)
        disable()
        assert len(wrong[0]) == 1 and wrong == unknown
        right = cost(EMAIL, STRONG)  # the second try of its lane
        assert right == cost(EMAIL, STRONGER) and right[0] == wrong[0]

    def test_tries_count_as_failures(
            self, member: Visitor, disable: Callable[[], None],
            new_guest: Callable[..., Visitor]) -> None:
        """Else their number would tell that the password is right."""
        disable()
        statuses = [new_guest("192.0.2.1").logs_in(
            EMAIL, STRONG).status_code for _ in range(6)]
        assert statuses == [401] * 5 + [429]

    def test_sessions_are_dead_at_once(
            self, member: Visitor, safe: Auth, db: DB,
            disable: Callable[[], None]) -> None:
        """All of them, and nothing of theirs is left."""
        member.logs_in(EMAIL, STRONG)
        assert member.sees_profile().status_code == 200
        disable()
        assert member.sees_profile().status_code == 403
        assert db.find_all(Session) == []
        assert db.find_user_by(email=EMAIL).session_id is None

    def test_session_opened_meanwhile_is_dead(
            self, member: Visitor, safe: Auth, db: DB,
            disable: Callable[[], None],
            monkeypatch: pytest.MonkeyPatch) -> None:
        """By a sign-in that had its password checked before.

        It stays dead when the user is enabled again.
        """
        verify = passwords.verify_password

        def slowly(*args: Any) -> bool:
            """Check a password while an administrator acts."""
            right = verify(*args)
            disable()
            return right
        monkeypatch.setattr(passwords, "verify_password", slowly)
        token = safe.log_in(EMAIL, STRONG)
        assert safe.get_user_from_session_id(token) is None
        with pytest.raises(NotSignedIn):
            safe.list_sessions(token)
        assert safe.admin.enable(EMAIL)
        assert safe.get_user_from_session_id(token) is None

    def test_nobody_opens_a_session_for_them(
            self, member: Visitor, safe: Auth,
            disable: Callable[[], None]) -> None:
        """Not even the card's verb that asks for no password."""
        disable()
        assert safe.create_session(EMAIL) is None
        assert not safe.valid_login(EMAIL, STRONG)

    def test_reset_is_not_mailed(
            self, member: Visitor, safe: Auth, mailbox: Mailbox,
            disable: Callable[[], None], db: DB) -> None:
        """The answer is the same as ever; the sender knows better."""
        disable()
        before = len(mailbox.mails)
        answer = member.asks("POST", "/reset_password", email=EMAIL)
        assert answer.status_code == 200
        safe.deliver_mail()
        assert mailbox.mails[before:] == [] and db.find_all(Outgoing) == []

    def test_reset_on_its_way_is_not_taken(
            self, member: Visitor, safe: Auth, mailbox: Mailbox,
            disable: Callable[[], None]) -> None:
        """Now or later; and it would not have enabled anybody."""
        member.asks("POST", "/reset_password", email=EMAIL)
        safe.deliver_mail()
        token = mailbox.token(EMAIL)
        disable()
        for act in (lambda: None, lambda: safe.admin.enable(EMAIL)):
            act()
            with pytest.raises(ResetRefused):
                safe.reset_password(token, STRONGER)
        assert safe.valid_login(EMAIL, STRONG)

    def test_new_password_does_not_enable(
            self, member: Visitor, safe: Auth, db: DB,
            disable: Callable[[], None]) -> None:
        """Whoever sets it, the account stays disabled."""
        disable()
        db.update_user(1, hashed_password=passwords.hash_password(
            STRONGER, 4))
        assert not safe.valid_login(EMAIL, STRONGER)

    def test_development_hands_out_no_token(
            self, auth: Auth, visitor: Visitor) -> None:
        """As for an address that nobody has."""
        visitor.registers()
        auth.admin.disable(EMAIL)
        with pytest.raises(UnknownEmail):
            auth.get_reset_password_token(EMAIL)
        known = visitor.asks("POST", "/reset_password", email=EMAIL)
        unknown = visitor.asks("POST", "/reset_password", email=EVE)
        assert (known.status_code, known.get_data()) \
            == (unknown.status_code, unknown.get_data())

    def test_change_of_address_is_off(
            self, member: Visitor, safe: Auth, mailbox: Mailbox, db: DB,
            disable: Callable[[], None]) -> None:
        """Whether its link was mailed or still waits."""
        member.logs_in(EMAIL, STRONG)
        member.asks("PUT", "/email", password=STRONG, email="new@me.com")
        disable()
        safe.deliver_mail()
        assert "new@me.com" not in [email for email, _ in mailbox.mails]
        assert db.find_all(MailToken) == []

    def test_nothing_that_was_mailed_is_left(
            self, member: Visitor, safe: Auth, db: DB,
            disable: Callable[[], None]) -> None:
        """No token of any purpose, and no mail that carries one."""
        member.logs_in(EMAIL, STRONG)
        member.asks("PUT", "/email", password=STRONG, email="new@me.com")
        safe.request_reset(EMAIL)
        safe.deliver_mail()
        member.asks("PUT", "/email", password=STRONG, email="newer@me.com")
        assert len(db.find_all(MailToken)) == 1
        assert db.find_user_by(id=1).reset_token
        disable()
        assert db.find_all(MailToken) == []
        assert db.find_all(Outgoing, purpose=CHANGE) == []
        assert db.find_user_by(id=1).reset_token is None

    def test_address_is_taken_still(
            self, member: Visitor, safe: Auth,
            disable: Callable[[], None]) -> None:
        """Nobody opens it anew to get around."""
        disable()
        with pytest.raises(EmailTaken):
            safe.register_user(EMAIL, STRONGER)

    def test_known_devices_are_kept(
            self, member: Visitor, safe: Auth, db: DB,
            disable: Callable[[], None]) -> None:
        """Whoever is enabled again is no stranger."""
        member.logs_in(EMAIL, STRONG)
        known = len(db.find_all(Device))
        disable()
        safe.admin.enable(EMAIL)
        assert known and len(db.find_all(Device)) == known
        assert member.logs_in(EMAIL, STRONG).status_code == 200

    def test_others_go_on(self, member: Visitor, safe: Auth,
                          disable: Callable[[], None], db: DB) -> None:
        """Of any number of users, one is meant."""
        db.add_user(EVE, passwords.hash_password(STRONG, 4))
        token = safe.create_session(EVE)
        disable()
        assert safe.get_user_from_session_id(token)


class TestImportPeople:
    """Many at once, in one transaction with their fact."""

    @pytest.fixture
    def people(self, auth: Auth) -> List[Dict[str, Any]]:
        """Three who are new here."""
        return [auth.admin.person({"email": "u{}@me.com".format(number)})
                for number in range(3)]

    def test_registration_in_between_is_no_harm(
            self, auth: Auth, db: DB, people: List[Dict[str, Any]],
            monkeypatch: pytest.MonkeyPatch) -> None:
        """UNIQUE decides, and the batch starts again."""
        add_users, tries = db.add_users, []

        def busy(sent: Any) -> int:
            """Be overtaken twice."""
            tries.append(len(sent))
            if len(tries) < 3:
                raise EmailTaken("of somebody")
            return add_users(sent)
        monkeypatch.setattr(db, "add_users", busy)
        assert auth.admin.import_people(people) == 3
        assert tries == [3, 3, 3]
        assert [each.fact for each in db.find_all(Entry)] \
            == ["accounts.imported"]

    def test_gives_up_in_the_end(
            self, auth: Auth, db: DB, people: List[Dict[str, Any]],
            monkeypatch: pytest.MonkeyPatch) -> None:
        """With a fault of the store, not an endless loop."""
        def never(_: Any) -> int:
            """Be overtaken always."""
            raise EmailTaken("of somebody")
        monkeypatch.setattr(db, "add_users", never)
        with pytest.raises(Unavailable):
            auth.admin.import_people(people)

    def test_is_undone_with_its_fact(
            self, auth: Auth, db: DB, people: List[Dict[str, Any]],
            monkeypatch: pytest.MonkeyPatch) -> None:
        """Nobody is imported unrecorded."""
        def full(*_: Any) -> None:
            """Fail as a full disk does."""
            raise OSError("no space left on device")
        monkeypatch.setattr(db, "add", full)
        with pytest.raises(Unavailable):
            auth.admin.import_people(people)
        assert db.find_all(User) == [] and db.find_all(Account) == []

    def test_nobody_is_no_fact(self, auth: Auth, db: DB,
                               people: List[Dict[str, Any]]) -> None:
        """A second run changes nothing at all."""
        auth.admin.import_people(people)
        before = len(db.find_all(Entry))
        assert auth.admin.import_people(people) == 0
        assert auth.admin.import_people([]) == 0
        assert len(db.find_all(Entry)) == before


class TestExportPeople:
    """All of them, in pages."""

    @pytest.mark.parametrize("count", [0, 1, 4, 5])
    def test_all_pages(self, auth: Auth, db: DB, count: int,
                       monkeypatch: pytest.MonkeyPatch) -> None:
        """None is missed where one page ends, and none comes twice."""
        monkeypatch.setattr(admin, "BATCH", 2)
        for number in range(count):
            db.add_user("u{}@me.com".format(number), "x")
        if count > 2:
            db.delete(User, id=2)
        ids = [each["id"] for each in auth.admin.export_people()]
        assert ids == [each for each in range(1, count + 1)
                       if each != 2 or count <= 2]

    def test_is_recorded_before_anything_is_handed_out(
            self, auth: Auth, db: DB) -> None:
        """However early whoever reads it stops."""
        db.add_user(EMAIL, PASSWORD)
        next(auth.acting_for(TERMINAL).admin.export_people(True))
        assert [(each.fact, each.detail) for each in db.find_all(Entry)] \
            == [("accounts.exported", "with hashes, by terminal")]

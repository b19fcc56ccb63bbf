#!/usr/bin/env python3
"""`flask users`, one account at a time."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import click
import pytest

from auth import Auth
from cli import COMMANDS
from db import DB
from errors import BadCredentials
from models import Account, Attempt, Outgoing, Session
from settings import Settings
from tests.cli.conftest import EVE, Terminal
from tests.helpers import EMAIL, ROOT, STRONG, Clock, Mailbox
from user import User

NOBODY = "nobody@me.com"
AT = "2026-11-18 11:06:40"


def emails(rows: List[Dict[str, Any]]) -> List[str]:
    """Return who is in a list."""
    return [each["email"] for each in rows]


def disabled_at(db: DB, user_id: int) -> Optional[int]:
    """Return when a user was disabled, None if they are not."""
    account = db.find(Account, user_id=user_id)
    assert account
    return account.disabled_at


class TestList:
    """`flask users list`."""

    def test_table_is_for_people(
            self, terminal: Terminal, join: Callable[..., int]) -> None:
        """Times in UTC, and a dash for what is not."""
        join(EMAIL)
        join("a-longer-address@me.com", verified_at=None,
             disabled_at=1795000001)
        result = terminal.types("users", "list")
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout == (
            "id  email                    created              verified      "
            "       disabled\n"
            "1   bob@me.com               {0}  {0}  -\n"
            "2   a-longer-address@me.com  {0}  -                    "
            "2026-11-18 11:06:41\n".format(AT))

    @pytest.mark.usefixtures("bob")
    def test_json_is_for_programs(
            self, terminal: Terminal, clock: Clock) -> None:
        """Seconds, and no hash."""
        now = int(clock.now)
        assert terminal.reads("users", "list") == [{
            "id": 1, "email": EMAIL, "created_at": now, "verified_at": now,
            "disabled_at": None, "password_changed_at": now}]

    def test_nobody(self, terminal: Terminal) -> None:
        """An empty list is no mistake."""
        assert terminal.reads("users", "list") == []
        assert terminal.types("users", "list").exit_code == 0

    def test_page_by_page(
            self, terminal: Terminal, join: Callable[..., int]) -> None:
        """With the way to the next said aside, and only if there is one."""
        for number in range(5):
            join("u{}@me.com".format(number))
        page = terminal.types("users", "list", "--limit", "3", "--json")
        assert page.stderr == "There are more: --after 3\n"
        assert page.stdout.count('"email"') == 3
        rest = terminal.types(
            "users", "list", "--limit", "2", "--after", "3", "--json")
        assert rest.stderr == ""
        assert [name in rest.stdout for name in ("u2@", "u3@", "u4@")] \
            == [False, True, True]

    def test_chosen(self, terminal: Terminal,
                    join: Callable[..., int]) -> None:
        """By a piece of the address, as it stands, and by what they lack."""
        join("a_b@me.com", verified_at=None)
        join("axb@me.com", disabled_at=1)
        join("a_b@you.com")
        for options, chosen in (
                (["--search", "A_B"], ["a_b@me.com", "a_b@you.com"]),
                (["--search", "%"], []),
                (["--unverified"], ["a_b@me.com"]),
                (["--disabled"], ["axb@me.com"]),
                (["--disabled", "--unverified"], [])):
            assert emails(terminal.reads("users", "list", *options)) == chosen

    def test_search_for_what_no_address_has(
            self, terminal: Terminal) -> None:
        """A sentence, whatever the locale made of the words."""
        result = terminal.types("users", "list", "--search", "\udcff")
        assert (result.exit_code, result.stderr) == (
            1, "Error: Email contains a character no address may have.\n")

    def test_user_of_another_hand_is_shown(
            self, terminal: Terminal, db: DB) -> None:
        """Whom no verb of ours saved has no account beside."""
        db.add(User(email=EMAIL, hashed_password="x"))
        row, = terminal.reads("users", "list")
        assert (row["email"], row["created_at"]) == (EMAIL, None)

    def test_what_a_terminal_would_obey_is_spelled_out(
            self, terminal: Terminal, join: Callable[..., int]) -> None:
        """Or what turns the line around."""
        join("\u202ebob\u200b@me.com")
        assert "\\u202ebob\\u200b@me.com" in terminal.types(
            "users", "list").stdout


class TestShow:
    """`flask users show`."""

    @pytest.mark.usefixtures("bob")
    @pytest.mark.parametrize("who", [EMAIL, "BOB@me.com", "1"])
    def test_by_address_or_number(
            self, terminal: Terminal, safe: Auth, who: str) -> None:
        """In any spelling that is the same mailbox."""
        safe.create_session(EMAIL)
        shown = terminal.reads("users", "show", who)
        assert (shown["email"], shown["sessions"]) == (EMAIL, 1)
        lines = terminal.types("users", "show", who).stdout.splitlines()
        assert lines[1] == "email                bob@me.com"
        assert lines[4] == "disabled_at          -"

    def test_address_that_is_a_number_goes_before(
            self, desk: Terminal, join: Callable[..., int]) -> None:
        """In development any text is an address."""
        join(EMAIL)
        join("1")
        assert desk.reads("users", "show", "1")["id"] == 2

    @pytest.mark.parametrize("who, said", [
        (NOBODY, "Nobody is registered as 'nobody@me.com'"),
        ("7", "Nobody is registered as '7'"),
        ("9" * 30, "Nobody is registered as"),
        ("\x1b[31m", "Email contains a character no address may have"),
        ("\udcff", "Email contains a character no address may have"),
        ("x" * 251, "Email is longer than 250 characters")], ids=ascii)
    @pytest.mark.parametrize("command", [
        ["users", "show"], ["users", "disable", "--yes"], ["users", "enable"],
        ["users", "delete", "--yes"], ["users", "reset"],
        ["sessions", "end", "--yes"]],
        ids=lambda words: "-".join(words[:2]))
    def test_nobody_there(self, terminal: Terminal, command: List[str],
                          who: str, said: str) -> None:
        """One sentence and exit code 1, in every command."""
        result = terminal.types(*command, who)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("Error: " + said)


class TestAdd:
    """`flask users add`."""

    @pytest.mark.parametrize("ways, typed", [
        ([], STRONG + "\n" + STRONG + "\n"),
        (["--password-stdin"], STRONG + "\n"),
        (["--password-stdin"], STRONG + "\r\n"),
        (["--password-stdin"], STRONG)])
    def test_password_is_typed_or_read(
            self, terminal: Terminal, safe: Auth, ways: List[str],
            typed: str) -> None:
        """Never shown, and without the end of its line."""
        result = terminal.types("users", "add", EMAIL, *ways, typed=typed)
        assert result.exit_code == 0
        # An old runner puts what was typed there, too.
        assert result.stdout.endswith("bob@me.com is user 1.\n")
        assert STRONG not in result.stdout + result.stderr
        assert safe.valid_login(EMAIL, STRONG)

    def test_password_is_typed_twice(
            self, terminal: Terminal, safe: Auth) -> None:
        """Nobody sees what they type."""
        result = terminal.types("users", "add", EMAIL, typed="\n".join(
            (STRONG, "something else", STRONG, STRONG, "")))
        assert result.exit_code == 0 and "match" in result.stderr
        assert safe.valid_login(EMAIL, STRONG)

    def test_blanks_of_a_password_count(
            self, terminal: Terminal, safe: Auth) -> None:
        """Only the end of the line is no part of it."""
        terminal.types("users", "add", EMAIL, "--password-stdin",
                       typed=" {} \nmore".format(STRONG))
        assert safe.valid_login(EMAIL, " {} ".format(STRONG))

    @pytest.mark.parametrize("email, password, said", [
        (EMAIL, "short", "Password is shorter than 15 characters"),
        (EMAIL, "passwordpassword", "Password is one of the common ones"),
        (EMAIL, "i like bienvenue a lot", "Password contains a part of"),
        (EMAIL, "", "Password is missing"),
        ("bob", STRONG, "Email is not an address that mail can reach")])
    def test_rules_of_production_hold(
            self, terminal: Terminal, db: DB, email: str, password: str,
            said: str) -> None:
        """An administrator's users are guessed at like all others."""
        result = terminal.types("users", "add", email, "--password-stdin",
                                typed=password + "\n")
        assert result.exit_code == 1
        assert result.stderr.startswith("Error: " + said)
        assert db.find_all(User) == [] and terminal.facts() == []

    def test_rules_of_development_are_none(
            self, desk: Terminal, auth: Auth) -> None:
        """As everywhere in that mode."""
        desk.types("users", "add", "bob", "--password-stdin", typed="pw")
        assert auth.valid_login("bob", "pw")

    @pytest.mark.usefixtures("bob")
    def test_taken(self, terminal: Terminal) -> None:
        """Said plainly: whoever asks may list all users anyway."""
        result = terminal.types("users", "add", "BOB@me.com",
                                "--password-stdin", typed=STRONG)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == "Error: User BOB@me.com already exists.\n"

    @pytest.mark.parametrize("ways, verified", [([], False),
                                                (["--verified"], True)])
    def test_address_is_vouched_for_or_mailed(
            self, terminal: Terminal, safe: Auth, mailbox: Mailbox,
            ways: List[str], verified: bool) -> None:
        """Both are in the record, as done by terminal."""
        terminal.types("users", "add", EMAIL, "--password-stdin", *ways,
                       typed=STRONG)
        safe.deliver_mail()
        assert [email for email, _ in mailbox.mails] \
            == ([] if verified else [EMAIL])
        facts = ["account.created"] + ["email.verified"] * verified
        assert terminal.facts() == [(fact, 1, "by terminal")
                                    for fact in facts]

    def test_no_command_takes_a_password_as_a_word(self) -> None:
        """Every user of the machine sees the words of every process."""
        def commands(command: click.Command) -> List[click.Command]:
            """Return a command and all below it."""
            below = getattr(command, "commands", {}).values()
            return [command] + [
                each for part in below for each in commands(part)]
        named = [(command.name, option.opts)
                 for top in COMMANDS for command in commands(top)
                 for option in command.params
                 if "password" in "".join(option.opts)
                 and not getattr(option, "is_flag", False)]
        assert named == []


class TestDisable:
    """`flask users disable`; what it means is in tests/test_admin.py."""

    @pytest.mark.usefixtures("bob", "eve")
    def test_asks_first(self, terminal: Terminal, db: DB) -> None:
        """By address and number; no answer is a no."""
        for typed in ("n\n", "", "\n"):
            result = terminal.types("users", "disable", "1", typed=typed)
            assert result.exit_code == 1
            assert "Disable bob@me.com (number 1)? [y/N]" in result.stderr
        assert disabled_at(db, 1) is None
        result = terminal.types("users", "disable", "1", typed="y\n")
        assert result.exit_code == 0
        assert result.stdout.endswith("bob@me.com is disabled.\n")
        assert disabled_at(db, 1)
        assert disabled_at(db, 2) is None
        assert terminal.facts() == [("account.disabled", 1, "by terminal")]

    @pytest.mark.usefixtures("bob")
    def test_twice_is_once(
            self, terminal: Terminal, db: DB, clock: Clock) -> None:
        """Scripts may repeat it; the first time stays."""
        terminal.types("users", "disable", EMAIL, "--yes")
        first = terminal.reads("users", "show", EMAIL)
        clock.advance(100)
        again = terminal.types("users", "disable", EMAIL, "--yes")
        assert (again.exit_code, again.stdout) \
            == (0, "bob@me.com was disabled already.\n")
        assert terminal.reads("users", "show", EMAIL) == first
        assert len(terminal.facts()) == 1

    def test_user_of_another_hand(self, terminal: Terminal, db: DB,
                                  safe: Auth) -> None:
        """Who has no account beside gets one for it."""
        db.add(User(email=EMAIL, hashed_password="x"))
        terminal.types("users", "disable", EMAIL, "--yes")
        assert safe.create_session(EMAIL) is None


class TestEnable:
    """`flask users enable`."""

    @pytest.mark.usefixtures("bob")
    def test_undoes_disable(self, terminal: Terminal, safe: Auth) -> None:
        """With the password of before; nothing to be sure of."""
        terminal.types("users", "disable", EMAIL, "--yes")
        result = terminal.types("users", "enable", "1")
        assert (result.exit_code, result.stdout) \
            == (0, "bob@me.com can sign in again.\n")
        assert safe.log_in(EMAIL, STRONG)
        assert terminal.facts()[1] == ("account.enabled", 1, "by terminal")

    @pytest.mark.usefixtures("bob")
    def test_who_was_not_disabled(self, terminal: Terminal) -> None:
        """Is so still, and nothing happened."""
        result = terminal.types("users", "enable", EMAIL)
        assert (result.exit_code, result.stdout) \
            == (0, "bob@me.com was not disabled.\n")
        assert terminal.facts() == []


class TestDelete:
    """`flask users delete`."""

    @pytest.mark.usefixtures("bob", "eve")
    def test_asks_first(self, terminal: Terminal, db: DB, safe: Auth) -> None:
        """Then there is nothing left of them, and all of the others."""
        for email in (EMAIL, EVE):
            safe.create_session(email)
            safe.request_reset(email)
        assert terminal.types("users", "delete", EMAIL,
                              typed="n\n").exit_code == 1
        assert len(db.find_all(User)) == 2
        result = terminal.types("users", "delete", EMAIL, typed="y\n")
        assert "Delete all there is of bob@me.com (number 1)?" \
            in result.stderr
        assert result.exit_code == 0
        assert result.stdout.endswith("bob@me.com is deleted.\n")
        for table in (User, Session, Outgoing):
            row, = db.find_all(table)
            assert getattr(row, "email", EVE) == EVE

    @pytest.mark.usefixtures("bob")
    def test_what_was_counted_goes_too(
            self, terminal: Terminal, safe: Auth, db: DB) -> None:
        """Whoever has the address next is no stranger to be kept waiting."""
        with pytest.raises(BadCredentials):
            safe.log_in(EMAIL, "not it")
        safe.request_reset(EMAIL)
        safe.deliver_mail()
        assert len(db.find_all(Attempt)) == 2
        terminal.types("users", "delete", EMAIL, "--yes")
        assert db.find_all(Attempt) == []

    @pytest.mark.usefixtures("bob")
    def test_log_says_that_it_happened(
            self, terminal: Terminal,
            caplog: pytest.LogCaptureFixture) -> None:
        """The table may not."""
        caplog.set_level("INFO")
        terminal.types("users", "delete", EMAIL, "--yes")
        assert [vars(each)["fields"] for each in caplog.records
                if each.name == "bienvenue.audit"] == [
            {"fact": "account.deleted", "user_id": 1,
             "detail": "by terminal"}]
        assert terminal.facts() == []


class TestReset:
    """`flask users reset`."""

    @pytest.mark.usefixtures("bob")
    def test_mails_the_owner_and_shows_nobody(
            self, terminal: Terminal, safe: Auth, db: DB,
            mailbox: Mailbox) -> None:
        """An administrator starts a reset, and knows no password by it.

        ASVS 6.4.6. Nothing changes before the owner acts.
        """
        result = terminal.types("users", "reset", EMAIL)
        assert (result.exit_code, result.stdout) \
            == (0, "A reset is on its way to bob@me.com.\n")
        assert db.find_user_by(id=1).reset_token is None
        assert safe.valid_login(EMAIL, STRONG)
        safe.deliver_mail()
        token = mailbox.token(EMAIL)
        assert token not in result.output + result.stderr
        safe.reset_password(token, STRONG + "!")
        assert safe.valid_login(EMAIL, STRONG + "!")
        assert terminal.facts()[0] == ("reset.requested", 1, "by terminal")

    @pytest.mark.usefixtures("bob")
    def test_disabled_user(self, terminal: Terminal, db: DB) -> None:
        """Would wait for a mail that does not come."""
        terminal.types("users", "disable", EMAIL, "--yes")
        result = terminal.types("users", "reset", EMAIL)
        assert (result.exit_code, result.stderr) == (
            1, "Error: The account of bob@me.com is disabled: enable it "
            "first.\n")
        assert db.find_all(Outgoing) == []


class TestStore:
    """What happens when the database cannot be reached."""

    def test_is_a_sentence(self, tmp_path: Path,
                           safe_settings: Settings) -> None:
        """With the cause, and exit code 1."""
        path = tmp_path / "broken.db"
        path.write_bytes(b"no database" * 1000)
        store = DB("sqlite:///{}".format(path))
        result = Terminal(Auth(store, safe_settings), store).types(
            "users", "list")
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith(
            "Error: The database cannot be used: ")
        assert result.stderr.endswith("is not a database.\n")
        store.close()


class TestProcess:
    """The commands as people start them."""

    def test_output_is_what_was_asked_for(self, tmp_path: Path) -> None:
        """The log and all else go to standard error."""
        environ = dict(os.environ, BCRYPT_COST="4", DATABASE_URL=(
            "sqlite:///{}".format(tmp_path / "test.db")))

        def flask(*words: str) -> Tuple[bytes, bytes]:
            """Run a command and return what it printed, in two parts."""
            done = subprocess.run(
                [sys.executable, "-W", "error", "-m", "flask", "users",
                 *words], input=STRONG.encode(), stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, cwd=str(ROOT), env=environ)
            assert done.returncode == 0, done.stderr
            return done.stdout, done.stderr
        out, err = flask("add", EMAIL, "--password-stdin")
        assert out == b"bob@me.com is user 1.\n"
        assert b"account.created user_id=1 detail=by terminal\n" in err
        rows = json.loads(flask("list", "--json")[0].decode())
        assert emails(rows) == [EMAIL]
        assert flask("export", "-")[0].startswith(b'{"id": 1, "email": "bob')

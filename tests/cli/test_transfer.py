#!/usr/bin/env python3
"""`flask users import` and `export`: many people, in and out."""
from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import re
import stat
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import pytest

import admin
import cli.common
import cli.transfer
from auth import Auth
from cli.transfer import (
    LONGEST_LINE, Csv, Import, JsonLines, format_of)
from credentials import passwords
from db import DB
from models import Account
from settings import Settings
from tests.cli.conftest import EVE, Terminal
from tests.helpers import EMAIL, STRONG, Clock
from user import User

BCRYPT = passwords.hash_password(STRONG, 4)
# Made by Django, Werkzeug and passlib; see tests/credentials/test_foreign.py.
DJANGO = ("pbkdf2_sha256$1000$jOCbFHyCqKcRgl4JonuMMt$eUCgdqCZ29x79ZJdAqyrlXHy"
          "dDPZa8vyBcbl6oPWjiA=")
WERKZEUG = ("scrypt:1024:8:1$HpLsplbbMj81cXUU$f1f5e70b02c815a7289ac675ddd1f06"
            "f2362d6f81f3ba6ec117a7eb0334aefed9a44728f145712c170c216ee2c5dd84"
            "72724a5677e6c6a50d88a61c4533fd7a0")
PASSLIB = ("$argon2id$v=19$m=1024,t=2,p=4$8d57r/V+T4lR6j2ntHZuTQ$zhGas2Flawy"
           "0n3/QgCafNVMttKrwuio4B1XsB5hMOeY")
THEIRS = [DJANGO, WERKZEUG, PASSLIB]
COLUMNS = ("email", "hashed_password", "created_at", "verified_at",
           "disabled_at", "password_changed_at")
NO_TIMES: List[Any] = [
    -1, "-1", "canary", True, [], 10 ** 12, "9" * 13, 1e400, float("nan"),
    "2026-13-01", "\u0661", "0001-01-01"]
WARNING = "Whoever reads the file can guess at every password in it"
formats = pytest.mark.parametrize("form", ["csv", "jsonl"])


def people(db: DB) -> List[Dict[str, Any]]:
    """Return every user, by what an export with hashes is to keep."""
    return [dict(
        {name: getattr(account, name) for name in COLUMNS[2:]},
        email=user.email, hashed_password=user.hashed_password)
        for user, account in db.find_accounts()]


def lines(*rows: Any) -> bytes:
    """Return JSON Lines of what is no text, and the others as they are."""
    return b"\n".join(
        row if isinstance(row, bytes) else json.dumps(row).encode()
        for row in rows)


@pytest.fixture
def elsewhere(tmp_path: Path, safe_settings: Settings, clock: Clock) -> Any:
    """Another service, whose store is empty, by a later clock."""
    later = Clock()
    later.advance(1000)
    store = DB("sqlite:///{}".format(tmp_path / "elsewhere.db"))
    yield Terminal(Auth(store, safe_settings, later), store), store
    store.close()


class TestImport:
    """`flask users import`: who is new is added, and nobody else changed."""

    def test_all_that_is_known(
            self, terminal: Terminal, db: DB, clock: Clock) -> None:
        """Seconds or ISO 8601, in any zone; now where it is not said."""
        now = int(clock.now)
        result = terminal.types("users", "import", "-", typed=lines(
            {"email": "A@me.com", "hashed_password": BCRYPT,
             "created_at": 1600000000, "verified_at": 1600000001.5,
             "disabled_at": "1600000002",
             "password_changed_at": "2020-09-13T12:26:43Z"},
            {"email": "b@me.com", "hashed_password": BCRYPT,
             "created_at": "2020-09-13T14:26:40+02:00", "id": 77},
            {"email": "c@me.com", "created_at": "2020-09-13 12:26:40",
             "verified_at": None, "disabled_at": "", "nonsense": [1]},
            {"email": "d@me.com"}))
        assert (result.exit_code, result.stderr, result.stdout) \
            == (0, "", "4 added, 0 already there, 0 bad.\n")
        nobody = passwords.unmatchable_hash(4)
        rows = [tuple(each[name] for name in COLUMNS) for each in people(db)]
        t = 1600000000
        assert rows == [
            ("a@me.com", BCRYPT, t, t + 1, t + 2, t + 3),
            ("b@me.com", BCRYPT, t, None, None, t),
            ("c@me.com", nobody, t, None, None, t),
            ("d@me.com", nobody, now, None, None, now)]

    def test_again_is_harmless(
            self, terminal: Terminal, db: DB, safe: Auth) -> None:
        """Who is there stays as they are, whatever the file says."""
        first = lines({"email": EMAIL, "hashed_password": BCRYPT},
                      {"email": EVE, "hashed_password": BCRYPT})
        terminal.types("users", "import", "-", typed=first)
        token = safe.create_session(EMAIL)
        before = people(db)
        result = terminal.types("users", "import", "-", typed=lines(
            {"email": "BOB@me.com", "hashed_password": DJANGO,
             "disabled_at": 1}, {"email": EVE, "verified_at": 1},
            {"email": "new@me.com"}))
        assert result.stdout == "1 added, 2 already there, 0 bad.\n"
        assert people(db)[:2] == before
        assert safe.get_user_from_session_id(token)
        assert terminal.facts() == [
            ("accounts.imported", None, "2 users, by terminal"),
            ("accounts.imported", None, "1 users, by terminal")]

    def test_twice_in_one_file(
            self, terminal: Terminal, db: DB,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """The first counts, in one batch and in the next."""
        monkeypatch.setattr(cli.transfer, "BATCH", 2)
        result = terminal.types("users", "import", "-", typed=lines(
            {"email": EMAIL, "created_at": 1},
            {"email": "Bob@me.com", "created_at": 2},
            {"email": EMAIL, "created_at": 3}))
        assert result.stdout == "1 added, 2 already there, 0 bad.\n"
        assert [each["created_at"] for each in people(db)] == [1]

    BAD: List[Tuple[Any, str]] = [
        (b"{", "is not a JSON object, or has a name twice"),
        (b"[]", "is not a JSON object, or has a name twice"),
        (b'{"email": "a@me.com", "email": "b@me.com"}',
         "is not a JSON object, or has a name twice"),
        (b"[" * 5000, "is not a JSON object, or has a name twice"),
        (b'{"email": "caf\xe9@me.com"}', "is not UTF-8"),
        (b" " * (LONGEST_LINE + 1), "is longer than 65536 bytes"),
        (b"x" * 300000, "is longer than 65536 bytes"),
        ({}, "email is missing"), ({"email": 7}, "email is missing"),
        ({"email": "canary"}, "email is not an address that mail can reach"),
        ({"email": "canary\n@me.com"},
         "email contains a character no address may have"),
        ({"email": "x" * 251 + "@me.com"},
         "email is longer than 250 characters"),
        ({"email": "a@me.com", "password": "canary"},
         "password is not taken in clear: send hashed_password"),
        ({"email": "a@me.com", "hashed_password": "canary"},
         "hashed_password is of no kind that is known here"),
        ({"email": "a@me.com", "hashed_password": ["canary"]},
         "hashed_password is not text of up to 250 characters"),
        ({"email": "a@me.com", "hashed_password": BCRYPT.replace("04", "31")},
         "hashed_password has a cost of 31, where 4 to 16 are taken"),
        ({"email": "a@me.com",
          "hashed_password": DJANGO.replace("1000", "9000000")},
         "hashed_password has 9000000 rounds, where 1000 to 5000000 are "
         "taken"),
        ({"email": "a@me.com",
          "hashed_password": "hmac-sha384$6a3df36f" + BCRYPT},
         "hashed_password needs a pepper that neither PEPPER nor PEPPER_OLD "
         "holds")] + [
        ({"email": "a@me.com", "created_at": value},
         "created_at is no time, as in 1795000000 or 2026-11-18T11:06:40Z")
        for value in NO_TIMES]

    @pytest.mark.parametrize("bad, said", BAD,
                             ids=lambda each: str(each)[:40])
    def test_bad_line_is_named_and_the_rest_goes_on(
            self, terminal: Terminal, db: DB, bad: Any, said: str) -> None:
        """By its number and the reason, which repeats no value."""
        result = terminal.types("users", "import", "-", typed=lines(
            {"email": EMAIL}, b"", bad, {"email": EVE}))
        assert (result.exit_code, result.stdout) \
            == (1, "2 added, 0 already there, 1 bad.\n")
        assert result.stderr == "line 3: {}\n".format(said)
        assert [each["email"] for each in people(db)] == [EMAIL, EVE]

    def test_rules_of_development(self, desk: Terminal) -> None:
        """Any text is an address there, as in all of that mode."""
        assert desk.types("users", "import", "-", typed=lines(
            {"email": "hi"})).stdout.startswith("1 added")

    def test_counts_are_for_programs(self, terminal: Terminal) -> None:
        """The exit code says whether all is well."""
        result = terminal.types(
            "users", "import", "-", "--json",
            typed=lines({"email": EMAIL}, b"{"))
        assert json.loads(result.stdout) == {
            "added": 1, "there": 0, "bad": 1}
        assert result.exit_code == 1

    def test_no_such_file(self, terminal: Terminal, tmp_path: Path) -> None:
        """Is a command that makes no sense."""
        for path in (tmp_path / "nowhere", tmp_path):
            result = terminal.types("users", "import", str(path))
            assert (result.exit_code, result.stdout) == (2, "")

    def test_empty_file(self, terminal: Terminal, tmp_path: Path) -> None:
        """Brings nobody, and harms nobody."""
        for name in ("none.csv", "none.jsonl"):
            (tmp_path / name).write_bytes(b"")
            result = terminal.types("users", "import", str(tmp_path / name))
            assert (result.exit_code, result.stdout) \
                == (0, "0 added, 0 already there, 0 bad.\n")
        assert terminal.facts() == []

    def test_sends_no_mail(self, terminal: Terminal, safe: Auth) -> None:
        """A million people do not expect one."""
        terminal.types("users", "import", "-", typed=lines(
            {"email": EMAIL}, {"email": EVE, "verified_at": 1}))
        assert safe.deliver_mail() == 0

    @pytest.mark.parametrize("size", [1, 2, 3, 4])
    def test_batches(self, terminal: Terminal, db: DB, size: int,
                     monkeypatch: pytest.MonkeyPatch) -> None:
        """None is lost where one ends; each is a transaction with its fact."""
        monkeypatch.setattr(cli.transfer, "BATCH", size)
        terminal.types("users", "import", "-", typed=lines(*[
            {"email": "u{}@me.com".format(number)} for number in range(3)]))
        assert len(people(db)) == len(db.find_all(Account)) == 3
        assert len(terminal.facts()) == -(-3 // size)


class TestCsv:
    """What is particular to commas."""

    def test_columns_are_named_in_any_order(
            self, terminal: Terminal, db: DB) -> None:
        """With a byte order mark, blanks around, and Windows' line ends."""
        result = terminal.types(
            "users", "import", "-", "--format", "csv", typed=(
                "\ufeffcreated_at, email ,other\r\n"
                "7,bob@me.com,\"x, y\"\r\n"
                ",eve@me.com,\r\n").encode())
        assert result.stdout == "2 added, 0 already there, 0 bad.\n"
        assert [each["created_at"] for each in people(db)] \
            == [7, 1795000000]

    @pytest.mark.parametrize("header", [
        b"address,hash", b"bob@me.com", b"email,email", b"email;created_at",
        b"Email"])
    def test_first_line_names_no_columns(
            self, terminal: Terminal, db: DB, header: bytes) -> None:
        """Then nothing can be read, and nothing is."""
        result = terminal.types("users", "import", "-", "--format", "csv",
                                typed=header + b"\nbob@me.com,\n")
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith(
            "Error: The first line has to name the columns")
        assert people(db) == []

    @pytest.mark.parametrize("bad, said", [
        (b"eve@me.com", "has 1 values for 2 columns"),
        (b"eve@me.com,,", "has 3 values for 2 columns"),
        (b'"eve@me.com,', "is not a line of CSV: its quotation"),
        (b'"eve"@me.com,', "is not a line of CSV: its quotation"),
        (b"eve\0@me.com,", ""), (b"\xff,", "is not UTF-8")])
    def test_bad_line_spoils_no_other(
            self, terminal: Terminal, db: DB, bad: bytes, said: str) -> None:
        """Not even one that opens a quote and does not close it."""
        result = terminal.types(
            "users", "import", "-", "--format", "csv",
            typed=b"email,created_at\n" + bad + b"\nbob@me.com,\n")
        assert result.stderr.startswith("line 2: " + said)
        assert (result.exit_code, result.stdout) \
            == (1, "1 added, 0 already there, 1 bad.\n")
        assert [each["email"] for each in people(db)] == [EMAIL]

    @pytest.mark.parametrize("value", [
        "=1+1@me.com", "+bob@me.com", "-bob@me.com", "@bob", "'bob@me.com",
        "''bob", "'=bob", "'", "'+", "\uff1dbob", "bob@me.com", "b,ob",
        'b"ob', " bob ", "'x", "\u00e9"], ids=ascii)
    def test_no_cell_is_a_formula(self, value: str) -> None:
        """In a spreadsheet; and each comes back as it was (CWE-1236)."""
        out, back = Csv(), Csv()
        header, line, _ = out.write({"email": value, "n": 7}).split("\n")
        cell = next(csv.reader([line]))[0]
        assert cell[:1] not in "=+-@\t\r\uff1d\uff0b\uff0d\uff20"
        assert back.read(header) is None
        assert back.read(line) == {"email": value, "n": "7"}

    @pytest.mark.parametrize("cell, value", [
        ("'bob@me.com", "'bob@me.com"), ("'=bob@me.com", "=bob@me.com"),
        ("''bob@me.com", "'bob@me.com"), ("'", "'")])
    def test_apostrophe_of_another_hand_stays(
            self, cell: str, value: str) -> None:
        """Only before what would be a formula it is ours to take away."""
        form = Csv()
        form.read("email")
        assert form.read(cell) == {"email": value}

    @pytest.mark.parametrize("path, form", [
        ("users.csv", "csv"), ("USERS.CSV", "csv"), ("users.jsonl", "jsonl"),
        ("users", "jsonl"), ("-", "jsonl"), ("csv", "jsonl")])
    def test_format_by_name(self, path: str, form: str) -> None:
        """Unless --format says it."""
        assert format_of(path) == form

    def test_json_is_ascii(self) -> None:
        """So that no editor and no terminal makes anything of it."""
        assert JsonLines().write({"email": "\u202e\x1b"}).isascii()


class TestForeignHashes:
    """Who comes from Django, Werkzeug or passlib keeps their password."""

    @pytest.fixture
    def settler(self, terminal: Terminal) -> Callable[[str], None]:
        """Import a user with this hash."""
        def arrive(hashed: str) -> None:
            """Bring them in, verified."""
            result = terminal.types("users", "import", "-", typed=lines({
                "email": EMAIL, "hashed_password": hashed,
                "verified_at": 1}))
            assert result.exit_code == 0, result.stderr
        return arrive

    @pytest.mark.parametrize("hashed", THEIRS, ids=lambda each: each[:14])
    def test_is_kept_until_the_first_sign_in(
            self, settler: Callable[[str], None], safe: Auth, db: DB,
            hashed: str) -> None:
        """Then it is bcrypt, and goes on opening."""
        settler(hashed)
        assert db.find_user_by(id=1).hashed_password == hashed
        assert not safe.valid_login(EMAIL, STRONG + "!")
        assert safe.valid_login(EMAIL, STRONG)
        assert db.find_user_by(id=1).hashed_password == hashed
        assert safe.log_in(EMAIL, STRONG)
        assert db.find_user_by(id=1).hashed_password.startswith("$2b$04$")
        assert safe.log_in(EMAIL, STRONG)

    @pytest.mark.parametrize("name", ["$2a$", "$2b$", "$2y$"])
    def test_bcrypt_is_kept_as_it_is(
            self, settler: Callable[[str], None], safe: Auth, db: DB,
            name: str) -> None:
        """Also after a sign-in, if its cost will do."""
        hashed = name + BCRYPT[4:]
        settler(hashed)
        assert safe.log_in(EMAIL, STRONG)
        assert db.find_user_by(id=1).hashed_password == hashed

    @pytest.mark.parametrize("hashed", THEIRS, ids=lambda each: each[:14])
    def test_pepper_is_put_on_it(
            self, terminal: Terminal, settler: Callable[[str], None], db: DB,
            safe_settings: Settings, hashed: str) -> None:
        """As on every other hash."""
        settler(hashed)
        keyed = Auth(db, dataclasses.replace(
            safe_settings, pepper="a pepper of thirty-two characters"))
        assert keyed.log_in(EMAIL, STRONG)
        assert db.find_user_by(id=1).hashed_password.startswith(
            "hmac-sha384$")

    def test_our_own_under_a_pepper(
            self, db: DB, safe_settings: Settings) -> None:
        """An export goes to where the same pepper is at hand."""
        pepper = "a pepper of thirty-two characters"
        keyed = Auth(db, dataclasses.replace(
            safe_settings, pepper_old=(pepper,)))
        hashed = passwords.hash_password(STRONG, 4, (pepper,))
        result = Terminal(keyed, db).types(
            "users", "import", "-", typed=lines(
                {"email": EMAIL, "hashed_password": hashed}))
        assert result.stdout == "1 added, 0 already there, 0 bad.\n"
        assert keyed.valid_login(EMAIL, STRONG)

    def test_who_has_no_hash_resets(
            self, terminal: Terminal, safe: Auth, mailbox: Any) -> None:
        """No password is theirs before."""
        terminal.types("users", "import", "-", typed=lines({"email": EMAIL}))
        assert not safe.valid_login(EMAIL, "")
        terminal.types("users", "reset", EMAIL)
        safe.deliver_mail()
        safe.reset_password(mailbox.token(EMAIL), STRONG)
        assert safe.log_in(EMAIL, STRONG)


class TestExport:
    """`flask users export`: all of them, for the next import."""

    @pytest.fixture
    def crowd(self, db: DB, clock: Clock) -> None:
        """People of every kind, the third of whom left."""
        for number, (email, hashed) in enumerate((
                (EMAIL, BCRYPT), ("=1+1@me.com", DJANGO), ("gone", "x"),
                ("'q,u\"o@me.com", WERKZEUG), ("\u00e9@me.com", PASSLIB),
                ("-7@me.com", passwords.hash_password("x" * 80, 4)),
                ("last@me.com", passwords.unmatchable_hash(12)))):
            user = db.add_user(email, hashed, 1600000000 + number)
            db.change(Account, {"user_id": user.id},
                      verified_at=number or None,
                      disabled_at=5 if number == 3 else None,
                      password_changed_at=1600000100 + number)
        db.delete(User, email="gone")

    @formats
    @pytest.mark.usefixtures("crowd")
    def test_round_trip(self, desk: Terminal, db: DB, form: str,
                        tmp_path: Path, settings: Settings) -> None:
        """With hashes, an import makes the same users of it."""
        path = str(tmp_path / "users.{}".format(form))
        desk.types("users", "export", path, "--with-hashes", "--yes")
        store = DB("sqlite:///{}".format(tmp_path / "elsewhere.db"))
        there = Terminal(Auth(store, settings), store)
        result = there.types("users", "import", path)
        assert result.stdout == "6 added, 0 already there, 0 bad.\n"
        assert people(store) == people(db)
        again = str(tmp_path / "again.{}".format(form))
        there.types("users", "export", again, "--with-hashes", "--yes")
        ids = r"(?m)^(\{\"id\": )?[0-9]+,"
        assert re.sub(ids, "", Path(again).read_text()) \
            == re.sub(ids, "", Path(path).read_text())
        store.close()

    @formats
    @pytest.mark.usefixtures("bob")
    def test_without_hashes(self, terminal: Terminal, form: str,
                            elsewhere: Any) -> None:
        """Nothing to guess at; nobody is asked, and it can be read back."""
        result = terminal.types("users", "export", "-", "--format", form)
        assert (result.exit_code, result.stderr) == (0, "Users exported: 1.\n")
        assert "$2b$" not in result.stdout and EMAIL in result.stdout
        there, store = elsewhere
        there.types("users", "import", "-", "--format", form,
                    typed=result.stdout)
        row, = people(store)
        assert row["hashed_password"] == passwords.unmatchable_hash(4)
        assert row["created_at"] == 1795000000
        assert terminal.facts() == [
            ("accounts.exported", None, "without hashes, by terminal")]

    @pytest.mark.usefixtures("bob")
    def test_hashes_only_after_a_warning(
            self, terminal: Terminal, tmp_path: Path) -> None:
        """And a yes; otherwise no file and no fact."""
        path = tmp_path / "users.jsonl"
        for typed in ("n\n", ""):
            result = terminal.types("users", "export", str(path),
                                    "--with-hashes", typed=typed)
            assert result.exit_code == 1 and WARNING in result.stderr
            assert not path.exists() and terminal.facts() == []
        result = terminal.types("users", "export", str(path),
                                "--with-hashes", typed="y\n")
        assert result.exit_code == 0 and WARNING in result.stderr
        assert "$2b$04$" in path.read_text()
        assert terminal.facts() == [
            ("accounts.exported", None, "with hashes, by terminal")]

    @pytest.mark.usefixtures("bob")
    def test_file_is_its_owners_only(
            self, terminal: Terminal, tmp_path: Path) -> None:
        """From its first byte, whatever the umask."""
        path, before = tmp_path / "users.csv", os.umask(0)
        try:
            terminal.types("users", "export", str(path))
        finally:
            os.umask(before)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    @pytest.mark.usefixtures("bob")
    def test_replaces_no_file(
            self, terminal: Terminal, tmp_path: Path) -> None:
        """Not even by way of a link."""
        path, link = tmp_path / "users.csv", tmp_path / "link.csv"
        path.write_text("mine")
        link.symlink_to(tmp_path / "target.csv")
        for each in (path, link, tmp_path / "nowhere" / "users.csv"):
            result = terminal.types("users", "export", str(each))
            assert (result.exit_code, result.stdout) == (1, "")
            assert str(each) in result.stderr
        assert path.read_text() == "mine"
        assert not (tmp_path / "target.csv").exists()

    def test_says_that_there_is_a_file(
            self, terminal: Terminal, tmp_path: Path) -> None:
        """And what to do about it."""
        path = tmp_path / "users.csv"
        path.write_text("mine")
        result = terminal.types("users", "export", str(path))
        assert result.stderr.endswith(
            "Error: {} is there already: name a new file.\n".format(path))

    @pytest.mark.usefixtures("bob")
    def test_half_an_export_is_removed(
            self, terminal: Terminal, safe: Auth, tmp_path: Path,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """It would be taken for all there is."""
        def break_off(*_: Any) -> str:
            """Fail as a full disk does."""
            raise OSError("no space left on device")
        monkeypatch.setattr(JsonLines, "write", break_off)
        with pytest.raises(OSError):
            terminal.types("users", "export", str(tmp_path / "users.jsonl"))
        assert not (tmp_path / "users.jsonl").exists()

    def test_nobody(self, terminal: Terminal) -> None:
        """An empty export is one."""
        result = terminal.types("users", "export", "-")
        assert (result.exit_code, result.stdout) == (0, "")


class TestStreams:
    """Any number of people take the memory of one batch.

    Measured with a million in docs/commands.md.
    """

    @pytest.mark.parametrize("form", [
        b'{"email": "user%d@me.com"}\n', b'{"email": broken%d\n'])
    def test_import_reads_no_further_than_it_saved(
            self, auth: Auth, monkeypatch: pytest.MonkeyPatch,
            form: bytes) -> None:
        """But for one batch; bad lines are not gathered either."""
        monkeypatch.setattr(cli.transfer, "BATCH", 10)
        work, read = Import(auth, "jsonl"), 0

        class Endless(io.BytesIO):
            """A file of which each line is made when it is read."""

            def readline(self, size: Any = -1) -> bytes:
                """Return a line, as long as nobody runs ahead."""
                nonlocal read
                counts = work.counts
                assert read <= counts["added"] + counts["bad"] + 10
                read += 1
                return form % read if read <= 95 else b""
        work.run(Endless(), lambda _: None)
        assert sum(work.counts.values()) == 95

    def test_export_reads_one_page_at_a_time(
            self, auth: Auth, db: DB, join: Callable[..., int],
            monkeypatch: pytest.MonkeyPatch) -> None:
        """And the next when all of it is written."""
        monkeypatch.setattr(admin, "BATCH", 2)
        for number in range(5):
            join("user{}@me.com".format(number))
        find_accounts, limits = db.find_accounts, []

        def note(*conditions: Any, limit: Optional[int] = None) -> Any:
            """Keep how many were asked for."""
            limits.append(limit)
            return find_accounts(*conditions, limit=limit)
        monkeypatch.setattr(db, "find_accounts", note)
        for place, _ in enumerate(auth.admin.export_people()):
            assert limits == [2] * (place // 2 + 1)


class TestStop:
    """Ctrl+C in the middle of many."""

    def test_import_says_what_is_done(
            self, terminal: Terminal, tmp_path: Path, db: DB,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """Whole batches stay, and it can be run again."""
        path = tmp_path / "in.jsonl"
        path.write_bytes(lines({"email": EVE}, {"email": EMAIL}))
        monkeypatch.setattr(cli.transfer, "BATCH", 1)
        add_users = db.add_users

        def once(people: Any) -> int:
            """Add one batch; then somebody has seen enough."""
            monkeypatch.setattr(db, "add_users", stop)
            return add_users(people)

        def stop(_people: Any) -> int:
            """Press Ctrl+C in the middle."""
            raise KeyboardInterrupt
        monkeypatch.setattr(db, "add_users", once)
        result = terminal.types("users", "import", str(path))
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.endswith(
            "Error: Stopped with 1 added, who stay; the same command adds the "
            "rest.\n")
        assert len(db.find_all(User)) == 1


class TestProgress:
    """A bar for whoever looks on, and for nobody else."""

    @pytest.mark.parametrize("words, label", [
        (["users", "export", "{}/out.jsonl"], "Exporting"),
        (["users", "import", "{}/in.jsonl"], "Importing")])
    @pytest.mark.parametrize("watched", [True, False])
    @pytest.mark.usefixtures("bob")
    def test_only_on_a_terminal(
            self, terminal: Terminal, tmp_path: Path, words: List[str],
            label: str, watched: bool,
            monkeypatch: pytest.MonkeyPatch) -> None:
        """On standard error, so that the output stays what it is."""
        (tmp_path / "in.jsonl").write_bytes(lines({"email": EVE}))
        monkeypatch.setattr(cli.common, "is_watched", lambda: watched)
        result = terminal.types(*[each.format(tmp_path) for each in words])
        assert (label in result.stderr) is watched
        assert label not in result.stdout and result.exit_code == 0

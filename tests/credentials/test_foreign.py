#!/usr/bin/env python3
"""Hashes of other tools: each is checked, within bounds, and nothing else.

The hashes are literals of the tools themselves: Django 6.1.3, Werkzeug 3.1.9,
passlib 1.7.4 and argon2-cffi 25.1.0, at costs that are quick to check.
"""
from __future__ import annotations

import base64
import subprocess
import sys
from typing import Any, List

import bcrypt
import pytest

from credentials import foreign, passwords
from credentials.foreign import BadHash
from errors import InvalidInput
from tests.helpers import ROOT, STRONG

COST = 4
# Beyond what bcrypt alone would look at, and not ASCII.
LONG = "caf\u00e9 \U0001f600 " + "x" * 80
MADE = [
    (STRONG,
     "pbkdf2_sha256$1000$fJ3O0Ojxke6cp4rsUPRMoX$CQYzF0XPp5ZNIYesaV"
     "5h9HEBxS7xkt1fk24+BtLPcNM="),
    (STRONG,
     "pbkdf2_sha1$1000$c4a00BORtOcWNTCkKGQqUp$Dckwy8Orr34mvdr1FN6s"
     "wQpWBl8="),
    (STRONG,
     "scrypt$1024$Sed26SN5FA3pjxlRNaGdSj$8$5$d3QP1BKDKt1y0gc3BsKtd"
     "3NCuJTD/bFsTiN0zx2f8+z4x9hqtN4PvAhFy+ilRmyEkzj/WWVi0w7RJZXf9"
     "l4+jw=="),
    (STRONG,
     "argon2$argon2id$v=19$m=1024,t=2,p=8$dEdLOUFXcmkxdDYwWWRiRTVP"
     "c2lDdg$xd/2gJnE7ZV2s7N6XWwSm2DSM/H65AoFObHp6gxXTUg"),
    (STRONG,
     "pbkdf2:sha256:1000$w4OEbq76JvXJVgFH$c9ab19a5639b16b959a91b12"
     "582236a7dc4382a86698b1fe76d384d56509357b"),
    (STRONG,
     "pbkdf2:sha512:1000$9xjncDCHWrpWGDnj$b683f6e78d862b3c8e698023"
     "ade2520d8de99139684b6fdbfd1ecb6c4e587dd107217a2d394839811650"
     "c5b5a5ddd7c1ae3b5f24454904f0320d532ae5a63446"),
    (STRONG,
     "pbkdf2:sha1:1000$KB74dO7LC4NeWQ59$5895f1f530eae385318ab6681d"
     "eb11edc13168fc"),
    (STRONG,
     "scrypt:1024:8:1$sTYZNOYSGRq7f0I3$c2b101a35c95943610be2d194b2"
     "ba3dac3cf8d66bc706ddb98e304f41a4b4d84f1049933cbab527a75ac58a"
     "d032ce29b82633faab0153bb5d233e40cd5446630"),
    (STRONG,
     "$pbkdf2-sha256$1000$phTiPGdMSYkRQqg1htBaKw$6jX7l2O1IY5x6zBeU"
     "ZPp4RsjNZBlMVHuaT5aXKLcKB4"),
    (STRONG,
     "$pbkdf2-sha512$1000$gRBibM0ZY8w5p1QKYQzh/A$BIbmWkpYRu/vpmC9i"
     "EnO0R2jpx5kSDJRYUpdcJM.BNp74jmHdAUoEOzaeppqe2I4Zm6x1ut7pfA3I"
     "LM31hLlwA"),
    (STRONG,
     "$pbkdf2$1000$sRaiVArh/N.bE6LUutf63w$lRal9EIp1aRgcsVXcARU5gQl"
     "6t4"),
    (STRONG,
     "$scrypt$ln=10,r=8,p=1$USqllJISIoQQotR6r/U+pw$ciTJlctV21+poHq"
     "Mn/BNX1fD8vV8ruMT0RLVXtLMeCo"),
    (STRONG,
     "$argon2id$v=19$m=1024,t=2,p=4$lJLSGsPYu5dyTmltTWkNQQ$SUMl24K"
     "o8/DDJFv9nLJNz+sBeJTGMnQ6imHrd1ZDdUs"),
    (STRONG,
     "$argon2id$v=19$m=1024,t=2,p=4$p7BK9kz4Ma3ATQrA7TrJkA$j4XExoM"
     "Fd9sLCZmT42oUb5b4qiuFwpgghyk5VbRK0F8"),
    (LONG,
     "pbkdf2_sha256$1000$fts1FwqMdfm70vthLm7l65$Udbx6zl0yaZ6uFppy0"
     "KQaGPzVzfpInhLANU317fOe5o="),
    (LONG,
     "pbkdf2_sha1$1000$gLCLnfklYxMxOpitYJESEw$rT8k/UwB+0wwhG7gYrx+"
     "4rUTUTo="),
    (LONG,
     "scrypt$1024$4PtYlUu5MiYsKRc762IwxK$8$5$JiMeUkOJz7X9qCTE5NIdy"
     "t+T/OfVGr8xCoT3MwXAofvY89wBi+HQ1HF8c0+/KU/V4xzDRqggYqmfqHkme"
     "SJw+Q=="),
    (LONG,
     "argon2$argon2id$v=19$m=1024,t=2,p=8$TjBwV3B1c0hNeklDR3ljVDBN"
     "S2JydQ$5dEvQiGPwa2y5tkVLc6uwOOHUKJMs7X0D5XmrJagLHU"),
    (LONG,
     "pbkdf2:sha256:1000$nKNeE9NN7jwXnZu3$7fd88aaf0b6dc249848351cf"
     "85fa10238e9fe8043823491f985c4eec9ad3988a"),
    (LONG,
     "pbkdf2:sha512:1000$yKOTK2BaG6cM74qq$bf21f82d0faf094edcc9bffa"
     "9f57910d9ba542acc039014dc2b4b954d5fc8309b337bb5246e439441dc1"
     "766f186b48112edc9954ed85886f5d48fe6fa7155d49"),
    (LONG,
     "pbkdf2:sha1:1000$MLQxXNqhm115rI0j$a81ec8436b661fa5f880f57e20"
     "7dda84aa8f9750"),
    (LONG,
     "scrypt:1024:8:1$lK5R4QqWrpo3LIZb$242f332199fbb5ec6c297f695fe"
     "aacf59551a8a18cf18b5623ede35a30ac7851d6f16aedc30740e23fabfbd"
     "0b99a9a77f9efc13da24b09fed5b916c05e06b541"),
    (LONG,
     "$pbkdf2-sha256$1000$RohRao3Reo/x3hvjHGMMAQ$hvZOEiraRx6Ffr9ZO"
     "nNaLQUwUej162XGsu.6/6QTAg4"),
    (LONG,
     "$pbkdf2-sha512$1000$yJlTKiWEsDYG4DxHSAkBQA$R/6StaSwvXI9tnuxF"
     "Rhx/nqM3sZ4GDgMsX8t88Fs8.Qefu4oz7Dmg7DoZRtYRoJQVIPMwx8.ufOA7"
     "Td.WPLJ1Q"),
    (LONG,
     "$pbkdf2$1000$o3RuDcEYY.y9d24NYQzB2A$V3vHC4m42ZGucNlKuFwqNYCY"
     "fWA"),
    (LONG,
     "$scrypt$ln=10,r=8,p=1$H6N0rrW2VgoBIGTsvXduTQ$QS0EA01WbKzKY0H"
     "1gXfC+kwugS64Nd5xu+AaPZuR/Ng"),
    (LONG,
     "$argon2id$v=19$m=1024,t=2,p=4$oPSeM8b4PycEQIiRMkZorQ$2F55SFy"
     "EYywNH5p/RKI4gFODdWvv9eqL/kIcTkGUWEw"),
    (LONG,
     "$argon2id$v=19$m=1024,t=2,p=4$fBz42hQ15ZzZq4uBizqXwA$pv/3dhq"
     "+6ac00ohvzhowGWq1NYH8e86kL1YPOQWwvzA")]
# As their tools make them today, all defaults.
DEFAULTS = [
    "pbkdf2_sha256$1500000$rRFoJz13iinKWhld7KBJes$Icj3CbGjRSKUDk6"
    "+g11mGQkXv2w4H1AkQyHKS3w7ewc=",
    "scrypt$16384$PqvLWUshTtUXVWZ77ej0ey$8$5$vn0kIsIQE1/w9nzAINZ8"
    "VtGQLJLPw66cumq5+12ZN7+8oI85XCoYh9ZQ0DvGAL/7XcpBfYQ2zo8wVcA6"
    "zquwzw==",
    "argon2$argon2id$v=19$m=102400,t=2,p=8$cEd3NjZGcFQzd00wY1RlYU"
    "Jsck00VQ$lZNfxeavAWZDROD+nTSsa9HhyhVLpTfba/DZbs0jb6A",
    "scrypt:32768:8:1$g1BkpvRgdzgTXlpo$28e2d0a046805b0ce3171e9144"
    "4eb346ed021cb0db870b8f6208052e36ab1911031ad26f34b6e151fd990d"
    "c9e19c0bf2c6706ce8e2aeb0939b4911614bc449cb",
    "pbkdf2:sha256:1000000$iGcJ3CXr3pYMpJbE$edfe4e7da18efb0120d71"
    "542a0a348ef91c17fe2902286dddbea152c83f3c4b1",
    "$pbkdf2-sha256$29000$OCfkvJdyDoGwNibEGCNECA$hcetxR6M/W5xcgy3"
    "xaPH5T87UoTIbAG4r8FBRtSLKk0",
    "$pbkdf2-sha512$25000$lPLeW2stxRijdA6htLYWIg$rwq0FiHHHc20/H2X"
    "MppNrUOgxCSvQwgtAMucG8UannZMxlMrtCN6k4ynOwl1zmCaJ4I1CDLc4CfR"
    "IAKRbZ3emA",
    "$scrypt$ln=16,r=8,p=1$jDHG+J8TYqwVohRiDKHUWg$vRexczGtFINlgqP"
    "MdPbJ6oflLyx3Zq3b0qowCAGVqe8",
    "$argon2id$v=19$m=65536,t=3,p=4$N0ZISWltzVnLeY9xTslZqw$rCKm7I"
    "4Dz+KTUrVA1YNLMEk6jbb4CB8zcSOtg1RAyfY"]
made = pytest.mark.parametrize(
    "password, hashed", MADE, ids=[each[:22] for _, each in MADE])


def text(size: int) -> str:
    """Return so many bytes as the tools write them."""
    return base64.b64encode(b"d" * size).decode().rstrip("=")


def pbkdf2(rounds: int = 1000, size: int = 32) -> str:
    """Return a hash of PBKDF2 that asks for so much, as Django writes it."""
    return "pbkdf2_sha256${}$salt${}".format(rounds, text(size))


def scrypt(n: int = 1024, r: int = 8, p: int = 1, size: int = 64) -> str:
    """Return a hash of scrypt that asks for so much, as Werkzeug does."""
    return "scrypt:{}:{}:{}$salt${}".format(n, r, p, "0a" * size)


def argon2(m: int = 1024, t: int = 2, p: int = 4, salt: int = 16,
           size: int = 32) -> str:
    """Return a hash of argon2id that asks for so much."""
    return "$argon2id$v=19$m={},t={},p={}${}${}".format(
        m, t, p, text(salt), text(size))


def complaint(hashed: str) -> str:
    """Return what is said against a hash, "" if it is taken."""
    try:
        foreign.read(hashed)
    except BadHash as problem:
        return str(problem)
    return ""


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> List[int]:
    """The cost of each bcrypt that is computed."""
    costs: List[int] = []
    check = bcrypt.checkpw

    def note(password: bytes, hashed: bytes) -> bool:
        """Count one, and compute it."""
        costs.append(int(hashed[4:6]))
        return check(password, hashed)
    monkeypatch.setattr(bcrypt, "checkpw", note)
    return costs


class TestVectors:
    """What the tools made is checked as they check it."""

    @made
    def test_right(self, password: str, hashed: str) -> None:
        """By the one door there is."""
        assert passwords.verify_password(password, hashed, COST) is True

    @made
    @pytest.mark.parametrize("change", [
        lambda word: word + "x", lambda word: word[:-1], str.upper,
        lambda word: word + "\0", lambda word: "x"],
        ids=["longer", "shorter", "upper", "NUL", "other"])
    def test_wrong(self, password: str, hashed: str, change: Any) -> None:
        """To HMAC a NUL at the end makes no difference; here it does."""
        assert passwords.verify_password(
            change(password), hashed, COST) is False

    @made
    def test_no_bcrypt_on_top(self, password: str, hashed: str,
                              checked: List[int]) -> None:
        """One hash a check, of whatever kind."""
        for presented in (password, "x"):
            passwords.verify_password(presented, hashed, COST)
        assert checked == []

    @made
    def test_can_be_imported_and_is_replaced(
            self, password: str, hashed: str) -> None:
        """By bcrypt, whatever its own cost is."""
        passwords.validate_hash(hashed)
        assert passwords.needs_rehash(hashed, COST)
        assert len(hashed) <= passwords.HASH_MAX

    @pytest.mark.parametrize("hashed", DEFAULTS, ids=lambda each: each[:22])
    def test_defaults_are_within_the_bounds(self, hashed: str) -> None:
        """Of all tools, in 2026; and with room to grow."""
        assert complaint(hashed) == ""


class TestBounds:
    """A hash says what its check takes; it may not say just anything."""

    @pytest.mark.parametrize("taken, refused", [
        (pbkdf2(1000), pbkdf2(999)), (pbkdf2(5000000), pbkdf2(5000001)),
        (pbkdf2(size=32), pbkdf2(size=31)), (pbkdf2(), pbkdf2(size=33)),
        (pbkdf2(), pbkdf2(size=1)), (pbkdf2(), pbkdf2(0)),
        (pbkdf2(), pbkdf2(999999999)), (pbkdf2(), pbkdf2(10 ** 30)),
        (scrypt(1024), scrypt(512)), (scrypt(131072), scrypt(262144)),
        (scrypt(1024, p=16), scrypt(1024, p=17)), (scrypt(), scrypt(p=0)),
        (scrypt(r=32), scrypt(r=33)), (scrypt(r=2), scrypt(r=1)),
        (scrypt(524288, r=2), scrypt(1048576, r=2)),
        (scrypt(131072, p=2), scrypt(131072, p=3)),
        (scrypt(), scrypt(1025)), (scrypt(), scrypt(0)), (scrypt(), scrypt(1)),
        (scrypt(), scrypt(size=32)), (scrypt(), scrypt(size=1)),
        (argon2(131072), argon2(131073)), (argon2(t=16), argon2(t=17)),
        (argon2(t=1), argon2(t=0)), (argon2(131072, 8), argon2(131072, 9)),
        (argon2(p=16), argon2(p=17)), (argon2(p=1), argon2(p=0)),
        (argon2(32), argon2(31)), (argon2(salt=8), argon2(salt=7)),
        (argon2(salt=64), argon2(salt=65)), (argon2(size=16), argon2(size=15)),
        (argon2(size=64), argon2(size=65))], ids=lambda each: each[:36])
    def test_to_the_last(self, taken: str, refused: str,
                         checked: List[int]) -> None:
        """Beyond them, a bad line and, if it is stored, a wrong password.

        The latter after one bcrypt, as of any other hash that is none.
        """
        assert complaint(taken) == ""
        assert complaint(refused) != ""
        with pytest.raises(InvalidInput, match="hashed_password "):
            passwords.validate_hash(refused)
        assert not passwords.verify_password("pw", refused, COST)
        assert checked == [COST]
        assert not passwords.needs_rehash(refused, COST)

    @pytest.mark.parametrize("hashed, said", [
        (pbkdf2(6000000),
         "has 6000000 rounds, where 1000 to 5000000 are taken"),
        (pbkdf2(size=20), "has 20 bytes of digest, where 32 are taken"),
        (scrypt(1000), "has an N that is no power of two"),
        ("$scrypt$ln=99,r=8,p=1$c2FsdA$" + text(32),
         "has {} as N, where 1024 to 524288 are taken".format(1 << 99)),
        ("$scrypt$ln=999999999,r=8,p=1$c2FsdA$" + text(32),
         "has {} as N, where 1024 to 524288 are taken".format(1 << 99)),
        (scrypt(r=33), "has 33 as block size, where 2 to 32 are taken"),
        (scrypt(p=17), "has 17 lanes, where 1 to 16 are taken"),
        (scrypt(262144),
         "has 268435456 bytes of memory, where 0 to 134217728 are taken"),
        (scrypt(131072, p=3),
         "has 3145728 blocks, where 2048 to 2097152 are taken"),
        (scrypt(size=32), "has 32 bytes of digest, where 64 are taken"),
        (argon2(p=17), "has 17 lanes, where 1 to 16 are taken"),
        (argon2(t=17), "has 17 passes, where 1 to 16 are taken"),
        (argon2(31), "has 31 KiB of memory, where 32 to 131072 are taken"),
        (argon2(131072, 9),
         "has 1179648 KiB written, where 0 to 1048576 are taken"),
        (argon2(salt=7), "has 7 bytes of salt, where 8 to 64 are taken"),
        (argon2(size=15), "has 15 bytes of digest, where 16 to 64 are taken"),
        ("sha1$salt$0a0a", "is of no kind that is known here"),
        ("$pbkdf2-sha256$1000$c2Fsd$" + text(32), "is damaged"),
        ("pbkdf2:sha256:1000$salt$abc", "is damaged")],
        ids=lambda each: each[:30])
    def test_reason_is_told(self, hashed: str, said: str) -> None:
        """With what is asked for and what is taken."""
        assert complaint(hashed) == said

    @pytest.mark.parametrize("hashed", [
        pbkdf2(5000001), pbkdf2(size=31), scrypt(size=32), argon2(size=15),
        "$pbkdf2-sha256$1000$c2Fsd$" + text(32), "canary$canary"],
        ids=lambda each: each[:30])
    def test_reason_repeats_nothing_of_it(self, hashed: str) -> None:
        """It goes onto a terminal, and from there anywhere."""
        for piece in ("salt$", "c2Fsd", "0a0a", "ZGRk", "canary"):
            assert piece not in complaint(hashed)

    @pytest.mark.parametrize("hashed", [
        scrypt(131072), argon2(131072, 1, 1)], ids=["scrypt", "argon2id"])
    def test_check_at_the_bound_of_memory_is_computed(
            self, hashed: str) -> None:
        """What is let through never fails for want of what it asks."""
        assert not passwords.verify_password("pw", hashed, COST)


class TestForms:
    """Only what the tools write is read."""

    @pytest.mark.parametrize("hashed", [
        "", "$", pbkdf2() + "\n", " " + pbkdf2(), pbkdf2() + "$",
        pbkdf2().replace("1000", "\u0661000"), pbkdf2().replace("1000", "1e3"),
        pbkdf2().replace("sha256", "md5"), pbkdf2().replace("salt", ""),
        pbkdf2().replace("salt", "s\u00e9l"), pbkdf2().replace("salt", "a b"),
        pbkdf2().replace("salt", "s\0lt"), pbkdf2().replace("salt", "s" * 129),
        pbkdf2().upper(), pbkdf2().replace("1000", "-1000"),
        "pbkdf2:sha256$salt$" + "0a" * 32, scrypt().replace("0a", "0A"),
        argon2().replace("argon2id", "argon2i"),
        argon2().replace("argon2id", "argon2d"),
        argon2().replace("v=19", "v=16"), argon2().replace("$v=19", ""),
        "argon2" + argon2()[9:], "bcrypt_sha256$$2b$12$" + "." * 53],
        ids=lambda each: ascii(each)[:30])
    def test_others_are_of_no_known_kind(self, hashed: str) -> None:
        """Not guessed at."""
        assert complaint(hashed) == "is of no kind that is known here"
        assert foreign.find(hashed) is None


class TestWithoutArgon2:
    """The package is optional; the service starts and says so."""

    def test_line_is_refused_with_the_way_out(
            self, monkeypatch: pytest.MonkeyPatch,
            checked: List[int]) -> None:
        """And what is stored is a wrong password, after one bcrypt."""
        monkeypatch.setattr(foreign, "argon2", lambda: None)
        with pytest.raises(InvalidInput, match="pip install argon2-cffi"):
            passwords.validate_hash(argon2())
        assert not passwords.verify_password("pw", argon2(), COST)
        assert checked == [COST]

    def test_it_is_not_needed_to_start(self) -> None:
        """In a process that cannot import it."""
        program = ("import sys; sys.modules['argon2'] = None\n"
                   "import app\nfrom credentials import foreign\n"
                   "print(foreign.argon2())")
        assert subprocess.check_output(
            [sys.executable, "-c", program], cwd=str(ROOT),
            stderr=subprocess.DEVNULL) == b"None\n"


class TestValidateHash:
    """What an import may bring, beside what tools of others made."""

    @pytest.mark.parametrize("name", ["$2a$", "$2b$", "$2y$"])
    @pytest.mark.parametrize("cost", ["04", "12", "16"])
    def test_bcrypt_of_every_name(self, name: str, cost: str) -> None:
        """Kept as it is; it is what we use ourselves."""
        passwords.validate_hash(name + cost + "$" + "." * 53)

    @pytest.mark.parametrize("cost", ["03", "17", "31", "99"])
    def test_bcrypt_out_of_bounds(self, cost: str) -> None:
        """With the cost, which is no secret."""
        with pytest.raises(InvalidInput, match="a cost of " + cost):
            passwords.validate_hash("$2b$" + cost + "$" + "." * 53)

    def test_bcrypt_that_bcrypt_would_not_read(self) -> None:
        """Its salt has bits that no salt has; it would open to nobody."""
        with pytest.raises(InvalidInput, match="of no kind"):
            passwords.validate_hash("$2b$04$" + "." * 21 + "/" + "." * 31)

    def test_our_own_forms(self) -> None:
        """Also under a pepper, as long as it is at hand."""
        pepper = "a pepper of thirty-two characters"
        passwords.validate_hash(passwords.hash_password("pw" * 50, COST))
        hashed = passwords.hash_password("pw", COST, (pepper,))
        passwords.validate_hash(hashed, ("", pepper))
        with pytest.raises(InvalidInput, match="needs a pepper"):
            passwords.validate_hash(hashed)

    def test_as_long_as_the_column(self) -> None:
        """The last of 250 characters may be used, too."""
        longest = "pbkdf2:sha512:1000${}${}".format("s" * 102, "0a" * 64)
        assert len(longest) == passwords.HASH_MAX
        passwords.validate_hash(longest)

    @pytest.mark.parametrize("hashed", [
        None, 7, b"x", ["x"], "$2b$04$" + "." * 244],
        ids=lambda each: str(each)[:9])
    def test_no_text_that_fits(self, hashed: Any) -> None:
        """The card's column has 250 characters."""
        with pytest.raises(InvalidInput, match="not text of up to 250"):
            passwords.validate_hash(hashed)

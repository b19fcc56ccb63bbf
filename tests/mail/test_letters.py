#!/usr/bin/env python3
"""The words of a mail: what it says, to whom, and what cannot get into it."""
from __future__ import annotations

import dataclasses
import email
import email.policy
import re
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Callable, Set
from urllib.parse import urlsplit

import jinja2
import pytest

from mail.letters import (
    ALREADY_REGISTERED, CHANGE_REQUESTED, EMAIL_CHANGED, NEW_DEVICE, OURS,
    PASSWORD_CHANGED, PURPOSES, Letters)
from models import CHANGE, RESET, VERIFY
from settings import HOUR, MINUTE, Settings
from tests.helpers import EMAIL, PRODUCTION, STRANGE_TOKEN

AT = 1795000000
LANDING = "https://www.example.com/account"
WITH_LINK = [(RESET, "reset"), (ALREADY_REGISTERED, "reset"),
             (VERIFY, "verify"), (CHANGE, "verify")]
WITHOUT_LINK = [CHANGE_REQUESTED, EMAIL_CHANGED, PASSWORD_CHANGED, NEW_DEVICE]
HEADERS = {"From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted",
           "MIME-Version", "Content-Type"}
every_purpose = pytest.mark.parametrize("purpose", PURPOSES)

# Writes mails by the production settings, with these changes.
New = Callable[..., Letters]


@pytest.fixture(scope="module")
def new() -> New:
    """A desk for letters in production, with any settings changed."""
    production: Any = PRODUCTION
    return lambda **changes: Letters(dataclasses.replace(
        Settings(**production), **changes))


@pytest.fixture(scope="module")
def letters(new: New) -> Letters:
    """A desk for letters in production."""
    return new()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A deployer's folder of templates, empty so far."""
    made = tmp_path / "templates"
    made.mkdir()
    return made


def part(message: EmailMessage, kind: str) -> str:
    """Return the content of the plain or html part of a mail."""
    body = message.get_body((kind,))
    assert body is not None
    return str(body.get_content())


def as_received(message: EmailMessage) -> EmailMessage:
    """Return a mail as whoever parses its bytes sees it."""
    return email.message_from_bytes(
        message.as_bytes(), policy=email.policy.default)


class TestWrite:
    """A mail of each kind."""

    @every_purpose
    def test_every_purpose_has_words(
            self, letters: Letters, purpose: str) -> None:
        """In text and in HTML, and both say what it is about."""
        message = letters.write(purpose, EMAIL, AT, STRANGE_TOKEN, "detail")
        for said in (str(message["Subject"]), part(message, "plain"),
                     part(message, "html")):
            assert "Bienvenue" in said
        assert EMAIL in part(message, "plain")
        assert EMAIL in part(message, "html")
        assert str(message["Subject"]) in part(message, "html")
        assert str(message["Subject"]) not in part(message, "plain")

    def test_every_template_has_a_purpose(self) -> None:
        """And the other way round: none is missing, none is left over."""
        assert {each.stem for each in Path(OURS).glob("*.txt")} \
            == set(PURPOSES)

    @every_purpose
    def test_both_parts_say_the_same(
            self, letters: Letters, purpose: str) -> None:
        """Whoever reads plain text misses nothing."""
        message = letters.write(purpose, EMAIL, AT, STRANGE_TOKEN, "detail")
        for paragraph in part(message, "plain").strip().split("\n\n"):
            assert re.sub(r'"', "&#34;", paragraph) in part(message, "html")

    @pytest.mark.parametrize("purpose", [
        CHANGE_REQUESTED, EMAIL_CHANGED, NEW_DEVICE])
    def test_detail_is_told(self, letters: Letters, purpose: str) -> None:
        """Which address, or which device: the reader has to judge it."""
        message = letters.write(purpose, EMAIL, AT, detail="eve@me.com")
        assert "eve@me.com" in part(message, "plain")
        assert "eve@me.com" in part(message, "html")

    @pytest.mark.parametrize("purpose", [
        NEW_DEVICE, PASSWORD_CHANGED, CHANGE_REQUESTED])
    def test_alarm_names_the_way_out(
            self, letters: Letters, purpose: str) -> None:
        """Telling somebody of a thief is half of it (ASVS 6.3.7)."""
        text = part(letters.write(purpose, EMAIL, AT, detail="x"), "plain")
        assert "If it was not you, set a new" in text


class TestLink:
    """The link, which carries the token."""

    @pytest.mark.parametrize("purpose, kind", WITH_LINK)
    def test_is_the_landing_page_with_a_fragment(
            self, letters: Letters, purpose: str, kind: str) -> None:
        """On a line of its own in text, so that no mail program cuts it."""
        message = letters.write(purpose, EMAIL, AT, STRANGE_TOKEN)
        link = "{}#{}={}".format(LANDING, kind, STRANGE_TOKEN)
        assert "\n\n{}\n\n".format(link) in part(message, "plain")
        assert 'href="{}"'.format(link) in part(message, "html")

    @pytest.mark.parametrize("purpose, kind", WITH_LINK)
    def test_token_is_in_the_fragment_only(
            self, letters: Letters, purpose: str, kind: str) -> None:
        """Browsers send a fragment to no server, so to no log of one."""
        message = letters.write(purpose, EMAIL, AT, STRANGE_TOKEN)
        link = urlsplit(letters.link(purpose, STRANGE_TOKEN))
        assert link.fragment == "{}={}".format(kind, STRANGE_TOKEN)
        assert STRANGE_TOKEN not in link.path + link.query + link.netloc
        for said in (part(message, "plain"), part(message, "html")):
            assert said.count(STRANGE_TOKEN) \
                == said.count("#" + link.fragment) > 0
        assert STRANGE_TOKEN not in str(message.items())

    def test_comes_from_landing_url(self, new: New) -> None:
        """Whatever name we are called by (CVE-2021-30185)."""
        letters = new(landing_url="https://shop.example.org/login?from=mail",
                      public_url="https://elsewhere.example.org")
        assert letters.link(RESET, "abc") \
            == "https://shop.example.org/login?from=mail#reset=abc"

    def test_development_links_to_this_machine(self) -> None:
        """So that a link can be tried without any setting."""
        assert Letters(Settings(port=8080)).link(VERIFY, "abc") \
            == "http://localhost:8080/account#verify=abc"

    @pytest.mark.parametrize("purpose", WITHOUT_LINK)
    def test_is_absent_where_nothing_is_to_be_opened(
            self, letters: Letters, purpose: str) -> None:
        """A notice with a link is what a phisher would send."""
        message = letters.write(purpose, EMAIL, AT, detail="x")
        assert letters.link(purpose, "") == ""
        assert "://" not in part(message, "plain")
        assert "href" not in part(message, "html")

    @pytest.mark.parametrize("purpose, changes, hours", [
        (RESET, {}, "1 hour"), (ALREADY_REGISTERED, {}, "1 hour"),
        (RESET, {"reset_token_life": 2 * HOUR}, "2 hours"),
        (ALREADY_REGISTERED, {"reset_token_life": 2 * HOUR}, "2 hours"),
        (VERIFY, {}, "24 hours"), (CHANGE, {}, "24 hours"),
        (VERIFY, {"verify_token_life": 48 * HOUR}, "48 hours"),
        (CHANGE, {"verify_token_life": 48 * HOUR}, "48 hours"),
        (RESET, {"reset_token_life": 119 * MINUTE}, "1 hour")])
    def test_text_says_for_how_long(self, new: New, purpose: str,
                                    changes: Any, hours: str) -> None:
        """As configured, and rounded so that it is never a lie."""
        message = new(**changes).write(purpose, EMAIL, AT, STRANGE_TOKEN)
        for said in (part(message, "plain"), part(message, "html")):
            assert "within {} to ".format(hours) in said

    @pytest.mark.parametrize("purpose", [RESET, VERIFY])
    def test_quarter_of_an_hour_is_not_called_an_hour(
            self, new: New, purpose: str) -> None:
        """Or people come back too late and are told that it is not valid."""
        letters = new(reset_token_life=15 * MINUTE,
                      verify_token_life=15 * MINUTE)
        message = letters.write(purpose, EMAIL, AT, STRANGE_TOKEN)
        assert "within 1 hour" not in part(message, "plain")


class TestHeaders:
    """What a mail says of itself."""

    @every_purpose
    def test_are_these(self, letters: Letters, purpose: str) -> None:
        """And no others, on the wire."""
        message = as_received(letters.write(
            purpose, EMAIL, AT, STRANGE_TOKEN, "detail"))
        assert set(message.keys()) == HEADERS
        assert message["From"] == "Bienvenue <auth@example.com>"
        assert message["To"] == EMAIL
        assert parsedate_to_datetime(message["Date"]).timestamp() == AT
        assert message["Auto-Submitted"] == "auto-generated"  # RFC 3834
        assert message.get_content_type() == "multipart/alternative"

    def test_message_id_is_new_each_time(self, letters: Letters) -> None:
        """Under the sender's domain: the machine's name is nobody's."""
        found = {str(letters.write(RESET, EMAIL, AT)["Message-ID"])
                 for _ in range(3)}
        assert len(found) == 3
        assert all(each.endswith("@example.com>") for each in found)

    def test_development_needs_no_sender(self) -> None:
        """A mail onto the log is from this machine."""
        message = Letters(Settings()).write(RESET, EMAIL, AT)
        assert message["From"] == "Bienvenue <bienvenue@localhost>"

    @pytest.mark.parametrize("name", [
        "Acme, Inc.", "Eve <eve@evil.example>", "eve@evil.example,",
        'the "best"', "Caf\u00e9 \u2615", "a;b:c"])
    def test_sender_is_one_whatever_the_service_is_called(
            self, new: New, name: str) -> None:
        """A comma in a name makes no second sender."""
        message = as_received(
            new(service_name=name).write(RESET, EMAIL, AT, "x"))
        sender, = message["From"].addresses
        assert (sender.display_name, sender.addr_spec) \
            == (name, "auth@example.com")


class TestInjection:
    """What a hostile value does not become."""

    @every_purpose
    def test_html_is_text_wherever_it_comes_from(
            self, new: New, purpose: str) -> None:
        """A user agent is what a stranger typed, and a mail shows it."""
        message = new(service_name="<b>me & you</b>").write(
            purpose, EMAIL, AT, STRANGE_TOKEN, "<script>alert('1')</script>")
        html = part(message, "html")
        assert "<script" not in html and "<b>" not in html
        assert "&lt;b&gt;me &amp; you&lt;/b&gt;" in html
        assert "<b>me & you</b>" in part(message, "plain")
        assert ("&lt;script&gt;" in html) \
            == ("<script>" in part(message, "plain"))

    @pytest.mark.parametrize("address", [
        "", "bob", "@", "bob@", "@me.com", "a@[", "bob@me.com, eve@me.com",
        "bob,eve@me.com", "bob@me.com,", "bob@me.com;eve@me.com",
        "bob@me.com\n", "bob@me.com\r\nBcc: eve@me.com", "bo\rb@me.com",
        "<bob@me.com>", '"bob@me.com" <eve@me.com>', "all:bob@me.com;",
        "b\0b@me.com", "\ud800@me.com"], ids=ascii)
    def test_address_that_is_not_exactly_one(
            self, letters: Letters, address: str) -> None:
        """Refused before there is a mail (ASVS 1.3.11, CVE-2015-5144)."""
        with pytest.raises(ValueError):
            letters.write(RESET, address, AT, STRANGE_TOKEN)

    @pytest.mark.parametrize("end", [
        "\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85",
        "\u2028", "\u2029", "\n ", "\r\n\r\n", "\0"], ids=ascii)
    def test_service_name_adds_no_header(self, new: New, end: str) -> None:
        """Whatever anybody takes for the end of a line (ASVS 1.3.11)."""
        letters = new(service_name="Acme" + end + "Bcc: eve@me.com")
        assert headers_of(letters) <= HEADERS

    def test_subject_is_the_first_line_only(self, new: New,
                                            folder: Path) -> None:
        """What follows in the template is text, also if it looks alike."""
        (folder / "reset.txt").write_text("Hello\nBcc: eve@me.com\n\nHi.\n")
        message = new(mail_templates=str(folder)).write(RESET, EMAIL, AT)
        assert message["Subject"] == "Hello"
        assert set(as_received(message).keys()) == HEADERS
        assert part(message, "plain") == "Bcc: eve@me.com\n\nHi.\n"


class TestDeployersTemplates:
    """MAIL_TEMPLATES: somebody's own words."""

    def test_replace_ours_for_one_purpose(
            self, new: New, folder: Path) -> None:
        """And the other mails stay as they are."""
        (folder / "reset.txt").write_text(
            "Bonjour {{ email }}\n\nVoici : {{ link }}\n", encoding="utf-8")
        theirs = new(mail_templates=str(folder))
        message = theirs.write(RESET, EMAIL, AT, "abc")
        assert message["Subject"] == "Bonjour bob@me.com"
        assert part(message, "plain") \
            == "Voici : {}#reset=abc\n".format(LANDING)
        assert "Voici : {}#reset=abc".format(LANDING) in part(message, "html")
        assert part(theirs.write(VERIFY, EMAIL, AT, "abc"), "plain") \
            == part(new().write(VERIFY, EMAIL, AT, "abc"), "plain")

    def test_html_of_one_purpose(self, new: New, folder: Path) -> None:
        """Escaped like ours; its text and the other mails are ours still."""
        (folder / "reset.html").write_text("<i>{{ service }}</i>")
        letters = new(mail_templates=str(folder), service_name="<b>")
        message = letters.write(RESET, EMAIL, AT, "abc")
        assert part(message, "html").strip() == "<i>&lt;b&gt;</i>"
        assert "Open this link within 1 hour" in part(message, "plain")
        assert "<!doctype html>" in part(
            letters.write(VERIFY, EMAIL, AT, "abc"), "html")

    def test_layout_of_all(self, new: New, folder: Path) -> None:
        """One file is enough for a look of one's own."""
        (folder / "layout.html").write_text(
            "{{ subject }}{% for each in paragraphs %}<p>{{ each }}</p>"
            "{% endfor %}")
        letters = new(mail_templates=str(folder))
        for purpose in (RESET, NEW_DEVICE):
            message = letters.write(purpose, EMAIL, AT, "abc", "x")
            html = part(message, "html")
            assert html.startswith(str(message["Subject"]) + "<p>")
            assert html.count("<p>") \
                == part(message, "plain").strip().count("\n\n") + 1

    def test_know_what_ours_know(self, new: New, folder: Path) -> None:
        """The five names are a contract with whoever wrote templates."""
        (folder / "email_changed.txt").write_text(
            "S\n\n{{ service }}|{{ email }}|{{ link }}|{{ detail }}|"
            "{{ life }}")
        message = new(mail_templates=str(folder)).write(
            EMAIL_CHANGED, EMAIL, AT, "", "eve@me.com")
        assert part(message, "plain") \
            == "Bienvenue|bob@me.com||eve@me.com|1 hour\n"

    @pytest.mark.parametrize("name", ["reset.txt", "reset.html"])
    def test_misspelled_name_is_an_error(
            self, new: New, folder: Path, name: str) -> None:
        """A mail with a blank where the link should be helps nobody."""
        (folder / name).write_text("Hello\n\n{{ lnik }}\n")
        with pytest.raises(jinja2.UndefinedError, match="lnik"):
            new(mail_templates=str(folder)).write(RESET, EMAIL, AT, "abc")


def headers_of(letters: Letters) -> Set[str]:
    """Return the names of a mail's headers; none if it is refused."""
    try:
        message = letters.write(RESET, EMAIL, AT, STRANGE_TOKEN)
    except ValueError:
        return set()
    return set(as_received(message).keys())

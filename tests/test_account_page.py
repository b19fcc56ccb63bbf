#!/usr/bin/env python3
"""The page /account, as people use it: in a real browser, against it all.

Production is what a deployer has: nginx and TLS in front, mails that arrive.
No journey may end with a complaint of the browser, such as a broken policy,
an error of a script, or a request to anybody else (tests/people.py).
"""
from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple

import pytest

from errors import Throttled, Unavailable
from routes.pages import CHANGE_PASSWORD
from tests.browser import needs_browser
from tests.helpers import EMAIL, PASSWORD, STRONG, STRONGER, Server
from tests.people import URL, Host, Person

# What is tested is the page; it is the same on every Python and database.
pytestmark = [pytest.mark.once, needs_browser]
# Accounts that are there from the start, each for those who may change it.
ADA, BEA, CAM, DAN, EVE = (each + "@example.org" for each in (
    "ada", "bea", "cam", "dan", "eve"))
NEW, NOBODY = "zoe@example.org", "nobody@example.org"
WRONG = "tartiflette au brocoli"
MAILBOX = "Look into your mailbox"
# What no link may lead to, whoever wrote it.
EVIL = ["//evil.com", "/\\evil.com", "\\/evil.com", "https://evil.com/",
        "https:evil.com", "javascript:alert(1)", "/\t/evil.com",
        "/\n/evil.com", "\t//evil.com", " //evil.com", "evil.com", "",
        "/caf\u00e9", "data:text/html,x", "/" + "a" * 2000]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A production host with five users, and a browser before it."""
    with Host(tmp_path_factory.mktemp("host")) as made:
        made.joins(ADA, BEA, CAM, DAN, EVE)
        yield made
        assert "Traceback" not in made.service.log()


@pytest.fixture(scope="module")
def somebody(host: Host) -> Iterator[Person]:
    """A person whose browser is there once for all tests."""
    with host.visitor() as made:
        yield made


@pytest.fixture
def person(somebody: Person) -> Iterator[Person]:
    """The same, who comes for the first time, and complains of nothing."""
    somebody.starts_anew()
    yield somebody
    assert somebody.complaints == []


@pytest.fixture
def ada(person: Person) -> Person:
    """The same, signed in to an account that stays as it is."""
    person.opens()
    person.signs_in(ADA)
    person.sees("Your account")
    return person


class TestSigningUp:
    """From the first visit to the first sign-in."""

    def test_link_that_is_mailed_again_lets_in(
            self, host: Host, person: Person) -> None:
        """Before it was opened nobody is let in, and is told what to do."""
        person.opens("#sign-up")
        person.fills(email=NEW, password=STRONG)
        person.presses("Open the account")
        person.sees(MAILBOX)
        person.presses("Sign in")
        person.signs_in(NEW)
        person.reads("an email that is not verified yet")
        person.presses("Mail the link again")
        person.sees(MAILBOX)
        person.page.goto(host.link(NEW, 2))
        person.presses("Confirm the address")
        person.reads(NEW + " is confirmed.")
        person.fills(password=STRONG)
        person.presses("Sign in")
        person.sees("Your account")

    @pytest.mark.parametrize("fragment, button, password", [
        ("#sign-up", "Open the account", {"password": STRONG}),
        ("#forgot", "Mail me a link", {}), ("#again", "Mail the link", {})])
    def test_page_says_the_same_of_unknown_addresses(
            self, person: Person, fragment: str, button: str,
            password: Dict[str, str]) -> None:
        """Who asks must not learn who has an account."""
        said = []
        for email in (ADA, NOBODY):
            person.opens(fragment)
            person.fills(email=email, **password)
            person.presses(button)
            person.sees(MAILBOX)
            said.append(person.page.inner_text("main").replace(email, "X"))
        assert said[0] == said[1]
        assert "X" in said[0]

    def test_refused_password_is_said_at_its_field(
            self, person: Person) -> None:
        """In the service's words; the field is marked and has the focus."""
        person.opens("#sign-up")
        person.fills(email=NOBODY, password="short")
        person.presses("Open the account")
        person.reads("The password is shorter than 15 characters")
        field = person.page.locator("#sign-up-password")
        assert person.focused() == "sign-up-password"
        assert field.get_attribute("aria-invalid") == "true"
        described = (field.get_attribute("aria-describedby") or "").split()
        assert "shorter than" in " ".join(person.page.inner_text(
            "#" + each) for each in described)

    def test_complaint_goes_once_it_is_heeded(self, person: Person) -> None:
        """A field that is being mended is not wrong yet."""
        person.opens("#sign-up")
        person.presses("Open the account")
        person.reads("Enter your email.")
        assert person.focused() == "sign-up-email"
        person.fills(email=NOBODY)
        assert person.page.locator("[aria-invalid]").count() == 0

    def test_length_is_counted_as_the_service_does(
            self, person: Person) -> None:
        """By characters as a reader counts them, up to its own minimum."""
        person.opens("#sign-up")
        person.fills(password="cafe\u0301 \U0001f9c0" + "x" * 8)
        assert person.page.inner_text(".count:visible") == "14 of 15"
        person.fills(password="cafe\u0301 \U0001f9c0" + "x" * 9)
        assert person.page.inner_text(".count:visible").endswith("enough")


class TestSigningIn:
    """Who comes in, and where they go on."""

    def test_app_behind_it_is_reached(self, person: Person) -> None:
        """By the page to which the proxy sends, with the way back."""
        person.opens(path="/reports?of=may")
        person.signs_in(ADA)
        person.page.wait_for_url(URL + "/reports?of=may")
        assert person.page.inner_text("body").strip() == "the app"

    def test_evil_place_is_not_gone_to(self, person: Person) -> None:
        """Who signs in stays here."""
        person.opens("#next=%2F%2Fevil.com")
        person.signs_in(ADA)
        person.sees("Your account")
        assert person.page.url.startswith(URL + "/account")

    def test_only_a_path_of_ours_is_offered(self, ada: Person) -> None:
        """To who is signed in already; anybody may have made the link."""
        offered = ada.page.evaluate("""places => places.map(place => {
            history.replaceState(null, "", "/account#next=" +
                                 encodeURIComponent(place));
            dispatchEvent(new Event("hashchange"));
            const button = document.querySelector("#go-on");
            return button.hidden ? "" : button.firstChild.href;
        })""", EVIL + ["/", "/a?b=c#d", "/.//evil.com"])
        assert offered == [""] * len(EVIL) + [
            URL + "/", URL + "/a?b=c#d", URL + "//evil.com"]

    def test_wrong_password_is_told_aloud(self, person: Person) -> None:
        """And can be mended at once."""
        person.opens()
        person.signs_in(NOBODY, WRONG)
        person.reads("Wrong email or password")
        said = person.page.locator("[role=alert]:visible")
        assert "Wrong email or password" in said.inner_text()
        assert person.focused() == "sign-in-password"

    def test_wait_is_counted_down(self, person: Person) -> None:
        """And the button is there again when it is over."""
        person.page.route("**/sessions", lambda route: route.fulfill(
            status=429, headers={"Retry-After": "1"},
            json={"message": Throttled.default}), times=1)
        person.opens()
        person.signs_in(ADA)
        button = person.page.locator("#sign-in [type=submit]")
        person.reads("Too many attempts, try again later.")
        assert button.is_disabled()
        assert button.inner_text() == "Try again in 1 s"
        person.reads("You can try again now.")
        person.presses("Sign in")
        person.sees("Your account")

    def test_silence_of_the_service_is_said(self, person: Person) -> None:
        """Nobody stares at a page that does nothing."""
        person.opens()
        person.page.context.set_offline(True)
        person.signs_in(ADA)
        person.reads("The service cannot be reached")

    def test_trouble_of_the_service_is_said(self, ada: Person) -> None:
        """Who is signed in is not told that they are not."""
        ada.page.route("**/profile", lambda route: route.fulfill(
            status=503, json={"message": Unavailable.default}), times=1)
        ada.opens()
        ada.reads("The service is busy, try again in a moment.")

    def test_who_is_signed_in_is_not_asked_again(self, ada: Person) -> None:
        """A page that is loaded anew knows them."""
        ada.opens()
        ada.reads(ADA)

    def test_sign_out_is_done(self, ada: Person) -> None:
        """And the page forgets who it was, and where (ASVS 14.3.1)."""
        ada.follows("#email")
        ada.presses("Back to your account")
        ada.presses("Sign out")
        ada.reads("You are signed out.")
        assert ada.page.locator("#sessions > *").count() == 0
        assert ADA not in ada.page.locator("main").text_content()
        ada.opens("#home")
        ada.sees("Sign in")


class TestPassword:
    """A new one, for who forgot it and who did not."""

    def test_forgotten_one_is_replaced(
            self, host: Host, person: Person) -> None:
        """By a mail, whose token is gone from the browser at once."""
        person.opens("#forgot")
        person.fills(email=BEA)
        person.presses("Mail me a link")
        person.sees(MAILBOX)
        link = host.link(BEA, 2)
        person.page.goto(link)
        person.sees("Set a new password")
        token = link.partition("=")[2]
        assert token and person.page.url == URL + "/account"
        assert token not in person.page.content()
        person.fills(email=BEA, new_password=STRONGER)
        person.presses("Set the password")
        person.reads("Your password is changed")
        person.signs_in(BEA, STRONGER)
        person.sees("Your account")

    def test_token_is_gone_before_anybody_is_asked(
            self, ada: Person) -> None:
        """However slow the service is to say who is signed in."""
        ada.page.route("**/profile", lambda route: None)
        ada.page.goto(URL + "/account?from=mail#reset=12345")
        ada.page.wait_for_url(URL + "/account?from=mail")
        assert ada.page.locator("section:visible").count() == 0
        ada.page.unroute("**/profile")

    @pytest.mark.parametrize("kind, fields, button, heading", [
        ("reset", {"new_password": STRONG}, "Set the password",
         "Forgot the password?"),
        ("verify", {}, "Confirm the address", "Mail the link again")])
    def test_dead_link_says_what_to_do(
            self, person: Person, kind: str, fields: Dict[str, str],
            button: str, heading: str) -> None:
        """With the way to a new one beside it."""
        person.opens("#{}=12345".format(kind))
        assert person.page.url == URL + "/account"
        person.fills(**fields)
        person.presses(button)
        person.reads("This link does not work")
        person.presses("Have a new link mailed")
        person.sees(heading)

    def test_password_manager_finds_the_place(self, person: Person) -> None:
        """By the address that all of them know, and is led there once."""
        person.opens(path="/.well-known/change-password")
        assert person.page.url == URL + CHANGE_PASSWORD
        person.signs_in(ADA)
        person.sees("Change the password")
        person.follows("#home")
        person.presses("Sign out")
        person.signs_in(ADA)
        person.sees("Your account")

    def test_wrong_one_is_said_at_its_field(self, ada: Person) -> None:
        """Not at that of the new one."""
        ada.follows("#password")
        ada.fills(current_password=WRONG, new_password=STRONGER)
        ada.presses("Change the password")
        ada.reads("Wrong password.")
        assert ada.focused() == "password-current_password"

    def test_change_signs_out_elsewhere(
            self, host: Host, person: Person) -> None:
        """There the page says so, and leads back to what was wanted."""
        person.opens()
        person.signs_in(CAM)
        with host.visitor() as elsewhere:
            elsewhere.opens()
            elsewhere.signs_in(CAM)
            elsewhere.sees("Your account")
            person.follows("#password")
            person.fills(current_password=STRONG, new_password=STRONGER)
            person.presses("Change the password")
            person.reads("Your password is changed")
            elsewhere.follows("#delete")
            elsewhere.fills(password=STRONG)
            elsewhere.presses("Delete the account for good")
            elsewhere.reads("You were signed out.")
            elsewhere.signs_in(CAM, STRONGER)
            elsewhere.sees("Delete the account")

    def test_every_form_with_a_password_names_the_account(
            self, person: Person) -> None:
        """Or a password manager would not know whose it is."""
        person.opens()
        forms = person.page.evaluate("""() => [...document.forms]
            .filter(form => form.querySelector("[type=password]"))
            .map(form => [...form.querySelectorAll("[autocomplete]")]
                .map(each => each.autocomplete))""")
        assert len(forms) == 6
        for said in forms:
            assert said[0] == "username"
            assert set(said[1:]) <= {"current-password", "new-password",
                                     "email"}


class TestAccount:
    """What a user does with what is theirs."""

    def test_other_devices_are_listed_and_ended(
            self, host: Host, ada: Person) -> None:
        """One by one, or all at once; this one stays."""
        for agent in ("curl/8.5.0", "Mozilla/5.0 (X11; Linux x86_64; rv:128"
                      ".0) Gecko/20100101 Firefox/128.0", "tool <b>1</b>"):
            assert host.proxy.ask(
                "POST", "/sessions", {"User-Agent": agent}, email=ADA,
                password=STRONG).status == 200
        ada.opens()
        ada.page.get_by_label(re.compile("Sign out curl, 127")).click()
        ada.reads("curl is signed out.")
        assert ada.focused() == "devices"
        listed = ada.page.locator("#sessions b").all_inner_texts()
        assert listed[0].startswith("Chrome")
        assert {"Firefox on Linux", "tool <b>1</b>"} <= set(listed)
        assert "curl" not in listed
        ada.presses("Sign out all other devices")
        ada.reads("All other devices are signed out.")
        assert ada.page.locator("#sessions li").count() == 1

    def test_address_moves_once_its_link_is_opened(
            self, host: Host, person: Person) -> None:
        """Until then it is said to stay."""
        person.opens()
        person.signs_in(EVE)
        person.sees("Your account")
        person.follows("#email")
        person.fills(email="eva@example.org", password=STRONG)
        person.presses("Mail the link")
        person.reads("Until then your address stays as it is.")
        person.page.goto(host.link("eva@example.org"))
        person.presses("Confirm the address")
        person.sees("Your account")
        assert person.page.inner_text(".whom") == (
            "Signed in as eva@example.org")

    def test_data_is_downloaded(self, ada: Person) -> None:
        """As a file of JSON."""
        with ada.page.expect_download() as coming:
            ada.presses("Download your data")
        saved = Path(str(coming.value.path())).read_text()
        assert json.loads(saved)["email"] == ADA
        ada.reads("among your downloads")

    def test_account_is_deleted(self, person: Person) -> None:
        """After a password, and nothing lets in any more."""
        person.opens()
        person.signs_in(DAN)
        person.sees("Your account")
        person.follows("#delete")
        person.fills(password=STRONG)
        person.presses("Delete the account for good")
        person.reads("Your account is deleted.")
        person.signs_in(DAN)
        person.reads("Wrong email or password")


class TestWithout:
    """A mouse, a script, and what the policy forbids."""

    def test_keyboard_is_enough(self, person: Person) -> None:
        """In the order of reading, with a focus that can be seen."""
        person.opens()
        keys = person.page.keyboard
        keys.press("Tab")
        keys.type(ADA)
        keys.press("Tab")
        keys.type(STRONG)
        keys.press("Tab")
        assert person.page.evaluate(
            "getComputedStyle(document.activeElement).outlineStyle"
        ) == "solid"
        keys.press("Space")
        assert person.focused() == "Hide"
        secret = person.page.locator("#sign-in-password")
        assert secret.get_attribute("type") == "text"
        keys.press("Tab")
        keys.press("Enter")
        person.sees("Your account")
        assert person.focused() == "Your account"
        assert secret.get_attribute("type") == "password"
        assert secret.input_value() == ""

    def test_back_is_the_view_before(self, person: Person) -> None:
        """A browser's own buttons go on working."""
        person.opens()
        person.presses("Open an account")
        person.sees("Open an account")
        person.page.go_back()
        person.sees("Sign in")

    def test_without_scripts_it_says_what_to_do(self, host: Host) -> None:
        """And shows no form that would do nothing."""
        with host.visitor(java_script_enabled=False) as person:
            person.page.goto(URL + "/account")
            assert "Turn it on for this site" in person.page.inner_text("main")
            assert person.page.locator("form:visible").count() == 0

    @pytest.mark.parametrize("deed", [
        "document.body.innerHTML = '<b>x</b>'",
        "document.createElement('script').text = 'x'", "setTimeout('x')",
        "document.body.setAttribute('onclick', 'x')",
        "trustedTypes.createPolicy('x', {})",
        "new Promise((_, no) => { new Image().src = 'https://evil.com/';"
        "document.addEventListener('securitypolicyviolation', no); })"])
    def test_text_becomes_neither_markup_nor_code(
            self, person: Person, deed: str) -> None:
        """The policy is in force, whatever a mistake of ours would do."""
        person.opens()
        with pytest.raises(Exception, match="Page.evaluate"):
            person.page.evaluate(deed)
        assert any(re.search("Content Security Policy|Trusted", each)
                   for each in person.complaints)
        person.complaints.clear()


# -- Every state of the page, for everybody

class Look(NamedTuple):
    """What was wrong with a state, and how wide it was."""

    violations: List[str]
    width: int


def look(person: Person) -> Look:
    """Examine what is shown, and by night what the night changes."""
    found = []
    for scheme in ("light", "dark"):
        person.page.emulate_media(color_scheme=scheme,
                                  reduced_motion="reduce")
        found += person.page.evaluate(
            "async rules => (await axe.run(rules)).violations.map(each => "
            "each.id + ': ' + each.nodes.map(node => node.html).join(' '))",
            {} if scheme == "light" else {"runOnly": ["color-contrast"]})
    return Look(found, int(person.page.evaluate(
        "document.documentElement.scrollWidth")))


def states(person: Person) -> Iterator[str]:
    """Go through all that is shown, and say what it is each time."""
    yield "sign-in"
    person.presses("Sign in")
    yield "a field is empty"
    person.signs_in(NOBODY, WRONG)
    person.reads("Wrong email or password")
    yield "wrong password"
    person.follows("#sign-up")
    person.fills(email="a-rather-long-address@a-rather-long-name.example.org",
                 password="short")
    person.presses("Open the account")
    person.reads("is shorter than")
    yield "weak password"
    person.fills(password=STRONG)
    person.presses("Open the account")
    person.sees(MAILBOX)
    yield "mail on its way"
    for fragment in ("#again", "#forgot", "#reset=12345", "#verify=12345"):
        person.follows(fragment)
        yield fragment
    person.presses("Confirm the address")
    person.reads("This link does not work")
    yield "dead link"
    person.follows("#next=%2Fapp")
    person.signs_in(ADA)
    person.page.wait_for_url(URL + "/app")


def private_states(person: Person) -> Iterator[str]:
    """The same of who is signed in, with an app that waits."""
    person.page.locator("#sessions li").first.wait_for()
    yield "#home"
    for fragment in ("#password", "#email", "#delete"):
        person.follows(fragment)
        yield fragment
    person.fills(password=WRONG)
    person.presses("Delete the account for good")
    person.reads("Wrong password.")
    yield "wrong password again"


STATES = ["sign-in", "a field is empty", "wrong password", "weak password",
          "mail on its way", "#again", "#forgot", "#reset=12345",
          "#verify=12345", "dead link", "#home", "#password", "#email",
          "#delete", "wrong password again"]


@pytest.fixture(scope="module")
def looks(host: Host) -> Dict[str, Look]:
    """What every state looks like on the narrowest of screens."""
    seen = {}
    with host.visitor(viewport={"width": 320, "height": 640}) as person:
        for fragment, walk in (("", states), ("#next=%2Fapp",
                                              private_states)):
            person.opens(fragment)
            person.page.evaluate(axe())
            for state in walk(person):
                seen[state] = look(person)
    return seen


def axe() -> str:
    """Return the program that finds what keeps people out."""
    package = find_spec("axe_playwright_python")
    assert package and package.origin
    return (Path(package.origin).parent / "axe.min.js").read_text("utf-8")


class TestEveryState:
    """What holds for all that the page ever shows."""

    @pytest.mark.parametrize("state", STATES)
    def test_shuts_nobody_out(
            self, looks: Dict[str, Look], state: str) -> None:
        """By the rules of WCAG that a program can check, light and dark."""
        assert looks[state].violations == []

    @pytest.mark.parametrize("state", STATES)
    def test_fits_a_narrow_screen(
            self, looks: Dict[str, Look], state: str) -> None:
        """Nothing has to be scrolled sideways (WCAG 1.4.10)."""
        assert looks[state].width == 320

    def test_none_was_left_out(self, looks: Dict[str, Look]) -> None:
        """Looking at nothing would find nothing."""
        assert list(looks) == STATES


# -- The development mode, in other clothes

@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server in development, branded in the most difficult of colours."""
    folder = tmp_path_factory.mktemp("desk")
    logo = folder / "logo.svg"
    logo.write_text('<svg xmlns="http://www.w3.org/2000/svg" width="120" '
                    'height="40"><rect width="120" height="40"/></svg>')
    server = Server(folder, SERVICE_NAME="Caf\u00e9 <Olé>",
                    ACCENT_COLOR="#ffe600", LOGO=str(logo))
    yield server
    server.stop()
    assert "Traceback" not in server.log()


@pytest.fixture
def developer(host: Host, desk: Server) -> Iterator[Person]:
    """Somebody in front of it."""
    with host.visitor(desk.url) as made:
        yield made


class TestDevelopment:
    """What the page makes of the exercise's contract."""

    def test_who_signs_up_is_in(self, developer: Person) -> None:
        """There is no mail to wait for, and no rule for passwords."""
        developer.opens("#sign-up")
        developer.fills(email="new@me.com", password="pw")
        developer.presses("Open the account")
        developer.reads("new@me.com")
        developer.sees("Your account")

    def test_reset_says_that_it_is_a_gift(
            self, developer: Person, desk: Server) -> None:
        """The token comes by the answer, and the page says why."""
        desk.ask("POST", "/users", email=EMAIL, password=PASSWORD)
        developer.opens("#forgot")
        developer.fills(email=EMAIL)
        developer.presses("Mail me a link")
        developer.reads("This is the development mode")
        developer.presses("Set a new password")
        developer.sees("Set a new password")
        assert developer.page.url == desk.url + "/account"
        developer.fills(new_password="t4rt1fl3tt3")
        developer.presses("Set the password")
        developer.fills(password="t4rt1fl3tt3")
        developer.presses("Sign in")
        developer.sees("Your account")

    def test_no_link_is_offered_that_nobody_needs(
            self, developer: Person) -> None:
        """Addresses are not confirmed there."""
        developer.opens()
        developer.signs_in(EMAIL, WRONG)
        developer.reads("Wrong email or password.")
        assert developer.page.locator("[data-again]:visible").count() == 0

    def test_taken_address_is_said(self, developer: Person,
                                   desk: Server) -> None:
        """As the contract has it."""
        desk.ask("POST", "/users", email=EMAIL, password=PASSWORD)
        developer.opens("#sign-up")
        developer.fills(email=EMAIL, password="pw")
        developer.presses("Open the account")
        developer.reads("Email already registered.")
        assert developer.focused() == "sign-up-email"

    def test_brand_is_shown(self, developer: Person) -> None:
        """The name, the logo, and a colour on which the text is black."""
        developer.opens()
        page = developer.page
        assert page.title() == "Sign in \u2013 Caf\u00e9 <Olé>"
        logo = page.get_by_alt_text("Caf\u00e9 <Olé>")
        assert logo.evaluate("image => image.naturalWidth") == 120
        assert page.locator("#sign-in .main").evaluate(
            "each => [getComputedStyle(each).backgroundColor, "
            "getComputedStyle(each).color]") == [
                "rgb(255, 230, 0)", "rgb(0, 0, 0)"]

    def test_brand_shuts_nobody_out(self, developer: Person) -> None:
        """Whatever colour it is."""
        developer.opens()
        developer.page.evaluate(axe())
        assert look(developer).violations == []

#!/usr/bin/env python3
"""People in front of real browsers, and the production host that they visit.

    with Host(folder) as host, host.visitor() as person:
        person.opens("#sign-up")
        person.fills(email="bob@me.com", password=STRONG)
        person.presses("Open the account")

The host is nginx on the shipped file, Bienvenue in production, an app behind
the sign-in and a mail server; browsers reach it by TLS as www.example.com.
"""
from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Iterator, List

from tests.browser import chromium
from tests.helpers import STRONG, link_token
from tests.proxies import HOST, Nginx, SampleApp
from tests.smtp_server import SmtpServer
from tests.test_going_live import HOST as OTHER_HOST
from tests.test_going_live import Live

URL = "https://" + HOST
# What Chromium itself says of every answer from 400 on, and of none.
BROWSERS_OWN = "Failed to load resource: "
# What one waits for at most that takes milliseconds, on a busy machine.
PATIENCE = 30000


class Person:
    """Somebody with a browser of their own, at the page of an account."""

    def __init__(self, context: Any, url: str) -> None:
        """Sit down in front of an empty page."""
        context.set_default_timeout(PATIENCE)
        self.url = url
        self.page = context.new_page()
        self.complaints: List[str] = []
        self.page.on("console", self._hears)
        self.page.on("pageerror", lambda error: self.complaints.append(
            str(error)))
        self.page.on("request", self._sends)

    def starts_anew(self) -> None:
        """Forget who was here before."""
        self.complaints.clear()
        self.page.context.clear_cookies()
        self.page.context.set_offline(False)

    def opens(self, fragment: str = "", path: str = "/account") -> None:
        """Load the page, as by a link, and wait until it shows something."""
        self.page.goto("about:blank")
        self.page.goto(self.url + path + fragment)
        self.page.locator("main > section:visible").wait_for()

    def fills(self, **fields: str) -> None:
        """Write into the fields that are shown, by their names."""
        for name, text in fields.items():
            self.page.locator("section:visible [name={}]".format(
                name)).fill(text)

    def presses(self, label: str) -> None:
        """Press the button or follow the link of this name."""
        button, link = [self.page.get_by_role(each, name=label, exact=True)
                        for each in ("button", "link")]
        button.or_(link).click()

    def sees(self, heading: str) -> None:
        """Wait for the view with this heading."""
        self.page.locator("h1:visible", has_text=re.compile(
            "^{}$".format(re.escape(heading)))).wait_for()

    def reads(self, sentence: str) -> None:
        """Wait for a sentence anywhere on the page."""
        self.page.get_by_text(sentence).locator("visible=true").wait_for()

    def focused(self) -> str:
        """Return the id, or else the text, of what has the focus."""
        return str(self.page.evaluate(
            "document.activeElement.id || document.activeElement.innerText"))

    def follows(self, fragment: str) -> None:
        """Go to another place of the page that is open."""
        self.page.evaluate("to => { location.hash = to; }", fragment)

    def signs_in(self, email: str, password: str = STRONG) -> None:
        """Fill in the form of that and send it."""
        self.fills(email=email, password=password)
        self.presses("Sign in")

    def _hears(self, said: Any) -> None:
        """Keep what the browser complains of, such as a broken policy."""
        if said.type in ("error", "warning") \
                and not said.text.startswith(BROWSERS_OWN):
            self.complaints.append(said.text)

    def _sends(self, request: Any) -> None:
        """Keep what is asked of anybody but our host."""
        if not request.url.startswith((self.url + "/", "blob:" + self.url)):
            self.complaints.append("asks " + request.url)


class Host:
    """Everything that a deployer starts, on loopback."""

    def __init__(self, folder: Path, **environ: str) -> None:
        """Keep what to start with; it starts once it is entered."""
        self._folder, self._environ = folder, environ
        self._ending = ExitStack()

    def __enter__(self) -> Host:
        """Start it all."""
        enter = self._ending.enter_context
        self.mail = enter(SmtpServer())
        settings = dict(
            MAIL_URL=self.mail.url, PUBLIC_URL=URL, LANDING_URL="/account",
            SIGN_IN_PATH="/account", TRUSTED_PROXIES="1",
            TRUSTED_HOSTS=OTHER_HOST,
            REGISTER_NETWORK_LIMIT="1000/1h", MAIL_NETWORK_LIMIT="1000/1h")
        settings.update(self._environ)
        self.service = Live(self._folder, **settings)
        self._ending.callback(self.service.stop)
        self.app = SampleApp()
        self._ending.callback(self.app.stop)
        self.proxy = Nginx(self._folder, self.service.port, self.app.port)
        self._ending.callback(self.proxy.stop)
        self.browser = enter(chromium(
            "--host-resolver-rules=MAP {}:443 127.0.0.1:{}".format(
                HOST, self.proxy.port)))
        return self

    def __exit__(self, *_: object) -> None:
        """End it all."""
        self._ending.close()

    @contextmanager
    def visitor(self, url: str = URL, **options: Any) -> Iterator[Person]:
        """Lend a person with a fresh browser, who complains of nothing."""
        context = self.browser.new_context(ignore_https_errors=True, **options)
        try:
            person = Person(context, url)
            yield person
            assert person.complaints == []
        finally:
            context.close()

    def joins(self, *emails: str) -> None:
        """Open accounts past the browser, whose addresses are confirmed."""
        for email in emails:
            answer = self.proxy.ask(
                "POST", "/users", email=email, password=STRONG)
            assert answer.status == 200, answer.body
        for email in emails:
            assert self.proxy.ask("PUT", "/verify_email", token=link_token(
                self.mailed(email))).status == 200

    def mailed(self, email: str, count: int = 1) -> str:
        """Return the text of the newest mail once there are so many."""
        self.mail.wait_for(email, count)
        return self.mail.text(email)

    def link(self, email: str, count: int = 1) -> str:
        """Return what a person opens who reads that mail, "" if nothing."""
        found = re.search(r"https://\S+", self.mailed(email, count))
        return found.group(0) if found else ""

#!/usr/bin/env python3
"""Pictures of the account page for docs/account.md, by `make screenshots`.

Taken of the real thing: the host of tests/people.py, in Debian's Chromium.
"""
from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from tests.helpers import ROOT, STRONG
from tests.people import Host, Person

FOLDER = ROOT / "docs" / "pictures"
DESK: Any = {"viewport": {"width": 520, "height": 560}}
# Sharp enough on most screens, and less than 80 KB each.
SHARP = 1.25
PHONE: Any = {"viewport": {"width": 360, "height": 640}}
NIGHT: Any = {"color_scheme": "dark"}
ADA = "ada@example.org"
PHONES = ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit"
          "/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile Safari/604.1")
LAPTOPS = ("Mozilla/5.0 (Macintosh; Intel Mac OS X 14.5; rv:128.0) "
           "Gecko/20100101 Firefox/128.0")


def take(person: Person, name: str) -> None:
    """Save what a person sees, once nothing moves any more."""
    person.page.emulate_media(reduced_motion="reduce")
    person.page.screenshot(path=str(FOLDER / (name + ".png")),
                           animations="disabled", full_page=True)


def visit(host: Host, name: str, fragment: str = "", **options: Any) -> None:
    """Take a picture of a view as it is when it is opened."""
    with host.visitor(device_scale_factor=SHARP, **options) as person:
        person.opens(fragment)
        if "reset" in fragment:
            person.fills(email=ADA, new_password=STRONG[:12])
        take(person, name)


def go_wrong(host: Host) -> None:
    """Take a picture of a sign-in that is refused."""
    with host.visitor(device_scale_factor=SHARP, **DESK) as person:
        person.opens()
        person.signs_in(ADA, "not the password")
        person.reads("Wrong email or password")
        take(person, "error")


def come_home(host: Host) -> None:
    """Take a picture of who is signed in on three devices."""
    for agent in (PHONES, LAPTOPS):
        host.proxy.ask("POST", "/sessions", {"User-Agent": agent}, email=ADA,
                       password=STRONG)
    with host.visitor(device_scale_factor=SHARP, **DESK) as person:
        person.opens()
        person.signs_in(ADA)
        person.page.locator("#sessions li").nth(2).wait_for()
        person.page.evaluate("document.activeElement.blur()")
        take(person, "sessions")


def main() -> None:
    """Take them all, and say how large they are."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, Host(Path(folder)) as host:
        host.joins(ADA)
        visit(host, "sign-in", **DESK)
        visit(host, "dark", **DESK, **NIGHT)
        visit(host, "reset-on-a-phone", "#reset=a-token", **PHONE)
        go_wrong(host)
        come_home(host)
    for each in sorted(FOLDER.glob("*.png")):
        print("{}: {} KB".format(each.relative_to(ROOT),
                                 each.stat().st_size // 1024))


if __name__ == "__main__":
    main()

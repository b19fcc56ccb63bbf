#!/usr/bin/env python3
"""A deployer's colour and logo: legible whatever they are."""
from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from routes.brand import (
    BLACK, DARK_CARD, LIGHT_CARD, READABLE, WHITE, contrast, legible, logo,
    logo_origin, style, text_on)
from settings import Settings

# From the darkest to the brightest, and the middle where it is difficult.
COLORS = ["#000000", "#ffffff", "#1d4ed8", "#ffe600", "#767676", "#757575",
          "#ff0000", "#00ff00", "#0000ff", "#2e8b57", "#808080", "#1b1e24"]
every_color = pytest.mark.parametrize("color", COLORS)


def branded(**changes: Any) -> Settings:
    """Return settings with these looks."""
    return dataclasses.replace(Settings(), **changes)


class TestContrast:
    """How far two colours are apart."""

    @pytest.mark.parametrize("one, other, ratio", [
        (BLACK, WHITE, 21), (WHITE, WHITE, 1), ("#777777", WHITE, 4.48),
        ("#767676", WHITE, 4.54), ("#ff0000", WHITE, 4.0),
        ("#0000ff", WHITE, 8.59), ("#00ff00", BLACK, 15.3)])
    def test_is_that_of_wcag(
            self, one: str, other: str, ratio: float) -> None:
        """Known values, in either order."""
        assert contrast(one, other) == pytest.approx(ratio, abs=0.01)
        assert contrast(other, one) == contrast(one, other)


class TestLegible:
    """What is written on a colour, and with it."""

    @every_color
    def test_text_on_it_is_readable(self, color: str) -> None:
        """Black or white always is."""
        assert contrast(text_on(color), color) >= READABLE

    @every_color
    @pytest.mark.parametrize("card", [LIGHT_CARD, DARK_CARD])
    def test_text_in_it_is_readable(self, color: str, card: str) -> None:
        """On both of the cards."""
        assert contrast(legible(color, card), card) >= READABLE

    def test_readable_colour_is_left_alone(self) -> None:
        """It is the deployer's, after all."""
        assert legible("#1d4ed8", LIGHT_CARD) == "#1d4ed8"

    def test_another_is_changed_as_little_as_need_be(self) -> None:
        """A yellow becomes a dark yellow and not black."""
        changed = legible("#ffe600", LIGHT_CARD)
        red, green, blue = [int(changed[at:at + 2], 16) for at in (1, 3, 5)]
        assert red > 100 and green > 90 and blue == 0

    def test_style_holds_the_colour(self) -> None:
        """And all of its companions, for the day and for the night."""
        assert style(branded(accent_color="#ffe600")).count("#ffe600") == 2
        assert set(re.findall(r"--[a-z-]+", style(Settings()))) == {
            "--card", "--accent", "--on-accent", "--link"}


class TestLogo:
    """What stands above the page."""

    def test_default_is_the_first_letter(self) -> None:
        """In white on a dark colour."""
        picture, kind = logo(branded(service_name="zebra"))
        assert kind == "image/svg+xml"
        assert b">Z</text>" in picture and b'fill="#ffffff"' in picture

    def test_letter_is_no_markup(self) -> None:
        """Whatever a name begins with."""
        assert b">&lt;</text>" in logo(branded(service_name="<b>"))[0]

    @pytest.mark.parametrize("name, kind", [
        ("a.svg", "image/svg+xml"), ("a.PNG", "image/png"),
        ("a.jpeg", "image/jpeg"), ("a.webp", "image/webp")])
    def test_file_is_sent_as_what_it_is(
            self, tmp_path: Path, name: str, kind: str) -> None:
        """By the end of its name."""
        (tmp_path / name).write_bytes(b"picture")
        settings = Settings.from_env({"LOGO": str(tmp_path / name)})
        assert logo(settings) == (b"picture", kind)
        assert logo_origin(settings) == ""

    def test_url_has_an_origin(self) -> None:
        """Which the policy of the page names, and no path of it."""
        assert logo_origin(branded(
            logo="https://img.example.com:8443/a/logo.svg")) == (
                "https://img.example.com:8443")

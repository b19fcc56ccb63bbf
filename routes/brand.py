#!/usr/bin/env python3
"""The looks of the pages for people: a deployer's colour and logo, legible.

Any colour will do for ACCENT_COLOR: what is written on it or with it is made
as dark or light as WCAG 2.2 asks (1.4.3, 4.5 to 1).
"""
from __future__ import annotations

from html import escape
from pathlib import Path
from typing import List, Tuple
from urllib.parse import urlsplit

from settings import LOGO_TYPES, Settings

BLACK, WHITE = "#000000", "#ffffff"
# What the pages are written on, by day and by night.
LIGHT_CARD, DARK_CARD = "#ffffff", "#1b1e24"
# The contrast from which on text can be read (AA).
READABLE = 4.5
STEPS = 20
STYLE = """:root{{--card:{0};--accent:{1};--on-accent:{2};--link:{3}}}
@media (prefers-color-scheme:dark){{:root{{--card:{4};--link:{5}}}}}
"""
# Without a logo: the first letter of the service's name, on its colour.
INITIAL = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 48 48">\
<rect width="48" height="48" rx="13" fill="{}"/>\
<text x="24" y="33.5" text-anchor="middle" fill="{}" font-size="27" \
font-weight="700" font-family="system-ui,sans-serif">{}</text></svg>
"""


def style(settings: Settings) -> str:
    """Return the colours of the pages as custom properties of CSS."""
    accent = settings.accent_color
    return STYLE.format(
        LIGHT_CARD, accent, text_on(accent), legible(accent, LIGHT_CARD),
        DARK_CARD, legible(accent, DARK_CARD))


def logo(settings: Settings) -> Tuple[bytes, str]:
    """Return the picture that we serve as the logo, and its content type."""
    if settings.logo and not logo_origin(settings):
        path = Path(settings.logo)
        return path.read_bytes(), LOGO_TYPES[path.suffix.lower()]
    letter = escape(settings.service_name.strip()[:1].upper())
    accent = settings.accent_color
    return (INITIAL.format(accent, text_on(accent), letter).encode(),
            LOGO_TYPES[".svg"])


def logo_origin(settings: Settings) -> str:
    """Return the origin from which browsers fetch the logo, "" if ours."""
    parts = urlsplit(settings.logo)
    return "https://" + parts.netloc if parts.scheme == "https" else ""


def text_on(color: str) -> str:
    """Return black or white, whichever is read more easily on a colour."""
    return max(WHITE, BLACK, key=lambda each: contrast(each, color))


def legible(color: str, background: str) -> str:
    """Return the nearest shade of a colour that is readable on another."""
    goal = text_on(background)
    shades = [_mixed(color, goal, step / STEPS) for step in range(STEPS + 1)]
    return next(each for each in shades
                if contrast(each, background) >= READABLE)


def contrast(one: str, other: str) -> float:
    """Return how far two colours are apart, from 1 to 21 (WCAG 2.2)."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(color: str) -> float:
    """Return how bright a colour is to the eye, from 0 to 1 (WCAG 2.2)."""
    red, green, blue = [
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4
        for each in (part / 255 for part in _parts(color))]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _mixed(one: str, other: str, share: float) -> str:
    """Return a colour with this share of another in it."""
    return "#" + "".join(
        "{:02x}".format(round(first + (second - first) * share))
        for first, second in zip(_parts(one), _parts(other)))


def _parts(color: str) -> List[int]:
    """Return the red, green and blue of #rrggbb, each up to 255."""
    return [int(color[at:at + 2], 16) for at in (1, 3, 5)]

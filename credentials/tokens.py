#!/usr/bin/env python3
"""Opaque tokens: what a session id and a reset token are.

A token is a version-4 UUID, because the card says UUID: 122 random bits from
the operating system. ASVS 7.2.3 asks for 128, so that row is an honest miss
of six bits; at 10^9 live sessions and 10^6 guesses a second the first hit is
expected after some 10^14 years.
"""
from __future__ import annotations

import hashlib
import re
import uuid
from typing import Optional

# [0-9a-f] and \Z rather than \w and $: no Unicode digit, no final newline.
_TOKEN = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")

_TOKEN_INSIDE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I)


def mint() -> str:
    """Return a fresh token of 36 characters that nobody can guess."""
    return str(uuid.uuid4())


def masked(text: str) -> str:
    """Return a text with a stand-in for whatever looks like a token.

    Clients put secrets where they do no good; a log must not keep them there
    (ASVS 16.2.5).
    """
    return _TOKEN_INSIDE.sub("<token>", text)


def digest(token: str) -> str:
    """Return the form in which a token is stored and looked up.

    Plain SHA-256 is enough, since 122 random bits leave no dictionary to
    try; and because look-up is by digest, no comparison of secrets can leak
    how far it got.
    """
    return hashlib.sha256(token.encode("ascii")).hexdigest()


def presented_digest(value: object) -> Optional[str]:
    """Return the digest of what a client presents, or None if it is no token.

    None, "", lists and anything else that mint() could not have made never
    become a query: `reset_token IS NULL` matches every user who asked for
    nothing (the hole behind Django's CVE-2015-3982; docs/security.md#tokens).
    """
    if not isinstance(value, str) or not _TOKEN.match(value):
        return None
    return digest(value)

#!/usr/bin/env python3
"""Browsers that were here before, each with a count of attempts of its own.

A browser says so with a cookie, whose token is new each time it signs in: one
that was planted or copied before is worth nothing after (OWASP, "Slow Down
Online Guessing Attacks with Device Cookies"; docs/security.md#throttling).
"""
from __future__ import annotations

from audit import Caller
from credentials import tokens
from db import DB
from models import Device
from settings import DAY
from user import User

# A browser that was away for longer is a new one.
DEVICE_LIFE = 365 * DAY
DEVICES_PER_USER = 20


class Devices:
    """The browsers that each user has signed in with, or proved a mailbox."""

    def __init__(self, db: DB) -> None:
        """Keep them in this store."""
        self._db = db

    def knows(self, caller: Caller, email: str, now: int) -> bool:
        """Tell whether this address once signed in from that browser."""
        digest = tokens.presented_digest(caller.device)
        device = self._db.find(Device, digest=digest) if digest else None
        user = device and self._db.find(User, id=device.user_id)
        return bool(device and user and user.email == email
                    and now < device.seen_at + DEVICE_LIFE)

    def remember(self, caller: Caller, user_id: int, now: int) -> bool:
        """Know the caller's browser from now on, by its next token.

        Returns whether the user had any before, this one included. Of too
        many, those not seen for longest are forgotten.
        """
        known = self._db.find_all(Device, user_id=user_id)
        if caller.next_device:
            before = tokens.presented_digest(caller.device)
            others = sorted(
                (each for each in known if each.digest != before),
                key=lambda each: each.seen_at, reverse=True)
            kept = others[:DEVICES_PER_USER - 1]
            for each in known:
                if each not in kept:
                    self._db.delete(Device, digest=each.digest)
            self._db.add(Device(digest=tokens.digest(caller.next_device),
                                user_id=user_id, seen_at=now))
        return bool(known)

    def forget_old(self, now: int) -> int:
        """Delete those that were away for too long; return how many."""
        return self._db.purge(Device, Device.seen_at <= now - DEVICE_LIFE)

#!/usr/bin/env python3
"""Django's own accounts and sessions, with views that speak JSON.

Each request loads the row of the session, and that of the user.
"""
from __future__ import annotations

import json
import os

import django
from django.conf import settings
from django.contrib.auth import authenticate, get_user_model, login
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path


def register(asked: HttpRequest) -> JsonResponse:
    """Open an account; the address is the name, too."""
    given = json.loads(asked.body)
    get_user_model().objects.create_user(
        given["email"], given["email"], given["password"])
    return JsonResponse({"email": given["email"]}, status=201)


def sign_in(asked: HttpRequest) -> JsonResponse:
    """Open a session for whoever knows the password."""
    given = json.loads(asked.body)
    user = authenticate(asked, username=given["email"],
                        password=given["password"])
    if user is None:
        return JsonResponse({"message": "wrong"}, status=401)
    login(asked, user)
    return JsonResponse({"email": user.email})


def profile(asked: HttpRequest) -> JsonResponse:
    """Say who is signed in."""
    if not asked.user.is_authenticated:
        return JsonResponse({"message": "not signed in"}, status=403)
    return JsonResponse({"email": asked.user.email})


def health(_asked: HttpRequest) -> JsonResponse:
    """Say that requests are answered."""
    return JsonResponse({"ok": True})


def prepare() -> None:
    """Make the tables."""
    call_command("migrate", verbosity=0)


urlpatterns = [path("users", register), path("sessions", sign_in),
               path("profile", profile), path("health", health)]
settings.configure(
    SECRET_KEY="a key for measuring, and for nothing else, of 50 letters",
    ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, USE_TZ=True,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes",
                    "django.contrib.sessions"],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    PASSWORD_HASHERS=[  # of cost 12
        "django.contrib.auth.hashers.BCryptSHA256PasswordHasher"],
    DATABASES={"default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["PEER_DATABASE"], "CONN_MAX_AGE": 60,
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 5,
                    "init_command": "PRAGMA journal_mode=WAL; "
                                    "PRAGMA synchronous=NORMAL;"}}})
django.setup()
application = get_wsgi_application()

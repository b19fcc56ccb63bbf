#!/usr/bin/env python3
"""Settings: read from the environment, refused all at once."""
from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any, Dict, List

import pytest

from settings import DAY, HOUR, BadSettings, Rate, Settings

# What a deployer of the production mode has to set, and no more.
SAFE = dict(
    AUTH_ENV="production", DATABASE_URL="sqlite:////tmp/bienvenue.db",
    PUBLIC_URL="https://auth.example.com", MAIL_FROM="auth@example.com",
    LANDING_URL="https://www.example.com/account",
    MAIL_URL="smtps://user:hush-hush@mail.example.com")
KEY, OLD_KEY = "k" * 16 + "hush-hush" * 2, "o" * 16 + "hush-hush" * 2
# A good value for each secret that differs from its default.
SECRETS = {
    "DATABASE_URL": "sqlite:////tmp/a.db", "PEPPER": KEY,
    "PEPPER_OLD": OLD_KEY + "," + KEY,
    "MAIL_URL": "smtp://user:hush-hush@mail.example.com:587",
    "METRICS_TOKEN": KEY}
every_secret = pytest.mark.parametrize("name", SECRETS)


def problems_of(**environ: str) -> str:
    """Return the complaints about an environment, "" if there are none."""
    try:
        Settings.from_env(environ)
    except BadSettings as error:
        assert str(error) == "\n".join(error.problems)
        return str(error)
    return ""


class TestFromEnv:
    """What an environment becomes."""

    def test_nothing_set_is_the_default(self) -> None:
        """The development mode needs no setting."""
        assert Settings.from_env({}) == Settings()

    def test_empty_counts_as_unset(self) -> None:
        """As in a copied .env.example."""
        assert Settings.from_env({"PORT": "", "AUTH_ENV": ""}) == Settings()

    def test_default_database_is_beside_app(self) -> None:
        """Wherever the service is started from."""
        assert Settings().database_url.startswith("sqlite:////")
        assert Settings().database_url.endswith("/bienvenue.db")

    @pytest.mark.parametrize("name, text, field, value", [
        ("AUTH_ENV", "development", "env", "development"),
        ("DATABASE_URL", "sqlite:////tmp/a.db", "database_url",
         "sqlite:////tmp/a.db"),
        ("DATABASE_URL", "sqlite:///a.db", "database_url", "sqlite:///a.db"),
        ("HOST", "::1", "host", "::1"),
        ("PORT", "8080", "port", 8080),
        ("BCRYPT_COST", "4", "bcrypt_cost", 4),
        ("BCRYPT_COST", "16", "bcrypt_cost", 16),
        ("SESSION_IDLE", "90s", "session_idle", 90),
        ("SESSION_IDLE", "15m", "session_idle", 900),
        ("SESSION_ABSOLUTE", "60d", "session_absolute", 60 * DAY),
        ("RESET_TOKEN_LIFE", "2h", "reset_token_life", 2 * HOUR),
        ("PUBLIC_URL", "https://auth.example.com", "public_url",
         "https://auth.example.com"),
        ("PUBLIC_URL", "https://auth.example.com:443", "public_url",
         "https://auth.example.com"),
        ("PUBLIC_URL", "http://a.example:80/", "public_url",
         "http://a.example"),
        ("PUBLIC_URL", "http://a.example:443", "public_url",
         "http://a.example:443"),
        ("PUBLIC_URL", "HTTP://Auth.Example.com:8443/", "public_url",
         "http://auth.example.com:8443"),
        ("SIGN_IN_PATH", "/account", "sign_in_path", "/account"),
        ("SIGN_IN_PATH", "/a.b/~c_d-1/", "sign_in_path", "/a.b/~c_d-1/"),
        ("TRUSTED_HOSTS", "Auth.internal", "trusted_hosts",
         {"auth.internal"}),
        ("TRUSTED_HOSTS", "a.example , 10.0.0.1", "trusted_hosts",
         {"a.example", "10.0.0.1"}),
        ("TRUSTED_PROXIES", "0", "trusted_proxies", 0),
        ("TRUSTED_PROXIES", "10", "trusted_proxies", 10),
        ("SERVICE_NAME", "Caf\u00e9 & Co", "service_name",
         "Caf\u00e9 & Co"),
        ("ACCENT_COLOR", "#1F6FEB", "accent_color", "#1f6feb"),
        ("ACCENT_COLOR", "1f6feb", "accent_color", "#1f6feb"),
        ("LOGO", "https://www.example.com/a/logo.svg?v=2", "logo",
         "https://www.example.com/a/logo.svg?v=2"),
        ("PEPPER", "p" * 32, "pepper", "p" * 32),
        ("PEPPER_OLD", "p" * 32, "pepper_old", ("p" * 32,)),
        ("PEPPER_OLD", OLD_KEY + ", " + KEY, "pepper_old", (OLD_KEY, KEY)),
        ("PASSWORD_MIN", "8", "password_min", 8),
        ("PASSWORD_MIN", "64", "password_min", 64),
        ("SESSIONS_PER_USER", "1", "sessions_per_user", 1),
        ("SESSIONS_PER_USER", "1000", "sessions_per_user", 1000),
        ("VERIFY_TOKEN_LIFE", "1d", "verify_token_life", DAY),
        ("REVEAL_REGISTERED", "1", "reveal_registered", True),
        ("REQUIRE_VERIFIED", "0", "require_verified", False),
        ("MAIL_URL", "smtps://mail.example.com", "mail_url",
         "smtps://mail.example.com"),
        ("MAIL_URL", "smtp://me%40x.org:p%2Fw@localhost:587/", "mail_url",
         "smtp://me%40x.org:p%2Fw@localhost:587/"),
        ("MAIL_FROM", "no-reply+auth@example.com", "mail_from",
         "no-reply+auth@example.com"),
        ("LANDING_URL", "https://www.example.com", "landing_url",
         "https://www.example.com"),
        ("LANDING_URL", "/account", "landing_url", "/account"),
        ("LANDING_URL", "/in/?from=mail", "landing_url", "/in/?from=mail"),
        ("LANDING_URL", "http://localhost:3000/in/account?from=mail",
         "landing_url", "http://localhost:3000/in/account?from=mail"),
        ("MAIL_IN_SERVER", "0", "mail_in_server", False),
        ("MAIL_ADDRESS_LIMIT", "1/90s", "mail_address_limit", Rate(1, 90)),
        ("NEW_DEVICE_MAIL", "1", "new_device_mail", True),
        ("LOGIN_FREE_FAILURES", "1", "login_free_failures", 1),
        ("LOGIN_FREE_FAILURES", "50", "login_free_failures", 50),
        ("LOGIN_LONGEST_WAIT", "1h", "login_longest_wait", HOUR),
        ("LOGIN_MOST_FAILURES", "10", "login_most_failures", 10),
        ("LOGIN_NETWORK_LIMIT", "999999/30d", "login_network_limit",
         Rate(999999, 30 * DAY)),
        ("MAIL_NETWORK_LIMIT", "3/1h", "mail_network_limit",
         Rate(3, HOUR)),
        ("REGISTER_NETWORK_LIMIT", "3/2m", "register_network_limit",
         Rate(3, 120)),
        ("AUDIT_LIFE", "365d", "audit_life", 365 * DAY),
        ("METRICS_TOKEN", "m" * 32, "metrics_token", "m" * 32)])
    def test_reads(self, name: str, text: str, field: str,
                   value: Any) -> None:
        """Each variable sets its own field."""
        assert Settings.from_env({name: text}) \
            == dataclasses.replace(Settings(), **{field: value})

    @pytest.mark.parametrize("environ", [
        {"AUTH_ENV": "live"}, {"AUTH_ENV": "Development"},
        {"DATABASE_URL": "sqlite://"}, {"DATABASE_URL": "sqlite:///"},
        {"DATABASE_URL": "sqlite:///:memory:"},
        {"DATABASE_URL": "sqlite:///file:x?mode=memory"},
        {"DATABASE_URL": "sqlite:///a.db?mode=memory&uri=true"},
        {"DATABASE_URL": "mysql://u:secret@db/x"},
        {"HOST": ".."}, {"HOST": "x" * 64}, {"HOST": "\udc80"},
        {"PORT": "0"}, {"PORT": "65536"}, {"PORT": "x"}, {"PORT": "5000\n"},
        {"PORT": "\u0665\u0660\u0660\u0660"}, {"PORT": "-1"},
        {"BCRYPT_COST": "3"}, {"BCRYPT_COST": "17"},
        {"SESSION_IDLE": "0d"}, {"SESSION_IDLE": "7"},
        {"SESSION_ABSOLUTE": "1w"}, {"RESET_TOKEN_LIFE": "1.5h"},
        {"RESET_TOKEN_LIFE": "-1h"},
        {"SERVICE_NAME": "A\nB"}, {"SERVICE_NAME": "x" * 61},
        {"ACCENT_COLOR": "blue"}, {"ACCENT_COLOR": "#fff"},
        {"ACCENT_COLOR": "#1f6feb;}"}, {"ACCENT_COLOR": "#1f6feb\n"},
        {"LOGO": "/nowhere.svg"}, {"LOGO": __file__}, {"LOGO": "/"},
        {"LOGO": "http://www.example.com/logo.svg"},
        {"LOGO": "https://www.example.com"},
        {"LOGO": "https://a.example;x/logo.svg"},
        {"LOGO": "https://u:secret@a.example/logo.svg"},
        {"LOGO": "javascript:alert(1)"}, {"LOGO": "data:image/png,x"},
        {"PUBLIC_URL": "auth.example.com"}, {"PUBLIC_URL": "ftp://a.example"},
        {"PUBLIC_URL": "https://"}, {"PUBLIC_URL": "https://a.example/auth"},
        {"PUBLIC_URL": "https://u:secret@a.example"},
        {"PUBLIC_URL": "https://a.example?x"},
        {"PUBLIC_URL": "https://a.example:x"},
        {"PUBLIC_URL": "https://a.example\n"},
        {"SIGN_IN_PATH": "/"}, {"SIGN_IN_PATH": "account"},
        {"SIGN_IN_PATH": "//evil.com"}, {"SIGN_IN_PATH": "/\\evil.com"},
        {"SIGN_IN_PATH": "https://evil.com/"}, {"SIGN_IN_PATH": "/a b"},
        {"SIGN_IN_PATH": "/a?next=b"}, {"SIGN_IN_PATH": "/a#b"},
        {"SIGN_IN_PATH": "/a\n"}, {"SIGN_IN_PATH": "/%2f"},
        {"TRUSTED_HOSTS": "a.example:80"}, {"TRUSTED_HOSTS": "a b"},
        {"TRUSTED_HOSTS": "a.example,,b.example"}, {"TRUSTED_HOSTS": "*"},
        {"TRUSTED_HOSTS": "https://a.example"}, {"TRUSTED_HOSTS": ","},
        {"TRUSTED_PROXIES": "11"}, {"TRUSTED_PROXIES": "-1"},
        {"PEPPER": "p" * 31}, {"PEPPER_OLD": "p" * 31},
        {"PEPPER_OLD": "p" * 40 + ","}, {"PEPPER_OLD": "p" * 40 + ",short"},
        {"METRICS_TOKEN": "m" * 31}, {"PROMETHEUS_MULTIPROC_DIR": "/nowhere"},
        {"PROMETHEUS_MULTIPROC_DIR": __file__},
        {"PASSWORD_MIN": "7"}, {"PASSWORD_MIN": "65"},
        {"SESSIONS_PER_USER": "0"}, {"SESSIONS_PER_USER": "1001"},
        {"VERIFY_TOKEN_LIFE": "1 d"},
        {"REVEAL_REGISTERED": "true"}, {"REQUIRE_VERIFIED": "no"},
        {"REQUIRE_VERIFIED": "00"}, {"MAIL_IN_SERVER": " 1"},
        {"NEW_DEVICE_MAIL": "2"},
        {"MAIL_URL": "mail.example.com"}, {"MAIL_URL": "smtps://"},
        {"MAIL_URL": "https://mail.example.com"},
        {"MAIL_URL": "smtp://mail.example.com:x"},
        {"MAIL_URL": "smtp://mail.example.com:65536"},
        {"MAIL_URL": "smtp://mail.example.com/inbox"},
        {"MAIL_URL": "smtp://mail.example.com?tls=0"},
        {"MAIL_URL": "smtp://u:a#b@mail.example.com"},
        {"MAIL_URL": "smtp://["},
        {"MAIL_FROM": "example.com"}, {"MAIL_FROM": "Us <us@example.com>"},
        {"MAIL_FROM": "us@example.com\nBcc: eve@me.com"},
        {"MAIL_FROM": "caf\u00e9@example.com"},
        {"LANDING_URL": "account"}, {"LANDING_URL": "javascript:alert(1)"},
        {"LANDING_URL": "//www.example.com/account"},
        {"LANDING_URL": "https://a.example/#x"},
        {"LANDING_URL": "https://a.example/a b"},
        {"LANDING_URL": "https://a.example/\n"},
        {"MAIL_TEMPLATES": "/nowhere"}, {"MAIL_TEMPLATES": __file__},
        {"MAIL_ADDRESS_LIMIT": "3"}, {"MAIL_ADDRESS_LIMIT": "0/1h"},
        {"MAIL_ADDRESS_LIMIT": "3/0h"}, {"MAIL_ADDRESS_LIMIT": "3/h"},
        {"MAIL_ADDRESS_LIMIT": "-3/1h"}, {"MAIL_ADDRESS_LIMIT": "3/1h\n"},
        {"LOGIN_NETWORK_LIMIT": "1000000/1h"},
        {"MAIL_NETWORK_LIMIT": "3 / 1h"}, {"REGISTER_NETWORK_LIMIT": "3/1w"},
        {"LOGIN_FREE_FAILURES": "0"}, {"LOGIN_FREE_FAILURES": "51"},
        {"LOGIN_MOST_FAILURES": "9"}, {"LOGIN_MOST_FAILURES": "101"},
        {"LOGIN_LONGEST_WAIT": "15"}, {"AUDIT_LIFE": "forever"}], ids=str)
    def test_refuses(self, environ: Dict[str, str]) -> None:
        """With one complaint that names the variable."""
        name, = environ
        assert problems_of(**environ).startswith(name)
        assert "\n" not in problems_of(**environ)

    @pytest.mark.parametrize("name, limit, good, bad", [
        ("RESET_TOKEN_LIFE", "3/2h", "2h", "1h"),
        ("RESET_TOKEN_LIFE", "3/1h", "60m", "59m"),
        ("VERIFY_TOKEN_LIFE", "3/1h", "1h", "3599s")])
    def test_no_link_ends_while_its_mails_are_withheld(
            self, name: str, limit: str, good: str, bad: str) -> None:
        """A stranger who uses the mails up would leave its owner with none."""
        environ = {"RESET_TOKEN_LIFE": "1d", "MAIL_ADDRESS_LIMIT": limit}
        assert not problems_of(**dict(environ, **{name: good}))
        assert problems_of(**dict(environ, **{name: bad})) == (
            name + " is shorter than the time of MAIL_ADDRESS_LIMIT: raise "
            "it, or lower that.")

    def test_every_complaint_at_once(self) -> None:
        """One start tells all."""
        complaint = problems_of(AUTH_ENV="x", PORT="x", SESSION_IDLE="x")
        assert [line.split()[0] for line in complaint.splitlines()] \
            == ["AUTH_ENV", "PORT", "SESSION_IDLE"]

    def test_idle_is_not_longer_than_absolute(self) -> None:
        """It could never happen otherwise."""
        assert problems_of(SESSION_IDLE="31d").startswith("SESSION_IDLE")
        assert not problems_of(SESSION_IDLE="30d")

    def test_free_failures_are_not_more_than_the_most(self) -> None:
        """Nothing would ever be slowed down otherwise."""
        complaint = problems_of(
            LOGIN_FREE_FAILURES="11", LOGIN_MOST_FAILURES="10")
        assert complaint.startswith("LOGIN_FREE_FAILURES is more than ")
        assert not problems_of(
            LOGIN_FREE_FAILURES="10", LOGIN_MOST_FAILURES="10")

    def test_takes_the_folder_of_workers(
            self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """If they may write to it; root may always, so that is played."""
        environ = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
        assert Settings.from_env(environ).metrics_folder == str(tmp_path)
        monkeypatch.setattr("settings.os.access", lambda *_: False)
        assert "may not write to" in problems_of(**environ)

    def test_takes_the_folder_of_your_own_mails(self, tmp_path: Path) -> None:
        """As soon as it is there."""
        folder = str(tmp_path)
        found = Settings.from_env({"MAIL_TEMPLATES": folder})
        assert found == dataclasses.replace(Settings(), mail_templates=folder)

    @pytest.mark.parametrize("sender", [
        "a@b@example.com", "a,b@example.com", "<a@example.com", "a@.",
        "a:b@example.com", "a@example..com"])
    def test_refuses_a_sender_that_no_mail_can_have(
            self, sender: str) -> None:
        """Or every mail would be written, and then given up, one by one."""
        assert problems_of(MAIL_FROM=sender).startswith("MAIL_FROM ")

    @pytest.mark.parametrize("name", [
        "LOGO", "MAIL_TEMPLATES", "PROMETHEUS_MULTIPROC_DIR",
        "DATABASE_URL"])
    def test_refuses_a_file_that_cannot_be_looked_at(self, name: str) -> None:
        """Its name is too long, or it is in somebody else's folder."""
        path = "x" * 300 + "/a.svg"
        assert name in problems_of(**dict(SAFE, **{
            name: "sqlite:///" + path if name == "DATABASE_URL" else path}))

    @pytest.mark.parametrize("name, text", [
        ("DATABASE_URL", "mysql://u:hush@db/x"), ("PEPPER", "hush"),
        ("PEPPER_OLD", "hush," + KEY), ("PEPPER_OLD", KEY + ",hush"),
        ("MAIL_URL", "smtp://u:hush@mail.example.com/x"),
        ("MAIL_URL", "smtp://u:hu#sh@mail.example.com"),
        ("MAIL_URL", "smtp://u:hu/sh@mail.example.com"),
        ("MAIL_URL", "smtp://u:hu\nsh@mail.example.com"),
        ("PUBLIC_URL", "https://u:hush@a.example")])
    def test_a_secret_is_not_repeated(self, name: str, text: str) -> None:
        """Complaints end up in logs."""
        complaint = problems_of(**{name: text})
        assert complaint.startswith(name)
        assert not any(part in complaint
                       for part in ("hush", "hu#", "hu/", "hu\n"))

    def test_holds_what_could_be_read(self) -> None:
        """For the report that goes before the complaints."""
        with pytest.raises(BadSettings) as caught:
            Settings.from_env({"PORT": "8080", "BCRYPT_COST": "x",
                               "AUTH_ENV": "production"})
        assert caught.value.settings == Settings(env="production", port=8080)


class TestSecretFiles:
    """A secret from the file that NAME_FILE names."""

    def of_file(self, name: str, path: Path) -> Settings:
        """Read an environment in which this secret is in a file."""
        return Settings.from_env({name + "_FILE": str(path)})

    def test_are_offered_for_every_secret(self) -> None:
        """The cases of this class are all that there are."""
        assert list(SECRETS) == [
            each.metadata["name"] for each in dataclasses.fields(Settings)
            if each.metadata["secret"]]

    @every_secret
    @pytest.mark.parametrize("end", ["", "\n", "\r\n"], ids=ascii)
    def test_are_read_without_the_line_break_at_the_end(
            self, tmp_path: Path, name: str, end: str) -> None:
        """Every editor adds one, and it is no part of a password."""
        path = tmp_path / "secret"
        path.write_bytes((SECRETS[name] + end).encode())
        assert self.of_file(name, path) \
            == Settings.from_env({name: SECRETS[name]}) != Settings()

    @every_secret
    def test_beside_the_variable_are_refused(
            self, tmp_path: Path, name: str) -> None:
        """Which of the two counts would be a guess."""
        (tmp_path / "secret").write_text(SECRETS[name])
        assert problems_of(**{
            name: SECRETS[name], name + "_FILE": str(tmp_path / "secret")}) \
            == "{0} and {0}_FILE are both set: unset one.".format(name)

    @every_secret
    def test_that_are_not_there_are_refused(
            self, tmp_path: Path, name: str) -> None:
        """Rather than to serve without a secret that somebody meant."""
        for path in (tmp_path / "missing", tmp_path):
            complaint = problems_of(**{name + "_FILE": str(path)})
            assert complaint == "{}_FILE names a file that cannot be read: " \
                "{!r}.".format(name, str(path))

    @every_secret
    def test_that_are_no_text_are_refused(
            self, tmp_path: Path, name: str) -> None:
        """By their name; nothing of what is in them is said."""
        (tmp_path / "secret").write_bytes(b"hush-hush\xff" * 10)
        complaint = problems_of(**{name + "_FILE": str(tmp_path / "secret")})
        assert complaint.startswith(name + "_FILE names a file that cannot ")
        assert "hush" not in complaint

    def test_an_empty_file_is_no_secret(self, tmp_path: Path) -> None:
        """A mount that failed must not turn the pepper off, silently."""
        (tmp_path / "secret").write_text("\n")
        complaint = problems_of(PEPPER_FILE=str(tmp_path / "secret"))
        assert complaint.startswith("PEPPER_FILE names an empty file")

    @every_secret
    def test_with_a_bad_value_are_refused(
            self, tmp_path: Path, name: str) -> None:
        """By the same rule, and as quietly."""
        (tmp_path / "secret").write_text("hush-hush")
        complaint = problems_of(**{name + "_FILE": str(tmp_path / "secret")})
        assert complaint.startswith(name + " ")
        assert "hush" not in complaint


class TestPeppers:
    """A key that is taken today has to be one that can retire."""

    @pytest.mark.parametrize("pepper", [
        KEY, " " + KEY, KEY + " ", "a" * 20 + "," + "b" * 20,
        KEY + "," + OLD_KEY, "\udcff" * 32], ids=ascii)
    def test_read_the_same_when_they_are_old(self, pepper: str) -> None:
        """Or be refused at once, before any hash depends on them.

        What changes on its way from PEPPER to PEPPER_OLD shuts everybody
        out, and bytes that are no text make each sign-in a 500.
        """
        try:
            today = Settings.from_env({"PEPPER": pepper}).pepper
        except BadSettings:
            return
        later = Settings.from_env({"PEPPER": OLD_KEY, "PEPPER_OLD": pepper})
        assert later.peppers == (OLD_KEY, today)
        assert today.encode()


class TestProduction:
    """What strangers may be served from."""

    def names(self, **environ: str) -> List[str]:
        """Return which variables are to be set, each named once."""
        complaints = problems_of(**environ).splitlines()
        assert all(each.startswith("Set ") for each in complaints)
        return [each.split()[1] for each in complaints]

    def test_good(self) -> None:
        """What is needed is enough."""
        settings = Settings.from_env(SAFE)
        assert settings.production and settings.demands_verified
        assert settings.mail_url == SAFE["MAIL_URL"]

    def test_nothing_set(self) -> None:
        """Everything that is missing, at once."""
        assert self.names(AUTH_ENV="production") == [
            "DATABASE_URL", "PUBLIC_URL", "LANDING_URL", "MAIL_URL",
            "MAIL_FROM"]

    @pytest.mark.parametrize("name, text", [
        ("DATABASE_URL", ""), ("DATABASE_URL", Settings().database_url),
        ("PUBLIC_URL", ""), ("PUBLIC_URL", "http://auth.example.com"),
        ("LANDING_URL", ""), ("LANDING_URL", "http://www.example.com/"),
        ("MAIL_URL", ""), ("MAIL_FROM", ""), ("BCRYPT_COST", "9"),
        ("RESET_TOKEN_LIFE", "86401s"), ("RESET_TOKEN_LIFE", "2d")])
    def test_one_danger(self, name: str, text: str) -> None:
        """Is the one complaint, and it says what to do."""
        assert self.names(**dict(SAFE, **{name: text})) == [name]

    @pytest.mark.parametrize("name, example", [
        ("DATABASE_URL", "sqlite:////"), ("PUBLIC_URL", "https://"),
        ("LANDING_URL", "/account"), ("MAIL_URL", "smtps://"),
        ("MAIL_FROM", "auth@example.com"), ("BCRYPT_COST", "10 or more"),
        ("RESET_TOKEN_LIFE", "24h or less")])
    def test_complaint_shows_what_to_set(
            self, name: str, example: str) -> None:
        """A reader can copy it."""
        complaint, = [
            each for each in problems_of(
                AUTH_ENV="production", BCRYPT_COST="4",
                RESET_TOKEN_LIFE="2d").splitlines()
            if each.startswith("Set {} to ".format(name))]
        assert example in complaint and complaint.endswith(".")

    @pytest.mark.parametrize("text, said", [
        ("1", True), ("true", True), ("on", True), ("0", False),
        ("false", False), ("False", False), ("", False)])
    def test_flask_debug(self, text: str, said: bool) -> None:
        """Its pages run code for whoever sees them."""
        complaint = problems_of(**dict(SAFE, FLASK_DEBUG=text))
        assert complaint.startswith("Unset FLASK_DEBUG") is said
        assert bool(complaint) is said

    @pytest.mark.parametrize("env, also", [
        ("production", []), ("Production", [
            "AUTH_ENV must be development or production, not 'Production'."]),
        ("prod", ["AUTH_ENV must be development or production, not 'prod'."])
    ])
    def test_bad_and_missing_values_are_told_in_one_go(
            self, env: str, also: List[str]) -> None:
        """All of them, in words that can be followed, and none twice.

        Whoever misspells the mode, too, hears of all that it needs.
        """
        said = problems_of(
            AUTH_ENV=env, PORT="x", DATABASE_URL="sqlite:////no/where/b.db",
            PUBLIC_URL="http://auth.example.com", MAIL_URL="mail.example.com",
            PEPPER_FILE="/nowhere", SESSION_IDLE="31d", BCRYPT_COST="4",
            RESET_TOKEN_LIFE="30d", VERIFY_TOKEN_LIFE="5m", FLASK_DEBUG="1")
        assert said.splitlines() == also + [
            "PORT must be a whole number from 1 to 65535, not 'x'.",
            "PEPPER_FILE names a file that cannot be read: '/nowhere'.",
            "MAIL_URL must name a mail server, as in smtps://user:password@"
            "mail.example.com or smtp://mail.example.com:587.",
            "SESSION_IDLE is longer than SESSION_ABSOLUTE: lower it.",
            "VERIFY_TOKEN_LIFE is shorter than the time of MAIL_ADDRESS_LIMIT"
            ": raise it, or lower that.",
            "Set PUBLIC_URL to where browsers reach the service, by TLS, as "
            "in https://auth.example.com.",
            "Set LANDING_URL to the page that mailed links open, by TLS, as "
            "in /account.",
            "Set MAIL_FROM to the sender of our mails, as in "
            "auth@example.com.",
            "Set BCRYPT_COST to 10 or more, OWASP's floor.",
            "Set RESET_TOKEN_LIFE to 24h or less (NIST SP 800-63B-4, "
            "4.2.1.2).",
            "DATABASE_URL names a file in a folder that is not there: make "
            "the folder.",
            "Unset FLASK_DEBUG: its errors show the code and run what is "
            "typed into them."]

    def test_folder_of_the_database_has_to_be_there(
            self, tmp_path: Path) -> None:
        """A misspelled one would be an empty service, or a dead one."""
        for place, good in ((tmp_path / "b.db", True),
                            (tmp_path / "no" / "b.db", False)):
            environ = dict(SAFE, DATABASE_URL="sqlite:///{}".format(place))
            assert problems_of(**environ) == ("" if good else (
                "DATABASE_URL names a file in a folder that is not there: "
                "make the folder."))
        assert not problems_of(DATABASE_URL="sqlite:////no/where/b.db")

    @pytest.mark.parametrize("name, text", [
        ("DATABASE_URL", "mysql://db/x"), ("PUBLIC_URL", "x"),
        ("LANDING_URL", "x"), ("MAIL_URL", "x"), ("MAIL_FROM", "x"),
        ("BCRYPT_COST", "3"), ("MAIL_URL_FILE", "/nowhere")])
    def test_a_bad_value_is_complained_of_once(
            self, name: str, text: str) -> None:
        """It was set, so "set it" would be no help."""
        environ = dict(SAFE, **{name: text})
        if name.endswith("_FILE"):
            del environ[name[:-5]]
        assert problems_of(**environ).startswith(name)
        assert "\n" not in problems_of(**environ)

    def test_an_unknown_mode_is_not_the_safe_one(self) -> None:
        """Nor any: the switch fails closed, whatever else is set."""
        assert problems_of(**dict(SAFE, AUTH_ENV="Production")) \
            .startswith("AUTH_ENV ")

    def test_development_has_no_dangers(self) -> None:
        """It answers this machine only."""
        assert problems_of(BCRYPT_COST="4", FLASK_DEBUG="1",
                           PUBLIC_URL="http://localhost:5000") == ""


class TestSettings:
    """The object itself."""

    def test_is_frozen(self) -> None:
        """Nobody changes policy while it is served."""
        settings: Any = Settings()
        with pytest.raises(dataclasses.FrozenInstanceError):
            settings.bcrypt_cost = 4

    @pytest.mark.parametrize("env, reveal, reveals", [
        ("development", False, True), ("development", True, True),
        ("production", False, False), ("production", True, True)])
    def test_reveals_registered(
            self, env: str, reveal: bool, reveals: bool) -> None:
        """The exercise asks for it; production only if somebody does."""
        settings = Settings(env=env, reveal_registered=reveal)
        assert settings.reveals_registered is reveals

    @pytest.mark.parametrize("env, require, demands", [
        ("development", False, False), ("development", True, False),
        ("production", False, False), ("production", True, True)])
    def test_demands_verified(
            self, env: str, require: bool, demands: bool) -> None:
        """The exercise's users have no mailbox."""
        settings = Settings(env=env, require_verified=require)
        assert settings.demands_verified is demands

    @pytest.mark.parametrize("env, production", [
        ("development", False), ("production", True)])
    def test_production(self, env: str, production: bool) -> None:
        """There are two modes."""
        assert Settings(env=env).production is production

    @pytest.mark.parametrize("pepper, old, peppers", [
        ("", (), ("",)), (KEY, (), (KEY,)), ("", (KEY,), ("", KEY)),
        (KEY, (OLD_KEY, "x"), (KEY, OLD_KEY, "x"))])
    def test_peppers(self, pepper: str, old: Any, peppers: Any) -> None:
        """Today's is the first, also when today's is none."""
        assert Settings(pepper=pepper, pepper_old=old).peppers == peppers

    def test_links(self) -> None:
        """Mailed links open the page that was set, or one on this desk."""
        assert Settings(landing_url="https://a.example/in").links \
            == "https://a.example/in"
        assert Settings(port=8080).links == "http://localhost:8080/account"
        assert Settings(port=8080, landing_url="/in").links \
            == "http://localhost:8080/in"
        for path in ("", "/account"):
            assert Settings(landing_url=path, public_url="https://a.example"
                            ).links == "https://a.example/account"

    def test_hosts(self) -> None:
        """The public name without its port, and the others."""
        settings = Settings(public_url="https://auth.example.com:8443",
                            trusted_hosts=frozenset(["10.0.0.1"]))
        assert settings.hosts == {"auth.example.com", "10.0.0.1"}


class TestShown:
    """Settings for human eyes."""

    def test_are_all(self) -> None:
        """Under the names that a deployer knows."""
        assert list(Settings().shown()) == [
            each.metadata["name"] for each in dataclasses.fields(Settings)]

    @pytest.mark.parametrize("name, value, shown", [
        ("pepper", KEY, "***"), ("pepper_old", (OLD_KEY, KEY), "***"),
        ("pepper", "hush-hush://a key of many words", "***"),
        ("pepper", "", ""), ("pepper_old", (), ""), ("mail_url", "", ""),
        ("mail_url", "smtps://user:hush-hush@mail.example.com",
         "smtps://user:***@mail.example.com"),
        ("mail_url", "smtps://user:hush@hush@mail.example.com",
         "smtps://user:***@mail.example.com"),
        ("mail_url", "smtps://me@x.org:hush-hush@mail.example.com",
         "smtps://me@x.org:***@mail.example.com"),
        ("mail_url", "smtp://:hush-hush@mail.example.com:587",
         "smtp://:***@mail.example.com:587"),
        ("mail_url", "smtp://mail.example.com:587",
         "smtp://mail.example.com:587"),
        ("database_url", "postgresql://user:hush-hush@db:5432/x",
         "postgresql://user:***@db:5432/x"),
        ("database_url", "postgresql://db/x?user=me&password=hush&sslmode=a",
         "postgresql://db/x?user=me&password=***&sslmode=a"),
        ("database_url", "postgresql://me:hush@db/x?sslpassword=hush",
         "postgresql://me:***@db/x?sslpassword=***"),
        ("database_url", "sqlite:////tmp/a.db", "sqlite:////tmp/a.db")])
    def test_without_secrets(self, name: str, value: Any, shown: str) -> None:
        """Only the password of a URL is one: the rest helps to find faults."""
        settings = Settings(**{name: value})
        assert settings.shown()[name.upper()] == shown

    @pytest.mark.parametrize("environ", [
        {}, SAFE, {"TRUSTED_HOSTS": "b.example,a.example"},
        {"SESSION_IDLE": "90s", "REQUIRE_VERIFIED": "0",
         "REVEAL_REGISTERED": "1", "LOGIN_NETWORK_LIMIT": "7/3m"}],
        ids=["default", "production", "list", "others"])
    def test_as_they_are_spelled_in_the_environment(
            self, environ: Dict[str, str]) -> None:
        """A line of the report can be set as it stands."""
        settings = Settings.from_env(environ)
        shown = dict(settings.shown(), **{
            name: environ.get(name, "") for name in SECRETS})
        assert Settings.from_env(shown) == settings

    def test_repr_holds_no_secret(self, caplog: pytest.LogCaptureFixture
                                  ) -> None:
        """It is what a traceback and a careless log line show."""
        settings = Settings(
            database_url="mysql://u:hush@db/x", pepper="hush",
            pepper_old=("hush",), mail_url="smtps://u:hush@mail.example.com")
        logging.warning("%s %r", settings, BadSettings(["x"], settings))
        assert "hush" not in caplog.text and "5000" in caplog.text

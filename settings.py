#!/usr/bin/env python3
"""Every policy decision of the service, in one frozen object.

A field is here because somebody may have a reason to change it, and that
reason stands above it. Whatever nobody should change (the length of a token,
the body limit) is a constant next to the code that needs it.
"""
from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, fields
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import (
    Any, Callable, Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Tuple)
from urllib.parse import urlsplit

MINUTE, HOUR, DAY = 60, 3600, 86400
DEFAULT_DATABASE = "sqlite:///{}".format(
    Path(__file__).resolve().parent / "bienvenue.db")
# What a logo may be, by the end of its name.
LOGO_TYPES = {".svg": "image/svg+xml", ".png": "image/png",
              ".jpg": "image/jpeg", ".jpeg": "image/jpeg",
              ".webp": "image/webp"}
# What stands in for a secret wherever settings are shown; and what is one in
# a URL, where PostgreSQL takes a password among the parameters, too.
MASK = "***"
SECRET_PART = re.compile(
    r"(://[^:/]*:).*(?=@)|([?&][a-z_]*password=)[^&]*", re.I)


class BadSettings(ValueError):
    """Raised at start when the environment cannot be served from.

    `problems` lists every complaint, each a sentence that says what to set,
    so that one start is enough to learn them all. `settings` holds what could
    be read, with the default in place of what could not.
    """

    def __init__(self, problems: List[str], settings: Settings) -> None:
        """Keep the complaints and join them into one printable message."""
        super().__init__("\n".join(problems))
        self.problems = problems
        self.settings = settings


class Rate(NamedTuple):
    """So many in so many seconds, written as in 30/5m."""

    limit: int
    seconds: int


# -- Readers: from the text of a variable to a value, or a complaint

Reader = Callable[[str, str], Any]
UNITS = {"s": 1, "m": MINUTE, "h": HOUR, "d": DAY}


def _text(_name: str, text: str) -> str:
    """Return the text as it is."""
    return text


def _title(name: str, text: str) -> str:
    """Return a name that can stand in the header of a mail."""
    if not re.match(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{1,60}\Z",
                    text):
        raise ValueError("{} must be a name of up to 60 characters, on one "
                         "line.".format(name))
    return text


def _color(name: str, text: str) -> str:
    """Return a colour as CSS writes it, with the # that a shell may lose."""
    match = re.match(r"#?([0-9a-f]{6})\Z", text, re.I)
    if match is None:
        raise ValueError("{} must be a colour such as #1d4ed8, not {!r}."
                         .format(name, text))
    return "#" + match.group(1).lower()


def _picture(name: str, text: str) -> str:
    """Return the URL of a picture, or the name of a file that is one."""
    if re.match(r"https://[a-z0-9.-]+(:[0-9]{1,5})?/[!-~]*\Z", text, re.I):
        return text
    if Path(text).suffix.lower() not in LOGO_TYPES \
            or not os.path.isfile(text) or not os.access(text, os.R_OK):
        raise ValueError(
            "{} must be a picture: a file that can be read and ends in {}, "
            "or a URL, as in https://www.example.com/logo.svg; not {!r}."
            .format(name, ", ".join(LOGO_TYPES), text))
    return text


def _environment(name: str, text: str) -> str:
    """Return the mode; anything but the two known words fails closed."""
    if text not in ("development", "production"):
        raise ValueError("{} must be development or production, not {!r}."
                         .format(name, text))
    return text


def _host(name: str, text: str) -> str:
    """Return the address to listen on, unless nobody could look it up."""
    try:
        text.encode("idna")  # as Python does before it asks the system
    except UnicodeError:
        raise ValueError("{} must be an address of this machine, as "
                         "127.0.0.1, not {!r}.".format(name, text)) from None
    return text


def _database(name: str, text: str) -> str:
    """Return the URL of a SQLite file or of a PostgreSQL database.

    An in-memory database is refused: each connection would get its own.
    """
    if re.match(r"sqlite:///(?!:memory:|file:)[^?]+\Z", text):
        return text
    # The URL itself is not repeated: it may hold a password.
    if not re.match(r"postgres(ql)?://[^\s/?]*/[^\s/?]+(\?[^\s]*)?\Z", text):
        raise ValueError(
            "{} must name a SQLite file or a PostgreSQL database, as in "
            "sqlite:////var/lib/bienvenue/bienvenue.db or postgresql://user:"
            "password@db.example.com/bienvenue.".format(name))
    if find_spec("psycopg") is None:
        raise ValueError("{} names a PostgreSQL database, which needs psycopg:"
                         " pip install -r requirements-postgresql.txt.".format(
                             name))
    return text


def _whole(low: int, high: int) -> Reader:
    """Build a reader of whole numbers from low to high, both included."""
    def read(name: str, text: str) -> int:
        """Return the number, or complain in a sentence that names it."""
        if not re.match(r"[0-9]{1,9}\Z", text) \
                or not low <= int(text) <= high:
            raise ValueError("{} must be a whole number from {} to {}, not "
                             "{!r}.".format(name, low, high, text))
        return int(text)
    return read


def _switch(name: str, text: str) -> bool:
    """Return True for 1 and False for 0."""
    if text not in ("0", "1"):
        raise ValueError("{} must be 0 or 1, not {!r}.".format(name, text))
    return text == "1"


def _duration(name: str, text: str) -> int:
    """Return the whole seconds of a duration such as 90s, 15m, 1h or 30d."""
    match = re.match(r"([1-9][0-9]{0,8})([smhd])\Z", text)
    if match is None:
        raise ValueError("{} must be a duration such as 90s, 15m, 1h or 30d, "
                         "not {!r}.".format(name, text))
    return int(match.group(1)) * UNITS[match.group(2)]


def _rate(name: str, text: str) -> Rate:
    """Return a rate such as 3/1h."""
    match = re.match(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,8}[smhd])\Z", text)
    if match is None:
        raise ValueError("{} must be a rate such as 30/5m or 3/1h, not {!r}."
                         .format(name, text))
    return Rate(int(match.group(1)), _duration(name, match.group(2)))


def _origin(name: str, text: str) -> str:
    """Return the origin of a URL that is nothing but one, in lower case."""
    match = re.match(r"(https?://[a-z0-9.-]+(?::[0-9]{1,5})?)/?\Z", text, re.I)
    if match is None:
        raise ValueError("{} must be where browsers reach the service, as in "
                         "https://auth.example.com, without a path."
                         .format(name))
    scheme, _, place = match.group(1).lower().partition("://")
    usual = {"http": ":80", "https": ":443"}[scheme]
    # Browsers leave it out of Origin, too.
    return "{}://{}".format(scheme, place[:-len(usual)] if place.endswith(
        usual) else place)


def _page(name: str, text: str) -> str:
    """Return the URL of a page, or its path if the page is ours.

    A fragment can be added to either.
    """
    if not re.match(r"(?!//)(https?://[^/\s#?]+)?(/[^\s#]*)?\Z", text):
        raise ValueError("{} must be a path, as in /account, or the URL of a "
                         "page, as in https://www.example.com/account, "
                         "without a fragment.".format(name))
    return text


def _path(name: str, text: str) -> str:
    """Return the path of a page on our own host, which is not its root."""
    if not re.match(r"(/[A-Za-z0-9._~-]+)+/?\Z", text):
        raise ValueError("{} must be the path of a page of ours, as in "
                         "/account, without a query.".format(name))
    return text


def _hosts(name: str, text: str) -> FrozenSet[str]:
    """Return the host names of a list separated by commas, in lower case."""
    names = [each.strip().lower() for each in text.split(",")]
    if not all(re.match(r"[a-z0-9.-]+\Z", each) for each in names):
        raise ValueError("{} must list host names, as in auth.example.com,"
                         "auth.internal, without a port.".format(name))
    return frozenset(names)


def _mail_server(name: str, text: str) -> str:
    """Return the URL of a mail server; its password is not repeated."""
    try:
        parts = urlsplit(text)
        # urlsplit() drops line breaks, and what uses the URL may not.
        good = (parts.scheme in ("smtp", "smtps") and parts.hostname
                and not re.search(r"\s", text)
                and (parts.port or 1) and parts.path in ("", "/")
                and not parts.query and not parts.fragment)
    except ValueError:
        good = False
    if not good:
        raise ValueError("{} must name a mail server, as in smtps://user:"
                         "password@mail.example.com or "
                         "smtp://mail.example.com:587.".format(name))
    return text


def _address(name: str, text: str) -> str:
    """Return the address that mail is sent from."""
    if not re.match(r"[\w!#$%&'*+/=?^`{|}~.-]+@[a-z0-9-]+(\.[a-z0-9-]+)*\Z",
                    text, re.I | re.A):
        raise ValueError("{} must be a plain address, as in auth@example.com."
                         .format(name))
    return text


def _folder(name: str, text: str) -> str:
    """Return the name of a folder that exists.

    Asked by os.path: Path raises for what it may not look at (Python < 3.14).
    """
    if not os.path.isdir(text):
        raise ValueError("{} must name a folder, and there is none at {!r}."
                         .format(name, text))
    return text


def _own_folder(name: str, text: str) -> str:
    """Return the name of a folder that exists and that we may write to."""
    if not os.access(_folder(name, text), os.W_OK | os.X_OK):
        raise ValueError("{} names a folder that this user may not write to: "
                         "{!r}.".format(name, text))
    return text


def _pepper(name: str, text: str) -> str:
    """Return a key that nobody can guess; it is not repeated.

    Without what would read differently in the list of PEPPER_OLD.
    """
    if not re.match(r"[!-+\--~]{32,}\Z", text):
        raise ValueError("{} must have at least 32 characters, none of them "
                         "a blank or a comma, as from: python3 -c 'import "
                         "secrets; print(secrets.token_urlsafe(32))'."
                         .format(name))
    return text


def _peppers(name: str, text: str) -> Tuple[str, ...]:
    """Return the keys of a list separated by commas."""
    return tuple(_pepper(name, each.strip()) for each in text.split(","))


def _from(name: str, default: Any, read: Reader = _text,
          secret: bool = False) -> Any:
    """Declare a field: its environment variable, default and reader.

    A secret can be given as a file, by NAME_FILE, and is never shown.
    """
    return field(default=default, repr=not secret, metadata={
        "name": name, "read": read, "secret": secret})


@dataclass(frozen=True)
class Settings:
    """What a deployer decides; the defaults are the development mode.

    Durations are whole seconds here, and readable (1h, 30d) in the
    environment.
    """

    # The switch between the exercise's contract and a safe service.
    env: str = _from("AUTH_ENV", "development", _environment)

    # Where accounts live; a file beside app.py so that a restart loses none.
    database_url: str = _from(
        "DATABASE_URL", DEFAULT_DATABASE, _database, secret=True)
    # Loopback, because the development mode hands out reset tokens.
    host: str = _from("HOST", "127.0.0.1", _host)
    # 5000 is where the exercise's tools look; macOS may hold it for AirPlay.
    port: int = _from("PORT", 5000, _whole(1, 65535))

    # How many requests a process answers at once; as many connections to
    # PostgreSQL it may open. Most wait for a hash or the database.
    threads: int = _from("THREADS", 16, _whole(1, 200))
    # How many processes the production server has; 0 is one for each core
    # that is ours, as a hash keeps one busy.
    workers: int = _from("WORKERS", 0, _whole(0, 200))

    # What browsers call us: the one origin that may ask for changes, the one
    # host that is answered. Never taken from a request (CVE-2021-30185).
    public_url: str = _from("PUBLIC_URL", "", _origin)
    # More names that are answered: health checks, an internal address.
    trusted_hosts: FrozenSet[str] = _from("TRUSTED_HOSTS", frozenset(), _hosts)
    # How many proxies of ours stand in front. Of X-Forwarded-For only what
    # they wrote is believed, so 0 means that the header is ignored.
    trusted_proxies: int = _from("TRUSTED_PROXIES", 0, _whole(0, 10))
    # The page to which a proxy sends browsers that have to sign in first. A
    # path, so that it is on our own host, where alone it can sign anybody in.
    sign_in_path: str = _from("SIGN_IN_PATH", "", _path)
    # The name in mails and pages, and a word that no password may lean on.
    service_name: str = _from("SERVICE_NAME", "Bienvenue", _title)
    # The one colour of the pages for people. Any will do: what is written on
    # it is black or white, whichever is read more easily.
    accent_color: str = _from("ACCENT_COLOR", "#1d4ed8", _color)
    # What stands above these pages: a file, which we serve, or a URL, whose
    # server then sees who visits; else the first letter of the name.
    logo: str = _from("LOGO", "", _picture)

    # Each step doubles the cost of guessing and of signing in; 12 is about
    # 0.3 s on a 2026 core. OWASP's floor is 10; less is for tests only.
    bcrypt_cost: int = _from("BCRYPT_COST", 12, _whole(4, 16))
    # A key kept apart from the database makes its hashes useless to whoever
    # copies them. Losing it means a reset for everybody.
    pepper: str = _from("PEPPER", "", _pepper, secret=True)
    # Peppers of before; each hash moves to the new one at the next sign-in.
    pepper_old: Tuple[str, ...] = _from("PEPPER_OLD", (), _peppers,
                                        secret=True)
    # 15 where the password is all (NIST SP 800-63B-4, 3.1.1.2), 8 if a second
    # factor stands in front. Production only.
    password_min: int = _from("PASSWORD_MIN", 15, _whole(8, 64))

    # A forgotten device signs itself out (ASVS 7.3.1).
    session_idle: int = _from("SESSION_IDLE", 7 * DAY, _duration)
    # Even a busy session ends, so a stolen one does (ASVS 7.3.2, NIST AAL1).
    session_absolute: int = _from("SESSION_ABSOLUTE", 30 * DAY, _duration)
    # Enough for every device of a person; more would be a thief's or a bug's.
    sessions_per_user: int = _from("SESSIONS_PER_USER", 10, _whole(1, 1000))
    # Long enough to find the mail, short enough for a lost mailbox.
    reset_token_life: int = _from("RESET_TOKEN_LIFE", HOUR, _duration)
    # A new user may read the mail tomorrow; it opens nothing by itself.
    verify_token_life: int = _from("VERIFY_TOKEN_LIFE", DAY, _duration)

    # Whether registering tells that an address is taken, which is friendlier
    # and lets anybody ask who has an account. Production only.
    reveal_registered: bool = _from("REVEAL_REGISTERED", False, _switch)
    # Whether one must have read a mail of ours to sign in. Production only.
    require_verified: bool = _from("REQUIRE_VERIFIED", True, _switch)

    # The server that takes our mail: smtps:// is TLS from the start, smtp://
    # turns to TLS before a word is said, except on this very machine.
    mail_url: str = _from("MAIL_URL", "", _mail_server, secret=True)
    # The sender of our mails; replies and bounces go there.
    mail_from: str = _from("MAIL_FROM", "", _address)
    # The page that mailed links open: a path under PUBLIC_URL, or a page
    # elsewhere, whose server passes the token on, since browsers let no other
    # origin do that. The token is in the fragment, which no log ever sees.
    landing_url: str = _from("LANDING_URL", "", _page)
    # Your own wording: a folder of templates that go before ours.
    mail_templates: str = _from("MAIL_TEMPLATES", "", _folder)
    # Whether the server sends mail itself; 0 leaves it to `flask mail send`.
    mail_in_server: bool = _from("MAIL_IN_SERVER", True, _switch)
    # How many mails of one kind a stranger may cause at one address.
    mail_address_limit: Rate = _from(
        "MAIL_ADDRESS_LIMIT", Rate(3, HOUR), _rate)
    # Whether a sign-in from a new device is mailed to the user (ASVS 6.3.5).
    new_device_mail: bool = _from("NEW_DEVICE_MAIL", False, _switch)

    # Throttling, in production. Typing errors of an owner cost no wait;
    login_free_failures: int = _from("LOGIN_FREE_FAILURES", 5, _whole(1, 50))
    # then the waits double up to this;
    login_longest_wait: int = _from("LOGIN_LONGEST_WAIT", 15 * MINUTE,
                                    _duration)
    # and after so many in a row only a reset helps (NIST, 3.2.2).
    login_most_failures: int = _from("LOGIN_MOST_FAILURES", 100,
                                     _whole(10, 100))
    # One network that tries many accounts. Offices share an address.
    login_network_limit: Rate = _from(
        "LOGIN_NETWORK_LIMIT", Rate(30, 5 * MINUTE), _rate)
    # How many mails one network may ask for: resets, links, moves.
    mail_network_limit: Rate = _from(
        "MAIL_NETWORK_LIMIT", Rate(20, HOUR), _rate)
    # How many accounts one network may open.
    register_network_limit: Rate = _from(
        "REGISTER_NETWORK_LIMIT", Rate(20, HOUR), _rate)

    # How long the record of what happened is kept; it names people.
    audit_life: int = _from("AUDIT_LIFE", 90 * DAY, _duration)

    # Whether GET /docs is there in production, too: a page that tells all that
    # can be asked of us, and asks it. GET /openapi.json always tells.
    api_docs: bool = _from("API_DOCS", False, _switch)
    # Whoever bears it reads GET /metrics; without one there is no such route.
    metrics_token: str = _from("METRICS_TOKEN", "", _pepper, secret=True)
    # Where the worker processes of one server add up what they measured. The
    # name is that of prometheus_client, which reads it as well.
    metrics_folder: str = _from("PROMETHEUS_MULTIPROC_DIR", "", _own_folder)

    @classmethod
    def from_env(cls, environ: Optional[Mapping[str, str]] = None) -> Settings:
        """Read the environment; an empty variable counts as unset.

        Raises BadSettings with every complaint at once.
        """
        environ = os.environ if environ is None else environ
        values: Dict[str, Any] = {}
        problems: List[str] = []
        for each in fields(cls):
            name = each.metadata["name"]
            try:
                text = (_secret(name, environ) if each.metadata["secret"]
                        else environ.get(name, ""))
                if text:
                    values[each.name] = each.metadata["read"](name, text)
            except ValueError as problem:
                problems.append(str(problem))
        settings = cls(**values)
        problems += _contradictions(settings)
        # Who misspelled production has to hear of the rest now, too.
        if settings.production or environ.get(
                "AUTH_ENV", "").lower().startswith("prod"):
            problems += _dangers(settings, environ, problems)
        if problems:
            raise BadSettings(problems, settings)
        return settings

    @property
    def production(self) -> bool:
        """Whether this is the safe mode, and not the exercise's contract."""
        return self.env == "production"

    @property
    def reveals_registered(self) -> bool:
        """Whether registering may tell that an address is taken."""
        return self.reveal_registered or not self.production

    @property
    def demands_verified(self) -> bool:
        """Whether nobody signs in before their address is verified."""
        return self.require_verified and self.production

    @property
    def shows_docs(self) -> bool:
        """Whether there is a page on which each route can be tried."""
        return self.api_docs or not self.production

    @property
    def peppers(self) -> Tuple[str, ...]:
        """The keys that hashes may need, today's first; "" is no key."""
        return (self.pepper,) + self.pepper_old

    @property
    def links(self) -> str:
        """The page that mailed links open."""
        page = self.landing_url or "/account"
        if page.startswith("/"):
            page = (self.public_url or "http://localhost:{}".format(
                self.port)) + page
        return page

    @property
    def database_folder(self) -> str:
        """The folder of a SQLite file; "" where the database is no file."""
        kind, _, path = self.database_url.partition(":///")
        return str(Path(path).parent) if kind == "sqlite" else ""

    @property
    def hosts(self) -> FrozenSet[str]:
        """Every host name that is answered in production."""
        return _with_host_of(self.public_url, self.trusted_hosts)

    @property
    def hashing_places(self) -> int:
        """How many requests of a process may wait for a hash at once.

        The half of its threads, so that whoever looks something up always
        finds one. Flask's own server, of the development mode, makes a thread
        for each request.
        """
        return max(1, self.threads // 2) if self.production else 1000

    def shown(self) -> Dict[str, str]:
        """Return each setting as a person may see it, secrets masked.

        Of a URL only the password is one.
        """
        shown = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if each.metadata["read"] is _duration:
                value = _spelled(value)
            name = each.metadata["name"]
            shown[name] = _shown(name, value, each.metadata["secret"])
        return shown


@lru_cache(maxsize=16)
def _with_host_of(url: str, hosts: FrozenSet[str]) -> FrozenSet[str]:
    """Return the host names with that of a URL; asked at every request."""
    return hosts | {urlsplit(url).hostname or ""}


def _contradictions(settings: Settings) -> List[str]:
    """Return complaints about settings that make no sense together."""
    problems = []
    if settings.session_idle > settings.session_absolute:
        problems.append(
            "SESSION_IDLE is longer than SESSION_ABSOLUTE: lower it.")
    if settings.login_free_failures > settings.login_most_failures:
        problems.append("LOGIN_FREE_FAILURES is more than "
                        "LOGIN_MOST_FAILURES: lower it.")
    # Mails that a stranger asked for would leave the owner for a while with
    # no token that works, and no mail to come.
    for name, life in (("RESET_TOKEN_LIFE", settings.reset_token_life),
                       ("VERIFY_TOKEN_LIFE", settings.verify_token_life)):
        if life < settings.mail_address_limit.seconds:
            problems.append("{} is shorter than the time of MAIL_ADDRESS_"
                            "LIMIT: raise it, or lower that.".format(name))
    return problems


def _dangers(settings: Settings, environ: Mapping[str, str],
             said: List[str]) -> List[str]:
    """Return what makes it unsafe to serve strangers.

    What was complained of already is not said twice.
    """
    needed = {
        "DATABASE_URL": (
            settings.database_url != DEFAULT_DATABASE,
            "where accounts live, outside of the code, as in "
            "sqlite:////var/lib/bienvenue/bienvenue.db"),
        "PUBLIC_URL": (
            settings.public_url.startswith("https://"),
            "where browsers reach the service, by TLS, as in "
            "https://auth.example.com"),
        "LANDING_URL": (
            settings.landing_url.startswith(("https://", "/")),
            "the page that mailed links open, by TLS, as in /account"),
        "MAIL_URL": (
            settings.mail_url, "the server that takes our mail, as in "
            "smtps://user:password@mail.example.com"),
        "MAIL_FROM": (
            settings.mail_from, "the sender of our mails, as in "
            "auth@example.com"),
        "BCRYPT_COST": (
            settings.bcrypt_cost >= 10, "10 or more, OWASP's floor"),
        "RESET_TOKEN_LIFE": (
            settings.reset_token_life <= DAY,
            "24h or less (NIST SP 800-63B-4, 4.2.1.2)")}
    problems = ["Set {} to {}.".format(name, what)
                for name, (good, what) in needed.items() if not good
                and not any(each.startswith(name) for each in said)]
    if not _has_folder(settings.database_url):
        problems.append("DATABASE_URL names a file in a folder that is not "
                        "there: make the folder.")
    if environ.get("FLASK_DEBUG", "0").lower() not in ("", "0", "false"):
        problems.append("Unset FLASK_DEBUG: its errors show the code and "
                        "run what is typed into them.")
    return problems


def _has_folder(url: str) -> bool:
    """Tell whether a file can be made where a URL says, if it is one's."""
    _, file, path = url.partition("sqlite:///")
    return not file or os.path.isdir(str(Path(path).parent))


def _secret(name: str, environ: Mapping[str, str]) -> str:
    """Return a secret from its variable or from the file NAME_FILE names.

    An environment is inherited and printed more easily than a file. The line
    break at the end of the file is no part of the secret.
    """
    text, path = environ.get(name, ""), environ.get(name + "_FILE", "")
    if not path:
        return text
    if text:
        raise ValueError("{0} and {0}_FILE are both set: unset one.".format(
            name))
    try:
        text = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError):
        raise ValueError("{}_FILE names a file that cannot be read: {!r}."
                         .format(name, path)) from None
    if not text:
        raise ValueError("{}_FILE names an empty file: {!r}.".format(
            name, path))
    return text


def _spelled(seconds: int) -> str:
    """Return a duration in the largest unit that divides it."""
    unit = max((size, name) for name, size in UNITS.items()
               if seconds % size == 0)
    return "{}{}".format(seconds // unit[0], unit[1])


def _shown(name: str, value: Any, secret: bool) -> str:
    """Return a value as text, spelled as in the environment.

    Of a URL only the password is masked, also one that libpq takes from the
    query.
    """
    if isinstance(value, (frozenset, tuple)) and not isinstance(value, Rate):
        value = ",".join(sorted(value))
    if isinstance(value, Rate):
        value = "{}/{}".format(value.limit, _spelled(value.seconds))
    if isinstance(value, bool):
        value = int(value)
    if not secret or not value:
        return str(value)
    if name.endswith("_URL"):
        return SECRET_PART.sub(r"\1\2" + MASK, value)
    return MASK

#!/usr/bin/env python3
"""What each route takes and answers, as a table.

routes/openapi.py makes a document of it, and adds what is true of many
routes: the mode, who asks, and how any body can be wrong.
"""
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Dict, Optional, Tuple

from credentials.passwords import PASSWORD_MAX
from routes.common import DEVICE_COOKIE, MAX_LENGTH
from user import EMAIL_MAX

Schema = Dict[str, Any]
# An operation, the parameters that it gets, and the body, "" without one.
Step = Tuple[str, Dict[str, str], Any]


@dataclass(frozen=True)
class Answer:
    """What is sent back when all is well; no schema means no body.

    `headers` are those that not every answer has. `links` lead on from here.
    """

    status: int
    description: str
    schema: Optional[Schema] = None
    headers: Tuple[str, ...] = ()
    links: Tuple[Step, ...] = ()
    media_type: str = "application/json"


@dataclass(frozen=True)
class Operation:
    """A route: what it is for, what it takes, and how it may answer.

    `errors` are the codes of its own; those that any route may meet are left
    out. `asks` for a session, for the operator's key, or for nothing.
    """

    name: str
    tag: str
    summary: str
    answers: Tuple[Answer, ...]
    errors: Tuple[str, ...] = ()
    note: str = ""
    fields: Tuple[str, ...] = ()
    optional: Tuple[str, ...] = ()
    asks: str = "nothing"
    parameters: Tuple[Schema, ...] = ()


def closed(**properties: Any) -> Schema:
    """Return the schema of an object with these properties and no other.

    A property that is a text, and not a schema, is always that text.
    """
    return {"type": "object", "additionalProperties": False,
            "required": list(properties), "properties": {
                name: {"const": each} if isinstance(each, str) else each
                for name, each in properties.items()}}


def many(**properties: Any) -> Schema:
    """Return the schema of a list of such objects."""
    return {"type": "array", "items": closed(**properties)}


def like(example: Any, description: str = "", **rules: Any) -> Schema:
    """Return the schema of values of the kind of an example."""
    kind = {bool: "boolean", int: "integer", str: "string"}[type(example)]
    found = dict({"type": kind, "examples": [example]}, **rules)
    return dict(found, description=description) if description else found


def given(place: str, name: str, schema: Schema,
          description: str) -> Schema:
    """Return a parameter: in the path, which needs it, a header or cookie."""
    return {"name": name, "in": place, "required": place == "path",
            "schema": schema, "description": description}


# -- What fields and answers hold

TEXT: Schema = {"type": "string"}
SECONDS = like(1795000000, "Seconds since 1970 UTC.")
PERHAPS = dict(SECONDS, type=["integer", "null"])
EMAIL = like("bob@me.com", maxLength=EMAIL_MAX)
PASSWORD = like("tartiflette au reblochon", format="password",
                maxLength=PASSWORD_MAX)
NEW = "reblochon sans tartiflette"
TOKEN = like("0fa93ad6-0f29-4d4a-a6a6-3f1c2dc80b45",
             maxLength=MAX_LENGTH["token"])
NETWORK = like("203.0.113.7", "An IPv4 address, or the /64 of an IPv6 one.")
PURPOSE = like("reset")
# No control character; what else is no address depends on the mode.
ADDRESS = dict(EMAIL, pattern="^[^\\u0000-\\u001f\\u007f-\\u009f]*$")
FIELDS = {"email": ADDRESS, "password": PASSWORD,
          "current_password": PASSWORD,
          "new_password": dict(PASSWORD, examples=[NEW]),
          "reset_token": TOKEN, "token": TOKEN}
SESSIONS = many(
    id=like(7, "The handle by which to end it."), opened_at=SECONDS,
    seen_at=SECONDS, expires_at=SECONDS, user_agent=like("curl/8.14.1"),
    network=NETWORK, current=like(True, "Whether it is the one that asks."))
EXPORT = closed(
    id=like(1), email=EMAIL, created_at=PERHAPS, verified_at=PERHAPS,
    password_changed_at=PERHAPS, sessions=SESSIONS,
    devices=many(seen_at=SECONDS),
    mails_waiting=many(
        purpose=PURPOSE, email=dict(EMAIL, type=["string", "null"]),
        queued_at=SECONDS, due_at=PERHAPS, tries=like(0)),
    links_mailed=many(purpose=PURPOSE, email=EMAIL, expires_at=SECONDS),
    history=many(at=SECONDS, fact=like("session.opened"), network=NETWORK,
                 request_id=like("9f3a61c0d27e4b5f8a1c60e2d4b7f935"),
                 detail=like("not verified")))

# -- Parameters

HANDLE = given("path", "handle", like(7, minimum=1, maximum=2 ** 63 - 1),
               "The `id` of a session in GET /sessions.")
FILE = given("path", "name", like("start.js"), "A file that the page loads.")
KEPT = given("header", "If-None-Match", TEXT, "The ETag of what you have.")
DEVICE = given("cookie", DEVICE_COOKIE, TEXT, "By which a browser is known, "
               "so that guesses of others do not keep its owner waiting.")
HELD = (
    given("header", "X-Forwarded-Method", TEXT, "The method of the request "
          "that the proxy holds; only GET is sent to a page."),
    given("header", "X-Forwarded-Uri", TEXT, "Its path and query, to which "
          "the user comes back."),
    given("header", "Sec-Fetch-Mode", TEXT, "`navigate` if a browser is on "
          "its way to a page."))

# -- Where an answer leads

# Only a cookie carries the session id away, and is but a part of its header:
# what follows # is how Schemathesis takes it out.
BEARER = {"header.Authorization": "Bearer {$response.header.Set-Cookie"
                                  "#regex:session_id=([^;]+)}"}
SAME = {"header.Authorization": "$request.header.Authorization"}
SENT_EMAIL, SENT_PASSWORD = "$request.body#/email", "$request.body#/password"

# -- Routes

TAGS = (
    ("Accounts", "Open, read, move and delete an account."),
    ("Sessions", "Sign in and out, and see where you are signed in."),
    ("Passwords", "Change a password, or set a new one with a token."),
    ("Proxies", "Have nginx, Caddy or Traefik ask before they pass on."),
    ("Operations", "For whoever runs the service."),
    ("People", "Pages, and this description."),
)
# What can happen where something is stored, and where passwords are hashed.
STORES = ("unavailable",)
HASHES = ("overloaded", "unavailable")
# What is the same for everybody, and kept.
ASSET = ("ETag", "Cache-Control", "Vary")
# What a page may do, and who may hold on to its window.
POLICIES = ("Content-Security-Policy", "Cross-Origin-Opener-Policy")
UNCHANGED = Answer(304, "You have it: it is what If-None-Match names.",
                   headers=ASSET)

OPERATIONS: Dict[Tuple[str, str], Operation] = {
    ("GET", "/"): Operation(
        "welcome", "People", "Welcome whoever asks",
        (Answer(200, "We are there.", closed(message="Bienvenue")),)),
    ("POST", "/users"): Operation(
        "register", "Accounts", "Open an account",
        (Answer(200, "The account is open.",
                closed(email=EMAIL, message="user created"), links=(
                    ("sign_in", {}, {"email": SENT_EMAIL,
                                     "password": SENT_PASSWORD}),
                    ("request_reset", {}, {"email": SENT_EMAIL}))),),
        ("invalid_input", "weak_password", "email_taken", "throttled")
        + HASHES, "A link that verifies the address is mailed. In production "
        "an address that is taken gets the same answer, and its owner a "
        "mail, unless REVEAL_REGISTERED is 1.",
        fields=("email", "password")),
    ("GET", "/profile"): Operation(
        "show_profile", "Accounts", "Tell who is signed in",
        (Answer(200, "A user is.", closed(email=EMAIL)),),
        ("not_signed_in",) + STORES, asks="session"),
    ("GET", "/profile/export"): Operation(
        "export_profile", "Accounts", "Hand out all that is stored about you",
        (Answer(200, "All of it; neither a hash nor a digest is among it.",
                EXPORT),),
        ("not_signed_in", "throttled") + STORES, asks="session"),
    ("DELETE", "/profile"): Operation(
        "delete_profile", "Accounts", "Delete your account",
        (Answer(204, "It is gone, and all that hung off it.",
                headers=("Set-Cookie", "Clear-Site-Data")),),
        ("invalid_input", "not_signed_in", "wrong_password", "throttled")
        + HASHES, fields=("password",), asks="session"),
    ("PUT", "/email"): Operation(
        "change_email", "Accounts", "Move to another address",
        (Answer(200, "A link is mailed there. The address is yours once it "
                "was opened.", closed(
                    email=EMAIL, message="open the link that is mailed to "
                    "the new address")),),
        ("invalid_input", "not_signed_in", "wrong_password", "throttled")
        + HASHES, fields=("password", "email"), asks="session"),
    ("POST", "/verify_email"): Operation(
        "request_verification", "Accounts", "Mail the link again",
        (Answer(200, "The same, whether or not there is one to mail.", closed(
            email=EMAIL, message="if the address has to be verified, a mail "
            "is on its way")),),
        ("invalid_input", "throttled") + STORES, fields=("email",)),
    ("PUT", "/verify_email"): Operation(
        "verify_email", "Accounts", "Prove a mailbox with a mailed token",
        (Answer(200, "The address is verified, or changed to this one.",
                closed(email=EMAIL, message="email verified")),),
        ("invalid_input", "verification_refused") + STORES,
        fields=("token",)),
    ("POST", "/sessions"): Operation(
        "sign_in", "Sessions", "Sign in",
        (Answer(200, "You are; the cookie carries the session id.",
                closed(email=EMAIL, message="logged in"), ("Set-Cookie",), (
                    ("show_profile", BEARER, ""),
                    ("export_profile", BEARER, ""),
                    ("list_sessions", BEARER, ""),
                    ("end_other_sessions", BEARER, ""),
                    ("forward_auth", BEARER, ""),
                    ("sign_out", BEARER, ""),
                    ("change_password", BEARER, {
                        "current_password": SENT_PASSWORD,
                        "new_password": NEW}),
                    ("change_email", BEARER, {
                        "password": SENT_PASSWORD, "email": "bob@you.com"}),
                    ("delete_profile", BEARER, {
                        "password": SENT_PASSWORD}))),),
        ("invalid_input", "bad_credentials", "not_verified", "throttled")
        + HASHES, "An unknown address and a wrong password get the same "
        "answer, in the same time. Sessions on other devices go on.",
        fields=("email", "password")),
    ("GET", "/sessions"): Operation(
        "list_sessions", "Sessions", "List where you are signed in",
        (Answer(200, "Your live sessions, the oldest first.",
                closed(sessions=SESSIONS), links=(
                    ("end_session", dict(SAME, **{
                        "path.handle": "$response.body#/sessions/0/id"}), ""),
                )),),
        ("not_signed_in",) + STORES, asks="session"),
    ("DELETE", "/sessions"): Operation(
        "sign_out", "Sessions", "Sign out of this session",
        (Answer(302, "You are; a browser goes home.",
                closed(message="logged out"),
                ("Location", "Set-Cookie", "Clear-Site-Data")),),
        ("not_signed_in",) + STORES, asks="session"),
    ("DELETE", "/sessions/<handle>"): Operation(
        "end_session", "Sessions", "End one of your sessions",
        (Answer(204, "It is over, on whatever device."),),
        ("not_signed_in", "unknown_session", "not_found") + STORES,
        asks="session", parameters=(HANDLE,)),
    ("DELETE", "/sessions/others"): Operation(
        "end_other_sessions", "Sessions", "End all sessions but this one",
        (Answer(204, "They are over."),),
        ("not_signed_in",) + STORES, asks="session"),
    ("PUT", "/password"): Operation(
        "change_password", "Passwords", "Change your password",
        (Answer(200, "Every other session is over, and this one goes on under"
                " the new cookie.", closed(message="Password updated"),
                ("Set-Cookie",)),),
        ("invalid_input", "weak_password", "not_signed_in", "wrong_password",
         "throttled") + HASHES,
        fields=("current_password", "new_password"), asks="session"),
    ("POST", "/reset_password"): Operation(
        "request_reset", "Passwords", "Ask for a token to set a new password",
        (Answer(200, "The token, which replaces the one before.",
                closed(email=EMAIL, reset_token=TOKEN), links=(
                    ("reset_password", {}, {
                        "email": SENT_EMAIL,
                        "reset_token": "$response.body#/reset_token",
                        "new_password": NEW}),)),),
        ("invalid_input", "unknown_email") + STORES,
        "In production it is mailed, and every address gets one answer.",
        fields=("email",)),
    ("PUT", "/reset_password"): Operation(
        "reset_password", "Passwords", "Set a new password with a token",
        (Answer(200, "Every session of the user is over.",
                closed(email=EMAIL, message="Password updated")),),
        ("invalid_input", "weak_password", "reset_refused") + HASHES,
        "A token works once. The address, if given, has to be its user's.",
        fields=("reset_token", "new_password"), optional=("email",)),
    ("GET", "/forward_auth"): Operation(
        "forward_auth", "Proxies", "Tell a proxy whose request it holds",
        (Answer(200, "This user's: pass it on, with these headers.",
                closed(message="signed in"),
                ("Remote-User", "Remote-Email")),),
        ("sign_in_required",) + STORES, asks="session"),
    ("GET", "/healthz"): Operation(
        "tell_alive", "Operations", "Tell whether the process answers",
        (Answer(200, "It does.", closed(message="alive")),)),
    ("GET", "/readyz"): Operation(
        "tell_ready", "Operations", "Tell whether requests can be served",
        (Answer(200, "They can.", closed(message="ready")),),
        ("not_ready",), "To neighbours on the network, and to "
        "whoever bears METRICS_TOKEN.", asks="key or nothing"),
    ("GET", "/metrics"): Operation(
        "show_metrics", "Operations", "Show what was measured",
        (Answer(200, "Text for Prometheus.", TEXT, media_type="text/plain"),),
        ("not_found",), "Without METRICS_TOKEN there is no such route.",
        asks="key"),
    ("GET", "/openapi.json"): Operation(
        "show_description", "People", "Hand out this description",
        (Answer(200, "OpenAPI 3.1, of the mode that answers.",
                {"type": "object"}, ASSET), UNCHANGED),
        parameters=(KEPT,)),
    ("GET", "/account"): Operation(
        "show_account", "People", "Show the page where people help themselves",
        (Answer(200, "It does by itself what is described here.", TEXT,
                POLICIES, media_type="text/html"),)),
    ("GET", "/account/<name>"): Operation(
        "send_asset", "People", "Hand out a file of the account page",
        (Answer(200, "A script, a style or the logo.", TEXT,
                ASSET + POLICIES[:1], media_type="*/*"),
         replace(UNCHANGED, headers=ASSET + POLICIES[:1])),
        ("not_found",), parameters=(FILE, KEPT)),
    ("GET", "/.well-known/change-password"): Operation(
        "find_change_password", "People", "Lead a password manager there",
        (Answer(302, "To where the page changes a password.",
                headers=("Location",)),)),
    ("GET", "/docs/errors"): Operation(
        "show_errors", "People", "Explain each error",
        (Answer(200, "A page, with an anchor for each code.", TEXT,
                POLICIES[1:], media_type="text/html"),)),
    ("GET", "/docs"): Operation(
        "show_page", "People", "Show this description as a page",
        (Answer(200, "Each route can be tried there.", TEXT,
                ASSET + POLICIES, media_type="text/html"),
         replace(UNCHANGED, headers=ASSET + POLICIES)),
        note="In production with API_DOCS=1 only.", parameters=(KEPT,)),
    ("GET", "/docs/<name>"): Operation(
        "show_file", "People", "Hand out a file of that page",
        (Answer(200, "A script or a style.", TEXT, ASSET,
                media_type="text/*"), UNCHANGED),
        ("not_found",), parameters=(FILE, KEPT)),
}

# -- Where the production mode differs


def _changed(method: str, path: str, **parts: Any) -> Operation:
    """Return an operation of the table with other parts."""
    return replace(OPERATIONS[method, path], **parts)


def _keeps_device(method: str, path: str) -> Operation:
    """Return an operation of the table whose answer sets a cookie, too."""
    answer, = OPERATIONS[method, path].answers
    return _changed(method, path, answers=(
        replace(answer, headers=("Set-Cookie",)),))


IN_PRODUCTION = {
    ("GET", "/readyz"): _changed(
        "GET", "/readyz", errors=("not_found", "not_ready")),
    ("GET", "/docs"): _changed("GET", "/docs", errors=("not_found",)),
    ("PUT", "/verify_email"): _keeps_device("PUT", "/verify_email"),
    ("PUT", "/reset_password"): _keeps_device("PUT", "/reset_password"),
    ("POST", "/sessions"): _changed(
        "POST", "/sessions", parameters=(DEVICE,)),
    ("POST", "/reset_password"): _changed(
        "POST", "/reset_password", summary="Mail a link to set a new password",
        answers=(Answer(
            200, "The same, whether or not there is an account.", closed(
                email=EMAIL, message="if the address has an account, a mail "
                "is on its way")),),
        errors=("invalid_input", "throttled") + STORES,
        note="In development the answer holds the token."),
    ("GET", "/forward_auth"): _changed(
        "GET", "/forward_auth", parameters=HELD,
        answers=OPERATIONS["GET", "/forward_auth"].answers + (Answer(
            302, "Nobody's: a browser goes to SIGN_IN_PATH, if there is one.",
            closed(message="sign in first"), ("Location",)),)),
}

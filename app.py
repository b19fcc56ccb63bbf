#!/usr/bin/env python3
"""The web face of the service: routes, statuses, and nothing else.

A route reads fields, calls one verb of Auth and names the answer. What goes
wrong is raised by Auth and becomes a status in one table, here.
"""
from __future__ import annotations

import json
import logging
import threading
from contextlib import ExitStack
from typing import Any, Dict, NoReturn, Optional, Type, Union

from flask import Flask, Request, Response, g, jsonify
from flask.json.provider import DefaultJSONProvider
from flask.sessions import NullSession, SessionInterface
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.routing import MapAdapter, RequestRedirect
from werkzeug.serving import (
    BaseWSGIServer, DechunkedInput, WSGIRequestHandler, make_server)

from auth import Auth
from cli import (
    COMMANDS, demand_port, is_command, make_ready, refusal, start_sender)
from credentials.tokens import masked
from ending import Ending, InFlight
from errors import (
    AuthError, BadCredentials, CrossSite, DevelopmentOnly, EmailTaken,
    InvalidInput, NotMigrated, NotReady, NotSignedIn, NotVerified, Overloaded,
    ResetRefused, SignInRequired, Throttled, Unavailable, UnknownEmail,
    UnknownHost, UnknownSession, VerificationRefused, WeakPassword,
    WrongPassword)
from logs import CONTROLS, configure
from routes import BLUEPRINTS
from routes.common import (
    auth, clear_session, fields, keep_device, session_id, set_session)
from routes.guards import guard, headers_of
from routes.problems import OF_HTTP, answer, answer_http, kinds_of
from settings import BadSettings, Settings

log = logging.getLogger("bienvenue")
# What Flask's own server is answering, and how long that may keep it up.
IN_FLIGHT = InFlight()
FINISH_SECONDS = 10
# How soon it notices that it is to end.
POLL_SECONDS = 0.1

# What each refusal is in HTTP; the contract of the card decides most of it.
STATUS: Dict[Type[AuthError], int] = {
    InvalidInput: 400,
    WeakPassword: 400,
    EmailTaken: 400,
    UnknownHost: 400,
    BadCredentials: 401,
    SignInRequired: 401,
    NotVerified: 403,
    NotSignedIn: 403,
    WrongPassword: 403,
    UnknownEmail: 403,
    ResetRefused: 403,
    VerificationRefused: 403,
    DevelopmentOnly: 403,
    CrossSite: 403,
    UnknownSession: 404,
    Throttled: 429,
    Overloaded: 503,
    Unavailable: 503,
    NotMigrated: 503,
    NotReady: 503,
}
# Each kind of error by its code, those of HTTP as well.
KINDS = kinds_of(STATUS)
# Refusals that whoever runs the service wants to hear of (ASVS 16.3). Not
# Overloaded, of which a flood brings thousands a second: the metrics count it.
REMARKABLE = (Unavailable, Throttled, CrossSite, UnknownHost, DevelopmentOnly,
              UnknownSession, ResetRefused, VerificationRefused)
RELAXED = (
    "development mode: reset tokens are handed to whoever names an address, "
    "cookies travel without TLS, addresses are not verified and any password "
    "will do; therefore only this machine is answered "
    "(AUTH_ENV=production is for everybody else)")
GREETING = """Bienvenue listens on {url}.{more}
Ctrl+C stops it."""
TRY = """ Open {url}/account in a browser, or try:
  curl {url}/
  curl -d email=bob@me.com -d password=mySuperPwd {url}/users"""


# -- The card's routes

def index() -> Response:
    """Welcome whoever asks."""
    return jsonify(message="Bienvenue")


def users() -> Response:
    """Open an account."""
    email, password = fields("email", "password")
    auth().sign_up(email, password)
    return jsonify(email=email, message="user created")


def login() -> Response:
    """Sign in and hand the session to the browser as a cookie."""
    email, password = fields("email", "password")
    token = auth().sign_in(email, password, session_id())
    return set_session(jsonify(email=email, message="logged in"), token)


def logout() -> Response:
    """End this session and send the browser home.

    302 and not another redirect: 301, 307 and 308 make curl and its like
    repeat the DELETE; scripts of pages repeat it even so, and do better not to
    follow. The target is fixed, so there is no open redirect to find.
    """
    auth().log_out(session_id())
    response = jsonify(message="logged out")
    response.status_code, response.headers["Location"] = 302, "/"
    return clear_session(response)


def profile() -> Response:
    """Tell a signed-in user who they are."""
    return jsonify(email=auth().identify(session_id()).email)


def get_reset_password_token() -> Response:
    """Hand out a reset token, as the card asks, or mail it in production."""
    email, = fields("email")
    if auth().settings.production:
        auth().request_reset(email)
        return jsonify(email=email, message="if the address has an account, "
                                            "a mail is on its way")
    return jsonify(email=email,
                   reset_token=auth().get_reset_password_token(email))


def update_password() -> Response:
    """Set a new password with a reset token."""
    email, reset_token, new_password = fields(
        "email", "reset_token", "new_password")
    user = auth().reset_password(reset_token, new_password, email)
    return keep_device(jsonify(email=email or user.email,
                               message="Password updated"))


ROUTES = (
    ("GET", "/", index),
    ("POST", "/users", users),
    ("POST", "/sessions", login),
    ("DELETE", "/sessions", logout),
    ("GET", "/profile", profile),
    ("POST", "/reset_password", get_reset_password_token),
    ("PUT", "/reset_password", update_password),
)


# -- Around every request

def answer_error(error: Exception) -> Response:
    """Turn whatever was raised into JSON with a status.

    A mistake of ours says nothing of its cause, which goes to the log only
    (ASVS 16.5.1; docs/security.md#secrets).
    """
    if isinstance(error, AuthError):
        if isinstance(error, REMARKABLE):
            log.warning(
                "%s in request %s: %s", error.code, g.request_id,
                error.__cause__ or error, extra={"fields": {
                    "code": error.code, "network": g.auth.caller.network,
                    "request_id": g.request_id}})
        return answer(KINDS[error.public_code], error.public,
                      error.retry_after)
    if isinstance(error, HTTPException):
        return answer_http(error)
    log.error("unexpected error in request %s", g.request_id, exc_info=error,
              extra={"fields": {"request_id": g.request_id}})
    return answer(OF_HTTP[500], "the service made a mistake; it is logged")


class Json(DefaultJSONProvider):
    """JSON as Flask writes it, by one encoder and not a new one each time."""

    encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode

    def dumps(self, obj: Any, **_: Any) -> str:
        """Return text without blanks, its keys in order, ASCII only."""
        return self.encode(obj)


class NoSession(SessionInterface):
    """Flask keeps nothing in a cookie of its own; sessions are in Auth."""

    nothing = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:
        """Return the session that is none."""
        return self.nothing


class Service(Flask):
    """Flask without what nobody asked for: answers, and work."""

    json_provider_class = Json
    session_interface = NoSession()

    def raise_routing_exception(self, request: Request) -> NoReturn:
        """Answer 404 where Flask would redirect in HTML.

        A path is what is written: `//users` and an empty one are no routes.
        """
        if isinstance(request.routing_exception, RequestRedirect):
            raise NotFound()
        super().raise_routing_exception(request)

    def add_url_rule(self, rule: str, *args: Any, **options: Any) -> None:
        """Add a route that answers its own methods and no automatic OPTIONS.

        Only listed methods exist (ASVS 4.1.4); without CORS there is nothing
        to negotiate.
        """
        options["provide_automatic_options"] = False
        super().add_url_rule(rule, *args, **options)

    def create_url_adapter(self, request: Optional[Request]) -> Any:
        """Find a route by path and method; none depends on the host.

        Flask takes the host of every request apart first, and Werkzeug
        encodes it.
        """
        if request is None:
            return None
        path = request.environ.get("PATH_INFO", "").encode("latin-1")
        return MapAdapter(
            self.url_map, "localhost", "/", "", "http",
            path.decode("utf-8", "replace"), request.method)

    def ensure_sync(self, func: Any) -> Any:
        """Return a view as it is: none of ours is a coroutine."""
        return func


def create_app(service: Optional[Auth] = None) -> Flask:
    """Build the web application on a service, by default a new Auth().

    Cheap: it opens no database and no connection.
    """
    service = service or Auth()
    application = Service(__name__, static_folder=None)
    application.extensions.update(auth=service, kinds=KINDS)
    for method, path, view in ROUTES:
        application.add_url_rule(path, view_func=view, methods=[method])
    for blueprint in BLUEPRINTS:
        application.register_blueprint(blueprint)
    guard(application)
    application.register_error_handler(Exception, answer_error)
    for command in COMMANDS:
        application.cli.add_command(command)
    if not (service.settings.production or is_command()):
        log.warning(RELAXED)
    return application


class Chunks(DechunkedInput):
    """A chunked body that breaks off where it breaks off.

    Of a chunk whose client hung up in its middle Werkzeug says that all of it
    was read, and Python then copies so many bytes from beyond the buffer: the
    memory of other requests, or a crash (docs/security.md#input).
    """

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer and return how much it is; OSError if cut off."""
        read = bytearray(len(buffer))
        count = super().readinto(read)
        if len(read) < len(buffer):
            raise OSError("the body ended early")
        buffer[:count] = read[:count]
        return count


class JsonRequestHandler(WSGIRequestHandler):
    """Flask's own server, answering in JSON what is not even HTTP."""

    # A request without a version gets headers too; HTTP/0.9 had none.
    default_request_version = "HTTP/1.0"

    def parse_request(self) -> bool:
        """Read the request line and headers; False once it is refused.

        From here on whoever stops the server waits for the answer; a client
        may be told to go on (100 Continue) before this returns.
        """
        with ExitStack() as work:
            work.enter_context(IN_FLIGHT)
            if not self._is_http():
                return False
            self._work = work.pop_all()
        return True

    def _is_http(self) -> bool:
        """Tell whether this is a request; otherwise refuse it.

        A blank line would be dropped without an answer, and what is no path
        (http://…, *) is for proxies and breaks the log on some versions.
        """
        self.requestline = ""
        parsed = super().parse_request()
        if parsed and self.path.startswith("/"):
            return True
        if parsed or not self.requestline.strip():
            self.path = "/"  # for the log
            self.send_error(400)
        return False

    def make_environ(self) -> Dict[str, Any]:
        """Return what WSGI knows of a request, with a body that is its own."""
        environ = dict(super().make_environ())
        if environ.get("wsgi.input_terminated"):
            rfile: Any = self.rfile
            environ["wsgi.input"] = Chunks(rfile)
        return environ

    def run_wsgi(self) -> None:
        """Answer a request; with that the work is over."""
        with self._work:
            super().run_wsgi()

    def send_error(self, code: int, message: Optional[str] = None,
                   explain: Optional[str] = None) -> None:
        """Refuse a request that could not be parsed, and hang up.

        The client is at fault, so 505 (a made-up HTTP version) becomes 400.
        Nothing of the request is repeated.
        """
        body = b'{"message":"the request is not valid HTTP"}\n'
        self.close_connection = True
        self.send_response(code if code < 500 else 400)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        for name, value in headers_of(AUTH.settings.production).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        """Name the server without the versions of its parts (ASVS 13.4.6)."""
        return "Bienvenue"

    def log_request(self, code: Union[int, str] = "-",
                    size: Union[int, str] = "-") -> None:
        """Log one line, without colours, query and tokens.

        What stands in a query has no place in a log (ASVS 14.2.1).
        """
        path = masked(getattr(self, "path", "-").partition("?")[0])
        line = "{} {}".format(self.command or "-", path)
        self.log("info", "%s %s", line.translate(CONTROLS), str(code))


def listen(settings: Settings) -> BaseWSGIServer:
    """Return Flask's threaded server, listening, once it has said where.

    A port that is taken ends the process with a sentence.
    """
    demand_port(settings.host, settings.port)
    server = make_server(settings.host, settings.port, app, threaded=True,
                         request_handler=JsonRequestHandler)
    host = "[{}]" if ":" in settings.host else "{}"
    url = "http://{}:{}".format(host.format(settings.host), server.port)
    more = "" if settings.production else TRY.format(url=url)
    print(GREETING.format(url=url, more=more), flush=True)
    return server


def serve(service: Auth) -> None:
    """Serve until told to end, and then end what was begun.

    Nobody is let in any more; who is in gets an answer, and a mail that is
    on its way arrives or is left to others.
    """
    with Ending() as ending:
        server = listen(service.settings)
        threading.Thread(target=server.serve_forever, args=(POLL_SECONDS,),
                         daemon=True).start()
        sender = start_sender(service)
        ending.wait()
        server.shutdown()
        IN_FLIGHT.finish(FINISH_SECONDS)
        if sender:
            sender.finish()
        service.close()


try:
    AUTH = Auth(defers=True)
except BadSettings as error:
    raise SystemExit(refusal(error)) from error
app = create_app(AUTH)

if __name__ == "__main__":
    configure(AUTH.settings.production)
    make_ready(AUTH)
    serve(AUTH)

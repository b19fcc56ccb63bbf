#!/usr/bin/env python3
"""The contract of the card, word for word, on the service as it is imported.

Pinned: this file is never edited to make a change pass.
"""
from __future__ import annotations

import inspect
import uuid
from typing import Any, Dict, Iterator

import bcrypt
import pytest
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm.exc import NoResultFound  # type: ignore[attr-defined]
from werkzeug.test import TestResponse

import app as app_module
from app import AUTH, app
from auth import Auth, _generate_uuid, _hash_password
from db import DB
from user import Base, User

COLUMNS = [
    "users.id: INTEGER", "users.email: VARCHAR(250)",
    "users.hashed_password: VARCHAR(250)", "users.session_id: VARCHAR(250)",
    "users.reset_token: VARCHAR(250)"]


def fresh_email() -> str:
    """Return an address that no account has."""
    return "{}@me.com".format(uuid.uuid4())


def ask(method: str, path: str, cookie: str = "",
        **form: str) -> TestResponse:
    """Send a form, with a session if one is given."""
    headers = {"Cookie": "session_id=" + cookie} if cookie else {}
    # The test client's own jar would replace the header.
    return app.test_client(use_cookies=False).open(
        path, method=method, data=form, headers=headers)


def assert_answer(answer: TestResponse, status: int,
                  body: Dict[str, str]) -> None:
    """Assert a status and exactly this JSON body."""
    assert answer.status_code == status
    assert answer.mimetype == "application/json"
    assert answer.get_json() == body


@pytest.fixture
def my_db() -> Iterator[DB]:
    """The store as the card builds it."""
    store = DB()
    yield store
    store.close()


@pytest.fixture(autouse=True, scope="module")
def connections() -> Iterator[None]:
    """Give the connections of the module-level service back at the end."""
    yield
    AUTH.close()


@pytest.fixture
def email() -> str:
    """The address of an account with the password b4l0u."""
    address = fresh_email()
    AUTH.register_user(address, "b4l0u")
    return address


class TestUser:
    """The table of user.py and its columns."""

    def test_exports_base_and_user(self) -> None:
        """A User is one of Base's tables."""
        assert issubclass(User, Base)

    def test_table_is_users(self) -> None:
        """The table has the card's name."""
        assert User.__tablename__ == "users"

    def test_columns_print_exactly_in_order(self) -> None:
        """Tools print `column: type` for each, and compare."""
        assert ["{}: {}".format(column, column.type)
                for column in User.__table__.columns] == COLUMNS

    def test_id_is_the_primary_key(self) -> None:
        """And nothing else is."""
        assert [key.name for key in User.__table__.primary_key] == ["id"]

    @pytest.mark.parametrize("name, nullable", [
        ("email", False), ("hashed_password", False), ("session_id", True),
        ("reset_token", True)])
    def test_nullable(self, name: str, nullable: bool) -> None:
        """A user needs an address and a password, no session, no token."""
        assert User.__table__.columns[name].nullable is nullable


class TestDB:
    """The three verbs of db.py."""

    def test_add_user_saves_and_returns_it(self, my_db: DB) -> None:
        """The hash is kept as the str it came as."""
        added = my_db.add_user(fresh_email(), "SuperHashedPwd")
        assert isinstance(added, User) and isinstance(added.id, int)
        assert my_db.find_user_by(id=added.id).hashed_password \
            == "SuperHashedPwd"

    def test_ids_differ(self, my_db: DB) -> None:
        """Two users are two rows."""
        assert my_db.add_user(fresh_email(), "SuperHashedPwd").id \
            != my_db.add_user(fresh_email(), "SuperHashedPwd1").id

    def test_find_user_by_matches_all(self, my_db: DB) -> None:
        """Every criterion counts."""
        added = my_db.add_user(fresh_email(), "PwdHashed")
        assert my_db.find_user_by(email=added.email).id == added.id
        with pytest.raises(NoResultFound):
            my_db.find_user_by(email=added.email, hashed_password="other")

    def test_find_user_by_unknown_value(self, my_db: DB) -> None:
        """Nobody there is NoResultFound."""
        with pytest.raises(NoResultFound):
            my_db.find_user_by(email=fresh_email())

    def test_find_user_by_unknown_attribute(self, my_db: DB) -> None:
        """A made-up attribute is InvalidRequestError, not NoResultFound."""
        with pytest.raises(InvalidRequestError) as caught:
            my_db.find_user_by(no_email="test")
        assert not isinstance(caught.value, NoResultFound)

    def test_find_user_by_nothing(self, my_db: DB) -> None:
        """No criterion is InvalidRequestError."""
        with pytest.raises(InvalidRequestError) as caught:
            my_db.find_user_by()
        assert not isinstance(caught.value, NoResultFound)

    def test_update_user_changes_and_returns_none(self, my_db: DB) -> None:
        """The change is there for the next reader."""
        added = my_db.add_user(fresh_email(), "PwdHashed")
        update: Any = my_db.update_user
        assert update(added.id, hashed_password="NewPwd") is None
        assert my_db.find_user_by(id=added.id).hashed_password == "NewPwd"

    def test_update_user_unknown_attribute_changes_nothing(
            self, my_db: DB) -> None:
        """One bad name, and the good ones are not applied either."""
        added = my_db.add_user(fresh_email(), "PwdHashed")
        with pytest.raises(ValueError):
            my_db.update_user(added.id, hashed_password="New", no_email="x")
        assert my_db.find_user_by(id=added.id).hashed_password == "PwdHashed"

    def test_update_user_unknown_id(self, my_db: DB) -> None:
        """Nobody there is NoResultFound."""
        with pytest.raises(NoResultFound):
            my_db.update_user(10 ** 9, hashed_password="NewPwd")


class TestAuthModule:
    """The two functions of auth.py that tools call."""

    def test_hash_password_is_salted_bcrypt(self) -> None:
        """Bytes that plain bcrypt checks, different each time."""
        hashed = _hash_password("Hello Holberton")
        assert isinstance(hashed, bytes) and hashed.startswith(b"$2b$12$")
        assert bcrypt.checkpw(b"Hello Holberton", hashed)
        assert hashed != _hash_password("Hello Holberton")

    def test_generate_uuid_is_uuid4_text(self) -> None:
        """36 characters of version 4."""
        token = _generate_uuid()
        assert isinstance(token, str) and len(token) == 36
        assert uuid.UUID(token).version == 4 and str(uuid.UUID(token)) == token


class TestAuth:
    """The seven verbs of the class in auth.py."""

    @pytest.mark.parametrize("name, parameters", [
        ("register_user", ["email", "password"]),
        ("valid_login", ["email", "password"]),
        ("create_session", ["email"]),
        ("get_user_from_session_id", ["session_id"]),
        ("destroy_session", ["user_id"]),
        ("get_reset_password_token", ["email"]),
        ("update_password", ["reset_token", "password"])])
    def test_signature(self, name: str, parameters: Any) -> None:
        """The verbs take what the card says, by these names."""
        verb = getattr(AUTH, name)
        assert list(inspect.signature(verb).parameters) == parameters

    def test_holds_its_database_as_db(self) -> None:
        """Tools look at `_db`."""
        assert isinstance(vars(AUTH)["_db"], DB)

    def test_is_built_without_arguments(self) -> None:
        """Auth() shares the store of the environment."""
        mine, address = Auth(), fresh_email()
        mine.register_user(address, "mySecuredPwd")
        mine.close()
        assert AUTH.valid_login(address, "mySecuredPwd")

    def test_register_user_returns_the_user(self) -> None:
        """With a hash that plain bcrypt checks."""
        address = fresh_email()
        user = AUTH.register_user(address, "mySecuredPwd")
        assert isinstance(user, User) and user.email == address
        assert isinstance(user.hashed_password, str)
        assert bcrypt.checkpw(b"mySecuredPwd", user.hashed_password.encode())

    def test_register_user_twice(self, email: str) -> None:
        """The message is exact."""
        with pytest.raises(ValueError) as caught:
            AUTH.register_user(email, "mySecuredPwd")
        assert str(caught.value) == "User {} already exists".format(email)

    @pytest.mark.parametrize("address", ["hi", "unknown@email"])
    @pytest.mark.parametrize("password", ["pw", "test", "b4l0u"])
    def test_development_has_no_syntax_rule(
            self, address: str, password: str) -> None:
        """Public tools register such as these."""
        address += str(uuid.uuid4())
        AUTH.register_user(address, password)
        assert AUTH.valid_login(address, password) is True

    def test_valid_login_right(self, email: str) -> None:
        """The answer is True itself, nothing that is merely true."""
        assert AUTH.valid_login(email, "b4l0u") is True

    @pytest.mark.parametrize("password", ["WrongPwd", "", None])
    def test_valid_login_wrong(self, email: str, password: Any) -> None:
        """The answer is False itself, nothing that is merely false."""
        assert AUTH.valid_login(email, password) is False

    @pytest.mark.parametrize("address", ["unknown@email", "", None])
    def test_valid_login_unknown(self, address: Any) -> None:
        """The answer is False itself, nothing that is merely false."""
        assert AUTH.valid_login(address, "mySecuredPwd") is False

    def test_create_session_is_a_new_uuid(self, email: str) -> None:
        """Each call another."""
        first, second = AUTH.create_session(email), AUTH.create_session(email)
        assert first is not None and second is not None and first != second
        assert uuid.UUID(first).version == 4

    def test_create_session_unknown(self) -> None:
        """None, and no exception."""
        assert AUTH.create_session("unknown@email") is None

    def test_get_user_from_session_id(self, email: str) -> None:
        """A token leads back to whom it was made for."""
        user = AUTH.get_user_from_session_id(AUTH.create_session(email))
        assert user is not None and user.email == email

    @pytest.mark.parametrize("session_id", [None, "", "anything"])
    def test_get_user_from_no_session_id(self, session_id: Any) -> None:
        """None, and no exception."""
        assert AUTH.get_user_from_session_id(session_id) is None

    def test_destroy_session_signs_out(self, email: str) -> None:
        """And returns None."""
        session_id = AUTH.create_session(email)
        user = AUTH.get_user_from_session_id(session_id)
        assert user is not None
        destroy: Any = AUTH.destroy_session
        assert destroy(user.id) is None
        assert AUTH.get_user_from_session_id(session_id) is None

    @pytest.mark.parametrize("user_id", [None, 10 ** 9])
    def test_destroy_session_unknown_is_silent(self, user_id: Any) -> None:
        """Nobody there is nobody to sign out."""
        AUTH.destroy_session(user_id)

    def test_reset_token_is_a_uuid_and_replaces_the_last(
            self, email: str) -> None:
        """Only the newest works."""
        first = AUTH.get_reset_password_token(email)
        second = AUTH.get_reset_password_token(email)
        assert uuid.UUID(second).version == 4 and first != second
        with pytest.raises(ValueError):
            AUTH.update_password(first, "new")
        AUTH.update_password(second, "new")

    def test_reset_token_unknown_address(self) -> None:
        """Nobody there is ValueError."""
        with pytest.raises(ValueError):
            AUTH.get_reset_password_token("unknown@email")

    def test_update_password_sets_it_and_uses_the_token_up(
            self, email: str) -> None:
        """Once, and it returns None."""
        token = AUTH.get_reset_password_token(email)
        update: Any = AUTH.update_password
        assert update(token, "t4rt1fl3tt3") is None
        assert AUTH.valid_login(email, "t4rt1fl3tt3")
        assert not AUTH.valid_login(email, "b4l0u")
        with pytest.raises(ValueError):
            AUTH.update_password(token, "again")

    @pytest.mark.parametrize("token", [None, "", "anything"])
    def test_update_password_bad_token(self, token: Any) -> None:
        """Nobody there is ValueError."""
        with pytest.raises(ValueError):
            AUTH.update_password(token, "new")


class TestViews:
    """The names that views have in app.py."""

    @pytest.mark.parametrize("name", [
        "users", "login", "logout", "profile", "get_reset_password_token",
        "update_password"])
    def test_view_has_its_name(self, name: str) -> None:
        """In the module and as the endpoint."""
        assert app.view_functions[name] is getattr(app_module, name)


class TestHTTP:
    """The routes: form fields in, JSON out."""

    def test_index(self) -> None:
        """The welcome is exact."""
        assert_answer(ask("GET", "/"), 200, {"message": "Bienvenue"})

    def test_users(self) -> None:
        """The answer repeats the address."""
        address = fresh_email()
        assert_answer(
            ask("POST", "/users", email=address, password="mySuperPwd"),
            200, {"email": address, "message": "user created"})

    def test_users_taken(self, email: str) -> None:
        """The message is exact, and 400."""
        assert_answer(ask("POST", "/users", email=email, password="x"), 400,
                      {"message": "email already registered"})

    def test_sessions(self, email: str) -> None:
        """The answer sets the cookie, a UUID, for the whole site."""
        answer = ask("POST", "/sessions", email=email, password="b4l0u")
        assert_answer(answer, 200, {"email": email, "message": "logged in"})
        cookie, *attributes = answer.headers["Set-Cookie"].split("; ")
        name, _, value = cookie.partition("=")
        assert name == "session_id" and "Path=/" in attributes
        assert uuid.UUID(value).version == 4

    @pytest.mark.parametrize("password", ["wrong", ""])
    def test_sessions_wrong(self, email: str, password: str) -> None:
        """Another password is 401, and sets no cookie."""
        answer = ask("POST", "/sessions", email=email, password=password)
        assert answer.status_code == 401
        assert "Set-Cookie" not in answer.headers

    def test_logout(self, email: str) -> None:
        """The session is over, and the client goes home with 302."""
        session_id = AUTH.create_session(email) or ""
        answer = ask("DELETE", "/sessions", session_id)
        assert answer.status_code == 302
        assert answer.headers["Location"] == "/"
        assert ask("DELETE", "/sessions", session_id).status_code == 403
        assert ask("GET", "/profile", session_id).status_code == 403

    def test_profile(self, email: str) -> None:
        """The answer is the address and nothing else."""
        session_id = AUTH.create_session(email) or ""
        assert_answer(ask("GET", "/profile", session_id), 200,
                      {"email": email})

    @pytest.mark.parametrize("method, path", [
        ("DELETE", "/sessions"), ("GET", "/profile")])
    @pytest.mark.parametrize("cookie", ["", "nope", str(uuid.uuid4())])
    def test_nobody(self, method: str, path: str, cookie: str) -> None:
        """An unknown, an empty or no cookie is 403."""
        assert ask(method, path, cookie).status_code == 403
        empty = app.test_client(use_cookies=False).open(
            path, method=method, headers={"Cookie": "session_id="})
        assert empty.status_code == 403

    def test_reset_password(self, email: str) -> None:
        """The token is handed out, a UUID."""
        answer = ask("POST", "/reset_password", email=email)
        token = answer.get_json()["reset_token"]
        assert uuid.UUID(token).version == 4
        assert_answer(answer, 200, {"email": email, "reset_token": token})

    def test_reset_password_unknown(self) -> None:
        """An address without an account is 403."""
        answer = ask("POST", "/reset_password", email=fresh_email())
        assert answer.status_code == 403

    def test_update_password(self, email: str) -> None:
        """The new password works from now on."""
        token = AUTH.get_reset_password_token(email)
        answer = ask("PUT", "/reset_password", email=email,
                     reset_token=token, new_password="t4rt1fl3tt3")
        assert_answer(answer, 200,
                      {"email": email, "message": "Password updated"})
        assert AUTH.valid_login(email, "t4rt1fl3tt3")

    def test_update_password_without_email(self, email: str) -> None:
        """The token alone decides, and the owner's address is answered."""
        token = AUTH.get_reset_password_token(email)
        answer = ask("PUT", "/reset_password", reset_token=token,
                     new_password="t4rt1fl3tt3")
        assert_answer(answer, 200,
                      {"email": email, "message": "Password updated"})

    def test_update_password_bad_token(self, email: str) -> None:
        """A token that nobody was given is 403 and changes nothing."""
        answer = ask("PUT", "/reset_password", email=email,
                     reset_token="nope", new_password="t4rt1fl3tt3")
        assert answer.status_code == 403
        assert AUTH.valid_login(email, "b4l0u")

    def test_update_password_of_somebody_else(self, email: str) -> None:
        """Two users mixed up are 403, and neither password changes."""
        other = fresh_email()
        AUTH.register_user(other, "hers")
        token = AUTH.get_reset_password_token(other)
        answer = ask("PUT", "/reset_password", email=email,
                     reset_token=token, new_password="t4rt1fl3tt3")
        assert answer.status_code == 403
        assert AUTH.valid_login(email, "b4l0u")
        assert AUTH.valid_login(other, "hers")

    @pytest.mark.parametrize("method, path, status, missing", [
        ("POST", "/users", 400, "email"),
        ("POST", "/users", 400, "password"),
        ("POST", "/sessions", 401, "email"),
        ("POST", "/sessions", 401, "password"),
        ("POST", "/reset_password", 403, "email"),
        ("PUT", "/reset_password", 403, "reset_token"),
        ("PUT", "/reset_password", 403, "new_password")])
    @pytest.mark.parametrize("how", ["absent", "empty"])
    def test_missing_field(self, email: str, method: str, path: str,
                           status: int, missing: str, how: str) -> None:
        """The route's own status, and a message that names the field."""
        form = {"email": email, "password": "b4l0u",
                "reset_token": AUTH.get_reset_password_token(email),
                "new_password": "new"}
        if how == "empty":
            form[missing] = ""
        else:
            del form[missing]
        answer = ask(method, path, **form)
        assert answer.status_code == status
        assert missing in answer.get_json()["message"]
        assert "Set-Cookie" not in answer.headers
        assert AUTH.valid_login(email, "b4l0u")

    @pytest.mark.parametrize("method, path", [
        ("POST", "/users"), ("POST", "/sessions"), ("POST", "/reset_password"),
        ("PUT", "/reset_password")])
    @pytest.mark.parametrize("body", [
        b"email=a&email=b", b"email=" + b"x" * 251, b"email=\xff",
        b"email=%ff"], ids=["duplicated", "over-long", "raw", "escaped"])
    def test_unreadable_body(self, method: str, path: str,
                             body: bytes) -> None:
        """A duplicated, over-long or undecodable field is 400 everywhere."""
        answer = app.test_client(use_cookies=False).open(
            path, method=method, data=body,
            content_type="application/x-www-form-urlencoded")
        assert answer.status_code == 400
        assert list(answer.get_json()) == ["message"]

#!/usr/bin/env python3
"""fastapi-users as in its full example for SQLAlchemy.

A cookie holds a token; each request loads its row, and that of the user.
"""
from __future__ import annotations

import asyncio
import os
from typing import Any, AsyncIterator

from fastapi import Depends, FastAPI
from fastapi_users import (
    BaseUserManager, FastAPIUsers, IntegerIDMixin, schemas)
from fastapi_users.authentication import (
    AuthenticationBackend, CookieTransport)
from fastapi_users.authentication.strategy.db import DatabaseStrategy
from fastapi_users.password import PasswordHelper
from fastapi_users_db_sqlalchemy import (
    SQLAlchemyBaseUserTable, SQLAlchemyUserDatabase)
from fastapi_users_db_sqlalchemy.access_token import (
    SQLAlchemyAccessTokenDatabase, SQLAlchemyBaseAccessTokenTable)
from pwdlib import PasswordHash
from pwdlib.hashers.bcrypt import BcryptHasher
from sqlalchemy import Column, ForeignKey, Integer, event
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, declared_attr


class Base(DeclarativeBase):
    """What the tables have in common."""


class User(SQLAlchemyBaseUserTable, Base):
    """The table of users as the library wants it."""

    __allow_unmapped__ = True
    id = Column(Integer, primary_key=True)


class AccessToken(SQLAlchemyBaseAccessTokenTable, Base):
    """The table of sessions as the library wants it."""

    __allow_unmapped__ = True

    @declared_attr
    def user_id(cls) -> Any:
        """Declare whose session it is."""
        return Column(Integer, ForeignKey("user.id", ondelete="cascade"),
                      nullable=False)


engine = create_async_engine(
    "sqlite+aiosqlite:///" + os.environ["PEER_DATABASE"])
new_session = async_sessionmaker(engine, expire_on_commit=False)


@event.listens_for(engine.sync_engine, "connect")
def tune(connection: Any, _record: Any) -> None:
    """Use SQLite as well as it can be used."""
    cursor = connection.cursor()
    for each in ("journal_mode=WAL", "synchronous=NORMAL",
                 "busy_timeout=5000"):
        cursor.execute("PRAGMA " + each)
    cursor.close()


async def a_session() -> AsyncIterator[Any]:
    """Give a request its session of SQLAlchemy."""
    async with new_session() as session:
        yield session


# Without it FastAPI would have to understand annotations that are text.
SESSION = Depends(a_session)


async def users(session: Any = SESSION) -> AsyncIterator[Any]:
    """Give a request the store of users."""
    yield SQLAlchemyUserDatabase(session, User)


async def tokens(session: Any = SESSION) -> AsyncIterator[Any]:
    """Give a request the store of tokens."""
    yield SQLAlchemyAccessTokenDatabase(session, AccessToken)


class UserManager(IntegerIDMixin, BaseUserManager):
    """What is done with users; nothing is mailed."""

    reset_password_token_secret = "a key for measuring, and nothing else"
    verification_token_secret = "a key for measuring, and nothing else"


helper = PasswordHelper(PasswordHash((BcryptHasher(rounds=12),)))


async def manager(store: Any = Depends(users)) -> AsyncIterator[Any]:
    """Give a request who manages the users."""
    yield UserManager(store, helper)


def strategy(store: Any = Depends(tokens)) -> Any:
    """Give a request who knows tokens."""
    return DatabaseStrategy(store, lifetime_seconds=86400)


backend = AuthenticationBackend(
    "cookie", CookieTransport(cookie_secure=False), strategy)
fastapi_users: Any = FastAPIUsers(manager, [backend])


class UserRead(schemas.BaseUser):
    """What is told of a user."""

    id: int


class UserCreate(schemas.BaseUserCreate):
    """What has to be told to become one."""


application = FastAPI()
application.include_router(
    fastapi_users.get_auth_router(backend), prefix="/auth/cookie")
application.include_router(
    fastapi_users.get_register_router(UserRead, UserCreate), prefix="/auth")


@application.get("/profile")
async def profile(user: Any = Depends(
        fastapi_users.current_user(active=True))) -> Any:
    """Say who is signed in."""
    return {"email": user.email}


@application.get("/health")
async def health() -> Any:
    """Say that requests are answered."""
    return {"ok": True}


def prepare() -> None:
    """Make the tables."""
    async def create() -> None:
        """Make them by an engine of one's own."""
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        await engine.dispose()
    asyncio.run(create())

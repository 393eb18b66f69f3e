"""People who may see the page, their passwords and their sessions."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import sqlalchemy as sa

from edge.errors import UsageError
from edge.fleet import schema
from edge.fleet.database import Database

ROLES = ("viewer", "operator")  # a viewer reads; an operator also relabels, accepts, retires
LEAST_PASSWORD = 10
MOST_PASSWORD = 1024
# OWASP's second choice for scrypt: as hard as N=2^17, p=1, with 32 MB instead of 128.
SCRYPT = {"n": 2**15, "r": 8, "p": 3, "maxmem": 64 * 1024 * 1024}
TRIES, TRIES_S = 5, 300.0  # wrong passwords of one address or for one name, then wait
REMEMBERED = 10_000
_hashing = threading.BoundedSemaphore(2)  # memory and cores that logins may take


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who has logged in."""

    name: str
    role: str
    csrf: str  # every form carries it

    @property
    def may_change(self) -> bool:
        return self.role == "operator"


def hash_password(password: str) -> str:
    """scrypt$SALT$HASH, both base64."""
    salt = secrets.token_bytes(16)
    return f"scrypt${_text(salt)}${_text(_scrypt(password, salt))}"


def matches(password: str, stored: str) -> bool:
    """Whether a password is the stored one."""
    _, salt, digest = stored.split("$")
    return hmac.compare_digest(_scrypt(password, base64.b64decode(salt)), base64.b64decode(digest))


def _scrypt(password: str, salt: bytes) -> bytes:
    with _hashing:
        return hashlib.scrypt(password.encode("utf-8", "replace"), salt=salt, dklen=32, **SCRYPT)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Users:
    """Names, roles and sessions in the database; wrong tries in memory."""

    def __init__(
        self,
        database: Database,
        *,
        session_s: float,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._session_s = session_s
        self._wall = wall
        self._tries = Tries(clock)

    @cached_property
    def _decoy(self) -> str:
        return hash_password(secrets.token_hex(8))

    def add(self, name: str, role: str, password: str) -> None:
        """Make a user, or give an old one another password and role; raises UsageError."""
        if not re.fullmatch(r"[A-Za-z0-9_.@-]{1,64}", name):
            raise UsageError(f"{name!r}: a name is 1 to 64 letters, digits, '_', '.', '@' or '-'")
        if role not in ROLES:
            raise UsageError(f"--role {role}: unknown; known are {', '.join(ROLES)}")
        if not LEAST_PASSWORD <= len(password) <= MOST_PASSWORD:
            raise UsageError(f"the password must have {LEAST_PASSWORD} characters or more")
        row = {"name": name, "role": role, "password": hash_password(password)}
        user = schema.user
        with self._database.begin() as db:
            self._end_sessions(db, name)
            db.execute(sa.delete(user).where(user.c.name == name))
            db.execute(sa.insert(user).values(**row, made_ts=self._wall()))

    def remove(self, name: str) -> None:
        """Forget a user and end the sessions; raises UsageError where there is none."""
        user = schema.user
        with self._database.begin() as db:
            self._end_sessions(db, name)
            if not db.execute(sa.delete(user).where(user.c.name == name)).rowcount:
                raise UsageError(f"{name}: no such user; see: smartbin fleet user list")

    def all(self) -> list[tuple[str, str]]:
        """Names and roles."""
        user = schema.user
        with self._database.reading() as db:
            rows = db.execute(sa.select(user.c.name, user.c.role).order_by(user.c.name))
            return [(name, role) for name, role in rows]

    def log_in(self, name: str, password: str, *, address: str) -> str | None:
        """A new session's token; None where name or password are wrong. Raises TooManyTries."""
        keys = (f"address {address}", f"name {name[:64]}")
        self._tries.check(keys)
        user = schema.user
        with self._database.reading() as db:
            stored = db.execute(sa.select(user.c.password).where(user.c.name == name)).scalar()
        # An unknown name takes as long as a known one, so that names cannot be found out.
        good = matches(password[:MOST_PASSWORD], stored or self._decoy)
        if stored is None or not good:
            self._tries.count(keys)
            return None
        self._tries.forget(keys)
        return self._open_session(name)

    def _open_session(self, name: str) -> str:
        token, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        row = {"token_sha256": _digest(token), "name": name, "csrf": csrf}
        until_ts = self._wall() + self._session_s
        with self._database.begin(flush=False) as db:
            db.execute(sa.insert(schema.session).values(**row, until_ts=until_ts))
        return token

    def visitor(self, token: str) -> Visitor | None:
        """Who holds a session's token; None where it is unknown or over."""
        session, user = schema.session, schema.user
        query = (
            sa.select(user.c.name, user.c.role, session.c.csrf)
            .join(user, user.c.name == session.c.name)
            .where(session.c.token_sha256 == _digest(token), session.c.until_ts > self._wall())
        )
        with self._database.reading() as db:
            row = db.execute(query).first()
        return Visitor(*row) if row else None

    def log_out(self, token: str) -> None:
        """End a session."""
        session = schema.session
        with self._database.begin() as db:
            db.execute(sa.delete(session).where(session.c.token_sha256 == _digest(token)))

    def _end_sessions(self, db: sa.Connection, name: str) -> None:
        db.execute(sa.delete(schema.session).where(schema.session.c.name == name))


class TooManyTries(Exception):
    """Wrong passwords came too often; `wait_s` says how long to wait."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"too many wrong tries; wait {wait_s:.0f} s")
        self.wait_s = wait_s


class Tries:
    """Counts wrong tries by address and by name, bounded."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()  # guards _wrong
        self._wrong: OrderedDict[str, list[float]] = OrderedDict()

    def check(self, keys: tuple[str, ...]) -> None:
        """Raises TooManyTries where one of the keys has failed too often."""
        now_s = self._clock()
        with self._lock:
            for key in keys:
                recent = [t for t in self._wrong.get(key, []) if t > now_s - TRIES_S]
                if len(recent) >= TRIES:
                    raise TooManyTries(recent[-TRIES] + TRIES_S - now_s)

    def count(self, keys: tuple[str, ...]) -> None:
        """Take note of a wrong try."""
        with self._lock:
            for key in keys:
                self._wrong.setdefault(key, []).append(self._clock())
                self._wrong[key] = self._wrong[key][-TRIES:]
                self._wrong.move_to_end(key)
            while len(self._wrong) > REMEMBERED:
                self._wrong.popitem(last=False)

    def forget(self, keys: tuple[str, ...]) -> None:
        """A right password."""
        with self._lock:
            for key in keys:
                self._wrong.pop(key, None)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()

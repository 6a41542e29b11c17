"""Visitors apart: where a password is set each browser has a session, and with it jobs that no other one sees.

The session is a random cookie. Its hash names the folder of its jobs, so that neither the disk nor a backup of it lets
anybody take a session over, and a restart of the server changes nothing.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
from http.cookies import CookieError, SimpleCookie
from typing import Any

from .api import Api

COOKIE = "animatic_session"
FORM = re.compile(r"[A-Za-z0-9_-]{43}")  # of `secrets.token_urlsafe(32)`
SECONDS = 400 * 24 * 3600  # the longest that browsers keep a cookie
SCOPE = "animatic.session"  # its place in a request's scope


def session_in(header: str) -> str:
    """The session that a Cookie header names; "" where there is none of that form."""
    try:
        cookie = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return cookie.value if cookie and FORM.fullmatch(cookie.value) else ""


def new_session() -> str:
    """What nobody guesses."""
    return secrets.token_urlsafe(32)


def set_cookie(session: str, secure: bool) -> str:
    """The header by which a browser keeps a session: out of reach of scripts, and never sent by another site's page."""
    return f"{COOKIE}={session}; Max-Age={SECONDS}; Path=/; HttpOnly; SameSite=Strict{'; Secure' if secure else ''}"


class Visitors:
    """Whose jobs a request is about: everybody's, or where visitors are `apart` those of its session."""

    def __init__(self, api: Api, apart: bool) -> None:
        self.api, self.apart = api, apart
        self._apis: dict[str, Api] = {}
        self._lock = threading.Lock()

    def api_of(self, scope: Any, begins: bool = False) -> Api:
        """The endpoints for the visitor of a request's scope. `begins`: the request may add the first of their jobs."""
        if not self.apart:
            return self.api
        name = hashlib.sha256(scope[SCOPE].encode()).hexdigest()[:32]
        with self._lock:
            if name not in self._apis:
                studio = self.api.studio.of_visitor(name, begins)
                api = Api(studio, self.api.planners)
                if name not in studio.studios:
                    return api  # a visitor who has done nothing yet costs no memory
                self._apis[name] = api
            return self._apis[name]

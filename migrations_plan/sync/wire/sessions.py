"""Connections that are kept: one session per thread, and none that a process has from its parent."""

import os
import threading
from http.cookiejar import DefaultCookiePolicy

import requests


class _Kept(threading.local):
    """What one thread keeps, and in which process it made it."""

    session: requests.Session | None = None
    pid = 0


_kept = _Kept()


def session() -> requests.Session:
    """Return this thread's session; a forked process makes its own, since two on one connection mix up answers."""
    if _kept.session is None or _kept.pid != os.getpid():
        _kept.session, _kept.pid = _made(), os.getpid()
    return _kept.session


def _made() -> requests.Session:
    made = requests.Session()
    made.trust_env = False  # no proxy and no .netrc of whoever started us
    made.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return made

"""URLs of servers that may carry a login: read, and shown without it."""

import re
from urllib.parse import unquote, urlsplit

HIDDEN = "***"
NATS_PORT = 4222

_LOGIN = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)?(?P<user>[^:@]*)(?P<rest>:.*)?@")


def login(url: str) -> tuple[str, str | None] | None:
    """Read user and password, percent-decoded, or (token, None); None where there is no login.

    >>> login("nats://bridge:s%40cret@host:4222")
    ('bridge', 's@cret')
    """
    user, colon, password = urlsplit(url).netloc.rpartition("@")[0].partition(":")
    if not user and not colon:
        return None
    return unquote(user), unquote(password) if colon else None


def hide_login(url: str) -> str:
    """Give a URL without its password, or without its token.

    >>> hide_login("nats://bridge:s3cret@host:4222")
    'nats://bridge:***@host:4222'
    >>> hide_login("nats://s3crettoken@host:4222")
    'nats://***@host:4222'
    """
    found = _LOGIN.match(url)
    if found is None:
        return url
    user = f"{found['user']}:{HIDDEN}" if found["rest"] else HIDDEN
    return f"{found['scheme'] or ''}{user}@{url[found.end() :]}"


def host_and_port(url: str) -> tuple[str, int]:
    """Read where a NATS server is; without a port it is at 4222.

    >>> host_and_port("[::1]:4333")
    ('::1', 4333)
    """
    parts = urlsplit(url if "://" in url else f"nats://{url}")
    return parts.hostname or "", parts.port or NATS_PORT

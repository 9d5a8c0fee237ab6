"""What one setting's value may be, as annotated types.

Each check raises ValueError saying what is allowed and never the value: it may hold a secret.
"""

import os
import re
import shutil
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr

_HOST = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(\.(?!-)[A-Za-z0-9-]{1,63})*\.?\Z")
_STREAM = re.compile(r"[^\s.*>/\\\x00-\x1f\x7f]{1,255}\Z")
_INBOX = re.compile(r"[^\s.*>\x00-\x1f\x7f]+(\.[^\s.*>\x00-\x1f\x7f]+)*\Z")
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#@]+\Z")
_PEM = "-----BEGIN "


def expanded(path: str | Path) -> Path:
    """Put the home folder in the place of `~`.

    Unlike Path.expanduser this leaves `~` where there is no home, as under an arbitrary user ID in
    a container; `rules` tells of it where it matters.
    """
    return Path(os.path.expanduser(path))  # noqa: PTH111


def pem_text(value: str) -> str:
    r"""Give a key's PEM text from the text itself or from the path of a file that holds it.

    A text may have `\n` for its line breaks, as it must on one line of `.env`. Raises ValueError
    if there is no such file or it is not PEM.
    """
    text = value.replace("\\n", "\n")
    if _PEM not in value:
        try:
            text = expanded(value).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            text = ""
        except OSError as error:
            message = f"must be PEM text or the path of a file that can be read ({error.strerror})"
            raise ValueError(message) from None
    if _PEM not in text:
        raise ValueError(f"must be a key in PEM form, beginning with `{_PEM}`")
    return text


def server_urls(text: str) -> list[str]:
    """Split a comma-separated list of NATS servers; one without a scheme is `nats://`.

    Raises ValueError if one of them is not a server's URL.
    """
    return [_server_url(part) for part in listed(text)]


def listed(text: str) -> list[str]:
    """Split a comma-separated list, leaving out blanks."""
    return [part.strip() for part in text.split(",") if part.strip()]


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach the host."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _server_url(part: str) -> str:
    url = part if "://" in part else f"nats://{part}"
    form = "must be nats://host:4222 (or tls://host:4222), several separated by commas"
    try:
        parts = urlsplit(url)
        reachable = bool(parts.hostname) and parts.port != 0
    except ValueError:  # its text repeats a part of the URL, perhaps of a password
        reachable = False
    if not reachable or parts.scheme not in {"nats", "tls"}:
        raise ValueError(form)
    return url


def _host(value: str) -> str:
    bare = value.removeprefix("[").removesuffix("]")
    try:
        return str(ip_address(bare))
    except ValueError:
        if _HOST.match(bare):
            return bare
    message = "must be an IP address or a host name alone, such as 127.0.0.1 or 0.0.0.0"
    raise ValueError(message)


def _file(path: Path) -> Path:
    path = expanded(path)
    try:
        with path.open("rb"):
            return path
    except OSError as error:
        message = f"must be a file that can be read ({error.strerror})"
        raise ValueError(message) from None


def _folder(path: Path) -> Path:
    path = expanded(path)
    if not path.is_dir():
        raise ValueError("must be a folder that exists")
    return path


def _binary(path: Path) -> Path:
    found = shutil.which(expanded(path))
    if found is None:
        raise ValueError("must be a program that can be run: a path, or a name found on PATH")
    return Path(found)


def _stream_name(name: str) -> str:
    if not _STREAM.match(name):
        raise ValueError("must be 1 to 255 characters without white space and . * > / \\")
    return name


def _inbox_prefix(prefix: str) -> str:
    if not _INBOX.match(prefix):
        raise ValueError("must be a NATS subject without white space, wildcards and empty tokens")
    return prefix


def _line(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("must be a text of one line")
    return text


def _origins(text: str) -> str:
    for origin in listed(text):
        if origin != "*" and not _ORIGIN.match(origin):
            raise ValueError(
                "must be origins such as https://app.example.org, without a path, or *"
            )
    return text


def _unlimited_or_positive(number: int) -> int:
    if number != -1 and number < 1:
        raise ValueError("must be -1 (no limit) or at least 1")
    return number


def _public_key(value: str) -> str:
    if "PRIVATE KEY-----" in pem_text(value):
        raise ValueError("must be a public key; this is a private one, see jwt_private_key")
    return value


def _private_key(value: SecretStr) -> SecretStr:
    text = pem_text(value.get_secret_value())
    if "PRIVATE KEY-----" not in text or "ENCRYPTED" in text:
        raise ValueError("must be a private key, and not an encrypted one")
    return value


def _jwks(value: str) -> str:
    if "://" not in value:
        return str(_file(Path(value)))
    try:
        parts = urlsplit(value)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise ValueError("must be the path of a file or an http(s) URL")
    return value


def _servers(text: str) -> str:
    if not server_urls(text):
        raise ValueError("must name a server, such as nats://host:4222")
    return text


def _joined(value: object) -> object:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


Lower = BeforeValidator(_lower)
Host = Annotated[str, AfterValidator(_host)]
File = Annotated[Path, AfterValidator(_file)]
Folder = Annotated[Path, AfterValidator(_folder)]
NewFolder = Annotated[Path, AfterValidator(expanded)]
Binary = Annotated[Path, AfterValidator(_binary)]
Servers = Annotated[str, BeforeValidator(_joined), AfterValidator(_servers)]
StreamName = Annotated[str, AfterValidator(_stream_name)]
InboxPrefix = Annotated[str, AfterValidator(_inbox_prefix)]
Line = Annotated[str, AfterValidator(_line)]
Origins = Annotated[str, BeforeValidator(_joined), AfterValidator(_origins)]
Bytes = Annotated[int, AfterValidator(_unlimited_or_positive)]
PublicKey = Annotated[str, AfterValidator(_public_key)]
PrivateKey = Annotated[SecretStr, AfterValidator(_private_key)]
Jwks = Annotated[str, AfterValidator(_jwks)]

"""Settings that do not go together: each rule yields one sentence for each conflict it finds."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bridge.settings.values import has_userinfo

if TYPE_CHECKING:
    from bridge.settings.model import Settings

_NATS_ONLY = (
    "nats_credentials_file",
    "nats_nkey_file",
    "nats_user",
    "nats_password",
    "nats_token",
    "nats_tls_ca",
    "nats_tls_cert",
    "nats_tls_key",
    "nats_tls_hostname",
)


def conflicts(settings: "Settings") -> Iterator[str]:
    """Say what does not go together; settings without a conflict yield nothing."""
    yield from _reach(settings)
    yield from _nats_server(settings)
    yield from _nats_login(settings)
    yield from _sizes(settings)
    if settings.jwt_algorithm.startswith("HS"):
        yield from _shared_secret(settings)
    else:
        yield from _key_pair(settings)


def _reach(settings: "Settings") -> Iterator[str]:
    if not settings.is_loopback and not settings.key_configured:
        yield (
            f"BRIDGE_HOST is {settings.host}, which other machines can reach, and there is no key "
            "to check tokens with: set BRIDGE_JWT_SECRET (`openssl rand -hex 32` makes one), or a "
            "public key or JWKS with BRIDGE_JWT_ALGORITHM"
        )


def _nats_server(settings: "Settings") -> Iterator[str]:
    if settings.nats_url is not None:
        return
    for name in _NATS_ONLY:
        if getattr(settings, name) is not None:
            yield (
                f"BRIDGE_{name.upper()} is for a NATS server of yours, but BRIDGE_NATS_URL is not "
                "set, so the bridge would start its own: set BRIDGE_NATS_URL too"
            )
    if settings.stream_replicas > 1:
        yield (
            f"BRIDGE_STREAM_REPLICAS is {settings.stream_replicas}, but the bridge's own NATS is "
            "one server: set BRIDGE_NATS_URL to a cluster, or leave it at 1"
        )
    if str(settings.data_dir).startswith("~"):
        yield "there is no home folder for the bridge's own NATS to store in: set BRIDGE_DATA_DIR"
    elif settings.data_dir.exists() and not settings.data_dir.is_dir():
        yield f"BRIDGE_DATA_DIR is {settings.data_dir}, which is not a folder"


def _nats_login(settings: "Settings") -> Iterator[str]:
    methods = {
        "BRIDGE_NATS_CREDENTIALS_FILE": settings.nats_credentials_file is not None,
        "BRIDGE_NATS_NKEY_FILE": settings.nats_nkey_file is not None,
        "BRIDGE_NATS_USER": settings.nats_user is not None,
        "BRIDGE_NATS_TOKEN": settings.nats_token is not None,
        "the login in BRIDGE_NATS_URL": any(map(has_userinfo, settings.nats_servers)),
    }
    used = [name for name, is_used in methods.items() if is_used]
    if len(used) > 1:
        yield f"there is more than one way to log in to NATS, keep one: {' and '.join(used)}"
    if (settings.nats_user is None) != (settings.nats_password is None):
        yield "BRIDGE_NATS_USER and BRIDGE_NATS_PASSWORD go together: set both or neither"
    if (settings.nats_tls_cert is None) != (settings.nats_tls_key is None):
        yield "BRIDGE_NATS_TLS_CERT and BRIDGE_NATS_TLS_KEY go together: set both or neither"


def _sizes(settings: "Settings") -> Iterator[str]:
    if settings.duplicate_window_seconds > settings.stream_max_age_seconds:
        yield (
            f"BRIDGE_DUPLICATE_WINDOW_SECONDS is {settings.duplicate_window_seconds}: it must be "
            f"at most BRIDGE_STREAM_MAX_AGE_SECONDS, {settings.stream_max_age_seconds}"
        )
    if settings.max_batch_bytes < settings.max_event_bytes:
        yield (
            f"BRIDGE_MAX_BATCH_BYTES is {settings.max_batch_bytes}: it must be at least "
            f"BRIDGE_MAX_EVENT_BYTES, {settings.max_event_bytes}"
        )
    if 0 < settings.stream_max_bytes < settings.max_event_bytes:
        yield (
            f"BRIDGE_STREAM_MAX_BYTES is {settings.stream_max_bytes}: it must be -1 (no limit) or "
            f"at least BRIDGE_MAX_EVENT_BYTES, {settings.max_event_bytes}"
        )
    if settings.token_ttl_seconds > settings.token_max_ttl_seconds:
        yield (
            f"BRIDGE_TOKEN_TTL_SECONDS is {settings.token_ttl_seconds}: it must be at most "
            f"BRIDGE_TOKEN_MAX_TTL_SECONDS, {settings.token_max_ttl_seconds}"
        )


def _shared_secret(settings: "Settings") -> Iterator[str]:
    algorithm = settings.jwt_algorithm
    for name in ("jwt_public_key", "jwt_private_key", "jwt_jwks"):
        if getattr(settings, name) is not None:
            yield (
                f"BRIDGE_JWT_ALGORITHM is {algorithm}, which checks tokens with "
                f"BRIDGE_JWT_SECRET alone: unset BRIDGE_{name.upper()}, or set the algorithm of "
                "your key, such as RS256, ES256 or EdDSA"
            )
    if settings.jwt_secret is None:
        return
    # RFC 7518 section 3.2: a key at least as long as the hash's output.
    size, least = len(settings.jwt_secret.get_secret_value().encode()), int(algorithm[2:]) // 8
    if size < least:
        yield (
            f"BRIDGE_JWT_SECRET is {size} bytes long: {algorithm} needs at least {least} "
            f"(`openssl rand -hex {least}` makes one)"
        )


def _key_pair(settings: "Settings") -> Iterator[str]:
    algorithm = settings.jwt_algorithm
    if settings.jwt_secret is not None:
        yield (
            f"BRIDGE_JWT_ALGORITHM is {algorithm}, which checks tokens with a public key: unset "
            "BRIDGE_JWT_SECRET, or set BRIDGE_JWT_ALGORITHM to HS256"
        )
    if settings.jwt_public_key is not None and settings.jwt_jwks is not None:
        yield "BRIDGE_JWT_PUBLIC_KEY and BRIDGE_JWT_JWKS both say whom to trust: keep one"
    if not (settings.jwt_public_key or settings.jwt_jwks or settings.jwt_private_key):
        yield (
            f"BRIDGE_JWT_ALGORITHM is {algorithm} and there is no key for it: set "
            "BRIDGE_JWT_PUBLIC_KEY, BRIDGE_JWT_JWKS or BRIDGE_JWT_PRIVATE_KEY"
        )

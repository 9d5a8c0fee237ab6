"""Every setting: its type, default and limits. What each one means is in `config/bridge.yaml`."""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from bridge.settings import values
from bridge.settings.sources import DOTENV, PREFIX, BridgeYaml
from bridge.tokens.config import Algorithm, KeyConfig
from bridge.tokens.config import conflicts as token_conflicts
from bridge.urls import HIDDEN, hide_login, login

_DAY = 86_400
_WEEK = 7 * _DAY
_LARGEST_NATS_PAYLOAD = 64 * 1024 * 1024


def _default_data_dir() -> Path:
    """Follow the XDG base directory specification: a relative $XDG_DATA_HOME does not count."""
    data_home = Path(os.environ.get("XDG_DATA_HOME", ""))
    if not data_home.is_absolute():
        data_home = values.expanded("~/.local/share")
    return data_home / "agent-event-bridge"


class Settings(BaseSettings):
    """The settings of one bridge: `load_settings` makes them, and nothing changes them after.

    Durations are in seconds, sizes in bytes.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=DOTENV,
        env_ignore_empty=True,
        extra="ignore",  # `load_settings` has told of unknown keys before, with what is near them
        frozen=True,
        hide_input_in_errors=True,
    )

    host: values.Host = "127.0.0.1"
    port: int = Field(3001, ge=0, le=65_535)
    internal_port: int = Field(0, ge=0, le=65_535)
    data_dir: values.NewFolder = Field(default_factory=_default_data_dir)
    config_dir: values.Folder | None = None
    log_level: Annotated[Literal["debug", "info", "warning", "error", "critical"], values.Lower] = (
        "info"
    )
    log_format: Annotated[Literal["auto", "text", "json"], values.Lower] = "auto"

    nats_url: values.Servers | None = None
    nats_credentials_file: values.File | None = None
    nats_nkey_file: values.File | None = None
    nats_user: str | None = None
    nats_password: SecretStr | None = None
    nats_token: SecretStr | None = None
    nats_tls_ca: values.File | None = None
    nats_tls_cert: values.File | None = None
    nats_tls_key: values.File | None = None
    nats_tls_hostname: values.Host | None = None
    nats_inbox_prefix: values.InboxPrefix = "_INBOX_bridge"
    nats_name: values.Line | None = None
    nats_server_binary: values.Binary | None = None

    stream: values.StreamName = "EVENTS"
    stream_manage: bool = True
    stream_max_messages: int = Field(10_000, ge=1)
    stream_max_age_seconds: int = Field(_DAY, ge=1)
    stream_max_bytes: values.Bytes = 128 * 1024 * 1024
    stream_replicas: int = Field(1, ge=1, le=5)
    duplicate_window_seconds: int = Field(120, ge=1)
    max_consumers: int = Field(100_000, ge=1)
    ack_wait_seconds: float = Field(4.0, ge=2, le=_DAY, allow_inf_nan=False)
    publish_timeout_seconds: float = Field(5.0, ge=0.1, le=300, allow_inf_nan=False)

    jwt_algorithm: Algorithm = "HS256"
    jwt_secret: SecretStr | None = None
    jwt_public_key: values.PublicKey | None = None
    jwt_private_key: values.PrivateKey | None = None
    jwt_jwks: values.Jwks | None = None
    jwt_issuer: values.Line | None = None
    jwt_audience: values.Line | None = None
    jwt_leeway_seconds: int = Field(5, ge=0, le=3600)
    token_ttl_seconds: int = Field(3600, ge=1)
    token_max_ttl_seconds: int = Field(_WEEK, ge=1)

    publisher_policy: Annotated[Literal["strict", "stamp"], values.Lower] = "strict"
    default_deliver: Annotated[Literal["all", "new", "last"], values.Lower] = "all"
    max_deliveries: int = Field(10, ge=1, le=1000)
    unknown_types: Annotated[Literal["warn", "refuse"], values.Lower] = "warn"
    max_event_bytes: int = Field(524_288, ge=1024, le=_LARGEST_NATS_PAYLOAD)
    max_batch_bytes: int = Field(8_388_608, ge=1024)
    rate_limit: float = Field(0.0, ge=0, allow_inf_nan=False)
    rate_burst: int | None = Field(None, ge=1)
    header_timeout_seconds: float = Field(15.0, ge=1, le=3600, allow_inf_nan=False)
    body_timeout_seconds: float = Field(60.0, ge=1, le=3600, allow_inf_nan=False)
    answer_timeout_seconds: float = Field(60.0, ge=1, le=3600, allow_inf_nan=False)
    mcp_wait_seconds: float = Field(50.0, ge=0, le=280, allow_inf_nan=False)
    cors_origins: values.Origins = ""
    drain_seconds: float = Field(1.0, ge=0, le=600, allow_inf_nan=False)
    shutdown_timeout_seconds: int = Field(10, ge=0, le=3600)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # the base's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: what comes first wins."""
        return init_settings, env_settings, dotenv_settings, BridgeYaml(settings_cls)

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if found := list(conflicts(self)):
            raise ValueError("; ".join(found))
        return self

    @property
    def nats_servers(self) -> list[str]:
        """The URLs of the NATS servers; none means the embedded one."""
        return [] if self.nats_url is None else values.server_urls(self.nats_url)

    @property
    def cors_origin_list(self) -> list[str]:
        """The origins whose pages may call the bridge."""
        return values.listed(self.cors_origins)

    @property
    def burst(self) -> int:
        """How many requests an agent may make at once: by default what two seconds allow."""
        return self.rate_burst or max(1, math.ceil(2 * self.rate_limit))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the bridge."""
        return values.is_loopback(self.host)

    @property
    def key_configured(self) -> bool:
        """Whether any key is given to check tokens with."""
        keys = (self.jwt_secret, self.jwt_public_key, self.jwt_private_key, self.jwt_jwks)
        return any(key is not None for key in keys)

    def key_config(self, own_secret: str | None = None) -> KeyConfig:
        """Say how tokens are verified and minted; keys are read from their files where they are.

        `own_secret` signs where no key was given.
        """
        private = _plain(self.jwt_private_key)
        return KeyConfig(
            algorithm=self.jwt_algorithm,
            secret=_plain(self.jwt_secret) or own_secret,
            public_key=values.pem_text(self.jwt_public_key) if self.jwt_public_key else None,
            private_key=values.pem_text(private) if private else None,
            jwks=self.jwt_jwks,
            issuer=self.jwt_issuer,
            audience=self.jwt_audience,
            leeway_seconds=self.jwt_leeway_seconds,
            default_ttl_seconds=self.token_ttl_seconds,
            max_ttl_seconds=self.token_max_ttl_seconds,
        )

    def changed(self) -> dict[str, str]:
        """Give the settings that are not at their defaults, as `resolved` does."""
        fields = type(self).model_fields
        return {
            name: text
            for name, text in self.resolved().items()
            if getattr(self, name) != fields[name].get_default(call_default_factory=True)
        }

    def resolved(self) -> dict[str, str]:
        """Give every setting as text for the log, with secrets hidden."""
        shown = {name: _shown(getattr(self, name)) for name in type(self).model_fields}
        if self.nats_url is not None:
            shown["nats_url"] = ",".join(map(hide_login, self.nats_servers))
        if self.jwt_jwks is not None:
            shown["jwt_jwks"] = hide_login(self.jwt_jwks)
        if self.jwt_public_key is not None and "-----BEGIN" in self.jwt_public_key:
            shown["jwt_public_key"] = "PEM text"
        return shown


def _plain(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _shown(value: object) -> str:
    match value:
        case None:
            return "unset"
        case SecretStr():
            return HIDDEN
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.12g}"
        case _:
            return str(value)


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
    yield from token_conflicts(settings.key_config(), secret_follows=True)


def _reach(settings: "Settings") -> Iterator[str]:
    if not settings.is_loopback and not settings.key_configured:
        yield (
            f"BRIDGE_HOST is {settings.host}, which other machines can reach, and there is no key "
            "to check tokens with: set BRIDGE_JWT_SECRET (`openssl rand -hex 32` makes one), or a "
            "public key or JWKS with BRIDGE_JWT_ALGORITHM"
        )
    if settings.internal_port == settings.port != 0:
        yield (
            f"BRIDGE_INTERNAL_PORT is {settings.port}, and so is BRIDGE_PORT: set another, or 0 to "
            "have everything at one port"
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
        "the login in BRIDGE_NATS_URL": any(map(login, settings.nats_servers)),
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

"""Every setting: its type, default and limits. What each one means is in `config/bridge.yaml`."""

import math
import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from bridge.settings import rules, values
from bridge.settings.sources import DOTENV, PREFIX, BridgeYaml

_DAY = 86_400
_WEEK = 7 * _DAY
_LARGEST_NATS_PAYLOAD = 64 * 1024 * 1024

Algorithm = Literal[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
    "ES256", "ES384", "ES512", "EdDSA",
]  # fmt: skip


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
    stream_max_bytes: values.Bytes = -1
    stream_replicas: int = Field(1, ge=1, le=5)
    duplicate_window_seconds: int = Field(120, ge=1)
    max_consumers: int = Field(100_000, ge=1)
    ack_wait_seconds: float = Field(30.0, ge=2, le=_DAY, allow_inf_nan=False)
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
    max_event_bytes: int = Field(524_288, ge=1024, le=_LARGEST_NATS_PAYLOAD)
    max_batch_bytes: int = Field(8_388_608, ge=1024)
    rate_limit: float = Field(0.0, ge=0, allow_inf_nan=False)
    rate_burst: int | None = Field(None, ge=1)
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
        if found := list(rules.conflicts(self)):
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

    @property
    def jwt_public_key_pem(self) -> str | None:
        """The public key as PEM text, read from its file where a path was given."""
        return None if self.jwt_public_key is None else values.pem_text(self.jwt_public_key)

    @property
    def jwt_private_key_pem(self) -> str | None:
        """The private key as PEM text, read from its file where a path was given."""
        key = self.jwt_private_key
        return None if key is None else values.pem_text(key.get_secret_value())

    def resolved(self) -> dict[str, str]:
        """Give every setting as text for the log, with secrets hidden."""
        shown = {name: _shown(getattr(self, name)) for name in type(self).model_fields}
        if self.nats_url is not None:
            shown["nats_url"] = ",".join(map(values.hide_userinfo, self.nats_servers))
        if self.jwt_jwks is not None:
            shown["jwt_jwks"] = values.hide_userinfo(self.jwt_jwks)
        if self.jwt_public_key is not None and "-----BEGIN" in self.jwt_public_key:
            shown["jwt_public_key"] = "PEM text"
        return shown


def _shown(value: object) -> str:
    match value:
        case None:
            return "unset"
        case SecretStr():
            return values.HIDDEN
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.12g}"
        case _:
            return str(value)

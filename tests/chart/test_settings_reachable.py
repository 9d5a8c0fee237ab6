"""Every setting of the bridge can be set by values, and arrives as what was given."""

from collections.abc import Mapping
from functools import reduce
from itertools import combinations, permutations
from math import comb
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from bridge.catalog import load_catalog
from bridge.errors import StartError
from bridge.settings import Settings, load_settings
from tests.chart.conftest import Render
from tests.chart.starting import Load, bridges
from tests.chart.valuesets import in_turn
from tests.support.helm import CHART, HELMS, HelmRefused, text_of
from tests.support.manifests import Object, at, of_kind

ELSEWHERE = {
    "port", "internal_port", "data_dir", "config_dir",
    "nats_url", "nats_credentials_file", "nats_nkey_file", "nats_user", "nats_password",
    "nats_token", "nats_tls_ca", "nats_tls_cert", "nats_tls_key", "nats_tls_hostname",
    "nats_inbox_prefix", "nats_name", "nats_server_binary",
    "jwt_secret", "jwt_public_key", "jwt_private_key", "jwt_jwks",
}  # fmt: skip
"""Addresses, logins and keys, which `settings` does not take."""

REACHABLE = sorted(set(Settings.model_fields) - ELSEWHERE)
CONFIG = Path(__file__).parent.parent.parent / "config"
EXTERNAL = {"enabled": False}
LOGIN = {"urls": ["nats://one:4222"], "existingSecret": "nats-login"}
TLS = {"urls": "tls://one:4222", "tls": {"existingSecret": "nats-tls"}}

PUBLIC = "-----BEGIN PUBLIC KEY-----\nbm90IGEga2V5\n-----END PUBLIC KEY-----\n"

OWN_VALUES: dict[str, tuple[dict[str, Any], Any]] = {
    "port": ({"containerPort": 3102}, 3102),
    "internal_port": ({"internalPort": 3103}, 3103),
    "nats_url": (
        {"nats": EXTERNAL, "externalNats": {"urls": ["nats://one:4222", "nats://two:4222"]}},
        "nats://one:4222,nats://two:4222",
    ),
    "nats_credentials_file": (
        {"nats": EXTERNAL, "externalNats": LOGIN | {"credentialsKey": "bridge.creds"}}, "file"),
    "nats_nkey_file": (
        {"nats": EXTERNAL, "externalNats": LOGIN | {"nkeyKey": "bridge.nk"}}, "file"),
    "nats_user": (
        {"nats": EXTERNAL, "externalNats": LOGIN | {"userKey": "user", "passwordKey": "pass"}},
        "given"),
    "nats_password": (
        {"nats": EXTERNAL, "externalNats": LOGIN | {"userKey": "user", "passwordKey": "pass"}},
        "given"),
    "nats_token": (
        {"nats": EXTERNAL, "externalNats": LOGIN | {"tokenKey": "token"}}, "given"),
    "nats_tls_ca": (
        {"nats": EXTERNAL, "externalNats": TLS | {"tls": {
            "existingSecret": "nats-tls", "caKey": "ca.crt"}}}, "file"),
    "nats_tls_cert": (
        {"nats": EXTERNAL, "externalNats": TLS | {"tls": {
            "existingSecret": "nats-tls", "certKey": "tls.crt", "keyKey": "tls.key"}}}, "file"),
    "nats_tls_key": (
        {"nats": EXTERNAL, "externalNats": TLS | {"tls": {
            "existingSecret": "nats-tls", "certKey": "tls.crt", "keyKey": "tls.key"}}}, "file"),
    "nats_tls_hostname": (
        {"nats": EXTERNAL, "externalNats": {"urls": "tls://one:4222", "tls": {
            "hostname": "nats.example.org"}}}, "nats.example.org"),
    "nats_inbox_prefix": (
        {"nats": EXTERNAL, "externalNats": {"urls": "nats://one", "inboxPrefix": "_INBOX_b"}},
        "_INBOX_b"),
    "jwt_secret": ({"auth": {"existingSecret": "jwt", "secretKey": "secret"}}, "given"),
    "jwt_public_key": (
        {"settings": {"jwt_algorithm": "RS256"}, "auth": {"publicKey": {
            "existingSecret": "jwt", "key": "public.pem"}}}, "given"),
    "jwt_private_key": (
        {"settings": {"jwt_algorithm": "ES256"}, "auth": {"privateKey": {
            "existingSecret": "jwt", "key": "private.pem"}}}, "given"),
    "jwt_jwks": (
        {"settings": {"jwt_algorithm": "EdDSA"}, "auth": {"jwks": {
            "url": "https://issuer.example.org/jwks"}}}, "https://issuer.example.org/jwks"),
}  # fmt: skip
"""Settings with values of their own: the values, and what the setting then is."""

NEVER = {"data_dir", "config_dir", "nats_name", "nats_server_binary"}
"""Settings that the chart itself must choose, or that mean nothing in a pod."""


def another(name: str) -> Any:
    """Give a value that differs from a setting's default, and that the setting takes.

    Large numbers and text like `0123` come first: they are what YAML and templates spoil.
    """
    default = Settings.model_fields[name].get_default()
    candidates: list[Any] = [0.25, 7, "0123", "HS384", "https://one.example.org"]
    if name == "host":
        candidates = ["::"]  # 0.0.0.0 is the default here, and only these reach probes
    if isinstance(default, bool):
        candidates = [not default]
    elif isinstance(default, int | float):
        candidates = [default + 10_000_000, default + 1, default + 0.25]
    elif options := getattr(Settings.model_fields[name].annotation, "__args__", None):
        candidates += [one for one in options if isinstance(one, str) and one != default]
    for candidate in candidates:
        try:
            load_settings(**{"jwt_secret": "s" * 64, "nats_url": "nats://one", name: candidate})
        except StartError:
            continue
        return candidate
    raise AssertionError(f"{name} takes none of {candidates}: think of a value for it")


def plain(value: Any) -> Any:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


LARGE: Any = {"config": {"merge": {"max_payload": "<< 64MB >>"}}}
"""Values of NATS with which it takes the largest of events."""


def apart(names: list[str]) -> list[list[str]]:
    """Choose groups so that for any two names there is one with the first and without the second.

    Each name is in a different half of all groups, so no name's groups are among another's.
    """
    count = next(n for n in range(2, len(names) + 2) if comb(n, n // 2) >= len(names))
    halves = dict(zip(names, combinations(range(count), count // 2), strict=False))
    return [[name for name in names if group in halves[name]] for group in range(count)]


def test_groups_hold_any_two_settings_apart() -> None:
    groups = apart(REACHABLE)
    for one, other in permutations(REACHABLE, 2):
        assert any(one in group and other not in group for group in groups), (one, other)


@pytest.mark.parametrize("given", apart(REACHABLE), ids=lambda given: f"{len(given)}-settings")
def test_settings_arrive_without_each_other(given: list[str], render: Render, load: Load) -> None:
    values = {name: another(name) for name in given}
    objects = render(text_of({"settings": values, "nats": LARGE}))
    loaded = load(objects, bridges(objects)[0])
    assert {name: getattr(loaded, name) for name in given} == values
    defaults = {name: Settings.model_fields[name].get_default() for name in given}
    assert [name for name in given if values[name] == defaults[name]] == []


@pytest.mark.parametrize("helm", HELMS)
def test_all_settings_arrive_together(helm: str, render: Render, load: Load) -> None:
    given = {name: another(name) for name in REACHABLE}
    objects = render(text_of({"settings": given, "nats": LARGE}), helm=helm)
    loaded = load(objects, bridges(objects)[0])
    assert {name: getattr(loaded, name) for name in REACHABLE} == given


def test_nothing_is_not_taken_for_unset(render: Render, load: Load) -> None:
    given = {
        "drain_seconds": 0,
        "shutdown_timeout_seconds": 0,
        "jwt_leeway_seconds": 0,
        "stream_manage": False,
        "stream_replicas": 1,
    }
    objects = render(text_of({"settings": given}))
    loaded = load(objects, bridges(objects)[0])
    assert {name: getattr(loaded, name) for name in given} == given


@pytest.mark.parametrize(
    ("setting", "where"),
    [
        ("jwt_public_key", {"publicKey": {"value": PUBLIC}}),
        ("jwt_public_key", {"publicKey": {"existingSecret": "keys"}}),
        ("jwt_public_key", {"publicKey": {"existingConfigMap": "keys", "key": "rsa-public"}}),
        ("jwt_private_key", {"privateKey": {"existingSecret": "keys", "key": "rsa-private"}}),
        ("jwt_jwks", {"jwks": {"value": '{"keys": []}'}}),
        ("jwt_jwks", {"jwks": {"existingSecret": "keys"}}),
        ("jwt_jwks", {"jwks": {"existingConfigMap": "keys", "key": "set"}}),
    ],
)
def test_keys_arrive_from_wherever_they_are(
    setting: str, where: dict[str, Any], render: Render, load: Load
) -> None:
    objects = render(text_of({"settings": {"jwt_algorithm": "RS256"}, "auth": where}))
    found = plain(getattr(load(objects, bridges(objects)[0]), setting))
    assert Path(found).is_file()


@pytest.mark.parametrize("name", sorted(OWN_VALUES))
def test_a_setting_with_a_value_of_its_own_arrives(name: str, render: Render, load: Load) -> None:
    values, expected = OWN_VALUES[name]
    objects = render(text_of(values))
    found = plain(getattr(load(objects, bridges(objects)[0]), name))
    match expected:
        case "file":
            assert found.is_file()
        case "given":
            assert found
        case _:
            assert found == expected


@pytest.mark.parametrize(("name", "helm"), in_turn(sorted(ELSEWHERE), HELMS))
def test_what_has_a_value_of_its_own_is_refused_and_named(
    name: str, helm: str, render: Render
) -> None:
    with pytest.raises(HelmRefused) as refused:
        render(text_of({"settings": {name: "something"}}), helm=helm)
    said = str(refused.value)
    assert name in said
    if name not in NEVER:
        assert names_a_value(said), said


def names_a_value(said: str) -> bool:
    """Tell whether a message names a dotted path that values.yaml has."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    words = {word.strip("`'\".,:;()[]") for word in said.split()}
    return any(leads_somewhere(values, word) for word in words - {"settings", "values"})


def leads_somewhere(values: Mapping[str, Any], path: str) -> bool:
    first, _, rest = path.partition(".")
    if first not in values:
        return False
    return not rest or (isinstance(values[first], dict) and leads_somewhere(values[first], rest))


def test_every_setting_is_reachable_or_the_charts_own() -> None:
    assert set(REACHABLE) | set(OWN_VALUES) | NEVER == set(Settings.model_fields)


def test_replicas_of_the_stream_follow_the_servers(render: Render, load: Load) -> None:
    def replicas(values: dict[str, Any]) -> int:
        objects = render(text_of(values))
        return load(objects, bridges(objects)[0]).stream_replicas

    assert replicas({}) == 3
    assert replicas({"nats": {"config": {"cluster": {"replicas": 5}}}}) == 5
    assert replicas({"nats": {"config": {"cluster": {"replicas": 7}}}}) == 5
    assert replicas({"nats": {"config": {"cluster": {"enabled": False}}}}) == 1
    assert replicas({"nats": EXTERNAL, "externalNats": {"urls": "nats://one"}}) == 1


@pytest.mark.parametrize(
    ("value", "file"),
    [
        ("topics", "topics.yaml"),
        ("eventTypes", "event_types.yaml"),
        ("agentTypes", "agent_types.yaml"),
    ],
)
def test_a_catalogue_arrives(value: str, file: str, render: Render, tmp_path: Path) -> None:
    given = yaml.load((CONFIG / file).read_text(), yaml.BaseLoader)
    added = {f"our-{name}": entry for name, entry in given.items() if name != "all"}
    objects = render(text_of({"catalog": {value: added}}))
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / file).write_text(config_map(objects)[file])
    before, after = load_catalog(), load_catalog(folder)
    kind = file.removesuffix(".yaml")
    assert set(getattr(after, kind)) - set(getattr(before, kind)) == set(added)
    for name in given:
        assert getattr(after, kind)[f"our-{name}"] == getattr(before, kind)[name]


def config_map(objects: list[Object]) -> dict[str, str]:
    maps = [at(one, "data", {}) for one in of_kind(objects, "ConfigMap")]
    return reduce(lambda one, other: one | other, maps, {})

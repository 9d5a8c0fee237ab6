"""Secrets that the chart makes: long enough, kept, in one place, and not made where not wanted."""

import base64
import json
from typing import Any

import pytest

from tests.chart.conftest import Render
from tests.support.helm import HELMS, text_of
from tests.support.manifests import Object, at, of_kind, where

LONGEST_NEEDED = 64
"""RFC 7518, section 3.2: HS512 wants a key of at least 64 bytes."""


def made(objects: list[Object]) -> dict[str, dict[str, str]]:
    """Give the data of each Secret, decoded."""
    return {
        where(one): {k: base64.b64decode(v).decode() for k, v in at(one, "data", {}).items()}
        for one in of_kind(objects, "Secret")
    }


def test_the_secret_for_tokens_will_do_for_every_algorithm(render: Render) -> None:
    for data in made(render("")).values():
        for value in data.values():
            assert len(value) >= LONGEST_NEEDED
            assert value.isascii()
            assert value.isalnum()


def test_what_is_made_once_outlives_the_release(render: Render) -> None:
    """Made anew it would void every token, so neither an upgrade nor an uninstall may take it."""
    secrets = of_kind(render(""), "Secret")
    assert len(secrets) == 2
    for one in secrets:
        assert one["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep", where(one)


@pytest.mark.parametrize("helm", HELMS)
def test_no_two_are_alike(helm: str, render: Render) -> None:
    first, second = render("", helm=helm), render("", helm=helm, name="other")
    found = [
        value for one in (first, second) for data in made(one).values() for value in data.values()
    ]
    assert len(found) == len(set(found)) > 4


def test_secrets_are_nowhere_else(objects: list[Object]) -> None:
    rest = json.dumps([one for one in objects if one["kind"] != "Secret"])
    for name, data in made(objects).items():
        assert [key for key, value in data.items() if value in rest] == [], name


@pytest.mark.parametrize(
    "values",
    [
        {"auth": {"existingSecret": "mine"}, "natsUsers": {"create": False}},
        {
            "settings": {"jwt_algorithm": "RS256"},
            "auth": {"jwks": {"url": "https://id.example.org/jwks"}},
            "nats": {"enabled": False},
            "externalNats": {"urls": "nats://nats.example.org"},
        },
    ],
    ids=["brought", "not needed"],
)
def test_none_is_made_where_none_is_wanted(values: dict[str, Any], render: Render) -> None:
    assert of_kind(render(text_of(values)), "Secret") == []


def annotations(objects: list[Object]) -> dict[str, str]:
    """Give those of the bridges' pods."""
    (one,) = [one for one in objects if where(one).startswith("Deployment/demo-agent")]
    found: dict[str, str] = at(one, "spec.template.metadata.annotations")
    return found


@pytest.mark.parametrize("given", [{}, {"podAnnotations": {"checksum/config": "mine"}}])
def test_pods_start_anew_when_their_settings_change(given: Any, render: Render) -> None:
    def checksum(**settings: Any) -> str:
        return annotations(render(text_of(given | {"settings": settings})))["checksum/config"]

    assert checksum() == checksum()
    assert checksum(log_level="debug") != checksum()


@pytest.mark.parametrize("key", ["publicKey", "privateKey", "jwks"])
def test_pods_start_anew_with_another_key(key: str, render: Render) -> None:
    """Of a Secret that is there its version counts, which only a cluster knows, and its name."""

    def checksum(secret: str) -> str:
        auth = {key: {"existingSecret": secret}}
        objects = render(text_of({"settings": {"jwt_algorithm": "RS256"}, "auth": auth} | BROUGHT))
        return annotations(objects)["checksum/secret"]

    assert checksum("one") == checksum("one")
    assert checksum("one") != checksum("two")


BROUGHT = {"natsUsers": {"create": False}}


def test_pods_start_anew_with_other_passwords_that_were_brought(render: Render) -> None:
    values = text_of(BROUGHT | {"auth": {"existingSecret": "jwt"}, "nameOverride": "agents"})
    found = {
        at(one, "spec.template.metadata.annotations")["checksum/secret"]
        for release in ("one", "two")
        for one in of_kind(render(values, name=release), "Deployment")
        if where(one) == f"Deployment/{release}-agents"
    }
    assert len(found) == 2, "the Secret's name is that of the release"

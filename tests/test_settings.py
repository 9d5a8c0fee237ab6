"""Settings: sources and their order, unknown keys, values, conflicts, secrets, documentation."""

import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from bridge.errors import StartError
from bridge.settings import Settings, load_settings

DOCUMENTATION = Path(__file__).parent.parent / "config" / "bridge.yaml"
SECRET = "s3cret" * 8
PUBLIC_PEM = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2Vw\n-----END PUBLIC KEY-----\n"
PRIVATE_PEM = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYD\n-----END PRIVATE KEY-----\n"
SERVERS = {"nats_url": "nats://host:4222"}


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.upper().startswith("BRIDGE_"):
            monkeypatch.delenv(name)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def refusal(**overrides: Any) -> str:
    """Give the line with which these settings are refused."""
    with pytest.raises(StartError) as caught:
        load_settings(**overrides)
    told = str(caught.value)
    assert "\n" not in told
    assert SECRET not in told
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return told


def bridge_yaml(folder: Path, text: str) -> Path:
    path = folder / "bridge.yaml"
    path.write_text(text)
    return path


class TestSources:
    def test_nothing_set_means_a_loopback_bridge_with_a_nats_of_its_own(
        self, tmp_path: Path
    ) -> None:
        settings = load_settings()
        assert (settings.host, settings.port) == ("127.0.0.1", 3001)
        assert settings.nats_servers == []
        assert settings.is_loopback
        assert not settings.key_configured
        assert settings.data_dir == tmp_path / ".local/share/agent-event-bridge"

    def test_options_win_over_the_environment_then_dotenv_then_the_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bridge_yaml(tmp_path, "port: 1\nstream: A\nlog_level: error\nrate_limit: 9\n")
        (tmp_path / ".env").write_text("BRIDGE_PORT=2\nBRIDGE_STREAM=B\nBRIDGE_LOG_LEVEL=debug\n")
        monkeypatch.setenv("BRIDGE_CONFIG_DIR", str(tmp_path))
        monkeypatch.setenv("BRIDGE_PORT", "3")
        monkeypatch.setenv("BRIDGE_STREAM", "C")
        settings = load_settings(port=4, host=None)
        found = (settings.port, settings.stream, settings.log_level, settings.rate_limit)
        assert found == (4, "C", "debug", 9)

    def test_the_config_folder_may_be_named_in_dotenv(self, tmp_path: Path) -> None:
        folder = tmp_path / "conf"
        folder.mkdir()
        bridge_yaml(folder, "stream: D\n")
        (tmp_path / ".env").write_text("BRIDGE_CONFIG_DIR=conf\nOTHER=x\nPORT=99999\n")
        assert load_settings().stream == "D"

    def test_an_empty_variable_is_not_set(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        bridge_yaml(tmp_path, "nats_user:\nstream: ''\nport: 5\n")
        monkeypatch.setenv("BRIDGE_NATS_URL", "")
        monkeypatch.setenv("BRIDGE_PORT", "")
        settings = load_settings(config_dir=tmp_path)
        assert (settings.nats_url, settings.stream, settings.port) == (None, "EVENTS", 5)

    def test_values_of_the_file_are_text_as_in_the_environment(self, tmp_path: Path) -> None:
        bridge_yaml(
            tmp_path,
            "nats_user: 0123\nnats_password: 1e3\nnats_url: [one, 'tls://two:4333']\n"
            "stream_manage: no\ncors_origins: [https://a, https://b]\n",
        )
        settings = load_settings(config_dir=tmp_path)
        assert settings.nats_user == "0123"
        assert settings.nats_password == SecretStr("1e3")
        assert settings.nats_servers == ["nats://one", "tls://two:4333"]
        assert settings.stream_manage is False
        assert settings.cors_origin_list == ["https://a", "https://b"]

    def test_the_data_folder_follows_xdg_and_ignores_a_relative_one(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("XDG_DATA_HOME", "/var/xdg")
        assert load_settings().data_dir == Path("/var/xdg/agent-event-bridge")
        monkeypatch.setenv("XDG_DATA_HOME", "xdg")
        assert load_settings().data_dir == tmp_path / ".local/share/agent-event-bridge"
        assert load_settings(data_dir="~/x").data_dir == tmp_path / "x"

    def test_settings_do_not_change(self) -> None:
        settings = load_settings()
        with pytest.raises(ValueError, match="frozen"):
            settings.port = 1


class TestUnknownKeys:
    def test_in_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BRIDGE_NATS_URI", "x")
        told = "BRIDGE_NATS_URI in the environment is not a setting: did you mean `nats_url`?"
        assert refusal() == told

    def test_in_the_environment_with_nothing_near(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BRIDGE_QQQ", "x")
        assert "BRIDGE_QQQ in the environment is not a setting; bridge.yaml lists" in refusal()

    def test_in_dotenv(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text("BRIDGE_PROT=1\n")
        assert refusal() == "BRIDGE_PROT in .env is not a setting: did you mean `port`?"

    def test_in_the_file_with_its_line(self, tmp_path: Path) -> None:
        path = bridge_yaml(tmp_path, "\nBRIDGE_PORT: 1\nnats-url: x\n")
        told = refusal(config_dir=tmp_path)
        assert f"BRIDGE_PORT in {path} line 2 is not a setting: did you mean `port`?" in told
        assert f"nats-url in {path} line 3 is not a setting: did you mean `nats_url`?" in told

    def test_among_the_options(self) -> None:
        assert refusal(prot=1) == "prot is not a setting: did you mean `port`?"

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("BRIDGE_SERVICE_HOST", "10.0.0.1"),
            ("BRIDGE_SERVICE_PORT", "3001"),
            ("BRIDGE_SERVICE_PORT_HTTP", "3001"),
            ("BRIDGE_PORT_3001_TCP", "tcp://10.0.0.1:3001"),
            ("BRIDGE_PORT_3001_TCP_ADDR", "10.0.0.1"),
            ("BRIDGE_NATS_SERVICE_HOST", "10.0.0.2"),
            ("BRIDGE_NATS_PORT", "tcp://10.0.0.2:4222"),
            ("BRIDGE_NATS_PORT_4222_TCP_PROTO", "tcp"),
        ],
    )
    def test_what_kubernetes_sets_for_services_is_not_one(
        self, monkeypatch: pytest.MonkeyPatch, name: str, value: str
    ) -> None:
        monkeypatch.setenv(name, value)
        assert load_settings().port == 3001

    @pytest.mark.parametrize(
        ("name", "service", "instead"),
        [
            ("BRIDGE_PORT", "bridge", "BRIDGE_PORT=3001"),
            ("BRIDGE_INTERNAL_PORT", "bridge-internal", "BRIDGE_INTERNAL_PORT=0"),
        ],
    )
    def test_a_port_set_by_kubernetes_is_explained(
        self, monkeypatch: pytest.MonkeyPatch, name: str, service: str, instead: str
    ) -> None:
        monkeypatch.setenv(name, "tcp://10.0.0.1:3001")
        told = refusal()
        assert f"Kubernetes sets for a Service called `{service}`" in told
        assert f"set {instead} in" in told
        assert "enableServiceLinks: false" in told


class TestTheFile:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("port: 1\nport: 2\n", "line 2: the file has `port` twice, first on line 1"),
            ("port: 1\n- x\n", "line 2: not valid YAML"),
            ("- port\n", "line 1: the file must be a mapping, lines of `key: value`"),
            ("\nport: {a: 1}\n", "line 2: `port` must be one value or a list of values"),
            ("\nconfig_dir: x\n", "line 2: `config_dir` says where this file is"),
            ("? [port]\n: 1\n", "line 1: the file must have plain names as keys"),
            ("port: \x07\n", "line 1: not valid YAML: special characters"),
            (f"jwt_secret: *{SECRET}\n", "line 1: not valid YAML: found undefined alias '…'"),
        ],
    )
    def test_of_a_wrong_form_is_refused(self, tmp_path: Path, text: str, message: str) -> None:
        path = bridge_yaml(tmp_path, text)
        told = refusal(config_dir=tmp_path)
        assert told.startswith(str(path))
        assert message in told

    def test_in_another_encoding_is_refused(self, tmp_path: Path) -> None:
        bridge_yaml(tmp_path, "").write_bytes(b"nats_user: \xff\n")
        assert "bridge.yaml line 1: not UTF-8 text" in refusal(config_dir=tmp_path)

    def test_dotenv_in_another_encoding_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_bytes(b"BRIDGE_NATS_USER=\xff\n")
        assert ".env is not UTF-8 text" in refusal()

    @pytest.mark.parametrize(
        "line",
        [
            'BRIDGE_NATS_PASSWORD="hidden',
            'BRIDGE_NATS_PASSWORD="hidden" x',
            "BRIDGE_NATS_PASSWORD hidden",
            "BRIDGE_NATS_PASSWORD: hidden",
        ],
    )
    def test_a_line_of_dotenv_that_cannot_be_read_is_refused(
        self, tmp_path: Path, line: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The bridge would start without the setting."""
        path = tmp_path / ".env"
        path.write_text(f"# a comment\nBRIDGE_PORT=5\n\n\n{line}\nBRIDGE_STREAM=A\n")
        told = refusal()
        assert told.startswith(f"{path} line 5: must be a line of `NAME=value`")
        assert "hidden" not in told + caplog.text
        assert "\n" not in told

    def test_dotenv_may_have_what_shells_have(self, tmp_path: Path) -> None:
        text = "\n# note\nexport BRIDGE_PORT=5 # five\nX='a\nb'\nY\nBRIDGE_STREAM='A'\n\n"
        (tmp_path / ".env").write_text(text)
        settings = load_settings()
        assert (settings.port, settings.stream) == (5, "A")

    def test_a_wrong_value_is_told_with_its_line(self, tmp_path: Path) -> None:
        path = bridge_yaml(tmp_path, "stream: EVENTS\nport: abc\n")
        told = f"port in {path} line 2 is 'abc': it must be a whole number from 0 to 65535"
        assert refusal(config_dir=tmp_path) == told


class TestValues:
    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("port", "abc", "is 'abc': it must be a whole number from 0 to 65535"),
            ("port", "65536", "is '65536': it must be a whole number from 0 to 65535"),
            ("host", "http://0.0.0.0", "must be an IP address or a host name alone"),
            ("log_level", "loud", "must be one of debug, info, warning, error, critical"),
            ("log_format", "xml", "must be one of auto, text, json"),
            ("stream_manage", "maybe", "must be true or false"),
            ("stream", "my.events", "without white space and . * > /"),
            ("stream_replicas", "6", "a whole number from 1 to 5"),
            ("stream_replicas", "0", "a whole number from 1 to 5"),
            ("stream_max_messages", "0", "a whole number, at least 1"),
            ("stream_max_bytes", "0", "-1 (no limit) or at least 1"),
            ("ack_wait_seconds", "1", "a number from 2 to 86400"),
            ("ack_wait_seconds", "nan", "a number from 2 to 86400"),
            ("jwt_algorithm", "none", "must be one of HS256, HS384"),
            ("publisher_policy", "any", "must be one of strict, stamp"),
            ("unknown_types", "ignore", "must be one of warn, refuse"),
            ("rate_limit", "-1", "a number, at least 0"),
            ("rate_burst", "0", "a whole number, at least 1"),
            ("cors_origins", "https://a/path", "must be origins such as"),
            ("nats_url", "http://host", "must be nats://host:4222"),
            ("nats_url", "nats://host:port", "must be nats://host:4222"),
            ("nats_url", " , ", "must name a server"),
            ("nats_url", "ws://a", "must be nats://host:4222"),
            ("nats_inbox_prefix", "a.>", "must be a NATS subject"),
            ("nats_inbox_prefix", "a.", "must be a NATS subject"),
            ("nats_name", "a\tb", "must be a text of one line"),
            ("nats_server_binary", "no-such-program", "a program that can be run"),
            ("nats_credentials_file", "/gone.creds", "read (No such file or directory)"),
            ("nats_nkey_file", "/gone.nk", "read (No such file or directory)"),
            ("nats_tls_ca", "/", "read (Is a directory)"),
            ("config_dir", "/gone", "must be a folder that exists"),
            ("jwt_public_key", "/gone.pem", "or the path of a file that can be read"),
            ("jwt_public_key", "/dev/null", "must be a key in PEM form"),
            ("jwt_jwks", "ftp://host/keys", "the path of a file or an http(s) URL"),
            ("jwt_jwks", "/gone.json", "read (No such file or directory)"),
        ],
    )
    def test_of_no_sense_are_refused_with_what_is_allowed(
        self, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
    ) -> None:
        variable = f"BRIDGE_{name.upper()}"
        monkeypatch.setenv(variable, value)
        told = refusal()
        assert told.startswith(f"{variable} in the environment is ")
        assert repr(value) in told
        assert message in told

    def test_every_wrong_one_is_told_at_once(self) -> None:
        told = refusal(port=-1, log_level="loud")
        assert "port is '-1': it must be" in told
        assert "; log_level is 'loud': it must be" in told

    @pytest.mark.parametrize(
        ("host", "is_loopback"),
        [
            ("127.0.0.1", True),
            ("127.8.8.8", True),
            ("::1", True),
            ("[::1]", True),
            ("localhost", True),
            ("0.0.0.0", False),
            ("::", False),
            ("bridge.example.org", False),
        ],
    )
    def test_only_some_hosts_are_loopback(self, host: str, is_loopback: bool) -> None:
        assert load_settings(host=host, jwt_secret=SECRET).is_loopback is is_loopback

    def test_capitals_do_not_matter_in_words(self) -> None:
        settings = load_settings(log_level="INFO", log_format="JSON", publisher_policy="Stamp")
        found = (settings.log_level, settings.log_format, settings.publisher_policy)
        assert found == ("info", "json", "stamp")

    def test_keys_are_given_as_text_on_one_line_or_more_or_as_a_file(self, tmp_path: Path) -> None:
        file = tmp_path / "key.pem"
        file.write_text(PUBLIC_PEM)
        for given in (PUBLIC_PEM, PUBLIC_PEM.replace("\n", "\\n"), str(file), "~/key.pem"):
            settings = load_settings(jwt_algorithm="EdDSA", jwt_public_key=given)
            keys = settings.key_config()
            assert (keys.public_key, keys.private_key) == (PUBLIC_PEM, None)
            assert settings.key_configured
        settings = load_settings(jwt_algorithm="EdDSA", jwt_private_key=PRIVATE_PEM)
        assert settings.key_config().private_key == PRIVATE_PEM

    def test_a_program_is_found_by_path_or_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program = tmp_path / "my-nats"
        program.write_text("#!/bin/sh\n")
        program.chmod(stat.S_IRWXU)
        assert load_settings(nats_server_binary=str(program)).nats_server_binary == program
        monkeypatch.setenv("PATH", str(tmp_path))
        assert load_settings(nats_server_binary="my-nats").nats_server_binary == program

    @pytest.mark.parametrize(
        ("given", "burst"),
        [
            ({}, 1),
            ({"rate_limit": 10}, 20),
            ({"rate_limit": 0.1}, 1),
            ({"rate_limit": 10, "rate_burst": 5}, 5),
        ],
    )
    def test_the_burst_is_twice_the_rate_unless_given(
        self, given: dict[str, Any], burst: int
    ) -> None:
        assert load_settings(**given).burst == burst


class TestConflicts:
    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"host": "0.0.0.0"}, "BRIDGE_HOST is 0.0.0.0, which other machines can reach"),
            ({"jwt_secret": "short"}, "BRIDGE_JWT_SECRET is 5 bytes long: HS256 needs at least 32"),
            (
                {"jwt_secret": SECRET, "jwt_algorithm": "HS512"},
                "48 bytes long: HS512 needs at least 64",
            ),
            (
                {"jwt_secret": SECRET, "jwt_public_key": PUBLIC_PEM},
                "which checks tokens with BRIDGE_JWT_SECRET alone: unset BRIDGE_JWT_PUBLIC_KEY",
            ),
            ({"jwt_jwks": "https://host/keys"}, "unset BRIDGE_JWT_JWKS"),
            ({"jwt_private_key": PRIVATE_PEM}, "unset BRIDGE_JWT_PRIVATE_KEY"),
            ({"jwt_algorithm": "RS256"}, "is RS256 and there is no key for it"),
            ({"jwt_algorithm": "ES256", "jwt_secret": SECRET}, "unset BRIDGE_JWT_SECRET"),
            (
                {
                    "jwt_algorithm": "EdDSA",
                    "jwt_public_key": PUBLIC_PEM,
                    "jwt_jwks": "https://host/keys",
                },
                "both say whom to trust",
            ),
            (
                {**SERVERS, "nats_user": "u", "nats_password": SECRET, "nats_token": SECRET},
                "keep one: BRIDGE_NATS_USER and BRIDGE_NATS_TOKEN",
            ),
            (
                {"nats_url": f"nats://{SECRET}@host", "nats_token": SECRET},
                "keep one: BRIDGE_NATS_TOKEN and the login in BRIDGE_NATS_URL",
            ),
            ({**SERVERS, "nats_user": "u"}, "go together"),
            ({**SERVERS, "nats_password": SECRET}, "go together"),
            ({**SERVERS, "nats_tls_cert": "/dev/null"}, "BRIDGE_NATS_TLS_KEY go together"),
            ({**SERVERS, "nats_tls_key": "/dev/null"}, "BRIDGE_NATS_TLS_KEY go together"),
            ({"nats_token": SECRET}, "set BRIDGE_NATS_URL too"),
            ({"nats_tls_ca": "/dev/null"}, "set BRIDGE_NATS_URL too"),
            ({"stream_replicas": 3}, "the bridge's own NATS is one server"),
            ({"data_dir": "/dev/null"}, "which is not a folder"),
            ({"data_dir": "~nobody-here/x"}, "set BRIDGE_DATA_DIR"),
            (
                {"stream_max_age_seconds": 60},
                "WINDOW_SECONDS is 120: it must be at most BRIDGE_STREAM_MAX_AGE_SECONDS, 60",
            ),
            ({"max_batch_bytes": 1024}, "at least BRIDGE_MAX_EVENT_BYTES, 524288"),
            ({"stream_max_bytes": 1024}, "at least BRIDGE_MAX_EVENT_BYTES, 524288"),
            ({"token_max_ttl_seconds": 60}, "at most BRIDGE_TOKEN_MAX_TTL_SECONDS, 60"),
            ({"internal_port": 3001}, "BRIDGE_INTERNAL_PORT is 3001, and so is BRIDGE_PORT"),
        ],
    )
    def test_are_refused(self, given: dict[str, Any], message: str) -> None:
        assert message in refusal(**given)

    @pytest.mark.parametrize(
        "given",
        [
            {"host": "0.0.0.0", "jwt_secret": SECRET},
            {"host": "::", "jwt_algorithm": "RS256", "jwt_jwks": "https://host/keys"},
            {
                "jwt_algorithm": "EdDSA",
                "jwt_public_key": PUBLIC_PEM,
                "jwt_private_key": PRIVATE_PEM,
            },
            {**SERVERS, "nats_user": "u", "nats_password": SECRET, "stream_replicas": 5},
            {**SERVERS, "nats_tls_cert": "/dev/null", "nats_tls_key": "/dev/null"},
            {**SERVERS, "data_dir": "~/x"},
            {"stream_max_age_seconds": 60, "duplicate_window_seconds": 60},
            {"port": 0, "internal_port": 0},
        ],
    )
    def test_are_not_seen_where_there_are_none(self, given: dict[str, Any]) -> None:
        settings = load_settings(**given)
        assert all(getattr(settings, name) is not None for name in given)

    def test_without_a_home_only_the_embedded_nats_needs_a_data_folder(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("HOME")
        monkeypatch.setattr("os.path.expanduser", lambda path: path)
        assert "there is no home folder" in refusal()
        assert load_settings(**SERVERS).nats_servers == ["nats://host:4222"]


class TestSecrets:
    @pytest.mark.parametrize(
        "given",
        [
            {"nats_url": f"nats://u:{SECRET}@host:port"},
            {"nats_url": f"nats://u:{SECRET}/x@host"},
            {"jwt_algorithm": "EdDSA", "jwt_private_key": SECRET},
            {"jwt_algorithm": "EdDSA", "jwt_public_key": PRIVATE_PEM.replace("MC4", SECRET)},
            {"jwt_algorithm": "EdDSA", "jwt_public_key": f"{SECRET * 20}"},
            {"jwt_secret": SECRET, "jwt_algorithm": "RS256", "port": "x"},
            {"jwt_jwks": f"ftp://u:{SECRET}@host/keys"},
        ],
    )
    def test_are_in_no_refusal(
        self, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        refusal(**given)
        for name, value in given.items():
            monkeypatch.setenv(f"BRIDGE_{name.upper()}", value)
        refusal()

    def test_are_hidden_in_the_log(self) -> None:
        settings = load_settings(
            nats_url=f"nats://u:{SECRET}@one:4222,nats://{SECRET}@two,three",
            jwt_secret=SECRET,
        )
        shown = settings.resolved()
        assert list(shown) == list(Settings.model_fields)
        assert shown["nats_url"] == "nats://u:***@one:4222,nats://***@two,nats://three"
        assert shown["jwt_secret"] == "***"
        assert shown["nats_token"] == "unset"
        assert shown["stream_manage"] == "true"
        assert shown["ack_wait_seconds"] == "4"
        assert shown["port"] == "3001"
        assert SECRET not in repr(shown) + repr(settings.jwt_secret)

    def test_keys_are_hidden_in_the_log(self) -> None:
        shown = load_settings(
            jwt_algorithm="EdDSA",
            jwt_public_key=PUBLIC_PEM,
            jwt_private_key=PRIVATE_PEM,
        ).resolved()
        assert (shown["jwt_public_key"], shown["jwt_private_key"]) == ("PEM text", "***")

    def test_a_login_in_the_jwks_url_is_hidden_in_the_log(self) -> None:
        settings = load_settings(jwt_algorithm="RS256", jwt_jwks=f"https://u:{SECRET}@host/keys")
        assert settings.resolved()["jwt_jwks"] == "https://u:***@host/keys"


class TestDocumentation:
    """`config/bridge.yaml` is the one place where settings are documented, so it must be right."""

    def documented(self) -> str:
        lines = DOCUMENTATION.read_text().splitlines()
        return "\n".join(line[1:] for line in lines if re.match(r"#[a-z_]+:", line))

    def test_is_all_comments(self) -> None:
        assert yaml.safe_load(DOCUMENTATION.read_text()) is None

    def test_names_every_setting_once_and_nothing_else(self) -> None:
        names = re.findall(r"^([a-z_]+):", self.documented(), flags=re.MULTILINE)
        assert sorted(names) == sorted(Settings.model_fields)

    def test_gives_the_true_defaults(self) -> None:
        documented = yaml.safe_load(self.documented())
        assert documented.pop("data_dir") == "~/.local/share/agent-event-bridge"
        defaults = {
            name: field.default or None if field.default == "" else field.default
            for name, field in Settings.model_fields.items()
            if field.default is not PydanticUndefined
        }
        assert documented == defaults

    def test_can_be_uncommented_as_it_is(self, tmp_path: Path) -> None:
        text = self.documented().replace("config_dir:\n", "")
        bridge_yaml(tmp_path, text)
        found = load_settings(config_dir=tmp_path)
        assert found.resolved() == load_settings().resolved() | {"config_dir": str(tmp_path)}

    def test_explains_every_setting(self) -> None:
        blocks = DOCUMENTATION.read_text().split("\n\n")
        for block in blocks:
            if re.search(r"^#[a-z_]+:", block, flags=re.MULTILINE):
                assert block.startswith("# ")

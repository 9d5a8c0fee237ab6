"""The bridge in the rendered pods starts: the real settings code reads what is mounted there."""

from itertools import chain

import httpx

from bridge.catalog import load_catalog
from bridge.settings import Settings
from tests.chart.starting import PREFIX, Load, bridges, container_of
from tests.support import BridgeProcess
from tests.support.manifests import Object, at, of_kind, resources, workloads

CLOSING_SECONDS = 5
"""What the bridge may take, after the last answer, to close its connections."""


def test_there_is_a_bridge(objects: list[Object]) -> None:
    """In a Deployment, beside an agent, or to be put there."""
    assert bridges(objects) or of_kind(objects, "MutatingAdmissionPolicy")


def test_every_variable_is_a_setting(objects: list[Object]) -> None:
    for pod in bridges(objects):
        names = {one["name"] for one in container_of(pod)["env"]}
        given = {name.removeprefix(PREFIX).lower() for name in names if name.startswith(PREFIX)}
        assert given - set(Settings.model_fields) == set(), pod.where


def test_it_would_start(objects: list[Object], load: Load) -> None:
    for pod in bridges(objects):
        settings = load(objects, pod)
        ports = {one["name"]: one["containerPort"] for one in container_of(pod)["ports"]}
        assert settings.port == ports["http"], pod.where
        assert settings.host in {"0.0.0.0", "::"}, f"{pod.where}: probes could not reach it"
        assert settings.nats_servers, f"{pod.where}: would start a NATS of its own"
        assert settings.key_configured, f"{pod.where}: has no key for tokens"
        assert settings.data_dir.is_dir(), f"{pod.where}: {settings.data_dir} is no volume"
        assert settings.nats_name == "bridge/demo/pod-0", pod.where
        assert load_catalog(settings.config_dir).topics, pod.where


def test_probes_and_scrapes_ask_for_paths_that_are_there(
    objects: list[Object], bridge: BridgeProcess
) -> None:
    paths = httpx.get(f"{bridge.url}/openapi.json").json()["paths"]
    asked = {
        at(container_of(pod), f"{probe}.httpGet.path", "/livez")
        for pod in bridges(objects)
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    ends = [at(one, "spec.endpoints", []) for one in of_kind(objects, "ServiceMonitor")]
    asked |= {end.get("path", "/metrics") for end in chain(*ends)}
    assert {path for path in asked if "get" not in paths.get(path, {})} == set()


def test_a_rollout_may_take_as_long_as_its_pods(objects: list[Object]) -> None:
    """A bridge may drain longer than the ten minutes after which Kubernetes calls it stuck."""
    for pod in bridges(objects):
        if pod.owner["kind"] == "Deployment":
            probe = container_of(pod)["startupProbe"]
            starting = probe["periodSeconds"] * probe["failureThreshold"]
            needed = pod.spec["terminationGracePeriodSeconds"] + starting
            assert pod.owner["spec"].get("progressDeadlineSeconds", 600) > needed, pod.where


def test_it_has_memory_for_a_full_stream(objects: list[Object], load: Load) -> None:
    """Each bridge holds the whole stream: killed for it, they all would be, time and again."""
    for pod in bridges(objects):
        limit = resources.quantity(at(container_of(pod), "resources.limits.memory"))
        assert limit >= 3 * load(objects, pod).stream_max_bytes + 100 * 2**20 > 0, pod.where


def test_it_is_given_time_to_stop(objects: list[Object], load: Load) -> None:
    for pod in bridges(objects):
        settings = load(objects, pod)
        stopping = settings.drain_seconds + settings.shutdown_timeout_seconds + CLOSING_SECONDS
        assert list(workloads.grace(pod, "bridge", stopping_seconds=stopping)) == []

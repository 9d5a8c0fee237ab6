"""The check of the restricted profile refuses everything that the profile forbids."""

from typing import Any

import pytest

from tests.chart.spoiling import GONE, sample, spoilt
from tests.support.manifests import restricted

POD = "spec/template/spec"
POD_CONTEXT = f"{POD}/securityContext"
CONTAINER = f"{POD}/containers/0"
CONTEXT = f"{CONTAINER}/securityContext"
APPARMOR = "container.apparmor.security.beta.kubernetes.io/shop"

CASES: list[tuple[str, Any, str]] = [
    (f"{POD}/hostNetwork", True, "Host Namespaces: hostNetwork"),
    (f"{POD}/hostPID", True, "Host Namespaces: hostPID"),
    (f"{POD}/hostIPC", True, "Host Namespaces: hostIPC"),
    (f"{POD}/volumes/0", {"name": "config", "hostPath": {"path": "/"}}, "Volume Types: 'config'"),
    (f"{POD}/volumes/0", {"name": "config", "nfs": {}}, "Volume Types: 'config'"),
    (f"{POD}/volumes/0", {"name": "config"}, "Volume Types: 'config'"),
    (f"{POD_CONTEXT}/sysctls", [{"name": "kernel.msgmax", "value": "1"}], "Sysctls"),
    (f"{POD_CONTEXT}/runAsNonRoot", GONE, "runAsNonRoot is not true"),
    (f"{POD_CONTEXT}/runAsUser", 0, "runAsUser is 0"),
    (f"{POD_CONTEXT}/seccompProfile", GONE, "seccompProfile.type is not"),
    (f"{POD_CONTEXT}/seccompProfile/type", "Unconfined", "Seccomp: Unconfined"),
    (f"{POD_CONTEXT}/appArmorProfile", {"type": "Unconfined"}, "AppArmor: Unconfined"),
    (f"{POD_CONTEXT}/seLinuxOptions", {"type": "spc_t"}, "SELinux"),
    (f"{POD_CONTEXT}/seLinuxOptions", {"role": "admin"}, "SELinux"),
    (f"{POD_CONTEXT}/windowsOptions", {"hostProcess": True}, "HostProcess"),
    ("spec/template/metadata/annotations", {APPARMOR: "unconfined"}, "AppArmor: the annotation"),
    (CONTEXT, GONE, "Privilege Escalation"),
    (f"{CONTEXT}/privileged", True, "Privileged Containers"),
    (f"{CONTEXT}/allowPrivilegeEscalation", True, "Privilege Escalation"),
    (f"{CONTEXT}/runAsNonRoot", False, "runAsNonRoot is not true"),
    (f"{CONTEXT}/runAsUser", 0, "runAsUser is 0"),
    (f"{CONTEXT}/seccompProfile", {"type": "Unconfined"}, "Seccomp: Unconfined"),
    (f"{CONTEXT}/procMount", "Unmasked", "/proc Mount Type: Unmasked"),
    (f"{CONTEXT}/capabilities", GONE, "does not drop ALL"),
    (f"{CONTEXT}/capabilities/drop", ["NET_RAW"], "does not drop ALL"),
    (f"{CONTEXT}/capabilities/add", ["NET_BIND_SERVICE", "SYS_TIME"], "adds SYS_TIME"),
    (f"{CONTAINER}/ports/0/hostPort", 8080, "Host Ports: 8080"),
    (f"{CONTAINER}/readinessProbe/httpGet/host", "10.0.0.1", "Host Probes"),
    (f"{POD}/initContainers", [{"name": "first"}], "container 'first': Privilege Escalation"),
    (f"{POD}/ephemeralContainers", [{"name": "look"}], "container 'look': Capabilities"),
]


def test_a_restricted_application_passes() -> None:
    assert list(restricted.restricted(sample())) == []


@pytest.mark.parametrize(("path", "value", "said"), CASES, ids=[case[0] for case in CASES])
def test_what_the_profile_forbids_is_refused(path: str, value: Any, said: str) -> None:
    problems = list(restricted.restricted(spoilt("Deployment/shop", path, value)))
    assert problems
    assert all("Deployment/shop: " in problem for problem in problems)
    assert any(said in problem for problem in problems), problems


def test_a_container_may_say_for_itself_what_its_pod_does_not() -> None:
    objects = spoilt("Deployment/shop", POD_CONTEXT, GONE)
    context = objects[4]["spec"]["template"]["spec"]["containers"][0]["securityContext"]
    context |= {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert list(restricted.restricted(objects)) == []


def test_a_bare_pod_is_looked_at_too() -> None:
    problems = list(restricted.restricted(spoilt("Pod/shop-test", "spec/securityContext", GONE)))
    assert all(problem.startswith("Pod/shop-test: ") for problem in problems)
    assert len(problems) == 2

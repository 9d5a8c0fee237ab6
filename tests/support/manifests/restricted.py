"""The restricted profile of the Pod Security Standards, the baseline profile included.

Each rule is one of the tables in Kubernetes' documentation, "Pod Security Standards", under the
name that it has there. Windows pods, which are excused from some of them, are not treated.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from tests.support.manifests.objects import Container, Object, Pod, at, pods

_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim",
    "projected", "secret",
}  # fmt: skip
_SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
}
_SELINUX_TYPES = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
_SECCOMP = {"RuntimeDefault", "Localhost"}
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"


def restricted(objects: Sequence[Object]) -> Iterator[str]:
    """Every pod is admitted where a namespace enforces `restricted`."""
    for pod in pods(objects):
        yield from violations(pod)


def violations(pod: Pod) -> Iterator[str]:
    """Give what in a pod the restricted profile refuses."""
    context = pod.spec.get("securityContext") or {}
    yield from _of_pod(pod, context)
    yield from _of_context(pod.where, context)
    containers = [*pod.containers, *(pod.spec.get("ephemeralContainers") or [])]
    for container in containers:
        said = f"{pod.where}: container {container['name']!r}"
        own = container.get("securityContext") or {}
        yield from _of_context(said, own)
        yield from _of_container(said, container, own)
        if own.get("runAsNonRoot", context.get("runAsNonRoot")) is not True:
            yield f"{said}: Running as Non-root: runAsNonRoot is not true"
        if at(own, "seccompProfile.type", at(context, "seccompProfile.type")) not in _SECCOMP:
            yield f"{said}: Seccomp: seccompProfile.type is not RuntimeDefault"


def _of_pod(pod: Pod, context: Object) -> Iterator[str]:
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.spec.get(name):
            yield f"{pod.where}: Host Namespaces: {name}"
    for volume in pod.spec.get("volumes") or []:
        kinds = set(volume) - {"name"}
        if not kinds or not kinds <= _VOLUMES:
            yield f"{pod.where}: Volume Types: {volume['name']!r} is {sorted(kinds)}"
    for sysctl in context.get("sysctls") or []:
        if sysctl["name"] not in _SYSCTLS:
            yield f"{pod.where}: Sysctls: {sysctl['name']}"
    for key, value in (pod.metadata.get("annotations") or {}).items():
        allowed = value == "runtime/default" or str(value).startswith("localhost/")
        if key.startswith(_APPARMOR) and not allowed:
            yield f"{pod.where}: AppArmor: the annotation {key} is {value}"


def _of_context(said: str, context: Object) -> Iterator[str]:
    """What the profile says of a security context, whether a pod's or a container's."""
    if context.get("runAsUser") == 0:
        yield f"{said}: Running as Non-root user: runAsUser is 0"
    if at(context, "seccompProfile.type", "RuntimeDefault") not in _SECCOMP:
        yield f"{said}: Seccomp: {at(context, 'seccompProfile.type')}"
    if at(context, "appArmorProfile.type", "RuntimeDefault") not in _SECCOMP:
        yield f"{said}: AppArmor: {at(context, 'appArmorProfile.type')}"
    if at(context, "windowsOptions.hostProcess"):
        yield f"{said}: HostProcess"
    options = context.get("seLinuxOptions") or {}
    if options.get("type", "") not in _SELINUX_TYPES or options.get("user") or options.get("role"):
        yield f"{said}: SELinux: {options}"


def _of_container(said: str, container: Container, context: Object) -> Iterator[str]:
    if context.get("privileged"):
        yield f"{said}: Privileged Containers"
    if context.get("allowPrivilegeEscalation") is not False:
        yield f"{said}: Privilege Escalation: allowPrivilegeEscalation is not false"
    if context.get("procMount", "Default") != "Default":
        yield f"{said}: /proc Mount Type: {context['procMount']}"
    capabilities = context.get("capabilities") or {}
    if "ALL" not in (capabilities.get("drop") or []):
        yield f"{said}: Capabilities: does not drop ALL"
    if added := set(capabilities.get("add") or []) - {"NET_BIND_SERVICE"}:
        yield f"{said}: Capabilities: adds {', '.join(sorted(added))}"
    for port in container.get("ports") or []:
        if port.get("hostPort"):
            yield f"{said}: Host Ports: {port['hostPort']}"
    yield from _hosts(said, container)


def _hosts(said: str, container: Container) -> Iterator[str]:
    """Since 1.34 probes and hooks may not name a host: that asks from the node's network."""
    for path in (
        "livenessProbe", "readinessProbe", "startupProbe", "lifecycle.postStart",
        "lifecycle.preStop",
    ):  # fmt: skip
        for how in ("httpGet", "tcpSocket"):
            host: Any = at(container, f"{path}.{how}.host")
            if host:
                yield f"{said}: Host Probes / Lifecycle Hooks: {path} asks {host}"

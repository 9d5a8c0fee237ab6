"""Autoscaling: the autoscaler reads what it scales by."""

from tests.kubernetes.cluster import NAME, Cluster


def test_the_autoscaler_reads_what_bridges_use(cluster: Cluster) -> None:
    with cluster.changed("--set", "autoscaling.enabled=true"):
        active = "--for=condition=ScalingActive"
        cluster.kubectl("wait", active, f"hpa/{NAME}", "--timeout=120s")
        (metric,) = cluster.get("hpa", NAME)["status"]["currentMetrics"]
        assert metric["resource"]["name"] == "cpu"
        assert metric["resource"]["current"]["averageUtilization"] >= 0

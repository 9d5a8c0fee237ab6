# What the lab's scripts share: where everything is, versions and addresses. Sourced.
lab=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=${KUBERNETES_LAB:-${XDG_CACHE_HOME:-$HOME/.cache}/agent-event-bridge/kubernetes}
bin=$work/bin run=$work/run logs=$work/logs pki=$work/pki data=$work/data

kubernetes=v1.36.3 etcd=v3.6.12 containerd=v2.2.9 coredns=v1.14.7
metrics_server=v0.8.0 kube_router=v2.1.0 natscli=v0.3.0

# These exist in the machine's own network namespace only.
node=node-1 node_ip=10.243.0.1 api_port=43443 etcd_port=43379 etcd_peer_port=43380
pods=10.244.0.0/24 services=10.245.0.0/16 api_ip=10.245.0.1 dns_ip=10.245.0.10
sock=$run/volatile/containerd.sock

export KUBECONFIG=$pki/admin.conf PATH=$bin:$PATH
mkdir -p "$bin" "$run" "$logs" "$data"

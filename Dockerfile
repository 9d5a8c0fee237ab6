# The bridge for production, with the extra `server`: it points at a NATS of its own.
#
#   docker build -t agent-event-bridge:0.1.0 .
#
# What comes out holds Python, the libraries that it loads, and the bridge; no shell, no package
# manager, no nats-server. It needs neither a writable root nor a capability, nor BuildKit.

# Any Debian with Python 3.11 or newer, its venv, and ca-certificates. A tag moves; for the same base
# each time, name it by its digest: --build-arg BASE=python:3.13-slim-trixie@sha256:…
ARG BASE=python:3.13-slim-trixie

# --- Python and the dependencies: built again only when they change -------------------------------

FROM ${BASE} AS runtime

# Another package index than pip's own. pip reads these itself; arguments of this stage are not
# recorded in the image.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL

# pip has an environment of its own, so that the one that goes into the image never has it. The
# latter names the interpreter by its real path, the only one that is copied.
RUN python3 -m venv /pip \
    && "$(realpath "$(command -v python3)")" -m venv --without-pip /opt/bridge

WORKDIR /src
COPY pyproject.toml constraints.txt ./
RUN python3 -c 'import tomllib; \
project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
print(*project["optional-dependencies"]["server"], *project["optional-dependencies"]["mcp"], sep="\n")' >server.txt \
    && /pip/bin/pip --python /opt/bridge/bin/python install \
        --no-cache-dir --no-compile -c constraints.txt -r server.txt

# The image's root: the environment, the interpreter with its library, every shared library that one
# of them loads, the public certificate authorities, and the Debian packages' entries, by which
# scanners know what is there. Bytecode is not checked against its source, which cannot change either.
RUN set -eu; \
    interpreter=$(realpath /opt/bridge/bin/python); \
    stdlib=$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))'); \
    for unused in site-packages 'config-*' ensurepip idlelib test tkinter 'lib-dynload/_tkinter*' \
        turtledemo; do \
        rm -rf "$stdlib"/$unused; \
    done; \
    find "$stdlib" -name __pycache__ -prune -exec rm -r {} +; \
    /opt/bridge/bin/python -m compileall -q --invalidation-mode unchecked-hash \
        "$stdlib" /opt/bridge/lib; \
    find "$interpreter" "$stdlib" /opt/bridge -type f \( -path "$interpreter" -o -name '*.so*' \) \
        -exec ldd {} + >/loads; \
    if grep 'not found' /loads; then exit 1; fi; \
    libraries=$(sed -nE 's/^.*[[:space:]](\/[^ ]+) \(0x.*/\1/p' /loads | sort -u); \
    mkdir -p /image/var/lib/dpkg/status.d; \
    cp --parents -L -t /image $libraries \
        /etc/ld.so.cache /etc/os-release /etc/ssl/certs/ca-certificates.crt; \
    cp --parents -a -t /image "$interpreter" "$stdlib" /opt/bridge; \
    dpkg -S $(realpath "$interpreter" $libraries) 2>/dev/null | cut -d: -f1 | sort -u \
        | while read -r package; do \
            dpkg -s "$package" >"/image/var/lib/dpkg/status.d/$package"; \
        done

# --- The bridge: built again whenever it changes --------------------------------------------------

FROM runtime AS bridge
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL

COPY README.md LICENSE ./
COPY config config
COPY bridge bridge
RUN /pip/bin/pip --python /opt/bridge/bin/python install \
        --no-cache-dir --no-compile --no-deps -c constraints.txt --root /layer . \
    && /opt/bridge/bin/python -m compileall -q --invalidation-mode unchecked-hash \
        -s /layer /layer

# --- The image ------------------------------------------------------------------------------------

FROM scratch
COPY --from=runtime /image /
COPY --from=bridge /layer /

ARG VERSION=0.1.0
ARG REVISION=""
ARG SOURCE=""
ARG BASE
ARG BASE_DIGEST=""
LABEL org.opencontainers.image.title="agent-event-bridge" \
      org.opencontainers.image.description="Agents coordinate over plain HTTP; every event lives in NATS JetStream." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.base.name="${BASE}" \
      org.opencontainers.image.base.digest="${BASE_DIGEST}"

# Reachable from outside the container, which is why the bridge refuses to start without a key.
# OpenSSL by itself would look for certificates under /usr/lib/ssl, which is not here.
ENV PATH=/opt/bridge/bin \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    BRIDGE_HOST=0.0.0.0
USER 65532:65532
EXPOSE 3001
ENTRYPOINT ["bridge"]
CMD ["serve"]

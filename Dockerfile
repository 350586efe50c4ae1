# One file, an image a target: `docker build --target master .`, or worker, or bot.
# The code is in /opt/autogate, its Python environment in /opt/venv, all state in /var/lib/autogate.

FROM debian:trixie-slim AS base
# Debian keeps one version of a package per release: a pinned one could not be installed after the next security update.
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        ca-certificates git openssh-client python3 tini \
    && apt-get clean && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 autogate \
    && useradd --uid 10001 --gid autogate --home-dir /var/lib/autogate --no-create-home --shell /bin/sh autogate \
    && install -d -o autogate -g autogate -m 0700 /var/lib/autogate
# (AUTOGATE_SECRETS is a folder's name, not a secret.)
# hadolint ignore=DL3064
ENV AUTOGATE_CONFIG=/etc/autogate \
    AUTOGATE_SECRETS=/run/secrets \
    AUTOGATE_STATE=/var/lib/autogate \
    HOME=/var/lib/autogate \
    LANG=C.UTF-8 \
    PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1
# not the state's folder: Python would take the master's folder in it for the package of that name
WORKDIR /opt/autogate

FROM base AS build
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3-venv \
    && apt-get clean && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/venv

FROM build AS build-master
COPY requirements/master.txt requirements/
RUN pip install --no-cache-dir --require-hashes -r requirements/master.txt
COPY . .
# Editable, since the entry points and Buildbot's configuration are used where they stand.
RUN pip install --no-cache-dir --no-deps --no-build-isolation -e . \
    && pip uninstall -y pip \
    && python3 -m compileall -q .

FROM build AS build-worker
COPY requirements/master.txt requirements/worker.txt requirements/
# What builds the package is locked with the master, and does not stay.
RUN awk '/^[^ ]/ {wanted = /^setuptools==/} wanted' requirements/master.txt >/tmp/build.txt \
    && pip install --no-cache-dir --require-hashes -r requirements/worker.txt -r /tmp/build.txt
COPY . .
RUN pip install --no-cache-dir --no-deps --no-build-isolation -e . \
    && pip uninstall -y setuptools pip \
    && python3 -m compileall -q .

FROM build AS build-bot
COPY requirements/master.txt requirements/bot.txt requirements/
RUN awk '/^[^ ]/ {wanted = /^setuptools==/} wanted' requirements/master.txt >/tmp/build.txt \
    && pip install --no-cache-dir --require-hashes -r requirements/bot.txt -r /tmp/build.txt
COPY . .
RUN pip install --no-cache-dir --no-deps --no-build-isolation -e . \
    && pip uninstall -y setuptools pip \
    && rm -r custom_steps master worker \
    && python3 -m compileall -q .

FROM base AS master
# hadolint ignore=DL3008
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends fonts-dejavu-core libcairo2 \
    && apt-get clean && rm -rf /var/lib/apt/lists/*
COPY --from=build-master /opt/venv /opt/venv
COPY --from=build-master /opt/autogate /opt/autogate
USER 10001:10001
EXPOSE 8010 9989
# Buildbot's clean shutdown: running builds finish, no new ones start.
STOPSIGNAL SIGUSR1
HEALTHCHECK --interval=5s --timeout=5s --start-period=120s --retries=6 CMD ["/opt/autogate/master/healthcheck"]
ENTRYPOINT ["tini", "--"]
CMD ["/opt/autogate/master/entrypoint"]

FROM base AS worker
COPY --from=build-worker /opt/venv /opt/venv
COPY --from=build-worker /opt/autogate /opt/autogate
USER 10001:10001
# The worker's graceful shutdown: running builds finish, the master gives it no new ones.
STOPSIGNAL SIGHUP
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=24 \
    CMD ["sh", "-c", "test -e \"$AUTOGATE_STATE/worker/connected\""]
ENTRYPOINT ["tini", "--"]
CMD ["/opt/autogate/worker/entrypoint"]

FROM base AS bot
COPY --from=build-bot /opt/venv /opt/venv
COPY --from=build-bot /opt/autogate /opt/autogate
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=12 CMD ["/opt/autogate/review_bot/healthcheck"]
ENTRYPOINT ["tini", "--"]
CMD ["/opt/autogate/review_bot/entrypoint"]

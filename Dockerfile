# The image of all services of docker-compose.yml except Postgres and Redis.

FROM python:3.11.15-slim-bookworm AS build
# An additional package index, for torch's CPU build. If empty, the CUDA build is installed, which
# is several GB larger.
ARG TORCH_INDEX=""
ENV PIP_EXTRA_INDEX_URL=${TORCH_INDEX} PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/mernet
ENV PATH=/opt/mernet/bin:$PATH
WORKDIR /source
# Dependencies are installed first: this layer is reused while only our code changes. torch's headers
# and C++ tests are removed, 145 MB that no Python program reads.
COPY pyproject.toml README.md LICENSE ./
RUN pip install . \
    && rm -rf /opt/mernet/lib/python3.11/site-packages/torch/include \
              /opt/mernet/lib/python3.11/site-packages/torch/test
# The package mernet contains symbolic links to the folders below.
COPY mernet mernet
COPY pds pds
COPY model model
COPY db db
COPY worker worker
COPY cli cli
COPY demo demo
RUN pip install --no-deps --force-reinstall .

FROM python:3.11.15-slim-bookworm
LABEL org.opencontainers.image.title="mernet" \
      org.opencontainers.image.description="Classifies the Mars Exploration Rover Pancam images of the Planetary Data System" \
      org.opencontainers.image.licenses="Apache-2.0"
# The data folder must exist, because a new volume takes its owner from it.
RUN useradd --uid 10001 --home-dir /var/lib/mernet --create-home --skel /dev/null --shell /usr/sbin/nologin mernet
COPY --from=build /opt/mernet /opt/mernet
ENV PATH=/opt/mernet/bin:$PATH PYTHONUNBUFFERED=1 PYTHONSAFEPATH=1
USER mernet
WORKDIR /var/lib/mernet
CMD ["mernet", "--help"]

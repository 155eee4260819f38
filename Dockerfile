# A server in a container; see docs/operations.md. Two stages: what compiles stays behind.
#
#     docker build -t salon .
#     docker run -p 5599:5599 -v salon:/data salon
#
# Salon's own model comes with it. Another one: -v /models:/models:ro, and --model /models/NAME behind the options below.

FROM python:3.12-slim-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN python -m venv /opt/salon \
    && /opt/salon/bin/pip install --no-cache-dir ".[postgres]"

FROM python:3.12-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /data --create-home salon
COPY --from=build /opt/salon /opt/salon
ENV PATH=/opt/salon/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    XDG_CONFIG_HOME=/data/config
USER 10001
VOLUME /data
EXPOSE 5599
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:5600/metrics', timeout=4)"]
ENTRYPOINT ["salon", "serve", "--data", "/data", "--listen", "tcp://0.0.0.0:5599", "--metrics", "127.0.0.1:5600", "--http", "off"]
CMD ["--json"]

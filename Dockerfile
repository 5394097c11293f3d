# The sluice binary on a small Debian, run by a user of its own.
#
#   docker build -t sluice .
#   docker run --rm sluice --help

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The caches stay with the builder: only what changed is compiled again.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin sluice \
    && cp target/release/sluice /usr/local/bin/sluice

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /var/lib/sluice sluice \
    && install -d -o sluice -m 700 /var/lib/sluice/data /var/lib/sluice/objects
COPY --from=build /usr/local/bin/sluice /usr/local/bin/sluice
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/sluice/

USER sluice
WORKDIR /var/lib/sluice
ENV SLUICE_DATA=/var/lib/sluice/data \
    SLUICE_LOG_FORMAT=json
EXPOSE 8080
# The API's address within the container. Other commands bring a check of their own, see compose.yaml.
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s \
    CMD curl --fail --silent --show-error http://127.0.0.1:8080/healthz
ENTRYPOINT ["sluice"]
CMD ["serve", "--listen", "0.0.0.0:8080"]

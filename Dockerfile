# The image of the service: docker build --tag identity:0.1.0 .
# It needs BuildKit (docker 23 or later) or buildah.
FROM rust:1-slim-bookworm AS build
WORKDIR /src
COPY . .
# The caches are not part of the image. The binary is copied out of the cache of the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin identity && \
    strip --strip-all -o /identity target/release/identity

FROM debian:bookworm-slim
COPY --from=build /identity /usr/local/bin/identity
# The licences of the service, and of what its pages /docs and /graph are made of.
COPY LICENSE-APACHE LICENSE-MIT /usr/share/doc/identity/
COPY third_party/swagger-ui/LICENSE third_party/swagger-ui/NOTICE /usr/share/doc/identity/swagger-ui/
COPY third_party/swagger-ui/swagger-ui-bundle.js.LICENSE.txt /usr/share/doc/identity/swagger-ui/
COPY third_party/cytoscape/LICENSE /usr/share/doc/identity/cytoscape/
# A user that no file belongs to. Kubernetes accepts only numbers as not root.
USER 65532:65532
# All addresses: a container has a network of its own. Without TOKENS_FILE the service refuses to start.
ENV GRPC_ADDR=0.0.0.0:50051 \
    HTTP_ADDR=0.0.0.0:3000 \
    METRICS_ADDR=0.0.0.0:9464
EXPOSE 50051 3000 9464
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["identity", "healthcheck"]
ENTRYPOINT ["identity"]
CMD ["serve"]

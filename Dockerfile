# syntax=docker/dockerfile:1

# Both images are pinned: what is built today is what was checked. docs/image.md says how to move the digests.
ARG BUILD_IMAGE=docker.io/library/node:26.10.0-trixie-slim@sha256:ec7758ee051e457b468b32bde57b0879010b325bb9862718e9615225ce4aaae1
ARG RUNTIME_IMAGE=gcr.io/distroless/nodejs26-debian13:nonroot@sha256:afc6657a4b662f9cb69ca892b0596e55d6ef81a10e83ee8887b13f602877df89

# ---- The programs: the same JavaScript for every platform, so it is built on the builder's ---------------------------
FROM --platform=$BUILDPLATFORM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
RUN npm ci --no-audit --no-fund
COPY . .
RUN npm run build

# ---- The image: Node, the programs, and nothing else -----------------------------------------------------------------
FROM ${RUNTIME_IMAGE}
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="credential-injector" \
      org.opencontainers.image.description="Credentials for Kubernetes pods by name: a mutating admission webhook and its controller" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/credential-injector/credential-injector" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV NODE_ENV=production
WORKDIR /app
# Owned by root: the program cannot change itself, even where the root file system can be written to.
COPY --from=build /src/dist/credential-injector.js /src/dist/webhook*.js /src/dist/controller*.js /src/dist/package.json ./
COPY --from=build /src/LICENSE /src/dist/THIRD_PARTY_LICENSES ./
# As a number, so that Kubernetes sees that it is not root.
USER 65532:65532
# 8443 is the webhook's; 9090 has health and metrics.
EXPOSE 8443 9090
# As `npm start` has them: garbage of reviews dies young, and code that is compiled less often takes less memory. The heap's
# limit belongs to the container's, so it is set where that is: NODE_OPTIONS=--max-old-space-size=… in the Deployment.
ENTRYPOINT ["/nodejs/bin/node", "--max-semi-space-size=8", "--no-maglev", "/app/credential-injector.js"]
CMD ["serve"]

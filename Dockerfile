# One image for every target: docker run IMAGE server|gateway|metadata|artifacts|gc-worker|gc [options]
FROM node:24-bookworm-slim AS packages
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
COPY packages/kit/package.json packages/kit/
COPY packages/rest/package.json packages/rest/
COPY proto/package.json proto/
COPY services/artifacts/package.json services/artifacts/
COPY services/gateway/package.json services/gateway/
COPY services/gc-worker/package.json services/gc-worker/
COPY services/metadata/package.json services/metadata/
COPY services/server/package.json services/server/
COPY services/server/bin services/server/bin

# Generated code needs development packages, which stay behind.
FROM packages AS build
RUN npm ci
COPY . .
RUN npm run generate

# Without the optional packages: the image's own Node is the right one.
FROM packages AS run
ENV NODE_ENV=production
RUN npm ci --omit=dev --omit=optional && npm cache clean --force
COPY --from=build /app/packages packages
COPY --from=build /app/proto proto
COPY --from=build /app/prisma prisma
COPY --from=build /app/scripts scripts
COPY --from=build /app/services services
RUN mkdir -p .cache /data && chown node:node .cache /data
ENV MLFLOW_HOST=0.0.0.0 MILLRACE_HOST=0.0.0.0 MILLRACE_LOG_FORMAT=json
USER node
WORKDIR /data
VOLUME /data
ENTRYPOINT ["/app/services/server/bin/millrace"]
CMD ["server"]
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --start-interval=1s \
  CMD ["node", "/app/scripts/health.mjs"]

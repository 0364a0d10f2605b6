# The server on a root that may be read-only, as a user of its own. All that it writes is in /data. README.md says how to run it.

FROM node:22-slim AS build
WORKDIR /build
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY asconfig.json tsconfig.json tsconfig.build.json ./
COPY scripts/clean.mjs scripts/
COPY src src
RUN npm run build
RUN npm ci --ignore-scripts --no-audit --no-fund --omit=dev

FROM node:22-slim
# Other machines can reach it then, which it refuses to serve until TALLYSTICK_ALLOW_OPEN=true, or --allow-open, says so.
ENV NODE_ENV=production TALLYSTICK_DATA_DIR=/data TALLYSTICK_LISTEN=0.0.0.0
# What threads have freed goes back to the system, and is kept in few places. Otherwise the C library keeps up to some megabytes a thread, and ever more.
ENV MALLOC_TRIM_THRESHOLD_=131072 MALLOC_ARENA_MAX=4
WORKDIR /app
COPY package.json ./
COPY bin bin
COPY --from=build /build/node_modules node_modules
COPY --from=build /build/dist dist
RUN ln -s /app/bin/tallystick.cjs /usr/local/bin/tallystick
RUN install --directory --owner=node --group=node --mode=0700 /data
USER node
VOLUME /data
EXPOSE 7070
STOPSIGNAL SIGTERM
# Through the command line and every lane. A long log is replayed before it serves.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5m --retries=3 \
  CMD tallystick ping --timeout 4 --server "tallystick://127.0.0.1:${TALLYSTICK_PORT:-7070}"
ENTRYPOINT ["tallystick"]
CMD ["serve"]

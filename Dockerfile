# One image with every role, named by argument (docker run cairn signal), and one for each role:
#   docker build -t cairn .
#   docker build -t ghcr.io/moukrea/cairn-server --target cairn-server .
FROM denoland/deno:2.9.6 AS build
WORKDIR /source
COPY . .
RUN deno task build

# Deno stays in the image for the portable form of cairn, which the build makes where it must.
FROM denoland/deno:2.9.6 AS cairn
COPY --from=build /source/cairn /usr/local/bin/cairn
COPY packaging/bin/ /usr/local/bin/
RUN install -d -o deno -g deno -m 0700 /data /secrets
USER deno
ENV CAIRN_DATA_DIR=/data CAIRN_MGMT_BIND=0.0.0.0
VOLUME /data
# 443 and 8443 signal, 3478 relay, 9090 management and links, 9091 links.
EXPOSE 443 3478 3478/udp 8443 9090 9091
# It asks whatever role the settings say is there.
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s CMD ["cairn", "health"]
ENTRYPOINT ["cairn"]
CMD ["server"]

FROM cairn AS cairn-signal
ENTRYPOINT ["cairn-signal"]
CMD []

FROM cairn AS cairn-relay
ENTRYPOINT ["cairn-relay"]
CMD []

FROM cairn AS cairn-server
ENTRYPOINT ["cairn-server"]
CMD []

# The last one is what docker build makes without --target.
FROM cairn

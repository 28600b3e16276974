FROM denoland/deno:2.9.6 AS build
WORKDIR /source
COPY . .
RUN deno task build

# Deno stays in the image for the portable form of cairn, which the build makes where it must.
FROM denoland/deno:2.9.6
COPY --from=build /source/cairn /usr/local/bin/cairn
RUN install -d -o deno -g deno -m 0700 /data
USER deno
ENV CAIRN_DATA_DIR=/data CAIRN_MGMT_BIND=0.0.0.0
VOLUME /data
# 443 and 8443 signal, 3478 relay, 9090 management and links, 9091 links.
EXPOSE 443 3478 3478/udp 8443 9090 9091
ENTRYPOINT ["cairn"]
CMD ["server"]

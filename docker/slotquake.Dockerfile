# The image of slotquake itself, for a released binary.
#
#   docker build -t slotquake -f docker/slotquake.Dockerfile FOLDER
#
# FOLDER holds the program as `slotquake`. Servers come from an image's PATH, the cache (/cache), or pip. Network faults need
# namespaces: docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined. Reports are written to /reports.
FROM debian:stable-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates iproute2 nftables python3-pip redis-server util-linux \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -m 1777 /cache /reports
COPY slotquake /usr/bin/slotquake
ENV SLOTQUAKE_CACHE=/cache
WORKDIR /reports
VOLUME ["/cache", "/reports"]
ENTRYPOINT ["slotquake"]
CMD ["--help"]

# What cuts, narrows and tries the links between containers: nft, ip, and a shell that can connect.
#
#   docker build -t slotquake-netfault:1 -f docker/netfault.Dockerfile docker
#
# `slotquake run --backend docker` starts it beside each node with NET_ADMIN, in that node's network and
# nothing else; another image with these programs can be named with --netfault-image.
FROM debian:stable-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends bash coreutils iproute2 nftables \
    && rm -rf /var/lib/apt/lists/*
CMD ["sh"]

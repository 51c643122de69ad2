# The sidecar that cuts, narrows and probes the links between containers: nft, ip, and a shell that can connect.
#
#   docker build -t slotquake-netfault:1 -f docker/netfault.Dockerfile docker
#
# `slotquake run --backend docker` starts one beside each node, in that node's network, with the capability NET_ADMIN
# only. --netfault-image names another image with these programs.
FROM debian:stable-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends bash coreutils iproute2 nftables \
    && rm -rf /var/lib/apt/lists/*
CMD ["sh"]

//! Addresses for a cluster of containers: an unused subnet, with nodes in its lower half and clients in its upper half.

use std::hash::{BuildHasher, RandomState};
use std::net::Ipv4Addr;

use testcontainers::bollard::errors::Error;
use testcontainers::bollard::models::{Ipam, IpamConfig, NetworkCreateRequest};
use testcontainers::bollard::query_parameters::ListNetworksOptions;

use crate::cluster::containers::{DockerError, Engine, Labels, api};

/// The number of subnets to try.
pub const CHOICES: u16 = 256;

/// The largest number of nodes.
pub const MAX_NODES: usize = 250;

/// The largest number of clients.
pub const MAX_CLIENTS: usize = 254;

/// A network of 510 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    base: u32,
}

const PREFIX: u32 = 23;

impl Subnet {
    /// One of the [`CHOICES`], from 10.213.0.0/23 on: private addresses that few networks use.
    pub fn choice(number: u16) -> Self {
        let base = u32::from(Ipv4Addr::new(10, 213, 0, 0)) + (u32::from(number % CHOICES) << (32 - PREFIX));
        Self { base }
    }

    /// The host's address.
    pub fn gateway(self) -> Ipv4Addr {
        (self.base + 1).into()
    }

    /// The address of a node by its index, from 0.
    pub fn node(self, index: usize) -> Ipv4Addr {
        (self.base + 2 + index as u32).into()
    }

    /// The address of a client by its index, from 0.
    pub fn client(self, index: usize) -> Ipv4Addr {
        (self.base + 257 + index as u32).into()
    }

    /// Whether it overlaps another subnet, such as `172.17.0.0/16`. False for text that is no IPv4 subnet.
    pub fn overlaps(self, other: &str) -> bool {
        let Some((address, prefix)) = other.split_once('/') else { return false };
        let (Ok(address), Ok(prefix)) = (address.parse::<Ipv4Addr>(), prefix.parse::<u32>()) else { return false };
        let prefix = prefix.min(PREFIX);
        let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
        u32::from(address) & mask == self.base & mask
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{PREFIX}", Ipv4Addr::from(self.base))
    }
}

/// The subnets of this system's routes except the default route, from the text of `/proc/net/route`.
pub fn routes(table: &str) -> Vec<String> {
    let hexadecimal = |word: Option<&&str>| u32::from_str_radix(word?, 16).ok().map(u32::swap_bytes);
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (to, mask) = (hexadecimal(words.get(1))?, hexadecimal(words.get(7))?);
            (mask != 0).then(|| format!("{}/{}", Ipv4Addr::from(to), mask.count_ones()))
        })
        .collect()
}

/// The name of the host's interface of a run's network. The kernel allows 15 characters.
pub(super) fn bridge(run: &str) -> String {
    format!("sq-{run}")
}

/// Creates the cluster's network on a subnet that neither the engine nor this system uses.
pub(super) async fn make_network(engine: &Engine, run: &str, labels: &Labels) -> Result<Subnet, DockerError> {
    let name = format!("slotquake-{run}");
    let known = engine.client.list_networks(None::<ListNetworksOptions>).await.map_err(api("listing networks"))?;
    let known =
        known.into_iter().filter_map(|network| network.ipam?.config).flatten().filter_map(|config| config.subnet);
    let routes = routes(&std::fs::read_to_string("/proc/net/route").unwrap_or_default());
    let taken: Vec<String> = known.chain(routes).collect();
    let (mut tried, mut reason) = (0, "all are in use".to_owned());
    // Start at a random subnet, because several harnesses may start at the same time.
    let first = RandomState::new().hash_one("subnet") as u16 % CHOICES;
    for number in 0..CHOICES {
        let subnet = Subnet::choice((first + number) % CHOICES);
        if taken.iter().any(|other| subnet.overlaps(other)) {
            continue;
        }
        tried += 1;
        let config = IpamConfig {
            subnet: Some(subnet.to_string()),
            gateway: Some(subnet.gateway().to_string()),
            ..Default::default()
        };
        let request = NetworkCreateRequest {
            name: name.clone(),
            driver: Some("bridge".to_owned()),
            ipam: Some(Ipam { config: Some(vec![config]), ..Default::default() }),
            options: Some([("com.docker.network.bridge.name".to_owned(), bridge(run))].into()),
            labels: Some(labels.clone()),
            ..Default::default()
        };
        match engine.client.create_network(request).await {
            Ok(_) => return Ok(subnet),
            // It was taken meanwhile, or its use is not visible here.
            Err(Error::DockerResponseServerError { message, .. }) if is_clash(&message) => reason = message,
            Err(error) => return Err(api(format!("creating network {name}"))(error)),
        }
    }
    Err(DockerError::Subnets { tried, reason })
}

fn is_clash(message: &str) -> bool {
    ["overlap", "conflict", "not available", "already in use"].iter().any(|word| message.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_and_clients_have_separate_addresses() {
        let subnet = Subnet::choice(3);
        assert_eq!(subnet.to_string(), "10.213.6.0/23");
        assert_eq!(subnet.gateway(), Ipv4Addr::new(10, 213, 6, 1));
        for (index, node, client) in
            [(0, [10, 213, 6, 2], [10, 213, 7, 1]), (249, [10, 213, 6, 251], [10, 213, 7, 250])]
        {
            assert_eq!((subnet.node(index), subnet.client(index)), (node.into(), client.into()));
        }
        assert_eq!(Subnet::choice(255).to_string(), "10.214.254.0/23");
    }

    #[test]
    fn detects_overlapping_subnets() {
        let subnet = Subnet::choice(3);
        for (other, expected) in [
            ("10.213.6.0/23", true),
            ("10.213.7.128/25", true),
            ("10.0.0.0/8", true),
            ("0.0.0.0/0", true),
            ("10.213.8.0/23", false),
            ("172.17.0.0/16", false),
            ("fe80::/10", false),
            ("nonsense", false),
        ] {
            assert_eq!(subnet.overlaps(other), expected, "{other}");
        }
    }

    #[test]
    fn reads_routes() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        assert_eq!(routes(table), ["172.17.0.0/16"]);
    }

    #[test]
    fn the_interface_name_is_short_enough_for_the_kernel() {
        assert!(bridge(&crate::cluster::new_run()).len() <= 15);
        assert_ne!(crate::cluster::new_run(), crate::cluster::new_run());
    }

    #[test]
    fn recognises_a_taken_subnet_by_the_error() {
        for (message, expected) in [
            ("Pool overlaps with other one on this address space", true),
            ("conflicts with network 1234 (br-1): networks have overlapping IPv4", true),
            ("no such driver", false),
        ] {
            assert_eq!(is_clash(message), expected, "{message}");
        }
    }
}

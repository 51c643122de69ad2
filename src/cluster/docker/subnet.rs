//! Addresses for a cluster of containers: a subnet that nothing else uses, nodes in its lower half,
//! clients in its upper.

use std::hash::{BuildHasher, RandomState};
use std::net::Ipv4Addr;

use testcontainers::bollard::errors::Error;
use testcontainers::bollard::models::{Ipam, IpamConfig, NetworkCreateRequest};
use testcontainers::bollard::query_parameters::ListNetworksOptions;

use crate::cluster::containers::{DockerError, Engine, Labels, api};

/// How many subnets are tried.
pub const CHOICES: u16 = 256;

/// The most nodes that fit.
pub const MAX_NODES: usize = 250;

/// The most clients that fit.
pub const MAX_CLIENTS: usize = 254;

/// One network of 510 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    base: u32,
}

const PREFIX: u32 = 23;

impl Subnet {
    /// One of the [`CHOICES`]: 10.213.0.0/23 and on. Private addresses that few networks use.
    pub fn choice(number: u16) -> Self {
        let base = u32::from(Ipv4Addr::new(10, 213, 0, 0)) + (u32::from(number % CHOICES) << (32 - PREFIX));
        Self { base }
    }

    /// The host's own address.
    pub fn gateway(self) -> Ipv4Addr {
        (self.base + 1).into()
    }

    /// Of a node by its place, from 0.
    pub fn node(self, index: usize) -> Ipv4Addr {
        (self.base + 2 + index as u32).into()
    }

    /// Of a client by its place, from 0.
    pub fn client(self, index: usize) -> Ipv4Addr {
        (self.base + 257 + index as u32).into()
    }

    /// Whether it has an address in common with another, such as `172.17.0.0/16`. What is no subnet of
    /// IPv4 is none of ours.
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

/// Subnets that this system has routes to, but for its default route, from the text of
/// `/proc/net/route`.
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

/// The interface of a run's network on the host. The kernel takes 15 characters.
pub(super) fn bridge(run: &str) -> String {
    format!("sq-{run}")
}

/// Makes the cluster's network, on a subnet that neither the engine nor this system uses.
pub(super) async fn make_network(engine: &Engine, run: &str, labels: &Labels) -> Result<Subnet, DockerError> {
    let name = format!("slotquake-{run}");
    let known = engine.client.list_networks(None::<ListNetworksOptions>).await.map_err(api("listing networks"))?;
    let known =
        known.into_iter().filter_map(|network| network.ipam?.config).flatten().filter_map(|config| config.subnet);
    let routes = routes(&std::fs::read_to_string("/proc/net/route").unwrap_or_default());
    let taken: Vec<String> = known.chain(routes).collect();
    let (mut tried, mut reason) = (0, "every one of them is in use".to_owned());
    // Harnesses that start at once begin at different places.
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
            // Somebody took it just now, or uses it where we cannot see.
            Err(Error::DockerResponseServerError { message, .. }) if is_clash(&message) => reason = message,
            Err(error) => return Err(api(format!("making network {name}"))(error)),
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
    fn nodes_and_clients_have_addresses_of_their_own() {
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
    fn subnets_overlap_where_one_holds_the_other() {
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
    fn routes_are_read() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        assert_eq!(routes(table), ["172.17.0.0/16"]);
    }

    #[test]
    fn the_host_s_end_of_a_network_has_a_name_that_the_kernel_takes() {
        assert!(bridge(&crate::cluster::new_run()).len() <= 15);
        assert_ne!(crate::cluster::new_run(), crate::cluster::new_run());
    }

    #[test]
    fn a_subnet_that_is_taken_is_known_by_the_engine_s_words() {
        for (message, expected) in [
            ("Pool overlaps with other one on this address space", true),
            ("conflicts with network 1234 (br-1): networks have overlapping IPv4", true),
            ("no such driver", false),
        ] {
            assert_eq!(is_clash(message), expected, "{message}");
        }
    }
}

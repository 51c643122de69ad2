//! Addresses for a local cluster. Where the system answers on all of 127.0.0.0/8 (Linux), nodes have 127.k.0.n with the
//! standard ports, and clients 127.k.1.m. Elsewhere, nodes have free ports of 127.0.0.1.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::cluster::BackendError;
use crate::units::ClientNo;

/// The distance from a node's port to that of its cluster bus.
pub const BUS_OFFSET: u16 = 10_000;

/// The ports to try. 6379 comes first, because it is the familiar one in reports. The others are for machines where
/// something listens on port 6379 of every address, as a published port of a container does.
const PORTS: [u16; 4] = [6379, 7379, 8379, 9379];

/// The largest number of nodes of a local cluster: the reservation uses 127.k.0.251 and higher addresses.
pub const MAX_NODES: usize = 250;

/// Addresses that are reserved for a cluster until this value is dropped.
#[derive(Debug)]
pub struct Reservation {
    /// The address of each node at boot.
    pub nodes: Vec<SocketAddr>,
    /// The number of addresses of 127.k.0.0/24 that were given to a node, or found in use.
    used: AtomicUsize,
    /// This port reserves the whole of 127.k.0.0/16. The system releases it when the process ends.
    lock: Option<TcpListener>,
}

impl Reservation {
    /// An address that no node had yet, with the nodes' port. The error says why there is none.
    pub fn another(&self) -> Result<SocketAddr, String> {
        let Some((IpAddr::V4(first), port)) = self.first() else { return Err(NO_OTHER_ADDRESS.to_owned()) };
        let [_, k, ..] = first.octets();
        loop {
            let n = self.used.fetch_add(1, Ordering::Relaxed) + 1;
            if n > MAX_NODES {
                return Err(format!("all {MAX_NODES} addresses of 127.{k}.0.0/24 were used in this run"));
            }
            let addr = SocketAddr::from((Ipv4Addr::new(127, k, 0, n as u8), port));
            if in_use(addr).is_ok() {
                return Ok(addr);
            }
        }
    }

    /// The first node's address and port; None if nodes do not have separate addresses.
    fn first(&self) -> Option<(IpAddr, u16)> {
        self.lock.as_ref()?;
        self.nodes.first().map(|first| (first.ip(), first.port()))
    }

    /// The address of a client: 127.k.1.m, and 127.k.2.0 and so on after the 255th. None if nodes do not have separate
    /// addresses.
    pub fn client(&self, client: ClientNo) -> Option<IpAddr> {
        let (IpAddr::V4(first), _) = self.first()? else { return None };
        let [_, k, ..] = first.octets();
        let [high, low] = client.0.to_be_bytes();
        Some(Ipv4Addr::new(127, k, high.checked_add(1)?, low).into())
    }
}

/// Why a node cannot come back at another address.
const NO_OTHER_ADDRESS: &str =
    "all nodes share 127.0.0.1, since this system does not answer on the rest of 127.0.0.0/8 (hint: use Linux)";

/// Why nodes do not have separate addresses here; None if they do.
pub fn obstacle() -> Option<&'static str> {
    TcpListener::bind((Ipv4Addr::new(127, 1, 0, 1), 0)).is_err().then_some(NO_OTHER_ADDRESS)
}

/// Finds and reserves addresses for `nodes` nodes.
pub fn reserve(nodes: usize) -> Result<Reservation, BackendError> {
    if obstacle().is_some() {
        return free_ports(nodes);
    }
    let mut reason = String::new();
    for port in PORTS {
        for k in 1..=250 {
            let address = |n: usize| SocketAddr::from((Ipv4Addr::new(127, k, 0, n as u8), port));
            let Ok(lock) = TcpListener::bind(address(MAX_NODES + 1)) else { continue };
            let addresses: Vec<SocketAddr> = (1..=nodes).map(address).collect();
            match addresses.iter().find_map(|&addr| in_use(addr).err()) {
                None => return Ok(Reservation { nodes: addresses, used: nodes.into(), lock: Some(lock) }),
                Some(error) => reason = error,
            }
        }
    }
    Err(BackendError::NoAddresses { nodes, reason })
}

fn in_use(addr: SocketAddr) -> Result<(), String> {
    for port in [addr.port(), addr.port() + BUS_OFFSET] {
        let addr = SocketAddr::new(addr.ip(), port);
        TcpListener::bind(addr).map_err(|error| format!("{addr}: {error}"))?;
    }
    Ok(())
}

fn free_ports(nodes: usize) -> Result<Reservation, BackendError> {
    let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut held = Vec::new();
    let mut addresses = Vec::new();
    // From 20000 on, bus ports stay below 65536, and mostly outside the range of ephemeral ports.
    let mut candidates = (0..15_000).map(|step| 20_000 + (std::process::id() as u16 % 5_000) + step);
    while addresses.len() < nodes {
        let port = candidates.next().filter(|&port| port < 55_000).ok_or_else(|| BackendError::NoAddresses {
            nodes,
            reason: "all ports from 20000 on are in use".to_owned(),
        })?;
        let pair = (TcpListener::bind((localhost, port)), TcpListener::bind((localhost, port + BUS_OFFSET)));
        if let (Ok(data), Ok(bus)) = pair {
            held.push((data, bus));
            addresses.push(SocketAddr::new(localhost, port));
        }
    }
    Ok(Reservation { nodes: addresses, used: nodes.into(), lock: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reservations_do_not_share_addresses() {
        let (one, other) = (reserve(6).unwrap(), reserve(6).unwrap());
        assert_eq!(one.nodes.len(), 6);
        assert!(one.nodes.iter().all(|addr| !other.nodes.contains(addr)), "{one:?} {other:?}");
    }

    #[test]
    fn skips_an_address_in_use() {
        let first = reserve(2).unwrap();
        let taken = first.nodes[1];
        drop(first);
        let _listener = TcpListener::bind(taken).unwrap();
        assert!(!reserve(2).unwrap().nodes.contains(&taken));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn clients_have_separate_addresses() {
        let reservation = reserve(3).unwrap();
        let IpAddr::V4(node) = reservation.nodes[2].ip() else { panic!("an address of version 4") };
        let [_, k, ..] = node.octets();
        for (client, expected) in [(1, [127, k, 1, 1]), (255, [127, k, 1, 255]), (256, [127, k, 2, 0])] {
            let address = reservation.client(ClientNo(client)).unwrap();
            assert_eq!(address, IpAddr::from(expected));
            TcpListener::bind((address, 0)).expect("a free address");
        }
        assert_eq!(free_ports(1).unwrap().client(ClientNo(1)), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn another_address_is_free_and_was_never_a_nodes() {
        let reservation = reserve(3).unwrap();
        let IpAddr::V4(first) = reservation.nodes[0].ip() else { panic!("an address of version 4") };
        let [_, k, ..] = first.octets();
        let at = |n: u8| SocketAddr::from((Ipv4Addr::new(127, k, 0, n), reservation.nodes[0].port()));
        assert_eq!(reservation.another(), Ok(at(4)));
        let _listener = TcpListener::bind(at(5)).unwrap();
        assert_eq!(reservation.another(), Ok(at(6)));
        let rest = (7..=MAX_NODES).flat_map(|_| reservation.another()).count();
        assert_eq!(rest, MAX_NODES - 6);
        assert!(reservation.another().unwrap_err().starts_with("all 250 addresses of"));
        assert!(free_ports(1).unwrap().another().unwrap_err().contains("127.0.0.1"));
    }

    #[test]
    fn without_loopback_addresses_nodes_differ_in_ports() {
        let reservation = free_ports(6).unwrap();
        let mut ports: Vec<u16> = reservation.nodes.iter().map(SocketAddr::port).collect();
        ports.dedup();
        assert_eq!(ports.len(), 6);
    }
}

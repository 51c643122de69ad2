//! A healthy cluster, for the tests of this crate.

use crate::slot::Deal;
use crate::topology::{Health, Peer, Role, View};
use crate::units::{NodeNo, ShardNo};

/// The view that every node has of a healthy cluster: this many shards, each with one replica.
pub fn healthy(shards: u16) -> View {
    let deal = Deal::even(shards);
    let peer = |node: u16| {
        let is_master = node <= shards;
        let shard = if is_master { node } else { node - shards };
        Peer {
            role: if is_master { Role::Master } else { Role::ReplicaOf(NodeNo(shard)) },
            health: Health::Ok,
            epoch: u64::from(shard),
            link_connected: true,
            left_addr: None,
            slots: if is_master { deal.slots(ShardNo(shard)).to_vec() } else { Vec::new() },
        }
    };
    View {
        peers: (1..=2 * shards).map(|node| (NodeNo(node), peer(node))).collect(),
        strangers: Vec::new(),
        state_ok: true,
        slots_assigned: 16384,
        slots_ok: 16384,
        slots_pfail: 0,
        slots_fail: 0,
        known_nodes: 2 * shards,
        size: shards,
        current_epoch: shards.into(),
        link_up: None,
    }
}

//! Views of a cluster of three masters and three replicas.

use slotquake_judge::slot::Deal;
use slotquake_judge::topology::{Health, Peer, Role, View};
use slotquake_judge::units::{NodeNo, ShardNo};

/// What every node says of a cluster in which nothing happened.
pub fn healthy() -> View {
    let deal = Deal::even(3);
    let master = |n| Peer {
        role: Role::Master,
        health: Health::Ok,
        epoch: u64::from(n),
        link_connected: true,
        left_addr: None,
        slots: deal.slots(ShardNo(n)).to_vec(),
    };
    let replica = |n: u16| Peer {
        role: Role::ReplicaOf(NodeNo(n - 3)),
        health: Health::Ok,
        epoch: u64::from(n - 3),
        link_connected: true,
        left_addr: None,
        slots: Vec::new(),
    };
    View {
        peers: (1..=3).map(|n| (NodeNo(n), master(n))).chain((4..=6).map(|n| (NodeNo(n), replica(n)))).collect(),
        strangers: Vec::new(),
        state_ok: true,
        slots_assigned: 16384,
        slots_ok: 16384,
        slots_pfail: 0,
        slots_fail: 0,
        known_nodes: 6,
        size: 3,
        current_epoch: 6,
        link_up: None,
    }
}

/// A view in which `new` has taken the slots of `old`, which replicates it.
pub fn taken_over(mut view: View, old: u16, new: u16, epoch: u64) -> View {
    let slots = std::mem::take(&mut view.peers.get_mut(&NodeNo(old)).unwrap().slots);
    for (node, role, slots) in [(new, Role::Master, slots), (old, Role::ReplicaOf(NodeNo(new)), Vec::new())] {
        let peer = view.peers.get_mut(&NodeNo(node)).unwrap();
        (peer.role, peer.slots, peer.epoch) = (role, slots, epoch);
    }
    view
}

/// A view with a node flagged; a master's slots are counted with it.
pub fn flagged(mut view: View, node: u16, health: Health) -> View {
    let peer = view.peers.get_mut(&NodeNo(node)).unwrap();
    peer.health = health;
    let slots: u16 = peer.slots.iter().map(|(first, last)| last - first + 1).sum();
    (view.slots_pfail, view.slots_fail) = match health {
        Health::Ok => (0, 0),
        Health::Pfail => (slots, 0),
        Health::Fail => (0, slots),
    };
    view.slots_ok = 16384 - view.slots_fail;
    view
}

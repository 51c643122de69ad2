//! Nodes that come back at another address, where that is not what became of them, or where the others do not learn it.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use slotquake::history::EventKind;
use slotquake::units::NodeNo;

use super::control::{CONTROL, Control, Fail, Hold, ONLY_READS, StayOpen};
use super::data::occupy;

/// The twin of the controls below.
#[test]
fn a_node_at_another_address_is_found_there() {
    Control {
        steps: &[
            "phase: quiet",
            "settle: 300ms",
            "stop: node-4",
            "start: { node: node-4, address: new }",
            "settle: 1s",
        ],
        invariants: &[
            ("agreement: { within: spec }", Hold),
            ("redirects: { at: end }", Hold),
            ("role: { node: node-4, is: replica-of node-1, at: end }", Hold),
            ("acked-writes: { may-lose: 0 }", Hold),
        ],
        ..CONTROL
    }
    .is_caught();
}

#[test]
fn a_node_has_not_left_an_address_where_another_server_answers() {
    let addr = Mutex::new(None);
    let impostor = Mutex::new(None);
    Control {
        workload: ONLY_READS,
        steps: &[
            "phase: quiet",
            "settle: 300ms",
            "kill: node-4",
            "phase: occupied",
            "settle: 1s",
            "start: { node: node-4, address: new }",
        ],
        invariants: &[("slot-coverage: { at: end }", Hold)],
        own: &[(
            "steps",
            StayOpen(&[
                "node-4 did not come back as asked: at the address that it left, ",
                "still accepts connections",
            ]),
        )],
        ..CONTROL
    }
    .is_caught_while(&|server, event| match &event.kind {
        EventKind::Booted { nodes, .. } => {
            *addr.lock().unwrap() = Some(nodes[3].addr);
            *impostor.lock().unwrap() = None;
        }
        EventKind::Phase { name } if name == "occupied" => {
            *impostor.lock().unwrap() = Some(occupy(server, addr.lock().unwrap().expect("it has booted")));
        }
        _ => {}
    });
}

/// Nobody knows a right address of anybody, and nobody introduces them.
#[test]
fn nodes_that_all_move_at_once_do_not_find_each_other() {
    Control {
        steps: &["phase: quiet", "settle: 300ms", "stop: all", "start: { node: all, address: new }", "settle: 2s"],
        invariants: &[
            ("agreement: { within: 2s }", Fail(&["node-1 has node-2 at 127.", ", which it left"])),
            ("slot-coverage: { at: end }", Fail(&["pfail"])),
        ],
        own: &[("recovery", Fail(&["cluster_state:fail"]))],
        ..CONTROL
    }
    .is_caught();
}

/// A node that states the address that it left: clients are sent there.
#[test]
fn a_node_that_states_the_address_that_it_left_is_not_found() {
    let moved: Mutex<Option<(SocketAddr, SocketAddr)>> = Mutex::new(None);
    Control {
        workload: ONLY_READS,
        steps: &[
            "phase: quiet",
            "settle: 300ms",
            "stop: node-1",
            "start: { node: node-1, address: new }",
            "settle: 500ms",
            "phase: misled",
            "settle: 2s",
        ],
        invariants: &[
            ("agreement: { within: 2s }", Fail(&["has node-1 at 127.", ", which it left"])),
            ("redirects: { at: end }", Fail(&["MOVED"])),
        ],
        own: &[("recovery", Fail(&["node-1"]))],
        ..CONTROL
    }
    .is_caught_while(&|_, event| match &event.kind {
        EventKind::AddressChanged { node: NodeNo(1), from, to } => *moved.lock().unwrap() = Some((*from, *to)),
        EventKind::Phase { name } if name == "misled" => {
            let (from, to) = moved.lock().unwrap().expect("it has moved");
            let client = redis::Client::open(format!("redis://{to}")).expect("an address");
            let mut connection = client.get_connection_with_timeout(Duration::from_secs(5)).expect("the node answers");
            let set = ["SET", "cluster-announce-ip", &from.ip().to_string()];
            redis::cmd("CONFIG").arg(&set).exec(&mut connection).expect("it is set");
        }
        _ => {}
    });
}

/// It comes back as a node that nobody knows, and nobody lets it in.
#[test]
fn a_node_without_nodes_conf_is_missed_until_it_is_let_in() {
    Control {
        workload: ONLY_READS,
        steps: &[
            "phase: quiet",
            "settle: 300ms",
            "kill: node-4",
            "start: { node: node-4, data: all-lost }",
            "settle: 1s",
        ],
        invariants: &[
            ("agreement: { within: 2s }", Fail(&["node-4"])),
            ("role: { node: node-4, is: replica-of node-1, at: end }", Fail(&["node-4 is a master without slots"])),
            ("acked-writes: { may-lose: 0 }", Hold),
        ],
        own: &[("recovery", Fail(&["node"]))],
        ..CONTROL
    }
    .is_caught();
}

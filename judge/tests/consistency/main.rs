//! Consistency of one key: by examples, against a plain search, and against the definitions written out.

mod examples;
mod oracle;
mod random;
mod search;

use slotquake_judge::consistency::{Effect, Kind, Operation};
use slotquake_judge::units::{ClientNo, NodeNo};

/// A read of `value` by a client, from `invoke` to `complete`, answered by node-1.
fn read(client: u16, value: u32, (invoke, complete): (u64, u64)) -> Operation {
    Operation {
        invoke_ns: invoke,
        complete_ns: complete,
        value,
        client: ClientNo(client),
        node: NodeNo(1),
        kind: Kind::Read,
    }
}

fn write(client: u16, value: u32, times: (u64, u64), effect: Effect) -> Operation {
    Operation { kind: Kind::Write(effect), ..read(client, value, times) }
}

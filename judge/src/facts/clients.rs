//! The clients that a fault of links tells apart: those that it cuts off, and the rest.

use std::collections::BTreeSet;

use super::FaultSpan;
use crate::history::Op;
use crate::suite::{ClientSet, Only};

/// The clients of the workload by their side.
///
/// A fault that severs the links of clients has two sides. The clients on the side with fewer nodes are *cut off*: of the
/// cluster they reach less. Clients of no side, and those of the other side, are the *rest*. A client that was cut off by any
/// fault of a run belongs to the cut-off ones for the whole run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientSides {
    /// The number of clients.
    all: u16,
    /// From 0, as in [`crate::history::Op::client`].
    cut_off: BTreeSet<u16>,
    /// The fault whose sides have equally many nodes, so that neither is the one that is cut off.
    even: Option<String>,
}

impl ClientSides {
    pub(super) fn new(all: u16, spans: &[FaultSpan]) -> Self {
        let mut found = Self { all, ..Self::default() };
        for span in spans {
            let severs_clients = span.kind.severs_links() && matches!(span.only, Only::All | Only::Clients);
            let [first, second] = &span.sides[..] else { continue };
            if !severs_clients || (first.clients.is_empty() && second.clients.is_empty()) {
                continue;
            }
            let smaller = match first.nodes.len().cmp(&second.nodes.len()) {
                std::cmp::Ordering::Less => first,
                std::cmp::Ordering::Greater => second,
                std::cmp::Ordering::Equal => {
                    found.even.get_or_insert_with(|| span.words());
                    continue;
                }
            };
            found.cut_off.extend(smaller.clients.iter().map(|client| client.0.saturating_sub(1)));
        }
        found
    }

    /// Whether some clients were cut off and others were not.
    pub fn differ(&self) -> bool {
        !self.cut_off.is_empty() && self.cut_off.len() < usize::from(self.all)
    }

    /// The sets that are told apart: one if no fault divides the clients.
    pub fn sets(&self) -> &'static [ClientSet] {
        if self.differ() { &[ClientSet::CutOff, ClientSet::Rest] } else { &[ClientSet::All] }
    }

    /// The set of a client (from 0) among those that are told apart.
    pub fn set_of(&self, client: u16) -> ClientSet {
        match (self.differ(), self.cut_off.contains(&client)) {
            (false, _) => ClientSet::All,
            (true, true) => ClientSet::CutOff,
            (true, false) => ClientSet::Rest,
        }
    }

    /// Whether a client (from 0) belongs to a set.
    #[inline]
    fn has(&self, set: ClientSet, client: u16) -> bool {
        match set {
            ClientSet::All => true,
            ClientSet::CutOff => self.cut_off.contains(&client),
            ClientSet::Rest => !self.cut_off.contains(&client),
        }
    }

    /// Those of the operations that the clients of a set have issued.
    pub(super) fn of<'h>(&self, set: ClientSet, ops: &[&'h Op]) -> Vec<&'h Op> {
        match set {
            ClientSet::All => ops.to_vec(),
            ClientSet::CutOff | ClientSet::Rest => {
                ops.iter().copied().filter(|op| self.has(set, op.client())).collect()
            }
        }
    }

    /// Whether a set of clients can be judged. The error says why not.
    pub fn known(&self, set: ClientSet) -> Result<(), String> {
        let is_empty = match set {
            ClientSet::All => return Ok(()),
            ClientSet::CutOff => self.cut_off.is_empty(),
            ClientSet::Rest => self.cut_off.len() >= usize::from(self.all),
        };
        if let Some(fault) = &self.even {
            return Err(format!(
                "it is not certain which clients were cut off: both sides of {fault} have as many nodes"
            ));
        }
        match set {
            _ if !is_empty => Ok(()),
            ClientSet::All | ClientSet::CutOff => {
                Err("no fault cut off any client (hint: name `half-clients` on a side of a `partition`)".to_owned())
            }
            ClientSet::Rest => Err("every client was cut off".to_owned()),
        }
    }
}

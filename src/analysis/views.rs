//! What each node said of the cluster at any moment.

use std::collections::BTreeMap;

use crate::cluster::topology::View;
use crate::history::History;
use crate::units::NodeNo;

/// The views of a history, to be asked for by time. A view holds from its event until the node's
/// next one, or until it falls silent.
#[derive(Debug)]
pub struct Views<'a> {
    by_node: BTreeMap<NodeNo, Vec<(u64, Option<&'a View>)>>,
}

impl<'a> Views<'a> {
    /// Gathers them.
    pub fn new(history: &'a History) -> Self {
        let _ = history;
        todo!()
    }

    /// What every node that answered last said at that moment; silent nodes are missing.
    pub fn at(&self, at_ns: u64) -> BTreeMap<NodeNo, &'a View> {
        let _ = (at_ns, &self.by_node);
        todo!()
    }

    /// Every moment at which some node's view changed or it fell silent, in order.
    pub fn moments(&self) -> Vec<u64> {
        todo!()
    }
}

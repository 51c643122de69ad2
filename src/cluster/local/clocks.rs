//! Clocks that differ from node to node: the library of [`crate::speed`] in each server reads a file of its node.

use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use super::CLOCKS;
use crate::fault::ClockOf;
use crate::speed::clock::{HostClock, Skew, Told};
use crate::units::NodeNo;

/// The clocks of all nodes.
#[derive(Debug)]
pub struct Clocks {
    hosts: Vec<Mutex<HostClock>>,
}

impl Clocks {
    /// Clocks that do not differ yet, as files in these directories of the nodes.
    pub fn create<'a>(dirs: impl Iterator<Item = &'a Path>) -> io::Result<Self> {
        let hosts = dirs.map(|dir| HostClock::create(&dir.join(CLOCKS)).map(Mutex::new));
        Ok(Self { hosts: hosts.collect::<io::Result<_>>()? })
    }

    /// Makes the server that a command starts live by the clock of a node.
    pub fn give(&self, node: NodeNo, command: &mut Command) {
        self.host(node).give(command);
    }

    /// Changes the clock of a node.
    pub fn set(&self, node: NodeNo, skew: Skew) -> io::Result<()> {
        self.host(node).set(skew)
    }

    /// How the clock of a node differs.
    pub fn skew(&self, node: NodeNo) -> Skew {
        self.host(node).skew()
    }

    /// What the library has told of a clock to the server of a node.
    pub fn told(&self, node: NodeNo, of: ClockOf) -> io::Result<Told> {
        self.host(node).told(of)
    }

    /// Whether the process of a node reads its clock. The error says why not.
    pub fn is_read_by(&self, node: NodeNo, pid: u32) -> Result<(), String> {
        self.host(node).is_read_by(pid)
    }

    fn host(&self, node: NodeNo) -> std::sync::MutexGuard<'_, HostClock> {
        self.hosts[node.index()].lock().expect("no holder panics")
    }
}

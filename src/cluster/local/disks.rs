//! Disks that differ from node to node: the library of [`crate::speed`] in each server reads a file of its node.

use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard};

use super::DISK;
use crate::speed::disk::HostDisk;
use crate::units::NodeNo;

/// The disks of all nodes.
#[derive(Debug)]
pub struct Disks(Vec<Mutex<HostDisk>>);

impl Disks {
    /// Disks without faults: these directories of the nodes.
    pub fn create<'a>(dirs: impl Iterator<Item = &'a Path>) -> io::Result<Self> {
        let hosts = dirs.map(|dir| HostDisk::create(&dir.join(DISK)).map(Mutex::new));
        Ok(Self(hosts.collect::<io::Result<_>>()?))
    }

    /// Makes the server that a command starts use the disk of a node.
    pub fn give(&self, node: NodeNo, command: &mut Command) {
        self.of(node).give(command);
    }

    /// The disk of a node.
    pub fn of(&self, node: NodeNo) -> MutexGuard<'_, HostDisk> {
        self.0[node.index()].lock().expect("no holder panics")
    }
}

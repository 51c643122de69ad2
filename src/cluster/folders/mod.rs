//! Directories of nodes on this machine, for backends whose servers keep their files there: their disks, what a loss of power
//! leaves of them, and damage to their files.

mod corrupt;
mod lost;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use corrupt::{Places, Undamaged};

use super::BackendError;
use crate::fault::Unsynced;
use crate::plan::Need;
use crate::server::{Flavour, Server};
use crate::speed::disk::HostDisk;
use crate::speed::durable::HostLog;
use crate::suite::{Damage, Damaged, Data, DataFile};
use crate::units::{Directive, NodeNo};

/// The files in a node's directory by which its host has a clock and a disk of its own.
pub(super) const CLOCKS: &str = "clocks";
const DISK: &str = "disk";

/// The directories of all nodes.
#[derive(Debug)]
pub(super) struct Folders {
    dirs: Vec<PathBuf>,
    /// None if the plan makes no disk faulty and cuts no power.
    disks: Option<Vec<Mutex<HostDisk>>>,
    /// None if the plan cuts no power.
    logs: Option<Vec<HostLog>>,
}

impl Folders {
    /// These directories, which exist, with the disks and logs that a plan needs. Logs are beside the directories.
    pub fn create(dirs: Vec<PathBuf>, needs: &BTreeSet<Need>) -> io::Result<Self> {
        let has_logs = needs.contains(&Need::PowerLoss);
        // By its disk the library knows which files to look at.
        let has_disks = needs.contains(&Need::Disks) || has_logs;
        let disk = |dir: &PathBuf| HostDisk::create(&dir.join(DISK)).map(Mutex::new);
        let disks = has_disks.then(|| dirs.iter().map(disk).collect()).transpose()?;
        let log = |dir: &PathBuf| HostLog::create(&dir.with_extension("durable"), dir);
        let logs = has_logs.then(|| dirs.iter().map(log).collect()).transpose()?;
        Ok(Self { dirs, disks, logs })
    }

    /// The directory of a node.
    pub fn dir(&self, node: NodeNo) -> &Path {
        &self.dirs[node.index()]
    }

    /// Whether servers need the library.
    pub fn needs_library(&self) -> bool {
        self.disks.is_some()
    }

    /// The variables by which the library in the server of a node finds its disk and its log.
    pub fn variables(&self, node: NodeNo) -> Vec<(&'static str, String)> {
        let disk = self.disk(node).map(|disk| disk.variable());
        disk.into_iter().chain(self.log(node).map(HostLog::variable)).collect()
    }

    /// The disk of a node; None if no plan needs it.
    pub fn disk(&self, node: NodeNo) -> Option<MutexGuard<'_, HostDisk>> {
        Some(self.disks.as_ref()?[node.index()].lock().expect("no holder panics"))
    }

    /// The log of a node; None if no plan needs it.
    pub fn log(&self, node: NodeNo) -> Option<&HostLog> {
        Some(&self.logs.as_ref()?[node.index()])
    }

    /// Does something with the disk of a node.
    pub fn on_disk<T>(
        &self,
        node: NodeNo,
        does: impl FnOnce(&mut HostDisk) -> io::Result<T>,
    ) -> Result<T, BackendError> {
        let error = |reason: String| BackendError::Disk { node, reason };
        let mut disk = self.disk(node).ok_or_else(|| error(WITHOUT_LIBRARY.to_owned()))?;
        does(&mut disk).map_err(|source| error(source.to_string()))
    }

    /// Loses the data of a node that is down. Returns what was removed, in words.
    pub fn lose(&self, node: NodeNo, data: Data) -> Result<String, BackendError> {
        let dir = self.dir(node);
        let forgotten = |done: String| match (self.log(node), data) {
            // What slotquake has changed is durable.
            (Some(log), Data::Lost | Data::AllLost) => log.forget().map(|()| done),
            (None, _) | (_, Data::Kept) => Ok(done),
        };
        lost::lose(dir, data).and_then(forgotten).map_err(|source| BackendError::Io {
            what: format!("cannot remove the data of {node} in {}", dir.display()),
            source,
        })
    }

    /// Damages a file of a node that is down, at places that the seed decides. Returns the proof.
    pub fn corrupt(
        &self,
        node: NodeNo,
        (server, directives): (&Server, &BTreeMap<String, Directive>),
        file: DataFile,
        damage: Damage,
        seed: u64,
    ) -> Result<Damaged, BackendError> {
        let dir = self.dir(node);
        let directive =
            |name, default| directives.get(name).map_or(default, |Directive(value)| value.trim_matches('"'));
        let places = Places {
            dir,
            has_manifest: server.version.flavour == Flavour::Valkey || server.version.is_redis_at_least(7, 0),
            append_dir: directive("appenddirname", "appendonlydir"),
            append_file: directive("appendfilename", "appendonly.aof"),
            dump: directive("dbfilename", "dump.rdb"),
        };
        corrupt::corrupt(&places, file, damage, seed).map_err(|error| match error {
            Undamaged::Nothing(reason) => BackendError::Undamageable { node, reason },
            Undamaged::Io(source) => {
                BackendError::Io { what: format!("cannot damage a file of {node} in {}", dir.display()), source }
            }
        })
    }

    /// Leaves the directory of a node, all of whose processes have ended, with what was durable.
    pub fn lose_unsynced(&self, node: NodeNo) -> Result<Unsynced, BackendError> {
        let error = |reason: String| BackendError::Power { node, reason };
        let log = self.log(node).ok_or_else(|| error(WITHOUT_LIBRARY.to_owned()))?;
        log.lose().map_err(|source| error(source.to_string()))
    }

    /// Takes everything that the servers have written so far for durable.
    pub fn settle(&self) -> Result<(), BackendError> {
        let settled = self.logs.iter().flatten().try_for_each(HostLog::settle);
        settled.map_err(|source| BackendError::Io {
            what: "cannot take what the servers have written for durable".to_owned(),
            source,
        })
    }
}

/// Why nothing is known of a disk.
pub(super) const WITHOUT_LIBRARY: &str = "the servers run without the library for it";

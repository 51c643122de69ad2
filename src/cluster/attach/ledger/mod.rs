//! The ledger: a file that lists the changes of a run on an attached cluster, so that they can be undone even after
//! SIGKILL.
//!
//! Each run has one file. The run writes it before each change, and removes it after all changes are undone. Its process
//! holds a lock on the file, which the system releases when the process ends. A file whose lock is free therefore
//! belongs to a dead run, also after a reboot. The file holds no password and no TLS key.

mod changes;

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::task::spawn_blocking;

use crate::cluster::attach::error::AttachError;
use crate::directories::Kept;
pub use changes::Changes;
pub(crate) use changes::{AccessUsed, LedgerNode, NodeCut, Original, joined};

const EXTENSION: &str = "json";

/// The directory of this user's ledgers: `attached` in `SLOTQUAKE_STATE`, else in `slotquake` below `XDG_STATE_HOME`,
/// else below `~/.local/state`. Fails if none of these is set.
pub fn ledgers_folder() -> Result<PathBuf, AttachError> {
    Kept::State.directory().map(|state| state.join("attached")).ok_or(AttachError::NoState)
}

/// A directory of ledgers.
#[derive(Debug, Clone)]
pub(crate) struct Ledgers {
    folder: PathBuf,
}

/// A ledger that was found on disk. Its run may be active.
#[derive(Debug)]
pub struct Found {
    /// The changes that it lists.
    pub changes: Changes,
    /// The path of the file.
    pub path: PathBuf,
    /// Whether its run is active.
    pub is_alive: bool,
}

/// Reads every ledger of a folder. Each has its own error if it cannot be read. Changes nothing there.
pub fn ledgers(folder: &Path) -> Vec<Result<Found, AttachError>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
        Err(error) => return vec![Err(AttachError::state(folder, "cannot be read", &error))],
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == EXTENSION));
    paths.sort();
    let found = |path: PathBuf| match look(&path, File::try_lock_shared) {
        Ok((changes, lock)) => Some(Ok(Found { changes, path, is_alive: lock.is_none() })),
        Err(None) => None,
        Err(Some(reason)) => Some(Err(AttachError::Ledger { path, reason })),
    };
    paths.into_iter().filter_map(found).collect()
}

/// Reads a ledger and locks it, if no other process holds the lock. The error is None if the file no longer exists.
fn look(
    path: &Path,
    lock: impl Fn(&File) -> Result<(), TryLockError>,
) -> Result<(Changes, Option<Lock>), Option<String>> {
    let failed = |error: io::Error| (error.kind() != ErrorKind::NotFound).then(|| error.to_string());
    loop {
        let mut file = File::options().read(true).write(true).open(path).map_err(failed)?;
        let held = match lock(&file) {
            Ok(()) => Some(Lock(file.try_clone().map_err(failed)?)),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Error(error)) => return Err(Some(format!("it cannot be locked: {error}"))),
        };
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        // Its owner may have replaced the file meanwhile, and locked the new one.
        let (opened, there) = (file.metadata().map_err(failed)?, fs::metadata(path).map_err(failed)?);
        if (opened.dev(), opened.ino()) == (there.dev(), there.ino()) {
            return Ok((Changes::parse(&text).map_err(Some)?, held));
        }
    }
}

/// A lock on a file, until it is dropped. Closing the file would not release it while a child process that is just
/// being started has it open too.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // If this fails, the system still releases the lock when the last process closes the file.
        let _ = self.0.unlock();
    }
}

impl Ledgers {
    /// Creates the folder if necessary, and checks that it is writable.
    pub fn open(folder: PathBuf) -> Result<Self, AttachError> {
        let wrong = |error: io::Error| AttachError::state(&folder, "cannot be written", &error);
        // Other users must not see which servers were changed.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(wrong)?;
        let probe = folder.join(format!(".{}.probe", std::process::id()));
        let lock = write(&probe, b"probe").map_err(wrong)?;
        fs::remove_file(&probe).map_err(wrong)?;
        drop(lock);
        Ok(Self { folder })
    }

    /// Reads every ledger. Fails if one cannot be read, because it may belong to this cluster.
    pub fn all(&self) -> Result<Vec<Found>, AttachError> {
        ledgers(&self.folder).into_iter().collect()
    }

    /// Creates the ledger of a run that begins.
    pub fn begin(&self, changes: Changes) -> Result<Ledger, AttachError> {
        let path = self.folder.join(format!("{}.{EXTENSION}", changes.run));
        let mut open = Open { path, changes, lock: None };
        open.store().map_err(|error| AttachError::state(&self.folder, "cannot be written", &error))?;
        Ok(Ledger { open: Arc::new(Mutex::new(open)) })
    }
}

/// The ledger of a run, which this process owns.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    open: Arc<Mutex<Open>>,
}

#[derive(Debug)]
struct Open {
    path: PathBuf,
    changes: Changes,
    /// None once the ledger is closed or left.
    lock: Option<Lock>,
}

impl Ledger {
    /// Takes over the ledger of a dead run. None if it is gone or another process has adopted it.
    pub fn adopt(path: &Path) -> Result<Option<Self>, AttachError> {
        match look(path, File::try_lock) {
            Ok((changes, Some(lock))) => {
                let open = Open { path: path.to_owned(), changes, lock: Some(lock) };
                Ok(Some(Self { open: Arc::new(Mutex::new(open)) }))
            }
            Ok((_, None)) | Err(None) => Ok(None),
            Err(Some(reason)) => Err(AttachError::Ledger { path: path.to_owned(), reason }),
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().expect("no holder panics")
    }

    /// The changes that it lists now.
    pub fn changes(&self) -> Changes {
        self.open().changes.clone()
    }

    /// The path of the file.
    pub fn path(&self) -> PathBuf {
        self.open().path.clone()
    }

    /// Records a change before it is made. The caller must not make the change before this returns, nor if it fails.
    pub async fn note(&self, change: impl FnOnce(&mut Changes) + Send + 'static) -> Result<(), AttachError> {
        let this = self.clone();
        // The disk may be slow. The write completes even if the caller stops waiting.
        let recorded = spawn_blocking(move || {
            let mut open = this.open();
            let before = open.changes.clone();
            open.change(change).inspect_err(|_| open.changes = before)
        });
        let recorded = recorded.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        recorded.map_err(|error| AttachError::state(&self.path(), "cannot be written", &error))
    }

    /// Removes changes that were undone. A failure to write is harmless: undoing a change twice has no effect.
    pub async fn forget(&self, change: impl FnOnce(&mut Changes) + Send + 'static) {
        let this = self.clone();
        let _ = spawn_blocking(move || this.open().change(change)).await;
    }

    /// Removes the file, because all changes are undone.
    pub fn close(&self) {
        let mut open = self.open();
        let _ = fs::remove_file(&open.path);
        open.lock = None;
    }

    /// Releases the lock, so that the next run adopts the ledger.
    pub fn leave(&self) {
        self.open().lock = None;
    }
}

impl Open {
    fn change(&mut self, change: impl FnOnce(&mut Changes)) -> io::Result<()> {
        let before = self.changes.clone();
        change(&mut self.changes);
        if self.changes == before { Ok(()) } else { self.store() }
    }

    fn store(&mut self) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(&self.changes)?;
        text.push(b'\n');
        self.lock = Some(write(&self.path, &text)?);
        Ok(())
    }
}

/// Writes a file atomically, and locks it.
fn write(path: &Path, text: &[u8]) -> io::Result<Lock> {
    let beside = path.with_extension("new");
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.try_lock()?;
    let lock = Lock(file.try_clone()?);
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(lock)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::history::NodeInfo;
    use crate::units::{NodeNo, ShardNo};

    /// The changes of a run on three nodes.
    pub fn changes(run: &str) -> Changes {
        let place = |number: u16| LedgerNode {
            node: NodeInfo {
                node: NodeNo(number),
                shard: ShardNo(number),
                boots_as_master: true,
                addr: ([10, 0, 0, number as u8], 6379).into(),
                id: format!("{number:040}"),
                name: None,
            },
            bus_port: 16379,
        };
        Changes::new(run, "role-swap", AccessUsed::Hooks("/h/hooks.yaml".into()), (1..=3).map(place).collect(), 600)
    }

    fn cut(node: u16) -> Vec<NodeCut> {
        vec![NodeCut {
            node: NodeNo(node),
            from: ["10.0.0.2".parse().expect("an address")].into(),
            ports: [6379].into(),
        }]
    }

    #[tokio::test]
    async fn adopts_a_ledger_only_after_its_owner_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let ledgers = Ledgers::open(folder.path().join("a/b")).unwrap();
        let ledger = ledgers.begin(changes("3f")).unwrap();
        let found = || ledgers.all().unwrap().into_iter().map(|found| (found.changes, found.is_alive));
        ledger.note(|changes| changes.disturbed.extend([NodeNo(2)])).await.unwrap();
        ledger.note(|changes| changes.add_original(NodeNo(1), "maxmemory", "0")).await.unwrap();
        ledger.note(|changes| changes.add_original(NodeNo(1), "maxmemory", "7")).await.unwrap();
        ledger.note(|changes| drop(changes.cuts.insert("net1".to_owned(), cut(3)))).await.unwrap();
        assert_eq!(found().collect::<Vec<_>>(), [(ledger.changes(), true)]);
        assert!(Ledger::adopt(&ledger.path()).unwrap().is_none(), "its owner is alive");
        let summary = ledger.changes().summary();
        for part in [
            "node-2 (10.0.0.2:6379) was stopped or paused",
            "`maxmemory` of node-1 (10.0.0.1:6379) was `0`",
            "links may be cut: node-3 (10.0.0.3) from 10.0.0.2",
            "keys below `slotquake:3f:`",
        ] {
            assert!(summary.contains(part), "{summary}");
        }
        drop(ledger);

        let taken = Ledger::adopt(&found_path(&ledgers)).unwrap().expect("its owner is dead");
        assert_eq!(found().collect::<Vec<_>>(), [(taken.changes(), true)]);
        taken.forget(|changes| changes.cuts.clear()).await;
        taken.leave();
        assert_eq!(found().collect::<Vec<_>>(), [(taken.changes(), false)]);
        assert!(taken.changes().cuts.is_empty());
        Ledger::adopt(&found_path(&ledgers)).unwrap().expect("it was left").close();
        assert_eq!((found().count(), fs::read_dir(folder.path().join("a/b")).unwrap().count()), (0, 0));
    }

    fn found_path(ledgers: &Ledgers) -> PathBuf {
        ledgers.all().unwrap().remove(0).path
    }

    #[tokio::test]
    async fn rejects_a_change_that_it_cannot_write() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledgers::open(folder.path().join("a")).unwrap().begin(changes("3f")).unwrap();
        fs::remove_dir_all(folder.path().join("a")).unwrap();
        let error = ledger.note(|changes| changes.disturbed.extend([NodeNo(2)])).await.unwrap_err();
        assert!(error.to_string().contains("cannot be written"), "{error}");
        assert!(ledger.changes().disturbed.is_empty());
        fs::write(folder.path().join("a"), "").unwrap();
        let error = Ledgers::open(folder.path().join("a/b")).unwrap_err();
        assert!(error.to_string().contains("SLOTQUAKE_STATE"), "{error}");
    }

    #[test]
    fn reports_a_ledger_that_it_cannot_read() {
        let folder = tempfile::tempdir().unwrap();
        let good = serde_json::to_value(changes("3f")).unwrap();
        let with = |key: &str, value: serde_json::Value| {
            let mut changed = good.clone();
            changed[key] = value;
            changed.to_string()
        };
        for (text, expected) in [
            (String::new(), "EOF"),
            ("no ledger".to_owned(), "expected"),
            ("{}".to_owned(), "schema_version"),
            (with("schema_version", 3.into()), "it has version 3, but this program reads versions 1 to 2"),
            (with("clocks", serde_json::json!({"node-9": "wall"})), "node-9 is not one"),
            (with("places", serde_json::json!([])), "not numbered from 1"),
            (with("disturbed", serde_json::json!(["node-4"])), "node-4 is not one of its nodes"),
            (with("cuts", serde_json::json!({"net1": cut(9)})), "node-9 is not one"),
            (with("originals", serde_json::json!([{"node": "node-1"}])), "missing field"),
        ] {
            fs::write(folder.path().join("3f.json"), &text).unwrap();
            let found = ledgers(folder.path());
            let [Err(error)] = &found[..] else { panic!("{text}: {found:?}") };
            let error = error.to_string();
            assert!(error.contains(expected) && error.contains("3f.json"), "{text}: {error}");
        }
        assert!(ledgers(&folder.path().join("nothing")).is_empty());
    }
}

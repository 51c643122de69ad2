//! Removes directories that would outlive the harness.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A directory for a run's data. It is removed when this is dropped, and also when the harness is killed: its file system
/// ends with the harness, or a shell waits for the end of a pipe that only the harness holds.
#[derive(Debug)]
pub struct ScratchDir {
    path: PathBuf,
    janitor: Option<Child>,
}

const JANITOR: &str = "trap '' INT TERM HUP; cat >/dev/null; \
    for attempt in 1 2 3 4 5 6 7 8 9 10; do rm -rf -- \"$1\" 2>/dev/null && break; sleep 0.2; done";

const PREFIX: &str = "slotquake-run-";

impl ScratchDir {
    /// Creates the directory in a file system that ends with the harness, such as
    /// [`crate::sandbox::Inside::scratch`].
    pub fn create_in(mortal: &Path) -> io::Result<Self> {
        Ok(Self { path: make_own(mortal)?, janitor: None })
    }

    /// Creates a temporary directory, and removes those of dead harnesses first. Must not be called in the sandbox: the
    /// process id of a live harness outside does not exist there.
    pub fn create() -> io::Result<Self> {
        let parent = std::env::temp_dir();
        sweep(&parent);
        let path = make_own(&parent)?;
        let janitor = Command::new("/bin/sh")
            .args(["-c", JANITOR, "slotquake-janitor"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            .process_group(0)
            // It waits for servers to end, which they do in real time.
            .env_remove(crate::speed::VARIABLE)
            .spawn()?;
        Ok(Self { path, janitor: Some(janitor) })
    }

    /// The path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        match self.janitor.take() {
            Some(mut janitor) => {
                drop(janitor.stdin.take());
                let _ = janitor.wait();
            }
            // Files that cannot be removed end with the file system.
            None => drop(std::fs::remove_dir_all(&self.path)),
        }
    }
}

/// Creates a directory with a new name.
fn make_own(parent: &Path) -> io::Result<PathBuf> {
    let mut attempt = 0;
    loop {
        let path = parent.join(format!("{PREFIX}{}-{attempt}", std::process::id()));
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Removes directories of dead harnesses whose janitors died too.
fn sweep(parent: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(owner) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        let owner = owner.split('-').next().and_then(|pid| pid.parse::<i32>().ok());
        let dead = owner
            .is_some_and(|pid| nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None) == Err(nix::Error::ESRCH));
        if dead {
            // This fails, as it should, for another user's directory.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropping_a_scratch_directory_removes_it() {
        let scratch = ScratchDir::create().unwrap();
        let file = scratch.path().join("dump.rdb");
        std::fs::write(&file, "data").unwrap();
        drop(scratch);
        // Another test may have reused its name.
        assert!(!file.exists());
    }

    #[test]
    fn a_scratch_directory_leaves_its_neighbours_alone() {
        let place = tempfile::tempdir().unwrap();
        let dead = place.path().join(format!("{PREFIX}2147483646-0"));
        std::fs::create_dir(&dead).unwrap();
        let (one, other) = (ScratchDir::create_in(place.path()).unwrap(), ScratchDir::create_in(place.path()).unwrap());
        assert_ne!(one.path(), other.path());
        drop((one, other));
        let left: Vec<_> = std::fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, [dead]);
    }

    #[test]
    fn removes_directories_of_dead_harnesses_only() {
        let parent = ScratchDir::create().unwrap();
        let mut gone = Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        let dead = parent.path().join(format!("{PREFIX}{}-0", gone.id()));
        let alive = parent.path().join(format!("{PREFIX}{}-7", std::process::id()));
        let foreign = parent.path().join("someone-elses");
        for each in [&dead, &alive, &foreign] {
            std::fs::create_dir(each).unwrap();
        }
        sweep(parent.path());
        assert_eq!((dead.exists(), alive.exists(), foreign.exists()), (false, true, true));
    }
}

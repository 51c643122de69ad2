//! A private network, and the certainty that nothing outlives the harness.
//!
//! [`enter`] moves the process into namespaces of its own: user, network, PID and mount. Inside,
//! `lo` is up and all of 127.0.0.0/8 is private, so every 127.k.0.n is a host whose links can be
//! cut (see [`crate::network`]); /proc shows the processes inside; everything else, the files, the
//! terminal, the environment, the user and group ids, is as before.
//!
//! ```text
//! outer   the process that the shell started: waits, passes on signals and the exit status
//! └─ init     process 1 of the PID namespace: reaps orphans, watches the outer one
//!    └─ program   returns from `enter` and does the work
//!       └─ servers, ...
//! ```
//!
//! When the program ends, init ends, and with it the kernel kills whatever is left in the PID
//! namespace before the outer process hears of it. When the outer process ends, by whatever signal,
//! the kernel kills init (`PR_SET_PDEATHSIG`). Namespaces, rules and the scratch file system
//! have no existence but through these processes, so nothing has to be cleaned up.
//!
//! The program is forked, not executed again: it keeps its memory, arguments and environment, its
//! path need not be found, and an ordinary user keeps the capabilities that the new user namespace
//! grants (an exec would drop them). That asks for a process with one thread, hence "at the start
//! of `main`, before the async runtime". The program is process 2 rather than process 1 because the
//! kernel ignores signals without a handler when they are meant for process 1.
//!
//! # In `cargo test`
//!
//! [`crate::cargo_test`] makes tests of suite files and does all of this. By hand: the usual test
//! harness runs tests in threads, and no thread may enter. A test target that runs
//! plans with network faults through the library therefore has a `main` of its own, which enters
//! first; its tests then share one private network, where runs side by side get addresses of their
//! own. In `Cargo.toml`:
//!
//! ```toml
//! [[test]]
//! name = "chaos"
//! harness = false
//! ```
//!
//! and in `tests/chaos.rs`:
//!
//! ```no_run
//! use slotquake::network::Network;
//! use slotquake::sandbox::{Entered, Mode, enter};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // What comes from the network has to be there before: inside, only `lo` is left.
//!     let server = slotquake::server::find("redis:6.2", &|notice| eprintln!("{notice}"))?;
//!     let Entered::Inside(inside) = enter(Mode::Require)? else { unreachable!("it is required") };
//!     let network = Network::open(&inside)?;
//!     let runtime = tokio::runtime::Runtime::new()?;
//!     // For each test: `slotquake::run::run(plan, server, options)`, with `options.place` a
//!     // `Place::Local` of a clone of `network` and the path `inside.scratch()`.
//! #   let _ = (server, network, runtime);
//!     Ok(())
//! }
//! ```
//!
//! A panic of that `main`, and the exit code that it returns, end `cargo test` as usual.

#[cfg(target_os = "linux")]
mod linux;
mod refusal;
mod tie;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub use self::tie::tie_to_spawner;

/// Whether to enter the sandbox: `--sandbox auto|off|require`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Enter it where the system allows; otherwise go on without.
    #[default]
    Auto,
    /// Stay outside.
    Off,
    /// Enter it or fail.
    Require,
}

const MODES: [(&str, Mode); 3] = [("auto", Mode::Auto), ("off", Mode::Off), ("require", Mode::Require)];

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MODES.iter().find(|(_, mode)| mode == self).expect("every mode has a word").0)
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        MODES
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, mode)| *mode)
            .ok_or_else(|| format!("`{text}` is not a sandbox mode (hint: `auto`, `off` or `require`)"))
    }
}

/// Where the process is after [`enter`].
#[derive(Debug)]
pub enum Entered {
    /// In its own namespaces.
    Inside(Inside),
    /// Where it was; network faults are not possible.
    No {
        /// Why, as a lowercase fragment.
        reason: String,
        /// What to do about it.
        hint: String,
    },
}

/// The proof that the process runs in its own namespaces. Only [`enter`] makes one, so whatever
/// asks for it cannot touch the network of the machine by mistake.
#[derive(Debug, Clone)]
pub struct Inside {
    scratch: PathBuf,
}

impl Inside {
    /// An empty directory in memory that only the processes of this sandbox see, and that is gone
    /// when they are, even after SIGKILL: the place for what must not be left behind. It counts
    /// towards memory, and its path means nothing outside.
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }
}

/// Why the sandbox could not be entered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SandboxError {
    /// The system forbids it or lacks what it takes.
    #[error("no sandbox: {reason} (hint: {hint})")]
    Refused {
        /// Why, as a lowercase fragment.
        reason: String,
        /// What to do about it.
        hint: String,
    },
    /// The process has other threads already, which a fork would lose. A bug of the caller.
    #[error("no sandbox: the process has {0} threads, and only one may enter")]
    Threads(usize),
}

/// Moves the process into the sandbox, as `mode` says. Call it while there is one thread.
///
/// Inside, it returns in another process than the one that called: the caller's waits, and never
/// returns. What the caller holds is copied as by fork; flush what must not be written twice.
///
/// # Errors
/// With [`Mode::Require`] where [`Mode::Auto`] would give [`Entered::No`]; with any mode but
/// [`Mode::Off`] when there is more than one thread. After an error, and after [`Entered::No`], the
/// process is unchanged.
pub fn enter(mode: Mode) -> Result<Entered, SandboxError> {
    if mode == Mode::Off {
        return Ok(Entered::No {
            reason: "the sandbox is switched off".to_owned(),
            hint: "use `--sandbox auto`".to_owned(),
        });
    }
    match launch(true) {
        Ok(inside) => Ok(Entered::Inside(inside)),
        Err(SandboxError::Refused { reason, hint }) if mode == Mode::Auto => Ok(Entered::No { reason, hint }),
        Err(error) => Err(error),
    }
}

/// Tries whether the sandbox can be entered, without doing so: everything is set up in another
/// process and given up again.
pub fn probe() -> Result<(), SandboxError> {
    launch(false).map(|_| ())
}

/// Does a piece of work in a sandbox of its own, and returns what it said; this process stays
/// outside. Call it while there is one thread, as [`enter`].
///
/// # Errors
/// When the sandbox cannot be entered, and when the work came to no end: it panicked, say.
pub fn visit(work: impl FnOnce(&Inside) -> String) -> Result<String, SandboxError> {
    #[cfg(target_os = "linux")]
    return linux::visit(|scratch| work(&Inside { scratch }));
    #[cfg(not(target_os = "linux"))]
    launch(false).map(|inside| work(&inside))
}

#[cfg(target_os = "linux")]
fn launch(stay: bool) -> Result<Inside, SandboxError> {
    linux::launch(stay).map(|scratch| Inside { scratch })
}

#[cfg(not(target_os = "linux"))]
fn launch(_stay: bool) -> Result<Inside, SandboxError> {
    Err(SandboxError::Refused {
        reason: format!("{} has no network namespaces", std::env::consts::OS),
        hint: "use Linux, or the container backend".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::{Entered, Mode, enter};

    #[test]
    fn a_mode_reads_back_as_it_is_written() {
        for (text, expected) in [("auto", Mode::Auto), ("off", Mode::Off), ("require", Mode::Require)] {
            assert_eq!(text.parse(), Ok(expected));
            assert_eq!(expected.to_string(), text);
        }
        assert!("yes".parse::<Mode>().unwrap_err().contains("`yes`"));
    }

    #[test]
    fn off_stays_outside() {
        assert!(matches!(enter(Mode::Off), Ok(Entered::No { .. })));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_with_threads_may_not_enter() {
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || held.recv());
        let refused = enter(Mode::Auto);
        drop(hold);
        assert!(other.join().unwrap().is_err());
        assert!(matches!(refused, Err(super::SandboxError::Threads(count)) if count > 1), "{refused:?}");
    }
}

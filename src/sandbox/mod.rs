//! A private network, and a guarantee that no process outlives the harness.
//!
//! [`enter`] moves the process into its own user, network, PID and mount namespaces. Inside, `lo` is
//! up and all of 127.0.0.0/8 is private, so every 127.k.0.n is a host whose links can be cut (see
//! [`crate::network`]). /proc shows only the processes inside. Files, terminal, environment, user and
//! group ids stay the same.
//!
//! ```text
//! outer   the process that the shell started: waits, forwards signals and the exit status
//! └─ init     process 1 of the PID namespace: reaps orphans, watches the outer process
//!    └─ program   returns from `enter` and does the work
//!       └─ servers, ...
//! ```
//!
//! When the program ends, init ends too, and the kernel kills every other process in the PID
//! namespace before it notifies the outer process. When any signal ends the outer process, the
//! kernel kills init (`PR_SET_PDEATHSIG`). Namespaces, rules and the scratch file system disappear
//! with these processes, so nothing needs to be cleaned up.
//!
//! The program is forked, not executed again. It keeps its memory, arguments and environment, and an
//! ordinary user keeps the capabilities that the new user namespace grants (exec would drop them). A
//! fork needs a process with one thread, so call [`enter`] at the start of `main`, before the async
//! runtime starts. The program is process 2 because the kernel does not deliver signals without a
//! handler to process 1.
//!
//! # In `cargo test`
//!
//! [`crate::cargo_test`] turns suite files into tests and does all of this for you. To do it by hand:
//! the default test harness runs tests in threads, and a thread cannot enter the sandbox. A test target
//! that runs plans with network faults through the library therefore needs its own `main`, which
//! enters the sandbox first. Its tests share one private network, where concurrent runs use different
//! addresses. In `Cargo.toml`:
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
//!     // Fetch the server first: inside, only `lo` is available.
//!     let server = slotquake::server::find("redis:6.2", &|notice| eprintln!("{notice}"))?;
//!     let Entered::Inside(inside) = enter(Mode::Require)? else { unreachable!("it is required") };
//!     let network = Network::open(&inside)?;
//!     let runtime = tokio::runtime::Runtime::new()?;
//!     // For each test: `slotquake::run::run(plan, server, options)`, with `options.backend` a
//!     // `BackendSettings::Local` of a clone of `network` and the path `inside.scratch()`.
//! #   let _ = (server, network, runtime);
//!     Ok(())
//! }
//! ```
//!
//! A panic in that `main` and its exit code affect `cargo test` as usual.

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
    /// Enter it if the system allows it; otherwise continue without it.
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
            .ok_or_else(|| format!("unknown sandbox mode \"{text}\" (hint: use `auto`, `off` or `require`)"))
    }
}

/// The result of [`enter`].
#[derive(Debug)]
pub enum Entered {
    /// The process is in its own namespaces.
    Inside(Inside),
    /// The process did not enter; network faults are not possible.
    No {
        /// Why, as a lowercase fragment.
        reason: String,
        /// How to fix it.
        hint: String,
    },
}

/// Proof that the process runs in its own namespaces. Only this module creates one, so code that
/// requires it cannot change the machine's network by mistake.
#[derive(Debug, Clone)]
pub struct Inside {
    scratch: PathBuf,
}

impl Inside {
    /// An empty in-memory directory for temporary files. Only the processes of this sandbox see it, and
    /// it disappears with them, even after SIGKILL. Its content uses memory, and its path is not valid
    /// outside the sandbox.
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }
}

/// Why the sandbox could not be entered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SandboxError {
    /// The system forbids it or lacks a feature that it needs.
    #[error("no sandbox: {reason} (hint: {hint})")]
    Refused {
        /// Why, as a lowercase fragment.
        reason: String,
        /// How to fix it.
        hint: String,
    },
    /// The process already has other threads, which a fork would lose. This is a bug of the caller.
    #[error("no sandbox: the process has {0} threads, but only a process with one thread can enter")]
    Threads(usize),
}

/// Moves the process into the sandbox, according to `mode`. Call it while the process has one thread.
///
/// Inside, it returns in a new process; the calling process waits and never returns. Memory is copied as
/// by fork, so flush buffers first, or they are written twice.
///
/// # Errors
/// With [`Mode::Require`], if the system refuses the sandbox ([`Mode::Auto`] gives [`Entered::No`]
/// instead). With any mode except [`Mode::Off`], if the process has more than one thread. After an error
/// and after [`Entered::No`] the process is unchanged.
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

/// Checks whether the sandbox can be entered: sets it up in another process and tears it down again.
pub fn probe() -> Result<(), SandboxError> {
    launch(false).map(|_| ())
}

/// Runs `work` in a new sandbox and returns its result; this process stays outside. Call it while the
/// process has one thread.
///
/// # Errors
/// When the sandbox cannot be entered, and when `work` does not finish, for example because it panics.
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
    fn parses_every_mode() {
        for (text, expected) in [("auto", Mode::Auto), ("off", Mode::Off), ("require", Mode::Require)] {
            assert_eq!(text.parse(), Ok(expected));
            assert_eq!(expected.to_string(), text);
        }
        assert!("yes".parse::<Mode>().unwrap_err().contains("\"yes\""));
    }

    #[test]
    fn off_does_not_enter() {
        assert!(matches!(enter(Mode::Off), Ok(Entered::No { .. })));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn rejects_a_process_with_threads() {
        let (hold, held) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || held.recv());
        let refused = enter(Mode::Auto);
        drop(hold);
        assert!(other.join().unwrap().is_err());
        assert!(matches!(refused, Err(super::SandboxError::Threads(count)) if count > 1), "{refused:?}");
    }
}

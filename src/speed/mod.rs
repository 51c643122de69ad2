//! Dilated time: at speed N, slotquake and its servers live N times as fast as real time.
//!
//! [`begin`] executes slotquake again under a small library (`dilate.c`, `LD_PRELOAD`), which its servers inherit. The
//! library multiplies the clocks and divides the timeouts that libc gives to programs. All processes derive their time
//! from the same moment, so their clocks agree exactly, and almost no other code knows about it: every
//! [`Instant`] and every timer here is in the time of the cluster.
//!
//! Real time stays: the times of files, what the kernel times by itself (TCP's retransmissions and keep-alive, nft,
//! netem), programs that do not call libc, and other machines. What must be real asks [`real_now`] or [`real_span`].
//!
//! [`change`] lets a process that has begun so live at another speed, with the servers that it starts from then on:
//! [`inherit`] gives it to them.
//!
//! The library is in the memory of these processes only: it ends with the last of them.

pub mod clock;
pub mod disk;
pub mod durable;
#[cfg_attr(not(target_os = "linux"), path = "library_absent.rs")]
mod library;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use nix::libc::clockid_t;
use nix::time::{ClockId, clock_gettime};

pub use self::library::{Library, under};
use self::library::{set, under_since};
pub use crate::units::Speed;

/// The library; empty where there is none.
static LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/dilate.so"));

/// The variable with the speed and the moment at which clocks began to differ. Processes without it live in real time,
/// even under the library.
pub const VARIABLE: &str = "SLOTQUAKE_DILATION";

/// The variable with which the dynamic linker loads the library.
pub const PRELOAD: &str = "LD_PRELOAD";

/// Clocks that only the library has: its speed, which can be set, the real wall clock, and from there on the bases. Linux
/// refuses their numbers.
const CLOCK_OF_SPEED: clockid_t = 21328;
const CLOCK_OF_REAL_TIME: clockid_t = 21329;
const CLOCK_OF_BASES: clockid_t = 21330;

/// The clocks that have a base, in the order of the library.
const BASES: clockid_t = 5;

/// Why a run cannot take place at a speed.
#[derive(Debug, thiserror::Error)]
pub enum SpeedError {
    /// This program has no library for its system.
    #[error("speed {speed} is not possible here: {reason} (hint: leave out `--speed`)")]
    Unsupported {
        /// The speed.
        speed: Speed,
        /// Why not.
        reason: String,
    },
    /// The program could not be executed again.
    #[error("cannot start again at speed {speed}: {source}")]
    Restart {
        /// The speed.
        speed: Speed,
        /// The system's error.
        source: io::Error,
    },
    /// The program was executed again, and the library is not in it.
    #[error(
        "the library for speed {0} was not loaded (hint: the system may ignore `{PRELOAD}` for this program, or slotquake \
         is linked statically; unset `{VARIABLE}` if you have set it)"
    )]
    NotLoaded(Speed),
    /// The process lives at another speed already.
    #[error("this process lives at speed {0} already")]
    Other(Speed),
    /// The speed cannot be changed, because the process began in real time.
    #[error("this process lives in real time, and cannot change to speed {0}")]
    Unchangeable(Speed),
    /// The library is loaded, and the clocks do not show it.
    #[error("the clocks of slotquake do not run at speed {speed}: {seen}")]
    Clocks {
        /// The speed.
        speed: Speed,
        /// What they show.
        seen: String,
    },
}

/// Why no other speed than 1 is possible with this program; None if others are.
pub fn obstacle() -> Option<String> {
    if !LIBRARY.is_empty() {
        return None;
    }
    Some(format!(
        "this slotquake was built for {} on {}, and clocks can only be dilated on Linux with glibc, on x86-64 and arm64",
        if cfg!(target_env = "musl") { "musl" } else { env::consts::OS },
        env::consts::ARCH
    ))
}

/// Writes the library to a file that everybody may read, for programs that do not inherit a descriptor of it, as those in
/// containers.
pub fn store(path: &Path) -> io::Result<()> {
    fs::write(path, LIBRARY)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

/// The speed at which this process lives, as the library in it says.
pub fn current() -> Speed {
    of_library().unwrap_or_default()
}

/// The speed of the library in this process; None without it.
fn of_library() -> Option<Speed> {
    clock_gettime(ClockId::from_raw(CLOCK_OF_SPEED)).ok()?.tv_sec().to_string().parse().ok()
}

/// Lets this process live at another speed from now on, and servers to which it is given by [`inherit`]. Its monotonic
/// clocks go on from where they are, and the wall clocks begin again at real time. No run may be under way: waits that have
/// begun end when they would have ended before.
///
/// # Errors
/// If the process did not [`begin`] at a speed, and if its clocks then do not run at this one.
pub fn change(speed: Speed) -> Result<(), SpeedError> {
    if current() == speed {
        return Ok(());
    }
    set(speed).map_err(|_| SpeedError::Unchangeable(speed))?;
    prove(speed)
}

/// Makes a server that a command starts live at the speed of this process. In real time, it runs without the library.
pub fn inherit(command: &mut Command) {
    let Some(speed) = of_library() else { return };
    if speed.is_real() {
        command.env_remove(VARIABLE);
        match users_libraries() {
            Some(users) => command.env(PRELOAD, users),
            None => command.env_remove(PRELOAD),
        };
        return;
    }
    command.env(VARIABLE, handed_down(speed));
}

/// Like [`inherit`], for a program that may start others without the descriptors that it does not know, as Python does. They
/// find the library at this process, which must live as long as they.
pub fn inherit_for_all(command: &mut Command) {
    inherit(command);
    let Some(list) = env::var(PRELOAD).ok().filter(|_| of_library().is_some_and(|speed| !speed.is_real())) else {
        return;
    };
    command.env(PRELOAD, list.replacen("/proc/self/fd/", &format!("/proc/{}/fd/", std::process::id()), 1));
}

/// The value of [`VARIABLE`] for a server that is to live at the speed of this process; None in real time.
pub fn value() -> Option<String> {
    of_library().filter(|speed| !speed.is_real()).map(handed_down)
}

fn handed_down(speed: Speed) -> String {
    let base = |number: clockid_t| {
        let base = clock_gettime(ClockId::from_raw(CLOCK_OF_BASES + number)).expect("the library has this clock");
        Duration::from(base).as_nanos()
    };
    variable(speed, (0..BASES).map(base))
}

/// What the variable says of a speed and the bases in nanoseconds.
fn variable(speed: Speed, bases: impl Iterator<Item = u128>) -> String {
    bases.fold(speed.to_string(), |text, base| format!("{text} {base}"))
}

/// The libraries that the user has set to be loaded, without that of slotquake.
fn users_libraries() -> Option<OsString> {
    let list = env::var_os(PRELOAD)?;
    if of_library().is_none() {
        return Some(list);
    }
    let list = list.into_string().ok()?;
    list.split_once(':').map(|(_, users)| users.into())
}

/// The real time of the wall clock, at any speed.
pub fn real_now() -> SystemTime {
    clock_gettime(ClockId::from_raw(CLOCK_OF_REAL_TIME)).map_or_else(
        |_| SystemTime::now(),
        |now| SystemTime::UNIX_EPOCH + Duration::new(now.tv_sec() as u64, now.tv_nsec() as u32),
    )
}

/// A span of real time in the time of this process: the deadline of something that is not faster at speed, such as a
/// program that is not under the library.
pub fn real_span(span: Duration) -> Duration {
    span * current().factor()
}

/// Whether a process has mapped a file that the library in it reads. The error says why not; `library` is what it is for.
/// Why a server does not go by a library that it was given.
pub fn not_loaded(library: &str) -> String {
    format!("{library} is not loaded into it (hint: is the server linked statically?)")
}

fn is_mapped(pid: u32, path: &Path, library: &str) -> Result<(), String> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).map_err(|error| format!("its memory: {error}"))?;
    let path = path.to_string_lossy();
    if maps.lines().any(|line| line.ends_with(path.as_ref())) {
        return Ok(());
    }
    Err(not_loaded(library))
}

/// Makes the process live at that speed, which it does until its end. Executes the program again with the same arguments,
/// unless it was already; call it while the process has one thread, before anything that must not be done twice. At speed
/// 1 it does nothing.
///
/// # Errors
/// If this system or this build has no library, if the program cannot be executed again, and if the library is then not in
/// it or its clocks do not run at that speed.
pub fn begin(speed: Speed) -> Result<(), SpeedError> {
    let now = current();
    if now == speed {
        return if speed.is_real() { Ok(()) } else { prove(speed) };
    }
    if !now.is_real() {
        return Err(SpeedError::Other(now));
    }
    if let Some(reason) = obstacle() {
        return Err(SpeedError::Unsupported { speed, reason });
    }
    if env::var_os(VARIABLE).is_some() {
        return Err(SpeedError::NotLoaded(speed));
    }
    let source = match restart(speed) {
        Ok(never) => match never {},
        Err(source) => source,
    };
    Err(SpeedError::Restart { speed, source })
}

/// Executes this program again under the library. Returns only on failure.
fn restart(speed: Speed) -> io::Result<std::convert::Infallible> {
    let mut command = Command::new(env::current_exe()?);
    let mut arguments = env::args_os();
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    let _kept = under(&mut command, speed)?;
    Err(command.args(arguments).exec())
}

/// Whether another program lives at a speed as it should; the error says why not. `date` is asked, as if it had lived for some
/// time at the highest speed, and is now an hour ahead.
pub fn probe() -> Result<(), String> {
    const AHEAD_S: i64 = 3600;
    if let Some(reason) = obstacle() {
        return Err(reason);
    }
    let mut command = Command::new("date");
    command.arg("+%s");
    let text = |error: io::Error| error.to_string();
    let library =
        under_since(&mut command, Speed::MAX, Duration::from_secs(AHEAD_S as u64) / (Speed::MAX.factor() - 1));
    let _kept = library.map_err(text)?;
    let output = command.output().map_err(|error| format!("date: {error}"))?;
    let now = real_now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs().cast_signed();
    let told =
        String::from_utf8_lossy(&output.stdout).trim().parse::<i64>().map_err(|error| format!("date: {error}"))?;
    let ahead_s = told - now;
    // It may take a while to start, and that is multiplied.
    if (AHEAD_S - 60..AHEAD_S + 3600).contains(&ahead_s) {
        return Ok(());
    }
    let said = last_words(&output.stderr);
    Err(format!("`date` is {ahead_s} s ahead of real time, and not {AHEAD_S}{said}"))
}

/// The last line that a program has said, as text to append.
fn last_words(stderr: &[u8]) -> String {
    let said = String::from_utf8_lossy(stderr);
    said.lines().last().map_or_else(String::new, |line| format!(": {line}"))
}

/// Shows that the clocks of this process run at that speed, by the real clock.
fn prove(speed: Speed) -> Result<(), SpeedError> {
    /// In the time of this process; the clocks are exact, so it need not be long.
    const WATCHED: Duration = Duration::from_millis(20);
    // A step of the wall clock meanwhile would look like another speed.
    const ATTEMPTS: usize = 3;
    let read = || (real_now(), Instant::now(), real_now());
    let mut seen = String::new();
    for _ in 0..ATTEMPTS {
        let (before, from, after) = read();
        std::thread::sleep(WATCHED);
        let (before_end, to, after_end) = read();
        let real = |from: SystemTime, to: SystemTime| to.duration_since(from).unwrap_or_default().as_secs_f64();
        let passed = to.duration_since(from).as_secs_f64();
        let (least, most) = (real(after, before_end), real(before, after_end));
        let factor = f64::from(speed.factor());
        if passed >= WATCHED.as_secs_f64() && least * factor * 0.99 <= passed && passed <= most * factor * 1.01 {
            return Ok(());
        }
        seen = format!("{passed:.4} s passed in {least:.4} to {most:.4} real seconds");
    }
    Err(SpeedError::Clocks { speed, seen })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_program_lives_at_a_speed() {
        assert_eq!(probe().err(), obstacle());
    }

    #[test]
    fn this_process_lives_in_real_time() {
        assert_eq!(current(), Speed::REAL);
        assert!(begin(Speed::REAL).is_ok());
        assert_eq!(real_span(Duration::from_secs(7)), Duration::from_secs(7));
        let Err(SpeedError::Clocks { .. }) = prove("10".parse().expect("a speed")) else {
            panic!("the clocks of this process are not dilated");
        };
    }
}

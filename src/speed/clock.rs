//! Wall clocks of their own for servers: a file says by how much the clock of a server differs from that of slotquake, and
//! the library that is loaded into the server reads it. The file belongs to the host of a server, so the clock stays as it
//! is when the server is started again.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Library, is_mapped};
use crate::fault::ClockChange;

/// The variable with the path of the file.
const VARIABLE: &str = "SLOTQUAKE_CLOCK";

/// `FORMAT_OF_CLOCK` of the library.
const FORMAT: [u8; 8] = *b"slotclk1";

/// Where the number of changes is in the file, and where the two skews are (`struct clock_file` of the library).
const CHANGES_AT: u64 = 8;
const SKEWS_AT: u64 = 16;
const SKEW_BYTES: u64 = 24;

/// How a wall clock differs from that of slotquake, which is that of all other servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skew {
    /// By what it was changed; None if it does not differ.
    change: Option<ClockChange>,
    /// From which moment on it drifts.
    from: SystemTime,
}

impl Skew {
    /// No difference.
    pub const NONE: Self = Self { change: None, from: UNIX_EPOCH };

    /// A change, made now.
    pub fn now(change: ClockChange) -> Self {
        Self { change: Some(change), from: SystemTime::now() }
    }

    /// The skew of a clock that drifts since that moment, or has jumped.
    #[cfg(test)]
    fn since(change: ClockChange, from: SystemTime) -> Self {
        Self { change: Some(change), from }
    }

    /// What the clock shows at a moment of slotquake's.
    pub fn shown(&self, moment: SystemTime) -> SystemTime {
        let since_ns = moment.duration_since(self.from).map_or(0, |since| since.as_nanos() as i64);
        let ahead_ns = self.change.map_or(0, |change| change.ahead_ns(since_ns));
        let span = Duration::from_nanos(ahead_ns.unsigned_abs());
        let shown = if ahead_ns < 0 { moment.checked_sub(span) } else { moment.checked_add(span) };
        shown.unwrap_or(moment)
    }

    /// As the library reads it.
    fn bytes(&self) -> [u8; SKEW_BYTES as usize] {
        let (offset_ns, drift_ppm) = match self.change {
            None => (0, 0),
            Some(ClockChange::Jump(shift)) => (shift.as_ns(), 0),
            Some(ClockChange::Drift(drift)) => (0, i64::from(drift.ppm())),
        };
        let from_ns = self.from.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64);
        let mut bytes = [0; SKEW_BYTES as usize];
        for (place, number) in bytes.chunks_exact_mut(8).zip([offset_ns, drift_ppm, from_ns]) {
            place.copy_from_slice(&number.to_ne_bytes());
        }
        bytes
    }
}

/// The wall clock of one host.
#[derive(Debug)]
pub struct HostClock {
    path: PathBuf,
    file: File,
    changes: u8,
    skew: Skew,
}

impl HostClock {
    /// A clock that does not differ, in a new file of that path.
    pub fn create(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        let mut clock = Self { path, file, changes: 0, skew: Skew::NONE };
        clock.file.write_all_at(&FORMAT, 0)?;
        // The other skew makes the file as long as the library expects.
        clock.file.write_all_at(&Skew::NONE.bytes(), SKEWS_AT)?;
        clock.set(Skew::NONE)?;
        Ok(clock)
    }

    /// Makes the clock differ so, from now on, for every server that reads it.
    pub fn set(&mut self, skew: Skew) -> io::Result<()> {
        let changes = self.changes.wrapping_add(1);
        // The skew that is not in force is written first. Then one byte brings it into force, so no server reads half of it.
        self.file.write_all_at(&skew.bytes(), SKEWS_AT + u64::from(changes & 1) * SKEW_BYTES)?;
        self.file.write_all_at(&[changes], CHANGES_AT)?;
        (self.changes, self.skew) = (changes, skew);
        Ok(())
    }

    /// How the clock differs.
    pub fn skew(&self) -> Skew {
        self.skew
    }

    /// Makes a command, and what it starts, live by this clock, if they use libc and the library is loaded into them.
    pub fn give(&self, command: &mut Command) {
        command.env(VARIABLE, &self.path);
    }

    /// Whether a process has loaded the library and read the variable. The error says why not.
    pub fn is_read_by(&self, pid: u32) -> Result<(), String> {
        is_mapped(pid, &self.path, "the library that changes its clock")
    }
}

/// Loads the library into what a command starts, in real time. At another speed it is inherited. The library is open in
/// this process until the result is dropped.
pub fn preload() -> io::Result<Library> {
    Library::open()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_shows_what_its_change_says() {
        let at = |s: f64| UNIX_EPOCH + Duration::from_secs_f64(1_800_000_000.0 + s);
        let jump = |text: &str| Skew::since(ClockChange::Jump(text.parse().unwrap()), at(0.0));
        let drift = |text: &str| Skew::since(ClockChange::Drift(text.parse().unwrap()), at(10.0));
        for (skew, moment, shown) in [
            (Skew::NONE, at(5.0), at(5.0)),
            (jump("1h"), at(5.0), at(3605.0)),
            (jump("-1h"), at(5.0), at(-3595.0)),
            (drift("10%"), at(5.0), at(5.0)),
            (drift("10%"), at(30.0), at(32.0)),
            (drift("-50%"), at(30.0), at(20.0)),
        ] {
            assert_eq!(skew.shown(moment), shown, "{skew:?}");
        }
    }

    #[test]
    fn what_is_in_force_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clock");
        let mut clock = HostClock::create(&path).unwrap();
        let mut before = std::fs::read(&path).unwrap();
        for change in ["1h", "-1h", "2h"] {
            let skew = Skew::now(ClockChange::Jump(change.parse().unwrap()));
            clock.set(skew).unwrap();
            let after = std::fs::read(&path).unwrap();
            let place = |changes: u8| {
                let from = (SKEWS_AT + u64::from(changes & 1) * SKEW_BYTES) as usize;
                from..from + SKEW_BYTES as usize
            };
            let (old, new) = (before[CHANGES_AT as usize], after[CHANGES_AT as usize]);
            assert_eq!(new, old + 1);
            assert_eq!((&after[place(old)], &after[place(new)]), (&before[place(old)], &skew.bytes()[..]));
            before = after;
        }
    }

    #[test]
    fn a_file_is_never_taken_from_another_clock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clock");
        let clock = HostClock::create(&path).unwrap();
        assert!(HostClock::create(&path).is_err());
        assert_eq!(clock.file.metadata().unwrap().len(), SKEWS_AT + 2 * SKEW_BYTES);
        assert!(clock.is_read_by(std::process::id()).unwrap_err().contains("is not loaded into it (hint: "));
    }
}

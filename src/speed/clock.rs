//! Clocks of their own for servers: a file says by how much a clock of a server differs from that of slotquake, and the
//! library that is loaded into the server reads it. The library writes into the same file what it told of the clocks. The
//! file belongs to the host of a server, so the clock stays as it is when the server is started again.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

use super::{Library, is_mapped};
use crate::fault::{ClockChange, ClockOf};

/// The variable with the path of the file.
pub const VARIABLE: &str = "SLOTQUAKE_CLOCK";

/// `FORMAT_OF_CLOCK` of the library.
const FORMAT: [u8; 8] = *b"slotclk2";

/// Where the number of changes is in the file, where what was told of the clocks, and where the two skews (`struct
/// clock_file` of the library).
const CHANGES_AT: u64 = 8;
const TOLD_AT: u64 = 16;
const TOLD_BYTES: usize = 16;
const SKEWS_AT: u64 = TOLD_AT + 2 * TOLD_BYTES as u64;
const SKEW_BYTES: usize = 56;

/// How a clock differs from that of slotquake, which is that of all other servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skew {
    of: ClockOf,
    /// By what it was changed; None if it does not differ.
    change: Option<ClockChange>,
    /// Since when, by slotquake's wall clock.
    from: SystemTime,
    /// Since when, by its monotonic clock.
    from_up: Duration,
}

impl Skew {
    /// No difference.
    pub const NONE: Self = Self { of: ClockOf::Wall, change: None, from: UNIX_EPOCH, from_up: Duration::ZERO };

    /// A change, made now.
    pub fn now(of: ClockOf, change: ClockChange) -> Self {
        Self { of, change: Some(change), from: SystemTime::now(), from_up: up() }
    }

    /// The skew of a wall clock that drifts or strobes since that moment, or has jumped.
    #[cfg(test)]
    pub(crate) fn since(change: ClockChange, from: SystemTime) -> Self {
        Self { change: Some(change), from, ..Self::NONE }
    }

    /// Which clock differs; None if none does.
    pub fn of(&self) -> Option<ClockOf> {
        self.change.map(|_| self.of)
    }

    /// What was changed; None if nothing differs.
    pub fn change(&self) -> Option<ClockChange> {
        self.change
    }

    /// How far the clock that differs is ahead at a moment of slotquake's; less than 0 is behind.
    pub fn ahead_ns(&self, moment: SystemTime) -> i64 {
        self.change.map_or(0, |change| change.ahead_ns(self.since_ns(moment)))
    }

    /// What the wall clock shows at a moment of slotquake's.
    pub fn shown(&self, moment: SystemTime) -> SystemTime {
        match self.of {
            ClockOf::Wall => later(moment, self.ahead_ns(moment)),
            ClockOf::Monotonic => moment,
        }
    }

    /// The least and the most that the wall clock shows between two moments of slotquake's, apart by a tolerance. A clock
    /// that jumps meanwhile may show what is near the one, or near the other.
    pub fn shown_between(
        &self,
        from: SystemTime,
        to: SystemTime,
        tolerance: Duration,
    ) -> Vec<(SystemTime, SystemTime)> {
        let steady = (self.shown(from), self.shown(to));
        let (ClockOf::Wall, Some(ClockChange::Strobe(strobe))) = (self.of, self.change) else { return vec![steady] };
        let changes = |moment: SystemTime| strobe.changes(self.since_ns(moment));
        if changes(from.checked_sub(tolerance).unwrap_or(from)) == changes(to + tolerance) {
            return vec![steady];
        }
        let wrong = |moment| later(moment, strobe.by.as_ns());
        vec![(from, to), (wrong(from), wrong(to))]
    }

    /// How long it differs at a moment of slotquake's; less than 0 before.
    fn since_ns(&self, moment: SystemTime) -> i64 {
        moment.duration_since(self.from).map_or(-1, |since| since.as_nanos() as i64)
    }

    /// As the library reads it.
    fn bytes(&self) -> [u8; SKEW_BYTES] {
        let (offset_ns, drift_ppm, half_ns, lasts_ns) = match self.change {
            None => (0, 0, 0, 0),
            Some(ClockChange::Jump(shift)) => (shift.as_ns(), 0, 0, 0),
            Some(ClockChange::Drift(drift)) => (0, i64::from(drift.ppm()), 0, 0),
            Some(ClockChange::Strobe(strobe)) => {
                let [half_ns, lasts_ns] = [strobe.every.as_ns() / 2, strobe.lasts.as_ns()].map(u64::cast_signed);
                (strobe.by.as_ns(), 0, half_ns, lasts_ns)
            }
        };
        let from_ns = self.from.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64);
        let numbers = [
            place(self.of).cast_signed(),
            offset_ns,
            drift_ppm,
            half_ns,
            lasts_ns,
            from_ns,
            self.from_up.as_nanos() as i64,
        ];
        let mut bytes = [0; SKEW_BYTES];
        for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_ne_bytes());
        }
        bytes
    }
}

/// The number of a clock in the library.
fn place(of: ClockOf) -> u64 {
    match of {
        ClockOf::Wall => 0,
        ClockOf::Monotonic => 1,
    }
}

/// A moment that is later by that; earlier by less than 0.
fn later(moment: SystemTime, by_ns: i64) -> SystemTime {
    let span = Duration::from_nanos(by_ns.unsigned_abs());
    let moved = if by_ns < 0 { moment.checked_sub(span) } else { moment.checked_add(span) };
    moved.unwrap_or(moment)
}

/// What slotquake's monotonic clock shows.
pub fn up() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

/// What the library has told of a clock to the servers of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// How often.
    pub count: u64,
    /// How far the clock was ahead of slotquake's the last time; less than 0 is behind.
    pub ahead_ns: i64,
}

/// The clocks of one host.
#[derive(Debug)]
pub struct HostClock {
    path: PathBuf,
    file: File,
    changes: u8,
    skew: Skew,
}

impl HostClock {
    /// Clocks that do not differ, in a new file of that path.
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

    /// Makes a clock differ so, from now on, for every server that reads it.
    pub fn set(&mut self, skew: Skew) -> io::Result<()> {
        let changes = self.changes.wrapping_add(1);
        // The skew that is not in force is written first. Then one byte brings it into force, so no server reads half of it.
        self.file.write_all_at(&skew.bytes(), SKEWS_AT + u64::from(changes & 1) * SKEW_BYTES as u64)?;
        self.file.write_all_at(&[changes], CHANGES_AT)?;
        (self.changes, self.skew) = (changes, skew);
        Ok(())
    }

    /// How a clock differs.
    pub fn skew(&self) -> Skew {
        self.skew
    }

    /// What the library has told of a clock.
    pub fn told(&self, of: ClockOf) -> io::Result<Told> {
        let mut bytes = [0; TOLD_BYTES];
        self.file.read_exact_at(&mut bytes, TOLD_AT + place(of) * TOLD_BYTES as u64)?;
        let (count, ahead) = bytes.split_at(8);
        let number = |bytes: &[u8]| bytes.try_into().expect("eight bytes");
        Ok(Told { count: u64::from_ne_bytes(number(count)), ahead_ns: i64::from_ne_bytes(number(ahead)) })
    }

    /// Makes a command, and what it starts, live by these clocks, if they use libc and the library is loaded into them.
    pub fn give(&self, command: &mut Command) {
        command.env(VARIABLE, &self.path);
    }

    /// Whether a process has loaded the library and read the variable. The error says why not.
    pub fn is_read_by(&self, pid: u32) -> Result<(), String> {
        is_mapped(pid, &self.path, LIBRARY_OF_CLOCKS)
    }
}

/// The library as a message about a server without it names it.
pub const LIBRARY_OF_CLOCKS: &str = "the library that changes its clock";

/// Loads the library into what a command starts, in real time. At another speed it is inherited. The library is open in
/// this process until the result is dropped.
pub fn preload() -> io::Result<Library> {
    Library::open()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Strobe;

    #[test]
    fn a_clock_shows_what_its_change_says() {
        let at = |s: f64| UNIX_EPOCH + Duration::from_secs_f64(1_800_000_000.0 + s);
        let jump = |text: &str| Skew::since(ClockChange::Jump(text.parse().unwrap()), at(0.0));
        let drift = |text: &str| Skew::since(ClockChange::Drift(text.parse().unwrap()), at(10.0));
        // From 10 on, wrong for two seconds and right for two, until 20.
        let strobe = |by: &str| {
            let span = |text: &str| text.parse().unwrap();
            let strobe = Strobe { by: by.parse().unwrap(), every: span("4s"), lasts: span("10s") };
            Skew::since(ClockChange::Strobe(strobe), at(10.0))
        };
        for (skew, moment, shown) in [
            (Skew::NONE, at(5.0), at(5.0)),
            (jump("1h"), at(5.0), at(3605.0)),
            (jump("-1h"), at(5.0), at(-3595.0)),
            (drift("10%"), at(5.0), at(5.0)),
            (drift("10%"), at(30.0), at(32.0)),
            (drift("-50%"), at(30.0), at(20.0)),
            (strobe("2s"), at(9.0), at(9.0)),
            (strobe("2s"), at(11.0), at(13.0)),
            (strobe("-2s"), at(13.0), at(13.0)),
            (strobe("-2s"), at(14.5), at(12.5)),
            (strobe("2s"), at(20.0), at(20.0)),
        ] {
            assert_eq!(skew.shown(moment), shown, "{skew:?}");
            let monotonic = Skew { of: ClockOf::Monotonic, ..skew };
            assert_eq!(monotonic.shown(moment), moment, "{skew:?}");
        }
        let between = |from: f64, to: f64| strobe("5s").shown_between(at(from), at(to), Duration::from_millis(100));
        for (from, to, windows) in [
            (10.5, 11.0, vec![(at(15.5), at(16.0))]),
            (12.2, 13.0, vec![(at(12.2), at(13.0))]),
            (11.5, 12.1, vec![(at(11.5), at(12.1)), (at(16.5), at(17.1))]),
            (12.05, 12.2, vec![(at(12.05), at(12.2)), (at(17.05), at(17.2))]),
            (9.2, 9.95, vec![(at(9.2), at(9.95)), (at(14.2), at(14.95))]),
            (19.5, 20.5, vec![(at(19.5), at(20.5)), (at(24.5), at(25.5))]),
            (20.2, 21.0, vec![(at(20.2), at(21.0))]),
        ] {
            assert_eq!(between(from, to), windows, "{from} to {to}");
        }
    }

    #[test]
    fn what_is_in_force_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clock");
        let mut clock = HostClock::create(&path).unwrap();
        let mut before = std::fs::read(&path).unwrap();
        for change in ["1h", "-1h", "2h"] {
            let skew = Skew::now(ClockOf::Wall, ClockChange::Jump(change.parse().unwrap()));
            clock.set(skew).unwrap();
            let after = std::fs::read(&path).unwrap();
            let place = |changes: u8| {
                let from = SKEWS_AT as usize + usize::from(changes & 1) * SKEW_BYTES;
                from..from + SKEW_BYTES
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
        assert_eq!(clock.file.metadata().unwrap().len(), SKEWS_AT + 2 * SKEW_BYTES as u64);
        assert!(clock.is_read_by(std::process::id()).unwrap_err().contains("is not loaded into it (hint: "));
    }
}

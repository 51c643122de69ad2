//! The library of [`crate::speed`] as a file in memory, and programs under it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};

use super::{CLOCK_OF_SPEED, LIBRARY, PRELOAD, Speed, VARIABLE, users_libraries, variable};

/// Makes a command, and what it starts, live at that speed from now on, if they use libc. The library is open in this
/// process until the result is dropped.
pub fn under(command: &mut Command, speed: Speed) -> io::Result<Library> {
    under_since(command, speed, Duration::ZERO)
}

/// The same, as if it had been so since a moment before now.
pub(super) fn under_since(command: &mut Command, speed: Speed, since: Duration) -> io::Result<Library> {
    let library = Library::open()?;
    let clocks = [
        ClockId::CLOCK_REALTIME,
        ClockId::CLOCK_MONOTONIC,
        ClockId::CLOCK_MONOTONIC_RAW,
        ClockId::CLOCK_BOOTTIME,
        ClockId::CLOCK_TAI,
    ];
    let moment = |clock| Ok(Duration::from(clock_gettime(clock)?).saturating_sub(since).as_nanos());
    let bases = clocks.into_iter().map(moment).collect::<nix::Result<Vec<_>>>()?;
    command.env(VARIABLE, variable(speed, bases.into_iter()));
    library.load_into(command);
    Ok(library)
}

/// Sets the speed of the library in this process.
pub(super) fn set(speed: Speed) -> io::Result<()> {
    Ok(clock_settime(ClockId::from_raw(CLOCK_OF_SPEED), TimeSpec::new(speed.factor().into(), 0))?)
}

/// The library as a file in memory. Programs that are executed inherit its descriptor and find it in their own `/proc`, in
/// any mount namespace. It takes no place in a file system, so nothing has to be removed.
#[derive(Debug)]
pub struct Library(File);

impl Library {
    pub(super) fn open() -> io::Result<Self> {
        // Without MFD_CLOEXEC, so that it outlives exec.
        let mut file = File::from(memfd_create(c"slotquake-dilate", MFdFlags::empty())?);
        file.write_all(LIBRARY)?;
        Ok(Self(file))
    }

    /// Loads it into what a command starts.
    pub fn load_into(&self, command: &mut Command) {
        command.env(PRELOAD, self.before(users_libraries().as_deref()));
    }

    /// The list of libraries to load, with those of the user.
    fn before(&self, users: Option<&OsStr>) -> OsString {
        let mut list = OsString::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()));
        if let Some(users) = users.filter(|users| !users.is_empty()) {
            list.push(":");
            list.push(users);
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_libraries_stay() {
        let library = Library::open().expect("a file in memory");
        let own = format!("/proc/self/fd/{}", library.0.as_raw_fd());
        for (users, expected) in
            [(None, own.clone()), (Some(""), own.clone()), (Some("/x/a.so b.so"), format!("{own}:/x/a.so b.so"))]
        {
            assert_eq!(library.before(users.map(OsStr::new)), *expected);
        }
    }
}

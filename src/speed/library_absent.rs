//! Stands for `library.rs` where no program can be put under the library.

use std::io;
use std::process::Command;
use std::time::Duration;

use super::{Speed, obstacle};

/// The library; there is none.
#[derive(Debug)]
pub struct Library(std::convert::Infallible);

/// Makes a command live at that speed; always fails here.
pub fn under(command: &mut Command, speed: Speed) -> io::Result<Library> {
    under_since(command, speed, Duration::ZERO)
}

pub(super) fn under_since(_command: &mut Command, _speed: Speed, _since: Duration) -> io::Result<Library> {
    Library::open()
}

pub(super) fn set(_speed: Speed) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Library {
    pub(super) fn open() -> io::Result<Self> {
        Err(io::Error::new(io::ErrorKind::Unsupported, obstacle().unwrap_or_default()))
    }

    /// Loads it into what a command starts.
    pub fn load_into(&self, _command: &mut Command) {
        match self.0 {}
    }
}

//! How a command ends.

pub use slotquake::batch::Exit;

/// Why a command could not do its work.
#[derive(Debug)]
pub struct Trouble {
    /// The exit code.
    pub exit: Exit,
    /// The message for the user.
    pub message: String,
}

#[expect(clippy::needless_pass_by_value, reason = "`map_err` hands errors over by value")]
impl Trouble {
    /// Wrong usage, an invalid suite, or a file that slotquake did not write.
    pub fn usage(message: impl ToString) -> Self {
        Self { exit: Exit::Usage, message: message.to_string() }
    }

    /// The machine, the servers or the cluster do not let slotquake do its work.
    pub fn unavailable(message: impl ToString) -> Self {
        Self { exit: Exit::Unavailable, message: message.to_string() }
    }

    /// A bug of slotquake, or something that it left behind.
    pub fn harness(message: impl ToString) -> Self {
        Self { exit: Exit::Harness, message: message.to_string() }
    }
}

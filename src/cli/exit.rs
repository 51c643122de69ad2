//! What a command comes to.

pub use slotquake::batch::Exit;

/// Why a command could not do its work.
#[derive(Debug)]
pub struct Trouble {
    /// The exit code.
    pub exit: Exit,
    /// For people.
    pub message: String,
}

#[expect(clippy::needless_pass_by_value, reason = "`map_err` hands errors over by value")]
impl Trouble {
    /// Wrong usage, a wrong suite, a file that is none of ours.
    pub fn usage(message: impl ToString) -> Self {
        Self { exit: Exit::Usage, message: message.to_string() }
    }

    /// The harness, or the machine under it.
    pub fn harness(message: impl ToString) -> Self {
        Self { exit: Exit::Harness, message: message.to_string() }
    }
}

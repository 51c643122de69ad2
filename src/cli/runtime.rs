//! The asynchronous runtime that subcommands share.

use tokio::runtime::Runtime;

use super::exit::Trouble;
use super::signals::Signals;

/// Starts the runtime. It starts threads, so enter the sandbox first.
pub fn runtime() -> Result<Runtime, Trouble> {
    Runtime::new().map_err(|error| Trouble::unavailable(format!("cannot start the asynchronous runtime: {error}")))
}

/// Starts the runtime and listens for the signals that end a subcommand.
pub fn listening() -> Result<(Runtime, Signals), Trouble> {
    let runtime = runtime()?;
    let signals = Signals::listen(&runtime)?;
    Ok((runtime, signals))
}

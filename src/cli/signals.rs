//! Handles signals, so that runs end in order.

use slotquake::batch::{Audience, Stop};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::exit::{Exit, Trouble};
use super::progress::Teller;

/// The signals that ask a command to end. While this exists, none is missed and none ends the process by itself.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// Registers handlers for the signals.
    pub fn listen(runtime: &Runtime) -> Result<Self, Trouble> {
        let _entered = runtime.enter();
        let taken =
            |kind| signal(kind).map_err(|error| Trouble::unavailable(format!("cannot listen for signals: {error}")));
        Ok(Self {
            interrupt: taken(SignalKind::interrupt())?,
            terminate: taken(SignalKind::terminate())?,
            hangup: taken(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal and returns its name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hangup.recv() => "SIGHUP",
        }
    }

    /// The first signal ends the current work in order, as described by `happens`, and starts nothing else. The second
    /// signal ends the process.
    pub fn stop(mut self, teller: Teller, happens: &'static str) -> Stop {
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(async move {
            loop {
                let name = self.next().await;
                if sender.borrow().is_some() {
                    std::process::exit(i32::from(Exit::Interrupted.number()));
                }
                teller.line(&format!("{name}: {happens}; once more to end at once"));
                sender.send_replace(Some(name.to_owned()));
            }
        });
        receiver
    }
}

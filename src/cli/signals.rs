//! Signals end runs in order.

use slotquake::batch::{Audience, Stop};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::exit::{Exit, Trouble};
use super::progress::Teller;

/// The signals that ask a command to end. None that comes from now on is missed, nor ends the process by itself.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    /// Takes them from the system.
    pub fn listen(runtime: &Runtime) -> Result<Self, Trouble> {
        let _entered = runtime.enter();
        let taken =
            |kind| signal(kind).map_err(|error| Trouble::harness(format!("cannot listen for signals: {error}")));
        Ok(Self {
            interrupt: taken(SignalKind::interrupt())?,
            terminate: taken(SignalKind::terminate())?,
            hangup: taken(SignalKind::hangup())?,
        })
    }

    /// The name of the next one.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hangup.recv() => "SIGHUP",
        }
    }

    /// The first one lets what is under way end in order, which is what `happens` says, and lets nothing else
    /// begin; the second ends the process.
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

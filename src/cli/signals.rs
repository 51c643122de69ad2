//! Signals end runs in order.

use slotquake::batch::{Audience, Stop};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::exit::Exit;
use super::progress::Teller;

/// The first signal ends the runs that are under way in order and lets no other begin; the second ends the
/// process.
pub fn stop_on_signals(teller: Teller) -> std::io::Result<Stop> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let (sender, receiver) = watch::channel(None);
    tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
                _ = hangup.recv() => "SIGHUP",
            };
            if sender.borrow().is_some() {
                std::process::exit(i32::from(Exit::Interrupted.number()));
            }
            teller.line(&format!("{name}: runs are healed, reported and torn down; once more to end at once"));
            sender.send_replace(Some(name.to_owned()));
        }
    });
    Ok(receiver)
}

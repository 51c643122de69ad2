//! Signals end runs in order.

use slotquake::batch::{Audience, Stop};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::exit::Exit;
use super::progress::Teller;

/// The first signal lets what is under way end in order, which is what `happens` says, and lets nothing else
/// begin; the second ends the process.
pub fn stop_on_signals(teller: Teller, happens: &'static str) -> std::io::Result<Stop> {
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
            teller.line(&format!("{name}: {happens}; once more to end at once"));
            sender.send_replace(Some(name.to_owned()));
        }
    });
    Ok(receiver)
}

//! `slotquake exec`.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::exit::{Exit, Trouble};
use super::socket::Which;

/// Run a program in the network of a cluster of `slotquake up`
///
/// In the sandbox the nodes have a private network, which programs outside cannot reach. Files and terminal are
/// the same as outside.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  slotquake exec redis-cli -c -h 127.1.0.1
  slotquake exec                                  a shell
  slotquake exec tcpdump -ni lo port 16379")]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// The program and its arguments; without it, a shell
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "PROGRAM")]
    program: Vec<OsString>,
}

/// Replaces this process with the program.
pub fn main(args: &Args) -> Result<Exit, Trouble> {
    let stream = args.which.connect()?;
    #[cfg(target_os = "linux")]
    enter_network_of(&stream)?;
    drop(stream);
    let shell = || vec![std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into())];
    let words = if args.program.is_empty() { shell() } else { args.program.clone() };
    let error = Command::new(&words[0]).args(&words[1..]).exec();
    Err(Trouble::usage(format!("cannot run {}: {error}", words[0].display())))
}

/// Enters the network of the process that listens on the socket.
#[cfg(target_os = "linux")]
fn enter_network_of(stream: &std::os::unix::net::UnixStream) -> Result<(), Trouble> {
    use nix::sched::{CloneFlags, setns};
    use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

    let peer = getsockopt(stream, PeerCredentials).map_err(Trouble::unavailable)?.pid();
    // Enter the user namespace first: it grants the right to enter the network namespace.
    for (name, kind) in [("user", CloneFlags::CLONE_NEWUSER), ("net", CloneFlags::CLONE_NEWNET)] {
        let [own, theirs] = ["self".to_owned(), peer.to_string()].map(|process| format!("/proc/{process}/ns/{name}"));
        let entered = || -> std::io::Result<()> {
            if std::fs::read_link(&own)? != std::fs::read_link(&theirs)? {
                setns(std::fs::File::open(&theirs)?, kind)?;
            }
            Ok(())
        };
        entered()
            .map_err(|error| Trouble::unavailable(format!("cannot enter the cluster's network, {theirs}: {error}")))?;
    }
    Ok(())
}

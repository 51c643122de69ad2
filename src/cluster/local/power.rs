//! Hosts that lose their power: all processes of a server end at once.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The time limit for a signal to take effect.
const SIGNALLED_WITHIN: Duration = Duration::from_secs(5);

const POLL: Duration = Duration::from_millis(2);

/// Ends these servers, and all processes that they have started, at the same instant: none does anything any more once the
/// first has ended. Returns for each server what it had started, such as a process that was writing a snapshot.
pub fn cut(servers: &[u32]) -> io::Result<Vec<Vec<u32>>> {
    for &pid in servers {
        signal(pid, Signal::SIGSTOP)?;
    }
    // A server that has stopped starts no process any more.
    for &pid in servers {
        wait_until(|| state(pid).is_none_or(|(state, _)| matches!(state, 'T' | 'Z' | 'X')))?;
    }
    let children: Vec<Vec<u32>> = servers.iter().map(|&pid| descendants(pid)).collect::<io::Result<_>>()?;
    for &pid in children.iter().flatten().chain(servers) {
        signal(pid, Signal::SIGKILL)?;
    }
    Ok(children)
}

/// Waits until these processes, which were ended, have ended.
pub fn await_end(processes: &[u32]) -> io::Result<()> {
    processes.iter().try_for_each(|&pid| wait_until(|| state(pid).is_none_or(|(state, _)| matches!(state, 'Z' | 'X'))))
}

/// Signals a process, which may have ended.
fn signal(pid: u32, signal: Signal) -> io::Result<()> {
    match kill(Pid::from_raw(pid.cast_signed()), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn wait_until(holds: impl Fn() -> bool) -> io::Result<()> {
    let began = Instant::now();
    while !holds() {
        if began.elapsed() > SIGNALLED_WITHIN {
            return Err(io::Error::other(format!("a process does not obey a signal within {SIGNALLED_WITHIN:?}")));
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// The state of a process and its parent (proc(5)); None if there is none.
fn state(pid: u32) -> Option<(char, u32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The state follows the name in parentheses, which may contain spaces and parentheses.
    let (_, rest) = text.rsplit_once(") ")?;
    let mut words = rest.split(' ');
    Some((words.next()?.chars().next()?, words.next()?.parse().ok()?))
}

/// The processes that a process has started, and those that they have.
fn descendants(of: u32) -> io::Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        parents.extend(state(pid).map(|(_, parent)| (pid, parent)));
    }
    let mut found = vec![of];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    Ok(found.split_off(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_and_what_it_has_started_end_together() {
        let mut shell =
            std::process::Command::new("sh").args(["-c", "sleep 100 & sleep 100; true"]).spawn().expect("a shell");
        wait_until(|| descendants(shell.id()).is_ok_and(|children| children.len() == 2)).expect("it starts two");
        let children = descendants(shell.id()).expect("a list");
        let ended = cut(&[shell.id()]).expect("they are ours");
        assert!(!shell.wait().expect("it ends").success());
        await_end(&ended[0]).expect("they end");
        for child in children {
            assert!(state(child).is_none_or(|(state, _)| state == 'Z'), "{child}: {:?}", state(child));
        }
    }
}

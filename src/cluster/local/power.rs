//! Hosts that lose their power: all processes of a server end at once, and its directory is left with what was durable.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fault::Unsynced;
use crate::speed::durable::HostLog;
use crate::units::NodeNo;

/// The time limit for a signal to take effect.
const SIGNALLED_WITHIN: Duration = Duration::from_secs(5);

const POLL: Duration = Duration::from_millis(2);

/// What every node would be left with.
#[derive(Debug)]
pub struct Power {
    hosts: Vec<HostLog>,
    /// The processes of each node that were ended with its server, such as one that was writing a snapshot.
    children: Vec<Mutex<Vec<u32>>>,
}

impl Power {
    /// Logs beside the directories of the nodes, in which all is durable yet.
    pub fn create<'a>(dirs: impl Iterator<Item = &'a Path>) -> io::Result<Self> {
        let hosts = dirs.map(|dir| HostLog::create(&dir.with_extension("durable"), dir));
        let hosts: Vec<HostLog> = hosts.collect::<io::Result<_>>()?;
        let children = hosts.iter().map(|_| Mutex::default()).collect();
        Ok(Self { hosts, children })
    }

    /// Makes the server that a command starts tell what it synchronises to the disk of a node.
    pub fn give(&self, node: NodeNo, command: &mut Command) {
        self.hosts[node.index()].give(command);
    }

    /// Whether the process of a node tells that. The error says why not.
    pub fn is_told_by(&self, node: NodeNo, pid: u32) -> Result<(), String> {
        self.hosts[node.index()].is_written_by(pid)
    }

    /// Ends these servers, and all processes that they have started, at the same instant: none does anything any more
    /// once the first has ended.
    pub fn cut(&self, servers: &[(NodeNo, u32)]) -> io::Result<()> {
        for &(_, pid) in servers {
            signal(pid, Signal::SIGSTOP)?;
        }
        // A server that has stopped starts no process any more.
        for &(_, pid) in servers {
            wait_until(|| state(pid).is_none_or(|(state, _)| matches!(state, 'T' | 'Z' | 'X')))?;
        }
        let mut ended = Vec::new();
        for &(node, pid) in servers {
            let children = descendants(pid)?;
            ended.extend(children.iter().copied());
            *self.children[node.index()].lock().expect("no holder panics") = children;
            ended.push(pid);
        }
        ended.into_iter().try_for_each(|pid| signal(pid, Signal::SIGKILL))
    }

    /// Leaves the directory of a node, whose server has ended, with what was durable.
    pub fn lose(&self, node: NodeNo) -> io::Result<Unsynced> {
        let children = std::mem::take(&mut *self.children[node.index()].lock().expect("no holder panics"));
        for pid in children {
            wait_until(|| state(pid).is_none_or(|(state, _)| matches!(state, 'Z' | 'X')))?;
        }
        self.hosts[node.index()].lose()
    }

    /// Takes everything that the servers have written so far for durable.
    pub fn settle(&self) -> io::Result<()> {
        self.hosts.iter().try_for_each(HostLog::settle)
    }

    /// Takes everything in the directory of a node for durable, because slotquake has changed it.
    pub fn forget(&self, node: NodeNo) -> io::Result<()> {
        self.hosts[node.index()].forget()
    }
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
        let dir = tempfile::tempdir().expect("a temporary directory");
        let node = dir.path().join("node-1");
        fs::create_dir(&node).expect("it is ours");
        let power = Power::create([node.as_path()].into_iter()).expect("a log");
        let mut shell = Command::new("sh").args(["-c", "sleep 100 & sleep 100; true"]).spawn().expect("a shell");
        wait_until(|| descendants(shell.id()).is_ok_and(|children| children.len() == 2)).expect("it starts two");
        let children = descendants(shell.id()).expect("a list");
        power.cut(&[(NodeNo(1), shell.id())]).expect("they are ours");
        assert!(!shell.wait().expect("it ends").success());
        assert!(power.lose(NodeNo(1)).expect("an empty log").is_nothing());
        for child in children {
            assert!(state(child).is_none_or(|(state, _)| state == 'Z'), "{child}: {:?}", state(child));
        }
    }
}

//! Labels that name the process that created a container, network or volume, and whether that process is alive.

use std::collections::HashMap;

/// The label of everything that slotquake creates. Its value is [`TOOL`].
pub const TOOL_LABEL: &str = "slotquake.tool";
/// The value of [`TOOL_LABEL`].
pub const TOOL: &str = "slotquake";
/// The label with the name of the run.
pub const RUN_LABEL: &str = "slotquake.run";
/// The label with the process id of the harness.
pub const PID_LABEL: &str = "slotquake.owner.pid";
/// The label with the start time of that process, in clock ticks since boot (proc(5), `starttime`).
pub const STARTED_LABEL: &str = "slotquake.owner.started";
/// The label with the system on which that process id is valid.
pub const SYSTEM_LABEL: &str = "slotquake.owner.system";

/// A process that owns everything with its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its process id.
    pub pid: u32,
    /// Its start time. Process ids are reused, but not with the same start time.
    pub started: String,
    /// The boot of the system, and the namespace of the process id.
    pub system: String,
}

/// Whether an owner is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its process runs.
    Alive,
    /// Its process has ended.
    Dead,
    /// Its process is on another system, or the labels cannot be read.
    Unknown,
}

impl Owner {
    /// This process.
    pub fn this_process() -> Self {
        let pid = std::process::id();
        Self { pid, started: started(pid).unwrap_or_default(), system: system() }
    }

    /// The labels of one of its runs.
    pub fn labels(&self, run: &str) -> HashMap<String, String> {
        [
            (TOOL_LABEL, TOOL.to_owned()),
            (RUN_LABEL, run.to_owned()),
            (PID_LABEL, self.pid.to_string()),
            (STARTED_LABEL, self.started.clone()),
            (SYSTEM_LABEL, self.system.clone()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// Reads an owner from labels. None if one is missing.
    pub fn from_labels(labels: &HashMap<String, String>) -> Option<Self> {
        if labels.get(TOOL_LABEL)? != TOOL {
            return None;
        }
        Some(Self {
            pid: labels.get(PID_LABEL)?.parse().ok()?,
            started: labels.get(STARTED_LABEL)?.clone(),
            system: labels.get(SYSTEM_LABEL)?.clone(),
        })
    }

    /// Whether the owner is alive, as seen from this process. `started` returns the start time of a process.
    pub fn standing(&self, here: &str, started: impl Fn(u32) -> Option<String>) -> Standing {
        if self.system != here || self.started.is_empty() {
            return Standing::Unknown;
        }
        // The system reuses the ids of dead processes.
        if started(self.pid).as_ref() == Some(&self.started) { Standing::Alive } else { Standing::Dead }
    }
}

/// Whether the owner in these labels is alive.
pub fn standing(labels: &HashMap<String, String>) -> Standing {
    Owner::from_labels(labels).map_or(Standing::Unknown, |owner| owner.standing(&system(), started))
}

/// The start time of a process. None if it does not exist or is a zombie.
fn started(pid: u32) -> Option<String> {
    if cfg!(target_os = "linux") {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The fields follow the name in parentheses, which may contain spaces and parentheses.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        return (*fields.first()? != "Z").then(|| fields.get(19).map(|ticks| (*ticks).to_owned()))?;
    }
    let output = std::process::Command::new("ps").args(["-o", "lstart=", "-p", &pid.to_string()]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// Identifies the boot of this system and its namespace of process ids.
fn system() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{} {}", boot.trim(), namespace.display()).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_an_owner_from_its_labels() {
        let owner = Owner::this_process();
        let labels = owner.labels("a1");
        assert_eq!(Owner::from_labels(&labels), Some(owner));
        for missing in [TOOL_LABEL, PID_LABEL, STARTED_LABEL, SYSTEM_LABEL] {
            let mut labels = labels.clone();
            labels.remove(missing);
            assert_eq!(standing(&labels), Standing::Unknown, "{missing}");
        }
        let foreign = labels.into_iter().chain([(TOOL_LABEL.to_owned(), "another".to_owned())]).collect();
        assert_eq!(standing(&foreign), Standing::Unknown);
    }

    #[test]
    fn compares_owners_by_id_and_start_time() {
        let here = "boot pid:[1]";
        let owner = Owner { pid: 7, started: "100".to_owned(), system: here.to_owned() };
        for (there, now, expected) in [
            (here, Some("100"), Standing::Alive),
            (here, Some("101"), Standing::Dead),
            (here, None, Standing::Dead),
            ("boot pid:[2]", None, Standing::Unknown),
            ("", None, Standing::Unknown),
        ] {
            assert_eq!(owner.standing(there, |_| now.map(str::to_owned)), expected, "{there:?} {now:?}");
        }
        let nameless = Owner { started: String::new(), ..owner };
        assert_eq!(nameless.standing(here, |_| None), Standing::Unknown);
    }

    #[test]
    fn tells_live_processes_from_dead_ones() {
        let labels = Owner::this_process().labels("a1");
        assert_eq!(standing(&labels), Standing::Alive);
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let owner = Owner { pid: child.id(), started: started(child.id()).unwrap(), ..Owner::this_process() };
        assert_eq!(standing(&owner.labels("a1")), Standing::Alive);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(standing(&owner.labels("a1")), Standing::Dead);
    }
}

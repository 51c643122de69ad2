//! Delaying packets: `tc qdisc ... netem` holds back what nft has sorted into its class. It asks for
//! modules (`sch_prio`, `sch_netem`) that not every kernel has.

use std::process::Command;

use super::nft::find_program;
use crate::sandbox::Inside;

/// Why packets cannot be delayed here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// There is no tc program.
    #[error("tc is not installed (hint: `apt-get install iproute2`, or your system's package of that name)")]
    NoTc,
    /// The kernel says no.
    #[error(
        "this kernel cannot delay packets: tc says `{0}` (hint: it needs sch_prio and sch_netem: `modprobe -a sch_prio sch_netem` as root)"
    )]
    Kernel(String),
}

/// The classes that delays can have: the first one is for whatever is not delayed, and `prio` has at
/// most 16.
pub(super) const CLASSES: std::ops::RangeInclusive<u8> = 2..=16;

/// The root of `lo`: a `prio` whose first class takes everything that nft leaves alone.
const ROOT: &str = "qdisc replace dev lo root handle 1: prio bands 16 priomap 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0";

/// More packets than a workload has under way; netem drops packets above this limit (default 1000).
const MOST_PACKETS: u32 = 100_000;

/// Tries it on the private `lo`, where nothing may be delayed yet, and leaves no trace there.
pub fn detect(_inside: &Inside) -> Result<(), Unavailable> {
    tc(ROOT)?;
    let tried = tc(&addition(2, 1000, 0));
    let removed = unroot();
    tried.and(removed)
}

/// Makes the root, where it is not there yet.
pub(super) fn root() -> Result<(), Unavailable> {
    tc(ROOT)
}

/// Removes the root, and with it every delay.
pub(super) fn unroot() -> Result<(), Unavailable> {
    tc("qdisc del dev lo root")
}

/// Delays the packets of a class.
pub(super) fn add(class: u8, latency_us: u64, jitter_us: u64) -> Result<(), Unavailable> {
    tc(&addition(class, latency_us, jitter_us))
}

/// Stops delaying the packets of a class.
pub(super) fn remove(class: u8) -> Result<(), Unavailable> {
    tc(&format!("qdisc del dev lo parent 1:{class:x}"))
}

fn addition(class: u8, latency_us: u64, jitter_us: u64) -> String {
    // Numbers of classes are hexadecimal for tc, as they are for nft.
    let jitter = if jitter_us == 0 { String::new() } else { format!(" {jitter_us}us") };
    format!("qdisc add dev lo parent 1:{class:x} netem limit {MOST_PACKETS} delay {latency_us}us{jitter}")
}

fn tc(arguments: &str) -> Result<(), Unavailable> {
    let tc = find_program("tc").ok_or(Unavailable::NoTc)?;
    let output = Command::new(&tc).args(arguments.split(' ')).env("LC_ALL", "C").output();
    let output = output.map_err(|error| Unavailable::Kernel(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(Unavailable::Kernel(stderr.lines().next().unwrap_or("nothing").trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::addition;

    #[test]
    fn a_delay_reads_as_tc() {
        for (class, jitter_us, expected) in [
            (2, 0, "qdisc add dev lo parent 1:2 netem limit 100000 delay 1500us"),
            (16, 200, "qdisc add dev lo parent 1:10 netem limit 100000 delay 1500us 200us"),
        ] {
            assert_eq!(addition(class, 1500, jitter_us), expected);
        }
    }
}

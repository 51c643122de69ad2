//! Whether this machine can delay packets: `tc qdisc ... netem` asks for a module (`sch_netem`)
//! that not every kernel has.

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
    #[error("this kernel cannot delay packets: tc says `{0}` (hint: it needs sch_netem: `modprobe sch_netem` as root)")]
    Kernel(String),
}

/// Tries it on the private `lo`, and leaves no trace there.
pub fn detect(_inside: &Inside) -> Result<(), Unavailable> {
    let tc = find_program("tc").ok_or(Unavailable::NoTc)?;
    let run = |arguments: &[&str]| {
        let output = Command::new(&tc).args(arguments).env("LC_ALL", "C").output();
        let output = output.map_err(|error| Unavailable::Kernel(error.to_string()))?;
        if output.status.success() {
            return Ok(());
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        Err(Unavailable::Kernel(stderr.lines().next().unwrap_or("nothing").trim().to_owned()))
    };
    run(&["qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"])?;
    run(&["qdisc", "del", "dev", "lo", "root"])
}

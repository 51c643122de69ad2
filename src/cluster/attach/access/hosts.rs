//! Hooks for the clocks and disks of hosts: `clock` and `disk` make them wrong and set them right, and `disk-state` tells
//! what a disk shows.
//!
//! `clock` gets `SLOTQUAKE_CLOCK_CHANGE` (`jump`, `drift`, `strobe`, or `right` to undo it), `SLOTQUAKE_CLOCK_OF` (`wall` or
//! `monotonic`), and what the change needs: `SLOTQUAKE_CLOCK_BY` in seconds, less than 0 for back,
//! `SLOTQUAKE_CLOCK_PPM` (a drift in millionths), `SLOTQUAKE_CLOCK_EVERY` and `SLOTQUAKE_CLOCK_FOR` in seconds.
//!
//! `disk` gets `SLOTQUAKE_DISK_CHANGE` (`full`, `fail`, `slow`, `stall`, `short-writes`, or `whole` to undo it),
//! `SLOTQUAKE_DISK_FILES` (`all`, `aof`, `rdb`, `nodes.conf`), and what the change needs: `SLOTQUAKE_DISK_ON` (`write`,
//! `fsync`, `open`, `rename`), `SLOTQUAKE_DISK_ERROR` (`EIO`), `SLOTQUAKE_DISK_BY` in seconds, `SLOTQUAKE_DISK_SHARE` in
//! percent. `disk-state` prints `faulty` or `whole` first. Each further line counts calls so far: what they do, the files,
//! the calls, and those that the fault hit (`write aof 120 12`).

use super::hooks::{Call, Emit, Hooks};
use crate::cluster::DiskReading;
use crate::fault::{ClockChange, ClockOf, DiskChange, DiskEffect};
use crate::history::NodeInfo;
use crate::speed::clock::Skew;
use crate::speed::disk::Counts;

/// The hook for clocks.
pub(crate) const CLOCK: &str = "clock";

/// The hook for disks.
pub(crate) const DISK: &str = "disk";

/// The hook that tells what a disk shows.
pub(crate) const DISK_STATE: &str = "disk-state";

/// The request to change a clock, or to set it right.
pub(crate) fn clock_call(node: &NodeInfo, of: ClockOf, skew: Skew) -> Call<'_> {
    let seconds = |ns: i64| format!("{:.6}", ns as f64 / 1e9);
    let span = |span: crate::units::Span| format!("{:.6}", span.0.as_secs_f64());
    let (change, with) = match skew.change() {
        None => ("right", vec![]),
        Some(ClockChange::Jump(shift)) => ("jump", vec![("SLOTQUAKE_CLOCK_BY", seconds(shift.as_ns()))]),
        Some(ClockChange::Drift(drift)) => ("drift", vec![("SLOTQUAKE_CLOCK_PPM", drift.ppm().to_string())]),
        Some(ClockChange::Strobe(strobe)) => (
            "strobe",
            vec![
                ("SLOTQUAKE_CLOCK_BY", seconds(strobe.by.as_ns())),
                ("SLOTQUAKE_CLOCK_EVERY", span(strobe.every)),
                ("SLOTQUAKE_CLOCK_FOR", span(strobe.lasts)),
            ],
        ),
    };
    let of = match of {
        ClockOf::Wall => "wall",
        ClockOf::Monotonic => "monotonic",
    };
    let mut environment = vec![("SLOTQUAKE_CLOCK_CHANGE", change.to_owned()), ("SLOTQUAKE_CLOCK_OF", of.to_owned())];
    environment.extend(with);
    Call { environment, ..Call::new(CLOCK, node) }
}

/// The request to make a disk faulty; None to make it whole.
pub(crate) fn disk_call(node: &NodeInfo, change: Option<DiskChange>) -> Call<'_> {
    let (name, with) = match change.map(|change| change.effect) {
        None => ("whole", vec![]),
        Some(DiskEffect::Full) => ("full", vec![]),
        Some(DiskEffect::Fail { error, on }) => {
            ("fail", vec![("SLOTQUAKE_DISK_ERROR", word(&error)), ("SLOTQUAKE_DISK_ON", word(&on))])
        }
        Some(DiskEffect::Slow { by, on }) => (
            "slow",
            vec![("SLOTQUAKE_DISK_BY", format!("{:.6}", by.0.as_secs_f64())), ("SLOTQUAKE_DISK_ON", word(&on))],
        ),
        Some(DiskEffect::Stall { on }) => ("stall", on.iter().map(|on| ("SLOTQUAKE_DISK_ON", word(on))).collect()),
        Some(DiskEffect::ShortWrites { share }) => {
            ("short-writes", vec![("SLOTQUAKE_DISK_SHARE", share.to_string().trim_end_matches('%').trim().to_owned())])
        }
    };
    let mut environment = vec![("SLOTQUAKE_DISK_CHANGE", name.to_owned())];
    environment.extend(change.map(|change| ("SLOTQUAKE_DISK_FILES", word(&change.files))));
    environment.extend(with);
    Call { environment, ..Call::new(DISK, node) }
}

/// A value as suites write it.
fn word<T: serde::Serialize>(value: &T) -> String {
    let text = serde_json::to_value(value).ok();
    text.and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default()
}

/// What the hook `disk-state` tells, where the disk should be faulty or whole.
pub(crate) async fn disk(
    hooks: &Hooks,
    node: &NodeInfo,
    is_faulty: bool,
    emit: Emit<'_>,
) -> Result<DiskReading, String> {
    let output = hooks.told(&Call::new(DISK_STATE, node), emit).await?;
    read(&output, is_faulty).map_err(|error| format!("hook `{DISK_STATE}`: {error}"))
}

fn read(output: &str, is_faulty: bool) -> Result<DiskReading, String> {
    let mut lines = output.lines();
    let says = match lines.next().map(str::trim) {
        Some("faulty") => true,
        Some("whole") => false,
        first => return Err(format!("it says `{}`, and not `faulty` or `whole`", first.unwrap_or_default())),
    };
    let mut counts = Counts::default();
    for line in lines.filter(|line| !line.trim().is_empty()) {
        counts.add(line).map_err(|error| format!("line `{}`: {error}", line.trim()))?;
    }
    Ok(DiskReading { stands: says == is_faulty, taken: Some(true), counts, shown_by: "hook `disk-state` says so" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{DiskCall, DiskError, DiskFiles};
    use crate::units::Shift;

    fn node() -> NodeInfo {
        NodeInfo {
            node: crate::units::NodeNo(1),
            shard: crate::units::ShardNo(1),
            boots_as_master: true,
            addr: ([10, 0, 0, 1], 6379).into(),
            id: "a".repeat(40),
            name: None,
        }
    }

    #[test]
    fn requests_say_all_that_a_hook_must_know() {
        let node = node();
        let back = ClockChange::Jump("-1h".parse::<Shift>().expect("it is a span"));
        let call = clock_call(&node, ClockOf::Wall, Skew::now(ClockOf::Wall, back));
        let said: Vec<_> = call.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(said, ["SLOTQUAKE_CLOCK_CHANGE=jump", "SLOTQUAKE_CLOCK_OF=wall", "SLOTQUAKE_CLOCK_BY=-3600.000000"]);
        let effect = DiskEffect::Fail { error: DiskError::Eio, on: DiskCall::Fsync };
        let call = disk_call(&node, Some(DiskChange { effect, files: DiskFiles::NodesConf }));
        let said: Vec<_> = call.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            said,
            [
                "SLOTQUAKE_DISK_CHANGE=fail",
                "SLOTQUAKE_DISK_FILES=nodes.conf",
                "SLOTQUAKE_DISK_ERROR=EIO",
                "SLOTQUAKE_DISK_ON=fsync"
            ]
        );
        assert_eq!(disk_call(&node, None).environment, [("SLOTQUAKE_DISK_CHANGE", "whole".to_owned())]);
    }

    #[test]
    fn what_a_hook_counts_is_read() {
        let reading = read("faulty\nwrite aof 120 12\n\nfsync aof 3 0\n", true).expect("it is well formed");
        assert!(reading.stands);
        assert_eq!(reading.counts.hits(), 12);
        assert!(!read("faulty\n", false).expect("it is well formed").stands);
        for (output, wrong) in [
            ("", "it says ``"),
            ("broken", "it says `broken`"),
            ("faulty\nwrite aof 1", "line `write aof 1`"),
            ("faulty\nwrite tape 1 1", "tape"),
            ("faulty\nwrite aof 1 2", "more hits than calls"),
        ] {
            let error = read(output, true).expect_err(output);
            assert!(error.contains(wrong), "{error}");
        }
    }
}

//! The servers' logs while they are written: for steps that wait for a phase of a failover.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, sleep};

use crate::anatomy::{Line, parse, tells};
use crate::cluster::Backend;
use crate::suite::Phased;
use crate::units::NodeNo;

/// How often logs are read.
const POLL: Duration = Duration::from_millis(1);

/// Time zones differ by multiples of this, so that a log's time tells the delay without its zone.
const ZONES_MS: i64 = 15 * 60 * 1000;

/// Where each log is read from.
#[derive(Debug, Default)]
pub(super) struct Logs {
    files: BTreeMap<NodeNo, (PathBuf, u64)>,
}

/// A line that was waited for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// Whose log has it.
    pub(super) by: NodeNo,
    /// How long after its writing it was seen.
    pub(super) late: Duration,
}

impl Logs {
    /// Leaves out what the logs hold until now.
    pub(super) fn mark(&mut self, backend: &impl Backend) {
        for node in (0..backend.size()).map(NodeNo::from_index) {
            if let Some(path) = backend.log_file(node) {
                let length = std::fs::metadata(&path).map_or(0, |file| file.len());
                self.files.insert(node, (path, length));
            }
        }
    }

    /// Waits for the first line, since the mark, which tells that this happened to one of these nodes.
    pub(super) async fn until(&mut self, phase: Phased, of: &[(NodeNo, String)], within: Duration) -> Option<Told> {
        let ids: Vec<String> = of.iter().map(|(_, id)| id.clone()).collect();
        let deadline = Instant::now() + within;
        loop {
            for (&node, (path, from)) in &mut self.files {
                let is_one = of.iter().any(|(one, _)| *one == node);
                if let Some(line) =
                    new_lines(path, from).into_iter().find(|line| tells(phase, &line.event, &ids, is_one))
                {
                    return Some(Told { by: node, late: since(line.local_ms) });
                }
            }
            if Instant::now() > deadline {
                return None;
            }
            sleep(POLL).await;
        }
    }
}

/// The whole lines after a position, which moves behind them. A log that cannot be read has none yet.
fn new_lines(path: &PathBuf, from: &mut u64) -> Vec<Line> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(*from))?;
        file.read_to_end(&mut text)
    });
    let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    if read.is_err() || whole == 0 {
        return Vec::new();
    }
    *from += whole as u64;
    String::from_utf8_lossy(&text[..whole]).lines().filter_map(parse).collect()
}

/// How long ago a log's time was.
fn since(local_ms: i64) -> Duration {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as i64);
    let late_ms = (now_ms - local_ms).rem_euclid(ZONES_MS);
    // A server's clock may be ahead by the resolution of its log.
    Duration::from_millis(if late_ms > ZONES_MS / 2 { 0 } else { late_ms.cast_unsigned() })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn reads_only_whole_lines_and_each_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("node-1.log");
        let mut file = File::create(&path).expect("created");
        let mut from = 0;
        let line = "1:S 22 Nov 2026 13:29:55.519 # Starting a failover election for epoch 7.";
        write!(file, "{line}\nsomething else\n{}", &line[..20]).expect("written");
        assert_eq!(new_lines(&path, &mut from).len(), 1);
        assert_eq!(new_lines(&path, &mut from).len(), 0);
        writeln!(file, "{}", &line[20..]).expect("written");
        assert_eq!(new_lines(&path, &mut from).len(), 1);
        assert_eq!(new_lines(&folder.path().join("none"), &mut 0).len(), 0);
    }
}

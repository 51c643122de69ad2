//! How late the harness itself issued operations, over time: a measure of how busy the machine was.

use super::Window;
use crate::history::Op;

/// The width of a bucket.
const BUCKET_NS: u64 = 100_000_000;

/// More buckets than this hold the end of the run together.
const MOST_BUCKETS: usize = 1 << 20;

/// The longest delay between an operation's due time and its issue, by the time when it was due.
#[derive(Debug)]
pub struct Lateness {
    longest_ns: Vec<u64>,
}

impl Lateness {
    /// That of these operations.
    pub(super) fn new(ops: &[Op]) -> Self {
        let mut longest_ns: Vec<u64> = Vec::new();
        for op in ops {
            let bucket = bucket(op.due_ns());
            if bucket >= longest_ns.len() {
                longest_ns.resize(bucket + 1, 0);
            }
            longest_ns[bucket] = longest_ns[bucket].max(op.invoke_ns().saturating_sub(op.due_ns()));
        }
        Self { longest_ns }
    }

    /// The longest delay of an operation that was due in a window, or at most a tenth of a second from it, in
    /// nanoseconds.
    pub fn longest_ns(&self, window: Window) -> u64 {
        let from = bucket(window.from_ns).min(self.longest_ns.len());
        let to = (bucket(window.to_ns) + 1).min(self.longest_ns.len());
        self.longest_ns[from..to].iter().copied().max().unwrap_or(0)
    }
}

fn bucket(at_ns: u64) -> usize {
    usize::try_from(at_ns / BUCKET_NS).unwrap_or(usize::MAX).min(MOST_BUCKETS - 1)
}

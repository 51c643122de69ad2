//! Histories as a run stores them.

use slotquake_judge::history::{Blocks, History, write_line, write_reason};

/// The frames of a history, with so many operations each, and its checksum.
pub fn frames(history: &History, each: usize) -> Vec<Vec<u8>> {
    let mut blocks = Blocks::default();
    let mut frames = vec![blocks.begin(&history.header).expect("memory")];
    let count = history.ops.len().div_ceil(each).max(1);
    let mut events = history.events.chunks(history.events.len().div_ceil(count).max(1));
    let mut details = history.details.iter().peekable();
    let mut text = Vec::new();
    history.reasons.iter().for_each(|reason| write_reason(&mut text, reason));
    for number in 0..count {
        let end = history.ops.len().min((number + 1) * each);
        while let Some(detail) = details.next_if(|detail| (detail.of as usize) < end) {
            write_line(&mut text, detail);
        }
        events.next().into_iter().flatten().for_each(|event| write_line(&mut text, event));
        frames.push(blocks.block(&std::mem::take(&mut text), &history.ops[number * each..end]).expect("memory"));
    }
    frames.push(blocks.seal());
    frames
}

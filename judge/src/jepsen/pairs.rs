//! The two entries of each operation, in order of time, with processes.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Entry, Kind, Told};

/// What happens to an operation at a moment.
struct Moment {
    at_ns: u64,
    /// An invocation comes before a completion of the same instant: the two are concurrent.
    is_completion: bool,
    of: usize,
}

/// The entries of operations. A client has several operations under way, so it is several processes; and one whose
/// outcome nobody knows ends its process.
pub(super) fn in_order(told: &[Told]) -> Vec<Entry> {
    let mut moments = Vec::with_capacity(told.len() * 2);
    for (of, one) in told.iter().enumerate() {
        moments.push(Moment { at_ns: one.invoke_ns, is_completion: false, of });
        moments.push(Moment { at_ns: one.complete_ns, is_completion: true, of });
    }
    moments.sort_by_key(|moment| (moment.at_ns, moment.is_completion, moment.of));
    let mut free: BTreeMap<Option<u16>, Vec<usize>> = BTreeMap::new();
    let (mut processes, mut next) = (vec![0; told.len()], 0);
    let mut entries = Vec::with_capacity(moments.len());
    for Moment { at_ns, is_completion, of } in moments {
        let one = &told[of];
        if is_completion {
            if one.end != Kind::Info {
                free.entry(one.client).or_default().push(processes[of]);
            }
        } else {
            processes[of] = free.entry(one.client).or_default().pop().unwrap_or_else(|| {
                next += 1;
                next - 1
            });
        }
        let value = match (is_completion, &one.answered) {
            (false, _) | (true, Value::Null) => one.asked.clone(),
            (true, answered) => answered.clone(),
        };
        entries.push(Entry {
            kind: if is_completion { one.end } else { Kind::Invoke },
            function: one.function.to_owned(),
            value,
            process: processes[of].to_string(),
            time_ns: Some(at_ns),
            node: one.node.clone().filter(|_| is_completion),
        });
    }
    entries
}

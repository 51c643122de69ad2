//! Guarantees that hold within a session: of one client, or of one client's writes at one node.
//!
//! Terry and others, "Session Guarantees for Weakly Consistent Replicated Data", PDIS 1994, for one key. Write A is
//! older than write B only where that is certain: A was in effect (acknowledged, or read by anybody) before B was
//! sent. With one writer of a key that orders all of its acknowledged writes. With several, concurrent writes have no
//! order, so a read of either after the other violates nothing. The empty key is older than every write.

use std::collections::HashMap;

use super::register::Version;
use super::{NIL, Operation, Register, Violation};
use crate::units::{ClientNo, NodeNo};

/// A session guarantee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarantee {
    /// After a client has read a value, it reads none that is older.
    MonotonicReads,
    /// After a client's write is acknowledged, the client reads no value that is older.
    ReadYourWrites,
    /// After a node has returned a client's write, it returns no older write of the same client.
    MonotonicWrites,
}

impl Guarantee {
    /// The session of a read of what somebody wrote, or of the empty key.
    fn session(self, write: Option<&Operation>, read: &Operation) -> Session {
        match (self, write) {
            (Self::MonotonicWrites, Some(write)) => Session(write.client, read.node),
            (Self::MonotonicReads | Self::ReadYourWrites | Self::MonotonicWrites, _) => Session(read.client, NodeNo(0)),
        }
    }
}

/// How a guarantee was kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// The reads that could have violated it: something of the same session had ended before each was sent.
    pub reads: u64,
    /// Of these, the reads that violate it.
    pub violations: u64,
    /// The earliest violation.
    pub first: Option<Violation>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Session(ClientNo, NodeNo);

/// From a moment on, a session knows a version.
struct Known<'a> {
    session: Session,
    by: &'a Operation,
    version: &'a Version,
    sent_ns: u64,
}

/// A read that must not return what is older than its session knows.
struct Asked<'a> {
    session: Session,
    read: &'a Operation,
    version: &'a Version,
}

/// Judges a register by those of its reads that `counts` selects. Takes `O(n log n)`.
pub fn kept(register: &Register, guarantee: Guarantee, counts: impl Fn(&Operation) -> bool) -> Kept {
    if register.is_in_order() {
        return Kept { reads: compared(register, guarantee, counts), violations: 0, first: None };
    }
    let (mut known, mut asked) = gather(register, guarantee, counts);
    known.sort_by_key(|each| each.by.complete_ns);
    asked.sort_by_key(|each| (each.read.invoke_ns, each.read.complete_ns));
    let mut newest: HashMap<Session, &Known<'_>> = HashMap::new();
    let mut next = 0;
    let mut kept = Kept::default();
    for each in &asked {
        while let Some(ended) = known.get(next).filter(|known| known.by.complete_ns < each.read.invoke_ns) {
            let slot = newest.entry(ended.session).or_insert(ended);
            if ended.sent_ns > slot.sent_ns {
                *slot = ended;
            }
            next += 1;
        }
        let Some(before) = newest.get(&each.session) else { continue };
        kept.reads += 1;
        if each.read.value != NIL && each.version.shown_ns >= before.sent_ns {
            continue;
        }
        kept.violations += 1;
        if kept.first.is_none() {
            let began = register.write(before.version).unwrap_or(before.by);
            kept.first = Some(Violation::WentBack {
                read: *each.read,
                newer: *before.by,
                began: *began,
                older: register.proof(each.version),
            });
        }
    }
    kept
}

/// The reads that could have violated a guarantee, of a register in which nothing did.
fn compared(register: &Register, guarantee: Guarantee, counts: impl Fn(&Operation) -> bool) -> u64 {
    // Of each session, when the first operation ended that it knows a version by.
    let mut first_ns: Vec<(Session, u64)> = Vec::new();
    let mut knows = |session: Session, by_ns: u64| match first_ns.binary_search_by_key(&session, |&(each, _)| each) {
        Ok(at) => first_ns[at].1 = first_ns[at].1.min(by_ns),
        Err(at) => first_ns.insert(at, (session, by_ns)),
    };
    if guarantee == Guarantee::ReadYourWrites {
        for write in register.ops().iter().filter(|op| op.is_certain_write()) {
            knows(Session(write.client, NodeNo(0)), write.complete_ns);
        }
    } else {
        for version in register.versions() {
            let Some(write) = register.write(version) else { continue };
            for read in register.reads(version).iter().filter(|read| counts(read)) {
                knows(guarantee.session(Some(write), read), read.complete_ns);
            }
        }
    }
    let mut compared = 0;
    for version in register.versions() {
        let write = register.write(version);
        if guarantee == Guarantee::MonotonicWrites && write.is_none() {
            continue;
        }
        for read in register.reads(version).iter().filter(|read| counts(read)) {
            let session = guarantee.session(write, read);
            let at = first_ns.binary_search_by_key(&session, |&(each, _)| each);
            compared += u64::from(at.is_ok_and(|at| first_ns[at].1 < read.invoke_ns));
        }
    }
    compared
}

fn gather(
    register: &Register,
    guarantee: Guarantee,
    counts: impl Fn(&Operation) -> bool,
) -> (Vec<Known<'_>>, Vec<Asked<'_>>) {
    let (mut known, mut asked) = (Vec::new(), Vec::new());
    for version in register.versions() {
        let write = register.write(version);
        let is_initial = register.group(version)[0].value == NIL;
        if let Some(write) = write
            && guarantee == Guarantee::ReadYourWrites
            && write.is_certain_write()
        {
            let session = Session(write.client, NodeNo(0));
            known.push(Known { session, by: write, version, sent_ns: write.invoke_ns });
        }
        for read in register.reads(version).iter().filter(|read| counts(read)) {
            if guarantee == Guarantee::MonotonicWrites && write.is_none() {
                continue;
            }
            let session = guarantee.session(write, read);
            if let Some(write) = write
                && guarantee != Guarantee::ReadYourWrites
            {
                known.push(Known { session, by: read, version, sent_ns: write.invoke_ns });
            }
            if write.is_some() || is_initial {
                asked.push(Asked { session, read, version });
            }
        }
    }
    (known, asked)
}

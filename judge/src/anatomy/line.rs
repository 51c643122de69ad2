//! Parses a line of a server's log. Pure and total: a line that is not about a failover is skipped.
//!
//! The formats are those of Redis 6.2 to 8.2 and Valkey 8.1 to 9.1. A node's id is followed by nothing
//! (Redis 6.2, 7.0), ` ()` (Redis 8, Valkey 8) or ` (address)` (Valkey 9).

use crate::units::NodeNo;

/// A log line about a failover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Milliseconds since 1970 in the time zone of the log.
    pub local_ms: i64,
    /// The process that wrote it.
    pub pid: u32,
    /// The event that the line reports.
    pub event: LogEvent,
}

/// The event that a log line reports. Nodes are given by their ids; the writer is the node that wrote the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogEvent {
    /// The process starts.
    Starting,
    /// The writer cannot reach a node (Valkey; Redis logs this only at debug level).
    Pfail(String),
    /// The writer has reports of a majority that the node fails, and marks it FAIL.
    Quorum(String),
    /// Another node told the writer that a node is FAIL.
    FailReceived {
        /// The node that sent the message.
        from: String,
        /// The node that is FAIL.
        about: String,
    },
    /// A replica will request votes after a delay.
    Delayed {
        /// The delay in milliseconds.
        delay_ms: u64,
        /// The rank of the replica among the replicas of its master, by offset; 0 is the best.
        rank: u32,
    },
    /// A replica requests votes for this epoch.
    Began(u64),
    /// A master grants its vote.
    Granted {
        /// The candidate.
        to: String,
        /// The epoch of the election.
        epoch: u64,
    },
    /// A master denies its vote.
    Denied {
        /// The candidate.
        to: String,
        /// The reason that the server logged.
        reason: String,
    },
    /// The reason that the server logged why a replica cannot become master yet.
    Blocked(String),
    /// A replica accepted a CLUSTER FAILOVER, with or without FORCE.
    ManualAccepted,
    /// This replica requested a manual failover from the writer, which pauses its clients.
    ManualRequested(String),
    /// The replica received the offset at which the master paused.
    ManualOffset,
    /// The replica has all data of the master, or does not need it (FORCE).
    ManualReady,
    /// A replica took over without votes: CLUSTER FAILOVER TAKEOVER.
    TakenOver,
    /// A replica became master.
    Won,
    /// The epoch that the new master took.
    Epoch(u64),
    /// A replica begins to copy the data of its master.
    SyncStarted,
    /// A replica has the data of its master.
    SyncFinished,
    /// A replica goes on where it was, after its master changed or its link broke.
    PartialSync,
    /// The writer becomes a replica of another node.
    Demoted,
}

/// Parses a log line; None if it is not about a failover.
pub fn parse(line: &str) -> Option<Line> {
    let (pid, rest) = line.split_once(':')?;
    let pid = pid.parse().ok()?;
    let (_role, rest) = rest.split_once(' ')?;
    let mut parts = rest.splitn(6, ' ');
    let local_ms = moment(parts.next()?, parts.next()?, parts.next()?, parts.next()?)?;
    let _level = parts.next()?;
    Some(Line { local_ms, pid, event: log_event(parts.next()?)? })
}

/// `22 Nov 2026 13:29:55.519` in milliseconds since 1970, in its own time zone.
fn moment(day: &str, month: &str, year: &str, time: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let number = |text: &str, most: i64| text.parse().ok().filter(|number: &i64| (0..=most).contains(number));
    let (day, year) = (number(day, 31)?, number(year, 9999)?);
    let month = i64::try_from(MONTHS.iter().position(|name| *name == month)?).ok()? + 1;
    let (clock, millis) = time.split_once('.')?;
    let mut clock = clock.split(':');
    let (hours, minutes, seconds) =
        (number(clock.next()?, 23)?, number(clock.next()?, 59)?, number(clock.next()?, 60)?);
    let millis = number(millis, 999)?;
    if clock.next().is_some() {
        return None;
    }
    Some((((days(year, month, day) * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000 + millis)
}

/// Days from 1970-01-01 (Howard Hinnant's algorithm: years begin in March, so that a leap day is the last).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn log_event(text: &str) -> Option<LogEvent> {
    let text = text.trim_end();
    if text.contains(" is starting oO0") {
        return Some(LogEvent::Starting);
    }
    let after = |prefix| text.strip_prefix(prefix);
    for (prefix, event) in [
        ("Failover election won: I'm the new ", LogEvent::Won),
        ("MASTER <-> REPLICA sync started", LogEvent::SyncStarted),
        ("PRIMARY <-> REPLICA sync started", LogEvent::SyncStarted),
        ("MASTER <-> REPLICA sync: Finished with success", LogEvent::SyncFinished),
        ("PRIMARY <-> REPLICA sync: Finished with success", LogEvent::SyncFinished),
        ("Successful partial resynchronization with ", LogEvent::PartialSync),
        ("Configuration change detected. Reconfiguring myself as a replica of ", LogEvent::Demoted),
        // A full stop follows, or in Valkey the client that requested it.
        ("Manual failover user request accepted", LogEvent::ManualAccepted),
        ("Forced failover user request accepted", LogEvent::ManualAccepted),
        ("Taking over the master (user request", LogEvent::TakenOver),
        ("Taking over the primary (user request", LogEvent::TakenOver),
        ("Received replication offset for paused master manual failover: ", LogEvent::ManualOffset),
        ("Received replication offset for paused primary manual failover: ", LogEvent::ManualOffset),
        ("All master replication stream processed, manual failover can start", LogEvent::ManualReady),
        ("All primary replication stream processed, manual failover can start", LogEvent::ManualReady),
    ] {
        if text.starts_with(prefix) {
            return Some(event);
        }
    }
    if let Some(rest) = after("Manual failover requested by replica ") {
        return node(rest).map(|(id, _)| LogEvent::ManualRequested(id));
    }
    if let Some(rest) = after("*** NODE ").or_else(|| after("NODE ")) {
        let (id, rest) = node(rest)?;
        return rest.starts_with(" possibly failing").then_some(LogEvent::Pfail(id));
    }
    if let Some(rest) = after("Marking node ") {
        let (id, rest) = node(rest)?;
        return rest.starts_with(" as failing").then_some(LogEvent::Quorum(id));
    }
    if let Some(rest) = after("FAIL message received from ") {
        let (from, rest) = node(rest)?;
        let (about, _) = node(rest.strip_prefix(" about ")?)?;
        return Some(LogEvent::FailReceived { from, about });
    }
    if let Some(rest) = after("Start of election delayed for ") {
        let (delay, rest) = rest.split_once(" milliseconds (rank #")?;
        let rank = rest.split(',').next()?;
        return Some(LogEvent::Delayed { delay_ms: delay.parse().ok()?, rank: rank.parse().ok()? });
    }
    if let Some(rest) = after("Starting a failover election for epoch ") {
        return leading_number(rest).map(LogEvent::Began);
    }
    if let Some(rest) = after("Failover auth granted to ") {
        let (to, rest) = node(rest)?;
        return Some(LogEvent::Granted { to, epoch: leading_number(rest.strip_prefix(" for epoch ")?)? });
    }
    if let Some(rest) = after("Failover auth denied to ") {
        let (to, rest) = node(rest)?;
        return Some(LogEvent::Denied { to, reason: rest.strip_prefix(':')?.trim_start().to_owned() });
    }
    if let Some(reason) = after("Currently unable to failover: ") {
        return Some(LogEvent::Blocked(reason.to_owned()));
    }
    let epoch = after("configEpoch set to ")?;
    epoch.ends_with(" after successful failover").then(|| leading_number(epoch).map(LogEvent::Epoch))?
}

/// The id at the start of a text, and the rest after the id and the name in parentheses.
fn node(text: &str) -> Option<(String, &str)> {
    let (id, rest) = text.split_at_checked(40)?;
    if !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let rest = match rest.strip_prefix(" (").and_then(|named| named.split_once(')')) {
        Some((_, rest)) => rest,
        None => rest,
    };
    Some((id.to_owned(), rest))
}

fn leading_number(text: &str) -> Option<u64> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

/// A line with its time in milliseconds of the run, and the error of that time.
pub(super) struct Timed<'a> {
    pub(super) at_ms: f64,
    pub(super) error_ms: f64,
    pub(super) node: NodeNo,
    pub(super) event: &'a LogEvent,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: &str = "a808684ad574329a72c7d52e0cbd8b2219e6b465";
    const B: &str = "182780ebd7b134501d566136705fd56557014b4f";

    #[test]
    fn parses_the_lines_of_every_server() {
        let granted = || LogEvent::Granted { to: B.to_owned(), epoch: 7 };
        let received = || LogEvent::FailReceived { from: B.to_owned(), about: A.to_owned() };
        for (text, expected) in [
            ("oO0OoO0OoO0Oo Redis is starting oO0OoO0OoO0Oo".to_owned(), Some(LogEvent::Starting)),
            ("oO0OoO0OoO0Oo Valkey is starting oO0OoO0OoO0Oo".to_owned(), Some(LogEvent::Starting)),
            ("Connection with primary lost.".to_owned(), None),
            ("Manual failover user request accepted.".to_owned(), Some(LogEvent::ManualAccepted)),
            (
                "Manual failover user request accepted (user request from 'id=12 addr=127.0.0.1:38656').".to_owned(),
                Some(LogEvent::ManualAccepted),
            ),
            (format!("Manual failover requested by replica {B}."), Some(LogEvent::ManualRequested(B.to_owned()))),
            (format!("Manual failover requested by replica {B} ()."), Some(LogEvent::ManualRequested(B.to_owned()))),
            (
                "Received replication offset for paused master manual failover: 20442".to_owned(),
                Some(LogEvent::ManualOffset),
            ),
            (
                "Received replication offset for paused primary manual failover: 20570".to_owned(),
                Some(LogEvent::ManualOffset),
            ),
            (
                "All master replication stream processed, manual failover can start.".to_owned(),
                Some(LogEvent::ManualReady),
            ),
            ("Manual failover timed out.".to_owned(), None),
            (format!("*** NODE {A} possibly failing"), Some(LogEvent::Pfail(A.to_owned()))),
            (format!("NODE {A} () possibly failing."), Some(LogEvent::Pfail(A.to_owned()))),
            (format!("NODE {A} (127.1.0.1:6379) possibly failing."), Some(LogEvent::Pfail(A.to_owned()))),
            (format!("Marking node {A} as failing (quorum reached)."), Some(LogEvent::Quorum(A.to_owned()))),
            (format!("Marking node {A} () as failing (quorum reached)."), Some(LogEvent::Quorum(A.to_owned()))),
            (format!("FAIL message received from {B} about {A}"), Some(received())),
            (format!("FAIL message received from {B} () about {A} ()"), Some(received())),
            (format!("FAIL message received from {B} (1.2.3.4:6379) about {A} (1.2.3.5:6379)"), Some(received())),
            (
                "Start of election delayed for 612 milliseconds (rank #0, offset 20959).".to_owned(),
                Some(LogEvent::Delayed { delay_ms: 612, rank: 0 }),
            ),
            (
                "Start of election delayed for 0 milliseconds (rank #1, primary rank #0, offset 21353).".to_owned(),
                Some(LogEvent::Delayed { delay_ms: 0, rank: 1 }),
            ),
            ("Starting a failover election for epoch 7.".to_owned(), Some(LogEvent::Began(7))),
            ("Starting a failover election for epoch 7, node config epoch is 1".to_owned(), Some(LogEvent::Began(7))),
            (format!("Failover auth granted to {B} for epoch 7"), Some(granted())),
            (format!("Failover auth granted to {B} (127.1.0.4:6379) for epoch 7"), Some(granted())),
            (
                format!("Failover auth denied to {B}: its master is up"),
                Some(LogEvent::Denied { to: B.to_owned(), reason: "its master is up".to_owned() }),
            ),
            (
                format!("Failover auth denied to {B} (): its primary is up"),
                Some(LogEvent::Denied { to: B.to_owned(), reason: "its primary is up".to_owned() }),
            ),
            ("Currently unable to failover: Waiting.".to_owned(), Some(LogEvent::Blocked("Waiting.".to_owned()))),
            ("Failover election won: I'm the new primary.".to_owned(), Some(LogEvent::Won)),
            ("configEpoch set to 7 after successful failover".to_owned(), Some(LogEvent::Epoch(7))),
            ("configEpoch set to 4 via CLUSTER SET-CONFIG-EPOCH".to_owned(), None),
            (format!("Marking node {} as failing", &A[..39]), None),
        ] {
            let line = parse(&format!("17172:S 22 Nov 2026 13:29:55.519 # {text}"));
            assert_eq!(line.as_ref().map(|line| &line.event), expected.as_ref(), "{text}");
            if let Some(line) = line {
                assert_eq!((line.pid, line.local_ms), (17172, 1_795_354_195_519), "{text}");
            }
        }
    }

    #[test]
    fn reads_calendar_dates() {
        for (day, month, year, expected) in [
            ("01", "Jan", "1970", 0),
            ("28", "Feb", "2100", 4_107_456_000_000),
            ("01", "Mar", "2100", 4_107_542_400_000),
            ("29", "Feb", "2024", 1_709_164_800_000),
        ] {
            assert_eq!(moment(day, month, year, "00:00:00.000"), Some(expected), "{day} {month} {year}");
        }
        for (day, month, year, time) in [
            ("x", "Jan", "1970", "00:00:00.000"),
            ("01", "Jen", "1970", "00:00:00.000"),
            ("01", "Jan", "1970", "24:00:00.000"),
            ("01", "Jan", "1970", "00:00:00"),
            ("01", "Jan", "1970", "00:00:00:00.1"),
            ("01", "Jan", "99999999999", "00:00:00.000"),
            ("-1", "Jan", "1970", "00:00:00.000"),
        ] {
            assert_eq!(moment(day, month, year, time), None, "{day} {month} {year} {time}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_on_a_line(line in "\\PC*") {
            let _ = parse(&line);
        }

        #[test]
        fn never_panics_on_a_damaged_line(cut in 0_usize..140, insert in "\\PC{0,3}") {
            let whole = format!("17172:S 22 Nov 2026 13:29:55.519 # FAIL message received from {B} () about {A} ()");
            let cut = cut.min(whole.len());
            let _ = parse(&format!("{}{insert}{}", &whole[..cut], &whole[cut..]));
            let _ = parse(&format!("{}{insert}", &whole[..cut]));
        }

        #[test]
        fn never_panics_on_a_known_prefix(text in "(NODE |Marking node |Failover auth (granted|denied) to |FAIL message received from |Start of election delayed for |configEpoch set to )[0-9a-f() :#]{0,60}(é| for epoch )?[0-9]{0,25}") {
            let _ = parse(&format!("1:M 22 Nov 2026 13:29:55.519 * {text}"));
        }
    }
}

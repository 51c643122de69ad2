//! Crash reports in the logs of servers.

/// How many lines of a report are kept.
const LINES: usize = 6;

/// What begins a crash report, and what a server writes before one (`debug.c`, `server.c`; "Guru Meditation" is of
/// `serverPanic`).
const BEGIN: [&str; 4] = ["BUG REPORT START", "Out Of Memory allocating", "Guru Meditation", "crashed by signal"];

/// The first lines of the last crash report in a log; None if there is none.
pub(super) fn crash_report(log: &str) -> Option<Vec<String>> {
    let lines: Vec<&str> = log.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let is_begin = |line: &str| BEGIN.iter().any(|begin| line.contains(begin));
    let last = lines.iter().rposition(|line| is_begin(line))?;
    // One report may contain several of these lines, close together.
    let mut first = last;
    while let Some(earlier) = (first.saturating_sub(LINES)..first).find(|&earlier| is_begin(lines[earlier])) {
        first = earlier;
    }
    Some(lines[first..].iter().take(LINES).map(|line| (*line).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGFAULT: &str = "12:M 28 Nov 2026 09:37:25.100 * Ready to accept connections\n\n\n\
        === REDIS BUG REPORT START: Cut & paste starting from here ===\n\
        12:M 28 Nov 2026 09:37:25.123 # Redis 6.2.14 crashed by signal: 11, si_code: 0\n\
        12:M 28 Nov 2026 09:37:25.123 # Killed by PID: 99, UID: 0\n\
        \n------ STACK TRACE ------\nEIP:\n/lib/libc.so.6(epoll_wait+0x56)[0x7f]\n\nBacktrace:\nmore\n";

    #[test]
    fn crash_reports_are_found_in_logs() {
        let quiet = "12:M 28 Nov 2026 09:37:25.100 * Ready to accept connections\n";
        let panic = "=== VALKEY BUG REPORT START: Cut & paste starting from here ===\n\
            7:M # ------------------------------------------------\n7:M # !!! Software Failure. Press left mouse button to continue\n\
            7:M # Guru Meditation: Redis aborting for OUT OF MEMORY #server.c:1\n7:M # more\n";
        let memory = format!("7:M # Out Of Memory allocating 99 bytes!\n{panic}");
        let twice = format!("{}{}{SEGFAULT}", SEGFAULT.replace(": 11,", ": 7,"), "noise\n".repeat(20));
        for (name, log, expected) in [
            ("nothing", "", None),
            ("no crash", quiet, None),
            ("a signal", SEGFAULT, Some("=== REDIS BUG REPORT START")),
            ("a panic", panic, Some("=== VALKEY BUG REPORT START")),
            ("no memory", memory.as_str(), Some("7:M # Out Of Memory allocating 99 bytes!")),
            ("the last of two", twice.as_str(), Some("=== REDIS BUG REPORT START")),
        ] {
            let found = crash_report(log);
            assert_eq!(found.is_some(), expected.is_some(), "{name}");
            let Some((found, expected)) = found.zip(expected) else { continue };
            assert!(found.len() <= LINES && found[0].starts_with(expected), "{name}: {found:?}");
        }
        assert!(crash_report(&twice).expect("a report")[1].contains("signal: 11"));
    }
}

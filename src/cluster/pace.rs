//! Proves that a node lives as fast as the harness: its wall clock agrees with that of the harness, which is ahead of real
//! time. The clocks of a server that the library of [`crate::speed`] is not in would show real time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Backend, Control};
use crate::history::EventKind;
use crate::journal::Journal;
use crate::speed;
use crate::units::NodeNo;
use crate::wire::text;

/// A server may answer from a clock that it read shortly before.
const TOLERANCE: Duration = Duration::from_millis(20);

/// How far the harness must be ahead of real time for its clock to tell.
const TELLING: Duration = Duration::from_millis(200);

const ANSWER_WITHIN: Duration = Duration::from_millis(500);

/// Records the proof for a node. The error says that it lives at another speed; a node that does not answer proves nothing
/// and is no error. At speed 1 it does nothing.
pub async fn prove<B: Backend>(control: &Control<B>, journal: &Journal, node: NodeNo) -> Result<(), String> {
    if speed::current().is_real() {
        return Ok(());
    }
    while ahead() < TELLING {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let sent = SystemTime::now();
    let Ok(answer) = control.ask(node, &["TIME"], ANSWER_WITHIN).await else { return Ok(()) };
    let received = SystemTime::now();
    let Some(time) = moment(&text(&answer)) else { return Ok(()) };
    let (holds, proof) = compare(sent, time, received, ahead());
    journal.event(EventKind::SpeedProven { node, holds, proof: proof.clone() });
    if holds { Ok(()) } else { Err(format!("{node} does not live at speed {}: {proof}", speed::current())) }
}

/// By how much this process is ahead of real time.
fn ahead() -> Duration {
    SystemTime::now().duration_since(speed::real_now()).unwrap_or_default()
}

/// The answer to TIME: seconds and microseconds.
fn moment(answer: &str) -> Option<SystemTime> {
    let mut numbers = answer.lines().map(str::parse::<u64>);
    let (Some(Ok(seconds)), Some(Ok(micros))) = (numbers.next(), numbers.next()) else { return None };
    Some(UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_micros(micros))
}

fn compare(sent: SystemTime, time: SystemTime, received: SystemTime, ahead: Duration) -> (bool, String) {
    let ahead = format!("which is {:.1} s ahead of real time", ahead.as_secs_f64());
    let off = match (sent.duration_since(time), time.duration_since(received)) {
        (Ok(late), _) if late > TOLERANCE => format!("{:.3} s behind", late.as_secs_f64()),
        (_, Ok(early)) if early > TOLERANCE => format!("{:.3} s ahead of", early.as_secs_f64()),
        _ => return (true, format!("its clock agrees with slotquake's, {ahead}")),
    };
    (false, format!("its clock is {off} slotquake's, {ahead} (hint: is the server linked statically?)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clock_that_agrees_proves_the_speed() {
        let at = |ms: u64| UNIX_EPOCH + Duration::from_secs(1_800_000_000) + Duration::from_millis(ms);
        let ahead = Duration::from_millis(2250);
        for (time_ms, holds, seen) in [
            (5000, true, "its clock agrees with slotquake's, which is 2.2 s ahead of real time"),
            (5010, true, "agrees"),
            (4990, true, "agrees"),
            (2751, false, "its clock is 2.249 s behind slotquake's"),
            (4979, false, "0.021 s behind"),
            (5032, false, "0.022 s ahead of slotquake's"),
        ] {
            let (held, proof) = compare(at(5000), at(time_ms), at(5010), ahead);
            assert_eq!(held, holds, "{time_ms}: {proof}");
            assert!(proof.contains(seen), "{time_ms}: {proof}");
        }
    }

    #[test]
    fn reads_the_answer_to_time() {
        assert_eq!(moment("12\n500000\n"), Some(UNIX_EPOCH + Duration::from_millis(12_500)));
        assert_eq!((moment("12"), moment("x\n1"), moment("")), (None, None, None));
    }
}

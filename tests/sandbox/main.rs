//! The sandbox and the network faults in it, on the real kernel.
//!
//! A sandbox is entered while a process has one thread, so this target has a `main` of its own: each
//! case starts this program again, in a role, and watches it from outside. As root, everything runs
//! twice: as root and as an ordinary user. `cargo test --test sandbox -- WORD` runs the cases that
//! have the word in their name.

mod inside;
mod lifecycle;
mod stage;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use stage::Stage;

/// A case passes by returning.
type Case = fn(&Stage);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((first, rest)) = arguments.split_first()
        && first == "role"
    {
        return inside::play(rest);
    }
    let words: Vec<&String> = arguments.iter().filter(|word| !word.starts_with('-')).collect();
    let wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    let listed = arguments.iter().any(|word| word == "--list");

    let required = std::env::var("SLOTQUAKE_REQUIRE_ALL").is_ok_and(|value| value == "1");
    let (mut passed, mut failed) = (0, Vec::new());
    for stage in Stage::all() {
        let cases = lifecycle::CASES.iter().map(|(name, case)| (*name, Some(*case)));
        let inside = inside::CASES.iter().map(|(name, _)| (*name, None));
        for (name, case) in cases.chain(inside) {
            let name_and_user = format!("{name} (as {})", stage.user());
            if !wanted(&name_and_user) {
                continue;
            }
            if listed {
                println!("{name_and_user}: test");
                continue;
            }
            if let Err(reason) = stage.possible()
                && !required
            {
                println!("test {name_and_user} ... skipped: {reason}");
                continue;
            }
            let run = || match case {
                Some(case) => case(&stage),
                None => stage.passes_inside(name),
            };
            if catch_unwind(AssertUnwindSafe(run)).is_ok() {
                println!("test {name_and_user} ... ok");
                passed += 1;
            } else {
                println!("test {name_and_user} ... FAILED");
                failed.push(name_and_user);
            }
        }
    }
    if listed {
        return ExitCode::SUCCESS;
    }
    println!("\ntest result: {passed} passed, {} failed", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

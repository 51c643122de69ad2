//! The sandbox and the network faults in it, on the real kernel.
//!
//! Only a process with one thread can enter a sandbox, so this target has its own `main`. Each case starts this
//! program again in a role and watches it from outside. As root, every case runs twice: as root and as an ordinary
//! user. `cargo test --test sandbox -- WORD` runs the cases with that word in their names. Without a sandbox or
//! nft, the cases that need it are skipped, unless `SLOTQUAKE_REQUIRE_ALL` is 1.

mod inside;
mod lifecycle;
mod stage;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;

use stage::Stage;

/// A case passes by returning.
type Case = fn(&Stage);

/// One case for one user.
struct Test<'a> {
    name: &'static str,
    stage: &'a Stage,
    /// Whether the case watches from outside; otherwise it runs inside.
    case: Option<Case>,
    /// Why it cannot run here.
    skip: Option<String>,
}

/// How many cases run concurrently; they mostly wait.
const WORKERS: usize = 4;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((first, rest)) = arguments.split_first()
        && first == "role"
    {
        return inside::play(rest);
    }
    let words: Vec<&String> = arguments.iter().filter(|word| !word.starts_with('-')).collect();
    let stages = Stage::all();
    let mut tests: Vec<Test<'_>> = stages.iter().flat_map(tests_on).collect();
    tests.retain(|test| words.is_empty() || words.iter().any(|word| test.title().contains(word.as_str())));
    if arguments.iter().any(|word| word == "--list") {
        for test in &tests {
            println!("{}: test", test.title());
        }
        return ExitCode::SUCCESS;
    }
    let queue = Mutex::new(tests.iter());
    let next = || queue.lock().expect("no panic while it is held").next();
    let work = || std::iter::from_fn(next).filter(|test| !test.passes()).count();
    let failed: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker catches panics")).sum()
    });
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {verdict}. {} passed; {failed} failed", tests.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tests_on(stage: &Stage) -> Vec<Test<'_>> {
    let required = std::env::var("SLOTQUAKE_REQUIRE_ALL").is_ok_and(|value| value == "1");
    let skip = |probes: &[&str]| {
        let probe = |probe: &&str| stage.possible(probe).err();
        if required { None } else { probes.iter().find_map(probe) }
    };
    let (no_sandbox, no_nft) = (skip(&["probe"]), skip(&["probe", "probe-nft"]));
    let mut tests = Vec::new();
    for &(name, case) in lifecycle::CASES {
        tests.push(Test { name, stage, case: Some(case), skip: no_sandbox.clone() });
    }
    for (cases, skip) in [(inside::CASES, &no_sandbox), (inside::faults::CASES, &no_nft)] {
        tests.extend(cases.iter().map(|&(name, _)| Test { name, stage, case: None, skip: skip.clone() }));
    }
    tests
}

impl Test<'_> {
    fn title(&self) -> String {
        format!("{} (as {})", self.name, self.stage.user())
    }

    fn passes(&self) -> bool {
        if let Some(reason) = &self.skip {
            println!("test {} ... skipped: {reason}", self.title());
            return true;
        }
        let run = || match self.case {
            Some(case) => case(self.stage),
            None => self.stage.passes_inside(self.name),
        };
        let passed = catch_unwind(AssertUnwindSafe(run)).is_ok();
        println!("test {} ... {}", self.title(), if passed { "ok" } else { "FAILED" });
        passed
    }
}

//! Network faults on real clusters, run through the library inside the sandbox.
//!
//! A sandbox is entered while a process has one thread, so this target has a `main` of its own. `cargo
//! test --test network_run -- WORD` runs the cases that have the word in their name. Where the machine
//! allows no sandbox, or has no nft, all are skipped, unless `SLOTQUAKE_REQUIRE_ALL` is 1.

mod cases;
mod stage;

use std::process::ExitCode;
use std::sync::Arc;

use slotquake::network::Network;
use slotquake::network::netem::detect;
use slotquake::network::nft::Nft;
use slotquake::sandbox::{Entered, Mode, enter};
use stage::Stage;
use tokio::sync::Semaphore;

/// Clusters side by side: they mostly wait.
const SIDE_BY_SIDE: usize = 8;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&String> = arguments.iter().filter(|word| !word.starts_with('-')).collect();
    let mut cases = cases::all();
    cases.retain(|case| words.is_empty() || words.iter().any(|word| case.name.contains(word.as_str())));
    if arguments.iter().any(|word| word == "--list") {
        for case in &cases {
            println!("{}: test", case.name);
        }
        return ExitCode::SUCCESS;
    }
    // There is no way out of the sandbox by which a server could be fetched.
    let server = slotquake::server::find("redis:6.2", &|notice| eprintln!("{notice}")).expect("a server");
    let entered = Nft::find().map_err(|error| error.to_string()).and_then(|_| match enter(Mode::Auto) {
        Ok(Entered::Inside(inside)) => Ok(inside),
        Ok(Entered::No { reason, hint }) => Err(format!("{reason} ({hint})")),
        Err(error) => Err(error.to_string()),
    });
    let inside = match entered {
        Ok(inside) => inside,
        Err(reason) => {
            println!("skipped: {reason}");
            let required = std::env::var("SLOTQUAKE_REQUIRE_ALL").is_ok_and(|value| value == "1");
            return if required { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let network = Network::open(&inside).expect("a network");
    if let Err(reason) = detect(&inside) {
        // A kernel without it is no fault of the machine's keeper, so this is skipped even where all
        // is required.
        cases.retain(|case| case.suite != cases::SLOW);
        println!("skipped, what needs netem: {reason}");
    }
    let played = cases.len();
    let stage = Arc::new(Stage { inside, network: network.clone(), server });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let failed = runtime.block_on(async {
        let places = Arc::new(Semaphore::new(SIDE_BY_SIDE));
        let mut running = Vec::new();
        for case in cases {
            let (stage, places) = (Arc::clone(&stage), Arc::clone(&places));
            running.push(tokio::spawn(async move {
                let _place = places.acquire().await.expect("never closed");
                let passed = tokio::spawn(stage.play(case.suite, case.judge)).await.is_ok();
                println!("test {} ... {}", case.name, if passed { "ok" } else { "FAILED" });
                passed
            }));
        }
        let mut failed = 0;
        for each in running {
            failed += usize::from(!each.await.expect("it catches panics"));
        }
        failed
    });
    assert!(network.in_force().is_empty(), "no rule outlives its run: {:?}", network.in_force());
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {verdict}. {} passed; {failed} failed", played - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

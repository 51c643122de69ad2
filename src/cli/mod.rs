//! The command line, with one file for each subcommand. Only this module prints: results go to stdout, everything else to
//! stderr.

mod attach;
mod backend;
mod bisect;
mod chaos;
mod check;
mod ci;
mod compare;
mod completions;
mod containers;
mod doctor;
#[cfg(test)]
mod documented;
mod down;
mod exec;
mod exit;
mod fault;
mod folder;
mod gc;
mod history;
mod init;
mod known;
mod list;
mod live;
#[cfg(test)]
mod manual;
mod merge;
mod number;
mod plan;
mod prepare;
mod progress;
mod report;
mod run;
mod runtime;
mod schema;
mod screen;
mod send;
mod show;
mod signals;
mod socket;
mod status;
mod taken;
mod up;

use std::panic::catch_unwind;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use exit::{Exit, Trouble};

/// Chaos and failover verification for Redis Cluster and Valkey.
///
/// Starts a real cluster, runs a workload, injects the faults of a suite, judges its invariants and writes a report.
#[derive(Debug, Parser)]
#[command(
    name = "slotquake",
    version,
    arg_required_else_help = true,
    after_help = "Start with:  slotquake run role-swap",
    after_long_help = "\
Exit codes:
  0    every invariant holds
  1    an invariant failed, or `compare` found a regression
  2    wrong usage, or a suite that cannot run
  3    inconclusive: too little was observed, or everything was skipped
  69   the machine, the servers or the cluster did not let slotquake work
  70   slotquake has a bug, or left something behind
  130  interrupted
Of several runs, the first of 1, 70, 69, 2, 130, 3, 0 wins, so a failure is never masked.

Start with:  slotquake run role-swap"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(list::Args),
    Show(show::Args),
    Init(init::Args),
    Run(Box<run::Args>),
    Chaos(Box<chaos::Args>),
    Bisect(Box<bisect::Args>),
    Merge(merge::Args),
    Known(known::Args),
    Plan(plan::Args),
    Check(check::Args),
    Compare(compare::Args),
    History(history::Args),
    Report(report::Args),
    Schema(schema::Args),
    Up(up::Args),
    Status(status::Args),
    Fault(fault::Args),
    Send(send::Args),
    Exec(exec::Args),
    Down(down::Args),
    Doctor(doctor::Args),
    Gc(gc::Args),
    Completions(completions::Args),
}

/// The format of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// One JSON document.
    Json,
}

/// Parses the arguments, runs the command and returns its exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => {
            // A closed pipe is not an error.
            let _ = answer.print();
            return if answer.use_stderr() { Exit::Usage.code() } else { Exit::Pass.code() };
        }
    };
    // A panic is a bug of slotquake. Its message is already printed.
    let done = catch_unwind(|| dispatch(&cli.command)).unwrap_or(Ok(Exit::Harness));
    done.unwrap_or_else(|trouble| {
        screen::say(&format!("slotquake: {}", trouble.message));
        trouble.exit
    })
    .code()
}

fn dispatch(command: &Command) -> Result<Exit, Trouble> {
    match command {
        Command::List(args) => list::main(args),
        Command::Show(args) => show::main(args),
        Command::Init(args) => init::main(args),
        Command::Run(args) => run::main(args),
        Command::Chaos(args) => chaos::main(args),
        Command::Bisect(args) => bisect::main(args),
        Command::Merge(args) => merge::main(args),
        Command::Known(args) => known::main(args),
        Command::Plan(args) => plan::main(args),
        Command::Check(args) => check::main(args),
        Command::Compare(args) => compare::main(args),
        Command::History(args) => history::main(args),
        Command::Report(args) => report::main(args),
        Command::Schema(args) => schema::main(args),
        Command::Up(args) => up::main(args),
        Command::Status(args) => status::main(args),
        Command::Fault(args) => fault::main(args),
        Command::Send(args) => send::main(args),
        Command::Exec(args) => exec::main(args),
        Command::Down(args) => down::main(args),
        Command::Doctor(args) => doctor::main(args),
        Command::Gc(args) => gc::main(args),
        Command::Completions(args) => completions::main(args),
    }
}

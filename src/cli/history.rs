//! `slotquake history`.

use std::path::PathBuf;

use clap::Subcommand;
use slotquake::consistency::Budget;
use slotquake::history::{self, History};
use slotquake::jepsen::{self, Form, Judged, KeyVerdict};
use slotquake_judge::words::count;

use super::exit::{Exit, Trouble};
use super::{Format, screen};

/// How many violations are shown.
const SHOWN: usize = 10;

/// Give histories to people and other checkers, or judge those of others
///
/// In Jepsen's format Knossos, Elle and Porcupine can judge a run of slotquake, and slotquake a run of Jepsen. `--lines` writes
/// everything that a history holds.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  slotquake history export reports/latest --lines
  slotquake history export reports/latest --edn --out history.edn
  slotquake history import history.edn --edn")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Write a history: all records as lines, or the operations in Jepsen's format
    Export {
        /// The folder of a report
        #[arg(value_name = "REPORT_DIR")]
        folder: PathBuf,
        #[command(flatten)]
        form: ExportArgs,
        /// The file to write; the standard output without it
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Judge whether a history in Jepsen's format is linearizable, key by key
    Import {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        form: FormArgs,
        /// The format of the result
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct ExportArgs {
    /// Every event and operation as a line of JSON, in the order of time, after a line with the plan
    #[arg(long)]
    lines: bool,
    /// Jepsen's format in Clojure's data notation, a map for each entry
    #[arg(long)]
    edn: bool,
    /// Jepsen's format in JSON, an object for each entry
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct FormArgs {
    /// Clojure's data notation, a map for each entry
    #[arg(long)]
    edn: bool,
    /// JSON, an object for each entry
    #[arg(long)]
    json: bool,
}

impl FormArgs {
    fn form(&self) -> Form {
        if self.edn { Form::Edn } else { Form::Json }
    }
}

/// Exports or imports.
pub fn main(args: &Args) -> Result<Exit, Trouble> {
    match &args.what {
        What::Export { folder, form, out } => {
            let history = history::read(folder).map_err(Trouble::usage)?;
            let text = match form {
                ExportArgs { lines: true, .. } => in_lines(&history),
                ExportArgs { edn: true, .. } => in_jepsens_format(&history, Form::Edn),
                ExportArgs { .. } => in_jepsens_format(&history, Form::Json),
            };
            match out {
                None => screen::print(text.trim_end())?,
                Some(file) => std::fs::write(file, text)
                    .map_err(|error| Trouble::usage(format!("cannot write \"{}\": {error}", file.display())))?,
            }
            Ok(Exit::Pass)
        }
        What::Import { file, form, format } => {
            let wrong = |error: String| Trouble::usage(format!("\"{}\": {error}", file.display()));
            let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
            let entries = jepsen::read(&text, form.form()).map_err(wrong)?;
            if entries.is_empty() {
                return Err(wrong("it has no operations".to_owned()));
            }
            let judged = jepsen::judge(&entries, Budget::default()).map_err(wrong)?;
            match format {
                Format::Table => screen::print(&told(&judged))?,
                Format::Json => screen::print(&document(&judged))?,
            }
            Ok(exit(&judged))
        }
    }
}

fn in_lines(history: &History) -> String {
    let mut lines = Vec::new();
    history::write_lines(history, &mut lines).expect("memory can be written");
    String::from_utf8(lines).expect("JSON is UTF-8")
}

fn in_jepsens_format(history: &History, form: Form) -> String {
    let (entries, left_out) = jepsen::entries(history);
    if left_out.other_kinds > 0 {
        let these = count(left_out.other_kinds as u64, "operation");
        screen::say(&format!("left out: {these} of kinds of data that the format has no words for"));
    }
    if left_out.foreign > 0 {
        let these = count(left_out.foreign as u64, "operation");
        screen::say(&format!("left out: {these} that saw what the workload never wrote"));
    }
    jepsen::write(&entries, form)
}

fn exit(judged: &[Judged]) -> Exit {
    let is = |wanted: fn(&KeyVerdict) -> bool| judged.iter().any(|judged| wanted(&judged.verdict));
    if is(|verdict| matches!(verdict, KeyVerdict::Violated(_))) {
        Exit::Failed
    } else if judged.is_empty() || is(|verdict| *verdict == KeyVerdict::Undecided) {
        Exit::Inconclusive
    } else {
        Exit::Pass
    }
}

fn told(judged: &[Judged]) -> String {
    let operations: usize = judged.iter().map(|judged| judged.operations).sum();
    let violated = judged.iter().filter(|judged| matches!(judged.verdict, KeyVerdict::Violated(_))).count();
    let undecided = judged.iter().filter(|judged| judged.verdict == KeyVerdict::Undecided).count();
    let mut lines = vec![format!(
        "{violated} of {} not linearizable ({})",
        count(judged.len() as u64, "key"),
        count(operations as u64, "operation")
    )];
    let shown = judged.iter().filter_map(|judged| match &judged.verdict {
        KeyVerdict::Violated(why) => Some(format!("  {}: {why}", judged.keys.join(", "))),
        KeyVerdict::Linearizable | KeyVerdict::Undecided => None,
    });
    lines.extend(shown.take(SHOWN));
    if violated > SHOWN {
        lines.push(format!("  ... and {} more", violated - SHOWN));
    }
    if undecided > 0 {
        lines.push(format!("undecided: {}, as the search was given up", count(undecided as u64, "key")));
    }
    lines.join("\n")
}

fn document(judged: &[Judged]) -> String {
    let keys: Vec<serde_json::Value> = judged
        .iter()
        .map(|judged| {
            let (verdict, why) = match &judged.verdict {
                KeyVerdict::Linearizable => ("pass", None),
                KeyVerdict::Violated(why) => ("fail", Some(why)),
                KeyVerdict::Undecided => ("inconclusive", None),
            };
            serde_json::json!({
                "keys": judged.keys, "operations": judged.operations, "verdict": verdict, "why": why,
            })
        })
        .collect();
    let document = serde_json::json!({"schema_version": 1, "exit_code": exit(judged).number(), "keys": keys});
    format!("{document:#}")
}

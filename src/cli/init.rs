//! `slotquake init`.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use slotquake::suite;

use super::exit::{Exit, Trouble};
use super::screen;

/// Write a suite to begin with, with comments, and the schema for editors beside it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  slotquake init my-upgrade
  slotquake run my-upgrade.yaml")]
pub struct Args {
    /// The name of the suite; its file is NAME.yaml
    #[arg(default_value = "my-suite")]
    name: String,
}

/// The file of the schema, which the first line of a suite names.
const SCHEMA: &str = "suite.schema.json";

/// Writes both files; never over another suite.
pub fn main(args: &Args) -> Result<Exit, Trouble> {
    let file = format!("{}.yaml", args.name);
    let text = text(&args.name);
    suite::parse(&text, Path::new(&file)).map_err(Trouble::usage)?;
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&file)
        .and_then(|mut open| open.write_all(text.as_bytes()));
    written.map_err(|error| {
        let hint = match error.kind() {
            ErrorKind::AlreadyExists => " (hint: give another name, or remove it)",
            _ => "",
        };
        Trouble::usage(format!("cannot write \"{file}\": {error}{hint}"))
    })?;
    let folder = Path::new(&file).parent().unwrap_or(Path::new(""));
    let schema = serde_json::to_string_pretty(&suite::schema()).map_err(Trouble::harness)?;
    std::fs::write(folder.join(SCHEMA), schema + "\n")
        .map_err(|error| Trouble::usage(format!("cannot write \"{}\": {error}", folder.join(SCHEMA).display())))?;
    screen::print(&format!("{file}\n{}\n", folder.join(SCHEMA).display()))?;
    screen::say(&format!("next: slotquake run {file}"));
    Ok(Exit::Pass)
}

fn text(path: &str) -> String {
    let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy();
    include_str!("init.yaml").replace("NAME", &name)
}

#[cfg(test)]
mod tests {
    use slotquake::plan::Plan;
    use slotquake::suite::Source;

    use super::*;

    #[test]
    fn what_is_written_can_be_run() {
        let text = text("some/where/first");
        assert!(text.starts_with("# yaml-language-server: $schema=suite.schema.json\n"), "{text}");
        let source = Source::parse(&text, Path::new("first.yaml")).expect("a suite");
        assert_eq!(source.suite.name, "first");
        let plan = Plan::from_source(&source, 7).expect("a plan");
        assert!(!plan.invariants.is_empty());
    }
}

//! The manual pages, which a release ships. They are made by a test, so that nobody who builds slotquake builds what makes
//! them: `MANUAL=DIR cargo test --bin slotquake manual` writes them into DIR.

use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::Cli;

/// The pages of a command and all below it, as their file names and texts.
fn pages(command: &Command) -> Vec<(String, String)> {
    let man = Man::new(command.clone());
    let mut text = Vec::new();
    man.render(&mut text).expect("writing into memory succeeds");
    let own = (man.get_filename(), String::from_utf8(text).expect("text"));
    let below = command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help");
    [own].into_iter().chain(below.flat_map(pages)).collect()
}

#[test]
fn manual_has_a_page_for_each_command() {
    let mut cli = Cli::command();
    cli.build();
    let pages = pages(&cli);
    assert!(pages.len() > cli.get_subcommands().count(), "one for slotquake itself, too");
    for (file, text) in &pages {
        for section in ["NAME", "SYNOPSIS", "OPTIONS"] {
            assert!(text.contains(&format!(".SH {section}")), "{file} has no {section}");
        }
    }
    let run = pages.iter().find(|(file, _)| file == "slotquake-run.1").expect("a page of run");
    assert!(run.1.contains("\\-\\-repeat"), "{}", run.1);
    if let Some(folder) = std::env::var_os("MANUAL") {
        let folder = Path::new(&folder);
        fs::create_dir_all(folder).expect("a folder");
        for (file, text) in &pages {
            fs::write(folder.join(file), text).expect("written");
        }
    }
}

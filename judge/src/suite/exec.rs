//! Programs of the user's, as steps and as probes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::step::{Answer, CommandLine, Errors};
use crate::units::Span;

/// A program to run once: `{ run: [./smoke.sh, --fast], within: 10s }`. It succeeds when it exits with status 0 in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Exec {
    /// The program and its arguments. No shell reads them. Without a slash, the program is looked for on PATH.
    pub run: CommandLine,
    /// How long it may take, in the time of the cluster. Then it is killed with all that it started, and has failed.
    #[serde(default = "within", skip_serializing_if = "is_within")]
    pub within: Span,
    /// Whether a program that fails ends the steps and fails the run (`reject`), or is recorded and the run goes on
    /// (`allow`).
    #[serde(default, skip_serializing_if = "Errors::are_rejected")]
    pub errors: Errors,
}

impl Exec {
    /// How long a program may take where the suite does not say.
    pub const WITHIN: Span = Span::secs(30);

    /// What is wanted of the program.
    pub fn wanted(&self) -> Wanted<'_> {
        Wanted { status: 0, output: None }
    }
}

fn within() -> Span {
    Exec::WITHIN
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_within(within: &Span) -> bool {
    *within == Exec::WITHIN
}

/// What is wanted of a program: its exit status, and what it printed to standard output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// The exit status.
    pub status: u8,
    /// The output, without line feeds at its end; None if any will do.
    pub output: Option<Answer<'a>>,
}

impl Wanted<'_> {
    /// Whether a program that ended with this status, after it printed this, did what was wanted.
    pub fn is_met(&self, status: Option<i32>, printed: &str) -> bool {
        let as_wanted = |output: &Answer<'_>| output.is_met(printed.trim_end_matches(['\n', '\r'])) == Some(true);
        status == Some(self.status.into()) && self.output.as_ref().is_none_or(as_wanted)
    }

    /// `exit status 0 and output with the lines "ready"`, in words.
    pub fn words(&self) -> String {
        let status = format!("exit status {}", self.status);
        match &self.output {
            None => status,
            Some(output) => format!("{status} and {}", output.words("output")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_output_must_be_as_wanted() {
        let lines = ["ready".to_owned(), "6 nodes".to_owned()];
        for (status, output, exited, printed, expected) in [
            (0, None, Some(0), "anything", true),
            (0, None, Some(1), "", false),
            (3, None, Some(3), "", true),
            // A signal ended it, or it did not end.
            (0, None, None, "", false),
            (0, Some(Answer::Is("yes")), Some(0), "yes\n", true),
            (0, Some(Answer::Is("yes")), Some(0), "yes, but\n", false),
            (0, Some(Answer::Is("yes")), Some(1), "yes\n", false),
            (0, Some(Answer::StartsWith("ye")), Some(0), "yes\n", true),
            (1, Some(Answer::Contains(&lines)), Some(1), "it has 6 nodes\nand is ready\n", true),
            (1, Some(Answer::Contains(&lines)), Some(1), "ready\n", false),
        ] {
            let wanted = Wanted { status, output };
            assert_eq!(wanted.is_met(exited, printed), expected, "{wanted:?} {exited:?} {printed:?}");
        }
    }
}

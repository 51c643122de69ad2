//! The console blocks of docs/exercise.md as steps, and the comparison of what was printed with them.

use std::collections::BTreeMap;

/// A command and the lines that the page shows below it.
#[derive(Debug)]
pub struct Step {
    pub command: String,
    pub output: Vec<String>,
}

/// The commands of all console blocks, in order.
pub fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut is_inside = false;
    for line in page.lines() {
        match (line.strip_prefix("$ "), is_inside) {
            _ if line.starts_with("```") => is_inside = line == "```console",
            (Some(command), true) => steps.push(Step { command: command.to_owned(), output: Vec::new() }),
            (None, true) => steps.last_mut().expect("a block begins with a command").output.push(line.to_owned()),
            (_, false) => {}
        }
    }
    steps
}

/// The node's id that each shortened one of the page (`5c046eb...`) stands for.
#[derive(Clone, Default)]
pub struct Names(BTreeMap<String, String>);

impl Names {
    /// Whether these are the step's lines, in any order, since CLUSTER NODES has none; `...` alone on a line stands
    /// for any others. A step without output says nothing about it.
    pub fn read(&mut self, step: &Step, printed: &str) -> Result<(), String> {
        let mut rest: Vec<Vec<&str>> = printed
            .lines()
            .map(|line| line.split_whitespace().collect())
            .filter(|line: &Vec<_>| !line.is_empty())
            .collect();
        let mut names = self.clone();
        for wanted in step.output.iter().filter(|line| *line != "...") {
            let words: Vec<&str> = wanted.split_whitespace().collect();
            let found = rest.iter().enumerate().find_map(|(at, line)| Some((at, names.line(&words, line)?)));
            let (at, learnt) = found.ok_or_else(|| format!("no line is `{wanted}`"))?;
            rest.remove(at);
            names = learnt;
        }
        let is_open = step.output.is_empty() || step.output.iter().any(|line| line == "...");
        if let (false, Some(line)) = (is_open, rest.first()) {
            return Err(format!("it does not show `{}`", line.join(" ")));
        }
        *self = names;
        Ok(())
    }

    /// The names with what this line tells, if it fits. `...` stands for any words.
    fn line(&self, wanted: &[&str], line: &[&str]) -> Option<Self> {
        match (wanted.split_first(), line.split_first()) {
            (None, None) => Some(self.clone()),
            (Some((&"...", later)), _) => (0..=line.len()).find_map(|skipped| self.line(later, &line[skipped..])),
            (Some((wanted, wanted_later)), Some((word, later))) => self.word(wanted, word)?.line(wanted_later, later),
            _ => None,
        }
    }

    fn word(&self, wanted: &str, word: &str) -> Option<Self> {
        let Some(start) = wanted.strip_suffix("...") else { return (wanted == word).then(|| self.clone()) };
        if start.len() != 7 || !start.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return word.starts_with(start).then(|| self.clone());
        }
        if word.len() != 40 {
            return None;
        }
        let mut names = self.clone();
        match self.0.get(start) {
            Some(known) => (known == word).then_some(names),
            None if self.0.values().any(|known| known == word) => None,
            None => {
                names.0.insert(start.to_owned(), word.to_owned());
                Some(names)
            }
        }
    }
}

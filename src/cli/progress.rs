//! Progress on stderr. On a terminal, a view that redraws itself: several lines for a single run, one line for each of
//! several runs. Otherwise plain lines. Of several runs, each has a line when it ends, and what it did is told if it did not pass.
//! A separate thread draws, so that a slow terminal never delays a run.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use slotquake::batch::{Audience, Done, Watcher};
use slotquake::journal::Counts;
use slotquake::plan::Plan;
use slotquake::report::{Narrator, Standing, Summary, seconds};
use slotquake::run::Notice;
use slotquake::server::Server;
use slotquake::speed;
use slotquake_judge::check::Verdict;
use slotquake_judge::words::{count, visible};
use terminal_size::terminal_size_of;

use super::live::Live;
use super::screen::say;

/// How often a run prints its progress without a terminal.
const PLAIN_EVERY_NS: u64 = 10_000_000_000;

/// The display; [`Display::close`] it before results are printed.
pub struct Display {
    teller: Teller,
    thread: JoinHandle<()>,
}

/// Sends messages to the display from any thread.
#[derive(Clone)]
pub struct Teller {
    messages: Sender<Message>,
    terminal: bool,
    how_much: HowMuch,
    alone: bool,
    batch: Arc<Mutex<Batch>>,
}

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HowMuch {
    /// Only what did not pass.
    Quiet,
    /// A line for each run that ends, and what those did that do not pass.
    Normal,
    /// Everything, as it happens.
    Verbose,
}

impl HowMuch {
    /// What `-q` and `-v` ask for.
    pub fn new(quiet: bool, verbose: bool) -> Self {
        match (quiet, verbose) {
            (true, _) => Self::Quiet,
            (_, true) => Self::Verbose,
            _ => Self::Normal,
        }
    }
}

/// What is known of several runs together.
struct Batch {
    total: usize,
    ended: usize,
    began: SystemTime,
    /// What was not told of the runs that go on.
    held: BTreeMap<usize, Vec<String>>,
}

impl Batch {
    /// About how long the runs still take, in real time, by how long those took that ended.
    fn left(&self, now: SystemTime) -> Option<Duration> {
        let (ended, left) = (u32::try_from(self.ended).ok()?, u32::try_from(self.total.checked_sub(self.ended)?).ok()?);
        let taken = now.duration_since(self.began).ok()?;
        (ended >= 2 && left > 0).then(|| taken / ended * left)
    }
}

enum Message {
    /// A permanent line.
    Line(String),
    /// A run begins.
    Begin(usize, String),
    /// The new text of a run's line.
    Now(usize, String),
    /// A run is over.
    End(usize),
    /// The display closes.
    Close,
}

impl Teller {
    fn send(&self, message: Message) {
        // Messages after the display has closed do not matter.
        let _ = self.messages.send(message);
    }
}

impl Teller {
    /// Shows a line that replaces the one before it; without a terminal, nothing.
    pub fn status(&self, text: String) {
        if self.terminal {
            self.send(Message::Now(0, text));
        }
    }

    fn batch(&self) -> std::sync::MutexGuard<'_, Batch> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line that only tells how things go.
    pub fn chat(&self, text: &str) {
        if self.how_much != HowMuch::Quiet {
            self.line(text);
        }
    }

    /// Whether lines can be replaced.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Begins and ends the line of [`Self::status`].
    pub fn status_line(&self, is_shown: bool) {
        self.send(if is_shown { Message::Begin(0, String::new()) } else { Message::End(0) });
    }
}

impl Audience for Teller {
    fn begin(&self, run: usize, label: &str, plan: &Plan, server: &Server) -> Watcher {
        self.send(Message::Begin(run, label.to_owned()));
        let watched = Mutex::new(Watched {
            run,
            label: label.to_owned(),
            narrator: Narrator::new(plan, self.how_much == HowMuch::Verbose).on(server.version),
            live: Live::new(label, plan),
            plain_every_ns: (!self.terminal).then_some(PLAIN_EVERY_NS),
            is_only: self.batch().total == 1,
            last_plain_ns: 0,
            teller: self.clone(),
        });
        // A panic of the display must not end the run.
        Arc::new(move |notice| watched.lock().unwrap_or_else(PoisonError::into_inner).notice(notice))
    }

    fn end(&self, run: usize, done: &Done) {
        self.send(Message::End(run));
        let (held, total, ended, left) = {
            let mut batch = self.batch();
            batch.ended += 1;
            (batch.held.remove(&run), batch.total, batch.ended, batch.left(speed::real_now()))
        };
        let passed = done.summary.standing == Standing::Judged(Verdict::Pass);
        if !passed && self.how_much == HowMuch::Normal {
            held.into_iter().flatten().for_each(|line| self.line(&line));
        }
        if total > 1 && !(passed && self.how_much == HowMuch::Quiet) {
            for line in ended_lines(&done.summary, (ended, total), left) {
                self.line(&line);
            }
        }
    }

    fn line(&self, text: &str) {
        self.send(Message::Line(text.to_owned()));
    }
}

/// `PASS [10.3s] 7/24 bus-only redis:6.2 (about 2m left)`, and why it did not pass.
fn ended_lines(run: &Summary, (ended, total): (usize, usize), left: Option<Duration>) -> Vec<String> {
    const MOST_REASONS: usize = 4;
    let took = run.course.as_ref().map_or_else(String::new, |course| format!(" [{}]", seconds(course.duration_ms)));
    let lost = run.figures.as_ref().filter(|_| run.passed_with_losses()).map_or_else(String::new, |figures| {
        format!(", {} lost, which the suite does not judge", count(figures.lost_in_all(), "acknowledged write"))
    });
    let tries = if run.tries > 1 { format!(", try {}", run.tries) } else { String::new() };
    let left = left.map_or_else(String::new, |left| format!(" (about {} left)", roughly(left)));
    let word = run.standing.word().to_uppercase();
    let mut lines = vec![format!("{word}{took} {ended}/{total} {}{tries}{lost}{left}", run.label())];
    let reasons = run.reasons();
    let more = reasons.len().saturating_sub(MOST_REASONS);
    lines.extend(reasons.iter().take(MOST_REASONS).map(|reason| format!("    {reason}")));
    if more > 0 {
        lines.push(format!("    ... and {more} more"));
    }
    lines
}

/// `40s` or `3m`.
fn roughly(left: Duration) -> String {
    match left.as_secs() {
        below @ 0..90 => format!("{}s", below.max(1).next_multiple_of(5)),
        more => format!("{}m", (more + 30) / 60),
    }
}

impl Display {
    /// Starts the display of `total` runs. A run that goes on `alone` gets a view of several lines.
    pub fn new(how_much: HowMuch, alone: bool, total: usize) -> Self {
        let terminal = io::stderr().is_terminal();
        let (messages, inbox) = channel();
        let thread = std::thread::spawn(move || if terminal { draw_bars(&inbox, alone) } else { draw_lines(&inbox) });
        let batch = Batch { total, ended: 0, began: speed::real_now(), held: BTreeMap::new() };
        let batch = Arc::new(Mutex::new(batch));
        Self { teller: Teller { messages, terminal, how_much, alone, batch }, thread }
    }

    /// A handle that sends messages to this display.
    pub fn teller(&self) -> Teller {
        self.teller.clone()
    }

    /// Shows pending messages, clears the runs' lines and ends.
    pub fn close(self) {
        self.teller.send(Message::Close);
        let _ = self.thread.join();
    }
}

struct Watched {
    run: usize,
    label: String,
    narrator: Narrator,
    live: Live,
    plain_every_ns: Option<u64>,
    last_plain_ns: u64,
    /// Whether there is no other run.
    is_only: bool,
    teller: Teller,
}

impl Watched {
    fn notice(&mut self, notice: Notice<'_>) {
        match notice {
            Notice::Event(event) => {
                self.live.hear(event);
                for line in self.narrator.tell(event) {
                    self.line(event.at_ns, &line);
                }
            }
            Notice::Progress { at_ns, counts } => {
                let Counts { completed, acknowledged, .. } = counts;
                let text = format!("{}, {completed} operations, {acknowledged} acknowledged", self.narrator.phase());
                match self.plain_every_ns {
                    None if self.teller.alone => {
                        self.teller.send(Message::Now(self.run, self.live.lines(at_ns, counts).join("\n")));
                    }
                    None => self.teller.send(Message::Now(self.run, text)),
                    Some(every_ns) if at_ns >= self.last_plain_ns + every_ns => {
                        self.last_plain_ns = at_ns;
                        if self.teller.how_much == HowMuch::Verbose || self.is_only {
                            self.teller.chat(&self.labelled(at_ns, &text));
                        }
                    }
                    Some(_) => {}
                }
            }
        }
    }

    /// Tells what happened, or keeps it until it is known whether the run passes.
    fn line(&self, at_ns: u64, text: &str) {
        let line = self.labelled(at_ns, text);
        // In the log of a single run, nothing else tells that it goes on.
        let is_log = self.is_only && !self.teller.terminal && self.teller.how_much == HowMuch::Normal;
        if self.teller.how_much == HowMuch::Verbose || is_log {
            self.teller.line(&line);
        } else {
            self.teller.batch().held.entry(self.run).or_default().push(line);
        }
    }

    fn labelled(&self, at_ns: u64, text: &str) -> String {
        format!("[{}] {} {text}", self.label, seconds(at_ns as f64 / 1e6))
    }
}

fn draw_lines(inbox: &Receiver<Message>) {
    while let Ok(message) = inbox.recv() {
        match message {
            Message::Line(text) => say(&text),
            Message::Close => return,
            Message::Begin(..) | Message::Now(..) | Message::End(_) => {}
        }
    }
}

fn draw_bars(inbox: &Receiver<Message>, alone: bool) {
    let bars = MultiProgress::new();
    let mut by_run: BTreeMap<usize, ProgressBar> = BTreeMap::new();
    let look = if alone { "{msg}" } else { "{spinner} {prefix}  {elapsed}  {wide_msg}" };
    let look = ProgressStyle::with_template(look).expect("a valid template");
    while let Ok(message) = inbox.recv() {
        match message {
            // Ignore errors: the terminal may be gone.
            Message::Line(text) => drop(bars.println(visible(&text))),
            Message::Begin(run, label) => {
                let bar = bars.add(ProgressBar::new_spinner().with_style(look.clone()));
                bar.set_prefix(visible(&label));
                bar.set_message("boot");
                bar.enable_steady_tick(Duration::from_millis(200));
                // A run that is repeated begins again.
                if let Some(before) = by_run.insert(run, bar) {
                    before.finish_and_clear();
                    bars.remove(&before);
                }
            }
            Message::Now(run, text) => {
                if let Some(bar) = by_run.get(&run) {
                    bar.set_message(fitting(&text));
                }
            }
            Message::End(run) => {
                if let Some(bar) = by_run.remove(&run) {
                    bar.finish_and_clear();
                    bars.remove(&bar);
                }
            }
            Message::Close => break,
        }
    }
    for bar in by_run.values() {
        bar.finish_and_clear();
    }
}

/// Cuts lines to the width of the terminal: a wrapped line would remain when the view is redrawn.
fn fitting(text: &str) -> String {
    let width = terminal_size_of(io::stderr()).map_or(80, |(width, _)| usize::from(width.0)).saturating_sub(1);
    let text = visible(text);
    let lines = text.lines().map(|line| line.chars().take(width).collect::<String>());
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_how_a_run_ended_and_why() {
        let run = |standing| Summary::without_report("bus-only", "redis:6.2", 7, standing, None);
        let pass = run(Standing::Judged(Verdict::Pass));
        assert_eq!(ended_lines(&pass, (7, 24), None), ["PASS 7/24 bus-only redis:6.2"]);
        let repeated = Summary { tries: 2, ..pass };
        let left = Some(Duration::from_secs(130));
        assert_eq!(ended_lines(&repeated, (7, 24), left), ["PASS 7/24 bus-only redis:6.2, try 2 (about 2m left)"]);
        let broken = run(Standing::Error("no cluster\n  at all".to_owned()));
        assert_eq!(ended_lines(&broken, (8, 24), None), ["ERROR 8/24 bus-only redis:6.2", "    no cluster at all"]);
    }

    #[test]
    fn what_is_left_follows_from_what_has_ended() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let batch = |ended, total| Batch { total, ended, began: at(100), held: BTreeMap::new() };
        for (ended, total, expected) in [(0, 24, None), (1, 24, None), (6, 24, Some(180)), (24, 24, None)] {
            assert_eq!(batch(ended, total).left(at(160)), expected.map(Duration::from_secs), "{ended} of {total}");
        }
        for (seconds, expected) in [(0, "5s"), (41, "45s"), (89, "90s"), (90, "2m"), (200, "3m"), (3600, "60m")] {
            assert_eq!(roughly(Duration::from_secs(seconds)), expected);
        }
    }
}

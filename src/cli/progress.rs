//! Progress on stderr. On a terminal, a view that redraws itself: several lines for a single run, one line for each of
//! several runs. Otherwise plain lines. A separate thread draws, so that a slow terminal never delays a run.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use slotquake::batch::{Audience, Watcher};
use slotquake::journal::Counts;
use slotquake::plan::Plan;
use slotquake::report::{Narrator, seconds};
use slotquake::run::Notice;
use slotquake::server::Server;
use slotquake_judge::words::visible;
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
    verbose: bool,
    alone: bool,
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
            narrator: Narrator::new(plan, self.verbose).on(server.version),
            live: Live::new(label, plan),
            plain_every_ns: (!self.terminal).then_some(PLAIN_EVERY_NS),
            last_plain_ns: 0,
            teller: self.clone(),
        });
        // A panic of the display must not end the run.
        Arc::new(move |notice| watched.lock().unwrap_or_else(PoisonError::into_inner).notice(notice))
    }

    fn end(&self, run: usize) {
        self.send(Message::End(run));
    }

    fn line(&self, text: &str) {
        self.send(Message::Line(text.to_owned()));
    }
}

impl Display {
    /// Starts the display. A run that goes on `alone` gets a view of several lines.
    pub fn new(verbose: bool, alone: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        let (messages, inbox) = channel();
        let thread = std::thread::spawn(move || if terminal { draw_bars(&inbox, alone) } else { draw_lines(&inbox) });
        Self { teller: Teller { messages, terminal, verbose, alone }, thread }
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
                        self.line(at_ns, &text);
                    }
                    Some(_) => {}
                }
            }
        }
    }

    fn line(&self, at_ns: u64, text: &str) {
        self.teller.line(&format!("[{}] {} {text}", self.label, seconds(at_ns as f64 / 1e6)));
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
                by_run.insert(run, bar);
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

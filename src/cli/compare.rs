//! `slotquake compare`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use slotquake::facts::Facts;
use slotquake::history::{self, History};
use slotquake::report::{self, Compared, Report, RunKey, Skipped, Stored, short_server};
use slotquake::reports;
use slotquake_judge::words::list;

use super::exit::{Exit, Trouble};
use super::screen;

/// Compare reports, folders of them, or sets of repeated runs
///
/// Runs are matched by suite and server; several reports of one suite are repeated runs (`run
/// --repeat`). Shows which verdicts, safety figures and times differ. Times are compared as
/// distributions (Mann-Whitney U, Hodges-Lehmann with its 95 % interval). `~` means that the runs are too few
/// to tell, with the approximate number of runs that each side needs. If one side is a single report, only its
/// suite is compared. Each of several NEW is compared with BASE.
///
/// If plan, configuration, server, host or speed differ, the runs are not comparable: the command lists the differences
/// and exits with 2, unless you allow them. Times on different hosts are shown, but never count as a regression.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  slotquake compare reports/baseline reports/latest
  slotquake compare before after --suite role-swap --html comparison.html
  slotquake compare before after --fail-on any-change --format markdown
  slotquake compare redis-6.2 redis-7.0 valkey-9.1 --allow-different

Exit codes: 0 no such finding, 1 a finding that --fail-on names, 2 not comparable, 3 undecided")]
pub struct Args {
    /// What to compare with: the folder or file of a report, or a folder of reports
    base: PathBuf,
    /// What to compare; several are shown beside each other
    #[arg(required = true)]
    new: Vec<PathBuf>,
    /// The format of the result
    #[arg(long, value_enum, default_value_t = Output::Table)]
    format: Output,
    /// Also write a page that shows the figures side by side, and the runs over one time axis
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Compare only these suites
    #[arg(long = "suite", value_name = "SUITE", value_delimiter = ',')]
    suites: Vec<String>,
    /// Compare only runs on these servers, such as redis:6.2
    #[arg(long = "server", value_name = "SERVER", value_delimiter = ',')]
    servers: Vec<String>,
    /// Compare even if plan, configuration, server, host or speed differ
    #[arg(long)]
    allow_different: bool,
    /// What makes it exit with 1
    #[arg(long, value_enum, default_value_t = FailOn::Regression)]
    fail_on: FailOn,
    /// Also show undecided figures
    #[arg(short, long)]
    verbose: bool,
}

/// How a comparison is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// One JSON document.
    Json,
    /// For a pull request or a job's summary.
    Markdown,
    /// Markdown with verdicts alone, a row for each suite: the same suites on two servers or backends.
    Verdicts,
}

/// Which findings fail the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum FailOn {
    /// A verdict or a safety figure got worse, a time got slower beyond chance, or what BASE judged is not in NEW.
    Regression,
    /// Anything that changed beyond chance, for better or worse.
    AnyChange,
    /// Nothing.
    Never,
}

/// Compares and prints.
pub fn main(args: &Args) -> Result<Exit, Trouble> {
    if args.format == Output::Verdicts && args.new.len() > 1 {
        return Err(Trouble::usage("`--format verdicts` compares two sides (hint: leave out all but one NEW)"));
    }
    let base = Side::read(&args.base, args)?;
    let others: Vec<Side> = args.new.iter().map(|path| Side::read(path, args)).collect::<Result<_, _>>()?;
    let compared = others.iter().map(|new| compare(&base, new, args)).collect::<Result<Vec<Compared>, _>>()?;
    let exits = compared.iter().map(|side| exit(&side.comparison, args.fail_on));
    let exit = Exit::worst(exits);
    if let Some(file) = &args.html {
        write_page(file, &page(&base, &others, &compared))?;
    }
    match (args.format, &compared[..]) {
        (Output::Table, [only]) => {
            screen::print(&report::render_comparison(&only.comparison, screen::style(args.verbose)))?;
        }
        (Output::Table, sides) => screen::print(&report::render_sides(&base.name, sides, screen::style(args.verbose)))?,
        (Output::Markdown, sides) => {
            let texts = sides.iter().map(|side| {
                let heading =
                    if sides.len() > 1 { format!("## {} against {}\n\n", side.name, base.name) } else { String::new() };
                heading + &report::render_comparison_markdown(&side.comparison)
            });
            screen::print(&texts.collect::<Vec<_>>().join("\n"))?;
        }
        (Output::Verdicts, sides) => {
            let names = names(&base.reports, &others[0].reports);
            screen::print(&report::render_verdicts(&sides[0].comparison, names))?;
        }
        (Output::Json, sides) => screen::print(&report::comparison_document(&base.name, sides, exit.number()))?,
    }
    Ok(exit)
}

/// What is compared on one side.
struct Side {
    /// The path, as the user gave it.
    name: String,
    /// Whether it is one report.
    is_single: bool,
    reports: Vec<Report>,
    /// The file of each report.
    files: Vec<PathBuf>,
    skipped: Vec<Skipped>,
}

impl Side {
    fn read(path: &Path, args: &Args) -> Result<Self, Trouble> {
        let name = path.display().to_string();
        let all = report::read_all(path).map_err(Trouble::usage)?;
        let known: BTreeSet<RunKey> = all.iter().map(|stored| stored.report.key()).collect();
        let is_wanted = |key: &RunKey| {
            let on = |server: &String| *server == key.server || *server == short_server(&key.server);
            (args.suites.is_empty() || args.suites.contains(&key.suite))
                && (args.servers.is_empty() || args.servers.iter().any(on))
        };
        let (files, reports): (Vec<PathBuf>, Vec<Report>) = all
            .into_iter()
            .filter(|stored| is_wanted(&stored.report.key()))
            .map(|Stored { file, report }| (file, report))
            .unzip();
        if reports.is_empty() {
            let suites: BTreeSet<&str> = known.iter().map(|key| key.suite.as_str()).collect();
            let servers: BTreeSet<String> = known.iter().map(|key| short_server(&key.server)).collect();
            return Err(Trouble::usage(format!(
                "{name} has no run that `--suite` and `--server` ask for (hint: it has {} on {})",
                list(suites),
                list(servers)
            )));
        }
        let mut skipped = report::skipped(path).map_err(Trouble::usage)?;
        skipped.retain(|skipped| is_wanted(&skipped.run));
        Ok(Self { name, is_single: is_single(path), reports, files, skipped })
    }
}

fn compare(base: &Side, new: &Side, args: &Args) -> Result<Compared, Trouble> {
    let mut sides = [base.reports.clone(), new.reports.clone()];
    match (base.is_single, new.is_single) {
        (true, false) => keep_suites_of(&base.reports, &mut sides[1]),
        (false, true) => keep_suites_of(&new.reports, &mut sides[0]),
        _ => {}
    }
    let comparison = report::compare(&sides[0], &sides[1]).with_skipped(&base.skipped, &new.skipped);
    let against = || if args.new.len() > 1 { format!("{} and {}: ", base.name, new.name) } else { String::new() };
    if comparison.pairs.is_empty() {
        return Err(Trouble::usage(format!("{}nothing in common: no suite is on both sides", against())));
    }
    let differences = comparison.differences();
    if !args.allow_different && !differences.is_empty() {
        let lines = differences.join("\n  ");
        return Err(Trouble::usage(format!(
            "{}these are not the same experiment:\n  {lines}\n(hint: `--allow-different` compares them anyway)",
            against()
        )));
    }
    Ok(Compared { name: new.name.clone(), comparison })
}

/// The page, with a run of each side for the first suites.
fn page(base: &Side, others: &[Side], compared: &[Compared]) -> String {
    let pairs = compared.iter().flat_map(|side| &side.comparison.pairs);
    let keys: BTreeSet<(&str, &str)> = pairs.map(|pair| (pair.suite.as_str(), pair.server.as_str())).collect();
    let keys: Vec<_> = keys.into_iter().take(report::html::MOST_DRAWN).collect();
    let runs = keys.iter().map(|&(suite, server)| {
        let sides = [base].into_iter().chain(others).enumerate();
        sides.filter_map(|(index, side)| first_run(side, suite, server).map(|run| (index, run))).collect::<Vec<_>>()
    });
    let runs: Vec<Vec<(usize, (&Report, History))>> = runs.collect();
    let facts: Vec<Vec<(usize, &Report, Facts<'_>)>> = runs
        .iter()
        .map(|runs| runs.iter().map(|(side, (report, history))| (*side, *report, Facts::new(history))).collect())
        .collect();
    let overlaid: Vec<report::html::Overlaid<'_>> = keys
        .iter()
        .zip(&facts)
        .map(|(&(suite, server), runs)| {
            let runs = runs.iter().map(|(side, report, facts)| (*side, *report, facts)).collect();
            report::html::Overlaid { suite, server, runs }
        })
        .collect();
    report::html::comparison(&base.name, compared, &overlaid)
}

/// The first report of a suite on a server, or else on any, and its history if that is beside it.
fn first_run<'s>(side: &'s Side, suite: &str, server: &str) -> Option<(&'s Report, History)> {
    let of_suite = || side.reports.iter().zip(&side.files).filter(|(report, _)| report.header.plan.name == suite);
    let (report, file) =
        of_suite().find(|(report, _)| report.header.server.asked == server).or_else(|| of_suite().next())?;
    let folder = file.parent().filter(|_| file.ends_with(report::FILE_NAME));
    let folder = folder.filter(|folder| history::file(folder).is_some());
    let history = folder.and_then(|folder| match history::read(folder) {
        Ok(history) => Some(history),
        Err(why) => {
            screen::say(&format!("{}: drawn without the history: {why}", folder.display()));
            None
        }
    });
    Some((report, history.unwrap_or_else(|| report::html::without_operations(report))))
}

fn write_page(file: &Path, page: &str) -> Result<(), Trouble> {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
    let Some(name) = name.filter(|_| !file.is_dir()) else {
        return Err(Trouble::usage(format!("cannot write \"{}\": give `--html` a file", file.display())));
    };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    reports::write_page(folder, &name, page)
        .map(|_| ())
        .map_err(|error| Trouble::unavailable(format!("cannot write {error}")))
}

fn exit(comparison: &report::Comparison, fail_on: FailOn) -> Exit {
    let failed = match fail_on {
        FailOn::Regression => comparison.regressed(),
        FailOn::AnyChange => comparison.changed(),
        FailOn::Never => false,
    };
    match failed {
        true => Exit::Failed,
        // The runs are too few to tell whether it got worse.
        false if comparison.undecided() && fail_on != FailOn::Never => Exit::Inconclusive,
        false => Exit::Pass,
    }
}

/// The names of the sides: their backends if these differ.
fn names<'a>(base: &'a [Report], new: &'a [Report]) -> [&'a str; 2] {
    let backend = |reports: &'a [Report]| {
        let backends: BTreeSet<&str> = reports.iter().map(|report| report.header.host.backend.word()).collect();
        backends.first().copied().filter(|_| backends.len() == 1)
    };
    match (backend(base), backend(new)) {
        (Some(base), Some(new)) if base != new => [base, new],
        _ => ["base", "new"],
    }
}

fn is_single(path: &Path) -> bool {
    path.is_file() || path.join("report.json").exists()
}

/// Keeps only the reports with which a single report can be compared.
fn keep_suites_of(asked: &[Report], all: &mut Vec<Report>) {
    let key = |report: &Report| (report.header.plan.name.clone(), report.header.server.asked.clone());
    let keys: BTreeSet<_> = asked.iter().map(key).collect();
    let suites: BTreeSet<_> = keys.iter().map(|(suite, _)| suite).collect();
    let same_server = all.iter().any(|report| keys.contains(&key(report)));
    all.retain(|report| {
        let key = key(report);
        if same_server { keys.contains(&key) } else { suites.contains(&key.0) }
    });
}

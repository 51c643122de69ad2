//! How many bytes a stored operation takes, and how long a million of them take to write and to read, in either format. The
//! floor is to decompress the same file by zstd alone, frame by frame into the same buffer, without understanding it. Reading
//! uses up to three threads, zstd alone uses one, so the processor time of reading is measured, too.
//!
//! Arguments narrow it: `cargo bench -p slotquake-judge --bench store -- regular`.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Instant;

use slotquake_judge::history::{
    self, BLOCK_OPS, Blocks, Explanation, FILE_NAME, History, LINES_FILE_NAME, Op, OpParts, Outcome,
};
use slotquake_judge::suite::OpKind;
use zstd::zstd_safe;

const ROUNDS: usize = 15;

/// The operations of each history.
const OPERATIONS: usize = 1_000_000;

/// The bytes of a frame of lines, as earlier versions wrote it at most.
const LINES_BYTES: usize = 256 * 1024;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|each| each != "--bench").collect();
    println!(
        "{OPERATIONS} operations, medians of {ROUNDS} rounds in ns an operation\n{:<42} {:>8} {:>7} {:>7} {:>7} {:>7} {:>7}",
        "", "bytes/op", "write", "zstd", "read", "x zstd", "cpu"
    );
    let of_runs = of_real_runs();
    for (name, history) in [
        ("of real runs", &of_runs),
        ("regular, none fails", &regular(&of_runs, |_| false)),
        ("regular, 40 % fail", &regular(&of_runs, |number| number % 5 < 2)),
    ] {
        if !arguments.is_empty() && !arguments.iter().any(|argument| name.contains(argument.as_str())) {
            continue;
        }
        for each in [BLOCK_OPS, 1000, 100] {
            measure(&format!("{name}, blocks of {each}"), FILE_NAME, history, |file| write_blocks(history, each, file));
        }
        measure(&format!("{name}, lines"), LINES_FILE_NAME, history, |file| write_as_lines(history, file));
    }
}

fn measure(name: &str, file: &str, history: &History, write: impl Fn(&mut File)) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(file);
    let written = median(|| write(&mut File::create(&path).expect("a file")));
    let bytes = fs::metadata(&path).expect("it is written").len();
    let floor = median(|| decompress(&path));
    let before = processor_seconds();
    let read = median(|| history::read(folder.path()).expect("it reads"));
    let processor = (processor_seconds() - before) / ROUNDS as f64;
    assert_eq!(history::read(folder.path()).expect("it reads").ops, history.ops);
    let each_ns = |seconds: f64| seconds * 1e9 / history.ops.len() as f64;
    println!(
        "{name:<42} {:>8.2} {:>7.1} {:>7.1} {:>7.1} {:>7.2} {:>7.0}",
        bytes as f64 / history.ops.len() as f64,
        each_ns(written),
        each_ns(floor),
        each_ns(read),
        read / floor,
        each_ns(processor)
    );
}

/// The processor time of all threads so far, in seconds; 0 where the system does not tell. It is counted in hundredths.
fn processor_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

/// Decompresses a file, frame by frame, and keeps nothing.
fn decompress(path: &Path) {
    let mut bytes = Vec::new();
    File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).expect("it reads");
    let mut decompressor = zstd::bulk::Decompressor::new().expect("memory");
    let mut content: Vec<u8> = Vec::new();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let length = zstd_safe::find_frame_compressed_size(rest).expect("a frame");
        let (frame, others) = rest.split_at(length);
        rest = others;
        let size = zstd_safe::get_frame_content_size(frame).expect("a frame").expect("it has its size");
        content.clear();
        content.reserve(size as usize);
        decompressor.decompress_to_buffer(frame, &mut content).expect("it decompresses");
        black_box(&content);
    }
}

/// The operations of the stored runs, one run after the other, again and again.
fn of_real_runs() -> History {
    let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stored");
    let mut folders: Vec<_> =
        fs::read_dir(stored).expect("stored runs").map(|entry| entry.expect("a folder").path()).collect();
    folders.sort();
    let runs: Vec<History> = folders.iter().map(|folder| history::read(folder).expect("it is stored")).collect();
    let mut all = History::new(runs[0].header.clone());
    let mut interned = history::Interned::default();
    let mut began_ns = 0;
    for run in runs.iter().cycle() {
        for op in &run.ops {
            let parts = op.parts();
            let outcome = match run.explanation(parts.outcome) {
                None => parts.outcome,
                Some(why) => {
                    moved(parts.outcome, history::intern(&mut interned, &mut all.reasons, why.reason, &why.text))
                }
            };
            all.ops.push(after(began_ns, OpParts { outcome, ..parts }));
            if all.ops.len() == OPERATIONS {
                return all;
            }
        }
        began_ns = all.ops.last().map_or(0, Op::complete_ns);
    }
    unreachable!("there are stored runs")
}

/// The same outcome with another position of its reason.
fn moved(outcome: Outcome, position: u16) -> Outcome {
    match outcome {
        Outcome::Ok => Outcome::Ok,
        Outcome::Fail(_) => Outcome::Fail(position),
        Outcome::Info(_) => Outcome::Info(position),
        Outcome::Unsent(_) => Outcome::Unsent(position),
    }
}

fn after(began_ns: u64, parts: OpParts) -> Op {
    let OpParts { due_ns, invoke_ns, complete_ns, .. } = parts;
    let (due_ns, invoke_ns, complete_ns) = (began_ns + due_ns, began_ns + invoke_ns, began_ns + complete_ns);
    Op::try_from(OpParts { due_ns, invoke_ns, complete_ns, ..parts }).expect("it fits")
}

/// Operations that hardly differ.
fn regular(like: &History, fails: fn(u32) -> bool) -> History {
    let mut history = History::new(like.header.clone());
    history.reasons = vec![Explanation::of_text("connection refused by 127.1.0.1:6379")];
    let op = |number: u32| {
        let at_ns = 1000 + u64::from(number) * 100_000;
        Op::try_from(OpParts {
            due_ns: at_ns,
            invoke_ns: at_ns + 10_000,
            complete_ns: at_ns + 150_000 + u64::from(number % 97) * 1_000,
            key: number / 2 % 600,
            value: number / 2 / 600 + 1,
            client: (number % 4) as u16,
            node: (number % 3 + 1) as u16,
            kind: if number.is_multiple_of(2) { OpKind::Writes } else { OpKind::Reads },
            redirects: 0,
            outcome: if fails(number) { Outcome::Fail(0) } else { Outcome::Ok },
        })
    };
    history.ops = (0..OPERATIONS as u32).map(|number| op(number).expect("it fits")).collect();
    history
}

fn write_blocks(history: &History, each: usize, file: &mut File) {
    let mut blocks = Blocks::default();
    let mut text = Vec::new();
    history.reasons.iter().for_each(|reason| history::write_reason(&mut text, reason));
    let mut put = |bytes: std::io::Result<Vec<u8>>| file.write_all(&bytes.expect("memory")).expect("written");
    put(blocks.begin(&history.header));
    put(blocks.block(&text, &[]));
    history.ops.chunks(each).for_each(|ops| put(blocks.block(&[], ops)));
    put(Ok(blocks.seal()));
}

/// As earlier versions wrote it.
fn write_as_lines(history: &History, file: &mut File) {
    let mut compressor = zstd::bulk::Compressor::new(1).expect("memory");
    compressor.include_checksum(true).expect("a checksum");
    let mut lines = Vec::new();
    history::write_line(&mut lines, &history.header);
    for op in &history.ops {
        history::write_op(&mut lines, op, history);
        if lines.len() >= LINES_BYTES {
            file.write_all(&compressor.compress(&lines).expect("memory")).expect("written");
            lines.clear();
        }
    }
    file.write_all(&compressor.compress(&lines).expect("memory")).expect("written");
}

/// How long some work takes, in seconds, without dropping what it makes.
fn median<T>(mut work: impl FnMut() -> T) -> f64 {
    let time = |_| {
        let began = Instant::now();
        let made = work();
        let seconds = began.elapsed().as_secs_f64();
        drop(black_box(made));
        seconds
    };
    let mut seconds: Vec<f64> = (0..ROUNDS).map(time).collect();
    seconds.sort_by(f64::total_cmp);
    seconds[ROUNDS / 2]
}

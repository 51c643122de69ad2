//! Disks that a file makes faulty, in a program in C.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use slotquake::fault::{DiskCall, DiskChange, DiskEffect, DiskError, DiskFiles};
use slotquake::speed::clock::preload;
use slotquake::speed::disk::HostDisk;
use slotquake::speed::under;

use super::compiled;

/// A directory that is a disk, and the program beside it.
struct Place {
    _folder: tempfile::TempDir,
    program: PathBuf,
    dir: PathBuf,
    disk: HostDisk,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let program = compiled("files.c", folder.path());
        let dir = folder.path().join("node-1");
        fs::create_dir(&dir).expect("a directory");
        let disk = HostDisk::create(&dir.join("disk")).expect("a file");
        Self { _folder: folder, program, dir, disk }
    }

    fn set(&mut self, effect: DiskEffect, files: DiskFiles) {
        self.disk.set(Some(DiskChange { effect, files })).expect("it can be written");
    }

    /// Starts the program in the directory; with `speed`, in dilated time.
    fn begin(&self, calls: &[[&str; 3]], speed: Option<&str>) -> Child {
        let mut command = Command::new(&self.program);
        let library = match speed {
            None => preload().inspect(|library| library.load_into(&mut command)),
            Some(speed) => under(&mut command, speed.parse().expect("a speed")),
        };
        let _kept = library.expect("a library");
        self.disk.give(&mut command);
        command.args(calls.iter().flatten()).current_dir(&self.dir).stdout(Stdio::piped()).spawn().expect("it runs")
    }

    /// What the program prints.
    fn run(&self, calls: &[[&str; 3]]) -> Vec<String> {
        end(self.begin(calls, None))
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.dir.join(path)).unwrap_or_else(|error| error.to_string())
    }

    /// The calls so far: what, which files, how many, and how many of them were hit.
    fn counts(&self) -> Vec<String> {
        let rows = self.disk.counts().expect("it can be read").rows();
        rows.iter().map(|row| format!("{} {} {} {}", row.call, row.files, row.calls, row.hits)).collect()
    }

    /// How many calls were hit.
    fn hits(&self) -> u64 {
        self.disk.counts().expect("it can be read").hits()
    }
}

fn end(program: Child) -> Vec<String> {
    let ran = program.wait_with_output().expect("its output");
    assert!(ran.status.success(), "{:?}", ran.status);
    String::from_utf8(ran.stdout).expect("text").lines().map(str::to_owned).collect()
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "never {what}");
        sleep(Duration::from_millis(5));
    }
}

const FULL: DiskEffect = DiskEffect::Full;

#[test]
fn files_count_as_what_their_names_say() {
    for (path, kind) in [
        ("appendonly.aof", "aof"),
        ("temp-rewriteaof-bg-123.aof", "aof"),
        ("appendonlydir/appendonly.aof.1.incr.aof", "aof"),
        ("appendonlydir/appendonly.aof.1.base.rdb", "aof"),
        ("appendonlydir/temp-appendonly.aof.manifest", "aof"),
        ("dump.rdb", "rdb"),
        ("temp-123.45.rdb", "rdb"),
        ("nodes.conf", "nodes.conf"),
        ("nodes.conf.tmp-123-456", "nodes.conf"),
        ("./nodes.conf", "nodes.conf"),
        ("server.log", "other"),
        ("my-nodes.conf", "other"),
    ] {
        let place = Place::new();
        fs::create_dir(place.dir.join("appendonlydir")).expect("a directory");
        let absolute = fs::canonicalize(&place.dir).expect("it exists").join(path);
        let absolute = absolute.to_str().expect("a plain path");
        place.run(&[["append", path, "text"], ["append", absolute, "text"], ["stream", path, "text"]]);
        assert_eq!(place.counts(), ["write", "fsync", "open"].map(|call| format!("{call} {kind} 3 0")), "{path}");
        assert_eq!(place.text(path), "text", "{path}");
    }
}

#[test]
fn what_is_elsewhere_is_left_alone() {
    let mut place = Place::new();
    place.set(FULL, DiskFiles::All);
    let lines = place.run(&[
        ["append", "../appendonly.aof", "text"],
        ["append", "/dev/null", "text"],
        ["reuse", "appendonly.aof", "text"],
    ]);
    let expected =
        ["write ../appendonly.aof 4", "fsync ../appendonly.aof 0", "write /dev/null 4", "fsync /dev/null -1 EINVAL"];
    assert_eq!(lines[..4], expected);
    assert_eq!(lines[4..], ["pipe appendonly.aof 4"]);
}

#[test]
fn without_a_rule_every_call_passes() {
    let place = Place::new();
    let lines = place.run(&[
        ["write-each-way", "dump.rdb", "text"],
        ["seek", "seek.rdb", "begin"],
        ["append", "temp-1.rdb", "text"],
        ["rename", "temp-1.rdb", "other.rdb"],
        ["unlink", "other.rdb", ""],
        ["unlink", "missing.rdb", ""],
        ["sync-directory", ".", ""],
    ]);
    let expected = [
        "write dump.rdb 4",
        "pwrite dump.rdb 4",
        "writev dump.rdb 4",
        "sync_file_range dump.rdb 0",
        "ftruncate dump.rdb 0",
        "truncate dump.rdb 0",
        "seek seek.rdb 9 3 egi begi!-end+",
        "fopen missing/file.rdb -1 ENOENT",
        "write temp-1.rdb 4",
        "fsync temp-1.rdb 0",
        "rename temp-1.rdb 0",
        "unlink other.rdb 0",
        "unlink missing.rdb -1 ENOENT",
        "fsync . 0",
    ];
    assert_eq!(lines, expected);
    assert_eq!(place.hits(), 0);
    let counts = place.counts();
    for row in ["fsync directory 1 0", "truncate rdb 2 0", "unlink rdb 2 0"] {
        assert!(counts.contains(&row.to_owned()), "{row}: {counts:?}");
    }
}

#[test]
fn a_full_disk_takes_nothing() {
    let mut place = Place::new();
    place.set(FULL, DiskFiles::All);
    let lines = place.run(&[
        ["write-each-way", "nodes.conf", "text"],
        ["stream", "dump.rdb", "text"],
        ["fork", "appendonly.aof", "text"],
    ]);
    let expected = [
        "write nodes.conf -1 ENOSPC",
        "pwrite nodes.conf -1 ENOSPC",
        "writev nodes.conf -1 ENOSPC",
        "sync_file_range nodes.conf 0",
        "ftruncate nodes.conf 0",
        "truncate nodes.conf 0",
        "fwrite dump.rdb 0",
        "fflush dump.rdb -1 ENOSPC",
        "fsync dump.rdb 0",
        // As with /dev/full and libc's own stream: what could not be written is dropped.
        "fclose dump.rdb 0",
        "write appendonly.aof -1 ENOSPC",
        "fsync appendonly.aof 0",
    ];
    assert_eq!(lines, expected);
    assert_eq!(place.text("dump.rdb") + &place.text("appendonly.aof"), "");
    // Made whole, it takes everything, and nothing more is hit.
    let hits = place.hits();
    place.disk.set(None).expect("it can be written");
    assert_eq!(
        place.run(&[["append", "appendonly.aof", "text"]]),
        ["write appendonly.aof 4", "fsync appendonly.aof 0"]
    );
    assert_eq!((hits, place.hits()), (5, 5));
}

/// A rule for one kind of file leaves the others alone, and so does one for one call.
#[test]
fn only_what_a_rule_names_is_hit() {
    const ALL: [[&str; 3]; 6] = [
        ["append", "appendonly.aof", "text"],
        ["append", "dump.rdb", "text"],
        ["append", "nodes.conf", "text"],
        ["rename", "appendonly.aof", "new.aof"],
        ["rename", "dump.rdb", "new.rdb"],
        ["rename", "nodes.conf", "nodes.conf.new"],
    ];
    for (files, hit) in
        [(DiskFiles::Aof, &["aof"][..]), (DiskFiles::Rdb, &["rdb"]), (DiskFiles::NodesConf, &["nodes.conf"])]
    {
        for (on, call) in [
            (DiskCall::Write, "write"),
            (DiskCall::Fsync, "fsync"),
            (DiskCall::Open, "open"),
            (DiskCall::Rename, "rename"),
        ] {
            for (error, name) in [
                (DiskError::Eio, "EIO"),
                (DiskError::Enospc, "ENOSPC"),
                (DiskError::Edquot, "EDQUOT"),
                (DiskError::Erofs, "EROFS"),
            ] {
                let mut place = Place::new();
                place.set(DiskEffect::Fail { error, on }, files);
                let failed: Vec<String> = place.run(&ALL).into_iter().filter(|line| line.contains(name)).collect();
                let [line] = failed.as_slice() else { panic!("{call} {hit:?} {name}: {failed:?}") };
                assert!(line.starts_with(&format!("{call} ")) && line.contains(&hit[0][..3]), "{line}");
                let hits: Vec<_> = place.counts().into_iter().filter(|row| !row.ends_with(" 0")).collect();
                assert_eq!(hits, [format!("{call} {} 1 1", hit[0])]);
            }
        }
    }
}

#[test]
fn a_call_that_is_held_goes_on_when_the_disk_does() {
    for on in [None, Some(DiskCall::Fsync)] {
        let mut place = Place::new();
        place.set(DiskEffect::Stall { on }, DiskFiles::Aof);
        let mut program = place.begin(&[["append", "appendonly.aof", "text"], ["append", "dump.rdb", "text"]], None);
        wait_until("held", || place.hits() == 1);
        sleep(Duration::from_millis(100));
        assert!(program.try_wait().expect("its state").is_none());
        let counts = place.counts();
        let (call, before) =
            if on.is_some() { ("fsync", "text") } else { ("open", "No such file or directory (os error 2)") };
        assert!(counts.contains(&format!("{call} aof 1 1")) && place.hits() == 1, "{counts:?}");
        assert_eq!(place.text("appendonly.aof"), before);
        place.disk.set(None).expect("it can be written");
        assert_eq!(
            end(program),
            ["write appendonly.aof 4", "fsync appendonly.aof 0", "write dump.rdb 4", "fsync dump.rdb 0"]
        );
        assert_eq!(place.text("appendonly.aof"), "text");
    }
}

/// A call that is held meets the next rule, as if it had come then.
#[test]
fn a_held_call_fails_when_the_disk_does() {
    let mut place = Place::new();
    place.set(DiskEffect::Stall { on: Some(DiskCall::Write) }, DiskFiles::Aof);
    let program = place.begin(&[["append", "appendonly.aof", "text"]], None);
    wait_until("held", || place.hits() == 1);
    place.set(DiskEffect::Fail { error: DiskError::Eio, on: DiskCall::Write }, DiskFiles::Aof);
    assert_eq!(end(program), ["write appendonly.aof -1 EIO", "fsync appendonly.aof 0"]);
}

#[test]
fn a_slow_call_takes_longer_in_the_time_of_the_program() {
    const BY: Duration = Duration::from_secs(4);
    for (speed, factor) in [(None, 1), (Some("20"), 20)] {
        let mut place = Place::new();
        let by = if speed.is_some() { BY * 5 } else { BY / 4 };
        place.set(DiskEffect::Slow { by: by.into(), on: DiskCall::Fsync }, DiskFiles::All);
        let began = Instant::now();
        let lines = end(place.begin(&[["append", "appendonly.aof", "text"]], speed));
        let took = began.elapsed();
        assert_eq!(lines, ["write appendonly.aof 4", "fsync appendonly.aof 0"]);
        // In real time, never too short. Undivided it would be 20 s.
        assert!(took >= by / factor && took < Duration::from_secs(19), "{took:?} at {speed:?}");
    }
}

#[test]
fn short_writes_lose_nothing_of_a_program_that_goes_on() {
    let text = "0123456789";
    for (percent, least, most) in [("30%", 300, 900), ("100%", 1000, 9000), ("0.01%", 0, 30)] {
        let mut place = Place::new();
        let share = percent.parse().expect("a share");
        place.set(DiskEffect::ShortWrites { share }, DiskFiles::Aof);
        let lines = place.run(&[
            ["append-all", "appendonly.aof", text],
            ["append", "dump.rdb", text],
            ["stream", "a.aof", text],
        ]);
        let shorts: u64 = lines[0].rsplit(' ').next().expect("a number").parse().expect("a number");
        assert!((least..=most).contains(&shorts), "{percent}: {shorts}");
        let hits = place.hits();
        assert!(hits >= shorts && hits <= shorts + 9, "{hits} hits, {shorts} short writes");
        assert_eq!(place.text("appendonly.aof"), text.repeat(1000));
        // Streams go on by themselves, as libc's do.
        assert_eq!(place.text("a.aof"), text);
        assert_eq!(lines[1], "write dump.rdb 10");
    }
}

/// Two changes later, a program in a loop has certainly seen the second.
#[test]
fn the_library_tells_what_it_has_seen() {
    let mut place = Place::new();
    place.set(DiskEffect::Stall { on: None }, DiskFiles::All);
    let mut program = place.begin(&[["append", "a.aof", "text"], ["append", "a.aof", "text"]], None);
    let taken = |place: &Place, pid| place.disk.is_taken_by(pid).expect("it can be read");
    wait_until("taken", || taken(&place, program.id()));
    assert_eq!(place.disk.is_read_by(program.id()), Ok(()));
    assert!(place.disk.stands().expect("it can be read"));
    // Not by another process.
    assert!(!taken(&place, std::process::id()));
    assert!(place.disk.is_read_by(std::process::id()).unwrap_err().contains("is not loaded into it (hint: "));
    assert!(program.try_wait().expect("its state").is_none());
    place.disk.set(None).expect("it can be written");
    end(program);
    // Somebody else changes the file.
    let bytes = fs::read(place.dir.join("disk")).expect("it is ours");
    let mut other = bytes.clone();
    other[8] += 1;
    fs::write(place.dir.join("disk"), &other).expect("it is ours");
    assert!(!place.disk.stands().expect("it can be read"));
    assert!(HostDisk::create(Path::new(&place.dir.join("disk"))).is_err(), "it is another disk's");
}

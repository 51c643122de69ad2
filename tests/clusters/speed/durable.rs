//! What a loss of power leaves of the files of a program in C.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use slotquake::speed::clock::preload;
use slotquake::speed::disk::HostDisk;
use slotquake::speed::durable::HostLog;

use super::compiled;

/// A directory that is a disk, its log, and the program beside them.
struct Place {
    _folder: tempfile::TempDir,
    program: PathBuf,
    dir: PathBuf,
    disk: HostDisk,
    log: HostLog,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let program = compiled("durable.c", folder.path());
        let dir = folder.path().join("node-1");
        fs::create_dir_all(dir.join("sub")).expect("a directory");
        // These are there before.
        fs::write(dir.join("old"), "old").expect("it is ours");
        fs::write(dir.join("other"), "other").expect("it is ours");
        let disk = HostDisk::create(&dir.join("disk")).expect("a file");
        let log = HostLog::create(&folder.path().join("node-1.durable"), &dir).expect("a file");
        Self { _folder: folder, program, dir, disk, log }
    }

    fn begin(&self, acts: &[&str]) -> Child {
        let mut command = Command::new(&self.program);
        let _kept = preload().inspect(|library| library.load_into(&mut command)).expect("a library");
        self.disk.give(&mut command);
        self.log.give(&mut command);
        command.args(acts).current_dir(&self.dir).stdin(Stdio::piped()).spawn().expect("it runs")
    }

    fn run(&self, acts: &[&str]) {
        assert!(self.begin(acts).wait().expect("its end").success(), "{acts:?}");
    }

    /// Every file but that of the disk, with its content.
    fn files(&self) -> Vec<(String, String)> {
        fn add(files: &mut Vec<(String, String)>, root: &Path, folder: &Path) {
            for entry in fs::read_dir(folder).expect("it exists") {
                let path = entry.expect("an entry").path();
                let name = path.strip_prefix(root).expect("it is below").display().to_string();
                match path.is_dir() {
                    true => add(files, root, &path),
                    false if name == "disk" => {}
                    false => files.push((name, fs::read_to_string(&path).expect("text"))),
                }
            }
        }
        let mut files = Vec::new();
        add(&mut files, &self.dir, &self.dir);
        files.sort();
        files
    }
}

/// What is done, what is left of it, and what is said of it.
type Row<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str);

#[test]
fn only_what_is_durable_survives_a_loss_of_power() {
    const OLD: (&str, &str) = ("old", "old");
    const OTHER: (&str, &str) = ("other", "other");
    let rows: &[Row<'_>] = &[
        (&[], &[OLD, OTHER], "nothing was lost: all was synchronised to disk"),
        // Bytes.
        (&["append-sync a one", "append a two"], &[("a", "one"), OLD, OTHER], "a lost 3 bytes of 6"),
        (&["append a one"], &[OLD, OTHER], "the new file a is gone"),
        (&["append old er"], &[OLD, OTHER], "old lost 2 bytes of 5"),
        (&["append-sync old er"], &[("old", "older"), OTHER], "nothing was lost"),
        (&["append old er", "sync old"], &[("old", "older"), OTHER], "nothing was lost"),
        (&["append a 1", "+append a 2", "+sync a", "append a 3"], &[("a", "12"), OLD, OTHER], "a lost 1 byte of 3"),
        // What is overwritten.
        (&["overwrite old new"], &[OLD, OTHER], "old has 3 bytes of before it was overwritten"),
        (&["overwrite-sync old newer", "overwrite old n"], &[("old", "newer"), OTHER], "old has 5 bytes of before"),
        (&["overwrite-sync old n", "overwrite old newest"], &[("old", "n"), OTHER], "old has 1 byte of before"),
        (&["overwrite old 1", "overwrite old 22", "overwrite old 333"], &[OLD, OTHER], "old has 3 bytes of before"),
        (&["replace old 1", "replace old 2"], &[OLD, OTHER], "old has 3 bytes of before it was overwritten"),
        (&["replace old 1", "sync old"], &[("old", "1"), OTHER], "nothing was lost"),
        // Names.
        (&["stream a new", "rename a old"], &[("a", "new"), OLD, OTHER], "old is a again, and the old old is back"),
        (&["stream a new", "rename a old", "sync old"], &[("old", "new"), OTHER], "nothing was lost"),
        (&["stream a new", "rename a old", "sync ."], &[("old", "new"), OTHER], "nothing was lost"),
        // What a file holds that takes the name of another one, and of one that does not.
        (&["append a new", "rename a old", "sync ."], &[("old", "new"), OTHER], "nothing was lost"),
        (
            &["append a new", "rename a old"],
            &[OLD, OTHER],
            "old is a again, and the old old is back; the new file a is gone",
        ),
        (&["append a new", "rename a b", "sync ."], &[("b", ""), OLD, OTHER], "b lost 3 bytes of 3"),
        (&["rename old older"], &[OLD, OTHER], "older is old again"),
        (&["unlink old"], &[OLD, OTHER], "old is back, which had been removed"),
        (&["unlink old", "sync ."], &[OTHER], "nothing was lost"),
        (&["unlink old", "append old new"], &[OLD, OTHER], "the new file old is gone; old is back"),
        // Of one folder, not of another.
        (&["append sub/a 1", "sync ."], &[OLD, OTHER], "the new file sub/a is gone"),
        (&["append sub/a 1", "sync sub"], &[OLD, OTHER, ("sub/a", "")], "sub/a lost 1 byte of 1"),
        // In their order: a later name that is durable makes the earlier ones so.
        (&["rename old older", "append-sync a 1"], &[("a", "1"), ("older", "old"), OTHER], "nothing was lost"),
        (&["append-sync a 1", "rename old older"], &[("a", "1"), OLD, OTHER], "older is old again"),
        // Renamed twice, and over each other.
        (&["rename old b", "rename b c"], &[OLD, OTHER], "c is b again; b is old again"),
        (
            &["stream a 1", "rename a old", "stream a 2", "rename a old"],
            &[("a", "2"), ("old", "1"), OTHER],
            "old is a again",
        ),
    ];
    for (acts, expected, said) in rows {
        let place = Place::new();
        place.run(acts);
        let lost = place.log.lose().unwrap_or_else(|error| panic!("{acts:?}: {error}"));
        let expected: Vec<(String, String)> =
            expected.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        assert_eq!(place.files(), expected, "{acts:?}: {}", lost.words());
        assert!(lost.words().contains(said), "{acts:?}: {}", lost.words());
        // What is left is durable.
        assert!(place.log.lose().expect("an empty log").is_nothing(), "{acts:?}");
        assert_eq!(place.files(), expected, "{acts:?}");
    }
}

#[test]
fn a_program_that_ends_otherwise_loses_nothing_until_the_power_goes() {
    let place = Place::new();
    place.run(&["append-sync a one"]);
    place.run(&["append a two"]);
    // What was not durable at the end of one process is not so in the next.
    place.run(&["append a three"]);
    assert_eq!(place.files()[0], ("a".to_owned(), "onetwothree".to_owned()));
    place.log.lose().expect("it can be undone");
    assert_eq!(place.files()[0], ("a".to_owned(), "one".to_owned()));
    // What slotquake itself has done is durable.
    place.run(&["append a two"]);
    place.log.settle().expect("it can be written");
    assert!(place.log.lose().expect("an empty log").is_nothing());
    assert_eq!(place.files()[0], ("a".to_owned(), "onetwo".to_owned()));
}

/// What is written to a file that was open then is durable only when it is synchronised.
#[test]
fn what_is_taken_for_durable_may_grow() {
    let place = Place::new();
    place.run(&["append a one", "append b one", "overwrite old new"]);
    place.log.settle().expect("it can be written");
    place.run(&["append a two", "unlink b"]);
    let lost = place.log.lose().expect("it can be undone");
    assert_eq!(lost.words(), "a lost 3 bytes of 6; b is back, which had been removed");
    let expected = [("a", "one"), ("b", "one"), ("old", "new"), ("other", "other")];
    assert_eq!(place.files(), expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
}

#[test]
fn a_process_without_the_library_is_told_apart() {
    let place = Place::new();
    let mut with = place.begin(&["append a one", "wait"]);
    // Its file shows that it has begun.
    while !place.dir.join("a").exists() {
        assert_eq!(with.try_wait().expect("its state"), None);
    }
    assert_eq!(place.log.is_written_by(with.id()), Ok(()));
    assert!(with.wait().expect("its end").success());
    let without = place.log.is_written_by(std::process::id());
    assert!(without.is_err_and(|why| why.contains("is not loaded into it (hint: ")));
}

#[test]
fn a_log_that_is_not_one_is_an_error() {
    let place = Place::new();
    let log = place.dir.with_extension("durable");
    fs::write(&log, "sync\t1\t2\t3\nsink\t1\n").expect("it is ours");
    let error = place.log.lose().expect_err("no such record").to_string();
    assert!(error.contains("is no record"), "{error}");
}

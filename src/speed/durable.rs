//! What a loss of power leaves of a server's files. The library in the server keeps a log of what happens to names and lengths
//! (`durable.c`), and when all its processes are gone, what was not durable is undone by it.
//!
//! The model is that of a journaling file system. A successful fsync of a file makes durable what it held when the fsync
//! began, and the name that it had. One of a folder makes the names in it durable. Names become durable in their order, and
//! with a name that a file took from another one becomes durable what the file held then. All else is gone.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::not_loaded;
use crate::fault::{LostBytes, LostName, Unsynced};

/// The variable with the path of the log (`VARIABLE_OF_LOG` of the library).
const VARIABLE: &str = "SLOTQUAKE_DURABLE";

/// The library as a message about a server without it names it.
pub const LIBRARY_OF_LOGS: &str = "the library that sees what it synchronises";

/// In the log, for a file that was not kept, because there was none.
const NOTHING: &str = "-";

/// The log of one host's disk.
#[derive(Debug)]
pub struct HostLog {
    log: PathBuf,
    kept: PathBuf,
    disk: PathBuf,
}

impl HostLog {
    /// An empty log in a new file of that path, for a disk, which is a directory of the same file system.
    pub fn create(log: &Path, disk: &Path) -> io::Result<Self> {
        File::options().write(true).create_new(true).open(log)?;
        let log = fs::canonicalize(log)?;
        let mut kept = OsString::from(&log);
        kept.push(".kept");
        let kept = PathBuf::from(kept);
        fs::create_dir(&kept)?;
        Ok(Self { log, kept, disk: fs::canonicalize(disk)? })
    }

    /// Makes a command, and what it starts, write this log, if they use libc and the library is loaded into them.
    pub fn give(&self, command: &mut Command) {
        let (name, value) = self.variable();
        command.env(name, value);
    }

    /// The variable of programs that write this log, if they use libc and the library is loaded into them.
    pub fn variable(&self) -> (&'static str, String) {
        (VARIABLE, self.log.display().to_string())
    }

    /// How long the log is. Every server adds to it when it opens its files.
    pub fn length(&self) -> io::Result<u64> {
        Ok(fs::metadata(&self.log)?.len())
    }

    /// Whether a process writes this log. The error says why not.
    pub fn is_written_by(&self, pid: u32) -> Result<(), String> {
        // What the process executed before may have written it, too, so its record does not tell.
        let files = fs::read_dir(format!("/proc/{pid}/fd")).map_err(|error| format!("its files: {error}"))?;
        if files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|path| path == self.log)) {
            return Ok(());
        }
        Err(not_loaded(LIBRARY_OF_LOGS))
    }

    /// Takes everything on the disk for durable from now on. No process uses the disk.
    pub fn forget(&self) -> io::Result<()> {
        File::options().write(true).truncate(true).open(&self.log)?;
        fs::remove_dir_all(&self.kept)?;
        fs::create_dir(&self.kept)
    }

    /// The same while processes use the disk, which have files open.
    pub fn settle(&self) -> io::Result<()> {
        let mut log = Vec::new();
        opened(&self.disk, &mut log)?;
        // What a process appends meanwhile is either before, and was durable anyhow, or after.
        let mut file = File::options().append(true).open(&self.log)?;
        file.set_len(0)?;
        file.write_all(&log)
    }

    /// Undoes what is not durable, in the order in which it happened, backwards, and returns what was undone. All processes
    /// that use the disk must be gone.
    pub fn lose(&self) -> io::Result<Unsynced> {
        let records = self.records()?;
        let mut lost = Unsynced::default();
        let durable = self.durable_names(&records)?;
        for (at, record) in records.iter().rev() {
            if durable.is_none_or(|durable| *at > durable) {
                lost.names.extend(self.undo(record)?);
            }
        }
        let mut contents = contents(&records, durable);
        self.cut(&self.disk, &mut contents, &mut lost)?;
        self.forget()?;
        lost.bytes.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(lost)
    }

    /// The records of the log, each with where it begins.
    fn records(&self) -> io::Result<Vec<(u64, Record)>> {
        let text = fs::read_to_string(&self.log)?;
        let mut at = 0;
        let mut records = Vec::new();
        for line in text.split_inclusive('\n') {
            let record = Record::parse(line.trim_end_matches('\n'))
                .ok_or_else(|| io::Error::other(format!("{}: \"{line}\" is no record", self.log.display())))?;
            records.push((at, record));
            at += line.len() as u64;
        }
        Ok(records)
    }

    /// Where the record of the last change of a name begins that is durable; None if none is.
    fn durable_names(&self, records: &[(u64, Record)]) -> io::Result<Option<u64>> {
        let mut folders: HashMap<PathBuf, u64> = HashMap::new();
        let mut changes = Vec::new();
        for (at, record) in records {
            let Some((number, path)) = record.name() else { continue };
            let folder = Path::new(path).parent().unwrap_or(&self.disk).to_owned();
            let of_folder = match folders.get(&folder) {
                Some(number) => *number,
                None => *folders.entry(folder.clone()).or_insert(number_of(&folder)?.unwrap_or_default()),
            };
            changes.push((*at, number, of_folder));
        }
        let covered = records.iter().filter_map(|(_, record)| {
            let covers = |began: u64, is_meant: &dyn Fn(u64, u64) -> bool| {
                let covered = changes.iter().filter(|(at, number, folder)| *at < began && is_meant(*number, *folder));
                covered.map(|(at, ..)| *at).max()
            };
            match *record {
                Record::Sync { number, began, .. } => covers(began, &|of, _| of == number),
                Record::SyncFolder { number, began } => covers(began, &|_, folder| folder == number),
                Record::Open { .. } | Record::Create { .. } | Record::Rename { .. } | Record::Unlink { .. } => None,
            }
        });
        Ok(covered.max())
    }

    /// Undoes a change of a name, if it happened.
    fn undo(&self, record: &Record) -> io::Result<Option<LostName>> {
        match record {
            Record::Create { number, path } if number_of(path)? == Some(*number) => {
                fs::remove_file(path)?;
                Ok(Some(LostName::Creation { path: self.shown(path) }))
            }
            Record::Rename { number, kept, from, to, .. } if number_of(to)? == Some(*number) => {
                fs::rename(to, from)?;
                let restored = self.restore(kept, to)?;
                Ok(Some(LostName::Renaming { from: self.shown(from), to: self.shown(to), restored }))
            }
            Record::Unlink { kept, path, .. } if number_of(path)?.is_none() => {
                Ok(self.restore(kept, path)?.then(|| LostName::Removal { path: self.shown(path) }))
            }
            // What was recorded did not happen, or a later change of the same name has been undone to before it.
            Record::Create { .. }
            | Record::Rename { .. }
            | Record::Unlink { .. }
            | Record::Open { .. }
            | Record::Sync { .. }
            | Record::SyncFolder { .. } => Ok(None),
        }
    }

    /// Gives a file that was kept its name again. Returns whether there was one.
    fn restore(&self, kept: &str, path: &str) -> io::Result<bool> {
        if kept == NOTHING {
            return Ok(false);
        }
        fs::rename(self.kept.join(kept), path)?;
        Ok(true)
    }

    /// Takes from every file in a folder, and those below, what is not durable of its content.
    fn cut(&self, folder: &Path, contents: &mut HashMap<u64, Content>, lost: &mut Unsynced) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let now = path.symlink_metadata()?;
            if now.is_dir() {
                self.cut(&path, contents, lost)?;
            }
            let Some(content) = contents.remove(&now.ino()).filter(|_| now.is_file()) else { continue };
            let shown = self.shown(&path);
            let bytes_before = now.len();
            match content {
                Content::Length(durable) if durable < bytes_before => {
                    let file = File::options().write(true).open(&path)?;
                    file.set_len(durable)?;
                    lost.bytes.push(LostBytes { path: shown, bytes_before, bytes_after: durable, restored: false });
                }
                Content::Length(_) => {}
                Content::Copy { copy, length } => {
                    let mut durable = fs::read(self.kept.join(copy))?;
                    durable.truncate(length as usize);
                    if fs::read(&path)? != durable {
                        fs::write(&path, &durable)?;
                        let bytes_after = durable.len() as u64;
                        lost.bytes.push(LostBytes { path: shown, bytes_before, bytes_after, restored: true });
                    }
                }
            }
        }
        Ok(())
    }

    /// A path, from the disk.
    fn shown(&self, path: impl AsRef<Path>) -> String {
        let path = path.as_ref();
        path.strip_prefix(&self.disk).unwrap_or(path).display().to_string()
    }
}

/// Adds a record of each file in a folder, and those below, that says that what it holds is durable.
fn opened(folder: &Path, log: &mut Vec<u8>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.symlink_metadata() {
            Ok(now) if now.is_dir() => opened(&path, log)?,
            Ok(now) if now.is_file() => {
                let (number, length) = (now.ino(), now.len());
                writeln!(log, "open\t{number}\t{length}\t{NOTHING}\t{}", path.display())?;
            }
            Ok(_) => {}
            // A server may remove it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What is durable of a file's content.
#[derive(Debug, PartialEq, Eq)]
enum Content {
    /// So many bytes of it.
    Length(u64),
    /// So many bytes of that copy, which was made before it was overwritten.
    Copy { copy: String, length: u64 },
}

/// What is durable of the content of each file that was opened to be written, by its number, where names are durable up to
/// that record. A file that the log does not know has not been written.
fn contents(records: &[(u64, Record)], durable_names: Option<u64>) -> HashMap<u64, Content> {
    let mut contents = HashMap::new();
    for (at, record) in records {
        match record {
            Record::Create { number, .. } => _ = contents.insert(*number, Content::Length(0)),
            // Of a file that was there before the log, all that it held is durable.
            Record::Open { number, length, copy, .. } => {
                let known = contents.entry(*number).or_insert(Content::Length(*length));
                // The first copy since the last fsync: until then, bytes were only added.
                if let Content::Length(durable) = *known
                    && copy != NOTHING
                {
                    *known = Content::Copy { copy: copy.clone(), length: durable.min(*length) };
                }
            }
            Record::Sync { number, length, .. } => _ = contents.insert(*number, Content::Length(*length)),
            // The file system writes what a file holds before the name that it takes from another one (ext4: auto_da_alloc).
            Record::Rename { number, length, kept, .. } => {
                let is_durable = durable_names.is_some_and(|durable| *at <= durable);
                if is_durable && kept != NOTHING && contents.contains_key(number) {
                    contents.insert(*number, Content::Length(*length));
                }
            }
            Record::Unlink { .. } | Record::SyncFolder { .. } => {}
        }
    }
    contents
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Record {
    /// A file of that number and length is about to be opened, and may be written. `copy` has its content if it may also be
    /// overwritten.
    Open { number: u64, length: u64, copy: String },
    /// A file was created.
    Create { number: u64, path: String },
    /// A file of that length is about to be renamed. `kept` is the one that has the new name before.
    Rename { number: u64, length: u64, kept: String, from: String, to: String },
    /// A file, which is kept, is about to lose its name.
    Unlink { kept: String, path: String },
    /// A file is durable up to that length, as are its names in the log before `began`.
    Sync { number: u64, length: u64, began: u64 },
    /// The names in a folder in the log before `began` are durable.
    SyncFolder { number: u64, began: u64 },
}

impl Record {
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split('\t').collect();
        Some(match words[..] {
            ["open", number, length, copy, _path] => {
                Self::Open { number: number.parse().ok()?, length: length.parse().ok()?, copy: copy.to_owned() }
            }
            ["create", number, path] => Self::Create { number: number.parse().ok()?, path: path.to_owned() },
            ["rename", number, length, kept, from, to] => Self::Rename {
                number: number.parse().ok()?,
                length: length.parse().ok()?,
                kept: kept.to_owned(),
                from: from.to_owned(),
                to: to.to_owned(),
            },
            ["unlink", _number, kept, path] => Self::Unlink { kept: kept.to_owned(), path: path.to_owned() },
            ["sync", number, length, began] => {
                Self::Sync { number: number.parse().ok()?, length: length.parse().ok()?, began: began.parse().ok()? }
            }
            ["sync-folder", number, _length, began] => {
                Self::SyncFolder { number: number.parse().ok()?, began: began.parse().ok()? }
            }
            _ => return None,
        })
    }

    /// The number of the file whose name it changes, and that name; None if it changes none.
    fn name(&self) -> Option<(u64, &str)> {
        match self {
            Self::Create { number, path } => Some((*number, path)),
            Self::Rename { number, to, .. } => Some((*number, to)),
            // Only its folder makes durable that a name is gone.
            Self::Unlink { path, .. } => Some((0, path)),
            Self::Open { .. } | Self::Sync { .. } | Self::SyncFolder { .. } => None,
        }
    }
}

/// The number of the file of that name; None if there is none.
fn number_of(path: impl AsRef<Path>) -> io::Result<Option<u64>> {
    match fs::symlink_metadata(path) {
        Ok(file) => Ok(Some(file.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

//! The journal of a campaign on disk: one line for each run, synchronised, so that a crash costs the runs that were under
//! way and no more.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::chaos::{Campaign, CampaignHeader, Entry};

/// The name of the journal in the folder of a campaign.
pub const JOURNAL_FILE: &str = "campaign.jsonl";

/// A journal that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file system says no.
    #[error("the campaign's journal {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: std::io::Error,
    },
    /// The file is no journal.
    #[error("{} is no journal of a campaign: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// There is a campaign already.
    #[error("{} holds a campaign (hint: `--resume` continues it, or choose another folder with `--out`)", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// It is another campaign.
    #[error("{} is another campaign: {why} (hint: the same seed, profile, servers and shard continue it)", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// What differs.
        why: String,
    },
}

/// A journal to append to.
#[derive(Debug)]
pub struct JournalFile {
    path: PathBuf,
    file: File,
}

impl JournalFile {
    /// Begins the journal of a campaign in its folder, or continues the one that is there.
    pub fn open(out: &Path, header: &CampaignHeader, resume: bool) -> Result<(Campaign, Self), JournalError> {
        let path = out.join(JOURNAL_FILE);
        let failed = |source| JournalError::File { path: path.clone(), source };
        std::fs::create_dir_all(out).map_err(failed)?;
        let mut known = Campaign::default();
        if path.exists() {
            if !resume {
                return Err(JournalError::Exists { path });
            }
            let text = std::fs::read_to_string(&path).map_err(failed)?;
            // A line that a crash cut off would spoil the next one.
            let whole = text.rfind('\n').map_or(0, |end| end + 1);
            OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(whole as u64)).map_err(failed)?;
            if whole > 0 {
                known = Campaign::read(&text[..whole])
                    .map_err(|why| JournalError::Unreadable { path: path.clone(), why })?;
                if let Some(other) = known.headers.iter().find(|other| *other != header) {
                    let why = format!("it has {other:?}");
                    return Err(JournalError::Other { path, why });
                }
            }
        }
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(failed)?;
        let mut journal = Self { path, file };
        if known.headers.is_empty() {
            journal.append(&Entry::Campaign(header.clone()))?;
            known.add(Entry::Campaign(header.clone()));
        }
        Ok((known, journal))
    }

    /// Appends a line, and has it on disk when this returns.
    pub fn append(&mut self, entry: &Entry) -> Result<(), JournalError> {
        let line = serde_json::to_string(entry).expect("an entry can be written as JSON") + "\n";
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|source| JournalError::File { path: self.path.clone(), source })
    }

    /// A second handle to the same journal.
    pub fn again(&self) -> Result<Self, JournalError> {
        let file = self.file.try_clone().map_err(|source| JournalError::File { path: self.path.clone(), source })?;
        Ok(Self { path: self.path.clone(), file })
    }
}

/// Reads the journal of a campaign, of its folder or the file itself.
pub fn read(folder: &Path) -> Result<Campaign, JournalError> {
    let path = if folder.is_dir() { folder.join(JOURNAL_FILE) } else { folder.to_owned() };
    let text = std::fs::read_to_string(&path).map_err(|source| JournalError::File { path: path.clone(), source })?;
    Campaign::read(&text).map_err(|why| JournalError::Unreadable { path, why })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(seed: u64) -> CampaignHeader {
        CampaignHeader {
            schema_version: crate::chaos::JOURNAL_VERSION,
            slotquake: "0".to_owned(),
            seed,
            profile: "rough".to_owned(),
            servers: vec!["redis:6.2".to_owned()],
            shard: (1, 1),
        }
    }

    fn run(number: u64) -> Entry {
        let text = format!(
            r#"{{"run":{{"number":{number},"server":"redis:6.2","ended":"pass","took-ms":1,"suite":"s{number}"}}}}"#
        );
        serde_json::from_str(&text).expect("an entry")
    }

    #[test]
    fn a_journal_survives_a_crash_in_the_middle_of_a_line() {
        let out = tempfile::tempdir().expect("a folder");
        let (_, mut journal) = JournalFile::open(out.path(), &header(7), false).expect("begun");
        journal.append(&run(1)).expect("written");
        journal.append(&run(2)).expect("written");
        let path = out.path().join(JOURNAL_FILE);
        let text = std::fs::read_to_string(&path).expect("read");
        std::fs::write(&path, &text[..text.len() - 9]).expect("cut off");
        assert!(matches!(JournalFile::open(out.path(), &header(7), false), Err(JournalError::Exists { .. })));
        assert!(matches!(JournalFile::open(out.path(), &header(8), true), Err(JournalError::Other { .. })));
        let (known, mut journal) = JournalFile::open(out.path(), &header(7), true).expect("continued");
        assert_eq!(known.runs.iter().map(|run| run.number).collect::<Vec<_>>(), [1]);
        journal.append(&run(2)).expect("written");
        journal.append(&run(3)).expect("written");
        let mut all = read(out.path()).expect("read");
        assert_eq!(all.runs.len(), 3);
        // The same part twice is the same campaign.
        all.merge(read(out.path()).expect("read"));
        assert_eq!((all.runs.len(), all.headers.len()), (3, 1));
    }
}

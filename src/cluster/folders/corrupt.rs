//! Damage to a file of a node that is down.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::seeded::Seeded;
use crate::suite::{Damage, Damaged, DataFile};

/// Where a server keeps its files, by its directives.
#[derive(Debug)]
pub(super) struct Places<'a> {
    /// The node's directory.
    pub dir: &'a Path,
    /// Whether its append-only files are several, with a manifest: from Redis 7.0 on, and in Valkey.
    pub has_manifest: bool,
    /// `appenddirname`.
    pub append_dir: &'a str,
    /// `appendfilename`.
    pub append_file: &'a str,
    /// `dbfilename`.
    pub dump: &'a str,
}

/// Why a file was not damaged.
#[derive(Debug)]
pub(super) enum Undamaged {
    /// There is no such file, or nothing in it to damage.
    Nothing(String),
    /// The system's error.
    Io(io::Error),
}

impl From<io::Error> for Undamaged {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Places<'_> {
    /// The path of a file, from the directory of the node.
    fn path(&self, file: DataFile) -> Result<PathBuf, Undamaged> {
        let manifest = Path::new(self.append_dir).join(format!("{}.manifest", self.append_file));
        let listed = match fs::read_to_string(self.dir.join(&manifest)) {
            Ok(text) if self.has_manifest => Some(text),
            Ok(_) => None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        let newest = |kind| listed.as_deref().and_then(|text| newest(text, kind));
        let in_append_dir = |name: &str| Path::new(self.append_dir).join(name);
        match file {
            DataFile::Aof if self.has_manifest => newest("i").map(in_append_dir).ok_or_else(|| {
                let manifest = manifest.display();
                Undamaged::Nothing(format!("{manifest} names no append-only file (hint: `appendonly yes` makes one)"))
            }),
            DataFile::Aof => Ok(self.append_file.into()),
            DataFile::Rdb => Ok(newest("b").map_or_else(|| self.dump.into(), in_append_dir)),
            DataFile::NodesConf => Ok("nodes.conf".into()),
        }
    }
}

/// The name of the newest file of a type in a manifest, whose lines are `file NAME seq NUMBER type LETTER`.
fn newest<'m>(manifest: &'m str, kind: &str) -> Option<&'m str> {
    let files = manifest.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["file", name, "seq", number, "type", letter] if letter == kind => {
                Some((number.parse::<u64>().ok()?, name))
            }
            _ => None,
        }
    });
    files.max_by_key(|(number, _)| *number).map(|(_, name)| name)
}

/// Damages a file of a node that is down, at places that the seed decides, and returns the proof.
pub(super) fn corrupt(places: &Places<'_>, file: DataFile, damage: Damage, seed: u64) -> Result<Damaged, Undamaged> {
    let relative = places.path(file)?;
    let path = places.dir.join(&relative);
    let shown = relative.display();
    let before = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let hint = match file {
                DataFile::Aof => "`appendonly yes` makes one",
                DataFile::Rdb => "a server writes it when it saves or sends a snapshot",
                DataFile::NodesConf => "`data: lost` keeps it",
            };
            return Err(Undamaged::Nothing(format!("there is no {shown} (hint: {hint})")));
        }
        before => before?,
    };
    let length = before.len() as u64;
    let mut after = before.clone();
    let (at, count) = match damage {
        _ if length == 0 => return Err(Undamaged::Nothing(format!("{shown} is empty (hint: write more before)"))),
        Damage::Flip(bits) if u64::from(bits) > length * 8 => {
            return Err(Undamaged::Nothing(format!("{shown} has only {} bits (hint: flip fewer)", length * 8)));
        }
        Damage::Flip(bits) => (flip(&mut after, bits, seed), u64::from(bits)),
        Damage::Truncate(portion) | Damage::Zero(portion) => {
            let bytes = portion.of(length);
            if bytes > length {
                let hint = "hint: a share, such as `10%`";
                return Err(Undamaged::Nothing(format!("{shown} has only {length} bytes, not {bytes} ({hint})")));
            }
            let first = length - bytes;
            after.truncate(first as usize);
            if let Damage::Zero(_) = damage {
                after.resize(before.len(), 0);
            }
            (vec![first], bytes)
        }
    };
    // The file stays the same one, with its owner and its rights.
    let mut written = File::options().write(true).truncate(true).open(&path)?;
    written.write_all(&after)?;
    written.sync_all()?;
    let found = fs::read(&path)?;
    if found != after {
        return Err(io::Error::other(format!("{shown} does not hold what was written to it")).into());
    }
    if found == before {
        return Err(Undamaged::Nothing(format!("{shown} ends with so many zeros already (hint: more, or `flip`)")));
    }
    let sum = |bytes: &[u8]| Sha256::digest(bytes).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    Ok(Damaged {
        path: shown.to_string(),
        damage,
        at,
        count,
        bytes_before: length,
        bytes_after: found.len() as u64,
        sha256_before: sum(&before),
        sha256_after: sum(&found),
    })
}

/// Flips so many different bits. Returns the first of their bytes in order.
fn flip(bytes: &mut [u8], bits: u32, seed: u64) -> Vec<u64> {
    let mut seeded = Seeded::new(seed, "corrupt");
    let mut flipped = std::collections::BTreeSet::new();
    while flipped.len() < bits as usize {
        flipped.insert(seeded.below(bytes.len() as u64 * 8));
    }
    for bit in &flipped {
        bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
    }
    flipped.iter().map(|bit| bit / 8).take(Damaged::PLACES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(dir: &Path, has_manifest: bool) -> Places<'_> {
        Places { dir, has_manifest, append_dir: "aofs", append_file: "a.aof", dump: "dump.rdb" }
    }

    fn damaged(dir: &Path, file: DataFile, damage: Damage) -> Result<Damaged, String> {
        corrupt(&places(dir, false), file, damage, 7).map_err(|error| match error {
            Undamaged::Nothing(why) => why,
            Undamaged::Io(error) => panic!("{error}"),
        })
    }

    #[test]
    fn finds_the_files_that_the_server_uses() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = |has_manifest, file| match places(dir.path(), has_manifest).path(file) {
            Ok(path) => path.display().to_string(),
            Err(Undamaged::Nothing(why)) => why,
            Err(Undamaged::Io(error)) => panic!("{error}"),
        };
        assert_eq!(path(false, DataFile::Aof), "a.aof");
        assert!(path(true, DataFile::Aof).starts_with("aofs/a.aof.manifest names no append-only file (hint: "));
        assert_eq!(path(true, DataFile::Rdb), "dump.rdb");
        fs::create_dir(dir.path().join("aofs")).expect("it is ours");
        let manifest = "file a.aof.1.base.rdb seq 1 type b\nfile a.aof.9.incr.aof seq 9 type i\nfile a.aof.10.incr.aof seq 10 type i\n\
                        file a.aof.8.incr.aof seq 8 type h\n";
        fs::write(dir.path().join("aofs/a.aof.manifest"), manifest).expect("it is ours");
        assert_eq!(path(true, DataFile::Aof), "aofs/a.aof.10.incr.aof");
        assert_eq!(path(true, DataFile::Rdb), "aofs/a.aof.1.base.rdb");
        // A version before 7.0 does not look for what a newer one left.
        assert_eq!(path(false, DataFile::Aof), "a.aof");
        assert_eq!(path(false, DataFile::Rdb), "dump.rdb");
        assert_eq!(path(true, DataFile::NodesConf), "nodes.conf");
    }

    #[test]
    fn damage_is_exactly_what_was_asked_for() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("a.aof");
        let whole: Vec<u8> = (1..=200).collect();
        let write = |bytes: &[u8]| fs::write(&file, bytes).expect("it is ours");
        let now = || fs::read(&file).expect("it exists");
        write(&whole);
        let cut = damaged(dir.path(), DataFile::Aof, Damage::Truncate("10%".parse().unwrap())).unwrap();
        assert_eq!((now(), cut.at, cut.bytes_before, cut.bytes_after), (whole[..180].to_vec(), vec![180], 200, 180));
        write(&whole);
        let zeroed = damaged(dir.path(), DataFile::Aof, Damage::Zero("30B".parse().unwrap())).unwrap();
        assert_eq!((now(), zeroed.at), ([&whole[..170], &[0; 30]].concat(), vec![170]));
        write(&whole);
        let flipped = damaged(dir.path(), DataFile::Aof, Damage::Flip(25)).unwrap();
        let bits = |bytes: &[u8]| bytes.iter().zip(&whole).map(|(one, other)| (one ^ other).count_ones()).sum::<u32>();
        assert_eq!((bits(&now()), flipped.at.len(), flipped.count), (25, Damaged::PLACES, 25));
        let once = now();
        write(&whole);
        damaged(dir.path(), DataFile::Aof, Damage::Flip(25)).unwrap();
        assert_eq!(now(), once, "the seed decides");
        assert_ne!(flipped.sha256_before, flipped.sha256_after);
    }

    #[test]
    fn says_what_cannot_be_damaged() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let refused = |damage| damaged(dir.path(), DataFile::Aof, damage).expect_err("nothing to damage");
        let cut = |text: &str| Damage::Truncate(text.parse().unwrap());
        assert!(refused(cut("1B")).starts_with("there is no a.aof (hint: "));
        fs::write(dir.path().join("a.aof"), "").unwrap();
        assert!(refused(cut("1%")).starts_with("a.aof is empty (hint: "));
        fs::write(dir.path().join("a.aof"), [0; 9]).unwrap();
        assert!(refused(cut("10B")).starts_with("a.aof has only 9 bytes, not 10 (hint: "));
        assert!(refused(Damage::Flip(73)).starts_with("a.aof has only 72 bits (hint: "));
        assert!(refused(Damage::Zero("9B".parse().unwrap())).contains("zeros already (hint: "));
    }
}

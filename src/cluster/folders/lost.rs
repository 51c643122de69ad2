//! The files in a node's directory.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{CLOCKS, DISK};
use crate::cluster::config::NODES_CONF;
use crate::suite::Data;

/// What the harness wrote: the configuration, and the files by which the node's host has clocks and a disk.
const OURS: [&str; 3] = ["node.conf", CLOCKS, DISK];

/// Removes the append-only files and snapshots of a node that is down, and whatever else its server left. Returns what was
/// removed, in words; nothing if the data is kept. Fails unless nothing is left.
pub(super) fn lose(dir: &Path, data: Data) -> io::Result<String> {
    let is_lost = |name: &OsStr| match data {
        Data::Kept => false,
        Data::Lost => name != NODES_CONF && OURS.iter().all(|ours| name != *ours),
        Data::AllLost => OURS.iter().all(|ours| name != *ours),
    };
    if data == Data::Kept {
        return Ok(String::new());
    }
    let mut removed = Vec::new();
    for path in entries(dir, is_lost)? {
        let bytes = size(&path)?;
        if path.is_dir() {
            fs::remove_dir_all(&path)?;
        } else {
            fs::remove_file(&path)?;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        removed.push(format!("{name} ({bytes} bytes)"));
    }
    if let Some(left) = entries(dir, is_lost)?.first() {
        return Err(io::Error::other(format!("{} came back", left.display())));
    }
    removed.sort();
    Ok(if removed.is_empty() {
        "there were no data files".to_owned()
    } else {
        format!("removed {}", removed.join(", "))
    })
}

/// Everything in the directory that is lost.
fn entries(dir: &Path, is_lost: impl Fn(&OsStr) -> bool) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()?;
    Ok(entries.into_iter().filter(|entry| is_lost(&entry.file_name())).map(|entry| entry.path()).collect())
}

/// The length of a file, or of all files in a directory.
fn size(path: &Path) -> io::Result<u64> {
    if !path.is_dir() {
        return Ok(path.symlink_metadata()?.len());
    }
    fs::read_dir(path)?.map(|entry| size(&entry?.path())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_it_the_same_node_is_kept() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("appendonlydir")).expect("it is ours");
        for (name, text) in [
            ("nodes.conf", "a"),
            ("node.conf", "b"),
            ("dump.rdb", "REDIS"),
            ("appendonly.aof", "xyz"),
            ("appendonlydir/appendonly.aof.1.base.rdb", "REDIS7"),
            ("appendonlydir/appendonly.aof.manifest", "file"),
            (CLOCKS, "c"),
            (DISK, "d"),
        ] {
            fs::write(at(name), text).expect("it is ours");
        }
        let lose = |data| lose(dir.path(), data).expect("it can be removed");
        assert_eq!(lose(Data::Kept), "");
        assert_eq!(lose(Data::Lost), "removed appendonly.aof (3 bytes), appendonlydir (10 bytes), dump.rdb (5 bytes)");
        let left = || {
            let entries = fs::read_dir(dir.path()).expect("it exists");
            let mut left: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            left.sort();
            left
        };
        assert_eq!(left(), [CLOCKS, DISK, "node.conf", "nodes.conf"]);
        assert_eq!(lose(Data::Lost), "there were no data files");
        assert_eq!(lose(Data::AllLost), "removed nodes.conf (1 bytes)");
        assert_eq!(left(), [CLOCKS, DISK, "node.conf"]);
    }
}

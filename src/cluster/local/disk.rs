//! The files in a node's directory.

use std::fs;
use std::io;
use std::path::Path;

/// What is left of a node that lost its data: what makes it the same node of the cluster, and the configuration that the
/// harness wrote.
const KEPT: [&str; 2] = ["nodes.conf", "node.conf"];

/// Removes the append-only files and snapshots of a node that is down, and whatever else its server left. Returns what was
/// removed, in words. Fails unless nothing is left.
pub(super) fn lose_data(dir: &Path) -> io::Result<String> {
    let mut removed = Vec::new();
    for path in data(dir)? {
        let bytes = size(&path)?;
        if path.is_dir() {
            fs::remove_dir_all(&path)?;
        } else {
            fs::remove_file(&path)?;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        removed.push(format!("{name} ({bytes} bytes)"));
    }
    if let Some(left) = data(dir)?.first() {
        return Err(io::Error::other(format!("{} came back", left.display())));
    }
    removed.sort();
    Ok(if removed.is_empty() {
        "there were no data files".to_owned()
    } else {
        format!("removed {}", removed.join(", "))
    })
}

/// Everything in the directory that is lost with the data.
fn data(dir: &Path) -> io::Result<Vec<std::path::PathBuf>> {
    let entries = fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()?;
    let is_kept = |name: &std::ffi::OsStr| KEPT.iter().any(|kept| name == *kept);
    Ok(entries.into_iter().filter(|entry| !is_kept(&entry.file_name())).map(|entry| entry.path()).collect())
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
        ] {
            fs::write(at(name), text).expect("it is ours");
        }
        assert_eq!(
            lose_data(dir.path()).expect("it can be removed"),
            "removed appendonly.aof (3 bytes), appendonlydir (10 bytes), dump.rdb (5 bytes)"
        );
        let mut left: Vec<_> =
            fs::read_dir(dir.path()).expect("it exists").map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["node.conf", "nodes.conf"]);
        assert_eq!(lose_data(dir.path()).expect("nothing to remove"), "there were no data files");
    }
}

//! Archives of a directory, as the engine gives them (tar, POSIX 1003.1 ustar).

use std::collections::BTreeMap;

const BLOCK: usize = 512;

/// A file of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File<'a> {
    /// Its path in the archive, which begins with the name of the directory.
    pub path: &'a str,
    /// What is in it.
    pub bytes: &'a [u8],
}

/// The files of an archive. What is no file is left out, and so is what comes after something that is not understood.
pub(super) fn files(archive: &[u8]) -> Vec<File<'_>> {
    let mut files = Vec::new();
    let mut rest = archive;
    while let Some((header, after)) = rest.split_at_checked(BLOCK) {
        let Some((path, size, kind)) = read_header(header) else { break };
        let Some(bytes) = after.get(..size) else { break };
        if kind == b'0' || kind == 0 {
            files.push(File { path, bytes });
        }
        rest = after.get(size.div_ceil(BLOCK) * BLOCK..).unwrap_or_default();
    }
    files
}

/// The path, the size and the kind of what follows; None for the zeros at the end.
fn read_header(header: &[u8]) -> Option<(&str, usize, u8)> {
    let text = |from: usize, length: usize| {
        let field = &header[from..from + length];
        let end = field.iter().position(|&byte| byte == 0).unwrap_or(length);
        std::str::from_utf8(&field[..end]).ok()
    };
    let path = text(0, 100).filter(|path| !path.is_empty())?;
    let size = usize::from_str_radix(text(124, 12)?.trim(), 8).ok()?;
    Some((path, size, header[156]))
}

/// What a directory held apart from one file, if one is kept, in words: `appendonly.aof (3 bytes), appendonlydir (10 bytes)`.
pub(super) fn words_without(files: &[File<'_>], kept: Option<&str>) -> Vec<String> {
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    for file in files {
        let mut parts = file.path.trim_start_matches("./").split('/').skip(1);
        match parts.next() {
            Some(name) if !name.is_empty() && Some(name) != kept => *sizes.entry(name).or_default() += file.bytes.len(),
            _ => {}
        }
    }
    sizes.into_iter().map(|(name, size)| format!("{name} ({size} bytes)")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive as the engine makes one, by the program `tar`.
    fn archive() -> Vec<u8> {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let at = |name: &str| folder.path().join("data").join(name);
        std::fs::create_dir_all(at("appendonlydir")).expect("it is ours");
        for (name, text) in [
            ("nodes.conf", "abc myself"),
            ("dump.rdb", "REDIS"),
            ("appendonlydir/appendonly.aof.1.base.rdb", "REDIS7"),
            ("appendonlydir/appendonly.aof.manifest", "file"),
            ("empty", ""),
        ] {
            std::fs::write(at(name), text).expect("it is ours");
        }
        let mut tar = std::process::Command::new("tar");
        let made = tar.args(["--format=ustar", "-c", "-C"]).arg(folder.path()).arg("data").output().expect("tar");
        assert!(made.status.success(), "{made:?}");
        made.stdout
    }

    #[test]
    fn reads_what_tar_writes() {
        let archive = archive();
        let mut files = files(&archive);
        files.sort_by_key(|file| file.path);
        let read: Vec<_> = files.iter().map(|file| (file.path, file.bytes)).collect();
        let expected: [(&str, &[u8]); 5] = [
            ("data/appendonlydir/appendonly.aof.1.base.rdb", b"REDIS7"),
            ("data/appendonlydir/appendonly.aof.manifest", b"file"),
            ("data/dump.rdb", b"REDIS"),
            ("data/empty", b""),
            ("data/nodes.conf", b"abc myself"),
        ];
        assert_eq!(read, expected);
        assert_eq!(
            words_without(&files, Some("nodes.conf")),
            ["appendonlydir (10 bytes)", "dump.rdb (5 bytes)", "empty (0 bytes)"]
        );
    }

    #[test]
    fn a_cut_archive_ends_where_it_is_cut() {
        let archive = archive();
        for length in [0, 1, 511, 512, 700, 1300] {
            assert!(files(&archive[..length]).len() < 5, "{length}");
        }
    }
}

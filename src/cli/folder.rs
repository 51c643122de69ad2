//! The directory for reports.

use std::io::ErrorKind;
use std::path::Path;

use super::exit::Trouble;

/// Creates the directory for reports, and proves that files can be written into it, before anything runs.
pub fn make(out: &Path) -> Result<(), Trouble> {
    let shown = out.display();
    let refuse = |error: &std::io::Error, what: &str| {
        let hint = match error.kind() {
            _ if out.is_file() => "it is a file; give `--out` a directory",
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                "give `--out` a directory that you may write to"
            }
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                "the disk is full; remove old reports, or give `--out` another directory"
            }
            _ => "give `--out` another directory",
        };
        Trouble::usage(format!("cannot {what} reports directory \"{shown}\": {error} (hint: {hint})"))
    };
    std::fs::create_dir_all(out).map_err(|error| refuse(&error, "create"))?;
    let probe = out.join(format!(".slotquake-{}", std::process::id()));
    std::fs::write(&probe, b"").map_err(|error| refuse(&error, "write to"))?;
    // What is left is empty and hidden.
    let _ = std::fs::remove_file(&probe);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit::Exit;

    #[test]
    fn a_file_is_no_directory_and_says_so() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        make(&folder.path().join("deep/reports")).expect("it is created");
        let file = folder.path().join("file");
        std::fs::write(&file, "").expect("written");
        for out in [&file, &file.join("below"), Path::new("/proc/nowhere")] {
            let trouble = make(out).expect_err("refused");
            assert_eq!(trouble.exit, Exit::Usage);
            assert!(trouble.message.contains(" (hint: "), "{}", trouble.message);
        }
        assert!(make(&file).expect_err("refused").message.contains("it is a file"));
    }
}

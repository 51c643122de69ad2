//! Gets a server from Debian packages, which are downloaded and unpacked but not installed, so without root.
//! Used for the version that no wheel contains.
//!
//! Trust: `apt-get download` compares each file with the digest in the system's package index, which
//! `apt-get update` verified against the archive's signature. apt refuses a file with another digest
//! ("Hash Sum mismatch") and a package of an index without a signature ("could not be authenticated");
//! both were tested with a prepared archive. Only a source that the machine's owner marked as
//! `trusted=yes` needs no signature.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::cache::LIBRARY_FOLDER;
use super::catalogue::Entry;
use super::source::{SourceError, Unpacked};
use super::{Version, Wanted, numbers};
use crate::subprocess;

/// How long a download or a query of the index may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// The maximum number of libraries that a server may need, so that the search always ends.
const MOST_LIBRARIES: usize = 30;

/// The binary in the package that acts as a server when it is called by the server's name.
const SERVER_BINARY: &str = "redis-check-rdb";

/// Downloads the package and the libraries that this system lacks, and moves their files into a folder below
/// `scratch`.
pub(super) fn unpack(
    entry: &Entry,
    package: &str,
    wanted: Wanted,
    scratch: &Path,
    notice: &dyn Fn(&str),
) -> Result<Unpacked, SourceError> {
    let (release, version) = choose(package, wanted, &offered(package)?)?;
    let origin = format!("{} {release}", entry.package());
    notice(&format!("fetching {version} from the {origin} with apt-get download (1 to 4 MB)"));
    let tree = scratch.join("tree");
    let archive = download(&format!("{package}={release}"), scratch)?;
    extract(&archive, &tree)?;
    add_missing_libraries(&archive, &tree, scratch)?;
    let folder = scratch.join(version.folder());
    lay_out(entry, &tree, &folder)
        .map_err(|error| SourceError::failed(format!("the {origin} is not laid out as expected: {error}")))?;
    Ok(Unpacked { folder, origin })
}

/// The release that would be fetched, as text. Fetches nothing.
pub(super) fn preview(package: &str, wanted: Wanted) -> Result<String, SourceError> {
    let (release, _) = choose(package, wanted, &offered(package)?)?;
    Ok(format!("the Debian package {package} {release}, with apt-get download"))
}

/// Whether this system has the tools.
fn has_apt() -> bool {
    ["apt-get", "apt-cache", "dpkg-deb", "dpkg-query"].iter().all(|program| subprocess::locate(program).is_some())
}

/// The releases of a package in the system's index, best first.
fn offered(package: &str) -> Result<Vec<String>, SourceError> {
    if !has_apt() {
        return Err(SourceError::failed(format!(
            "the Debian package {package} contains it, but this system has no apt-get and dpkg"
        )));
    }
    let output = run(Command::new("apt-cache").args(["madison", package]))?;
    Ok(madison_releases(&String::from_utf8_lossy(&output)))
}

/// Reads `package | release | source` lines.
fn madison_releases(text: &str) -> Vec<String> {
    let mut releases: Vec<String> = Vec::new();
    for release in text.lines().filter_map(|line| line.split('|').nth(1)).map(str::trim) {
        if !releases.iter().any(|known| known == release) {
            releases.push(release.to_owned());
        }
    }
    releases
}

/// The first release of the wanted version.
fn choose(package: &str, wanted: Wanted, releases: &[String]) -> Result<(String, Version), SourceError> {
    let versioned = releases.iter().filter_map(|release| {
        let [major, minor, patch] = upstream(release)?;
        Some((release, Version { flavour: wanted.flavour, major, minor, patch }))
    });
    if let Some((release, version)) = versioned.into_iter().find(|&(_, version)| wanted.accepts(version)) {
        return Ok((release.clone(), version));
    }
    if releases.is_empty() {
        return Err(SourceError::Failed {
            reason: format!("this system's package index has no {package}"),
            hint: Some("run `apt-get update` as root first".to_owned()),
        });
    }
    Err(SourceError::failed(format!("this system's package index has only {package} {}", releases.join(", "))))
}

/// The server's own version in a Debian release such as `5:7.0.15-1~deb12u10`.
fn upstream(release: &str) -> Option<[u16; 3]> {
    let without_epoch = release.split_once(':').map_or(release, |(_, rest)| rest);
    let end = without_epoch.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(without_epoch.len());
    numbers(&without_epoch[..end])
}

/// Downloads and unpacks each library that the package needs and this system lacks, and their own
/// dependencies. Never the C library: another one does not work with the system's loader.
fn add_missing_libraries(package: &Path, tree: &Path, scratch: &Path) -> Result<(), SourceError> {
    let mut archives = vec![package.to_owned()];
    let mut seen = BTreeSet::new();
    while let Some(archive) = archives.pop() {
        let fields = run(Command::new("dpkg-deb").arg("-f").arg(&archive).args(["Pre-Depends", "Depends"]))?;
        for alternatives in dependencies(&String::from_utf8_lossy(&fields)) {
            let Some(name) = alternatives.iter().find(|name| name.starts_with("lib") && *name != "libc6") else {
                continue;
            };
            if !seen.insert(name.clone()) || alternatives.iter().any(|name| is_installed(name)) {
                continue;
            }
            if seen.len() > MOST_LIBRARIES {
                return Err(SourceError::failed(format!("it needs more than {MOST_LIBRARIES} packages")));
            }
            let library = download(name, scratch)?;
            extract(&library, tree)?;
            archives.push(library);
        }
    }
    Ok(())
}

/// Reads `Depends: a (>= 1), b | c` lines into names, one list of alternatives for each.
fn dependencies(fields: &str) -> Vec<Vec<String>> {
    let name = |dependency: &str| {
        let word = dependency.split_ascii_whitespace().next().unwrap_or_default();
        word.split(':').next().unwrap_or_default().to_owned()
    };
    fields
        .lines()
        .filter_map(|line| line.split_once(':'))
        .flat_map(|(_, list)| list.split(','))
        .map(|group| group.split('|').map(name).filter(|name| !name.is_empty()).collect::<Vec<_>>())
        .filter(|alternatives| !alternatives.is_empty())
        .collect()
}

fn is_installed(package: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["-W", "-f", "${db:Status-Status}\\n", package]);
    subprocess::output(&mut query, PATIENCE).is_ok_and(|output| {
        output.status.success() && String::from_utf8_lossy(&output.stdout).lines().any(|line| line == "installed")
    })
}

/// Downloads a package into a new directory and returns the archive.
fn download(package: &str, scratch: &Path) -> Result<PathBuf, SourceError> {
    let into = scratch.join(format!("deb-{}", package.split('=').next().unwrap_or(package)));
    fs::create_dir(&into).map_err(SourceError::cache(&into, "cannot create"))?;
    let mut apt = Command::new("apt-get");
    apt.args(["--quiet", "-o", "APT::Get::AllowUnauthenticated=false", "download", package]);
    run(apt.current_dir(&into))?;
    let files = fs::read_dir(&into).map_err(SourceError::cache(&into, "cannot read"))?;
    files
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension() == Some(OsStr::new("deb")))
        .ok_or_else(|| SourceError::failed(format!("`apt-get download {package}` produced no package")))
}

fn extract(archive: &Path, tree: &Path) -> Result<(), SourceError> {
    run(Command::new("dpkg-deb").arg("-x").arg(archive).arg(tree)).map(|_| ())
}

/// Runs a program of the package system and returns its output; the error has its last line.
fn run(command: &mut Command) -> Result<Vec<u8>, SourceError> {
    command.env("LC_ALL", "C");
    let words = || {
        let arguments = command.get_args().map(|word| word.to_string_lossy());
        let program = command.get_program().to_string_lossy();
        [program].into_iter().chain(arguments).collect::<Vec<_>>().join(" ")
    };
    let text = words();
    let output =
        subprocess::output(command, PATIENCE).map_err(|error| SourceError::failed(format!("`{text}`: {error}")))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    // The first error line says most: apt repeats the failed URL after the reason.
    let stderr = String::from_utf8_lossy(&output.stderr);
    let error = stderr.lines().find(|line| line.starts_with("E:")).map(str::to_owned);
    let reason = error.unwrap_or_else(|| subprocess::last_line(&output.stderr));
    Err(SourceError::failed(format!("`{text}` failed: {reason}")))
}

/// Moves the binaries and the libraries out of the packages' tree.
fn lay_out(entry: &Entry, tree: &Path, folder: &Path) -> io::Result<()> {
    fs::create_dir(folder)?;
    for (from, to) in [(SERVER_BINARY, entry.flavour.binary()), (entry.flavour.cli(), entry.flavour.cli())] {
        let source = tree.join("usr/bin").join(from);
        let target = folder.join(to);
        fs::rename(&source, &target)
            .map_err(|error| io::Error::new(error.kind(), format!("usr/bin/{from}: {error}")))?;
        fs::set_permissions(&target, fs::Permissions::from_mode(0o755))?;
    }
    for root in ["usr/lib", "lib"] {
        for architecture in fs::read_dir(tree.join(root)).into_iter().flatten().flatten() {
            if architecture.file_type()?.is_dir() {
                move_libraries(&architecture.path(), &folder.join(LIBRARY_FOLDER))?;
            }
        }
    }
    Ok(())
}

fn move_libraries(from: &Path, to: &Path) -> io::Result<()> {
    for file in fs::read_dir(from)? {
        let file = file?;
        let name = file.file_name();
        if !name.to_string_lossy().contains(".so") {
            continue;
        }
        fs::create_dir_all(to)?;
        if file.file_type()?.is_symlink() {
            let target = fs::read_link(file.path())?;
            // A link into another directory would break.
            if target.components().count() == 1 {
                symlink(target, to.join(name))?;
            }
        } else if file.file_type()?.is_file() {
            fs::rename(file.path(), to.join(name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::Flavour;

    #[test]
    fn reads_the_version_from_a_release() {
        for (release, expected) in [
            ("5:7.0.15-1~deb12u10", Some([7, 0, 15])),
            ("5:8.0.2-3", Some([8, 0, 2])),
            ("8.1.1+dfsg1-3", Some([8, 1, 1])),
            ("7.0.15", Some([7, 0, 15])),
            ("5:7.0-1", None),
            ("", None),
        ] {
            assert_eq!(upstream(release), expected, "{release}");
        }
    }

    #[test]
    fn chooses_the_first_release_of_the_wanted_version() {
        let madison = "redis-tools | 5:8.0.2-1 | archive trixie/main amd64 Packages\n\
                       redis-tools | 5:7.0.15-1~deb12u10 | archive bookworm-security/main amd64 Packages\n\
                       redis-tools | 5:7.0.15-1~deb12u7 | archive bookworm/main amd64 Packages\n\
                       redis-tools | 5:7.0.15-1~deb12u7 | archive bookworm/main Sources\n";
        let releases = madison_releases(madison);
        assert_eq!(releases, ["5:8.0.2-1", "5:7.0.15-1~deb12u10", "5:7.0.15-1~deb12u7"]);
        let wanted = |minor, patch| Wanted { flavour: Flavour::Redis, major: 7, minor, patch };
        for (wanted, expected) in [
            (wanted(0, None), Ok("5:7.0.15-1~deb12u10")),
            (wanted(0, Some(15)), Ok("5:7.0.15-1~deb12u10")),
            (
                wanted(0, Some(16)),
                Err(
                    "this system's package index has only redis-tools 5:8.0.2-1, 5:7.0.15-1~deb12u10, 5:7.0.15-1~deb12u7",
                ),
            ),
        ] {
            match (choose("redis-tools", wanted, &releases), expected) {
                (Ok((release, version)), Ok(expected)) => {
                    assert_eq!(release, expected);
                    assert_eq!(version.to_string(), "redis 7.0.15");
                }
                (Err(SourceError::Failed { reason, .. }), Err(expected)) => assert_eq!(reason, expected),
                _ => panic!("{wanted}: not as expected"),
            }
        }
    }

    #[test]
    fn hints_to_load_an_empty_index() {
        let wanted = Wanted { flavour: Flavour::Redis, major: 7, minor: 0, patch: None };
        let Err(SourceError::Failed { reason, hint }) = choose("redis-tools", wanted, &[]) else {
            panic!("nothing was offered, so nothing can be chosen");
        };
        assert_eq!(reason, "this system's package index has no redis-tools");
        assert_eq!(hint.as_deref(), Some("run `apt-get update` as root first"));
    }

    #[test]
    fn reads_dependencies_with_alternatives() {
        let fields = "Pre-Depends: init-system-helpers\nDepends: libc6:any (>= 2.34), libsystemd0 | libelogind0 (>= 1),adduser\n";
        assert_eq!(
            dependencies(fields),
            [vec!["init-system-helpers"], vec!["libc6"], vec!["libsystemd0", "libelogind0"], vec!["adduser"]]
        );
        assert!(dependencies("").is_empty());
    }
}

//! The servers in a cache of fetched ones: one folder for each version.

use std::fs;
use std::path::Path;

use super::version::version_of;
use super::{Server, Version, Wanted};

/// What is already on this machine.
#[derive(Debug, Clone, Default)]
pub(crate) struct Installed {
    /// The first server that works, in the order of the lookup.
    pub server: Option<Server>,
    /// A message for each server that does not work.
    pub broken: Vec<String>,
}

/// The newest server in a cache that satisfies the request and works.
pub(super) fn best_cached(cache: &Path, wanted: Wanted) -> Installed {
    let mut versions: Vec<Version> = fs::read_dir(cache)
        .into_iter()
        .flatten()
        .filter_map(|entry| Version::from_folder(entry.ok()?.file_name().to_str()?))
        .filter(|&version| wanted.accepts(version))
        .collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    let mut installed = Installed::default();
    for version in versions {
        let folder = cache.join(version.folder());
        match cached(&folder) {
            Ok(server) => {
                installed.server = Some(server);
                break;
            }
            Err(reason) => {
                installed.broken.push(format!("the cached {version} in `{}` is broken: {reason}", folder.display()));
            }
        }
    }
    installed
}

/// The file in a cache folder with the package that its content came from.
pub(super) const ORIGIN_FILE: &str = "origin";

/// The directory in a cache folder with the shared libraries that the server needs, if any.
pub(super) const LIBRARY_FOLDER: &str = "lib";

/// The server in a folder of the cache, if it runs and has the version in the folder's name.
pub(super) fn cached(folder: &Path) -> Result<Server, String> {
    let version = folder
        .file_name()
        .and_then(|name| Version::from_folder(name.to_str()?))
        .ok_or_else(|| "the folder's name is not a version".to_owned())?;
    let path = folder.join(version.flavour.binary());
    let library_path = Some(folder.join(LIBRARY_FOLDER)).filter(|directory| directory.is_dir());
    let actual = version_of(&path, library_path.as_deref())?;
    if actual != version {
        return Err(format!("`--version` reports {actual}"));
    }
    let package = fs::read_to_string(folder.join(ORIGIN_FILE)).unwrap_or_default();
    let origin = match package.trim() {
        "" => "cache".to_owned(),
        package => format!("cache: {package}"),
    };
    Ok(Server { asked: version.to_string(), version, path, origin, library_path })
}

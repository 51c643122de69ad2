//! Finds a server: at the given path, in the cache, on PATH, or in the package that contains it.

use std::env;
use std::path::{Path, PathBuf};

use super::Wanted;
use super::cache::{Installed, best_cached, cached};
use super::version::{Asked, version_of};
use super::{CATALOGUE, Entry, Server, ServerError, catalogue, fetch};
use crate::directories::Kept;
use crate::subprocess::is_executable;

/// Finds a server or fetches it. `asked` is a version of the catalogue such as `redis:6.2`, any other
/// `flavour:major.minor[.patch]` that is installed, or a path. Calls `notice` with a line for each problem and
/// each slow step. Blocks while another program downloads.
pub fn find(asked: &str, notice: &dyn Fn(&str)) -> Result<Server, ServerError> {
    Finder::from_environment().find(asked, notice)
}

/// Where to look for servers. [`find`] takes it from the environment.
#[derive(Debug, Clone)]
pub struct Finder {
    /// The directory of fetched servers, one folder for each version; None if the environment names none.
    pub cache: Option<PathBuf>,
    /// The directories of PATH.
    pub search: Vec<PathBuf>,
    /// What can be fetched.
    pub catalogue: Vec<Entry>,
}

impl Finder {
    /// The cache (`SLOTQUAKE_CACHE` or the system's default), the directories of PATH, and the whole
    /// catalogue.
    pub fn from_environment() -> Self {
        Self {
            cache: Kept::Cache.directory().map(|directory| directory.join("servers")),
            search: env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect(),
            catalogue: CATALOGUE.to_vec(),
        }
    }

    /// Finds a server here, as [`find`] does.
    pub fn find(&self, asked: &str, notice: &dyn Fn(&str)) -> Result<Server, ServerError> {
        let wanted = match asked.parse()? {
            Asked::Path(path) => return given(asked, &path),
            Asked::Version(wanted) => wanted,
        };
        let installed = self.installed(wanted);
        for broken in &installed.broken {
            notice(broken);
        }
        if let Some(server) = installed.server {
            return Ok(Server { asked: asked.to_owned(), ..server });
        }
        let Some(entry) = self.catalogue.iter().find(|entry| entry.may_give(wanted)) else {
            return Err(self.unknown(wanted, &installed.broken));
        };
        let cache = self.cache.as_deref().ok_or(ServerError::NoCache)?;
        let folder = fetch::fetch(entry, wanted, cache, notice)?;
        let server = cached(&folder).map_err(|reason| ServerError::Binary { path: folder, reason })?;
        Ok(Server { asked: asked.to_owned(), ..server })
    }

    /// What a fetch would use, as text, or why it cannot succeed. Fetches nothing.
    pub(crate) fn preview(&self, entry: &Entry) -> Result<String, ServerError> {
        self.cache.as_ref().ok_or(ServerError::NoCache)?;
        fetch::preview(entry)
    }

    /// Looks in the cache and on PATH.
    pub(crate) fn installed(&self, wanted: Wanted) -> Installed {
        let mut installed = Installed::default();
        if let Some(cache) = &self.cache {
            let found = best_cached(cache, wanted);
            installed.server = found.server;
            installed.broken = found.broken;
        }
        if installed.server.is_none() {
            installed.server = self.on_path(wanted);
        }
        installed
    }

    fn on_path(&self, wanted: Wanted) -> Option<Server> {
        self.search.iter().map(|directory| directory.join(wanted.flavour.binary())).find_map(|binary| {
            // PATH may have relative directories, but nodes run in other working directories.
            let path = std::path::absolute(&binary).ok().filter(|path| is_executable(path))?;
            let version = version_of(&path, None).ok().filter(|&version| wanted.accepts(version))?;
            Some(Server { asked: wanted.to_string(), version, path, origin: "PATH".to_owned(), library_path: None })
        })
    }

    fn unknown(&self, wanted: Wanted, broken: &[String]) -> ServerError {
        let nearest = catalogue::nearest(&self.catalogue, wanted)
            .map_or_else(String::new, |entry| format!("the nearest is `{}`; ", entry.name()));
        ServerError::Unknown {
            wanted,
            known: catalogue::names(&self.catalogue),
            broken: broken.iter().flat_map(|line| ["; ", line]).collect(),
            hint: format!(
                "{nearest}install such a server so that `{}` is on PATH, or give its path",
                wanted.flavour.binary()
            ),
        }
    }
}

/// The server at a path that the user gave.
fn given(asked: &str, path: &Path) -> Result<Server, ServerError> {
    // Make it absolute, because nodes run in other directories. Do not resolve links.
    let path = std::path::absolute(path)
        .map_err(|error| ServerError::Binary { path: path.to_owned(), reason: error.to_string() })?;
    if path.is_dir() {
        let reason = "it is a directory (hint: give the path of the binary in it)".to_owned();
        return Err(ServerError::Binary { path, reason });
    }
    match version_of(&path, None) {
        Ok(version) => {
            let origin = "given path".to_owned();
            Ok(Server { asked: asked.to_owned(), version, path, origin, library_path: None })
        }
        Err(reason) => {
            let hint = "hint: give the path of a redis-server or valkey-server, or a version such as `redis:6.2`";
            Err(ServerError::Binary { path, reason: format!("{reason} ({hint})") })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::cache::ORIGIN_FILE;
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    /// Writes an executable shell script.
    fn script(path: &Path, body: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// An empty cache, one directory on PATH, and nothing to fetch.
    fn finder(root: &Path) -> Finder {
        Finder { cache: Some(root.join("cache")), search: vec![root.join("bin")], catalogue: Vec::new() }
    }

    #[test]
    fn prefers_the_cache_and_its_newest_patch() {
        let root = tempfile::tempdir().unwrap();
        let finder = finder(root.path());
        script(&root.path().join("bin/redis-server"), "echo 'Redis server v=6.2.20 sha=0'");
        let on_path = finder.find("redis:6.2", &|_| ()).unwrap();
        assert_eq!((on_path.version.patch, on_path.origin.as_str()), (20, "PATH"));
        for patch in ["9", "14"] {
            let folder = root.path().join(format!("cache/redis-6.2.{patch}"));
            script(&folder.join("redis-server"), &format!("echo 'Redis server v=6.2.{patch} sha=0'"));
            fs::write(folder.join(ORIGIN_FILE), "PyPI package p 1").unwrap();
        }
        let cached = finder.find("redis:6.2", &|_| ()).unwrap();
        assert_eq!((cached.version.patch, cached.origin.as_str()), (14, "cache: PyPI package p 1"));
        assert_eq!(cached.asked, "redis:6.2");
        assert_eq!(finder.find("redis:6.2.9", &|_| ()).unwrap().version.patch, 9);
        assert_eq!(finder.find("redis:6.2.20", &|_| ()).unwrap().origin, "PATH");
    }

    #[test]
    fn ignores_other_servers_on_path() {
        let root = tempfile::tempdir().unwrap();
        // Some distributions give Valkey the name of Redis.
        script(&root.path().join("bin/redis-server"), "echo 'Valkey server v=8.1.4 sha=0'");
        for asked in ["redis:8.1", "redis:6.2", "valkey:8.1"] {
            let error = finder(root.path()).find(asked, &|_| ()).unwrap_err();
            assert!(matches!(error, ServerError::Unknown { .. }), "{asked}: {error}");
        }
    }

    #[test]
    fn reports_a_broken_cache_entry() {
        for (body, reason) in [
            ("exit 3", "`--version` ended with exit status: 3"),
            ("echo 'Redis server v=6.2.13 sha=0'", "`--version` reports redis 6.2.13"),
            ("echo nonsense", "`--version` prints \"nonsense\", which is neither a Redis nor a Valkey server"),
        ] {
            let root = tempfile::tempdir().unwrap();
            script(&root.path().join("cache/redis-6.2.14/redis-server"), body);
            let notices = std::cell::RefCell::new(Vec::new());
            let error = finder(root.path()).find("redis:6.2", &|line| notices.borrow_mut().push(line.to_owned()));
            let error = error.expect_err(body).to_string();
            assert!(error.contains(reason), "{error}");
            assert!(notices.borrow()[0].contains(reason), "{notices:?}");
        }
    }

    #[test]
    fn suggests_the_nearest_version() {
        let finder = Finder { cache: None, search: Vec::new(), catalogue: CATALOGUE.to_vec() };
        assert_eq!(
            finder.find("redis:5.0", &|_| ()).unwrap_err().to_string(),
            "redis:5.0 is neither in the cache nor on PATH, and only these can be fetched: redis:6.2, redis:7.0, \
             redis:8.2, valkey:8.1, valkey:9.1 (hint: the nearest is `redis:6.2`; install such a server so that \
             `redis-server` is on PATH, or give its path)"
        );
        assert!(matches!(finder.find("redis:6.2", &|_| ()).unwrap_err(), ServerError::NoCache));
    }

    #[test]
    fn does_not_resolve_links_in_a_path() {
        let root = tempfile::tempdir().unwrap();
        let real = root.path().join("redis-check-rdb");
        // Like Debian's binary, this script is a server only under the right name.
        script(&real, "case $0 in *redis-server) echo 'Redis server v=7.0.15 sha=0';; *) exit 1;; esac");
        let link = root.path().join("redis-server");
        std::os::unix::fs::symlink("redis-check-rdb", &link).unwrap();
        let server = finder(root.path()).find(link.to_str().unwrap(), &|_| ()).unwrap();
        assert_eq!((server.path, server.origin.as_str()), (link, "given path"));
        let error = finder(root.path()).find(real.to_str().unwrap(), &|_| ()).unwrap_err().to_string();
        assert!(error.contains("/redis-check-rdb\": `--version` ended with exit status: 1"), "{error}");
    }

    #[test]
    fn rejects_a_directory() {
        let root = tempfile::tempdir().unwrap();
        let error = finder(root.path()).find(root.path().to_str().unwrap(), &|_| ()).unwrap_err().to_string();
        assert!(error.contains("it is a directory (hint: give the path of the binary in it)"), "{error}");
    }
}

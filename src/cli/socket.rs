//! How `status`, `fault`, `send`, `exec` and `down` reach a cluster that `up` keeps: over a socket in a
//! directory of the user's own. A request is one line of JSON, and so is its answer.

use std::fs::{DirBuilder, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use clap::Args;
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};
use slotquake::history::StepProblem;
use slotquake::run::{Ask, Status};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

use super::exit::{Exit, Trouble};

/// No request is longer.
const LONGEST: u64 = 1 << 20;

/// Which cluster is meant.
#[derive(Debug, Args)]
pub struct Which {
    /// The cluster, by the name that `slotquake up --name` gave it; without it, the only one that is up
    #[arg(long, value_name = "NAME", global = true)]
    name: Option<String>,
}

/// What comes back.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Told {
    /// How the nodes are.
    Status(Status),
    /// What happened, in lines.
    Lines(Vec<String>),
}

/// A socket on which requests come in; its file is removed with it.
pub struct Door {
    path: PathBuf,
}

impl Door {
    /// Takes the name, unless a cluster that is up has it.
    pub fn open(name: &str) -> Result<(Self, UnixListener), Trouble> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > 40 || !name.bytes().all(fits) {
            return Err(Trouble::usage(format!(
                "`{name}` cannot name a cluster (hint: lowercase letters, digits and dashes, at most 40)"
            )));
        }
        let directory = directory()?;
        let path = directory.join(format!("{name}.sock"));
        let listener = locked(&directory, || {
            if is_alive(&path) {
                return Ok(None);
            }
            UnixListener::bind(&path).map(Some)
        });
        let listener = listener.map_err(|error| no_socket(&path, &error))?.ok_or_else(|| {
            Trouble::usage(format!("a cluster `{name}` is up already (hint: `slotquake down`, or another --name)"))
        })?;
        Ok((Self { path }, listener))
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Which {
    /// Asks, and returns the answer.
    pub fn ask(&self, ask: &Ask) -> Result<Told, Trouble> {
        let mut stream = self.connect()?;
        let gone = |error: io::Error| Trouble::harness(format!("the cluster was gone before it answered: {error}"));
        let mut line = serde_json::to_vec(ask).expect("a request is plain data");
        line.push(b'\n');
        stream.write_all(&line).map_err(gone)?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).map_err(gone)?;
        let told: Result<Told, StepProblem> = serde_json::from_str(&answer).map_err(|error| {
            let hint = "is it the same version of slotquake?";
            Trouble::harness(format!("the cluster's answer is cut short or strange: {error} (hint: {hint})"))
        })?;
        told.map_err(|problem| match problem {
            StepProblem::Suite(message) => Trouble::usage(message),
            StepProblem::Unmet(message) => Trouble { exit: Exit::Failed, message },
            StepProblem::Harness(message) => Trouble::harness(message),
        })
    }

    /// Connects with the cluster that is meant.
    pub fn connect(&self) -> Result<UnixStream, Trouble> {
        let up = all()?;
        let names = || up.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        let path = match (&self.name, up.as_slice()) {
            (_, []) => return Err(Trouble::usage("no cluster is up (hint: `slotquake up` in another terminal)")),
            (None, [(_, path)]) => path,
            (None, _) => {
                return Err(Trouble::usage(format!(
                    "{} clusters are up: {} (hint: say which with --name)",
                    up.len(),
                    names()
                )));
            }
            (Some(name), up) => match up.iter().find(|(each, _)| each == name) {
                Some((_, path)) => path,
                None => return Err(Trouble::usage(format!("no cluster `{name}` is up (hint: --name {})", names()))),
            },
        };
        UnixStream::connect(path).map_err(|error| no_socket(path, &error))
    }
}

/// Reads one request; None from somebody who only looked whether anybody is here.
pub async fn read(stream: &mut tokio::net::UnixStream) -> io::Result<Option<Ask>> {
    let mut line = String::new();
    tokio::io::BufReader::new(stream.take(LONGEST)).read_line(&mut line).await?;
    if line.is_empty() {
        return Ok(None);
    }
    serde_json::from_str(&line).map(Some).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

/// Answers it. Whoever asked may have gone, which is no trouble.
pub async fn write(mut stream: tokio::net::UnixStream, answer: &Result<Told, StepProblem>) {
    let mut line = serde_json::to_vec(answer).expect("an answer is plain data");
    line.push(b'\n');
    let _ = stream.write_all(&line).await;
}

/// The clusters that are up, by name. What one that was killed left is removed.
fn all() -> Result<Vec<(String, PathBuf)>, Trouble> {
    let directory = directory()?;
    let found = locked(&directory, || {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&directory)? {
            let path = entry?.path();
            if let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".sock"))
                && is_alive(&path)
            {
                found.push((name.to_owned(), path));
            }
        }
        found.sort();
        Ok(found)
    });
    found.map_err(|error| no_socket(&directory, &error))
}

/// Whether somebody listens there; where nobody does, the file is in the way.
fn is_alive(path: &Path) -> bool {
    match UnixStream::connect(path) {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            let _ = std::fs::remove_file(path);
            false
        }
        Err(_) => false,
    }
}

/// Does something while nobody else makes or removes sockets there.
fn locked<T>(directory: &Path, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let lock = File::open(directory)?;
    lock.lock()?;
    work()
}

/// The directory of sockets, which nobody else may enter.
fn directory() -> Result<PathBuf, Trouble> {
    let path = match std::env::var_os("XDG_RUNTIME_DIR").filter(|value| !value.is_empty()) {
        Some(runtime) => PathBuf::from(runtime).join("slotquake"),
        None => std::env::temp_dir().join(format!("slotquake-{}", geteuid())),
    };
    let made = DirBuilder::new().mode(0o700).create(&path);
    let known = match made {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => std::fs::symlink_metadata(&path),
    };
    let known = known.map_err(|error| no_socket(&path, &error))?;
    if !known.is_dir() || known.uid() != geteuid().as_raw() || known.permissions().mode() & 0o077 != 0 {
        return Err(Trouble::harness(format!(
            "{} is not a directory of yours alone (hint: remove it, or set XDG_RUNTIME_DIR)",
            path.display()
        )));
    }
    Ok(path)
}

fn no_socket(path: &Path, error: &io::Error) -> Trouble {
    Trouble::harness(format!("{}: {error} (hint: XDG_RUNTIME_DIR names where sockets go)", path.display()))
}

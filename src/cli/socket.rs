//! How `status`, `fault`, `send`, `exec` and `down` reach the cluster of `up`: over a socket in a private directory
//! of the user. Requests and answers are one line of JSON each.

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

/// The maximum length of a request, in bytes.
const LONGEST: u64 = 1 << 20;

/// Selects a running cluster.
#[derive(Debug, Args)]
pub struct Which {
    /// The cluster's name, as given to `slotquake up --name`; optional if only one is up
    #[arg(long, value_name = "NAME", global = true)]
    name: Option<String>,
}

/// The answer to a request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// The state of the nodes.
    Status(Status),
    /// The result as lines of text.
    Lines(Vec<String>),
}

/// The socket that receives requests. Dropping it removes its file.
pub struct CommandSocket {
    path: PathBuf,
}

impl CommandSocket {
    /// Creates the socket, unless a running cluster has the same name.
    pub fn open(name: &str) -> Result<(Self, UnixListener), Trouble> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > 40 || !name.bytes().all(fits) {
            return Err(Trouble::usage(format!(
                "invalid cluster name \"{name}\" (hint: use at most 40 lowercase letters, digits and dashes)"
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
            Trouble::usage(format!(
                "cluster \"{name}\" is already up (hint: run `slotquake down`, or use another `--name`)"
            ))
        })?;
        Ok((Self { path }, listener))
    }
}

impl Drop for CommandSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Which {
    /// Sends a request and returns the answer.
    pub fn ask(&self, ask: &Ask) -> Result<Response, Trouble> {
        let mut stream = self.connect()?;
        let gone = |error: io::Error| Trouble::unavailable(format!("the cluster ended before it answered: {error}"));
        let mut line = serde_json::to_vec(ask).expect("a request is plain data");
        line.push(b'\n');
        stream.write_all(&line).map_err(gone)?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).map_err(gone)?;
        let response: Result<Response, StepProblem> = serde_json::from_str(&answer).map_err(|error| {
            let hint = "use the same version of slotquake for all commands";
            Trouble::unavailable(format!("cannot read the cluster's answer: {error} (hint: {hint})"))
        })?;
        response.map_err(|problem| match problem {
            StepProblem::Suite(message) => Trouble::usage(message),
            StepProblem::Unmet(message) => Trouble { exit: Exit::Failed, message },
            StepProblem::Harness(message) => Trouble::unavailable(message),
        })
    }

    /// Connects to the selected cluster.
    pub fn connect(&self) -> Result<UnixStream, Trouble> {
        let up = all()?;
        let names = || up.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        let path = match (&self.name, up.as_slice()) {
            (_, []) => return Err(Trouble::usage("no cluster is up (hint: `slotquake up` in another terminal)")),
            (None, [(_, path)]) => path,
            (None, _) => {
                return Err(Trouble::usage(format!(
                    "{} clusters are up: {} (hint: choose one with `--name`)",
                    up.len(),
                    names()
                )));
            }
            (Some(name), up) => match up.iter().find(|(each, _)| each == name) {
                Some((_, path)) => path,
                None => {
                    return Err(Trouble::usage(format!(
                        "no cluster \"{name}\" is up (hint: running clusters are {})",
                        names()
                    )));
                }
            },
        };
        UnixStream::connect(path).map_err(|error| no_socket(path, &error))
    }
}

/// Reads one request; None if the peer only checked that the cluster is alive.
pub async fn read(stream: &mut tokio::net::UnixStream) -> io::Result<Option<Ask>> {
    let mut line = String::new();
    tokio::io::BufReader::new(stream.take(LONGEST)).read_line(&mut line).await?;
    if line.is_empty() {
        return Ok(None);
    }
    serde_json::from_str(&line).map(Some).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

/// Sends the answer. Ignores errors, because the client may have disconnected.
pub async fn write(mut stream: tokio::net::UnixStream, answer: &Result<Response, StepProblem>) {
    let mut line = serde_json::to_vec(answer).expect("an answer is plain data");
    line.push(b'\n');
    let _ = stream.write_all(&line).await;
}

/// The running clusters, by name. Removes the sockets of killed ones.
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

/// Whether a process listens on the socket. Removes the file if none does.
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

/// Runs `work` while no other process creates or removes sockets in the directory.
fn locked<T>(directory: &Path, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let lock = File::open(directory)?;
    lock.lock()?;
    work()
}

/// The directory of sockets, which only the user can enter.
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
        return Err(Trouble::unavailable(format!(
            "{} is not a private directory of this user (hint: remove it, or set XDG_RUNTIME_DIR)",
            path.display()
        )));
    }
    Ok(path)
}

fn no_socket(path: &Path, error: &io::Error) -> Trouble {
    Trouble::unavailable(format!("{}: {error} (hint: XDG_RUNTIME_DIR sets the directory for sockets)", path.display()))
}

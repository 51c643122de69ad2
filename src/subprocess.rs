//! Runs other programs with a deadline and returns their output: `pip`, `apt-get`, `--version`, probes.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::history::{Exit, ExitSignal};

/// How often to check whether a program has ended.
const POLL: Duration = Duration::from_millis(5);

/// Runs a command to its end, without input, and returns its output. After the deadline, kills it and its
/// process group; the error is then of kind `TimedOut`.
pub fn output(command: &mut Command, deadline: Duration) -> io::Result<Output> {
    output_of(command, "", deadline)
}

/// Like [`output`], with a short text as standard input.
pub fn output_of(command: &mut Command, input: &str, deadline: Duration) -> io::Result<Output> {
    let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Programs and their own timeouts are not faster at speed.
    command.env_remove(crate::speed::VARIABLE);
    let deadline = crate::speed::real_span(deadline);
    crate::sandbox::tie_to_spawner(command);
    let started = Instant::now();
    let mut child = spawn_when_free(command)?;
    if let Some(mut pipe) = child.stdin.take() {
        // If the program ends without reading, its exit status says why.
        let _ = pipe.write_all(input.as_bytes());
    }
    let stdout = child.stdout.take().map(read_in_background);
    let stderr = child.stderr.take().map(read_in_background);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() > deadline {
            // The child leads its own process group, so this also ends the programs that it started.
            let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
            child.wait()?;
            let program = command.get_program().to_string_lossy().into_owned();
            let text = format!("{program} did not end within {}", humantime::format_duration(deadline));
            return Err(io::Error::new(ErrorKind::TimedOut, text));
        }
        thread::sleep(POLL);
    };
    let collect =
        |reader: Option<thread::JoinHandle<Vec<u8>>>| reader.and_then(|it| it.join().ok()).unwrap_or_default();
    Ok(Output { status, stdout: collect(stdout), stderr: collect(stderr) })
}

/// Starts a command. Retries if a binary that was just written is busy: another thread between fork and exec
/// may still hold it open for writing.
fn spawn_when_free(command: &mut Command) -> io::Result<std::process::Child> {
    let started = Instant::now();
    loop {
        match command.spawn() {
            Err(error)
                if error.kind() == ErrorKind::ExecutableFileBusy && started.elapsed() < Duration::from_secs(2) =>
            {
                thread::sleep(POLL);
            }
            result => return result,
        }
    }
}

fn read_in_background(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // Keep what was read before an error.
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

/// How a process ended, from the status that the system reports.
pub fn exit(status: ExitStatus) -> Exit {
    let named = |number| Signal::try_from(number).map_or_else(|_| String::new(), |signal| signal.as_str().to_owned());
    Exit {
        how: status.to_string(),
        signal: status.signal().map(|number| ExitSignal { number, name: named(number) }),
        status: status.code(),
    }
}

/// The output of a program on one stream, read in the background.
pub struct Gathered {
    read: Arc<Mutex<Tail>>,
    reading: tokio::task::JoinHandle<()>,
}

/// The end of what was read.
#[derive(Default)]
struct Tail {
    bytes: Vec<u8>,
    /// The number of bytes that were read in all.
    all: u64,
}

impl Gathered {
    /// Reads a stream to its end, and keeps the last `most` bytes.
    pub fn of<R: AsyncRead + Unpin + Send + 'static>(stream: Option<R>, most: usize) -> Self {
        let read = Arc::<Mutex<Tail>>::default();
        let tail = Arc::clone(&read);
        let reading = tokio::spawn(async move {
            let Some(mut stream) = stream else { return };
            let mut part = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut part).await {
                let mut tail = tail.lock().expect("no holder panics");
                tail.bytes.extend_from_slice(&part[..length]);
                tail.all += length as u64;
                // Not at every read, so that a long output costs no more than it is long.
                if tail.bytes.len() >= most.saturating_mul(2) {
                    let over = tail.bytes.len() - most;
                    tail.bytes.drain(..over);
                }
            }
        });
        Self { read, reading }
    }

    /// The last bytes, and how many there were in all. The program has ended, but a process that it left may keep the stream
    /// open, so this does not wait for the end of the stream.
    pub async fn end(mut self) -> (Vec<u8>, u64) {
        const GRACE: Duration = Duration::from_millis(200);
        let _ = tokio::time::timeout(crate::speed::real_span(GRACE), &mut self.reading).await;
        self.reading.abort();
        let Tail { bytes, all } = std::mem::take(&mut *self.read.lock().expect("no holder panics"));
        (bytes, all)
    }
}

/// The last line that is not blank, trimmed.
pub fn last_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default().to_owned()
}

/// Finds a program in the directories of PATH, then in the directories for administration, which a user's PATH
/// often lacks.
pub fn locate(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|candidate| is_executable(candidate))
}

/// Whether this is a file, or a link to one, with an execute permission.
pub fn is_executable(path: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn returns_output_and_status() {
        let output = output_of(&mut shell("cat; echo trouble >&2; exit 3"), "hello", Duration::from_secs(10)).unwrap();
        assert_eq!(
            (output.stdout.as_slice(), last_line(&output.stderr).as_str(), output.status.code()),
            (&b"hello"[..], "trouble", Some(3))
        );
    }

    #[test]
    fn kills_a_hanging_program_and_its_children() {
        let started = Instant::now();
        let error = output(&mut shell("sleep 60 & sleep 60"), Duration::from_millis(200)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(error.to_string(), "sh did not end within 200ms");
        assert!(started.elapsed() < Duration::from_secs(30), "took {:?}", started.elapsed());
    }

    #[test]
    fn last_line_skips_blank_lines() {
        for (text, expected) in [("", ""), ("a\nb\n", "b"), ("a\n  b  \n\n  \n", "b")] {
            assert_eq!(last_line(text.as_bytes()), expected, "{text:?}");
        }
    }
}

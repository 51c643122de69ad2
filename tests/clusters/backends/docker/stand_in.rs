//! Stands between a harness and the container engine: passes on what it is asked, but for requests that it
//! answers itself, as an engine would that is old, or that loses count.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;

/// The engine's own socket.
const ENGINE: &str = "/var/run/docker.sock";

/// What is answered to a request (`DELETE /networks/...`) in the engine's place: a status, and a body in JSON.
type Answer = dyn Fn(&str) -> Option<(u16, String)> + Send + Sync;

/// The stand-in. Its socket goes with it.
pub struct StandIn {
    folder: tempfile::TempDir,
}

impl StandIn {
    pub fn new(answer: impl Fn(&str) -> Option<(u16, String)> + Send + Sync + 'static) -> Self {
        let stand_in = Self { folder: tempfile::tempdir().expect("a temporary directory") };
        let listener = UnixListener::bind(stand_in.path()).expect("a socket");
        let answer: Arc<Answer> = Arc::new(answer);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let answer = Arc::clone(&answer);
                // A connection that breaks is the harness's affair.
                std::thread::spawn(move || drop(serve(connection, &*answer)));
            }
        });
        stand_in
    }

    /// Where its socket is.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("engine.sock")
    }

    /// For `DOCKER_HOST`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.path().display())
    }
}

/// One request: what comes after it is on a connection of its own, as `Connection: close` demands.
fn serve(mut client: UnixStream, answer: &Answer) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head);
    let mut lines = head.trim_end().lines();
    let request = lines.next().unwrap_or_default();
    if let Some((status, body)) = answer(request) {
        return write!(
            client,
            "HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
    }
    let mut engine = UnixStream::connect(ENGINE)?;
    let is_upgrade = head.to_ascii_lowercase().contains("\r\nupgrade:");
    let connection = if is_upgrade { "Upgrade" } else { "close" };
    let others: Vec<&str> = lines.filter(|line| !line.to_ascii_lowercase().starts_with("connection:")).collect();
    write!(engine, "{request}\r\n{}\r\nConnection: {connection}\r\n\r\n", others.join("\r\n"))?;
    let (mut from_client, mut to_engine) = (client.try_clone()?, engine.try_clone()?);
    let sending = std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_engine);
        // An engine takes back what it can of a request whose client has gone, but it is not to see that here.
        if is_upgrade {
            let _ = to_engine.shutdown(Shutdown::Write);
        }
    });
    let copied = std::io::copy(&mut engine, &mut client);
    client.shutdown(Shutdown::Both)?;
    let _ = sending.join();
    copied.map(drop)
}

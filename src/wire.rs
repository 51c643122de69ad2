//! One connection to one node, and a command's answer as text.

mod access;
mod tls;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ProtocolVersion, PushInfo, RedisConnectionInfo, RedisError, Value};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

pub use access::{Access, Login};
pub use tls::{Tls, TlsError, TlsSettings};

/// The settings of a connection.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// The credentials that the servers require.
    pub access: Access,
    /// The local address. None lets the system choose.
    pub from: Option<IpAddr>,
    /// The time without an acknowledgement by TCP after which the connection is closed (`TCP_USER_TIMEOUT`). None for the
    /// system's default of about 15 minutes.
    pub unacknowledged_for: Option<Duration>,
    /// Where what the server sends unasked goes: the messages of channels. The connection then speaks RESP3.
    pub pushes: Option<mpsc::UnboundedSender<PushInfo>>,
}

/// A connection for many concurrent commands. Dropping the last clone closes it.
#[derive(Clone, Debug)]
pub struct Link {
    connection: MultiplexedConnection,
    open: Arc<Open>,
}

#[derive(Debug)]
struct Open {
    ended: Arc<AtomicBool>,
    driver: AbortHandle,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Why a connection to a node failed. The command was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The port is closed.
    #[error("connection refused by {0}")]
    Refused(SocketAddr),
    /// The time limit passed without an answer.
    #[error("no connection to {0} within {1:?}")]
    TimedOut(SocketAddr, Duration),
    /// The address has no route, or no host has it.
    #[error("{0} is unreachable: {1}")]
    Unreachable(SocketAddr, String),
    /// The connection was accepted, but the handshake was not answered in time. This is how a paused server behaves: its
    /// kernel accepts connections.
    #[error("{0} accepts connections, but does not answer {1} within {2:?}")]
    Unanswered(SocketAddr, &'static str, Duration),
    /// The server denies access, with its own error.
    #[error("{0} does not let us in: {1}")]
    Denied(SocketAddr, String),
    /// The TLS handshake failed.
    #[error("no TLS with {0}: {1}")]
    Tls(SocketAddr, String),
    /// Any other error of the system.
    #[error("cannot connect to {0}: {1}")]
    Other(SocketAddr, String),
}

/// Why a command has no successful reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandError {
    /// The server's error reply, unchanged.
    Reply(String),
    /// The connection broke after the command was passed to it. Whether it was executed is unknown.
    Broken(String),
    /// No answer in time. Whether the command was executed is unknown.
    TimedOut,
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply(text) => f.write_str(text),
            Self::Broken(reason) => write!(f, "connection lost: {reason}"),
            Self::TimedOut => f.write_str("no answer in time"),
        }
    }
}

impl Link {
    /// Connects with these settings. Without a password, TLS and a relay there is no handshake, so connecting to a paused
    /// node succeeds, and the first command is not answered.
    pub async fn connect(addr: SocketAddr, caller: &Caller, within: Duration) -> Result<Self, ConnectError> {
        let until = Instant::now() + within;
        let stream =
            timeout_at(until, open(addr, caller)).await.map_err(|_| ConnectError::TimedOut(addr, within))??;
        let opened = match &caller.access.tls {
            None => timeout_at(until, Self::over(addr, stream, caller)).await,
            Some(tls) => {
                let wrapped = timeout_at(until, tls.wrap(addr, stream)).await;
                let wrapped = wrapped.map_err(|_| ConnectError::Unanswered(addr, "the TLS handshake", within))?;
                let wrapped = wrapped.map_err(|error| ConnectError::Tls(addr, error.to_string()))?;
                timeout_at(until, Self::over(addr, wrapped, caller)).await
            }
        };
        let mut link = opened.map_err(|_| ConnectError::Unanswered(addr, "HELLO", within))??;
        if caller.access.relayed {
            match link.send(&command(&["PING"]), until).await {
                // Any reply, even an error, proves that the server answers.
                Ok(_) | Err(CommandError::Reply(_)) => {}
                Err(CommandError::Broken(_)) => return Err(ConnectError::Refused(addr)),
                Err(CommandError::TimedOut) => return Err(ConnectError::Unanswered(addr, "PING", within)),
            }
        }
        if let Some(login) = &caller.access.login {
            link.send(&login.command(), until).await.map_err(|error| match error {
                CommandError::Reply(reply) => ConnectError::Denied(addr, reply),
                CommandError::TimedOut => ConnectError::Unanswered(addr, "AUTH", within),
                CommandError::Broken(reason) => ConnectError::Other(addr, reason),
            })?;
        }
        Ok(link)
    }

    async fn over<S>(addr: SocketAddr, stream: S, caller: &Caller) -> Result<Self, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(10_000);
        // Without a handshake of redis-rs, because the handshake here is a command.
        let mut info = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(pushes) = caller.pushes.clone() {
            config = config.set_push_sender(pushes);
            // HELLO takes the credentials along, as a server that requires some refuses it without.
            info = caller.access.login.iter().fold(info, |info, login| login.within(info));
            info = info.set_protocol(ProtocolVersion::RESP3);
        }
        let ended = Arc::new(AtomicBool::new(false));
        let ended_too = Arc::clone(&ended);
        let (opened, connection) = oneshot::channel();
        // The driver borrows the settings as long as it runs.
        let driver = tokio::spawn(async move {
            match MultiplexedConnection::new_with_config(&info, stream, config).await {
                Ok((connection, driver)) => {
                    let _ = opened.send(Ok(connection));
                    driver.await;
                }
                Err(error) => _ = opened.send(Err(error.to_string())),
            }
            ended_too.store(true, Ordering::Release);
        })
        .abort_handle();
        let open = Arc::new(Open { ended, driver });
        let connection = connection.await.unwrap_or_else(|_| Err("its driver ended".to_owned()));
        let connection = connection.map_err(|error| ConnectError::Other(addr, error))?;
        Ok(Self { connection, open })
    }

    /// Whether the other side has closed or reset the connection, so that a command would certainly not be sent.
    pub fn is_ended(&self) -> bool {
        self.open.ended.load(Ordering::Acquire)
    }

    /// Sends a command and waits for its reply.
    pub async fn send(&mut self, command: &Cmd, until: Instant) -> Result<Value, CommandError> {
        match timeout_at(until, self.connection.send_packed_command(command)).await {
            Err(_) => Err(CommandError::TimedOut),
            Ok(answer) => answer.and_then(Value::extract_error).map_err(|error| command_error(&error)),
        }
    }

    /// Sends commands in one pipeline and waits for all replies. One error reply fails them all.
    pub async fn send_all(
        &mut self,
        commands: &redis::Pipeline,
        count: usize,
        until: Instant,
    ) -> Result<Vec<Value>, CommandError> {
        match timeout_at(until, self.connection.send_packed_commands(commands, 0, count)).await {
            Err(_) => Err(CommandError::TimedOut),
            Ok(Err(error)) => Err(command_error(&error)),
            Ok(Ok(values)) => {
                values.into_iter().map(|value| value.extract_error().map_err(|error| command_error(&error))).collect()
            }
        }
    }
}

async fn open(addr: SocketAddr, caller: &Caller) -> Result<TcpStream, ConnectError> {
    let other = |error: &dyn fmt::Display| ConnectError::Other(addr, error.to_string());
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(|error| other(&error))?;
    if let Some(patience) = caller.unacknowledged_for {
        give_up_after(&socket, patience).map_err(|error| other(&error))?;
    }
    if let Some(from) = caller.from {
        socket.bind(SocketAddr::new(from, 0)).map_err(|error| other(&error))?;
    }
    let stream = socket.connect(addr).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::ConnectionRefused => ConnectError::Refused(addr),
        std::io::ErrorKind::HostUnreachable | std::io::ErrorKind::NetworkUnreachable => {
            ConnectError::Unreachable(addr, error.to_string())
        }
        _ => other(&error),
    })?;
    stream.set_nodelay(true).map_err(|error| other(&error))?;
    Ok(stream)
}

/// Only Linux has this option. On other systems, links cannot be cut either.
#[cfg(target_os = "linux")]
fn give_up_after(socket: &TcpSocket, patience: Duration) -> nix::Result<()> {
    let patience_ms = u32::try_from(patience.as_millis()).unwrap_or(u32::MAX).max(1);
    nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::TcpUserTimeout, &patience_ms)
}

#[cfg(not(target_os = "linux"))]
fn give_up_after(_socket: &TcpSocket, _patience: Duration) -> nix::Result<()> {
    Ok(())
}

fn command_error(error: &RedisError) -> CommandError {
    match error.code() {
        Some(code) => CommandError::Reply(match error.detail() {
            Some(detail) => format!("{code} {detail}"),
            None => code.to_owned(),
        }),
        None => CommandError::Broken(error.to_string()),
    }
}

/// A command from its words.
pub fn command<W: AsRef<str>>(words: &[W]) -> Cmd {
    let mut command = Cmd::new();
    for word in words {
        command.arg(word.as_ref());
    }
    command
}

/// A reply as `redis-cli` prints it to a pipe: text unchanged, integers as digits, `(nil)`, one line for each element.
pub fn text(value: &Value) -> String {
    match value {
        Value::Nil => "(nil)".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => text.clone(),
        Value::Okay => "OK".to_owned(),
        Value::Array(values) | Value::Set(values) => values.iter().map(text).collect::<Vec<_>>().join("\n"),
        Value::Map(pairs) => {
            pairs.iter().map(|(key, value)| format!("{}\n{}", text(key), text(value))).collect::<Vec<_>>().join("\n")
        }
        Value::Double(number) => number.to_string(),
        Value::Boolean(truth) => truth.to_string(),
        other => format!("{other:?}"),
    }
}

/// A redirection in an error reply: `MOVED 9189 127.1.0.2:6379`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redirect {
    /// Whether it is ASK, which applies to one command only, and not MOVED.
    pub ask: bool,
    /// The slot.
    pub slot: u16,
    /// The address that the redirection names.
    pub addr: SocketAddr,
}

/// Reads a redirection from an error reply. If the server omits the host, the redirection is to `asked`, the node that sent
/// it (cluster specification, "MOVED Redirection").
pub fn redirect(reply: &str, asked: SocketAddr) -> Option<Redirect> {
    let mut words = reply.split_ascii_whitespace();
    let ask = match words.next()? {
        "MOVED" => false,
        "ASK" => true,
        _ => return None,
    };
    let slot = words.next()?.parse().ok()?;
    let endpoint = words.next()?;
    let (host, port) = endpoint.rsplit_once(':')?;
    let ip = if host.is_empty() { asked.ip() } else { host.parse().ok()? };
    Some(Redirect { ask, slot, addr: SocketAddr::new(ip, port.parse().ok()?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The result of a connection that the other side accepts and then closes, or leaves unanswered.
    async fn accepted(relayed: bool, closes: bool) -> Result<(), ConnectError> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let accepting = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            if closes { None } else { Some(stream) }
        });
        let caller = Caller { access: Access { relayed, ..Access::default() }, ..Caller::default() };
        let link = Link::connect(addr, &caller, Duration::from_millis(300)).await;
        drop(accepting.await);
        link.map(drop)
    }

    #[tokio::test]
    async fn a_relayed_connection_requires_an_answer() {
        assert!(matches!(accepted(true, true).await, Err(ConnectError::Refused(_))));
        assert!(matches!(accepted(true, false).await, Err(ConnectError::Unanswered(_, "PING", _))));
        for closes in [true, false] {
            assert_eq!(accepted(false, closes).await, Ok(()), "without a relay, the server itself accepts");
        }
    }

    #[test]
    fn reads_redirections_from_error_replies() {
        let asked: SocketAddr = "127.1.0.9:6379".parse().unwrap();
        for (reply, expected) in [
            ("MOVED 9189 127.1.0.2:6379", Some((false, 9189, "127.1.0.2:6379"))),
            ("ASK 1 127.1.0.3:7000", Some((true, 1, "127.1.0.3:7000"))),
            ("MOVED 1 ::1:7000", Some((false, 1, "[::1]:7000"))),
            ("MOVED 1 :7000", Some((false, 1, "127.1.0.9:7000"))),
            ("CLUSTERDOWN Hash slot not served", None),
            ("MOVED x 127.1.0.2:6379", None),
            ("MOVED 1", None),
            ("", None),
        ] {
            let expected = expected.map(|(ask, slot, addr)| Redirect { ask, slot, addr: addr.parse().unwrap() });
            assert_eq!(redirect(reply, asked), expected, "{reply}");
        }
    }
}

//! Looking at a link from one of its ends: a connection from a node's or client's own address, which
//! the rules of a network fault take for that node's or client's.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use crate::units::NodeNo;

/// A connection to be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Knock {
    /// Where it comes from.
    pub from: Ipv4Addr,
    /// Where it goes to.
    pub to: SocketAddrV4,
    /// Who listens there.
    pub node: NodeNo,
}

impl std::fmt::Display for Knock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} -> {}", self.from, self.to)
    }
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It was made. On one machine the kernel does that, whatever the server is doing.
    Open,
    /// It was refused: by a rule, or since nobody listens.
    Refused,
    /// Nothing came back in time.
    Silence,
    /// Anything else that the system said.
    Other(String),
}

impl std::fmt::Display for Heard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Open => "is open",
            Self::Refused => "is refused",
            Self::Silence => "is met with silence",
            Self::Other(error) => error,
        })
    }
}

/// Tries connections, all at once.
pub async fn knock_all(knocks: &[Knock], within: Duration) -> Vec<Heard> {
    join_all(knocks.iter().map(|knock| async move {
        match timeout(within, open(knock)).await {
            Ok(Ok(_)) => Heard::Open,
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => Heard::Refused,
            Ok(Err(error)) => Heard::Other(error.to_string()),
            Err(_) => Heard::Silence,
        }
    }))
    .await
}

/// How long PING takes on an open connection, at most `within`.
pub async fn round_trip(knock: &Knock, within: Duration) -> Result<Duration, String> {
    let measured = timeout(within, async {
        let mut stream = open(knock).await?;
        let asked = Instant::now();
        stream.write_all(b"PING\r\n").await?;
        stream.read_exact(&mut [0; 1]).await?;
        Ok::<_, std::io::Error>(asked.elapsed())
    });
    match measured.await {
        Ok(Ok(took)) => Ok(took),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("PING is not answered within {within:?}")),
    }
}

/// Sends so many bytes over a link, to be echoed, as far as it takes them. Ends with the connection,
/// or is dropped when enough was seen.
pub async fn push(knock: Knock, bytes: u64) -> std::io::Result<()> {
    const CHUNK: usize = 16 * 1024;
    let (mut read, mut write) = open(&knock).await?.into_split();
    let reading = async {
        let mut buffer = vec![0; CHUNK];
        while read.read(&mut buffer).await? > 0 {}
        Ok(())
    };
    let writing = async {
        write.write_all(format!("*2\r\n$4\r\nECHO\r\n${bytes}\r\n").as_bytes()).await?;
        let filling = vec![b'.'; CHUNK];
        let mut left = bytes as usize;
        while left > 0 {
            let written = write.write(&filling[..left.min(CHUNK)]).await?;
            left -= written;
        }
        write.write_all(b"\r\n").await?;
        std::future::pending::<std::io::Result<()>>().await
    };
    tokio::select! {
        ended = reading => ended,
        failed = writing => failed,
    }
}

async fn open(knock: &Knock) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((knock.from, 0)))?;
    socket.connect(knock.to.into()).await
}

/// At most so many of a list, evenly chosen.
pub fn sample<T: Copy>(all: &[T], most: usize) -> Vec<T> {
    let step = all.len().div_ceil(most).max(1);
    all.iter().copied().step_by(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_even_and_not_too_large() {
        for (count, most, expected) in
            [(0, 3, vec![]), (3, 3, vec![0, 1, 2]), (7, 3, vec![0, 3, 6]), (6, 4, vec![0, 2, 4])]
        {
            assert_eq!(sample(&(0..count).collect::<Vec<_>>(), most), expected);
        }
    }

    #[tokio::test]
    async fn a_closed_port_refuses_and_an_open_one_is_open() {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let SocketAddr::V4(open) = listener.local_addr().unwrap() else { panic!("an address of version 4") };
        let closed = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let SocketAddr::V4(refused) = closed.local_addr().unwrap() else { panic!("an address of version 4") };
        drop(closed);
        let knocks = [open, refused].map(|to| Knock { from: Ipv4Addr::LOCALHOST, to, node: NodeNo(1) });
        assert_eq!(knock_all(&knocks, Duration::from_secs(5)).await, [Heard::Open, Heard::Refused]);
    }
}

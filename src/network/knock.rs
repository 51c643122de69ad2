//! Looking at a link from one of its ends: a connection from a node's or client's own address, which
//! the rules of a network fault take for that node's or client's.

use std::collections::BTreeMap;
use std::fmt::Write as _;
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
    /// The node that listens there.
    pub node: NodeNo,
}

impl std::fmt::Display for Knock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} -> {}", self.from, self.to)
    }
}

/// The result of a connection attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It was made. On one machine the kernel does that, whatever the server is doing.
    Open,
    /// It was refused: by a rule, or since nobody listens.
    Refused,
    /// Nothing came back in time.
    Silence,
    /// Any other error that the system reported.
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

/// Tries connections, all at once: those of one place together, by whoever can try them there.
pub(crate) async fn by_place<P: Ord, F: Future<Output = Vec<Heard>>>(
    knocks: &[Knock],
    place_of: impl Fn(Ipv4Addr) -> P,
    knock_from: impl Fn(P, Vec<Knock>) -> F,
) -> Vec<Heard> {
    let mut positions: BTreeMap<P, Vec<usize>> = BTreeMap::new();
    for (position, knock) in knocks.iter().enumerate() {
        positions.entry(place_of(knock.from)).or_default().push(position);
    }
    let tried = join_all(positions.into_iter().map(|(place, positions)| {
        let heard = knock_from(place, positions.iter().map(|&position| knocks[position]).collect());
        async move { positions.into_iter().zip(heard.await).collect::<Vec<_>>() }
    }))
    .await;
    let mut heard: Vec<(usize, Heard)> = tried.into_iter().flatten().collect();
    heard.sort_by_key(|(position, _)| *position);
    heard.into_iter().map(|(_, heard)| heard).collect()
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

/// A script for bash that tries connections from where it is run, all at once; [`read`] reads what it prints.
///
/// The connections are tried by forks of the shell, so that no program has to start within the time. What each came
/// to is in a file of its own in the working directory: that it was begun, and nothing more for one that is still being
/// tried when time is up.
pub fn script(to: &[SocketAddrV4], within: Duration) -> String {
    let mut script =
        "try() { exec 2>knock-$1; echo tried >&2; exec 3<>/dev/tcp/$2/$3 && echo open >&2; }\ntried=\n".to_owned();
    for (number, addr) in to.iter().enumerate() {
        writeln!(script, ": >knock-{number}; try {number} {} {} & tried=\"$tried $!\"", addr.ip(), addr.port())
            .expect("a string takes text");
    }
    let (within, last) = (within.as_secs_f64(), to.len().saturating_sub(1));
    write!(
        script,
        "(sleep {within}; kill $tried) 2>/dev/null & timer=$!\nwait $tried 2>/dev/null\nkill $timer 2>/dev/null\n\
         for ((number = 0; number <= {last}; number++)); do echo knock $number $(<knock-$number); done"
    )
    .expect("a string takes text");
    script
}

/// What connections came to, by what the [`script`] for so many of them printed. The error quotes what cannot be that.
pub fn read(printed: &str, count: usize) -> Result<Vec<Heard>, String> {
    let mut heard = vec![None; count];
    for line in printed.lines().filter_map(|line| line.strip_prefix("knock ")) {
        let (number, said) = line.split_once(' ').unwrap_or((line, ""));
        if let Some(slot) = number.parse().ok().and_then(|number: usize| heard.get_mut(number)) {
            *slot = Some(match said.strip_prefix("tried").map_or("was not tried in time", str::trim) {
                "" => Heard::Silence,
                "open" => Heard::Open,
                said if said.contains("Connection refused") => Heard::Refused,
                said => Heard::Other(said.to_owned()),
            });
        }
    }
    let all: Option<Vec<Heard>> = heard.into_iter().collect();
    all.ok_or_else(|| format!("connections tried said: {printed}"))
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

    #[tokio::test]
    async fn returns_results_in_the_order_of_requests() {
        let from = [3, 1, 3, 2, 1].map(|last| Ipv4Addr::new(10, 0, 0, last));
        let knock = |from| Knock { from, to: SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 9), 6379), node: NodeNo(9) };
        let knocks = from.map(knock);
        let heard = by_place(
            &knocks,
            |ip| ip,
            |ip, own| async move {
                own.iter().enumerate().map(|(index, _)| Heard::Other(format!("{ip} {index}"))).collect()
            },
        );
        let expected = ["10.0.0.3 0", "10.0.0.1 0", "10.0.0.3 1", "10.0.0.2 0", "10.0.0.1 1"];
        assert_eq!(heard.await, expected.map(|told| Heard::Other(told.to_owned())));
    }

    #[test]
    fn reads_results_by_connection_number() {
        let printed = "knock 2 tried\nknock 0 tried open\nknock 1 tried bash: connect: Connection refused\n\
                       knock 3 tried bash: No route\nknock 4\n";
        let other = |said: &str| Heard::Other(said.to_owned());
        let expected =
            [Heard::Open, Heard::Refused, Heard::Silence, other("bash: No route"), other("was not tried in time")];
        assert_eq!(read(printed, 5).unwrap(), expected);
        assert!(read(printed, 6).is_err(), "one is missing");
        assert!(read("sh: bash: not found\n", 1).unwrap_err().contains("not found"));
    }
}

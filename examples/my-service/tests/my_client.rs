//! A live cluster for a test of the service's own code.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use my_service::NODE_TIMEOUT_MS;
use slotquake::testing::{Error, Suite};

/// The first line of a server's answer; None if there is none. A real service has a client here.
fn ask(addr: SocketAddr, command: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&addr, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    write!(stream, "{command}\r\n").ok()?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok()?;
    Some(line.trim_end().to_owned())
}

/// Writes to whichever node takes it, for this long.
fn write_within(nodes: &[SocketAddr], within: Duration) -> bool {
    let began = Instant::now();
    while began.elapsed() < within {
        if nodes.iter().any(|&node| ask(node, "SET testkey 1").as_deref() == Some("+OK")) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

#[tokio::test]
async fn the_service_writes_again_after_a_failover() -> Result<(), Error> {
    let cluster = Suite::new("my-client").config("cluster-node-timeout", NODE_TIMEOUT_MS).up().await?;
    let nodes = cluster.addresses().to_vec();
    assert!(write_within(&nodes, Duration::from_secs(5)), "the cluster is up");
    // The master of the key, whichever it is.
    cluster.inject("kill: key:testkey/master").await?;
    assert!(write_within(&nodes, Duration::from_secs(30)), "its replica has taken over");
    Ok(())
}

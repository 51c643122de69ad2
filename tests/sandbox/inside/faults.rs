//! Each network fault on the real kernel, proven by what arrives and by its counters.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use super::Case;
use slotquake::network::netem::{Unavailable, detect};
use slotquake::network::rules::{Effect, Only, Rule};
use slotquake::network::shape::{Pairs, between};
use slotquake::network::{Imposed, Network, NetworkError};
use slotquake::sandbox::Inside;
use slotquake::units::Percent;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

pub const CASES: &[(&str, Case)] = &[
    ("a cut drops both ways and between the pair only", a_cut_drops_both_ways),
    ("a cut holds connections up and a heal lets them go on", a_cut_holds_connections_up),
    ("a one-way cut drops one direction", a_one_way_cut_drops_one_direction),
    ("a cut of the bus leaves the data port alone", a_bus_cut_leaves_the_data_port),
    ("clients and replication are cut apart", clients_and_replication_are_cut_apart),
    ("a refusal resets connections", a_refusal_resets_connections),
    ("a lossy link loses its share", a_lossy_link_loses_its_share),
    ("a narrow link lets its rate through", a_narrow_link_lets_its_rate_through),
    ("TCP gets along with a narrow link", tcp_gets_along_with_a_narrow_link),
    ("rules come and go independently", rules_come_and_go_independently),
    ("a guard knows its own rule", a_guard_knows_its_own_rule),
    ("a panic lifts a rule", a_panic_lifts_a_rule),
    ("netem is there or named as missing", netem_is_there_or_missing),
];

const A: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 2);
const C: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 3);
const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 1, 1, 1);
const DATA: u16 = 6379;
const BUS: u16 = 16379;

/// How long nothing must arrive before this counts as silence.
const SILENCE: Duration = Duration::from_millis(250);

/// Runs a future to its end on this one thread, within 30 s.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { timeout(Duration::from_secs(30), future).await.expect("within 30 s") })
}

fn impose(network: &Network, pairs: &Pairs<Ipv4Addr>, only: Only, effect: Effect) -> Imposed {
    let rule = Rule::new("fault", pairs, only, &BTreeSet::from([CLIENT]), effect).expect("a rule");
    network.impose(rule).expect("it is imposed")
}

fn cut(network: &Network, from: Ipv4Addr, to: Ipv4Addr, one_way: bool) -> Imposed {
    impose(network, &between(&[from], &[to], one_way), Only::All, Effect::Drop)
}

/// How many of `count` datagrams arrive. On `lo` a datagram arrives at once or never.
fn arriving(from: Ipv4Addr, to: Ipv4Addr, count: usize, size_bytes: usize) -> usize {
    let (sender, receiver) = (UdpSocket::bind((from, 0)).expect("bind"), UdpSocket::bind((to, 0)).expect("bind"));
    receiver.set_nonblocking(true).expect("nonblocking");
    let to = receiver.local_addr().expect("its address");
    let (message, mut buffer) = (vec![7; size_bytes], vec![0; size_bytes + 1]);
    let sends = (0..count).map(|_| sender.send_to(&message, to).expect("sending succeeds, whatever the network does"));
    sends.filter(|_| receiver.recv(&mut buffer).is_ok()).count()
}

async fn connect(from: Ipv4Addr, to: Ipv4Addr, port: u16) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddrV4::new(from, 0).into())?;
    match timeout(SILENCE, socket.connect(SocketAddrV4::new(to, port).into())).await {
        Ok(connected) => connected,
        Err(_) => Err(ErrorKind::TimedOut.into()),
    }
}

/// Whether each connection is established (true) or gets no answer.
async fn reachable<const N: usize>(connections: [(Ipv4Addr, Ipv4Addr, u16); N]) -> [bool; N] {
    let mut results = [false; N];
    for (result, (from, to, port)) in results.iter_mut().zip(connections) {
        *result = match connect(from, to, port).await {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::TimedOut => false,
            Err(error) => panic!("{from} -> {to}:{port}: {error}"),
        };
    }
    results
}

async fn listeners() -> Vec<TcpListener> {
    let mut listeners = Vec::new();
    for address in [A, B, C] {
        for port in [DATA, BUS] {
            listeners.push(TcpListener::bind((address, port)).await.expect("a listener"));
        }
    }
    listeners
}

async fn connection(from: Ipv4Addr, to: Ipv4Addr, port: u16) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((to, port)).await.expect("a listener");
    let near = connect(from, to, port).await.expect("a connection");
    (near, listener.accept().await.expect("accepted").0)
}

/// Whether a byte arrives at the other end within the time of silence.
async fn passes(from: &mut TcpStream, to: &mut TcpStream) -> bool {
    from.write_all(b"x").await.expect("writing succeeds");
    timeout(SILENCE, to.read_exact(&mut [0; 1])).await.is_ok_and(|read| read.is_ok())
}

pub fn a_cut_drops_both_ways(inside: &Inside) {
    let network = Network::open(inside).expect("a network");
    assert_eq!([arriving(A, B, 10, 20), arriving(B, A, 10, 20)], [10, 10], "before");
    let fault = cut(&network, A, B, false);
    assert_eq!([arriving(A, B, 10, 20), arriving(B, A, 10, 20)], [0, 0]);
    for (from, to) in [(A, C), (C, A), (B, C), (C, B), (A, A)] {
        assert_eq!(arriving(from, to, 10, 20), 10, "{from} -> {to}");
    }
    let counts = fault.counts().expect("counts");
    assert_eq!((counts.seen.packets, counts.hit.packets, counts.hit.bytes), (20, 20, 20 * (20 + 28)));
    block_on(async {
        let _listeners = listeners().await;
        let reached = reachable([(A, B, DATA), (B, A, DATA), (A, C, DATA), (C, B, BUS)]).await;
        assert_eq!(reached, [false, false, true, true]);
    });
    assert!(fault.lift().expect("it is lifted").hit.packets > 20);
    assert_eq!([arriving(A, B, 10, 20), arriving(B, A, 10, 20)], [10, 10], "after");
}

pub fn a_cut_holds_connections_up(inside: &Inside) {
    let network = Network::open(inside).expect("a network");
    block_on(async {
        let (mut near, mut far) = connection(A, B, DATA).await;
        assert!(passes(&mut near, &mut far).await, "before");
        let fault = cut(&network, A, B, false);
        assert!(!passes(&mut near, &mut far).await);
        assert!(fault.counts().expect("counts").hit.packets > 0);
        drop(fault);
        // The delayed byte arrives when TCP retransmits it.
        timeout(Duration::from_secs(10), far.read_exact(&mut [0; 1])).await.expect("in time").expect("the byte");
        assert!(passes(&mut near, &mut far).await, "after");
    });
}

pub fn a_one_way_cut_drops_one_direction(inside: &Inside) {
    let network = Network::open(inside).expect("a network");
    block_on(async {
        let (mut near, mut far) = connection(A, B, DATA).await;
        let fault = cut(&network, A, B, true);
        assert_eq!([arriving(A, B, 10, 20), arriving(B, A, 10, 20)], [0, 10]);
        let counts = fault.counts().expect("counts");
        assert_eq!((counts.seen.packets, counts.hit.packets), (10, 10));
        assert!(!passes(&mut near, &mut far).await, "what A sends is lost");
        assert!(passes(&mut far, &mut near).await, "what B sends arrives, though B never learns of it");
        let _listeners = listeners_on_bus().await;
        // Neither side can connect, because a connection needs packets in both directions.
        assert_eq!(reachable([(A, B, BUS), (B, A, BUS)]).await, [false, false]);
    });
}

async fn listeners_on_bus() -> [TcpListener; 2] {
    [TcpListener::bind((A, BUS)).await.expect("a listener"), TcpListener::bind((B, BUS)).await.expect("a listener")]
}

pub fn a_bus_cut_leaves_the_data_port(inside: &Inside) {
    let network = Network::open(inside).expect("a network");
    block_on(async {
        let _listeners = listeners().await;
        let connections = [(A, B, BUS), (B, A, BUS), (A, B, DATA), (B, A, DATA), (A, C, BUS)];
        assert_eq!(reachable(connections).await, [true; 5], "before");
        let fault = impose(&network, &between(&[A], &[B], false), Only::Bus, Effect::Drop);
        assert_eq!(reachable(connections).await, [false, false, true, true, true]);
        assert_eq!(arriving(A, B, 10, 20), 10);
        let counts = fault.lift().expect("it is lifted");
        assert!(counts.hit.packets >= 2 && counts.hit == counts.seen, "{counts:?}");
        // A one-way cut affects both bus links: A's requests get no answer, and A cannot answer B.
        let fault = impose(&network, &between(&[A], &[B], true), Only::Bus, Effect::Drop);
        assert_eq!(reachable(connections).await, [false, false, true, true, true]);
        drop(fault);
        assert_eq!(reachable(connections).await, [true; 5], "after");
    });
}

pub fn clients_and_replication_are_cut_apart(inside: &Inside) {
    let network = Network::open(inside).expect("a network");
    let pairs = between(&[A, CLIENT], &[B], false);
    block_on(async {
        let _listeners = listeners().await;
        let connections = [(CLIENT, B, DATA), (A, B, DATA), (B, A, DATA), (A, B, BUS), (CLIENT, C, DATA)];
        for (only, expected) in [
            (Only::Clients, [false, true, true, true, true]),
            (Only::Replication, [true, false, false, true, true]),
            (Only::Bus, [true, true, true, false, true]),
            (Only::All, [false, false, false, false, true]),
        ] {
            let fault = impose(&network, &pairs, only, Effect::Drop);
            assert_eq!(reachable(connections).await, expected, "{only:?}");
            drop(fault);
            assert_eq!(reachable(connections).await, [true; 5], "after {only:?}");
        }
    });
}

pub fn a_refusal_resets_connections(inside: &Inside) {
    let network = Network::open(inside).expect("a network");
    block_on(async {
        let (mut near, _far) = connection(A, B, DATA).await;
        let _listeners = listeners_on_bus().await;
        let fault = impose(&network, &between(&[A], &[B], false), Only::All, Effect::Refuse);
        near.write_all(b"x").await.expect("writing succeeds");
        let error = timeout(SILENCE, near.read(&mut [0; 1])).await.expect("at once").expect_err("a reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        for (from, to) in [(A, B), (B, A)] {
            let error = connect(from, to, BUS).await.expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{from} -> {to}");
        }
        let counts = fault.lift().expect("it is lifted");
        assert_eq!(counts.hit.packets, 3, "one byte and two SYN: {counts:?}");
        assert_eq!(reachable([(A, B, BUS), (B, A, BUS)]).await, [true, true], "after");
    });
}

pub fn a_lossy_link_loses_its_share(inside: &Inside) {
    let network = Network::open(inside).expect("a network");
    let pairs = between(&[A], &[B], false);
    for (percent, at_least, at_most) in [(1.0, 20, 500), (30.0, 2600, 3400), (100.0, 10_000, 10_000)] {
        let fault = impose(&network, &pairs, Only::All, Effect::Lossy(Percent::new(percent)));
        let lost = 10_000 - arriving(A, B, 10_000, 20) as u64;
        let counts = fault.lift().expect("it is lifted");
        assert_eq!((counts.seen.packets, counts.hit.packets), (10_000, lost));
        assert!((at_least..=at_most).contains(&lost), "{percent}%: {lost} of 10000 lost");
    }
}

pub fn a_narrow_link_lets_its_rate_through(inside: &Inside) {
    let network = Network::open(inside).expect("a network");
    let effect = Effect::Narrow { bytes_per_second: 100_000 };
    let fault = impose(&network, &between(&[A], &[B], true), Only::All, effect);
    let start = Instant::now();
    // Send more than the bucket holds (one second and a burst), and continue for a while.
    let mut arrived = arriving(A, B, 400, 972);
    while start.elapsed() < Duration::from_secs(1) {
        arrived += arriving(A, B, 20, 972);
        std::thread::sleep(Duration::from_millis(5));
    }
    let expected_bytes = 165_536.0 + 100_000.0 * start.elapsed().as_secs_f64();
    let arrived_bytes = arrived as f64 * 1000.0;
    assert!((0.9..1.1).contains(&(arrived_bytes / expected_bytes)), "{arrived_bytes} of {expected_bytes}");
    let counts = fault.lift().expect("it is lifted");
    assert_eq!(counts.seen.bytes - counts.hit.bytes, arrived as u64 * 1000);
    assert!(counts.hit.packets > 200, "{counts:?}");
}

pub fn tcp_gets_along_with_a_narrow_link(inside: &Inside) {
    let network = Network::open(inside).expect("a network");
    let rate = 500_000;
    block_on(async {
        let (mut near, mut far) = connection(A, B, DATA).await;
        let fault = impose(&network, &between(&[A], &[B], true), Only::All, Effect::Narrow { bytes_per_second: rate });
        let message = vec![0; 65_536];
        let sender = tokio::spawn(async move { while near.write_all(&message).await.is_ok() {} });
        let (mut arrived_bytes, start, mut buffer) = (0, Instant::now(), vec![0; 65_536]);
        let whole = Duration::from_secs(4);
        while let Some(left) = whole.checked_sub(start.elapsed()) {
            match timeout(left, far.read(&mut buffer)).await {
                Ok(read) => arrived_bytes += read.expect("the connection lives"),
                Err(_) => break,
            }
        }
        sender.abort();
        let counts = fault.lift().expect("it is lifted");
        let ratio = arrived_bytes as f64 / (rate as f64 * whole.as_secs_f64());
        // The bucket adds one second and a burst.
        assert!((0.25..1.5).contains(&ratio), "{ratio} of the rate: {counts:?}");
        assert!(counts.hit.packets > 0, "{counts:?}");
    });
}

pub fn rules_come_and_go_independently(inside: &Inside) {
    let network = Network::open(inside).expect("a network");
    let rule = |name: &str, to| Rule::new(name, &between(&[A], &[to], true), Only::All, &BTreeSet::new(), Effect::Drop);
    let first = network.impose(rule("first", B).expect("a rule")).expect("imposed");
    assert_eq!(arriving(A, B, 5, 20), 0);
    let second = network.impose(rule("second", C).expect("a rule")).expect("imposed");
    assert_eq!([arriving(A, B, 5, 20), arriving(A, C, 3, 20)], [0, 0]);
    let duplicate = network.impose(rule("first", C).expect("a rule")).expect_err("the name is taken");
    assert!(matches!(duplicate, NetworkError::Duplicate(_)));
    assert_eq!(network.in_force().len(), 2);
    assert_eq!(second.lift().expect("lifted").hit.packets, 3);
    assert_eq!([arriving(A, B, 5, 20), arriving(A, C, 3, 20)], [0, 3]);
    assert_eq!(first.lift().expect("lifted").hit.packets, 15, "the counter outlives the other rule's coming and going");
    assert_eq!(arriving(A, B, 5, 20), 5);
}

pub fn a_guard_knows_its_own_rule(inside: &Inside) {
    let network = Network::open(inside).expect("a network");
    let old = cut(&network, A, B, false);
    network.heal_all().expect("healed");
    assert_eq!(arriving(A, B, 5, 20), 5);
    let new = cut(&network, A, B, false);
    assert!(matches!(old.counts(), Err(NetworkError::Gone(_))));
    drop(old);
    assert_eq!(arriving(A, B, 5, 20), 0, "the new rule stays");
    drop(new);
    assert_eq!(arriving(A, B, 5, 20), 5);
}

pub fn a_panic_lifts_a_rule(inside: &Inside) {
    let network = Network::open(inside).expect("a network");
    let unwound = std::thread::scope(|scope| {
        let run = || {
            let _fault = cut(&network, A, B, false);
            assert_eq!(arriving(A, B, 5, 20), 5, "a panic on purpose");
        };
        scope.spawn(run).join()
    });
    assert!(unwound.is_err());
    assert!(network.in_force().is_empty());
    assert_eq!(arriving(A, B, 5, 20), 5);
}

pub fn netem_is_there_or_missing(inside: &Inside) {
    match detect(inside) {
        Ok(()) => println!("netem works"),
        Err(Unavailable::Kernel(reason)) => assert!(!reason.is_empty()),
        Err(Unavailable::NoTc) => {}
    }
    assert_eq!(arriving(A, B, 10, 20), 10, "nothing is left of the trial");
}

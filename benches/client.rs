//! How fast the recording client is beside a bare connection (the floor: one socket, no slot table,
//! nothing recorded) and the cluster client of the redis crate (the peer), in one run on one cluster:
//! SETs at two concurrencies, rounds interleaved, medians shown with the ratio to the floor.

mod served;

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::cluster::ClusterClient;
use slotquake::cluster::local::Local;
use slotquake::cluster::{Backend, Control};
use slotquake::slot::key_slot;
use slotquake::suite;
use slotquake::units::NodeNo;
use slotquake::wire::{Caller, Link, command};
use slotquake::workload::Client;

use served::Served;

const SETS: usize = 20_000;
const ROUNDS: usize = 5;
/// All keys have this slot, so that one node does the work in each of the three.
const TAG: &str = "{bench}";

fn main() {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(run());
}

async fn run() {
    let (cluster, formed) = Served::form(&served::plan("")).await;
    let slot = key_slot(TAG.as_bytes());
    let owner = formed.owner(slot).expect("an owner");

    println!(
        "{SETS} SETs, median of {ROUNDS} rounds, {} cores",
        std::thread::available_parallelism().map_or(0, usize::from)
    );
    println!("{:>11}  {:<22} {:>9}  of the floor", "concurrency", "client", "op/s");
    for concurrency in [1, 16] {
        let mut rates: [Vec<f64>; 3] = Default::default();
        for _ in 0..ROUNDS {
            for (rates, contender) in rates.iter_mut().zip([Contender::Bare, Contender::Recording, Contender::Peer]) {
                rates.push(contender.rate(&cluster.control, owner, slot, concurrency).await);
            }
        }
        let medians = rates.map(median);
        for (name, rate) in ["bare connection", "slotquake", "redis ClusterClient"].iter().zip(medians) {
            println!("{concurrency:>11}  {name:<22} {rate:>9.0}  {:.2}", rate / medians[0]);
        }
    }
    cluster.tear_down().await;
}

#[derive(Clone, Copy)]
enum Contender {
    Bare,
    Recording,
    Peer,
}

impl Contender {
    async fn rate(self, control: &Control<Local>, owner: NodeNo, slot: u16, concurrency: usize) -> f64 {
        let set =
            |number: usize| command(&["SET", &format!("{TAG}{}", number % 100), "0123456789abcdef0123456789abcdef"]);
        let within = Duration::from_secs(5);
        match self {
            Self::Bare => {
                let link = Link::connect(control.backend().addr(owner), &Caller::default(), within)
                    .await
                    .expect("a connection");
                measure(concurrency, |number| {
                    let mut link = link.clone();
                    async move {
                        let until = tokio::time::Instant::now() + within;
                        link.send(&set(number), until).await.expect("an answer");
                    }
                })
                .await
            }
            Self::Recording => {
                let client = Arc::new(Client::new(
                    Arc::clone(control.roster()),
                    Caller::default(),
                    suite::WorkloadSpec::default(),
                ));
                assert!(client.refresh().await, "a slot table");
                measure(concurrency, |number| {
                    let client = Arc::clone(&client);
                    async move {
                        client.write(slot, &vec![set(number)]).await.result.expect("an answer");
                    }
                })
                .await
            }
            Self::Peer => {
                let url = format!("redis://{}", control.backend().addr(owner));
                let client = ClusterClient::new(vec![url]).expect("a client");
                let connection = client.get_async_connection().await.expect("a connection");
                measure(concurrency, |number| {
                    let mut connection = connection.clone();
                    async move {
                        let _: redis::Value = set(number).query_async(&mut connection).await.expect("an answer");
                    }
                })
                .await
            }
        }
    }
}

/// Operations per second with so many under way at once.
async fn measure<F: Future<Output = ()> + Send + 'static>(
    concurrency: usize,
    operation: impl Fn(usize) -> F + Send + Sync,
) -> f64 {
    let began = Instant::now();
    let mut under_way = tokio::task::JoinSet::new();
    for number in 0..SETS {
        if under_way.len() == concurrency {
            under_way.join_next().await.expect("one is under way").expect("no operation panics");
        }
        under_way.spawn(operation(number));
    }
    while under_way.join_next().await.is_some() {}
    SETS as f64 / began.elapsed().as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

//! Steps and invariants with settings, which are types or the text of a suite file.

use std::fmt::Display;

use super::Suite;
use crate::fault::{Clock, Disk};
use crate::suite::{
    Atomic, Convergence, Corrupt, Delivery, Epochs, ExactlyOnce, Expect, Expiry, Invariant, Latency, Linearizable,
    Lossy, MonotonicReads, MonotonicWrites, Narrow, NotPromoted, Order, RandomFaults, ReadYourWrites, Redirects,
    Refuse, ReplicaReadOnly, Replicas, Slow, SplitBrain, StaleReads, Start, Step, When, Woken, WriteCutoff,
};
use crate::target::Targets;

macro_rules! steps {
    ($($(#[$doc:meta])+ $method:ident: $kind:ident($settings:ty),)+) => {
        /// Steps with settings, as a type or as text: `.lossy("{ between: [masters, replicas], percent: 20% }")`.
        impl Suite {
            $($(#[$doc])+
            pub fn $method(self, settings: impl TryInto<$settings, Error: Display>) -> Self {
                self.then(stringify!($method), settings, Step::$kind)
            })+
        }
    };
}

steps! {
    /// Ends servers and loses what they had not synchronised to disk.
    power_loss: PowerLoss(Targets),
    /// Starts servers changed: `{ node: node-1, data: lost }`. [`Self::start`] starts them as they were.
    start_changed: Start(Start),
    /// Damages a file of a server that is down.
    corrupt: Corrupt(Corrupt),
    /// Drops a share of the packets between two sides.
    lossy: Lossy(Lossy),
    /// Limits the bandwidth between two sides.
    narrow: Narrow(Narrow),
    /// Refuses connections between two sides.
    refuse: Refuse(Refuse),
    /// Delays packets between two sides.
    slow: Slow(Slow),
    /// Makes a clock of a node's host wrong.
    clock: Clock(Clock),
    /// Makes the disk of a node's host faulty.
    disk: Disk(Disk),
    /// Sends one command and compares the answer, or runs a program until it does what is expected:
    /// `{ send: GET key1, to: node-4, is: data1 }`, `{ exec: ./is-ready, within: 10s }`.
    expect: Expect(Expect),
    /// Waits until a node's log tells of a phase of a failover.
    when: When(When),
    /// Injects faults that the seed draws.
    random: Random(RandomFaults),
}

macro_rules! invariants {
    ($($(#[$doc:meta])+ $method:ident($settings:ty),)+) => {
        /// Invariants with settings, as a type or as text: `.split_brain("{ may-last: 0s }")`. Where all settings have defaults,
        /// `"{}"`.
        impl Suite {
            $($(#[$doc])+
            pub fn $method(self, settings: impl TryInto<$settings, Error: Display>) -> Self {
                self.must(stringify!($method), settings, Invariant::from)
            })+
        }
    };
}

invariants! {
    /// How many replicas a shard has.
    replicas(Replicas),
    /// Every acknowledged write of a counter, a list, a set or a stream took effect, and no write did so twice.
    exactly_once(ExactlyOnce),
    /// A list or a stream shows its elements in the order in which they were appended.
    order(Order),
    /// A transaction on two keys takes effect on both or on none.
    atomic(Atomic),
    /// A key with a time to live is there until it ends, and gone soon after.
    expiry(Expiry),
    /// Every subscriber gets every acknowledged message of a channel, and only once.
    delivery(Delivery),
    /// A client that waits for an element is woken soon after one is there.
    woken(Woken),
    /// Each key behaves as if every operation took effect at one moment.
    linearizable(Linearizable),
    /// How old the values are that masters and replicas return.
    stale_reads(StaleReads),
    /// Once a client has read a value, it reads none that is older.
    monotonic_reads(MonotonicReads),
    /// Once a client's write is acknowledged, the client reads no value that is older.
    read_your_writes(ReadYourWrites),
    /// A node that has returned a client's write returns no older write of that client.
    monotonic_writes(MonotonicWrites),
    /// How long reads or writes of a shard took.
    latency(Latency),
    /// No replica of a shard is promoted.
    not_promoted(NotPromoted),
    /// A MOVED reply names the node that owns the slot.
    redirects(Redirects),
    /// A write that is sent to a replica is refused.
    replica_read_only(ReplicaReadOnly),
    /// Whether two nodes acknowledged writes of one shard in overlapping times.
    split_brain(SplitBrain),
    /// A master that is cut off from the majority stops acknowledging writes.
    write_cutoff(WriteCutoff),
    /// configEpoch is unique among masters with slots, and no node's epoch ever falls.
    epochs(Epochs),
    /// How long after the last network fault was healed all nodes share one view.
    convergence(Convergence),
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;
    use crate::suite::{self, IfImpossible, OpKind};

    /// One call for each method that writes a step or an invariant, in any order.
    fn with_every_method() -> Suite {
        Suite::new("every-method")
            .phase("a")
            .settle("1s")
            .stop("node-1")
            .kill("node-1")
            .power_loss("node-1")
            .start("node-1")
            .start_changed("{ node: node-1, data: lost }")
            .corrupt("{ node: node-1, file: rdb, flip: 1 }")
            .pause("node-1")
            .resume("node-1")
            .partition("node-1", "others")
            .lossy("{ between: [masters, replicas], percent: 20% }")
            .narrow("{ between: [masters, replicas], rate: 10kB/s }")
            .refuse("{ between: [masters, replicas] }")
            .slow("{ between: [masters, replicas], latency: 50ms }")
            .clock("{ node: node-1, jump: 1h }")
            .disk("{ node: node-1, full: true }")
            .heal("all")
            .command("PING", "node-1")
            .await_promoted("shard-1")
            .await_failed("node-1")
            .await_in_sync("node-1")
            .await_cluster_ok("node-1")
            .await_cluster_fail("node-1")
            .await_role("node-1", "master")
            .await_converged()
            .expect("{ send: PING, to: node-1, is: PONG }")
            .exec("./smoke-test --fast")
            .within("10s")
            .when("{ event: fail, of: node-1 }")
            .random("{ faults: [kill], every: 2s..10s, lasts: 1s..2s, for: 60s }")
            .slot_coverage()
            .agreement("spec")
            .role("node-1", "master")
            .replicas("{ shard: shard-1, exactly: 1 }")
            .replica_lag(0)
            .acked_writes(0)
            .exactly_once("{}")
            .order("{}")
            .atomic("{}")
            .expiry("{}")
            .delivery("{}")
            .woken("{ within: 1s }")
            .linearizable("{}")
            .stale_reads("{ max-age: 1s }")
            .monotonic_reads("{}")
            .read_your_writes("{}")
            .monotonic_writes("{}")
            .availability(OpKind::Writes, "shard-1", "1s")
            .latency("{ of: writes, p99: 10ms }")
            .failover_time("shard-1", "spec")
            .promotions("shard-1", 1)
            .not_promoted("{ shard: shard-2 }")
            .redirects("{}")
            .replica_read_only("{}")
            .split_brain("{ may-last: 0s }")
            .write_cutoff("{ shard: shard-1, within: spec }")
            .epochs("{}")
            .convergence("{ within: spec }")
    }

    /// The names that the schema of a suite file has for the variants of a type.
    fn named_in_schema(of: &str) -> Vec<String> {
        let schema = suite::schema();
        let variants = schema["$defs"][of]["oneOf"].as_array().expect("one of several").clone();
        variants.iter().map(|variant| variant["required"][0].as_str().expect("a name").to_owned()).collect()
    }

    fn keys(of: &str) -> Vec<String> {
        let schema = suite::schema();
        let properties = if of.is_empty() { &schema["properties"] } else { &schema["$defs"][of]["properties"] };
        properties.as_object().expect("a mapping").keys().cloned().collect()
    }

    #[test]
    fn there_is_a_method_for_every_step_and_invariant_of_a_suite_file() {
        let suite = with_every_method();
        assert_eq!(suite.problems, [""; 0]);
        let written = serde_json::to_value(suite.as_written()).expect("JSON");
        let kind = |item: &Value| item.as_object().and_then(|item| item.keys().next()).expect("one key").clone();
        for (of, list) in [("Step", "steps"), ("Invariant", "invariants")] {
            let items = written[list].as_array().expect("a list");
            let wrote: Vec<String> = items.iter().map(kind).collect();
            let missing: Vec<String> = named_in_schema(of).into_iter().filter(|name| !wrote.contains(name)).collect();
            assert_eq!(missing, [""; 0], "a suite file has these, and no method of the builder writes them");
        }
        // Each condition of `await` has a method, too.
        let waits: Vec<&Value> =
            written["steps"].as_array().expect("a list").iter().map(|step| &step["await"]).collect();
        let has = |key: &String| waits.iter().any(|wait| !wait[key].is_null());
        let missing: Vec<String> = keys("Await").into_iter().filter(|key| !has(key)).collect();
        assert_eq!(missing, [""; 0]);
    }

    #[test]
    fn there_is_a_method_for_every_key_of_a_suite_and_its_cluster() {
        let plain = serde_json::to_value(Suite::new("a").as_written()).expect("JSON");
        let suite = Suite::new("b")
            .about("Other values.")
            .server("valkey:9.1")
            .upgrade_to("valkey:9.1")
            .masters(5)
            .replicas_per_master(2)
            .config("appendonly", "no")
            .rate("7/s")
            .speed(2)
            .recover_within("7s")
            .max_duration("7s")
            .if_impossible(IfImpossible::Skip)
            .phase("a")
            .slot_coverage();
        let written = serde_json::to_value(suite.as_written()).expect("JSON");
        let changed = |before: &Value, after: &Value, keys: Vec<String>| -> BTreeMap<String, bool> {
            keys.into_iter().map(|key| (key.clone(), before[&key] != after[&key])).collect()
        };
        let mut all = changed(&plain, &written, keys(""));
        all.extend(changed(&plain["cluster"], &written["cluster"], keys("ClusterSpec")));
        let unchanged: Vec<&String> = all.iter().filter(|(_, is_changed)| !**is_changed).map(|(key, _)| key).collect();
        assert_eq!(unchanged, [""; 0], "no method of the builder sets these keys");
    }
}

//! Writes a suite in Rust, with a method for each key of a suite file.

use std::fmt::Display;

use super::Suite;
use crate::suite::{
    self, AckedWrites, Agreement, Allowed, Availability, Await, ClientSet, Command, CommandLine, Errors, Exec,
    FailoverTime, Invariant, Moment, OpKind, Partition, Promotions, ReplicaLag, ReplicasPerMaster, RoleIs, RoleOf,
    ShardSet, SlotCoverage, Step,
};
use crate::target::{Target, Targets};
use crate::units::{Bound, Directive, Rate, ShardNo, Span};

/// The cluster and the workload.
impl Suite {
    /// The steps and the expected behaviour, in a sentence or two.
    pub fn about(mut self, text: &str) -> Self {
        text.clone_into(&mut self.written().about);
        self
    }

    /// The server: `redis:6.2`, `valkey:9.1`, or the path of a binary.
    pub fn server(mut self, server: &str) -> Self {
        server.clone_into(&mut self.written().cluster.server);
        self
    }

    /// The number of masters at boot, 3 or more.
    pub fn masters(mut self, masters: u16) -> Self {
        self.written().cluster.masters = masters;
        self
    }

    /// The number of replicas of each master at boot: one for all (`1`), or one number a master (`[2, 1, 0]`).
    pub fn replicas_per_master(mut self, replicas: impl Into<ReplicasPerMaster>) -> Self {
        self.written().cluster.replicas_per_master = replicas.into();
        self
    }

    /// A directive of the servers. Its value is written to their configuration file unchanged.
    pub fn config(mut self, directive: &str, value: impl Display) -> Self {
        self.written().cluster.config.insert(directive.to_owned(), Directive(value.to_string()));
        self
    }

    /// All settings of the workload. Start from [`WorkloadSpec::default`](suite::WorkloadSpec).
    pub fn workload(mut self, workload: suite::WorkloadSpec) -> Self {
        self.written().workload = workload;
        self
    }

    /// The operations per second of all clients together: `1000/s`.
    pub fn rate(mut self, rate: impl TryInto<Rate, Error: Display>) -> Self {
        if let Some(rate) = self.read("rate", rate) {
            self.written().workload.rate = rate;
        }
        self
    }

    /// How many times as fast as real time the suite runs in [`cargo_test`](crate::cargo_test), from 1 to 100, or `"auto"`.
    pub fn speed(mut self, speed: impl Display) -> Self {
        let speed = speed.to_string();
        if let Some(speed) = self.read::<suite::SpeedSetting>("speed", speed.as_str()) {
            self.written().speed = Some(speed);
        }
        self
    }

    /// The server that steps mean by `server: cluster.upgrade-to`.
    pub fn upgrade_to(mut self, server: &str) -> Self {
        self.written().cluster.upgrade_to = Some(server.to_owned());
        self
    }

    /// The longest time for all steps together.
    pub fn max_duration(mut self, span: impl TryInto<Span, Error: Display>) -> Self {
        if let Some(span) = self.read("max_duration", span) {
            self.written().max_duration = span;
        }
        self
    }

    /// What becomes of a step that is impossible when its turn comes.
    pub fn if_impossible(mut self, what: suite::IfImpossible) -> Self {
        self.written().if_impossible = what;
        self
    }

    /// The longest time from undoing every fault to a healthy cluster.
    pub fn recover_within(mut self, span: impl TryInto<Span, Error: Display>) -> Self {
        if let Some(span) = self.read("recover_within", span) {
            self.written().recover_within = span;
        }
        self
    }
}

/// Steps, in the order of the calls.
impl Suite {
    /// Any step, as a type or as text of a suite file: `"lossy: { between: [masters, replicas], percent: 20% }"`.
    pub fn step(self, step: impl TryInto<Step, Error: Display>) -> Self {
        self.then("step", step, |step| step)
    }

    /// Begins a phase of that name.
    pub fn phase(self, name: &str) -> Self {
        self.step(Step::Phase(name.to_owned()))
    }

    /// Lets the workload continue for this long: `"2s"`, or a [`Duration`](std::time::Duration).
    pub fn settle(self, span: impl TryInto<Span, Error: Display>) -> Self {
        self.then("settle", span, Step::Settle)
    }

    /// Stops servers with SIGTERM: `"shard-1/master"`, `["node-1", "node-4"]`, or a type.
    pub fn stop(self, targets: impl TryInto<Targets, Error: Display>) -> Self {
        self.then("stop", targets, Step::Stop)
    }

    /// Kills servers with SIGKILL.
    pub fn kill(self, targets: impl TryInto<Targets, Error: Display>) -> Self {
        self.then("kill", targets, Step::Kill)
    }

    /// Starts servers that were stopped or killed.
    pub fn start(self, targets: impl TryInto<Targets, Error: Display>) -> Self {
        self.then("start", targets, |targets: Targets| Step::Start(targets.into()))
    }

    /// Pauses servers with SIGSTOP.
    pub fn pause(self, targets: impl TryInto<Targets, Error: Display>) -> Self {
        self.then("pause", targets, Step::Pause)
    }

    /// Resumes paused servers with SIGCONT.
    pub fn resume(self, targets: impl TryInto<Targets, Error: Display>) -> Self {
        self.then("resume", targets, Step::Resume)
    }

    /// Cuts the network between two sides, in both directions and for all traffic. Use [`Self::step`] for other partitions.
    pub fn partition(
        mut self,
        one: impl TryInto<Targets, Error: Display>,
        other: impl TryInto<Targets, Error: Display>,
    ) -> Self {
        let sides = self.read("partition", one).into_iter().chain(self.read("partition", other)).collect();
        self.step(Step::Partition(Partition {
            between: Some(sides),
            shape: None,
            one_way: false,
            only: suite::Only::All,
            name: None,
        }))
    }

    /// Heals network faults: `all`, or one by its name.
    pub fn heal(self, name: &str) -> Self {
        self.step(Step::Heal(name.to_owned()))
    }

    /// Sends a command to each of the targets. An error reply is an error of the suite.
    pub fn command(mut self, line: &str, to: impl TryInto<Targets, Error: Display>) -> Self {
        match CommandLine::split(line) {
            Ok(send) => self.then("command", to, |to| Step::Command(Command { send, to, errors: Errors::Reject })),
            Err(problem) => {
                self.problem("command", &problem);
                self
            }
        }
    }

    /// Waits until another node is master of the shard. The limit is what the server's rules allow, unless
    /// [`Self::within`] sets another.
    pub fn await_promoted(self, shard: impl TryInto<ShardNo, Error: Display>) -> Self {
        self.then("await_promoted", shard, |shard| Step::Await(Await { promoted: Some(shard), ..unbounded() }))
    }

    /// Waits until a majority of masters has marked the nodes as failed.
    pub fn await_failed(self, nodes: impl TryInto<Targets, Error: Display>) -> Self {
        self.then("await_failed", nodes, |nodes| Step::Await(Await { failed: Some(nodes), ..unbounded() }))
    }

    /// Waits until replicas, or all replicas of a master, lag by 0 bytes.
    pub fn await_in_sync(self, nodes: impl TryInto<Targets, Error: Display>) -> Self {
        self.then("await_in_sync", nodes, |nodes| Step::Await(Await { in_sync: Some(nodes), ..unbounded() }))
    }

    /// Waits until nodes report `cluster_state:ok`.
    pub fn await_cluster_ok(self, nodes: impl TryInto<Targets, Error: Display>) -> Self {
        self.then("await_cluster_ok", nodes, |nodes| Step::Await(Await { cluster_ok: Some(nodes), ..unbounded() }))
    }

    /// Waits until a node has this role: `"master"`, `"replica-of node-4"`.
    pub fn await_role(
        mut self,
        node: impl TryInto<Target, Error: Display>,
        is: impl TryInto<RoleIs, Error: Display>,
    ) -> Self {
        let is = self.read("await_role", is);
        self.then("await_role", node, |node| Step::Await(Await { role: Some(node), is, ..unbounded() }))
    }

    /// Waits until all running nodes agree about the cluster.
    pub fn await_converged(self) -> Self {
        self.step("await: { converged: all, within: spec }")
    }

    /// Waits until nodes report `cluster_state:fail`.
    pub fn await_cluster_fail(self, nodes: impl TryInto<Targets, Error: Display>) -> Self {
        self.then("await_cluster_fail", nodes, |nodes| Step::Await(Await { cluster_fail: Some(nodes), ..unbounded() }))
    }

    /// Runs a program of yours with its arguments, such as `./smoke-test --fast`. It must exit with status 0 in 30 s, unless
    /// [`Self::within`] sets another limit.
    pub fn exec(mut self, line: &str) -> Self {
        match CommandLine::split(line) {
            Ok(run) => self.step(Step::Exec(Exec { run, within: Exec::WITHIN, errors: Errors::Reject })),
            Err(problem) => {
                self.problem("exec", &problem);
                self
            }
        }
    }

    /// Sets the time limit of the previous wait or program: `"15s"`, a [`Duration`](std::time::Duration), or `spec` for a wait.
    pub fn within(mut self, bound: impl TryInto<Bound, Error: Display>) -> Self {
        let Some(bound) = self.read("within", bound) else { return self };
        match self.written().steps.last_mut() {
            Some(Step::Await(wait)) => wait.within = bound,
            Some(Step::Exec(exec)) => match bound {
                Bound::Fixed(span) => exec.within = span,
                Bound::Spec => self.problem("within", "no rule of the servers limits a program (hint: `10s`)"),
            },
            _ => self.problem("within", "the step before it is no wait (hint: it follows `await_...` or `exec`)"),
        }
        self
    }
}

/// Invariants.
impl Suite {
    /// Any invariant, as its settings, such as [`SplitBrain`](suite::SplitBrain), or as text of a suite file:
    /// `"split-brain: { may-last: 0s }"`. The methods below are short forms of common ones.
    pub fn invariant(self, invariant: impl TryInto<Invariant, Error: Display>) -> Self {
        self.must("invariant", invariant, |invariant| invariant)
    }

    /// At the end, every slot is assigned and ok.
    pub fn slot_coverage(self) -> Self {
        self.invariant(SlotCoverage { at: Moment::End })
    }

    /// All nodes share one view within this time after the last fault was undone.
    pub fn agreement(self, within: impl TryInto<Bound, Error: Display>) -> Self {
        self.must("agreement", within, |within| Agreement { within })
    }

    /// At the end, a node has this role.
    pub fn role(
        mut self,
        node: impl TryInto<Target, Error: Display>,
        is: impl TryInto<RoleIs, Error: Display>,
    ) -> Self {
        let Some(is) = self.read("role", is) else { return self };
        self.must("role", node, |node| RoleOf { node, is, at: Moment::End })
    }

    /// At the end, no replica lags by more than this many bytes.
    pub fn replica_lag(self, max_bytes: u64) -> Self {
        self.invariant(ReplicaLag { at: Moment::End, max_bytes, shard: None, rises_above: None, back_within: None })
    }

    /// At most this many acknowledged writes are lost.
    pub fn acked_writes(self, may_lose: u64) -> Self {
        self.invariant(AckedWrites { may_lose: Allowed::AtMost(may_lose) })
    }

    /// Each failover of the shards reaches each of its milestones in time. `spec` is the limit of the server's rules.
    pub fn failover_time(
        mut self,
        shard: impl TryInto<ShardSet, Error: Display>,
        within: impl TryInto<Bound, Error: Display>,
    ) -> Self {
        let Some(shard) = self.read("failover_time", shard) else { return self };
        self.must("failover_time", within, |within| FailoverTime { shard, to: None, within })
    }

    /// The slots of the shards change their owner exactly this many times.
    pub fn promotions(self, shard: impl TryInto<ShardSet, Error: Display>, exactly: u32) -> Self {
        self.must("promotions", shard, |shard| Promotions { shard, exactly })
    }

    /// No outage of reads or writes of the shards is longer; `"0s"`: there is none.
    pub fn availability(
        mut self,
        of: OpKind,
        shard: impl TryInto<ShardSet, Error: Display>,
        max_outage: impl TryInto<Bound, Error: Display>,
    ) -> Self {
        let Some(shard) = self.read("availability", shard) else { return self };
        self.must("availability", max_outage, |bound| Availability {
            of,
            shard,
            clients: ClientSet::All,
            during: None,
            max_outage: Some(bound),
            patience: None,
            min_served: None,
            served: None,
        })
    }
}

impl Suite {
    pub(super) fn then<T>(
        mut self,
        method: &str,
        value: impl TryInto<T, Error: Display>,
        step: impl FnOnce(T) -> Step,
    ) -> Self {
        if let Some(value) = self.read(method, value) {
            self.written().steps.push(step(value));
        }
        self
    }

    pub(super) fn must<T, I: Into<Invariant>>(
        mut self,
        method: &str,
        value: impl TryInto<T, Error: Display>,
        settings: impl FnOnce(T) -> I,
    ) -> Self {
        if let Some(value) = self.read(method, value) {
            self.written().invariants.push(settings(value).into());
        }
        self
    }

    fn read<T>(&mut self, method: &str, value: impl TryInto<T, Error: Display>) -> Option<T> {
        value.try_into().map_err(|problem| self.problem(method, &problem)).ok()
    }

    fn problem(&mut self, method: &str, problem: &(impl Display + ?Sized)) {
        self.problems.push(format!("`{method}`: {problem}"));
    }
}

/// A wait without a condition, with the limit of the server's rules.
fn unbounded() -> Await {
    Await {
        promoted: None,
        failed: None,
        in_sync: None,
        cluster_ok: None,
        cluster_fail: None,
        role: None,
        is: None,
        converged: None,
        within: Bound::Spec,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::suite::Redirects;
    use crate::units::NodeNo;

    #[test]
    fn writes_role_swap_as_the_file_does() {
        let suite = Suite::new("role-swap")
            .about(
                "Stop the master of shard-1, let its replica take over, start it again. It comes back as a replica of the \
                 node that replaced it.",
            )
            .config("cluster-node-timeout", 5000)
            .config("cluster-require-full-coverage", "no")
            .config("cluster-allow-reads-when-down", "yes")
            .config("appendonly", "yes")
            .rate("400/s")
            .phase("baseline")
            .settle("2s")
            .phase("master-down")
            .stop("shard-1/master")
            .await_promoted("shard-1")
            .settle(Duration::from_secs(2))
            .phase("old-master-back")
            .start(NodeNo(1))
            .await_role("node-1", "replica-of node-4")
            .await_in_sync(NodeNo(1))
            .settle("2s")
            .slot_coverage()
            .agreement("spec")
            .invariant("role: { node: node-4, is: master, at: master-down }")
            .role("node-4", RoleIs::Master)
            .role("node-1", "replica-of node-4")
            .replica_lag(0)
            .acked_writes(0)
            .failover_time("shard-1", Bound::Spec)
            .promotions("shard-1", 1)
            .promotions(ShardSet::Others, 0)
            .availability(OpKind::Writes, "shard-1", "spec")
            .availability(OpKind::Reads, "shard-1", "2s")
            .invariant("availability: { of: writes, shard: others, served: always }")
            .invariant("availability: { of: reads, shard: others, served: always }")
            .invariant(Redirects { at: Moment::End })
            .invariant("replica-read-only: { at: end }");
        assert_eq!(suite.as_written(), Suite::load("role-swap").expect("a suite").as_written());
    }

    #[test]
    fn reports_all_problems_with_their_calls() {
        let suite = Suite::new("wrong")
            .kill("shard-1/slave")
            .settle("two seconds")
            .within("5s")
            .command("SET 'a", "node-1")
            .step("lossy: { betwen: [masters, replicas], percent: 20% }")
            .invariant("acked-writes: { may-lose: some }");
        let error = suite.plan(7).expect_err("nothing of it is right").to_string();
        for expected in [
            "suite \"wrong\", written in code: `kill`: \"slave\" in target \"shard-1/slave\" is not a role",
            "\n`settle`: \"two seconds\"",
            "\n`within`: the step before it is no wait (hint",
            "\n`command`: `SET 'a` has an opening '",
            "\n`step`: unknown key \"betwen\" (did you mean `between`?)\n  --> in code:1:10",
            "\n`invariant`: \"some\" is neither a number nor `measured`",
        ] {
            assert!(error.contains(expected), "{expected:?} in:\n{error}");
        }
        let error = Suite::new("far").kill("node-9").plan(7).expect_err("no such node").to_string();
        assert!(error.contains("steps[0].kill: "), "{error}");
    }

    #[test]
    fn replicas_are_one_number_or_one_a_master() {
        let nodes = |suite: Suite| suite.settle("1s").acked_writes(0).plan(7).expect("it plans").nodes.len();
        assert_eq!(nodes(Suite::new("a").about("Even.").replicas_per_master(2)), 9);
        assert_eq!(nodes(Suite::new("a").about("Uneven.").replicas_per_master([2, 1, 0])), 6);
        let error =
            Suite::new("a").about("Short.").settle("1s").acked_writes(0).replicas_per_master(vec![2, 1]).plan(7);
        let error = error.expect_err("a master is missing").to_string();
        assert!(error.contains("2 numbers of replicas for 3 masters"), "{error}");
    }

    #[test]
    fn a_deadline_applies_to_the_previous_wait() {
        let suite = Suite::new("a").stop("node-1").await_promoted("shard-1").within(Duration::from_secs(9));
        let Some(Step::Await(wait)) = suite.as_written().steps.last() else { panic!("a wait") };
        assert_eq!(wait.within, Bound::Fixed(Span::secs(9)));
    }
}

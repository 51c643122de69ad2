//! Chaos and failover verification for Redis Cluster and Valkey.
//!
//! The stages of a run, from left to right:
//!
//! ```text
//! suites/*.yaml --load--> Suite --plan(seed)--> Plan --run(cluster)--> History --check--> Report
//! ```
//!
//! The modules in reading order are [`suite`], [`plan`], [`server`], [`cluster`], [`run`], [`history`], [`facts`],
//! [`check`], [`anatomy`] and [`report`]. All of them use [`target`], [`slot`], [`units`], [`seeded`] and [`spec`].
//! [`batch`] takes several runs through all stages; [`cargo_test`] and [`testing`] do so for tests. [`sandbox`] and
//! [`network`] let an ordinary user cut links, and [`speed`] makes a run faster than real time. [`doctor`] reports what this machine can do.

pub mod batch;
pub mod campaign;
pub mod cargo_test;
pub mod cluster;
mod directories;
pub mod doctor;
pub mod inject;
pub mod journal;
pub mod network;
pub mod reports;
pub mod run;
pub mod sandbox;
pub mod server;
pub mod speed;
mod subprocess;
pub mod testing;
pub mod wire;
pub mod workload;

pub use slotquake_judge::{
    anatomy, chaos, check, consistency, facts, fault, history, jepsen, plan, report, seeded, slot, spec, suite, target,
    topology, units,
};

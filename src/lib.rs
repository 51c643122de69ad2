//! Chaos and failover verification for Redis Cluster and Valkey.
//!
//! One way through the house, left to right:
//!
//! ```text
//! suites/*.yaml --load--> Suite --plan(seed)--> Plan --run(cluster)--> History --check--> Report
//! ```
//!
//! The modules in reading order: [`suite`], [`plan`], [`server`], [`cluster`], [`run`], [`history`],
//! [`facts`], [`check`], [`anatomy`], [`report`]; beside them the words that all share: [`target`], [`slot`],
//! [`units`], [`seeded`], [`spec`]; [`batch`], which goes all this way for several runs, and its faces for tests, [`cargo_test`] and [`testing`]; what lets an ordinary user cut a network: [`sandbox`], [`network`];
//! and [`doctor`], which says what this machine can do.

pub mod batch;
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
mod subprocess;
pub mod testing;
pub mod wire;
pub mod workload;

pub use slotquake_judge::{
    anatomy, check, facts, fault, history, plan, report, seeded, slot, spec, suite, target, topology, units,
};

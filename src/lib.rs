//! Chaos and failover verification for Redis Cluster and Valkey.
//!
//! One way through the house, left to right:
//!
//! ```text
//! suites/*.yaml --load--> Suite --plan(seed)--> Plan --run(cluster)--> History --check--> Report
//! ```
//!
//! The modules in reading order: [`suite`], [`plan`], [`server`], [`cluster`], [`run`], [`history`],
//! [`analysis`], [`check`], [`anatomy`], [`report`]; beside them the words that all share: [`target`], [`slot`],
//! [`units`], [`seeded`], [`spec`]; [`batch`], which goes all this way for several runs, and its faces for tests, [`cargo_test`] and [`testing`]; what lets an ordinary user cut a network: [`sandbox`], [`network`];
//! and [`doctor`], which says what this machine can do.

pub mod analysis;
pub mod anatomy;
pub mod batch;
pub mod cargo_test;
pub mod check;
pub mod cluster;
mod directories;
pub mod doctor;
pub mod fault;
pub mod history;
pub mod network;
pub mod plan;
pub mod report;
pub mod run;
pub mod sandbox;
pub mod seeded;
pub mod server;
pub mod slot;
pub mod spec;
mod subprocess;
pub mod suite;
pub mod target;
pub mod testing;
pub mod units;
pub mod wire;
pub mod workload;

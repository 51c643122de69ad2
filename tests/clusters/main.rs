//! What is tested on real clusters, in processes and in containers. It is one test binary: tests that wait share the machine
//! with those that compute, and all of them share its places for clusters.
#![cfg(unix)]

mod anatomy;
mod backends;
mod baseline;
mod boot;
mod chaos;
mod ci;
mod cli;
mod controls;
mod exec;
mod lifecycle;
mod matrix;
mod retries;
mod sandbox_cli;
mod server;
mod speed;
mod suites;
mod support;
mod testing;
mod told;
mod up;
mod workload;

use backends::{engine, turn};

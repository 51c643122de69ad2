//! What runs on more than processes of our own: nodes in containers, attached clusters, and the Compose file. They are
//! one test binary, so that those that wait for each other share the machine with those that do not.
#![cfg(unix)]

mod attach;
mod compose;
#[cfg(feature = "docker")]
mod docker;
mod engine;
#[path = "../support/mod.rs"]
mod support;
mod turn;

//! What runs on more than processes of our own: nodes in containers, attached clusters, and the Compose file.

mod attach;
mod compose;
#[cfg(feature = "docker")]
mod docker;
pub mod engine;
#[cfg(feature = "docker")]
mod swarm;
pub mod turn;

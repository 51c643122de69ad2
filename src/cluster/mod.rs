//! The cluster under test: what a node's view is, and how nodes are formed into a cluster.

pub mod topology;

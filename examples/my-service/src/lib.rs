//! The settings that this service is deployed with. Its tests use the same numbers, so they stay true.

/// The `cluster-node-timeout` of the cluster, in milliseconds.
pub const NODE_TIMEOUT_MS: u64 = 1000;

//! Settings of `monotonic-writes`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reads::{Allowed, ReadsFrom, session_settings};
use super::{Look, Settings};
use crate::target::Target;

session_settings!(
    /// Settings of `monotonic-writes`.
    MonotonicWrites
);

//! Settings of `read-your-writes`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reads::{Allowed, ReadsFrom, session_settings};
use super::{Look, Settings};
use crate::target::Target;

session_settings!(
    /// Settings of `read-your-writes`.
    ReadYourWrites
);

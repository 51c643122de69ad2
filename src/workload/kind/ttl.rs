//! Keys that expire: SET with PX. They are read as registers are.

use super::Request;
use crate::units::Span;
use crate::wire::command;

pub(super) fn write(name: &str, value: &str, ttl: Span) -> Request {
    vec![command(&["SET", name, value, "PX", &ttl.0.as_millis().to_string()])]
}

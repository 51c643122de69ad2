//! What a run asks of the servers and sends to them, through their ports alone.

pub(crate) mod commands;
pub(crate) mod directives;
pub(crate) mod discover;
pub(crate) mod keys;

//! Faults: the actions and kinds that there are, and everything that is known of each.

mod action;

pub use action::Action;

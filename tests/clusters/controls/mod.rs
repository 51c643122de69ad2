//! Negative controls: clusters that are really broken, each of which must fail, by exactly the
//! invariant that speaks of what is broken and with evidence that names it. Beside each stands what
//! must still hold, so that no control fails for another reason.

mod addresses;
mod claims;
mod control;
mod data;
mod disk;
mod failover;
mod files;
mod kinds;
mod power;
mod reads;
mod servers;
mod shape;

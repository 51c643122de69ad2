//! Faults: which nodes a target means now, how a fault is injected, and the proof that it is in
//! effect. A fault whose effect cannot be proven is recorded as unproven.

mod network;
mod process;
mod resolve;
mod sides;
mod watching;

use std::sync::atomic::{AtomicU32, Ordering};

pub use network::NetworkInjector;
pub use process::ProcessInjector;
pub use resolve::resolve;

/// Numbers the faults of one run across all injectors.
#[derive(Debug, Default)]
pub struct FaultIds(AtomicU32);

impl FaultIds {
    /// The next number, from 1.
    pub fn next(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

//! Which tests may use the engine at the same time.

#[cfg(feature = "docker")]
use std::sync::{Mutex, MutexGuard, RwLockWriteGuard};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use crate::engine::is_ready;
use crate::support::Places;

static RUNS: RwLock<()> = RwLock::new(());

/// The engine for one test, together with the places that its clusters take.
pub struct Turn {
    _runs: Runs,
    _places: Places,
}

#[expect(dead_code, reason = "a guard is held, not read")]
enum Runs {
    Shared(RwLockReadGuard<'static, ()>),
    #[cfg(feature = "docker")]
    Alone(RwLockWriteGuard<'static, ()>),
}

/// The engine beside others; None, with the reason printed, where there is none.
pub fn shared(clusters: usize) -> Option<Turn> {
    let runs = Runs::Shared(RUNS.read().unwrap_or_else(PoisonError::into_inner));
    is_ready().then(|| Turn { _runs: runs, _places: Places::take(clusters) })
}

/// The engine while no other test uses it: for what removes the leftovers of all runs that have ended, and for taking nodes
/// off their network, after which an engine that has other work may forget to release that network.
#[cfg(feature = "docker")]
pub fn alone() -> Option<Turn> {
    let runs = Runs::Alone(RUNS.write().unwrap_or_else(PoisonError::into_inner));
    is_ready().then(|| Turn { _runs: runs, _places: Places::take(2) })
}

/// For a test that runs on the engine from within this process, and looks for what the process owns there.
#[cfg(feature = "docker")]
pub fn in_process() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

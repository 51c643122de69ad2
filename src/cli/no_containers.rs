//! In the place of `containers`, where the feature `docker` is left out.

use std::collections::BTreeMap;

use slotquake::batch::Ground;
use slotquake::cluster::Reach;
use slotquake::cluster::attach::ServerAccessSettings;
use slotquake::plan::Plan;
use slotquake::run::Place;
use slotquake::server::Server;
use tokio::runtime::Runtime;

use super::exit::{Exit, Trouble};
use super::screen;
use super::signals::Signals;

/// There is no engine to reach.
pub fn take(
    _images: (Option<String>, Option<String>),
    _reach: Reach,
    _plans: &[Plan],
) -> Result<(BTreeMap<String, Server>, Ground, Runtime, Signals), Trouble> {
    Err(left_out())
}

/// There is no engine to reach.
pub fn compose(
    _project: &str,
    _netfault_image: Option<String>,
    _runtime: &Runtime,
) -> Result<ServerAccessSettings, Trouble> {
    Err(left_out())
}

/// There is nothing to remove.
pub fn collect_own(_place: &Place, _runtime: &Runtime) {}

/// There is nothing to remove.
pub fn collect_dead() -> Result<Exit, Trouble> {
    screen::print("containers were left out of this program when it was built: none are looked for")?;
    Ok(Exit::Pass)
}

fn left_out() -> Trouble {
    Trouble::usage(
        "containers were left out of this program when it was built \
         (hint: build it with `--features docker`, or use --backend local)",
    )
}

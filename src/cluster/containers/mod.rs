//! What the docker backend and attached Compose projects share: the [`Engine`], the labels of an [`Owner`], a `Sidecar`
//! beside a container, the `Links` that sidecars cut, the library in containers, and the removal of what a run created.

mod collect;
mod engine;
mod error;
mod library;
mod links;
mod making;
mod owner;
mod processes;
mod sidecar;

use futures_util::future::join_all;

pub use collect::Collected;
pub use engine::Engine;
pub use error::DockerError;
pub use owner::{Owner, RUN_LABEL, TOOL, TOOL_LABEL};
pub use sidecar::NETFAULT_IMAGE;

pub(in crate::cluster) use collect::run as remove_run;
pub(in crate::cluster) use engine::Labels;
pub(in crate::cluster) use error::api;
pub(in crate::cluster) use library::Mounted;
pub(in crate::cluster) use links::Links;
pub(in crate::cluster) use making::Making;
pub(in crate::cluster) use sidecar::Sidecar;

/// Waits for all of them, even if one fails: a container whose creation is abandoned could outlive its removal.
pub(in crate::cluster) async fn all<T, E>(
    made: impl Iterator<Item = impl Future<Output = Result<T, E>>>,
) -> Result<Vec<T>, E> {
    join_all(made).await.into_iter().collect()
}

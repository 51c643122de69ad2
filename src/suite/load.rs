//! Reading suite files, with diagnostics that point at the offending text.

use std::path::Path;

use super::Suite;

/// Why a suite could not be read; the text holds file, line, column and the offending text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LoadError(pub String);

/// Reads a suite by the name of a shipped one or by path.
pub fn load(_name_or_path: &str) -> Result<Suite, LoadError> {
    todo!()
}

/// Reads a suite from text; `origin` is what diagnostics call it.
pub fn parse(_text: &str, _origin: &Path) -> Result<Suite, LoadError> {
    todo!()
}

/// Applies `path=value` (`cluster.config.cluster-node-timeout=1000`) to a suite.
pub fn set(_suite: &Suite, _assignment: &str) -> Result<Suite, LoadError> {
    todo!()
}

/// The suites that are built into the binary: name and text.
pub fn shipped() -> &'static [(&'static str, &'static str)] {
    todo!()
}

/// Their names.
pub fn shipped_names() -> Vec<&'static str> {
    shipped().iter().map(|(name, _)| *name).collect()
}

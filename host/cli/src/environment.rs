//! What the process was given from outside: the one place that reads the environment.

use std::path::PathBuf;

use etcetera::BaseStrategy;
use wasmill_topology::OVERRIDE_PREFIX;

/// An environment variable.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The variables that override keys of a topology.
pub(crate) fn overrides() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with(OVERRIDE_PREFIX))
        .collect()
}

/// The folder of the user's caches for Wasmill; `None` where there is no home.
pub(crate) fn cache() -> Option<PathBuf> {
    Some(etcetera::choose_base_strategy().ok()?.cache_dir().join("wasmill"))
}

/// A folder of this process alone for what need not outlive it, not made yet.
pub(crate) fn scratch() -> PathBuf {
    std::env::temp_dir().join(format!("wasmill-{}", std::process::id()))
}

/// Whether the user wants no colours: <https://no-color.org>.
pub(crate) fn no_color() -> bool {
    std::env::vars_os().any(|(name, value)| name == "NO_COLOR" && !value.is_empty())
}

//! What a build needs to know of its surroundings. Nothing else in this crate reads the environment or the clock.

use std::{path::PathBuf, time::SystemTime};

use etcetera::BaseStrategy;

use crate::Error;

/// Where things are kept, and what time it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The folder for toolchains, what is compiled, and components; made when needed.
    pub cache: PathBuf,
    /// The present: what failed within the last day is not tried again.
    pub now: SystemTime,
}

impl Settings {
    /// The user's own: `$XDG_CACHE_HOME/wasmill/plugins`, by default in `~/.cache`.
    ///
    /// # Errors
    ///
    /// When there is no home folder.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place of this crate that reads the clock"
    )]
    pub fn discover() -> Result<Self, Error> {
        let folders = etcetera::choose_base_strategy().map_err(|_| Error::NoCache)?;
        Ok(Self {
            cache: folders.cache_dir().join("wasmill/plugins"),
            now: SystemTime::now(),
        })
    }
}

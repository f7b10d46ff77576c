//! Settings of a job as a whole, each with its default.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::StoreAddress;
use crate::secret::Secret;
use crate::time::Micros;

/// Settings of the engine, each with its default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSettings {
    /// Worker threads. `None`: one per core.
    pub workers: Option<NonZeroUsize>,
    /// Rows of a batch at most. Default 4096.
    pub batch_rows: NonZeroUsize,
    /// How long a record may wait for others of its batch. Default 1 ms.
    pub batch_delay: Micros,
    /// Bytes that a worker's source may have on the way. Default 16 MiB.
    pub source_credit_bytes: u64,
    /// A source tells its watermark at most once in so many batches. Default 64.
    pub watermark_every: NonZeroUsize,
    /// Fixed slices of the key space. Default 256.
    pub key_groups: u16,
}

impl Default for EngineSettings {
    fn default() -> Self {
        let some = |n| NonZeroUsize::new(n).expect("a default is not zero");
        Self {
            workers: None,
            batch_rows: some(4096),
            batch_delay: Micros::from_millis(1),
            source_credit_bytes: 16 << 20,
            watermark_every: some(64),
            key_groups: crate::key::KEY_GROUPS_DEFAULT,
        }
    }
}

/// Where operators keep their state while the job runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateSettings {
    /// In memory, or on disk.
    pub backend: StateBackend,
    /// Bytes of memory for the state of all operators of all workers together, where it is on disk. Default 256 MiB.
    pub memory_bytes: u64,
    /// The folder for state on disk, absolute. `None`: a folder of its own under the system's folder for temporary files.
    pub path: Option<PathBuf>,
}

impl Default for StateSettings {
    fn default() -> Self {
        Self {
            backend: StateBackend::Memory,
            memory_bytes: 256 << 20,
            path: None,
        }
    }
}

/// What holds the state of operators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StateBackend {
    /// Memory: fast, and bounded by nothing but the machine.
    #[default]
    Memory,
    /// An embedded store on disk, with a bounded part in memory.
    Disk,
}

/// Where checkpoints are written, how often, and how many are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointSettings {
    /// The store.
    pub store: StoreAddress,
    /// The store as the topology writes it, for readers: references to secrets are not resolved in it.
    pub written: String,
    /// What the store's client is given, in its own words. Empty for a folder.
    pub options: BTreeMap<String, Secret>,
    /// The time from the beginning of one checkpoint to that of the next; a checkpoint that takes longer delays the next.
    /// Greater than zero. Default 10 s.
    pub interval: Micros,
    /// How long a checkpoint may take until its manifest is written; the job then fails, and is restarted as after any
    /// failure. Greater than zero. Default 10 minutes.
    pub timeout: Micros,
    /// How many of the newest checkpoints are kept. Default 5.
    pub retain: NonZeroUsize,
    /// Checkpoints younger than this are kept too. Default zero: their number alone counts.
    pub retain_for: Micros,
    /// How many epochs may wait for their commit to be confirmed; then no further one ends, and the sources wait. Default 4.
    pub max_uncommitted: NonZeroUsize,
}

impl CheckpointSettings {
    /// Checkpoints in this store, with every option at its default.
    pub fn new(store: StoreAddress, written: String) -> Self {
        Self {
            store,
            written,
            options: BTreeMap::new(),
            interval: Micros::from_secs(10),
            timeout: Micros::from_secs(600),
            retain: NonZeroUsize::new(5).expect("a default is not zero"),
            retain_for: Micros::ZERO,
            max_uncommitted: NonZeroUsize::new(4).expect("a default is not zero"),
        }
    }
}

/// What follows a failure: the job goes on from its last checkpoint, after a delay that grows with each failure in a row.
///
/// Failures stop being in a row when the job has run for longer than [`Self::max_backoff`] and has completed a checkpoint
/// meanwhile: the next failure is a first one again. A failure that comes back each time before a checkpoint is completed
/// ends the job, however far apart they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartSettings {
    /// How many failures in a row are followed by a restart; the next one ends the job. Zero: none is. Default 10.
    pub attempts: u32,
    /// The delay before the first restart; it doubles with each further one. Default 1 s.
    pub backoff: Micros,
    /// The longest delay. Not less than [`Self::backoff`]. Default 1 minute.
    pub max_backoff: Micros,
}

impl RestartSettings {
    /// How long to wait before the restart that follows the given failure in a row, counted from 1; `None`: the job ends.
    ///
    /// ```
    /// # use wasmill_core::plan::RestartSettings;
    /// # use wasmill_core::time::Micros;
    /// let settings = RestartSettings { attempts: 3, ..RestartSettings::default() };
    /// assert_eq!(settings.delay(1), Some(Micros::from_secs(1)));
    /// assert_eq!(settings.delay(3), Some(Micros::from_secs(4)));
    /// assert_eq!(settings.delay(4), None);
    /// ```
    pub fn delay(self, failure: u32) -> Option<Micros> {
        if failure > self.attempts {
            return None;
        }
        let factor = 1_u64.checked_shl(failure.saturating_sub(1)).unwrap_or(u64::MAX);
        Some(Micros(self.backoff.0.saturating_mul(factor).min(self.max_backoff.0)))
    }

    /// Whether a failure after this time of running is a first one again. `completed`: a checkpoint was completed
    /// meanwhile.
    pub fn forgives(self, ran: Micros, completed: bool) -> bool {
        completed && ran > self.max_backoff
    }
}

impl Default for RestartSettings {
    fn default() -> Self {
        Self {
            attempts: 10,
            backoff: Micros::SECOND,
            max_backoff: Micros::from_secs(60),
        }
    }
}

/// Where a job can be asked and told things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlSettings {
    /// Where it listens: an address of this machine alone, unless there is a token. Port 0 is any free one.
    pub listen: SocketAddr,
    /// What each request must bear, where there is one.
    pub token: Option<Secret>,
}

/// How long a stop may take by default: 30 s, what orchestrators give a process between SIGTERM and SIGKILL.
pub const STOP_TIMEOUT_DEFAULT: Micros = Micros::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_end_with_the_attempts() {
        let settings = RestartSettings::default();
        let delays: Vec<_> = (1..=11).map(|failure| settings.delay(failure)).collect();
        let seconds = [1, 2, 4, 8, 16, 32, 60, 60, 60, 60].map(|s| Some(Micros::from_secs(s)));
        assert_eq!(delays[..10], seconds);
        assert_eq!(delays[10], None);
        let endless = RestartSettings {
            attempts: u32::MAX,
            ..settings
        };
        assert_eq!(endless.delay(u32::MAX), Some(Micros::from_secs(60)));
        let never = RestartSettings {
            attempts: 0,
            ..settings
        };
        assert_eq!(never.delay(1), None);
    }

    #[test]
    fn a_failure_is_a_first_one_again_after_a_checkpoint_and_some_time() {
        let settings = RestartSettings::default();
        assert!(settings.forgives(Micros::from_secs(61), true));
        assert!(!settings.forgives(Micros::from_secs(60), true));
        assert!(!settings.forgives(Micros::from_secs(3_600), false));
    }
}

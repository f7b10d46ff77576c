//! The keys of the connector `generator`.

use std::num::{NonZeroU16, NonZeroU64};

use serde::{Deserialize, Serialize};

/// The keys of a source with `connector = "generator"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// What is generated: `"counter"`, the columns `number` (int64, from 0) and `time` (timestamp, a millisecond a
    /// row), or `"nexmark"`, the persons, auctions and bids of an online auction (one event each 100 us of event time).
    /// Required. Example: `kind = "nexmark"`.
    pub kind: Kind,
    /// How many records in all. Default: none, the stream never ends. Example: `rows = 1_000_000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<NonZeroU64>,
    /// How many records a second at most, over all partitions. It does not change the records. Default: none, as fast
    /// as they are taken. Example: `rate = 10_000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<NonZeroU64>,
    /// Decides the values of Nexmark events: another seed, other values. A counter has none to decide. Default `0`.
    /// Example: `seed = 42`.
    #[serde(default)]
    pub seed: u64,
    /// How many partitions share the records. Default `1`. Example: `partitions = 4`.
    #[serde(default = "one")]
    pub partitions: NonZeroU16,
    /// The time of the first record, in RFC 3339. Default `"2026-01-01T00:00:00Z"`. Example:
    /// `start = "2013-01-01T00:00:00Z"`.
    #[serde(default = "new_year")]
    pub start: String,
}

/// What is generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Numbers from 0.
    Counter,
    /// Events of an online auction.
    Nexmark,
}

fn one() -> NonZeroU16 {
    NonZeroU16::MIN
}

fn new_year() -> String {
    "2026-01-01T00:00:00Z".to_owned()
}

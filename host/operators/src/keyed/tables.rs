//! How a keyed operator's state stands in its store, and where it is saved.
//!
//! | table | in the store | saved |
//! |---|---|---|
//! | [`VALUES`] | rows of value tables that are not resident | a byte for the table's number, the key |
//! | [`BY_KEY`] | timers by (key, kind, tag) | as it is |
//! | [`BY_TIME`] | the same by time | not |
//! | [`PLACES`] | the next index of timers' outputs, by (time, key, port) | as it is |
//! | [`EXPIRY`] | when to look whether a key's rows in tables have had their time | not |
//! | [`WAITING`] | rows that wait | as it is |
//! | [`CLOCK`] | | the watermark and processing time, with each group that has anything |
//! | [`OF_KEY`] | at the end of input: timers by (key, time) | not |
//! | from [`FIRST_TABLE`] | the guest's other tables | as they are |

/// Value tables that were spilled.
pub(super) const VALUES: u8 = 0;
/// Timers under their keys.
pub(super) const BY_KEY: u8 = 1;
/// Timers in the order of time.
pub(super) const BY_TIME: u8 = 2;
/// What timers' outputs have been numbered up to.
pub(super) const PLACES: u8 = 3;
/// Keys by the time at which their state may go.
pub(super) const EXPIRY: u8 = 4;
/// Rows that wait for the watermark.
pub(super) const WAITING: u8 = 5;
/// How far time had come.
pub(super) const CLOCK: u8 = 6;
/// Timers of event time under their keys in the order of time, at the end of input.
pub(super) const OF_KEY: u8 = 7;
/// The guest's table of number 0, where it is not a value table.
pub(super) const FIRST_TABLE: u8 = 16;

/// The start of what is in no key group's order.
pub(super) const NO_GROUP: [u8; 2] = [0xff, 0xff];

//! Windows over event time, as planned.

use std::sync::Arc;

use crate::time::Micros;

/// How rows are assigned to windows. Windows are half-open: [start, end).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WindowSpec {
    /// Windows side by side.
    Tumbling {
        /// Length, greater than zero.
        size: Micros,
        /// Where they begin.
        alignment: Alignment,
    },
    /// Windows of `size`, one beginning each `every`.
    Sliding {
        /// Length, greater than zero.
        size: Micros,
        /// Distance between beginnings, greater than zero. A multiple of it need not be `size`.
        every: Micros,
        /// Where they begin.
        alignment: Alignment,
    },
}

/// Where windows begin: at multiples of their step from midnight of 1970-01-01 in the time zone, plus the offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alignment {
    /// Moves every beginning later.
    pub offset: Micros,
    /// An IANA time zone; `None` is UTC. In a zone with summer time a day has 23 or 25 hours twice a year.
    pub time_zone: Option<Arc<str>>,
}

/// What becomes of a row that is late for all its windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// It is counted and dropped.
    Drop,
    /// It goes to the port `late`.
    Port,
    /// It becomes a dead letter.
    DeadLetter,
}

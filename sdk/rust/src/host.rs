//! The imports of a component: the host's in Wasm, a recording in a native test.

use crate::log::Level;

#[cfg(target_arch = "wasm32")]
mod imports {
    use super::{Kind, Level};
    use crate::bindings::{log, metrics};

    pub(crate) fn log(level: Level, message: &str, fields: &[(String, String)]) {
        let level = match level {
            Level::Trace => log::Level::Trace,
            Level::Debug => log::Level::Debug,
            Level::Info => log::Level::Info,
            Level::Warn => log::Level::Warn,
            Level::Error => log::Level::Error,
        };
        log::write(level, message, fields);
    }

    pub(crate) fn declare(name: &str, kind: Kind, unit: &str) -> u32 {
        let kind = match kind {
            Kind::Counter => metrics::Kind::Counter,
            Kind::Gauge => metrics::Kind::Gauge,
            Kind::Histogram => metrics::Kind::Histogram,
        };
        metrics::declare(name, kind, unit)
    }

    pub(crate) fn update(changes: &[(u32, f64)]) {
        metrics::update(changes);
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod imports {
    use std::cell::RefCell;

    use super::{Kind, Level};

    /// A line of an operator's log.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct LogLine {
        /// How much it matters.
        pub level: Level,
        /// The message.
        pub message: String,
        /// The fields, as text.
        pub fields: Vec<(String, String)>,
    }

    /// What the operator of this thread did with its imports.
    #[derive(Debug, Default)]
    pub(crate) struct Recording {
        pub(crate) logs: Vec<LogLine>,
        pub(crate) metrics: Vec<(String, Kind, String)>,
        pub(crate) changes: Vec<(u32, f64)>,
    }

    thread_local! {
        static RECORDING: RefCell<Recording> = RefCell::default();
    }

    pub(crate) fn log(level: Level, message: &str, fields: &[(String, String)]) {
        let line = LogLine {
            level,
            message: message.to_owned(),
            fields: fields.to_vec(),
        };
        RECORDING.with_borrow_mut(|recording| recording.logs.push(line));
    }

    pub(crate) fn declare(name: &str, kind: Kind, unit: &str) -> u32 {
        RECORDING.with_borrow_mut(|recording| {
            recording.metrics.push((name.to_owned(), kind, unit.to_owned()));
            recording.metrics.len() as u32 - 1
        })
    }

    pub(crate) fn update(changes: &[(u32, f64)]) {
        RECORDING.with_borrow_mut(|recording| recording.changes.extend_from_slice(changes));
    }

    /// Gives one operator's recording the place of another's.
    pub(crate) fn swap(recording: &mut Recording) {
        RECORDING.with_borrow_mut(|current| std::mem::swap(current, recording));
    }
}

#[cfg(not(target_arch = "wasm32"))]
pub use imports::LogLine;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use imports::{Recording, swap};
pub(crate) use imports::{declare, log, update};

/// What a metric measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

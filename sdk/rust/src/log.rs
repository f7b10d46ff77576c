//! The structured log of an operator. Lines reach the host's log with the operator's id, also when the call fails.

use std::fmt::Display;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Each step.
    Trace,
    /// For the author.
    Debug,
    /// For the person who runs it.
    Info,
    /// Something is odd.
    Warn,
    /// Something is wrong.
    Error,
}

/// Writes a line. The macros [`info!`](crate::info) and its kin are shorter.
///
/// ```
/// use wasmill_sdk::log::{self, Level};
/// log::write(Level::Info, "opened", &[("rows", &3)]);
/// ```
pub fn write(level: Level, message: &str, fields: &[(&str, &dyn Display)]) {
    let fields: Vec<_> = fields
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.to_string()))
        .collect();
    crate::host::log(level, message, &fields);
}

macro_rules! level_macro {
    ($dollar:tt $name:ident $level:ident $doc:literal) => {
        #[doc = $doc]
        ///
        /// A message with fields and the arguments of a `format!`:
        ///
        /// ```
        #[doc = concat!("wasmill_sdk::", stringify!($name), "!(\"{} rows came\", 3);")]
        #[doc = concat!("wasmill_sdk::", stringify!($name), "!(carrier = \"UA\", late = 12; \"a late flight\");")]
        /// ```
        #[macro_export]
        macro_rules! $name {
                            ($dollar($key:ident = $value:expr),+; $dollar($message:tt)+) => {
                                $crate::log::write(
                                    $crate::log::Level::$level,
                                    &::std::format!($dollar($message)+),
                                    &[$dollar((::std::stringify!($key), &$value)),+],
                                )
                            };
                            ($dollar($message:tt)+) => {
                                $crate::log::write($crate::log::Level::$level, &::std::format!($dollar($message)+), &[])
                            };
                        }
    };
}
level_macro!($ trace Trace "Logs each step.");
level_macro!($ debug Debug "Logs for the author.");
level_macro!($ info Info "Logs for the person who runs the topology.");
level_macro!($ warn Warn "Logs that something is odd.");
level_macro!($ error Error "Logs that something is wrong.");

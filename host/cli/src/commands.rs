//! The commands, one a file.

pub(crate) mod build;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod graph;
pub(crate) mod inspect;
pub(crate) mod new;
pub(crate) mod run;
pub(crate) mod test;

//! Drives a source: finds and reads partitions on the asynchronous side, decodes and stamps on the workers.
//!
//! ```text
//! reader task per partition --pieces--> Shared --take--> worker: decode --release--> stamp in sequence --> batches
//! ```
//!
//! Any worker decodes any piece, so that one partition does not mean one core. W, the line and the place of each row
//! are still exact, since stamping goes through the pieces of a partition in their order.

mod block;
mod companions;
mod framing;
mod invalid;
mod reader;
mod shared;
mod stamping;
mod task;
mod watermark;

pub(crate) use companions::introduce;
pub(crate) use reader::{MakeFramer, Reading, read};
pub(crate) use shared::Shared;
pub(crate) use stamping::Plan as StampingPlan;
pub(crate) use task::Task;

//! Drives a sink: orders and encodes rows on a worker, writes them on the asynchronous side.

mod order;
mod task;
mod writer;

pub(crate) use task::{Parts, Task, encoding};
pub(crate) use writer::{CHUNKS_MAX, Early, Message, write};

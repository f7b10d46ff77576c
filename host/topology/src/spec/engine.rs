//! `[engine]`.

use wasmill_core::plan::EngineSettings;

use crate::reader::Reader;

/// Worker threads at most: far more than any machine has cores.
pub const WORKERS_MAX: usize = 1024;

/// Rows of a batch at most: row numbers within a batch stay small, and a batch fits into a guest's memory.
const BATCH_ROWS_MAX: usize = 1 << 20;

/// Reads `[engine]`; what is absent has its default.
pub(super) fn read(root: &Reader<'_>) -> EngineSettings {
    let mut settings = EngineSettings::default();
    let Some(table) = root.table("engine") else {
        return settings;
    };
    let reader = Reader::new(table, "[engine]", root.problems);
    settings.workers = reader.positive("workers", WORKERS_MAX);
    if let Some(rows) = reader.positive("batch-rows", BATCH_ROWS_MAX) {
        settings.batch_rows = rows;
    }
    if let Some(delay) = reader.duration("batch-delay") {
        settings.batch_delay = delay;
    }
    if let Some(bytes) = reader.size("source-credit", 64 << 10..=1 << 40) {
        settings.source_credit_bytes = bytes;
    }
    if let Some(every) = reader.positive("watermark-every", 1 << 20) {
        settings.watermark_every = every;
    }
    reader.finish();
    settings
}

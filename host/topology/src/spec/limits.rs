//! `limits`: bounds on what a plugin may use.

use wasmill_core::plugin::Limits;

use crate::reader::Reader;

/// Reads `limits`; what is absent has its default.
pub(super) fn read(operator: &Reader<'_>) -> Limits {
    let mut limits = Limits::default();
    let Some(table) = operator.table("limits") else {
        return limits;
    };
    let reader = Reader::new(table, format!("`limits` of {}", operator.name()), operator.problems);
    // One page of linear memory to all of its 32 bits.
    if let Some(bytes) = reader.size("memory", 64 << 10..=4 << 30) {
        limits.memory_bytes = bytes;
    }
    if let Some(deadline) = reader.duration_above_zero("deadline", "no call could end in no time") {
        limits.deadline = deadline;
    }
    if let Some(fuel) = reader.count("fuel-per-row", 1..=i64::MAX as u64) {
        limits.fuel_per_row = fuel;
    }
    if let Some(rows) = reader.count("output-rows", 1..=u64::from(u32::MAX)) {
        limits.output_rows = rows as u32;
    }
    if let Some(bytes) = reader.size("output-bytes", 1..=4 << 30) {
        limits.output_bytes = bytes;
    }
    reader.finish();
    limits
}

//! `[state]`: where operators keep their state while the job runs.

use std::path::PathBuf;

use wasmill_core::plan::StateBackend;

use crate::reader::Reader;

/// `[state]` as written.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) backend: StateBackend,
    pub(crate) memory_bytes: Option<u64>,
    /// As the file names it.
    pub(crate) path: Option<PathBuf>,
}

/// Reads `[state]`; what is absent has its default.
pub(super) fn read(root: &Reader<'_>) -> State {
    let mut state = State::default();
    let Some(table) = root.table("state") else {
        return state;
    };
    let reader = Reader::new(table, "[state]", root.problems);
    let choices = [("memory", StateBackend::Memory), ("disk", StateBackend::Disk)];
    let backend = reader.choice("backend", &choices);
    state.backend = backend.unwrap_or_default();
    if backend.is_none() && reader.get("backend").is_some() {
        // Which of the two was meant is not known, nor whether these do something.
        reader.get("memory");
        reader.get("path");
    } else if state.backend == StateBackend::Disk {
        // Below, the parts of the store that must be in memory leave nothing for state.
        state.memory_bytes = reader.size("memory", 16 << 20..=1 << 44);
        state.path = reader.word("path").map(|word| word.text.into());
    } else {
        for key in ["memory", "path"] {
            reader.pointless(
                key,
                "state in memory has no such bound and no folder",
                "write `backend = \"disk\"`, or leave it out",
            );
        }
    }
    reader.finish();
    state
}

//! `late`: what becomes of rows that come too late.

use wasmill_core::window::Late;

use crate::place::Word;
use crate::reader::Reader;

/// The choice, and where it stands.
pub(crate) struct LateSpec {
    pub(crate) late: Late,
    pub(crate) word: Word,
}

/// Reads `late`; `None` where the file does not say.
pub(super) fn read(reader: &Reader<'_>) -> Option<LateSpec> {
    let choices = [
        ("drop", Late::Drop),
        ("port", Late::Port),
        ("dead-letter", Late::DeadLetter),
    ];
    Some(LateSpec {
        late: reader.choice("late", &choices)?,
        word: reader.word("late")?,
    })
}

//! Lists of column names of which none may stand twice: keys.

use crate::codes;
use crate::place::Word;
use crate::reader::Reader;

/// Reads a list of distinct columns; empty where the key is absent.
pub(super) fn read(reader: &Reader<'_>, key: &'static str) -> Vec<Word> {
    if reader.get(key).is_none() {
        return Vec::new();
    }
    let words = reader.words(key).unwrap_or_default();
    for (i, word) in words.iter().enumerate() {
        if words[..i].iter().any(|earlier| earlier.text == word.text) {
            reader.problems.error(
                codes::DUPLICATE_COLUMN,
                format!("`{key}` names `{}` twice", word.text),
                &word.place,
                "name it once",
            );
        }
    }
    words
}

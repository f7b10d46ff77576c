//! `format`: a name, or a table with a `type` and the format's own keys.

use crate::document::{Item, Table, Text, Value};
use crate::place::Word;
use crate::reader::Reader;

/// A format as written.
pub(crate) struct FormatSpec {
    /// Its name.
    pub(crate) name: Word,
    /// Its own keys; without any where only the name stands.
    pub(crate) own: Table,
}

/// Reads `format`.
pub(super) fn read(reader: &Reader<'_>) -> Option<FormatSpec> {
    let item = reader.get("format")?;
    match &item.value {
        Value::String(text) => Some(FormatSpec {
            name: word(text, item),
            own: Table {
                place: item.place.clone(),
                entries: Vec::new(),
            },
        }),
        Value::Table(table) => {
            let inner = Reader::new(table, format!("`format` of {}", reader.name()), reader.problems);
            let Some(name) = inner.word("type") else {
                if table.entry("type").is_none() {
                    inner.missing("type", "name the format, as in `format = { type = \"csv\" }`");
                }
                return None;
            };
            Some(FormatSpec {
                name,
                own: inner.rest(),
            })
        }
        _ => {
            reader.wrong_type("format", item, "a format's name, or a table such as { type = \"csv\" }");
            None
        }
    }
}

fn word(text: &Text, item: &Item) -> Word {
    Word {
        text: text.value.clone(),
        place: item.place.clone(),
    }
}

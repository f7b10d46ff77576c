//! `plugin`, `config`, `limits` and `digest`: what an operator and an aggregate have in common.

use std::path::PathBuf;

use wasmill_core::plugin::Limits;

use super::limits;
use crate::document::{Table, Value};
use crate::place::Word;
use crate::reader::{Reader, not_built};

/// A plugin as written.
pub(crate) struct Plugin {
    /// The file, as the topology names it.
    pub(crate) path: PathBuf,
    pub(crate) word: Word,
    /// Canonical JSON.
    pub(crate) config: String,
    /// Where the configuration stands, if it does.
    pub(crate) config_table: Option<Table>,
    pub(crate) limits: Limits,
    /// What the file's SHA-256 must be.
    pub(crate) digest: Option<([u8; 32], Word)>,
}

/// Reads the keys of a plugin.
pub(super) fn read(reader: &Reader<'_>) -> Option<Plugin> {
    let word = reader.word("plugin");
    if word.is_none() && reader.get("plugin").is_none() {
        reader.missing(
            "plugin",
            "name the component's file, as in `plugin = \"plugins/delay-class.wasm\"`",
        );
    }
    let config_table = reader.table("config");
    let config = match config_table {
        None => Some("{}".to_owned()),
        Some(table) => table.to_json(reader.problems).map(|json| json.to_string()),
    };
    let limits = limits::read(reader);
    let digest = digest(reader);
    let word = word?;
    if let Some((scheme, _)) = word.text.split_once("://") {
        let place = &reader.get("plugin")?.place;
        let what = format!("a plugin from {scheme}://");
        reader.problems.push(not_built(
            &what,
            place,
            "fetch the component and name its file, as in `plugin = \"plugins/x.wasm\"`",
        ));
        return None;
    }
    Some(Plugin {
        path: PathBuf::from(&word.text),
        word,
        config: config?,
        config_table: config_table.cloned(),
        limits,
        digest,
    })
}

/// `digest = "sha256:..."`.
fn digest(reader: &Reader<'_>) -> Option<([u8; 32], Word)> {
    let item = reader.get("digest")?;
    let word = reader.word("digest")?;
    let digest = word.text.strip_prefix("sha256:").and_then(from_hex);
    let Value::String(text) = &item.value else {
        return None;
    };
    if digest.is_none() {
        reader.invalid(
            item,
            format!("\"{}\" is no digest", text.written),
            "write `sha256:` and 64 hexadecimal digits, as `wasmill inspect` prints them",
        );
    }
    digest.map(|digest| (digest, word))
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(digest)
}

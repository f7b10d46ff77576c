//! JSON that is told from JSON that was torn or changed: a header line with a checksum, then the document.
//!
//! ```text
//! {"wasmill-link":1,"xxh3":"5e64c5fa44e9eb7c","bytes":345}
//! { ... }
//! ```
//!
//! The document is indented, for those who open it. Its checksum is XXH3-64 with seed 0 over its bytes, in hexadecimal.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_64;

use crate::{Damage, Error};

/// No header line is longer.
const HEADER_BYTES_MAX: usize = 256;

/// A kind of document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Its name in the header.
    pub name: &'static str,
    /// The version that is written; all versions up to it are read.
    pub version: u32,
}

/// A link of a chain.
pub const LINK: Kind = Kind {
    name: "wasmill-link",
    version: 1,
};

/// The manifest of a savepoint.
pub const SAVEPOINT: Kind = Kind {
    name: "wasmill-savepoint",
    version: 1,
};

/// A document's checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Checksum(pub u64);

impl Checksum {
    /// The checksum of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(xxh3_64(bytes))
    }
}

impl std::fmt::Display for Checksum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for Checksum {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Checksum {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).ok_or_else(|| serde::de::Error::custom("it is no checksum"))
    }
}

fn parse(text: &str) -> Option<Checksum> {
    let written = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    written
        .then(|| u64::from_str_radix(text, 16).ok().map(Checksum))
        .flatten()
}

/// A document and its header as bytes, and the document's checksum.
pub fn seal(kind: Kind, document: &impl Serialize) -> (Bytes, Checksum) {
    let mut body = serde_json::to_vec_pretty(document).expect("our documents have text as keys");
    body.push(b'\n');
    let checksum = Checksum::of(&body);
    let header = format!(
        "{{\"{}\":{},\"xxh3\":\"{checksum}\",\"bytes\":{}}}\n",
        kind.name,
        kind.version,
        body.len()
    );
    let mut sealed = header.into_bytes();
    sealed.extend_from_slice(&body);
    (sealed.into(), checksum)
}

/// The document in `bytes`, which stand at `path`, and its checksum.
///
/// # Errors
/// [`Error::Damaged`], or [`Error::Version`] where a later Wasmill wrote it.
pub fn open<T: DeserializeOwned>(kind: Kind, path: &str, bytes: &[u8]) -> Result<(T, Checksum), Error> {
    let damage = |what: &str| Error::Damaged(Damage::of(path, what));
    let end = bytes
        .iter()
        .take(HEADER_BYTES_MAX)
        .position(|byte| *byte == b'\n')
        .ok_or_else(|| damage("it has no header line").clone_at(0))?;
    let header: Map<String, Value> =
        serde_json::from_slice(&bytes[..end]).map_err(|_| damage("its header is not readable").clone_at(0))?;
    let number = |key: &str| header.get(key).and_then(Value::as_u64);
    let version = number(kind.name).ok_or_else(|| damage(&format!("its header does not say `{}`", kind.name)))?;
    if version == 0 {
        return Err(damage("its header says version 0"));
    }
    if version > u64::from(kind.version) {
        return Err(Error::Version {
            path: path.to_owned(),
            found: version as u32,
            known: kind.version,
        });
    }
    let body = &bytes[end + 1..];
    let length = number("bytes").ok_or_else(|| damage("its header does not say its length"))?;
    if length != body.len() as u64 {
        return Err(damage(&format!(
            "it has {} bytes after the header instead of {length}",
            body.len()
        )));
    }
    let said = header.get("xxh3").and_then(Value::as_str).and_then(parse);
    let checksum = Checksum::of(body);
    if said != Some(checksum) {
        return Err(damage("its bytes do not have the checksum of its header"));
    }
    let document = serde_json::from_slice(body).map_err(|error| damage(&error.to_string()))?;
    Ok((document, checksum))
}

impl Error {
    /// The same, at a byte of the file.
    fn clone_at(self, offset: u64) -> Self {
        match self {
            Self::Damaged(damage) => Self::Damaged(damage.at(offset)),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<u32>, Error> {
        open(LINK, "a.json", bytes).map(|(document, _)| document)
    }

    #[test]
    fn a_document_comes_back() {
        let (sealed, checksum) = seal(LINK, &vec![1, 2, 3]);
        assert_eq!(read(&sealed).unwrap(), [1, 2, 3]);
        let text = String::from_utf8(sealed.to_vec()).unwrap();
        assert!(
            text.starts_with(&format!("{{\"wasmill-link\":1,\"xxh3\":\"{checksum}\",\"bytes\":")),
            "{text}"
        );
    }

    #[test]
    fn every_torn_and_every_flipped_document_is_noticed() {
        let (sealed, _) = seal(LINK, &vec![1, 2, 3]);
        for length in 0..sealed.len() {
            assert!(
                matches!(read(&sealed[..length]), Err(Error::Damaged(_))),
                "{length} bytes"
            );
        }
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut flipped = sealed.to_vec();
                flipped[at] ^= 1 << bit;
                let read = read(&flipped);
                assert!(read.is_err(), "byte {at} bit {bit}: {read:?}");
            }
        }
    }

    #[test]
    fn a_later_version_is_not_taken_for_damage() {
        let (sealed, _) = seal(Kind { version: 2, ..LINK }, &vec![1]);
        assert!(matches!(read(&sealed), Err(Error::Version { found: 2, known: 1, .. })));
    }
}

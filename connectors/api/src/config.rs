//! Configuration of connectors and formats: typed by serde, with problems that say where they are.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// One step on the way to a value inside a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A key of a table.
    Key(String),
    /// A place in an array, from 0.
    Index(usize),
}

/// A problem of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The way to the value; empty for the table as a whole.
    pub path: Vec<Step>,
    /// What is wrong: a lowercase fragment.
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
}

impl ConfigProblem {
    /// A problem of the value under a key.
    pub fn at(key: &str, message: impl Into<String>) -> Self {
        Self {
            path: vec![Step::Key(key.to_owned())],
            message: message.into(),
            help: None,
        }
    }

    /// Says how to mend it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Makes a connector's or format's own type of its table.
///
/// # Errors
/// The first thing in the table that does not fit, with the way to it. `unknown field` and `missing field` messages are
/// serde's; the topology turns them into diagnostics with suggestions.
pub fn decode<C: DeserializeOwned>(config: &Value) -> Result<C, ConfigProblem> {
    serde_path_to_error::deserialize(config).map_err(|error| {
        let path = error
            .path()
            .iter()
            .filter_map(|segment| match segment {
                serde_path_to_error::Segment::Seq { index } => Some(Step::Index(*index)),
                serde_path_to_error::Segment::Map { key } => Some(Step::Key(key.clone())),
                serde_path_to_error::Segment::Enum { variant } => Some(Step::Key(variant.clone())),
                serde_path_to_error::Segment::Unknown => None,
            })
            .collect();
        ConfigProblem {
            path,
            message: error.into_inner().to_string(),
            help: None,
        }
    })
}

/// A span of time as configurations write it, `"10s"`: for `#[serde(with = "wasmill_connector_api::config::duration")]`.
pub mod duration {
    use serde::{Deserialize, Deserializer, Serializer};

    use wasmill_core::time::Micros;

    /// Writes `"10s"`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(span: &Micros, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(span)
    }

    /// Reads `"10s"`.
    ///
    /// # Errors
    /// The text is not a span of time.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Micros, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// A number of bytes, written `"64MiB"` or as a plain number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl std::str::FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text
            .find(|c: char| !c.is_ascii_digit() && c != '_')
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let count: u64 = number
            .replace('_', "")
            .parse()
            .map_err(|_| "a size is a whole number and a unit, as in \"64MiB\"".to_owned())?;
        let (_, scale) = SIZE_UNITS
            .into_iter()
            .find(|(name, _)| *name == unit.trim_start())
            .ok_or_else(|| format!("\"{unit}\" is not a unit of size; use B, KiB, MiB, GiB, TiB, kB, MB, GB or TB"))?;
        let bytes = count.checked_mul(scale).ok_or("the size is too large")?;
        Ok(Self(bytes))
    }
}

/// The largest unit that gives a whole number: `64MiB`.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, scale): &(&str, u64)| self.0 >= *scale && self.0.is_multiple_of(*scale);
        let (unit, scale) = SIZE_UNITS.into_iter().find(fits).unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / scale)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"64MiB\"")
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(bytes))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// What a connector may know when it is checked or opened.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder of the topology file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A path of the topology: relative ones start at the topology's folder.
    pub fn resolve(&self, path: impl AsRef<Path>) -> PathBuf {
        self.0.join(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_with_units() {
        let check = |text: &str, bytes: Option<u64>, shown: &str| {
            let size = text.parse::<ByteSize>().ok();
            assert_eq!(size, bytes.map(ByteSize), "{text}");
            assert_eq!(size.map(|size| size.to_string()).unwrap_or_default(), shown);
        };
        check("64MiB", Some(64 << 20), "64MiB");
        check("1_000 kB", Some(1_000_000), "1MB");
        check("1025B", Some(1025), "1025B");
        check("0B", Some(0), "0B");
        for wrong in ["", "MiB", "10", "10mb", "-1B", "99999999TiB"] {
            check(wrong, None, "");
        }
        assert_eq!(serde_json::from_str::<ByteSize>("7").unwrap(), ByteSize(7));
    }
}

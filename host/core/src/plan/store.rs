//! Where a checkpoint store is: `file:state`, `s3://bucket/prefix`.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where a checkpoint store is. What it is written as can be read again, at any base.
///
/// ```
/// # use std::path::Path;
/// # use wasmill_core::plan::StoreAddress;
/// let address = StoreAddress::parse("file:state", Path::new("/jobs"))?;
/// assert_eq!(address, StoreAddress::Folder("/jobs/state".into()));
/// assert_eq!(address.to_string(), "file:/jobs/state");
/// # Ok::<(), wasmill_core::plan::StoreAddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreAddress {
    /// A local folder.
    Folder(PathBuf),
    /// A prefix in an S3 bucket.
    S3 {
        /// The bucket's name.
        bucket: String,
        /// Where in it, without slashes at its ends; empty for the bucket as a whole.
        prefix: String,
    },
}

/// Why a text is no address of a store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreAddressError {
    /// It has no scheme.
    #[error("it does not say what kind of store it is")]
    NoScheme,
    /// There is no store for its scheme.
    #[error("there is no store for `{0}:`")]
    UnknownScheme(String),
    /// The part after the scheme names nothing.
    #[error("{0}")]
    Unnamed(&'static str),
}

impl StoreAddress {
    /// Reads an address. A relative folder is one in `base`.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str, base: &Path) -> Result<Self, StoreAddressError> {
        let (scheme, rest) = text.split_once(':').ok_or(StoreAddressError::NoScheme)?;
        match scheme {
            "file" => folder(rest, base),
            "s3" => bucket(rest),
            _ if scheme.is_empty() || scheme.contains(['/', '.']) => Err(StoreAddressError::NoScheme),
            _ => Err(StoreAddressError::UnknownScheme(scheme.to_owned())),
        }
    }
}

fn folder(rest: &str, base: &Path) -> Result<StoreAddress, StoreAddressError> {
    // `file:///data` is the same as `file:/data`.
    let path = match rest.strip_prefix("//") {
        Some(absolute) if absolute.starts_with('/') => absolute,
        Some(_) => return Err(StoreAddressError::Unnamed("a file address names no host")),
        None => rest,
    };
    if path.trim().is_empty() {
        return Err(StoreAddressError::Unnamed("the folder has no name"));
    }
    Ok(StoreAddress::Folder(base.join(path)))
}

fn bucket(rest: &str) -> Result<StoreAddress, StoreAddressError> {
    let (bucket, prefix) = match rest.strip_prefix("//") {
        Some(rest) => rest.split_once('/').unwrap_or((rest, "")),
        None => return Err(StoreAddressError::Unnamed("the bucket stands after two slashes")),
    };
    if bucket.is_empty() {
        return Err(StoreAddressError::Unnamed("the bucket has no name"));
    }
    Ok(StoreAddress::S3 {
        bucket: bucket.to_owned(),
        prefix: prefix.trim_matches('/').to_owned(),
    })
}

impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "file:{}", folder.display()),
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_folder_or_a_prefix_in_a_bucket() {
        let check = |text: &str, expect: Result<StoreAddress, StoreAddressError>| {
            let read = StoreAddress::parse(text, Path::new("/jobs"));
            assert_eq!(read, expect, "{text}");
            if let Ok(address) = read {
                let again = StoreAddress::parse(&address.to_string(), Path::new("/elsewhere"));
                assert_eq!(again, Ok(address), "{text}");
            }
        };
        let folder = |path: &str| Ok(StoreAddress::Folder(path.into()));
        let s3 = |bucket: &str, prefix: &str| {
            Ok(StoreAddress::S3 {
                bucket: bucket.into(),
                prefix: prefix.into(),
            })
        };
        let unnamed = |reason| Err(StoreAddressError::Unnamed(reason));
        check("file:state", folder("/jobs/state"));
        check("file:/data/state", folder("/data/state"));
        check("file:///data/state", folder("/data/state"));
        check("s3://b/p/q/", s3("b", "p/q"));
        check("s3://b", s3("b", ""));
        check("s3:///p", unnamed("the bucket has no name"));
        check("s3:b/p", unnamed("the bucket stands after two slashes"));
        check("file:", unnamed("the folder has no name"));
        check("file://host/x", unnamed("a file address names no host"));
        check("state", Err(StoreAddressError::NoScheme));
        check("./a:b", Err(StoreAddressError::NoScheme));
        check("ftp://x", Err(StoreAddressError::UnknownScheme("ftp".to_owned())));
    }
}

//! What a store's address means: `file:state`, `s3://bucket/prefix`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Objects, Store, StoreError};

/// Where a store is.
///
/// ```
/// # use std::path::Path;
/// # use wasmill_checkpoint::store::Address;
/// let address = Address::parse("file:state", Path::new("/jobs"))?;
/// assert_eq!(address, Address::Folder("/jobs/state".into()));
/// # Ok::<(), wasmill_checkpoint::store::StoreError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A local folder, which is made where it is not there.
    Folder(PathBuf),
    /// A prefix in an S3 bucket.
    S3 {
        /// The bucket's name.
        bucket: String,
        /// Where in it, without slashes at its ends; empty for the bucket as a whole.
        prefix: String,
    },
}

impl Address {
    /// Reads an address. A relative folder is one in `base`.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str, base: &Path) -> Result<Self, StoreError> {
        let wrong = |reason: &str| StoreError::Address {
            address: text.to_owned(),
            reason: reason.to_owned(),
        };
        if let Some(rest) = text.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            if bucket.is_empty() {
                return Err(wrong("the bucket has no name"));
            }
            return Ok(Self::S3 {
                bucket: bucket.to_owned(),
                prefix: prefix.trim_matches('/').to_owned(),
            });
        }
        let Some(path) = text.strip_prefix("file:") else {
            return Err(wrong("it begins neither with `file:` nor with `s3://`"));
        };
        // `file:///data` is the same as `file:/data`.
        let path = match path.strip_prefix("//") {
            Some(absolute) if absolute.starts_with('/') => absolute,
            Some(_) => return Err(wrong("a file URL names no host: write `file:/folder` or `file:folder`")),
            None => path,
        };
        if path.is_empty() {
            return Err(wrong("the folder has no name"));
        }
        Ok(Self::Folder(base.join(path)))
    }

    /// Opens the store. `options` are those of the client (for S3 the names of `object_store`, such as `endpoint`,
    /// `region`, `allow_http`) and `environment` the variables that it may take credentials from (`AWS_...`); an option
    /// goes before a variable.
    ///
    /// # Errors
    /// An option is not known, the folder cannot be made, or this build has no client for such a store.
    pub fn open(
        &self,
        options: &BTreeMap<String, String>,
        environment: &mut dyn Iterator<Item = (String, String)>,
    ) -> Result<Arc<dyn Store>, StoreError> {
        match self {
            Self::Folder(folder) => {
                if let Some(option) = options.keys().next() {
                    return Err(StoreError::Address {
                        address: format!("file:{}", folder.display()),
                        reason: format!("a local folder has no option `{option}`"),
                    });
                }
                Ok(Arc::new(Objects::in_folder(folder)?))
            }
            Self::S3 { bucket, prefix } => open_s3(bucket, prefix, options, environment),
        }
    }
}

#[cfg(feature = "s3")]
fn open_s3(
    bucket: &str,
    prefix: &str,
    options: &BTreeMap<String, String>,
    environment: &mut dyn Iterator<Item = (String, String)>,
) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(Objects::in_bucket(bucket, prefix, options, environment)?))
}

#[cfg(not(feature = "s3"))]
fn open_s3(
    bucket: &str,
    prefix: &str,
    _: &BTreeMap<String, String>,
    _: &mut dyn Iterator<Item = (String, String)>,
) -> Result<Arc<dyn Store>, StoreError> {
    Err(StoreError::Address {
        address: format!("s3://{bucket}/{prefix}"),
        reason: "this build has no client for S3 (cargo feature `s3`)".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Result<Address, &str>) {
        let parsed = Address::parse(text, Path::new("/jobs"));
        match expect {
            Ok(address) => assert_eq!(parsed.unwrap(), address),
            Err(reason) => assert!(parsed.unwrap_err().to_string().ends_with(reason), "{text}"),
        }
    }

    #[test]
    fn an_address_is_a_folder_or_a_prefix_in_a_bucket() {
        check("file:state", Ok(Address::Folder("/jobs/state".into())));
        check("file:/data/state", Ok(Address::Folder("/data/state".into())));
        check("file:///data/state", Ok(Address::Folder("/data/state".into())));
        let s3 = |bucket: &str, prefix: &str| Address::S3 {
            bucket: bucket.into(),
            prefix: prefix.into(),
        };
        check("s3://b/p/q/", Ok(s3("b", "p/q")));
        check("s3://b", Ok(s3("b", "")));
        check("s3:///p", Err("the bucket has no name"));
        check("file:", Err("the folder has no name"));
        check("file://host/x", Err("write `file:/folder` or `file:folder`"));
        check("state", Err("it begins neither with `file:` nor with `s3://`"));
    }
}

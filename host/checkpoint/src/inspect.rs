//! Looks whether the files that a chain's manifests name are there and whole: the facts that [`crate::recover`] decides on.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::chain::Chain;
use crate::snapshot::Reader;
use crate::store::Store;
use crate::{Damage, Error, Manifest, layout};

/// The damaged files of the newest manifest, and if there are any, of older ones back to the first that has none. By paths
/// within the lineage's folder. Lengths and indexes are checked, not the sections: their damage shows when they are
/// read, and then [`add`] and a new decision tell what to do.
///
/// # Errors
/// The store's, or a file is of a later version.
pub async fn damaged_files(store: &Arc<dyn Store>, chain: &Chain) -> Result<BTreeMap<String, Damage>, Error> {
    let mut damaged = BTreeMap::new();
    for manifest in chain.manifests() {
        let before = damaged.len();
        check(store, &layout::lineage(chain.lineage), manifest, false, &mut damaged).await?;
        let known = manifest.state.files().any(|file| damaged.contains_key(&*file.path));
        if damaged.len() == before && !known {
            break;
        }
    }
    Ok(damaged)
}

/// The damaged files of a manifest whose files are in `folder`, every byte of which is read.
///
/// # Errors
/// As [`damaged_files`].
pub async fn verify(
    store: &Arc<dyn Store>,
    folder: &str,
    manifest: &Manifest,
) -> Result<BTreeMap<String, Damage>, Error> {
    let mut damaged = BTreeMap::new();
    check(store, folder, manifest, true, &mut damaged).await?;
    Ok(damaged)
}

/// Adds what an attempt to restore has found. What is no damage of a file of this lineage is given back.
///
/// # Errors
/// The error as it was.
pub fn add(damaged: &mut BTreeMap<String, Damage>, chain: &Chain, error: Error) -> Result<(), Error> {
    let damage = match error {
        Error::Damaged(damage) => damage,
        Error::Store(error) if error.is_missing() => match &error {
            crate::store::StoreError::Missing { path, .. } => missing(path),
            _ => return Err(error.into()),
        },
        error => return Err(error),
    };
    let within = format!("{}/", layout::lineage(chain.lineage));
    match damage.path.strip_prefix(&within) {
        Some(path) => {
            damaged.insert(path.to_owned(), damage);
            Ok(())
        }
        None => Err(damage.into()),
    }
}

async fn check(
    store: &Arc<dyn Store>,
    folder: &str,
    manifest: &Manifest,
    sections: bool,
    damaged: &mut BTreeMap<String, Damage>,
) -> Result<(), Error> {
    for file in manifest.state.files() {
        if damaged.contains_key(&*file.path) {
            continue;
        }
        let read = async {
            let mut reader = Reader::open(store, folder, file).await?;
            if sections {
                reader.verify().await?;
            }
            Ok(())
        };
        let damage = match read.await {
            Ok(()) => continue,
            Err(Error::Damaged(damage)) => damage,
            Err(Error::Store(error)) if error.is_missing() => missing(&format!("{folder}/{}", file.path)),
            Err(error) => return Err(error),
        };
        damaged.insert(file.path.to_string(), damage);
    }
    Ok(())
}

fn missing(path: &str) -> Damage {
    Damage::of(path, "it is missing")
}

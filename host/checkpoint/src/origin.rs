//! What a new lineage takes over from a checkpoint of another one, or from a savepoint.
//!
//! The files are copied into the new lineage's folder before it is opened. So a lineage never depends on the retention of
//! another, and what an interrupted opening has left is written again by the next attempt. What the origin had yet
//! to commit is not taken over: that is for the lineage in which it was prepared.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmill_core::id::{Epoch, Generation, Lineage};

use crate::chain::Chain;
use crate::manifest::{ManifestKind, State, StateFile};
use crate::store::{Store, StoreError};
use crate::{Error, Manifest, layout};

/// Copies the state after an epoch of lineage `of` into `lineage`'s folder. The manifest is for [`crate::Body::Opened`].
///
/// # Errors
/// There is no such manifest, a file of it is missing, or the store's.
pub async fn from_checkpoint(
    store: &dyn Store,
    of: Lineage,
    epoch: Epoch,
    lineage: Lineage,
) -> Result<Manifest, Error> {
    let chain = Chain::read(store, of).await?;
    let manifests: Vec<&Manifest> = chain.iter().flat_map(Chain::manifests).collect();
    let manifest = manifests
        .iter()
        .find(|manifest| manifest.epoch == epoch)
        .ok_or_else(|| Error::Absent(absent(of, epoch, &manifests)))?;
    let (state, names) = renamed(&manifest.state, epoch);
    for (from, to) in names {
        let copied = store
            .copy(&layout::within(of, &from), &layout::within(lineage, &to))
            .await;
        copied.map_err(|error| gone(error, &from))?;
    }
    Ok(begins(manifest, lineage, state))
}

/// Copies a savepoint that [`crate::savepoint::open`] has read from `folder` of `from` into `lineage`'s folder.
///
/// # Errors
/// A file of it is missing, or a store's.
pub async fn from_savepoint(
    from: &dyn Store,
    folder: &str,
    savepoint: &Manifest,
    store: &dyn Store,
    lineage: Lineage,
) -> Result<Manifest, Error> {
    let (state, names) = renamed(&savepoint.state, savepoint.epoch);
    for (path, to) in names {
        let source = format!("{folder}/{path}");
        let target = layout::within(lineage, &to);
        copy_across(from, &source, store, &target)
            .await
            .map_err(|error| gone(error, &path))?;
    }
    Ok(begins(savepoint, lineage, state))
}

/// How many bytes are carried at once from store to store.
const COPY_BYTES: u64 = 8 << 20;

async fn copy_across(from: &dyn Store, source: &str, to: &dyn Store, target: &str) -> Result<(), StoreError> {
    let length = from.length(source).await?;
    let mut upload = to.upload(target).await?;
    let mut at = 0;
    while at < length {
        let end = length.min(at + COPY_BYTES);
        upload.write(from.get_range(source, at..end).await?).await?;
        at = end;
    }
    upload.complete().await
}

/// The state with the names that its files get, and from which name to which.
fn renamed(state: &State, epoch: Epoch) -> (State, BTreeMap<Arc<str>, Arc<str>>) {
    let mut names = BTreeMap::new();
    let state = state.renamed(|file: &StateFile| {
        let name: Arc<str> = layout::origin(epoch, names.len() as u32).into();
        names.insert(file.path.clone(), name.clone());
        name
    });
    (state, names)
}

fn begins(origin: &Manifest, lineage: Lineage, state: State) -> Manifest {
    let mut manifest = Manifest {
        lineage,
        generation: Generation(0),
        kind: ManifestKind::Checkpoint,
        state,
        ..origin.clone()
    };
    for sink in manifest.sinks.values_mut() {
        sink.pending.clear();
    }
    manifest
}

fn absent(lineage: Lineage, epoch: Epoch, there: &[&Manifest]) -> String {
    let there: Vec<String> = there.iter().map(|manifest| manifest.epoch.to_string()).collect();
    let there = if there.is_empty() {
        "none".to_owned()
    } else {
        there.join(", ")
    };
    format!("lineage {lineage} has no checkpoint of epoch {epoch}; there are: {there}")
}

fn gone(error: StoreError, path: &str) -> Error {
    if error.is_missing() {
        return Error::Absent(format!("`{path}` is gone: the checkpoint was removed, or is damaged"));
    }
    error.into()
}

//! Savepoints: one folder with all that an epoch needs, which can be copied and moved.
//!
//! `savepoint.json` is a manifest in an envelope of its own, written last; `state/` has the operators' state as bases.
//! Paths in it are relative to the folder. A savepoint has nothing to commit: it is made when all of its epoch is.

use std::collections::BTreeMap;
use std::sync::Arc;

use wasmill_core::id::Generation;

use crate::manifest::{LayerKind, ManifestKind, SinkCut, State};
use crate::snapshot::{Output, Reader, Restore};
use crate::store::{Creation, Store};
use crate::{Error, Manifest, envelope, layout};

/// Writes a savepoint of `manifest`, whose files are in `lineage_folder` of `store`, to `folder` of `target`.
///
/// # Errors
/// A file is missing or damaged, there is a savepoint in the folder, or a store's.
pub async fn write(
    store: &Arc<dyn Store>,
    lineage_folder: &str,
    manifest: &Manifest,
    target: &Arc<dyn Store>,
    folder: &str,
) -> Result<Manifest, Error> {
    let mut restore = Restore::open(store, lineage_folder, &manifest.state, |_, _| true).await?;
    let path = layout::base(manifest.epoch, Generation(0), 0);
    let mut output = Output::new(&**target, folder, &path);
    while let Some((operator, group)) = restore.next_group().await? {
        output.writer.section(&operator, group, LayerKind::Base);
        while let Some(entry) = restore.next().await? {
            output.writer.entry(&entry.key, Some(&entry.value));
            output.send().await?;
        }
    }
    let mut state = State::default();
    state.add(&output.finish().await?);
    let sinks = manifest.sinks.iter().map(|(sink, cut)| {
        let committed = SinkCut {
            delivery: cut.delivery,
            pending: BTreeMap::new(),
        };
        (sink.clone(), committed)
    });
    let savepoint = Manifest {
        kind: ManifestKind::Savepoint,
        sinks: sinks.collect(),
        state,
        ..manifest.clone()
    };
    let (bytes, _) = envelope::seal(envelope::SAVEPOINT, &savepoint);
    let document = format!("{folder}/{}", layout::SAVEPOINT);
    if target.put_new(&document, bytes.clone()).await? == Creation::Taken && target.get(&document).await? != bytes {
        return Err(Error::Absent(format!("`{folder}` has a savepoint already")));
    }
    Ok(savepoint)
}

/// Reads the savepoint in a folder, and checks that its files are those that were written.
///
/// # Errors
/// There is none, a file is missing or damaged, or it is of a later version.
pub async fn open(store: &Arc<dyn Store>, folder: &str) -> Result<Manifest, Error> {
    let path = format!("{folder}/{}", layout::SAVEPOINT);
    let bytes = match store.get(&path).await {
        Err(error) if error.is_missing() => {
            return Err(Error::Absent(format!(
                "there is no savepoint in `{folder}`: it has no `{}`",
                layout::SAVEPOINT
            )));
        }
        bytes => bytes?,
    };
    let (manifest, _): (Manifest, _) = envelope::open(envelope::SAVEPOINT, &path, &bytes)?;
    for file in manifest.state.files() {
        Reader::open(store, folder, file).await?;
    }
    Ok(manifest)
}

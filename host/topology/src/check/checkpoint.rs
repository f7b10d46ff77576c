//! `[checkpoint]` and what hangs on it: the store's address, and whether something else reads or writes there.

use std::path::{Component, Path, PathBuf};

use wasmill_core::diagnostic::Diagnostic;
use wasmill_core::plan::{CheckpointSettings, StoreAddress, StoreAddressError};

use super::Checker;
use crate::codes;
use crate::place::{At as _, Place};
use crate::reader::not_built;
use crate::spec::Checkpoint;

/// Stores that are designed and not built, by their schemes.
const STORES_TO_COME: [&str; 7] = ["gs", "gcs", "az", "azure", "abfs", "abfss", "adl"];

impl Checker<'_> {
    /// Checks what the root says of running, which no node depends on.
    pub(super) fn running(&self) -> Option<CheckpointSettings> {
        let topology = self.topology;
        if let (None, Some(restart)) = (&topology.checkpoint, &topology.restart)
            && !topology.running.iter().any(|(key, _)| *key == "checkpoint")
        {
            self.problems().error(
                codes::POINTLESS_KEY,
                "[restart] does nothing without [checkpoint]",
                &restart.place,
                "a failed job goes on from a checkpoint: add [checkpoint] with a `store`, or leave [restart] out",
            );
        }
        let checkpoint = topology.checkpoint.as_ref()?;
        let (text, place) = checkpoint.store.as_ref()?;
        let store = self.store(&text.value, &text.written, place)?;
        if let StoreAddress::Folder(folder) = &store {
            self.apart(folder, &text.written, place);
            if let Some(options) = &checkpoint.options_place {
                self.problems().push(
                    Diagnostic::error(codes::POINTLESS_KEY, "`options` does nothing here")
                        .at(options, "a folder has no client that would take options")
                        .help("leave it out"),
                );
            }
        }
        Some(settings(checkpoint, store, &text.written))
    }

    fn store(&self, text: &str, written: &str, place: &Place) -> Option<StoreAddress> {
        let error = match StoreAddress::parse(text, self.world.folder) {
            Ok(address) => return Some(address),
            Err(error) => error,
        };
        let stores = "A store is a folder, as in \"file:state\", or a part of a bucket, as in \"s3://bucket/prefix\"";
        let help = match &error {
            StoreAddressError::UnknownScheme(scheme) if STORES_TO_COME.contains(&scheme.as_str()) => {
                let what = format!("a checkpoint store at {scheme}:");
                self.problems().push(not_built(&what, place, stores));
                return None;
            }
            StoreAddressError::NoScheme => format!("did you mean \"file:{written}\"? {stores}"),
            _ => stores.to_owned(),
        };
        self.problems().error(
            codes::STORE,
            format!("\"{written}\" is no checkpoint store: {error}"),
            place,
            help,
        );
        None
    }

    /// Refuses a store in which a source reads or a sink writes, and one that lies where a sink writes.
    fn apart(&self, store: &Path, written: &str, place: &Place) {
        let store = plain(store);
        let resolved = |name: &str| plain(&self.folder.resolve(name));
        for (_, reads, source) in &self.read {
            if let Some(read) = reads.iter().find(|read| resolved(read).starts_with(&store)) {
                let source = &self.topology.nodes[*source];
                self.problems().push(
                    Diagnostic::error(
                        codes::STORE,
                        format!("{} reads in the checkpoint store {written}", source.name),
                    )
                    .at(place, "checkpoints are kept here")
                    .at(&source.id_place, format!("this reads {read}"))
                    .help("keep checkpoints in a folder of their own, as in \"file:state\""),
                );
            }
        }
        for (_, target, sink) in &self.targets {
            let path = resolved(target);
            if path.starts_with(&store) || store.starts_with(&path) {
                let sink = &self.topology.nodes[*sink];
                self.problems().push(
                    Diagnostic::error(
                        codes::STORE,
                        format!("{} writes to the checkpoint store {written}", sink.name),
                    )
                    .at(place, "checkpoints are kept here")
                    .at(&sink.id_place, format!("this writes to {target}"))
                    .help("keep checkpoints in a folder of their own, as in \"file:state\""),
                );
            }
        }
    }
}

fn settings(spec: &Checkpoint, store: StoreAddress, written: &str) -> CheckpointSettings {
    let default = CheckpointSettings::new(store, written.to_owned());
    CheckpointSettings {
        options: spec.options.iter().cloned().collect(),
        interval: spec.interval.unwrap_or(default.interval),
        timeout: spec.timeout.unwrap_or(default.timeout),
        retain: spec.retain.unwrap_or(default.retain),
        retain_for: spec.retain_for.unwrap_or(default.retain_for),
        max_uncommitted: spec.max_uncommitted.unwrap_or(default.max_uncommitted),
        ..default
    }
}

/// A path without `.` and `..`, by its text alone.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(plain.pop()),
            other => plain.push(other),
        }
    }
    plain
}

//! Where things stand in a checkpoint store: the one place that puts paths together and takes them apart.

use wasmill_core::id::{Epoch, Generation, Lineage, NodeId, WorkerIndex};

/// Says what the store is, and of which version.
pub const STORE: &str = "wasmill.json";
/// The folder of the lineages.
pub const LINEAGES: &str = "lineages";
/// The manifest of a savepoint, in its folder.
pub const SAVEPOINT: &str = "savepoint.json";
/// The folder of snapshot files, in a lineage's or a savepoint's folder.
pub const STATE: &str = "state";

/// A lineage's folder.
pub fn lineage(lineage: Lineage) -> String {
    format!("{LINEAGES}/{:06}", lineage.0)
}

/// The lineage whose folder has this name.
pub fn lineage_of(name: &str) -> Option<Lineage> {
    (name.len() >= 6).then(|| name.parse().ok().map(Lineage)).flatten()
}

/// The folder of a lineage's links.
pub fn chain(of: Lineage) -> String {
    format!("{}/chain", lineage(of))
}

/// A link of a lineage's chain.
pub fn link(of: Lineage, number: u64) -> String {
    format!("{}/{number:020}.json", chain(of))
}

/// The number of the link at a path.
pub fn link_number(path: &str) -> Option<u64> {
    let name = path.rsplit('/').next()?.strip_suffix(".json")?;
    (name.len() == 20).then(|| name.parse().ok()).flatten()
}

/// The path of a file of a lineage, which is relative in manifests.
pub fn within(of: Lineage, relative: &str) -> String {
    format!("{}/{relative}", lineage(of))
}

/// A worker's snapshot file of an epoch, within the lineage's folder.
pub fn snapshot(epoch: Epoch, generation: Generation, worker: WorkerIndex) -> String {
    format!("{STATE}/{:020}-g{generation}-w{}.snap", epoch.0, worker.0)
}

/// A base that compaction has made, within the lineage's folder. `epoch` is the one after the newest manifest's: the
/// first whose manifest can name it.
pub fn base(epoch: Epoch, generation: Generation, number: u32) -> String {
    format!("{STATE}/base-{:020}-g{generation}-{number}.snap", epoch.0)
}

/// A file that a lineage took over from its origin, within the lineage's folder: as a base of generation 0.
pub fn origin(epoch: Epoch, number: u32) -> String {
    base(epoch, Generation(0), number)
}

/// The folder of a sink's spool, within the lineage's folder.
pub fn spool_folder(sink: &NodeId) -> String {
    format!("spool/{sink}")
}

/// A writer's spool of an epoch, within the lineage's folder.
pub fn spool(sink: &NodeId, epoch: Epoch, generation: Generation, writer: u32) -> String {
    format!("{}/{:020}-g{generation}-{writer}", spool_folder(sink), epoch.0)
}

/// What the name of a snapshot file or a spool says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// In which epoch it was written.
    pub epoch: Epoch,
    /// By which generation.
    pub generation: Generation,
}

/// When the snapshot file or spool at a path was written.
pub fn written(path: &str) -> Option<Written> {
    let name = path.rsplit('/').next()?;
    let (epoch, rest) = name.strip_prefix("base-").unwrap_or(name).split_once("-g")?;
    let (generation, _) = rest.split_once('-')?;
    Some(Written {
        epoch: Epoch(epoch.parse().ok()?),
        generation: Generation(generation.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_when_a_file_was_written() {
        let said = Some(Written {
            epoch: Epoch(12),
            generation: Generation(3),
        });
        let (epoch, generation) = (Epoch(12), Generation(3));
        assert_eq!(written(&snapshot(epoch, generation, WorkerIndex(0))), said);
        assert_eq!(written(&base(epoch, generation, 7)), said);
        assert_eq!(written(&spool(&NodeId::new("out"), epoch, generation, 1)), said);
        assert_eq!(written("state/readme.md"), None);
    }

    #[test]
    fn links_sort_by_their_numbers() {
        let path = link(Lineage(1), 12);
        assert_eq!(path, "lineages/000001/chain/00000000000000000012.json");
        assert_eq!(link_number(&path), Some(12));
        assert_eq!(link_number("lineages/000001/chain/12.json"), None);
        assert_eq!(lineage_of("000001"), Some(Lineage(1)));
        assert_eq!(lineage_of("1"), None);
    }
}

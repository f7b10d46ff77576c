//! Which sections of which snapshot files make up each operator's key groups.
//!
//! A key group's entries are layers, oldest first: a base, and deltas over it; the newest entry of a key wins. In the
//! document key groups that have the same layers stand together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wasmill_core::id::{KeyGroup, NodeId};

use crate::envelope::Checksum;

/// The operators' state at the end of an epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Document", into = "Document")]
pub struct State {
    files: BTreeMap<Arc<str>, StateFile>,
    groups: BTreeMap<NodeId, BTreeMap<KeyGroup, Vec<Layer>>>,
}

/// A snapshot file that a manifest names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StateFile {
    /// Its path, relative to the lineage's or the savepoint's folder.
    pub path: Arc<str>,
    /// Its length in bytes.
    pub length: u64,
    /// The checksum of its index, which has those of its sections.
    pub checksum: Checksum,
}

/// What a key group has in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The file's path.
    pub path: Arc<str>,
    /// Whether it stands alone.
    pub kind: LayerKind,
    /// Its bytes. After a manifest was read: the mean of the key groups that stood together.
    pub bytes: u64,
}

/// Whether a section stands alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LayerKind {
    /// All entries of the key group.
    Base,
    /// What changed since the layer before.
    Delta,
}

/// A snapshot file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSummary {
    /// The file.
    pub file: StateFile,
    /// Its sections, in the file's order.
    pub sections: Vec<SectionSummary>,
}

impl FileSummary {
    /// The entries of all sections.
    pub fn entries(&self) -> u64 {
        self.sections.iter().map(|section| section.entries).sum()
    }
}

/// A section of a snapshot file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectionSummary {
    /// Whose state.
    pub operator: NodeId,
    /// Which key group's.
    pub group: KeyGroup,
    /// Whether it stands alone.
    pub kind: LayerKind,
    /// Its entries, removals too.
    pub entries: u64,
    /// Its bytes.
    pub bytes: u64,
}

/// A base that compaction has made, and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The file, all sections bases.
    pub file: FileSummary,
    /// The paths of the layers that each section was made of, in the order of the sections.
    pub replaces: Vec<Vec<Arc<str>>>,
}

impl State {
    /// Takes in a file: a base replaces its key group's layers, a delta comes on top.
    pub fn add(&mut self, summary: &FileSummary) {
        for section in &summary.sections {
            let layers = self.layers_mut(section);
            if section.kind == LayerKind::Base {
                layers.clear();
            }
            layers.push(Layer {
                path: summary.file.path.clone(),
                kind: section.kind,
                bytes: section.bytes,
            });
        }
        self.files.insert(summary.file.path.clone(), summary.file.clone());
        self.drop_unnamed();
    }

    /// Puts a merged base in the place of what it was made of. Where that is no longer what a key group begins with, the
    /// key group stays as it is. Whether the file is in use.
    pub fn replace(&mut self, merged: &Merged) -> bool {
        for (section, replaced) in merged.file.sections.iter().zip(&merged.replaces) {
            let layers = self.layers_mut(section);
            let begins_so =
                layers.len() >= replaced.len() && layers.iter().zip(replaced).all(|(layer, path)| layer.path == *path);
            if begins_so {
                let base = Layer {
                    path: merged.file.file.path.clone(),
                    kind: LayerKind::Base,
                    bytes: section.bytes,
                };
                layers.splice(..replaced.len(), [base]);
            }
        }
        self.files
            .insert(merged.file.file.path.clone(), merged.file.file.clone());
        self.drop_unnamed();
        self.files.contains_key(&merged.file.file.path)
    }

    /// The same state with other names of its files.
    ///
    /// # Panics
    /// `name` gives two files one name.
    #[must_use]
    pub fn renamed(&self, mut name: impl FnMut(&StateFile) -> Arc<str>) -> Self {
        let mut renamed = self.clone();
        let names: BTreeMap<Arc<str>, Arc<str>> = self
            .files
            .values()
            .map(|file| (file.path.clone(), name(file)))
            .collect();
        renamed.files = self
            .files
            .values()
            .map(|file| {
                let path = names[&file.path].clone();
                (path.clone(), StateFile { path, ..file.clone() })
            })
            .collect();
        assert_eq!(renamed.files.len(), self.files.len(), "files have names of their own");
        for layer in renamed.groups.values_mut().flat_map(BTreeMap::values_mut).flatten() {
            layer.path = names[&layer.path].clone();
        }
        renamed
    }

    /// Leaves out an operator's state.
    pub fn forget(&mut self, operator: &NodeId) {
        self.groups.remove(operator);
        self.drop_unnamed();
    }

    /// The operators that have state.
    pub fn operators(&self) -> impl Iterator<Item = &NodeId> {
        self.groups.keys()
    }

    /// An operator's key groups that have state, with their layers, oldest first.
    pub fn groups(&self, operator: &NodeId) -> impl Iterator<Item = (KeyGroup, &[Layer])> {
        let groups = self.groups.get(operator).into_iter().flatten();
        groups.map(|(group, layers)| (*group, &layers[..]))
    }

    /// The layers of a key group, oldest first.
    pub fn layers(&self, operator: &NodeId, group: KeyGroup) -> &[Layer] {
        let groups = self.groups.get(operator);
        groups
            .and_then(|groups| groups.get(&group))
            .map_or(&[], |layers| layers)
    }

    /// The files that the state needs, by path.
    pub fn files(&self) -> impl Iterator<Item = &StateFile> {
        self.files.values()
    }

    /// A file that the state needs.
    pub fn file(&self, path: &str) -> Option<&StateFile> {
        self.files.get(path)
    }

    fn layers_mut(&mut self, section: &SectionSummary) -> &mut Vec<Layer> {
        let groups = self.groups.entry(section.operator.clone()).or_default();
        groups.entry(section.group).or_default()
    }

    fn drop_unnamed(&mut self) {
        let named: BTreeSet<&Arc<str>> = self
            .groups
            .values()
            .flat_map(BTreeMap::values)
            .flatten()
            .map(|layer| &layer.path)
            .collect();
        self.files.retain(|path, _| named.contains(path));
    }
}

/// The state as it stands in a manifest.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Document {
    files: Vec<StateFile>,
    operators: BTreeMap<NodeId, Vec<Together>>,
}

/// Key groups that have the same layers.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Together {
    /// First and last, ascending.
    groups: Vec<(u16, u16)>,
    layers: Vec<LayerOfAll>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct LayerOfAll {
    /// The file's place in the list.
    file: usize,
    kind: LayerKind,
    /// Of all these key groups.
    bytes: u64,
}

impl From<State> for Document {
    fn from(state: State) -> Self {
        let places: BTreeMap<&Arc<str>, usize> = state.files.keys().zip(0..).collect();
        let operators = state
            .groups
            .iter()
            .map(|(operator, groups)| {
                let mut together: BTreeMap<Vec<(usize, LayerKind)>, Together> = BTreeMap::new();
                for (group, layers) in groups {
                    let same = layers.iter().map(|layer| (places[&layer.path], layer.kind)).collect();
                    let entry = together.entry(same).or_insert_with(|| Together {
                        groups: Vec::new(),
                        layers: layers
                            .iter()
                            .map(|layer| LayerOfAll {
                                file: places[&layer.path],
                                kind: layer.kind,
                                bytes: 0,
                            })
                            .collect(),
                    });
                    for (of_all, layer) in entry.layers.iter_mut().zip(layers) {
                        of_all.bytes += layer.bytes;
                    }
                    match entry.groups.last_mut() {
                        Some((_, last)) if *last + 1 == group.0 => *last = group.0,
                        _ => entry.groups.push((group.0, group.0)),
                    }
                }
                (operator.clone(), together.into_values().collect())
            })
            .collect();
        Self {
            files: state.files.into_values().collect(),
            operators,
        }
    }
}

impl TryFrom<Document> for State {
    type Error = String;

    fn try_from(document: Document) -> Result<Self, String> {
        let mut groups: BTreeMap<NodeId, BTreeMap<KeyGroup, Vec<Layer>>> = BTreeMap::new();
        for (operator, all) in document.operators {
            let of_operator = groups.entry(operator.clone()).or_default();
            for together in all {
                let ranges = &together.groups;
                let count: u64 = ranges
                    .iter()
                    .map(|(first, last)| u64::from(last.saturating_sub(*first)) + 1)
                    .sum();
                let layers: Vec<Layer> = together
                    .layers
                    .iter()
                    .map(|layer| {
                        let file = document.files.get(layer.file);
                        let file = file.ok_or_else(|| format!("`{operator}` names file {}", layer.file))?;
                        Ok(Layer {
                            path: file.path.clone(),
                            kind: layer.kind,
                            bytes: layer.bytes.div_ceil(count.max(1)),
                        })
                    })
                    .collect::<Result<_, String>>()?;
                for group in ranges.iter().flat_map(|(first, last)| *first..=*last) {
                    if of_operator.insert(KeyGroup(group), layers.clone()).is_some() {
                        return Err(format!("`{operator}` has key group {group} twice"));
                    }
                }
            }
        }
        let files = document.files.into_iter().map(|file| (file.path.clone(), file));
        Ok(Self {
            files: files.collect(),
            groups,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(group: u16, kind: LayerKind, bytes: u64) -> SectionSummary {
        SectionSummary {
            operator: NodeId::new("count"),
            group: KeyGroup(group),
            kind,
            entries: 1,
            bytes,
        }
    }

    fn file(path: &str, sections: Vec<SectionSummary>) -> FileSummary {
        FileSummary {
            file: StateFile {
                path: path.into(),
                length: 100,
                checksum: Checksum(7),
            },
            sections,
        }
    }

    fn layers(state: &State, group: u16) -> Vec<&str> {
        let layers = state.layers(&NodeId::new("count"), KeyGroup(group));
        layers.iter().map(|layer| &*layer.path).collect()
    }

    use LayerKind::{Base, Delta};

    #[test]
    fn deltas_come_on_top_and_a_base_replaces_all() {
        let mut state = State::default();
        state.add(&file("a", vec![section(0, Delta, 10), section(1, Delta, 10)]));
        state.add(&file("b", vec![section(0, Delta, 10)]));
        assert_eq!(layers(&state, 0), ["a", "b"]);
        assert_eq!(layers(&state, 1), ["a"]);
        state.add(&file("c", vec![section(0, Base, 10), section(1, Delta, 10)]));
        assert_eq!(layers(&state, 0), ["c"]);
        assert_eq!(layers(&state, 1), ["a", "c"]);
        let paths: Vec<&str> = state.files().map(|file| &*file.path).collect();
        assert_eq!(paths, ["a", "c"], "what nothing names is not needed");
    }

    #[test]
    fn a_merged_base_stands_for_the_layers_it_was_made_of() {
        let mut state = State::default();
        for path in ["a", "b"] {
            state.add(&file(path, vec![section(0, Delta, 10), section(1, Delta, 10)]));
        }
        let merged = Merged {
            file: file("base", vec![section(0, Base, 15), section(1, Base, 15)]),
            replaces: vec![vec!["a".into(), "b".into()]; 2],
        };
        // While it was made, one key group went on and another was written anew.
        state.add(&file("c", vec![section(0, Delta, 10), section(1, Base, 10)]));
        assert!(state.replace(&merged));
        assert_eq!(layers(&state, 0), ["base", "c"]);
        assert_eq!(layers(&state, 1), ["c"]);
        let again = Merged {
            file: file("late", vec![section(1, Base, 15)]),
            replaces: vec![vec!["a".into()]],
        };
        assert!(!state.replace(&again));
        assert_eq!(state.file("late"), None);
    }

    #[test]
    fn equal_key_groups_stand_together_in_the_document() {
        let mut state = State::default();
        let sections = [0, 1, 2, 5].map(|group| section(group, Delta, 10));
        state.add(&file("a", sections.into()));
        state.add(&file("b", vec![section(2, Delta, 4)]));
        let text = serde_json::to_value(&state).unwrap();
        let expect = serde_json::json!([
            { "groups": [[0, 1], [5, 5]], "layers": [{ "file": 0, "kind": "delta", "bytes": 30 }] },
            { "groups": [[2, 2]], "layers": [
                { "file": 0, "kind": "delta", "bytes": 10 }, { "file": 1, "kind": "delta", "bytes": 4 }] },
        ]);
        assert_eq!(text["operators"]["count"], expect);
        assert_eq!(serde_json::from_value::<State>(text).unwrap(), state);
    }
}

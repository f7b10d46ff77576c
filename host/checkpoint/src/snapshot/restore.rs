//! Merges the layers of key groups: the newest entry of a key wins, and removed ones vanish.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;

use wasmill_core::id::{KeyGroup, NodeId};

use super::{Change, Cursor, Entry, Reader};
use crate::manifest::{Layer, State};
use crate::store::Store;
use crate::{Damage, Error};

/// Gives the entries of key groups, by operator, then key group, then key. Of each file it keeps a part of bounded size:
/// what was read ahead, and one block.
#[derive(Debug)]
pub struct Restore {
    readers: BTreeMap<Arc<str>, Reader>,
    waiting: VecDeque<(NodeId, KeyGroup, Vec<Layer>)>,
    open: Option<Merge>,
}

#[derive(Debug)]
struct Merge {
    operator: NodeId,
    group: KeyGroup,
    /// Oldest first.
    heads: Vec<Head>,
}

#[derive(Debug)]
struct Head {
    path: Arc<str>,
    cursor: Cursor,
    change: Option<Change>,
}

impl Restore {
    /// Opens the files that the wanted key groups need. Their paths are relative to `folder`.
    ///
    /// # Errors
    /// A file is missing or damaged, or the store's.
    pub async fn open(
        store: &Arc<dyn Store>,
        folder: &str,
        state: &State,
        wanted: impl Fn(&NodeId, KeyGroup) -> bool + Send,
    ) -> Result<Self, Error> {
        let mut readers = BTreeMap::new();
        let mut waiting = VecDeque::new();
        for operator in state.operators() {
            for (group, layers) in state.groups(operator) {
                if wanted(operator, group) {
                    waiting.push_back((operator.clone(), group, layers.to_vec()));
                }
            }
        }
        for (_, _, layers) in &waiting {
            for layer in layers {
                if !readers.contains_key(&layer.path) {
                    let file = state.file(&layer.path).expect("a state has the files of its layers");
                    readers.insert(layer.path.clone(), Reader::open(store, folder, file).await?);
                }
            }
        }
        Ok(Self {
            readers,
            waiting,
            open: None,
        })
    }

    /// The next key group that has state, before any of its entries. To be called at the beginning and after
    /// [`Restore::next`] has said `None`; `None`: there is no other.
    ///
    /// # Errors
    /// As [`Restore::next`].
    pub async fn next_group(&mut self) -> Result<Option<(NodeId, KeyGroup)>, Error> {
        let Some((operator, group, layers)) = self.waiting.pop_front() else {
            self.open = None;
            return Ok(None);
        };
        let mut heads = Vec::with_capacity(layers.len());
        for layer in layers {
            let reader = self.readers.get_mut(&layer.path).expect("it was opened");
            let Some(mut cursor) = reader.cursor(&operator, group) else {
                let what = "it has no such section, which the manifest names";
                let section = super::format::section_name(&operator, group);
                return Err(Damage::of(&*layer.path, what).within(section).into());
            };
            let change = reader.next(&mut cursor).await?;
            heads.push(Head {
                path: layer.path,
                cursor,
                change,
            });
        }
        self.open = Some(Merge {
            operator: operator.clone(),
            group,
            heads,
        });
        Ok(Some((operator, group)))
    }

    /// The next entry of the key group; `None` at its end.
    ///
    /// # Errors
    /// A section is damaged, or the store's.
    pub async fn next(&mut self) -> Result<Option<Entry>, Error> {
        let Some(merge) = &mut self.open else { return Ok(None) };
        loop {
            let least = merge
                .heads
                .iter()
                .filter_map(|head| Some(&head.change.as_ref()?.key))
                .min();
            let Some(key) = least.cloned() else { return Ok(None) };
            let mut newest = None;
            for head in &mut merge.heads {
                if head.change.as_ref().is_some_and(|change| change.key == key) {
                    newest = head.change.take();
                    let reader = self.readers.get_mut(&head.path).expect("it was opened");
                    head.change = reader.next(&mut head.cursor).await?;
                }
            }
            if let Some(Change {
                key,
                value: Some(value),
            }) = newest
            {
                return Ok(Some(Entry {
                    operator: merge.operator.clone(),
                    group: merge.group,
                    key,
                    value,
                }));
            }
        }
    }
}

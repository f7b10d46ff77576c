//! The chain of a lineage in its store: reads it, and appends to it for as long as nobody else has.
//!
//! The next link is made with "create if absent": whoever loses that race is fenced, ends, and commits nothing. A link
//! that was made counts only if no higher one is there. A host that slept may find its next number free because
//! retention has removed that link long ago, and then there is always a higher one.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use wasmill_core::id::{Generation, Lineage};

use crate::envelope::Checksum;
use crate::store::{Creation, Store};
use crate::{Body, Damage, Error, Link, Manifest, Origin, layout};

/// How often a chain is read again because it has grown meanwhile.
const READ_ATTEMPTS_MAX: u32 = 20;

/// A lineage's chain as it was found: links without gaps, oldest first. Older ones have been removed.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
    /// The lineage.
    pub lineage: Lineage,
    /// The links.
    pub links: Vec<Found>,
}

/// A link as it was found.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// It is as it was written.
    Link(Box<Link>, Checksum),
    /// It is not.
    Damaged(u64, Damage),
}

impl Found {
    /// Its number.
    pub const fn number(&self) -> u64 {
        match self {
            Self::Link(link, _) => link.number,
            Self::Damaged(number, _) => *number,
        }
    }

    /// The link, where it is readable.
    pub fn link(&self) -> Option<&Link> {
        match self {
            Self::Link(link, _) => Some(link),
            Self::Damaged(..) => None,
        }
    }
}

impl Chain {
    /// Reads a lineage's chain. `None` where it has no link: it was not opened.
    ///
    /// A link that was the newest when it was listed may have been removed, and its number taken by somebody who came too
    /// late, before it is read. Then there is a higher one; so it is listed again after it was read.
    ///
    /// # Errors
    /// The store's, or a link is of a later version.
    pub async fn read(store: &dyn Store, lineage: Lineage) -> Result<Option<Self>, Error> {
        for _ in 0..READ_ATTEMPTS_MAX {
            let numbers = numbers(store, lineage).await?;
            let Some(newest) = numbers.last() else { return Ok(None) };
            let mut links = BTreeMap::new();
            for number in numbers.iter().rev() {
                if let Some(found) = read_link(store, lineage, *number).await? {
                    links.insert(*number, found);
                }
            }
            if links.contains_key(newest) && self::numbers(store, lineage).await?.last() == Some(newest) {
                return Ok(Some(Self {
                    lineage,
                    links: connected(links),
                }));
            }
        }
        Err(Error::Absent(format!(
            "the chain of lineage {lineage} grows while it is read, each time"
        )))
    }

    /// The chain of the newest lineage that was opened; `None` in an empty store.
    ///
    /// # Errors
    /// As [`Chain::read`].
    pub async fn newest(store: &dyn Store) -> Result<Option<Self>, Error> {
        for lineage in lineages(store).await?.into_iter().rev() {
            if let Some(chain) = Self::read(store, lineage).await? {
                return Ok(Some(chain));
            }
        }
        Ok(None)
    }

    /// Its readable links, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Link> {
        self.links.iter().rev().filter_map(Found::link)
    }

    /// The manifests that a generation can go on from, newest first.
    pub fn manifests(&self) -> impl Iterator<Item = &Manifest> {
        self.newest_first().filter_map(Link::manifest)
    }

    /// The generation that may write, by what is readable.
    pub fn generation(&self) -> Generation {
        let said = self.newest_first().find_map(|link| match &link.body {
            Body::Opened { .. } => Some(Generation(1)),
            Body::Takeover { generation } => Some(*generation),
            Body::Manifest(manifest) => Some(manifest.generation),
            Body::Settled { .. } | Body::Closed { .. } => None,
        });
        said.unwrap_or_default()
    }

    /// Who has closed it.
    pub fn closed(&self) -> Option<(Lineage, &Origin)> {
        match self.links.last()?.link()?.body {
            Body::Closed { by, ref origin } => Some((by, origin)),
            _ => None,
        }
    }
}

/// The lineages that have a folder, ascending. The last one may not be opened yet.
///
/// # Errors
/// The store's.
pub async fn lineages(store: &dyn Store) -> Result<Vec<Lineage>, Error> {
    let folders = store.folders(layout::LINEAGES).await?;
    let mut lineages: Vec<Lineage> = folders.iter().filter_map(|name| layout::lineage_of(name)).collect();
    lineages.sort_unstable();
    Ok(lineages)
}

/// Writes a lineage's links, for one generation.
#[derive(Debug)]
pub struct Writer {
    store: Arc<dyn Store>,
    lineage: Lineage,
    generation: Generation,
    name: String,
    next: u64,
    previous: Option<Checksum>,
    /// A link whose fate is not known.
    unsure: bool,
}

impl Writer {
    /// Opens a lineage, in generation 1. `name` is a name that no other process has.
    ///
    /// # Errors
    /// [`Error::Fenced`] where it is open already.
    pub async fn open(
        store: Arc<dyn Store>,
        lineage: Lineage,
        origin: Origin,
        manifest: Option<Box<Manifest>>,
        name: String,
    ) -> Result<Self, Error> {
        let mut writer = Self {
            store,
            lineage,
            generation: Generation(1),
            name,
            next: 0,
            previous: None,
            unsure: false,
        };
        writer.append(Body::Opened { origin, manifest }).await?;
        Ok(writer)
    }

    /// Takes a lineage over under the next generation.
    ///
    /// # Errors
    /// [`Error::Fenced`] where somebody else has, or has gone on: read the chain again and decide again.
    pub async fn take_over(store: Arc<dyn Store>, chain: &Chain, name: String) -> Result<Self, Error> {
        let generation = Generation(chain.generation().0 + 1);
        let mut writer = Self::at_end(store, chain, generation, name)?;
        writer.append(Body::Takeover { generation }).await?;
        Ok(writer)
    }

    /// Closes a lineage, because `by` is opened next. From here on nobody commits in it.
    ///
    /// # Errors
    /// [`Error::Fenced`] where its owner has gone on meanwhile: read the chain again.
    pub async fn close(
        store: Arc<dyn Store>,
        chain: &Chain,
        by: Lineage,
        origin: Origin,
        name: String,
    ) -> Result<(), Error> {
        let mut writer = Self::at_end(store, chain, chain.generation(), name)?;
        writer.append(Body::Closed { by, origin }).await
    }

    /// Appends a link. When this returns, the link exists and nobody else had taken the lineage over.
    ///
    /// # Errors
    /// [`Error::Fenced`]: end, and commit nothing. After any other error whether the link exists is not known, and this
    /// writer appends nothing more.
    pub async fn append(&mut self, body: Body) -> Result<(), Error> {
        if self.unsure {
            return Err(Error::Unsure {
                lineage: self.lineage,
                number: self.next,
            });
        }
        self.unsure = true;
        let link = Link {
            number: self.next,
            previous: self.previous,
            writer: self.name.clone(),
            body,
        };
        let (bytes, checksum) = link.seal();
        let path = layout::link(self.lineage, link.number);
        if self.store.put_new(&path, bytes.clone()).await? == Creation::Taken {
            self.check_own(&path, &bytes).await?;
        }
        self.check_newest().await?;
        self.previous = Some(checksum);
        self.next += 1;
        self.unsure = false;
        Ok(())
    }

    /// The lineage.
    pub const fn lineage(&self) -> Lineage {
        self.lineage
    }

    /// The generation.
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    fn at_end(store: Arc<dyn Store>, chain: &Chain, generation: Generation, name: String) -> Result<Self, Error> {
        match chain.links.last() {
            Some(Found::Link(link, checksum)) => Ok(Self {
                store,
                lineage: chain.lineage,
                generation,
                name,
                next: link.number + 1,
                previous: Some(*checksum),
                unsure: false,
            }),
            Some(Found::Damaged(_, damage)) => Err(damage.clone().into()),
            None => Err(Error::Absent(format!("lineage {} has no link", chain.lineage))),
        }
    }

    /// A link stands where this one should: it may be this one, written by an attempt whose answer was lost.
    async fn check_own(&self, path: &str, bytes: &Bytes) -> Result<(), Error> {
        let by = match self.store.get(path).await {
            Ok(found) if found == bytes => return Ok(()),
            Ok(found) => Link::open(path, &found).map_or_else(|error| error.to_string(), |(link, _)| link.writer),
            // Retention has removed it: its owner is far ahead.
            Err(error) if error.is_missing() => "another process".to_owned(),
            Err(error) => return Err(error.into()),
        };
        Err(self.fenced(self.next, by))
    }

    async fn check_newest(&self) -> Result<(), Error> {
        match numbers(&*self.store, self.lineage).await?.last() {
            Some(newest) if *newest > self.next => {
                let found = read_link(&*self.store, self.lineage, *newest).await?;
                let by = found.as_ref().and_then(Found::link).map(|link| link.writer.clone());
                Err(self.fenced(*newest, by.unwrap_or_else(|| "another process".to_owned())))
            }
            _ => Ok(()),
        }
    }

    const fn fenced(&self, number: u64, by: String) -> Error {
        Error::Fenced {
            lineage: self.lineage,
            number,
            by,
        }
    }
}

/// The numbers of a lineage's links, ascending.
async fn numbers(store: &dyn Store, lineage: Lineage) -> Result<Vec<u64>, Error> {
    let listed = store.list(&layout::chain(lineage)).await?;
    let mut numbers: Vec<u64> = listed
        .iter()
        .filter_map(|object| layout::link_number(&object.path))
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// `None` where it is gone.
async fn read_link(store: &dyn Store, lineage: Lineage, number: u64) -> Result<Option<Found>, Error> {
    let path = layout::link(lineage, number);
    let bytes = match store.get(&path).await {
        Err(error) if error.is_missing() => return Ok(None),
        bytes => bytes?,
    };
    match Link::open(&path, &bytes) {
        Ok((link, checksum)) if link.number == number => Ok(Some(Found::Link(Box::new(link), checksum))),
        Ok((link, _)) => {
            let damage = Damage::of(path, format!("it is link {}", link.number));
            Ok(Some(Found::Damaged(number, damage)))
        }
        Err(Error::Damaged(damage)) => Ok(Some(Found::Damaged(number, damage))),
        Err(error) => Err(error),
    }
}

/// The links from the newest back to the first gap, or to the first that the next one does not name.
fn connected(links: BTreeMap<u64, Found>) -> Vec<Found> {
    let mut connected: Vec<Found> = Vec::new();
    for (number, found) in links.into_iter().rev() {
        if let Some(after) = connected.last() {
            let named = match (after, &found) {
                (Found::Link(after, _), Found::Link(_, checksum)) => after.previous == Some(*checksum),
                _ => true,
            };
            if after.number() != number + 1 || !named {
                break;
            }
        }
        connected.push(found);
    }
    connected.reverse();
    connected
}

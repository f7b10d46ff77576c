//! What is read, as the source and its readers share it: the files that were found, and those that a reader has had open.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::client::{Found, Head, Identity};
use crate::error::Error;

/// The files of a source.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// In the order in which they were found; those of one look in the order of their names.
    found: Vec<Found>,
    /// What a reader has had open, and under which name. A renamed file is known by it.
    opened: BTreeMap<Identity, (String, Head)>,
}

impl Known {
    /// Adds what was found.
    pub(super) fn extend(&self, new: &[Found]) {
        self.lock().found.extend_from_slice(new);
    }

    /// Adds what was found to a sequence.
    ///
    /// # Errors
    /// A file's place is before those that were there already.
    pub(super) fn extend_sequence(&self, new: &[Found]) -> Result<(), Error> {
        let mut state = self.lock();
        if let (Some(last), Some(first)) = (state.found.last(), new.first())
            && first.name < last.name
        {
            return Err(Error::OutOfSequence {
                found: first.name.clone(),
                read: last.name.clone(),
            });
        }
        state.found.extend_from_slice(new);
        Ok(())
    }

    pub(super) fn get(&self, number: usize) -> Option<Found> {
        self.lock().found.get(number).cloned()
    }

    /// The place of the file of this name.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.lock().found.iter().position(|file| file.name == name)
    }

    /// A reader has opened the file.
    pub(super) fn opened(&self, identity: Identity, name: &str, head: Head) {
        self.lock().opened.insert(identity, (name.to_owned(), head));
    }

    /// The name under which a reader has had this file open.
    pub(super) fn opened_as(&self, identity: Identity) -> Option<(String, Head)> {
        self.lock().opened.get(&identity).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one partition reads.
#[derive(Clone, Debug)]
pub(super) enum FileList {
    /// The file of this name, and what takes its place.
    One(Found),
    /// All, in order; discovery adds to them meanwhile.
    Sequence,
}

impl FileList {
    /// The file whose turn is `number`.
    pub(super) fn get(&self, number: usize, known: &Arc<Known>) -> Option<Found> {
        match self {
            Self::One(file) => (number == 0).then(|| file.clone()),
            Self::Sequence => known.get(number),
        }
    }
}

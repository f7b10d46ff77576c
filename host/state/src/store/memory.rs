//! A store in memory.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use wasmill_core::fault::Fault;

use super::{Bounds, Direction, Visit};

/// The entries, in order.
#[derive(Debug, Default)]
pub(super) struct Memory {
    entries: BTreeMap<Box<[u8]>, Box<[u8]>>,
    bytes: u64,
}

impl Memory {
    pub(super) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.entries.get(key).map(|value| &**value)
    }

    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) {
        self.bytes += value.len() as u64;
        match self.entries.insert(key.into(), value.into()) {
            Some(before) => self.bytes -= before.len() as u64,
            None => self.bytes += key.len() as u64,
        }
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        if let Some(value) = self.entries.remove(key) {
            self.bytes -= (key.len() + value.len()) as u64;
        }
    }

    pub(super) fn remove_range(&mut self, bounds: Bounds<'_>) {
        let keys: Vec<_> = self
            .entries
            .range::<[u8], _>(bounds)
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            self.remove(&key);
        }
    }

    pub(super) fn scan(&self, bounds: Bounds<'_>, direction: Direction, visit: Visit<'_>) -> Result<(), Fault> {
        let mut entries = self.entries.range::<[u8], _>(bounds);
        while let Some((key, value)) = match direction {
            Direction::Forwards => entries.next(),
            Direction::Backwards => entries.next_back(),
        } {
            if let ControlFlow::Break(()) = visit(key, value)? {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.bytes
    }
}

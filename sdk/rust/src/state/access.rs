//! The way to state that does not come with a call: the host's `state` interface in Wasm, tables in memory in a native
//! test.

use crate::bindings::{state as wit, types::Column};

#[cfg(target_arch = "wasm32")]
mod host {
    pub(crate) use crate::bindings::state::{
        append, get, map_get, map_put, map_remove, put, remove_range, scan, scan_list, truncate,
    };
}

#[cfg(not(target_arch = "wasm32"))]
mod host {
    use std::cell::RefCell;

    use super::{Column, wit};

    /// What stands in the host's place. As in the contract.
    pub(crate) trait Access {
        fn get(&mut self, table: u32, keys: &[u8], columns: &[u32]) -> Vec<Column>;
        fn put(&mut self, table: u32, keys: &[u8], columns: &[(u32, Column)]);
        fn map_get(&mut self, table: u32, keys: &[u8], at: &[Column]) -> wit::Lookup;
        fn map_put(&mut self, table: u32, keys: &[u8], rows: &[Column]);
        fn map_remove(&mut self, table: u32, keys: &[u8], at: &[Column]);
        fn append(&mut self, table: u32, keys: &[u8], rows: &[Column]);
        fn scan(&mut self, table: u32, key: u32, span: &wit::Span) -> wit::Page;
        fn scan_list(&mut self, table: u32, key: u32, skip: u64, limit: u32) -> wit::Page;
        fn remove_range(&mut self, table: u32, key: u32, span: &wit::Span) -> u64;
        fn truncate(&mut self, table: u32, key: u32, first: u64);
    }

    thread_local! {
        static ACCESS: RefCell<Option<Box<dyn Access>>> = const { RefCell::new(None) };
    }

    /// Puts a test's tables in the place of others.
    pub(crate) fn swap(access: Option<Box<dyn Access>>) -> Option<Box<dyn Access>> {
        ACCESS.with_borrow_mut(|current| std::mem::replace(current, access))
    }

    fn with<T>(call: impl FnOnce(&mut dyn Access) -> T) -> T {
        ACCESS.with_borrow_mut(|access| {
            let access = access.as_mut();
            call(
                access
                    .expect("state is read and written only while a test calls the operator")
                    .as_mut(),
            )
        })
    }

    pub(crate) fn get(table: u32, keys: &[u8], columns: &[u32]) -> Vec<Column> {
        with(|access| access.get(table, keys, columns))
    }

    pub(crate) fn put(table: u32, keys: &[u8], columns: &[(u32, Column)]) {
        with(|access| access.put(table, keys, columns));
    }

    pub(crate) fn map_get(table: u32, keys: &[u8], at: &[Column]) -> wit::Lookup {
        with(|access| access.map_get(table, keys, at))
    }

    pub(crate) fn map_put(table: u32, keys: &[u8], rows: &[Column]) {
        with(|access| access.map_put(table, keys, rows));
    }

    pub(crate) fn map_remove(table: u32, keys: &[u8], at: &[Column]) {
        with(|access| access.map_remove(table, keys, at));
    }

    pub(crate) fn append(table: u32, keys: &[u8], rows: &[Column]) {
        with(|access| access.append(table, keys, rows));
    }

    pub(crate) fn scan(table: u32, key: u32, span: &wit::Span) -> wit::Page {
        with(|access| access.scan(table, key, span))
    }

    pub(crate) fn scan_list(table: u32, key: u32, skip: u64, limit: u32) -> wit::Page {
        with(|access| access.scan_list(table, key, skip, limit))
    }

    pub(crate) fn remove_range(table: u32, key: u32, span: &wit::Span) -> u64 {
        with(|access| access.remove_range(table, key, span))
    }

    pub(crate) fn truncate(table: u32, key: u32, first: u64) {
        with(|access| access.truncate(table, key, first));
    }
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use host::{Access, swap};
pub(super) use host::{append, get, map_get, map_put, map_remove, put, remove_range, scan, scan_list, truncate};

//! The state of a window operator as entries, and back.
//!
//! | key | value |
//! |---|---|
//! | `00` | the merged watermark, in each key group of the subtask |
//! | `01`, the key, the first microsecond of a pane, the class of rows | the rows' aggregates |
//! | `02`, the key, the window | which results it has given, where that is known |
//!
//! Everything else follows from these: which windows owe a correction from the classes and the watermark, merged panes
//! from the panes. Each value begins with [`CELLS_VERSION`].

use wasmill_core::fault::Fault;
use wasmill_core::id::KeyGroup;
use wasmill_core::key::{self, sortable_int};
use wasmill_core::operator::Save;
use wasmill_core::schema::{DataType, Schema};
use wasmill_core::window::Pane;

use super::KeyGroups;
use super::late::Class;
use super::panes::Panes;
use super::part::Part;
use super::results::Record;
use crate::aggregate::CELLS_VERSION;
use crate::codec::{damaged, put_signed, take_array, take_byte, take_int64, take_key, take_signed};
use crate::keys::{KeyId, Keys};

const WATERMARK: u8 = 0;
pub(super) const PANE: u8 = 1;
pub(super) const RESULTS: u8 = 2;

/// What is needed to read entries.
pub(super) struct Loading<'a> {
    pub(super) keys: &'a mut Keys,
    pub(super) schema: &'a Schema,
    /// The types of the aggregates' columns.
    pub(super) values: &'a [DataType],
}

/// Hands out the merged watermark.
pub(super) fn save_watermark(watermark: i64, groups: KeyGroups, keyed: bool, out: &mut dyn Save) -> Result<(), Fault> {
    let mut value = vec![CELLS_VERSION];
    put_signed(watermark.into(), &mut value);
    let (first, last) = if keyed { (groups.first, groups.last) } else { (0, 0) };
    (first..=last).try_for_each(|group| out.entry(KeyGroup(group), &[WATERMARK], &value))
}

/// The merged watermark, where an entry is that.
pub(super) fn load_watermark(entry_key: &[u8], value: &[u8]) -> Result<Option<i64>, Fault> {
    if entry_key != [WATERMARK] {
        return Ok(None);
    }
    let from = &mut &*value;
    check_version(from)?;
    let watermark = take_int64(from)?;
    ended(from)?;
    Ok(Some(watermark))
}

impl Panes {
    /// Hands out all panes and what is known of results.
    pub(super) fn save(&self, keys: &Keys, groups: KeyGroups, out: &mut dyn Save) -> Result<(), Fault> {
        let mut saving = Saving {
            keys,
            groups,
            out,
            key: Vec::new(),
            entry: Vec::new(),
            value: Vec::new(),
        };
        for pane in &self.list {
            saving.part(self, &pane.bounds, None, &pane.main)?;
            for (class, part) in &pane.others {
                saving.part(self, &pane.bounds, Some(*class), part)?;
            }
        }
        for ((window, id), record) in self.results.each() {
            saving.begin(RESULTS, id);
            put_signed(window, &mut saving.entry);
            record.encode(&mut saving.value);
            saving.end()?;
        }
        Ok(())
    }

    /// Takes an entry other than the watermark.
    ///
    /// # Errors
    /// It is none of this operator's.
    pub(super) fn load(&mut self, mut entry_key: &[u8], mut value: &[u8], cx: &mut Loading<'_>) -> Result<(), Fault> {
        let entry = &mut entry_key;
        let from = &mut value;
        let tag = take_byte(entry)?;
        let encoded = take_key(cx.keys.types(), entry)?;
        let id = cx.keys.intern_canonical(encoded);
        check_version(from)?;
        match tag {
            PANE => self.load_pane(id, entry, from, cx)?,
            RESULTS => {
                let window = take_signed(entry)?;
                self.results.put((window, id), Record::decode(cx.values, from)?);
            }
            _ => return Err(damaged("an entry is of no known kind")),
        }
        ended(entry)?;
        ended(from)
    }

    fn load_pane(&mut self, id: KeyId, entry: &mut &[u8], from: &mut &[u8], cx: &mut Loading<'_>) -> Result<(), Fault> {
        let first = u64::from_be_bytes(take_array(entry)?) ^ 1 << 63;
        let bounds = self.assigner.pane(first.cast_signed());
        if bounds.first != first.cast_signed() || bounds.windows.is_empty() {
            return Err(damaged("rows are in no pane of these windows"));
        }
        let class = take_class(&bounds, entry)?;
        let first_end = self.assigner.end(bounds.windows.first);
        let place = self.open(bounds, first_end, 1, cx.keys);
        let pane = &mut self.list[place];
        let part = match class {
            None => &mut pane.main,
            Some(class) => pane.part_of(class, &self.blueprint, 1, cx.keys),
        };
        part.decode(id, &self.blueprint.plugins, cx.schema, cx.keys, from)
    }
}

/// Builds entries.
struct Saving<'a> {
    keys: &'a Keys,
    groups: KeyGroups,
    out: &'a mut dyn Save,
    key: Vec<u8>,
    entry: Vec<u8>,
    value: Vec<u8>,
}

impl Saving<'_> {
    fn part(&mut self, panes: &Panes, bounds: &Pane, class: Option<Class>, part: &Part) -> Result<(), Fault> {
        let kept = part.kept_by_key();
        let mut ids = part.touched().to_vec();
        self.keys.sort(&mut ids);
        for id in ids {
            self.begin(PANE, id);
            self.entry.extend(sortable_int(bounds.first));
            put_class(bounds, class, &mut self.entry);
            part.encode(id, &panes.blueprint.plugins, Some(&kept), &mut self.value);
            self.end()?;
        }
        Ok(())
    }

    fn begin(&mut self, tag: u8, id: KeyId) {
        self.key.clear();
        self.keys.encode(id, &mut self.key);
        self.entry.clear();
        self.entry.push(tag);
        self.entry.extend_from_slice(&self.key);
        self.value.clear();
        self.value.push(CELLS_VERSION);
    }

    fn end(&mut self) -> Result<(), Fault> {
        let group = if self.keys.types().is_empty() {
            KeyGroup(0)
        } else {
            key::group(key::hash(&self.key), self.groups.all)
        };
        self.out.entry(group, &self.entry, &self.value)
    }
}

/// Windows are numbered from the pane's first.
pub(super) fn put_class(bounds: &Pane, class: Option<Class>, out: &mut Vec<u8>) {
    if let Some(class) = class {
        put_signed(class.admitted - bounds.windows.first, out);
        put_signed(class.on_time - bounds.windows.first, out);
    }
}

pub(super) fn take_class(bounds: &Pane, from: &mut &[u8]) -> Result<Option<Class>, Fault> {
    if from.is_empty() {
        return Ok(None);
    }
    let class = Class {
        admitted: take_signed(from)?.saturating_add(bounds.windows.first),
        on_time: take_signed(from)?.saturating_add(bounds.windows.first),
    };
    let fits = bounds.windows.contains(class.admitted)
        && class.admitted <= class.on_time
        && class.on_time <= bounds.windows.last + 1;
    if fits {
        Ok(Some(class))
    } else {
        Err(damaged("rows count for no window of their pane"))
    }
}

pub(super) fn check_version(from: &mut &[u8]) -> Result<(), Fault> {
    if take_byte(from)? == CELLS_VERSION {
        Ok(())
    } else {
        Err(damaged("it was written by another version"))
    }
}

fn ended(from: &[u8]) -> Result<(), Fault> {
    if from.is_empty() {
        Ok(())
    } else {
        Err(damaged("an entry is longer than what it holds"))
    }
}

//! The store on disk beside the one in memory: what it costs to have less memory than state, and whether the bound holds.

use std::fs;
use std::hint::black_box;
use std::ops::Bound;
use std::time::Duration;

use wasmill_state::{Direction, Page, Span, Store};

use super::{PART, first_bytes, key_of, shuffled, value_of};
use crate::Run;
use crate::failure::Failure;
use crate::random::Random;
use crate::report::Budget;
use crate::timing::{Cost, compare, wall};

const NAME: &str = "disk";
/// Operations of a run.
const OPERATIONS: usize = 50_000;
/// Entries that are taken from the front at once.
const TAKEN: usize = 100;

/// So many entries of 100 bytes, and the memory of the store on disk.
struct Size {
    entries: u64,
    memory_bytes: u64,
    name: &'static str,
}

const SIZES: [Size; 2] = [
    Size {
        entries: 1_000_000,
        memory_bytes: 32 << 20,
        name: "10^6 entries, 32 MiB",
    },
    Size {
        entries: 10_000_000,
        memory_bytes: 256 << 20,
        name: "10^7 entries, 256 MiB",
    },
];

/// Runs the bench. The greater size takes minutes: it must be asked for.
pub(super) fn run(run: &mut Run<'_>) -> Result<(), Failure> {
    let asked = !run.options.filter.is_empty();
    let wanted = |size: &&Size| run.wants(NAME, size.name) && (asked || size.entries <= 1_000_000);
    let sizes: Vec<&Size> = SIZES.iter().filter(wanted).collect();
    if sizes.is_empty() {
        return Ok(());
    }
    run.report.bench(
        NAME,
        "the store on disk, entries of 100 bytes in random order; \"native\" is the store in memory",
    );
    for size in sizes {
        one(run, size)?;
    }
    Ok(())
}

fn one(run: &mut Run<'_>, size: &Size) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let before = memory("VmRSS:");
    forget_peak();
    let mut disk = Store::disk(&folder.path().join("store"), size.memory_bytes)?;
    let on_disk = load(&mut disk, size.entries)?;
    let mut random = Random::new(3);
    for _ in 0..size.entries as usize / 2 / OPERATIONS {
        add_one(&mut disk, size.entries, &mut random)?;
    }
    let peak = memory("VmHWM:");
    let file = disk.size_bytes() >> 20;
    let mut in_memory = Store::memory();
    let loaded = load(&mut in_memory, size.entries)?;
    let nanos = |spent: Duration| spent.as_secs_f64() * 1e9 / size.entries as f64;
    run.report.note(&format!(
        "{}: loaded in {:.0} ns an entry on disk, {:.0} in memory; resident at most {} MB on disk, {} MB in memory; {file} MB on disk",
        size.name,
        nanos(on_disk),
        nanos(loaded),
        peak.saturating_sub(before),
        in_memory.size_bytes() >> 20,
    ));
    let line = |task: &str| format!("{task}, {}", size.name);
    let plan = run.plan();
    let mut again = random.clone();
    let measured = compare(
        plan,
        Cost::Process,
        OPERATIONS,
        || add_one(&mut disk, size.entries, &mut random).expect("the disk has room"),
        || add_one(&mut in_memory, size.entries, &mut again).expect("memory does not fail"),
    );
    run.report.add(&line("get and put"), &measured, Budget::None);
    let parts = |store: &Store, random: &mut Random| {
        for _ in 0..OPERATIONS / PART {
            let key = key_of(random.below(size.entries));
            let from = Span::Between(Bound::Included(&key[..]), Bound::Unbounded);
            black_box(first_bytes(store, from, PART));
        }
    };
    let measured = compare(
        plan,
        Cost::Process,
        OPERATIONS,
        || parts(&disk, &mut random),
        || parts(&in_memory, &mut again),
    );
    run.report.add(&line("10 in order"), &measured, Budget::None);
    let all = |store: &Store| black_box(first_bytes(store, Span::All, usize::MAX));
    let measured = compare(
        plan,
        Cost::Process,
        size.entries as usize,
        || {
            all(&disk);
        },
        || {
            all(&in_memory);
        },
    );
    run.report.add(&line("all in order"), &measured, Budget::None);
    let (mut from_disk, mut from_memory) = (Queue::new(size.entries), Queue::new(size.entries));
    let measured = compare(
        plan,
        Cost::Process,
        OPERATIONS,
        || from_disk.turn(&mut disk).expect("the disk has room"),
        || from_memory.turn(&mut in_memory).expect("memory does not fail"),
    );
    run.report
        .add(&line("from the front, to the end"), &measured, Budget::None);
    Ok(())
}

fn load(store: &mut Store, entries: u64) -> Result<Duration, Failure> {
    let mut loaded = Ok(());
    let spent =
        wall(|| loaded = shuffled(entries).try_for_each(|number| store.put(&key_of(number), &value_of(number))));
    loaded?;
    Ok(spent)
}

/// Reads and writes random entries.
fn add_one(store: &mut Store, entries: u64, random: &mut Random) -> Result<(), Failure> {
    for _ in 0..OPERATIONS {
        let key = key_of(random.below(entries));
        let value = store.get(&key, <[u8]>::to_vec)?;
        let mut value = value.expect("each key is there");
        value[0] = value[0].wrapping_add(1);
        store.put(&key, &value)?;
    }
    Ok(())
}

/// Takes the first entries and puts as many behind the last, as timers and waiting rows do.
struct Queue {
    next: u64,
    page: Page,
}

impl Queue {
    fn new(entries: u64) -> Self {
        Self {
            next: entries,
            page: Page::default(),
        }
    }

    fn turn(&mut self, store: &mut Store) -> Result<(), Failure> {
        for _ in 0..OPERATIONS / TAKEN {
            store.page(Span::All, Direction::Forwards, TAKEN, usize::MAX, &mut self.page)?;
            let (last, _) = self.page.entry(TAKEN - 1);
            store.remove_range(Span::Between(Bound::Unbounded, Bound::Included(last)))?;
            for (_, value) in self.page.iter() {
                // Behind all key groups.
                let key = [&u16::MAX.to_be_bytes()[..], &self.next.to_be_bytes()].concat();
                store.put(&key, value)?;
                self.next += 1;
            }
        }
        Ok(())
    }
}

/// A line of what the system tells of this process, in megabytes; 0 where it does not.
fn memory(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) >> 10
}

/// Makes the peak of resident memory begin anew. Where the system does not, the peak is too high, never too low.
fn forget_peak() {
    drop(fs::write("/proc/self/clear_refs", "5"));
}

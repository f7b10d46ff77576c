//! State on disk: memory is bounded whatever the number of keys, and results are those of state in memory.

use crate::sandbox::Sandbox;

/// What `[state] memory` grants in the test.
const MEMORY_MIB: u64 = 64;
/// What a job has resident beside its state: the program, and batches on their way.
const BASE_MIB: u64 = 48;

/// Counts rows by key in windows, and sums the counts up. What comes out, and the most memory that was resident in MiB.
fn counts(rows: u64, window: &str, state: &str) -> (String, u64) {
    let sandbox = Sandbox::new(&format!(
        r#"
        [engine]
        source-credit = "4MiB"

        {state}

        [[source]]
        id = "bids"
        connector = "generator"
        kind = "nexmark"
        rows = {rows}
        event-time = "time"
        watermark = {{ strategy = "monotonic" }}

        [[operator]]
        id = "counts"
        type = "window"
        input = "bids"
        key = ["bid_price", "bid_bidder"]
        window = {window}
        aggregate = {{ rows = "count()", last = "max(bid_auction)" }}

        [[operator]]
        id = "all"
        type = "window"
        input = "counts"
        window = {{ type = "tumbling", size = "1m" }}
        aggregate = {{ keys = "count()", rows = "sum(rows)", last = "sum(last)" }}

        [[sink]]
        id = "out"
        connector = "file"
        input = "all"
        path = "output/all.jsonl"
        format = "json"
        order = "event-time"
        "#
    ));
    let running = sandbox.run().workers(2).start();
    let peak_mib = running.peak_until_the_end();
    running.finish().expect_code(0);
    (sandbox.read("output/all.jsonl"), peak_mib)
}

/// Compares state on disk with state in memory, which takes more than is granted.
fn check(what: &str, rows: u64, window: &str) {
    let on_disk = format!("[state]\nbackend = \"disk\"\nmemory = \"{MEMORY_MIB}MiB\"");
    let (found, peak_mib) = counts(rows, window, &on_disk);
    let (expect, in_memory_mib) = counts(rows, window, "");
    let bound_mib = MEMORY_MIB + BASE_MIB;
    println!(
        "{what}: {peak_mib} MiB with state on disk (bound {bound_mib} MiB), {in_memory_mib} MiB with it in memory"
    );
    assert_eq!(found, expect);
    assert!(
        in_memory_mib > bound_mib + MEMORY_MIB / 2,
        "{in_memory_mib} MiB in memory show nothing"
    );
    assert!(peak_mib <= bound_mib, "{peak_mib} MiB resident");
}

#[test]
fn memory_is_bounded_when_a_tumbling_window_has_millions_of_keys() {
    check("a tumbling window", 2_000_000, r#"{ type = "tumbling", size = "1h" }"#);
}

#[test]
fn memory_is_bounded_when_windows_overlap() {
    let window = r#"{ type = "sliding", size = "60s", every = "20s" }"#;
    check("a sliding window", 1_200_000, window);
}

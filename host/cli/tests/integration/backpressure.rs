//! A slow sink holds back a fast source: what is on the way is bounded, and nothing is lost.

use std::io::Read;

use crate::sandbox::Sandbox;

/// Runs a topology whose output nobody reads until the process has come to rest, then reads it to the end. With little
/// credit, resident memory stays below the bound whatever the length of the stream.
fn check(what: &str, graph: &str, rows: u64, bound_mib: u64) {
    let sandbox = Sandbox::new(&format!("[engine]\nsource-credit = \"4MiB\"\n{graph}"));
    let mut running = sandbox.run().workers(2).start();
    running.come_to_rest();
    let blocked_mib = running.peak_mib().expect("it waits for a reader");

    let mut stdout = running.stdout();
    let mut buffer = vec![0; 64 << 10];
    let (mut bytes, mut lines, mut peak_mib) = (0_u64, 0_u64, blocked_mib);
    loop {
        let read = stdout.read(&mut buffer).unwrap();
        if read == 0 {
            break;
        }
        peak_mib = peak_mib.max(running.peak_mib().unwrap_or(0));
        bytes += read as u64;
        lines += buffer[..read].split(|&byte| byte == b'\n').count() as u64 - 1;
    }
    running.finish().expect_code(0);
    let output_mib = bytes >> 20;
    println!(
        "{what}: {blocked_mib} MiB with nobody reading, {peak_mib} MiB at most for {output_mib} MiB of output \
         (bound {bound_mib} MiB)"
    );
    assert_eq!(lines, rows);
    assert!(output_mib > 2 * bound_mib, "{output_mib} MiB of output show nothing");
    assert!(peak_mib <= bound_mib, "{peak_mib} MiB resident");
}

#[test]
fn memory_is_bounded_when_a_sink_is_slower_than_the_source() {
    let graph = r#"
        [[source]]
        id = "numbers"
        connector = "generator"
        kind = "counter"
        rows = 6_000_000

        [[sink]]
        id = "out"
        connector = "stdout"
        input = "numbers"
        format = "json"
    "#;
    check("a source", graph, 6_000_000, 100);
}

#[test]
fn memory_is_bounded_when_a_sink_puts_rows_in_order() {
    let graph = r#"
        [[source]]
        id = "numbers"
        connector = "generator"
        kind = "counter"
        rows = 6_000_000
        event-time = "time"
        watermark = { strategy = "monotonic" }

        [[sink]]
        id = "out"
        connector = "stdout"
        input = "numbers"
        format = "json"
        order = "event-time"
    "#;
    // It also keeps what one worker has sent and the other not yet reached.
    check("an ordered sink", graph, 6_000_000, 150);
}

#[test]
fn a_job_with_hardly_any_credit_comes_to_its_end() {
    // A window fires more at once than its credit allows, while its input fills the source's.
    let sandbox = Sandbox::new(
        r#"
        [engine]
        source-credit = "64KiB"
        watermark-every = 1

        [[source]]
        id = "numbers"
        connector = "generator"
        kind = "counter"
        rows = 100_000
        event-time = "time"
        watermark = { strategy = "monotonic" }

        [[operator]]
        id = "windows"
        type = "window"
        input = "numbers"
        key = ["number"]
        window = { type = "sliding", size = "1s", every = "100ms" }
        aggregate = { rows = "count()" }

        [[sink]]
        id = "out"
        connector = "file"
        input = "windows"
        path = "output/windows.jsonl"
        format = "json"
        "#,
    );
    let finished = sandbox.run().workers(2).finish().expect_code(0);
    assert_eq!(finished.summary()["sinks"]["out"]["rows"], 1_000_000);
}

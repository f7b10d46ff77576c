//! A slow sink holds back a fast source: what is on the way is bounded, and nothing is lost.

use std::io::Read;

use crate::sandbox::Sandbox;

/// With little credit, resident memory stays below this whatever the length of the stream.
const PEAK_MIB_MAX: u64 = 100;
const RECORDS: u64 = 6_000_000;

#[test]
fn memory_is_bounded_when_nobody_reads_the_output() {
    let sandbox = Sandbox::new(&format!(
        r#"
        [engine]
        source-credit = "4MiB"

        [[source]]
        id = "numbers"
        connector = "generator"
        kind = "counter"
        rows = {RECORDS}

        [[sink]]
        id = "out"
        connector = "stdout"
        input = "numbers"
        format = "json"
        "#
    ));
    let mut running = sandbox.run().workers(2).start();
    running.come_to_rest();
    let blocked_mib = running.peak_mib().unwrap();

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
        lines += buffer[..read].iter().filter(|&&byte| byte == b'\n').count() as u64;
    }
    running.finish().expect_code(0);
    println!(
        "backpressure: {blocked_mib} MiB with nobody reading, {peak_mib} MiB at most for {} MiB of output (bound {PEAK_MIB_MAX} MiB)",
        bytes >> 20
    );
    assert_eq!(lines, RECORDS);
    assert!(
        bytes >> 20 > 2 * PEAK_MIB_MAX,
        "the output is too short to show anything: {bytes} bytes"
    );
    assert!(peak_mib <= PEAK_MIB_MAX, "{peak_mib} MiB resident");
}

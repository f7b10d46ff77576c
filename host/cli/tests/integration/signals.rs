//! A run that is stopped has written what its sinks had been given.

use rustix::process::Signal;

use crate::sandbox::Sandbox;

#[test]
fn an_interrupt_leaves_whole_rows_and_all_that_were_shown() {
    let sandbox = Sandbox::new(
        r#"
        [[source]]
        id = "lines"
        connector = "file"
        path = "input/*.log"
        follow = true
        format = "text"

        [[sink]]
        id = "shown"
        connector = "stdout"
        input = "lines"
        format = "text"

        [[sink]]
        id = "kept"
        connector = "file"
        input = "lines"
        path = "output/kept.txt"
        format = "text"
        "#,
    );
    let records: Vec<String> = (0..5_000).map(|i| format!("record {i}")).collect();
    sandbox.write("input/a.log", records.join("\n") + "\n");
    let mut running = sandbox.run().workers(2).start();
    let lines = running.lines();
    for _ in &records {
        lines.next();
    }
    running.signal(Signal::INT);
    let finished = running.finish().expect_code(130);
    assert_eq!(finished.summary()["state"], "stopped");
    let mut kept: Vec<String> = sandbox.read("output/kept.txt").lines().map(str::to_owned).collect();
    let mut expected = records;
    kept.sort();
    expected.sort();
    assert_eq!(kept, expected);
}

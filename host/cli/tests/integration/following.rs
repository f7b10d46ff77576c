//! Files that are followed: what is appended, and what appears later.

use std::fs::OpenOptions;
use std::io::Write;

use rustix::process::Signal;

use crate::sandbox::Sandbox;

fn sandbox() -> Sandbox {
    Sandbox::new(
        r#"
        [[source]]
        id = "lines"
        connector = "file"
        path = "input/*.log"
        follow = true
        discover-every = "50ms"
        format = "text"
        metadata = { file = "file", line = "number" }

        [[sink]]
        id = "out"
        connector = "stdout"
        input = "lines"
        format = "csv"
        "#,
    )
}

pub(crate) fn append(sandbox: &Sandbox, name: &str, text: &str) {
    let mut file = OpenOptions::new().append(true).open(sandbox.path(name)).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
fn what_is_appended_is_read_line_by_line() {
    let sandbox = sandbox();
    sandbox.write("input/a.log", "first\n");
    let mut running = sandbox.run().workers(2).start();
    let lines = running.lines();
    lines.expect(&["line,file,number"]);
    lines.expect(&["first,input/a.log,1"]);
    append(&sandbox, "input/a.log", "sec");
    append(&sandbox, "input/a.log", "ond\nthird\n");
    lines.expect(&["second,input/a.log,2", "third,input/a.log,3"]);
    running.signal(Signal::INT);
    running.finish().expect_code(130);
}

#[test]
fn files_that_appear_later_are_found() {
    let sandbox = sandbox();
    sandbox.write("input/a.log", "one\n");
    let mut running = sandbox.run().workers(2).start();
    let lines = running.lines();
    lines.next();
    lines.expect(&["one,input/a.log,1"]);
    sandbox.write("input/b.log", "two\n");
    lines.expect(&["two,input/b.log,1"]);
    append(&sandbox, "input/a.log", "three\n");
    lines.expect(&["three,input/a.log,2"]);
    running.signal(Signal::TERM);
    running.finish().expect_code(130);
}

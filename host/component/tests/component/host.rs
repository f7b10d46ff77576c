//! The host around the guests: the cache, the pool, logs, metrics, memory, reports.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use tracing::field::{Field as TracingField, Visit};
use wasmill_component::{Compiler, Host, MetricValue, Settings, inspect};
use wasmill_core::fault::GuestFault;
use wasmill_core::plugin::{Describer, Limits, PluginError, World};
use wasmill_core::time::Micros;
use wasmill_core::transform::Transform;

use crate::guest::{Guest, constant};
use crate::{Bench, batch, ints, ints_schema, settings};

fn echo() -> Vec<u8> {
    let mut guest = Guest::transform(&["a"], &[("a", "int64", false)]);
    let body = guest.echo(0);
    guest.process(&body);
    guest.build()
}

fn works(transform: &mut dyn Transform) {
    let got = transform.process(0, &batch(vec![ints(&[1, 2])])).unwrap();
    assert_eq!(*got.outputs[0].1.column(0), ints(&[1, 2]));
}

/// A compiler that fails: whoever uses it has not found the cache.
fn none() -> Compiler {
    Compiler::Subprocess {
        program: "false".into(),
        args: Vec::new(),
    }
}

fn with_cache(folder: &Path, compiler: Compiler) -> Bench {
    Bench::with(Settings {
        cache: Some(folder.join("cache")),
        compiler,
        ..settings()
    })
}

#[test]
fn hosts_and_instances_go_between_threads_as_they_must() {
    fn shared<T: Send + Sync>() {}
    shared::<Host>();
}

#[test]
fn a_plugin_is_compiled_once_and_then_found_in_the_cache() {
    let folder = tempfile::tempdir().unwrap();
    let open = |compiler| {
        let bench = with_cache(folder.path(), compiler);
        bench
            .describe(&echo(), &ints_schema(), &Limits::default())
            .map(|(plugin, _)| (bench, plugin))
    };
    assert!(
        matches!(open(none()), Err(PluginError::Unreadable { .. })),
        "not there yet"
    );
    let (bench, plugin) = open(Compiler::InProcess).unwrap();
    assert!(bench.host.is_compiled(&plugin));
    let (bench, _) = open(none()).unwrap();
    works(&mut *bench.transform(&echo(), &ints_schema(), &Limits::default(), false));
    let other_metering = bench.try_transform(&echo(), &ints_schema(), &Limits::default(), true);
    assert!(other_metering.is_err(), "with fuel it is other code");
}

#[test]
fn a_spoiled_or_foreign_entry_is_compiled_again() {
    let folder = tempfile::tempdir().unwrap();
    let describe = |compiler, wasm: &[u8]| {
        let bench = with_cache(folder.path(), compiler);
        bench.describe(wasm, &ints_schema(), &Limits::default()).map(|_| ())
    };
    describe(Compiler::InProcess, &echo()).unwrap();
    let entry = fs::read_dir(folder.path().join("cache"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let intact = fs::read(&entry).unwrap();
    let mut spoiled = intact.clone();
    let middle = spoiled.len() / 2;
    spoiled[middle] ^= 1;
    for bytes in [&spoiled[..], &intact[..intact.len() / 2], b"", &intact[32..]] {
        fs::write(&entry, bytes).unwrap();
        assert!(describe(none(), &echo()).is_err(), "it is not loaded");
        describe(Compiler::InProcess, &echo()).unwrap();
        assert_eq!(fs::read(&entry).unwrap(), intact, "it is made again");
    }
}

#[test]
fn compiled_code_is_no_plugin() {
    let bench = Bench::new();
    let compiled = wasmill_component::compile(&echo(), wasmill_component::Metering::Deadline).unwrap();
    let error = bench.load(&compiled).unwrap_err().to_string();
    assert!(error.contains("it is compiled code"), "{error}");
}

#[test]
fn a_plugin_that_changed_after_it_was_checked_is_refused() {
    let bench = Bench::new();
    let plugin = bench.load(&echo()).unwrap();
    let mut other = Guest::transform(&[], &[]);
    other.process("(unreachable)");
    bench.file(&other.build());
    let error = Describer::transform(&bench.host, &plugin, "{}", &[], &Limits::default()).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("it changed while the topology was being checked")
    );
}

#[test]
fn more_instances_than_the_pool_holds_are_made_outside_of_it() {
    let bench = Bench::with(Settings {
        instances: 1,
        ..settings()
    });
    let mut transforms: Vec<_> = (0..3)
        .map(|_| bench.transform(&echo(), &ints_schema(), &Limits::default(), false))
        .collect();
    for transform in &mut transforms {
        works(&mut **transform);
    }
}

#[test]
fn a_plugin_that_does_not_fit_a_slot_of_the_pool_is_made_outside_of_it() {
    let mut guest = Guest::transform(&["a"], &[("a", "int64", false)]);
    let body = guest.echo(0);
    guest.process(&body);
    let wasm = guest.build_with(&[crate::guest::contract()], "transform", "(table 100000 funcref)");
    works(&mut *Bench::new().transform(&wasm, &ints_schema(), &Limits::default(), false));
}

#[test]
fn a_message_is_cut_to_what_anybody_reads() {
    let mut guest = Guest::transform(&["a"], &[("a", "int64", false)]);
    let answer = guest.image.failure(4, &"\u{e9}".repeat(20_000), None);
    guest.process(&constant(answer));
    let mut transform = Bench::new().transform(&guest.build(), &ints_schema(), &Limits::default(), false);
    let fault = transform.process(0, &batch(vec![ints(&[0])])).unwrap_err();
    assert_eq!(fault.message.len(), (16 << 10) + 3);
}

#[test]
fn instances_of_one_program_run_on_many_threads() {
    let bench = Bench::new();
    let (plugin, description) = bench.describe(&echo(), &ints_schema(), &Limits::default()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let live = [vec![true]];
                let mut transform = bench
                    .open(&plugin, &ints_schema(), &description, &Limits::default(), true, &live)
                    .unwrap();
                for _ in 0..50 {
                    works(&mut *transform);
                }
            });
        }
    });
}

/// Keeps a page more with each call, and answers with the number of its pages.
fn leaking() -> Vec<u8> {
    let mut guest = Guest::transform(&["a"], &[("a", "int64", false)]);
    let pages = guest.image.put(&[0; 8]);
    let column = [[0; 20].to_vec(), crate::guest::words(&[pages, 8])].concat();
    let output = guest.image.output(0, None, &[crate::guest::computed(column)]);
    let answer = guest.image.outputs(&[output], &[]);
    guest.process(&format!(
        "(drop (memory.grow (i32.const 1))) (i64.store (i32.const {pages}) (i64.extend_i32_u (memory.size)))
         (i32.const {answer})"
    ));
    guest.build()
}

#[test]
fn an_instance_that_leaks_is_replaced_when_it_has_twice_the_memory_that_a_call_needs() {
    let bench = Bench::with(Settings {
        purity_check_every: None,
        ..settings()
    });
    let mut transform = bench.transform(&leaking(), &ints_schema(), &Limits::default(), false);
    let pages = (0..8).map(|_| {
        let got = transform.process(0, &batch(vec![ints(&[0])])).unwrap();
        got.outputs[0].1.column(0).into_owned()
    });
    let expect = [3, 4, 5, 6, 7, 3, 4, 5].map(|pages| ints(&[pages]));
    assert_eq!(pages.collect::<Vec<_>>(), expect, "three pages after the first call");
}

#[test]
fn a_call_that_finds_no_memory_is_tried_again_where_there_is_all_of_it() {
    let bench = Bench::with(Settings {
        purity_check_every: None,
        ..settings()
    });
    // Two pages after `open`, a page more with each call, and room for two calls.
    let limits = Limits {
        memory_bytes: 4 << 16,
        ..Limits::default()
    };
    let mut transform = bench.transform(&leaking(), &ints_schema(), &limits, false);
    let pages = (0..5).map(|_| {
        let got = transform.process(0, &batch(vec![ints(&[0])])).unwrap();
        got.outputs[0].1.column(0).into_owned()
    });
    let expect = [3, 4, 3, 4, 3].map(|pages| ints(&[pages]));
    assert_eq!(pages.collect::<Vec<_>>(), expect);

    let none_left = Limits {
        memory_bytes: 2 << 16,
        ..Limits::default()
    };
    let mut transform = bench.transform(&leaking(), &ints_schema(), &none_left, false);
    let fault = transform.process(0, &batch(vec![ints(&[0])])).unwrap_err();
    assert_eq!(fault.guest.unwrap().kind, GuestFault::Memory);
}

/// Keeps what is written to `tracing` on this thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "wasmill::plugin"
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Text(String);
        impl Visit for Text {
            fn record_debug(&mut self, field: &TracingField, value: &dyn std::fmt::Debug) {
                write!(self.0, " {field}={value:?}").unwrap();
            }
        }
        let mut text = Text(event.metadata().level().to_string());
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn lines_are_kept_when_the_call_fails_and_name_their_operator() {
    let bench = Bench::new();
    let mut guest = Guest::transform(&["a"], &[("a", "int64", false)]);
    let (first, second) = (guest.log(2, "one"), guest.log(3, "two"));
    guest.process(&format!("{first} {second} (unreachable)"));
    let mut transform = bench.transform(&guest.build(), &ints_schema(), &Limits::default(), false);
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), || {
        transform.process(0, &batch(vec![ints(&[0])])).unwrap_err();
    });
    let lines = lines.0.lock().unwrap().clone();
    assert_eq!(
        lines,
        ["INFO message=one operator=\"op\"", "WARN message=two operator=\"op\""]
    );
}

#[test]
fn a_failure_that_rows_are_blamed_for_is_logged_once_with_the_row_and_the_frames() {
    let bench = Bench::new();
    let mut guest = Guest::transform(&["a"], &[("a", "int64", false)]);
    let said = guest.log(4, "said before");
    guest.process(&format!("{said} (unreachable)"));
    let mut transform = bench.transform(&guest.build(), &ints_schema(), &Limits::default(), true);
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), || {
        transform.process(0, &batch(vec![ints(&[0, 1])])).unwrap_err();
        assert!(lines.0.lock().unwrap().is_empty(), "it is called again with fewer rows");
        transform
            .process(0, &batch(vec![ints(&[0, 1])]).select(&[1]))
            .unwrap_err();
    });
    let lines = lines.0.lock().unwrap().clone();
    let [said, fault] = &lines[..] else {
        panic!("two lines: {lines:?}")
    };
    assert_eq!(said, "ERROR message=said before operator=\"op\"");
    let start = "ERROR message=a row is at fault: the plugin trapped (wasm `unreachable` instruction executed): said before \
                 row=\"of event time 1970-01-01T00:00:00.001001Z\" backtrace=\"";
    assert!(fault.starts_with(start), "{fault}");
}

#[test]
fn metrics_count_calls_that_were_good() {
    let bench = Bench::new();
    let mut guest = Guest::new("transform", "transformer");
    let inputs = [guest.image.requirement(&["a"], false)];
    let ports = [guest.image.port("out", &[("a", "int64", false)], false)];
    let description = guest.image.description(&inputs, &ports, None);
    let done = guest.image.done();
    let echo = guest.echo(0);
    let (name, unit) = (guest.image.put(b"seen"), guest.image.put(b"rows"));
    let change = [0_u64.to_le_bytes(), 3.0_f64.to_le_bytes()].concat();
    let change = guest.image.put(&change);
    guest
        .import("(import \"wasmill:operator/metrics@0.1.0\" \"update\" (func $update (param i32 i32)))")
        .import(
            "(import \"wasmill:operator/metrics@0.1.0\" \"declare\"
               (func $declare (param i32 i32 i32 i32 i32) (result i32)))",
        )
        .function("describe", 4, &constant(description))
        .function(
            "open",
            4,
            &format!(
                "(drop (call $declare (i32.const {name}) (i32.const 4) (i32.const 0) (i32.const {unit}) (i32.const 4)))
                 (i32.const {done})"
            ),
        )
        .process(&format!(
            "(call $update (i32.const {change}) (i32.const 1))
             (if (result i32) (i32.eq (local.get $1) (i32.const 1)) (then (unreachable)) (else {echo}))"
        ));
    let mut transform = bench.transform(&guest.build(), &ints_schema(), &Limits::default(), false);
    works(&mut *transform);
    transform.process(0, &batch(vec![ints(&[1])])).unwrap_err();
    works(&mut *transform);
    let metrics = bench.host.metrics().snapshot();
    let [((node, name), metric)] = &metrics.into_iter().collect::<Vec<_>>()[..] else {
        panic!("one metric")
    };
    assert_eq!((node.as_str(), &**name, metric.unit.as_str()), ("op", "seen", "rows"));
    assert_eq!(
        metric.value,
        MetricValue::Counter(6.0),
        "repeated and failed calls count nothing"
    );
}

#[test]
fn a_report_says_what_a_plugin_is() {
    let bench = Bench::new();
    let mut guest = Guest::transform(&["a"], &[("a", "int64", false)]);
    let log = guest.log(2, "x");
    guest.process(&format!("{log} (unreachable)"));
    let wasm = guest.build();
    let report = inspect(&bench.file(&wasm)).unwrap();
    assert_eq!(
        (report.worlds.as_slice(), &report.served),
        (&[World::Transform][..], &Ok(World::Transform))
    );
    assert_eq!(report.contract.as_deref(), Some("0.1.0"));
    assert_eq!(report.exports, ["wasmill:operator/transformer@0.1.0"]);
    assert_eq!(
        report.imports,
        ["wasmill:operator/log@0.1.0", "wasmill:operator/types@0.1.0"]
    );
    assert_eq!(report.size_bytes, wasm.len() as u64);
    let made_with = report
        .producers
        .iter()
        .find(|(field, _)| field == "processed-by")
        .unwrap();
    assert!(made_with.1.iter().any(|(name, _)| name == "wit-component"));

    let keyed = inspect(&bench.file(&crate::guest::hollow("0.1.0", "keyed-migrating"))).unwrap();
    assert!(keyed.migrates && keyed.served == Ok(World::Keyed));
    assert!(matches!(
        inspect(&bench.path("missing")),
        Err(PluginError::Unreadable { .. })
    ));
}

#[test]
fn a_deadline_counts_for_each_call_anew() {
    let bench = Bench::new();
    let limits = Limits {
        deadline: Micros::from_millis(200),
        ..Limits::default()
    };
    let mut transform = bench.transform(&echo(), &ints_schema(), &limits, false);
    for _ in 0..500 {
        works(&mut *transform);
    }
}

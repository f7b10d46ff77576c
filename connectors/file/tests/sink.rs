//! The file sink on real files.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use wasmill_connector_api::config::{ConfigProblem, Folder, decode};
use wasmill_connector_api::conformance::epochs::{self, EpochTarget, Settings};
use wasmill_connector_api::conformance::sink::{Target, check};
use wasmill_connector_api::conformance::spool::MemorySpool;
use wasmill_connector_api::sink::{
    Chunk, Committer, CommitterContext, PreparedEpoch, Recovery, SinkConnector, SinkContext, SinkDescription, Start,
    Writers,
};
use wasmill_connector_file::Sink;
use wasmill_core::delivery::Delivery;
use wasmill_core::fault::Fault;
use wasmill_core::id::{Epoch, Generation};

type AnySink = Box<dyn wasmill_connector_api::sink::Sink>;

fn describe(folder: &Path, config: &Value) -> Result<SinkDescription, Vec<ConfigProblem>> {
    let config = decode(config).map_err(|problem| vec![problem])?;
    Sink::describe(&config, &Folder::new(folder))
}

fn open(folder: &Path, config: &Value, prologue: &'static [u8], writer: (u32, u32)) -> Result<AnySink, Fault> {
    let context = SinkContext {
        writer: writer.0,
        writers: writer.1,
        ..SinkContext::without_checkpoints(Folder::new(folder), Bytes::from_static(prologue))
    };
    Sink::open(decode(config).unwrap(), context)
}

/// A chunk of lines.
fn lines(text: &str) -> Chunk {
    Chunk {
        bytes: Bytes::copy_from_slice(text.as_bytes()),
        ends: text.match_indices('\n').map(|(at, _)| at as u32 + 1).collect(),
    }
}

/// The files of a folder by name, with their content.
fn files(folder: &Path) -> Vec<(String, String)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                fs::read_to_string(entry.path()).unwrap(),
            )
        })
        .collect();
    files.sort_unstable();
    files
}

fn pairs(files: &[(String, String)]) -> Vec<(&str, &str)> {
    files
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect()
}

fn decompress(bytes: Vec<u8>) -> Vec<u8> {
    let mut content = Vec::new();
    if bytes.starts_with(&[0x1F, 0x8B]) {
        // A stream that is not finished ends early; what it holds counts.
        let _ = flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut content);
        content
    } else if bytes.starts_with(&[0x28, 0xB5, 0x2F, 0xFD]) {
        let _ = zstd::Decoder::new(bytes.as_slice()).unwrap().read_to_end(&mut content);
        content
    } else {
        bytes
    }
}

/// One file, in a folder that is made on the way.
struct OneFile {
    folder: tempfile::TempDir,
    name: &'static str,
}

impl Target for OneFile {
    const VISIBLE_WHEN_FLUSHED: bool = true;

    async fn open(&mut self, prologue: &'static [u8]) -> AnySink {
        open(self.folder.path(), &json!({ "path": self.name }), prologue, (0, 1)).unwrap()
    }

    async fn visible(&mut self) -> Vec<Vec<u8>> {
        vec![decompress(fs::read(self.folder.path().join(self.name)).unwrap())]
    }
}

struct InParts {
    folder: tempfile::TempDir,
    config: Value,
}

impl Target for InParts {
    const VISIBLE_WHEN_FLUSHED: bool = false;

    async fn open(&mut self, prologue: &'static [u8]) -> AnySink {
        open(self.folder.path(), &self.config, prologue, (0, 1)).unwrap()
    }

    async fn visible(&mut self) -> Vec<Vec<u8>> {
        let mut names: Vec<_> = fs::read_dir(self.folder.path().join("parts"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        names.sort_unstable();
        names
            .into_iter()
            .map(|path| decompress(fs::read(path).unwrap()))
            .collect()
    }
}

#[tokio::test]
async fn one_file_conforms() {
    for name in ["out/deep/rows.csv", "rows.csv.gz", "rows.csv.zst"] {
        let folder = tempfile::tempdir().unwrap();
        check(&mut OneFile { folder, name }).await;
    }
}

#[tokio::test]
async fn parts_conform() {
    for parts in [
        json!({}),
        json!({ "rows": 100, "extension": "csv" }),
        json!({ "size": "16KiB" }),
    ] {
        for compression in ["auto", "gzip", "zstd"] {
            let folder = tempfile::tempdir().unwrap();
            let config = json!({ "path": "parts", "parts": parts, "compression": compression });
            check(&mut InParts { folder, config }).await;
        }
    }
}

#[tokio::test]
async fn parts_are_cut_behind_the_row_that_fills_them() {
    let folder = tempfile::tempdir().unwrap();
    let config = json!({ "path": "out", "parts": { "rows": 3, "size": "6B", "extension": "csv" } });
    let mut sink = open(folder.path(), &config, b"h\n", (1, 2)).unwrap();
    sink.write(lines("1\n2\n")).await.unwrap();
    sink.write(lines("3\n4444\n5\n6\n")).await.unwrap();
    assert_eq!(
        pairs(&files(&folder.path().join("out"))),
        [
            (".part-0001-000002.csv.g1.tmp", "h\n6\n"),
            ("part-0001-000000.csv", "h\n1\n2\n3\n"),
            ("part-0001-000001.csv", "h\n4444\n5\n"),
        ]
    );
    sink.finish().await.unwrap();
    assert_eq!(
        pairs(&files(&folder.path().join("out")))[2],
        ("part-0001-000002.csv", "h\n6\n")
    );
}

#[tokio::test(start_paused = true)]
async fn a_part_ends_when_its_time_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let config = json!({ "path": "out", "parts": { "every": "5m" } });
    let mut sink = open(folder.path(), &config, b"", (0, 1)).unwrap();
    sink.write(lines("1\n")).await.unwrap();
    tokio::time::advance(Duration::from_secs(299)).await;
    sink.write(lines("2\n")).await.unwrap();
    sink.flush().await.unwrap();
    assert_eq!(
        pairs(&files(&folder.path().join("out"))),
        [(".part-0000-000000.g1.tmp", "1\n2\n")]
    );
    tokio::time::advance(Duration::from_secs(1)).await;
    sink.flush().await.unwrap();
    assert_eq!(
        pairs(&files(&folder.path().join("out"))),
        [("part-0000-000000", "1\n2\n")]
    );
}

#[tokio::test]
async fn an_output_that_is_there_is_replaced_refused_or_continued() {
    let check = async |if_exists: &str, expect: &str| {
        let folder = tempfile::tempdir().unwrap();
        let config = json!({ "path": "out.csv", "if-exists": if_exists });
        for text in ["1\n", "2\n"] {
            let Ok(mut sink) = open(folder.path(), &config, b"h\n", (0, 1)) else {
                break;
            };
            sink.write(lines(text)).await.unwrap();
            sink.finish().await.unwrap();
        }
        assert_eq!(
            fs::read_to_string(folder.path().join("out.csv")).unwrap(),
            expect,
            "{if_exists}"
        );
        describe(folder.path(), &config).unwrap().at_fresh_start.is_empty()
    };
    assert!(check("overwrite", "h\n2\n").await);
    assert!(check("append", "h\n1\n2\n").await);
    assert!(!check("error", "h\n1\n").await);
}

#[tokio::test]
async fn parts_that_are_there_are_replaced_refused_or_continued() {
    let check = async |if_exists: &str, expect: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        fs::create_dir(&out).unwrap();
        for name in [
            "part-0000-000000",
            "part-0002-000004",
            ".part-0000-000001.tmp",
            "mine.txt",
        ] {
            fs::write(out.join(name), "old\n").unwrap();
        }
        let config = json!({ "path": "out", "parts": { "rows": 1 }, "if-exists": if_exists });
        if let Ok(mut sink) = open(folder.path(), &config, b"", (0, 2)) {
            sink.write(lines("new\n")).await.unwrap();
            sink.finish().await.unwrap();
        }
        let names: Vec<_> = files(&out)
            .into_iter()
            .map(|(name, text)| name + " " + text.trim_end())
            .collect();
        assert_eq!(names, expect, "{if_exists}");
        describe(folder.path(), &config).unwrap().at_fresh_start.is_empty()
    };
    assert!(check("overwrite", &["mine.txt old", "part-0000-000000 new"]).await);
    let continued = [
        "mine.txt old",
        "part-0000-000000 old",
        "part-0000-000001 new",
        "part-0002-000004 old",
    ];
    assert!(check("append", &continued).await);
    let untouched = [
        ".part-0000-000001.tmp old",
        "mine.txt old",
        "part-0000-000000 old",
        "part-0002-000004 old",
    ];
    assert!(!check("error", &untouched).await);
}

#[test]
fn a_target_has_one_name_and_one_or_more_writers() {
    let folder = tempfile::tempdir().unwrap();
    let described = describe(folder.path(), &json!({ "path": "./a/../out/rows.csv" })).unwrap();
    assert_eq!(
        (described.target.as_str(), described.writers),
        ("out/rows.csv", Writers::One)
    );
    let described = describe(folder.path(), &json!({ "path": "out", "parts": {} })).unwrap();
    assert_eq!(
        (described.target.as_str(), described.writers),
        ("out", Writers::PerWorker)
    );
}

#[test]
fn what_cannot_be_written_is_a_problem_or_a_fault_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    fs::create_dir(folder.path().join("folder")).unwrap();
    let problem = |config: Value| describe(folder.path(), &config).unwrap_err()[0].message.clone();
    assert_eq!(problem(json!({ "path": "" })), "the path is empty");
    assert_eq!(problem(json!({ "path": "folder" })), "\"folder\" is a folder");
    assert_eq!(
        problem(json!({ "path": "file", "parts": {} })),
        "\"file\" is not a folder"
    );
    assert_eq!(
        problem(json!({ "path": "file/rows.csv" })),
        format!("cannot write into {}/file: not a directory", folder.path().display())
    );
    assert_eq!(
        problem(json!({ "path": "out", "parts": { "extension": ".csv" } })),
        "\".csv\" cannot end a file's name"
    );
    assert_eq!(
        problem(json!({ "path": "out", "parts": { "size": "1mb" } })),
        "\"mb\" is not a unit of size; use B, KiB, MiB, GiB, TiB, kB, MB, GB or TB"
    );
    let fault = |config: Value| open(folder.path(), &config, b"", (0, 1)).err().unwrap().message;
    assert_eq!(
        fault(json!({ "path": "folder" })),
        format!("cannot create {}/folder: is a directory", folder.path().display())
    );
    assert_eq!(
        fault(json!({ "path": "file/rows.csv" })),
        format!("cannot make the folder {}/file: file exists", folder.path().display())
    );
}

/// `/dev/full` refuses every byte.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_is_a_fault_that_may_pass() {
    let folder = tempfile::tempdir().unwrap();
    let mut sink = open(folder.path(), &json!({ "path": "/dev/full" }), b"", (0, 1)).unwrap();
    let fault = sink.write(lines("1\n")).await.unwrap_err();
    assert_eq!(fault.message, "cannot write /dev/full: no space left on device");
    assert_eq!(fault.retry, wasmill_core::fault::Retry::Backoff);
}

/// An output with checkpoints.
struct Checkpointed {
    folder: tempfile::TempDir,
    config: Value,
}

impl Checkpointed {
    fn new(config: Value) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            config,
        }
    }
}

impl EpochTarget for Checkpointed {
    async fn clear(&mut self) -> Folder {
        self.folder = tempfile::tempdir().unwrap();
        Folder::new(self.folder.path())
    }

    async fn open(&mut self, context: SinkContext) -> Result<AnySink, Fault> {
        Sink::open(decode(&self.config).unwrap(), context)
    }

    async fn committer(&mut self, context: CommitterContext) -> Result<Box<dyn Committer>, Fault> {
        Sink::committer(decode(&self.config).unwrap(), context)
    }

    async fn visible(&mut self) -> Vec<Vec<u8>> {
        let path = self.folder.path().join(self.config["path"].as_str().unwrap());
        if self.config.get("parts").is_none() {
            return fs::read(path).map(decompress).into_iter().collect();
        }
        let Ok(entries) = fs::read_dir(path) else {
            return Vec::new();
        };
        let paths = entries.map(|entry| entry.unwrap().path());
        let visible = |path: &std::path::PathBuf| !path.file_name().unwrap().to_string_lossy().starts_with('.');
        let mut paths: Vec<_> = paths.filter(visible).collect();
        paths.sort_unstable();
        paths.iter().map(|path| decompress(fs::read(path).unwrap())).collect()
    }
}

async fn conforms(config: Value, delivery: Delivery, writers_max: u32, scripts: u64) {
    let settings = Settings {
        delivery,
        writers_max,
        scripts,
    };
    epochs::check(&mut Checkpointed::new(config), settings).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_file_is_exact_whatever_is_cut_off() {
    conforms(json!({ "path": "rows.csv" }), Delivery::ExactlyOnce, 1, 60).await;
    for name in ["rows.csv.gz", "rows.csv.zst"] {
        conforms(json!({ "path": name }), Delivery::ExactlyOnce, 1, 12).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_exact_whatever_is_cut_off() {
    for (parts, writers_max) in [
        (json!({}), 1),
        (json!({}), 3),
        (json!({ "rows": 3 }), 1),
        (json!({ "rows": 3 }), 3),
    ] {
        let config = json!({ "path": "parts", "parts": parts });
        conforms(config, Delivery::ExactlyOnce, writers_max, 24).await;
    }
    let config = json!({ "path": "parts", "parts": { "rows": 3 }, "compression": "zstd" });
    conforms(config, Delivery::EffectivelyOnce, 2, 12).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_least_once_loses_nothing() {
    for config in [
        json!({ "path": "rows.csv" }),
        json!({ "path": "rows.csv.gz" }),
        json!({ "path": "rows.csv.zst" }),
    ] {
        conforms(config, Delivery::AtLeastOnce, 1, 24).await;
    }
    let config = json!({ "path": "parts", "parts": { "rows": 3 } });
    conforms(config, Delivery::AtLeastOnce, 3, 24).await;
}

/// A job that is played step by step.
struct Job {
    folder: tempfile::TempDir,
    config: Value,
    spool: Arc<MemorySpool>,
    delivery: Delivery,
    generation: Generation,
    epoch: Epoch,
}

impl Job {
    fn new(config: Value, delivery: Delivery) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            config,
            spool: MemorySpool::new(),
            delivery,
            generation: Generation(1),
            epoch: Epoch(0),
        }
    }

    fn open(&self, start: Start) -> Result<AnySink, Fault> {
        let context = SinkContext {
            delivery: self.delivery,
            start,
            generation: self.generation,
            epoch: self.epoch,
            spool: Some(self.spool.reader()),
            ..SinkContext::without_checkpoints(Folder::new(self.folder.path()), Bytes::from_static(b"h\n"))
        };
        Sink::open(decode(&self.config).unwrap(), context)
    }

    fn committer(&self) -> Box<dyn Committer> {
        let context = CommitterContext {
            folder: Folder::new(self.folder.path()),
            delivery: self.delivery,
            generation: self.generation,
            spool: self.spool.reader(),
        };
        Sink::committer(decode(&self.config).unwrap(), context).unwrap()
    }

    /// Writes an epoch, and commits it.
    async fn epoch(&mut self, sink: &mut AnySink, rows: &str) -> PreparedEpoch {
        sink.write(lines(rows)).await.unwrap();
        let prepared = vec![sink.prepare(self.epoch).await.unwrap()];
        let epoch = PreparedEpoch {
            epoch: self.epoch,
            prepared,
        };
        self.epoch = self.epoch.next();
        self.committer().commit(&epoch).await.unwrap();
        epoch
    }

    async fn recover(&mut self, last: &PreparedEpoch, rewound: bool) -> Result<(), Fault> {
        self.generation = Generation(self.generation.0 + 1);
        let recovery = Recovery {
            last: Some(last.clone()),
            pending: Vec::new(),
            rewound,
        };
        self.committer().recover(&recovery).await
    }

    fn text(&self) -> String {
        fs::read_to_string(self.folder.path().join("out")).unwrap()
    }

    /// Everything in the folder of parts.
    fn parts(&self) -> Vec<String> {
        let parts = files(&self.folder.path().join("out"));
        parts.into_iter().map(|(name, text)| format!("{name} {text}")).collect()
    }
}

#[tokio::test]
async fn a_file_that_is_not_as_it_was_committed_is_a_fault() {
    let mut job = Job::new(json!({ "path": "out" }), Delivery::ExactlyOnce);
    let mut sink = job.open(Start::Fresh).unwrap();
    let last = job.epoch(&mut sink, "1\n").await;
    let path = job.folder.path().join("out");
    assert_eq!(job.text(), "h\n1\n");
    fs::write(&path, "h\n").unwrap();
    assert_eq!(
        job.recover(&last, false).await.unwrap_err().message,
        format!(
            "{} holds 2 bytes, and 4 were committed: put back what is missing, or start with --fresh",
            path.display()
        )
    );
    fs::remove_file(&path).unwrap();
    assert!(
        job.recover(&last, false)
            .await
            .unwrap_err()
            .message
            .contains("holds 0 bytes")
    );
    fs::write(&path, "h\n1\nfrom elsewhere\n").unwrap();
    let message = job.recover(&last, false).await.unwrap_err().message;
    assert!(message.contains("holds 19 bytes, and 4 were committed"), "{message}");
    job.config = json!({ "path": "out", "parts": {} });
    let message = job.recover(&last, false).await.unwrap_err().message;
    assert!(message.contains("another kind of output"), "{message}");
}

#[tokio::test]
async fn a_job_that_goes_back_takes_back_what_came_later() {
    let mut job = Job::new(json!({ "path": "out" }), Delivery::ExactlyOnce);
    let mut sink = job.open(Start::Fresh).unwrap();
    let first = job.epoch(&mut sink, "1\n").await;
    job.epoch(&mut sink, "2\n").await;
    job.recover(&first, true).await.unwrap();
    assert_eq!(job.text(), "h\n1\n");
    let mut sink = job.open(Start::Resumed(first.prepared.clone())).unwrap();
    job.epoch(&mut sink, "3\n").await;
    assert_eq!(job.text(), "h\n1\n3\n");

    let mut job = Job::new(json!({ "path": "out", "parts": { "rows": 1 } }), Delivery::ExactlyOnce);
    let mut sink = job.open(Start::Fresh).unwrap();
    let first = job.epoch(&mut sink, "1\n2\n").await;
    job.epoch(&mut sink, "3\n").await;
    job.recover(&first, true).await.unwrap();
    let there = ["part-0000-000000 h\n1\n", "part-0000-000001 h\n2\n"];
    assert_eq!(job.parts(), there);
}

#[tokio::test]
async fn with_at_least_once_the_file_is_cut_back_to_what_is_written_again() {
    let mut job = Job::new(json!({ "path": "out" }), Delivery::AtLeastOnce);
    let mut sink = job.open(Start::Fresh).unwrap();
    let last = job.epoch(&mut sink, "1\n").await;
    sink.write(lines("2\n3\n")).await.unwrap();
    assert_eq!(job.text(), "h\n1\n2\n3\n");
    job.recover(&last, false).await.unwrap();
    let mut sink = job.open(Start::Resumed(last.prepared.clone())).unwrap();
    job.epoch(&mut sink, "2\n").await;
    assert_eq!(job.text(), "h\n1\n2\n");
}

#[tokio::test]
async fn a_part_that_its_reader_took_away_does_not_come_back() {
    let mut job = Job::new(json!({ "path": "out", "parts": { "rows": 1 } }), Delivery::ExactlyOnce);
    let mut sink = job.open(Start::Fresh).unwrap();
    let last = job.epoch(&mut sink, "1\n2\n").await;
    sink.write(lines("3\n4\n")).await.unwrap();
    drop(sink);
    fs::remove_file(job.folder.path().join("out/part-0000-000001")).unwrap();
    assert_eq!(job.parts().len(), 3);
    job.recover(&last, false).await.unwrap();
    assert_eq!(job.parts(), ["part-0000-000000 h\n1\n"]);
    job.committer().commit(&last).await.unwrap();
    let mut sink = job.open(Start::Resumed(last.prepared.clone())).unwrap();
    job.epoch(&mut sink, "5\n").await;
    assert_eq!(job.parts(), ["part-0000-000000 h\n1\n", "part-0000-000002 h\n5\n"]);
}

#[tokio::test]
async fn what_is_there_already_counts_at_a_fresh_start_alone() {
    for config in [
        json!({ "path": "out", "if-exists": "error" }),
        json!({ "path": "out", "if-exists": "error", "parts": {} }),
    ] {
        let mut job = Job::new(config.clone(), Delivery::ExactlyOnce);
        let mut sink = job.open(Start::Fresh).unwrap();
        let there = |job: &Job| describe(job.folder.path(), &config).unwrap().at_fresh_start;
        assert_eq!(there(&job), []);
        let last = job.epoch(&mut sink, "1\n").await;
        let help = "move it away, or set `if-exists` to \"overwrite\" or \"append\"";
        assert_eq!(there(&job)[0].help.as_deref(), Some(help));
        assert!(
            job.open(Start::Fresh)
                .err()
                .unwrap()
                .message
                .contains("is there already")
        );
        assert!(job.open(Start::Resumed(last.prepared)).is_ok());
    }
    for (if_exists, expect) in [("append", "old\n1\n"), ("overwrite", "h\n1\n")] {
        let config = json!({ "path": "out", "if-exists": if_exists });
        for delivery in [Delivery::ExactlyOnce, Delivery::AtLeastOnce] {
            let mut job = Job::new(config.clone(), delivery);
            fs::write(job.folder.path().join("out"), "old\n").unwrap();
            let mut sink = job.open(Start::Fresh).unwrap();
            job.epoch(&mut sink, "1\n").await;
            assert_eq!(job.text(), expect);
        }
    }
}

//! The file source on real files.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use wasmill_connector_api::config::{ConfigProblem, Folder, decode};
use wasmill_connector_api::conformance::source::{check, contents, read_to_end, read_what_is_there};
use wasmill_connector_api::source::{
    PartitionReader, Payload, Read, Resume, SourceConnector, SourceContext, SourceDescription,
};
use wasmill_connector_file::Source;
use wasmill_core::column::Scalar;
use wasmill_core::fault::{Domain, Fault};
use wasmill_core::id::PartitionName;

type AnySource = Box<dyn wasmill_connector_api::source::Source>;

fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder
}

fn describe(folder: &Path, config: &Value) -> Result<SourceDescription, Vec<ConfigProblem>> {
    let config = decode(config).map_err(|problem| vec![problem])?;
    Source::describe(&config, &Folder::new(folder))
}

fn open(folder: &Path, config: &Value, batch_rows: usize) -> AnySource {
    describe(folder, config).unwrap();
    let context = SourceContext {
        folder: Folder::new(folder),
        metadata: vec!["file".to_owned()],
        live: Vec::new(),
        batch_rows,
    };
    <Source as SourceConnector>::open(decode(config).unwrap(), context).unwrap()
}

async fn open_only_partition(source: &mut AnySource) -> Box<dyn PartitionReader> {
    let partitions = source.discover().await.unwrap().partitions;
    let [partition] = partitions.as_slice() else {
        panic!("one partition, not {partitions:?}")
    };
    source.open(partition, None).await.unwrap()
}

async fn fault(reader: &mut dyn PartitionReader) -> Fault {
    for _ in 0..1_000 {
        if let Err(fault) = reader.read(1 << 20).await {
            return fault;
        }
    }
    panic!("reading does not fail");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

fn append(path: &Path, bytes: &[u8]) {
    OpenOptions::new()
        .append(true)
        .open(path)
        .unwrap()
        .write_all(bytes)
        .unwrap();
}

#[tokio::test]
async fn each_file_is_a_partition() {
    let long = "0123456789\n".repeat(300);
    let folder = folder(&[
        ("in/b.csv", b"1\n2\n"),
        ("in/a.csv", long.as_bytes()),
        ("in/empty.csv", b""),
        ("in/.hidden.csv", b"x"),
        ("in/sub/c.csv", b"x"),
        ("in/other.txt", b"x"),
    ]);
    let config = json!({ "path": "in/*.csv" });
    let expect = BTreeMap::from([
        ("in/a.csv", vec![long.clone().into_bytes()]),
        ("in/b.csv", vec![b"1\n2\n".to_vec()]),
        ("in/empty.csv", vec![]),
    ]);
    check(async |rows| open(folder.path(), &config, rows), &expect).await;
}

#[tokio::test]
async fn files_of_a_sequence_are_one_partition_with_boundaries() {
    let folder = folder(&[("b", b"2\n"), ("a", b"1\n"), ("c", b""), ("d", b"3\n")]);
    let config = json!({ "path": ["b", "./[acd]"], "files": "sequence" });
    let expect = BTreeMap::from([("b ./[acd]", vec![b"1\n".to_vec(), b"2\n".to_vec(), b"3\n".to_vec()])]);
    check(async |rows| open(folder.path(), &config, rows), &expect).await;
    let found = contents(open(folder.path(), &config, 1), 1).await;
    assert_eq!(found[&PartitionName::new("b ./[acd]")].positions, [0, 1 << 40, 3 << 40]);
}

#[tokio::test]
async fn compressed_files_are_read_whatever_their_names() {
    let text: Vec<u8> = (0..50_000).flat_map(|i| format!("{i}\n").into_bytes()).collect();
    let two =
        |compress: fn(&[u8]) -> Vec<u8>| [compress(&text[..1_000]), compress(b""), compress(&text[1_000..])].concat();
    let folder = folder(&[
        ("in/a.log", &two(gzip)),
        ("in/b.log", &two(zstd)),
        ("in/c.log.gz", &text),
        ("in/d.log.gz", b""),
    ]);
    let config = json!({ "path": "in/*" });
    let expect = BTreeMap::from([
        ("in/a.log", vec![text.clone()]),
        ("in/b.log", vec![text.clone()]),
        ("in/c.log.gz", vec![text.clone()]),
        ("in/d.log.gz", vec![]),
    ]);
    let first = contents(open(folder.path(), &config, 1), 1 << 20).await;
    assert_eq!(first.len(), expect.len());
    for (name, records) in expect {
        assert!(first[&PartitionName::new(name)].records == records, "{name}");
    }
    for name in ["in/a.log", "in/b.log"] {
        let mut source = open(folder.path(), &json!({ "path": name }), 1);
        let mut reader = open_only_partition(&mut source).await;
        assert_eq!(
            read_to_end(reader.as_mut(), 777).await,
            first[&PartitionName::new(name)]
        );
    }
}

#[tokio::test]
async fn compressed_data_that_are_cut_off_are_a_fault_after_what_they_hold() {
    let text = b"0123456789\n".repeat(10_000);
    for (compress, name) in [(gzip as fn(&[u8]) -> Vec<u8>, "gzip"), (zstd, "zstd")] {
        let mut bytes = compress(&text);
        bytes.truncate(bytes.len() - 5);
        let folder = folder(&[("cut", &bytes)]);
        let mut source = open(folder.path(), &json!({ "path": "cut" }), 1);
        let mut reader = open_only_partition(&mut source).await;
        let fault = fault(reader.as_mut()).await;
        assert_eq!(fault.domain, Domain::External);
        let start = format!(
            "the {name} data of {}/cut are damaged or cut off after ",
            folder.path().display()
        );
        assert!(fault.message.starts_with(&start), "{}", fault.message);
    }
}

#[tokio::test]
async fn the_file_is_metadata() {
    let folder = folder(&[("a", b"1\n"), ("b", b"2\n")]);
    let mut source = open(folder.path(), &json!({ "path": "*", "files": "sequence" }), 1);
    let mut reader = open_only_partition(&mut source).await;
    let mut files = Vec::new();
    loop {
        match reader.read(100).await.unwrap() {
            Read::Data(Payload::Stream { metadata, .. }) => files.push(metadata.to_vec()),
            Read::End => break,
            _ => {}
        }
    }
    assert_eq!(files, [[Scalar::Utf8("a".into())], [Scalar::Utf8("b".into())]]);
}

#[tokio::test]
async fn a_followed_file_is_read_as_it_grows() {
    for compress in [None, Some(gzip as fn(&[u8]) -> Vec<u8>), Some(zstd)] {
        let written = |bytes: &[u8]| compress.map_or_else(|| bytes.to_vec(), |compress| compress(bytes));
        let folder = folder(&[("log", b"")]);
        let path = folder.path().join("log");
        let mut source = open(folder.path(), &json!({ "path": "log", "follow": true }), 1);
        let mut reader = open_only_partition(&mut source).await;
        assert_eq!(
            read_what_is_there(reader.as_mut(), 2).await.records,
            Vec::<Vec<u8>>::new()
        );
        let mut position = 0;
        for text in [b"one\n".as_slice(), b"two\nthr", b"ee\n"] {
            for piece in written(text).chunks(3) {
                append(&path, piece);
            }
            let content = read_what_is_there(reader.as_mut(), 2).await;
            assert_eq!(content.records.concat(), text);
            assert_eq!(content.positions, [position]);
            position += text.len() as u64;
        }
    }
}

#[tokio::test]
async fn a_followed_compressed_file_may_stop_anywhere() {
    let text: Vec<u8> = (0..500).flat_map(|i| format!("{i}\n").into_bytes()).collect();
    for compress in [gzip as fn(&[u8]) -> Vec<u8>, zstd] {
        let bytes = [compress(&text), compress(&text)].concat();
        let folder = folder(&[("log", b"")]);
        let path = folder.path().join("log");
        let mut source = open(folder.path(), &json!({ "path": "log", "follow": true }), 1);
        let mut reader = open_only_partition(&mut source).await;
        let mut seen = Vec::new();
        for piece in bytes.chunks(11) {
            append(&path, piece);
            seen.extend(read_what_is_there(reader.as_mut(), 1).await.records.concat());
        }
        assert!(seen == [text.as_slice(), &text].concat());
    }
}

#[tokio::test]
async fn files_that_appear_later_are_found() {
    let folder = folder(&[("a", b"1\n")]);
    let mut source = open(folder.path(), &json!({ "path": "?", "follow": true }), 1);
    let first = source.discover().await.unwrap();
    assert_eq!(
        (first.partitions, first.complete),
        (vec![PartitionName::new("a")], false)
    );
    fs::write(folder.path().join("c"), "3\n").unwrap();
    fs::write(folder.path().join("b"), "2\n").unwrap();
    let second = source.discover().await.unwrap().partitions;
    assert_eq!(second, [PartitionName::new("b"), PartitionName::new("c")]);
    let mut reader = source.open(&second[0], None).await.unwrap();
    assert_eq!(read_what_is_there(reader.as_mut(), 2).await.records, [b"2\n"]);
    assert_eq!(source.discover().await.unwrap().partitions, []);
}

#[tokio::test]
async fn a_followed_sequence_goes_on_to_the_next_file_when_it_is_there() {
    let folder = folder(&[]);
    let config = json!({ "path": "log-*", "follow": true, "files": "sequence" });
    let mut source = open(folder.path(), &config, 1);
    assert_eq!(source.discover().await.unwrap().partitions, []);
    fs::write(folder.path().join("log-1"), "1\n").unwrap();
    let mut reader = open_only_partition(&mut source).await;
    assert_eq!(read_what_is_there(reader.as_mut(), 2).await.records, [b"1\n"]);
    append(&folder.path().join("log-1"), b"2\n");
    fs::write(folder.path().join("log-2"), "3\n").unwrap();
    assert_eq!(source.discover().await.unwrap().partitions, []);
    let content = read_what_is_there(reader.as_mut(), 2).await;
    assert_eq!(content.records, [b"2\n", b"3\n"]);
    assert_eq!(content.positions, [2, 1 << 40]);
    fs::write(folder.path().join("log-0"), "0\n").unwrap();
    let fault = source.discover().await.unwrap_err();
    assert_eq!(
        fault.message,
        "log-0 appeared after log-2 was read; files of a sequence are read in the order of their names"
    );
}

#[tokio::test]
async fn a_file_that_vanished_is_a_fault() {
    let folder = folder(&[("a", b"1\n")]);
    let mut source = open(folder.path(), &json!({ "path": "a" }), 1);
    let mut reader = open_only_partition(&mut source).await;
    fs::remove_file(folder.path().join("a")).unwrap();
    assert_eq!(
        fault(reader.as_mut()).await.message,
        format!("cannot open {}/a: no such file or directory", folder.path().display())
    );
}

#[tokio::test]
async fn a_file_that_vanished_before_it_was_looked_for_is_a_fault() {
    let folder = folder(&[("a", b"1\n"), ("b", b"2\n")]);
    let mut source = open(folder.path(), &json!({ "path": ["a", "b"] }), 1);
    fs::remove_file(folder.path().join("a")).unwrap();
    assert_eq!(
        source.discover().await.unwrap_err().message,
        format!("cannot open {}/a: no such file or directory", folder.path().display())
    );
}

#[cfg(unix)]
#[test]
fn what_is_read_has_the_name_that_a_sink_has_for_it() {
    use wasmill_connector_api::sink::SinkConnector;

    let folder = folder(&[("in/x.txt", b"1\n"), ("in/y.txt", b"2\n")]);
    std::os::unix::fs::symlink("in", folder.path().join("link")).unwrap();
    std::os::unix::fs::symlink("in/x.txt", folder.path().join("x")).unwrap();
    let reads = |path: &str| describe(folder.path(), &json!({ "path": path })).unwrap().reads;
    assert_eq!(reads("link/*"), ["in/x.txt", "in/y.txt"]);
    assert_eq!(reads("x"), ["in/x.txt"]);
    let target = |path: &str| {
        let config = decode(&json!({ "path": path })).unwrap();
        let described = wasmill_connector_file::Sink::describe(&config, &Folder::new(folder.path()));
        described.unwrap().target
    };
    for path in ["x", "in/x.txt", "./link/../in/x.txt", "link/x.txt"] {
        assert_eq!(target(path), "in/x.txt", "{path}");
    }
    assert_eq!(target("link/new/z.txt"), "in/new/z.txt");
}

#[test]
fn what_cannot_be_read_is_a_problem_of_the_configuration() {
    let dir = folder(&[("in/a.csv", b""), ("in/b.csv", b""), ("odd[1].csv", b"")]);
    let problem = |config: &Value| {
        let mut problems = describe(dir.path(), config).unwrap_err();
        assert_eq!(problems.len(), 1);
        let problem = problems.remove(0);
        let help = problem.help.unwrap_or_default();
        (problem.message, help.replace(dir.path().to_str().unwrap(), "ROOT"))
    };
    let both = |message: &str, help: &str| (message.to_owned(), help.to_owned());
    assert_eq!(
        problem(&json!({ "path": "in/c.csv" })),
        both("there is no file \"in/c.csv\"", "the folder ROOT/in has a.csv, b.csv")
    );
    assert_eq!(
        problem(&json!({ "path": "in/*.json" })),
        both("no file matches \"in/*.json\"", "the folder ROOT/in has a.csv, b.csv")
    );
    assert_eq!(
        problem(&json!({ "path": "out/x.csv" })),
        both("there is no file \"out/x.csv\"", "the folder ROOT/out is not there")
    );
    assert_eq!(
        problem(&json!({ "path": "in" })),
        both("\"in\" is a folder", "for the files in it: \"in/*\"")
    );
    assert_eq!(
        problem(&json!({ "path": "/dev/null" })),
        both(
            "\"/dev/null\" is not a regular file",
            "a pipe or a device cannot be read again from a position; write what it gives into a file"
        )
    );
    assert_eq!(
        problem(&json!({ "path": "/dev/null", "follow": true })).0,
        "\"/dev/null\" is not a regular file"
    );
    assert_eq!(problem(&json!({ "path": [] })).0, "the list is empty");
    assert_eq!(
        problem(&json!({ "path": "in/[" })).0,
        "\"in/[\" is not a pattern: invalid range pattern"
    );
    assert_eq!(
        problem(&json!({ "path": "in/a.csv", "discover-every": "2s" })).0,
        "does nothing: no file is looked for after the start"
    );
    assert_eq!(
        problem(&json!({ "path": 7 })).0,
        "invalid type: integer `7`, expected a path or a list of paths"
    );
    assert!(describe(dir.path(), &json!({ "path": "in/c.csv", "follow": true })).is_ok());
    assert!(describe(dir.path(), &json!({ "path": "odd[1].csv" })).is_ok());
    assert!(describe(dir.path(), &json!({ "path": "in/a.csv", "paht": "x" })).is_err());
}

/// Opens the only partition where a checkpoint says.
async fn go_on(folder: &Path, config: &Value, from: &Resume) -> Box<dyn PartitionReader> {
    let mut source = open(folder, config, 1);
    let partitions = source.discover().await.unwrap().partitions;
    let partition = partitions.first().cloned().unwrap_or_else(|| PartitionName::new("log"));
    source.open(&partition, Some(from)).await.unwrap()
}

/// Reads one payload of so many bytes, and says where a checkpoint after it would go on.
async fn read_some(reader: &mut dyn PartitionReader, bytes: usize) -> Resume {
    let Read::Data(Payload::Stream { bytes, position, .. }) = reader.read(bytes).await.unwrap() else {
        panic!("there are bytes");
    };
    Resume {
        position: position + bytes.len() as u64,
        note: reader.note(),
    }
}

/// A followed `log` of which two bytes were read.
async fn followed(content: &[u8]) -> (tempfile::TempDir, std::path::PathBuf, Resume) {
    let dir = folder(&[("log", content)]);
    let path = dir.path().join("log");
    let mut source = open(dir.path(), &follow(), 1);
    let mut reader = open_only_partition(&mut source).await;
    let from = read_some(reader.as_mut(), 2).await;
    (dir, path, from)
}

fn follow() -> Value {
    json!({ "path": "log", "follow": true })
}

async fn rest(folder: &Path, config: &Value, from: &Resume) -> (Vec<Vec<u8>>, Vec<u64>) {
    let mut reader = go_on(folder, config, from).await;
    let content = read_what_is_there(reader.as_mut(), 2).await;
    (content.records, content.positions)
}

fn records(records: &[&str]) -> Vec<Vec<u8>> {
    records.iter().map(|record| record.as_bytes().to_vec()).collect()
}

#[tokio::test]
async fn a_followed_file_that_is_renamed_is_read_to_its_end_and_then_the_one_in_its_place() {
    let (dir, path, _) = followed(b"1\n").await;
    let mut source = open(dir.path(), &follow(), 1);
    let mut reader = open_only_partition(&mut source).await;
    assert_eq!(read_what_is_there(reader.as_mut(), 1).await.records, records(&["1\n"]));
    append(&path, b"2\n");
    fs::rename(&path, dir.path().join("log.1")).unwrap();
    assert_eq!(read_what_is_there(reader.as_mut(), 1).await.records, records(&["2\n"]));
    append(&dir.path().join("log.1"), b"3\n");
    fs::write(&path, "4\n").unwrap();
    let content = read_what_is_there(reader.as_mut(), 3).await;
    assert_eq!(content.records, records(&["3\n", "4\n"]));
    assert_eq!(content.positions, [4, 6]);
}

#[tokio::test]
async fn a_followed_file_that_is_cut_is_read_from_its_beginning() {
    let (dir, path, _) = followed(b"0123456789\n").await;
    let mut source = open(dir.path(), &follow(), 1);
    let mut reader = open_only_partition(&mut source).await;
    read_what_is_there(reader.as_mut(), 1).await;
    fs::write(&path, "x\n").unwrap();
    let content = read_what_is_there(reader.as_mut(), 3).await;
    assert_eq!(content.records, records(&["x\n"]));
    assert_eq!(content.positions, [11]);
}

#[tokio::test]
async fn a_file_of_a_followed_sequence_may_only_grow() {
    let config = json!({ "path": "log", "follow": true, "files": "sequence" });
    let dir = folder(&[("log", b"0123456789\n")]);
    let path = dir.path().join("log");
    let mut source = open(dir.path(), &config, 1);
    let mut reader = open_only_partition(&mut source).await;
    read_what_is_there(reader.as_mut(), 1).await;
    fs::write(&path, "x\n").unwrap();
    assert_eq!(
        fault(reader.as_mut()).await.message,
        format!(
            "{} was cut from 11 to 2 bytes while it was followed; a file of a sequence may only grow",
            path.display()
        )
    );
    let mut reader = source.open(&PartitionName::new("log"), None).await.unwrap();
    read_what_is_there(reader.as_mut(), 1).await;
    fs::rename(&path, dir.path().join("old")).unwrap();
    fs::write(&path, "x\n").unwrap();
    assert_eq!(
        fault(reader.as_mut()).await.message,
        format!(
            "{} was replaced by another file while it was followed; a file of a sequence may only grow",
            path.display()
        )
    );
}

#[tokio::test]
async fn a_file_that_was_appended_to_while_nobody_looked_goes_on() {
    let (dir, path, from) = followed(b"1\n2\n").await;
    append(&path, b"3\n");
    assert_eq!(
        rest(dir.path(), &follow(), &from).await,
        (records(&["2\n3\n"]), vec![2])
    );
}

#[tokio::test]
async fn files_that_were_renamed_while_nobody_looked_are_read_in_their_order() {
    let (dir, path, from) = followed(b"1\n2\n").await;
    let at = |name: &str| dir.path().join(name);
    // Three times, at times of their own, beside files that are something else.
    let written = |name: &str, seconds: u64| {
        let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        fs::File::options()
            .append(true)
            .open(at(name))
            .unwrap()
            .set_modified(time)
            .unwrap();
    };
    fs::rename(&path, at("log.3")).unwrap();
    written("log.3", 1_000);
    for (name, text, seconds) in [
        ("log.4", "older\n", 999),
        ("log.2", "3\n", 2_000),
        ("log.1", "4\n", 3_000),
        ("log.md5", "no\n", 2_500),
        ("log.gz", "no\n", 2_500),
        ("log", "5\n", 4_000),
    ] {
        fs::write(at(name), text).unwrap();
        written(name, seconds);
    }
    assert_eq!(
        rest(dir.path(), &follow(), &from).await,
        (records(&["2\n", "3\n", "4\n", "5\n"]), vec![2, 4, 6, 8])
    );
    // And from within the file in between.
    let mut reader = go_on(dir.path(), &follow(), &from).await;
    read_some(reader.as_mut(), 100).await;
    assert!(matches!(reader.read(1).await.unwrap(), Read::Boundary));
    let between = read_some(reader.as_mut(), 1).await;
    fs::rename(at("log"), at("log.0")).unwrap();
    fs::write(at("log"), "6\n").unwrap();
    assert_eq!(
        rest(dir.path(), &follow(), &between).await,
        (records(&["\n", "4\n", "5\n", "6\n"]), vec![5, 6, 8, 10])
    );
}

#[tokio::test]
async fn a_renamed_file_is_read_on_before_there_is_another_one() {
    let (dir, path, from) = followed(b"1\n2\n").await;
    fs::rename(&path, dir.path().join("log.1")).unwrap();
    let mut reader = go_on(dir.path(), &follow(), &from).await;
    assert_eq!(read_what_is_there(reader.as_mut(), 2).await.records, records(&["2\n"]));
    append(&dir.path().join("log.1"), b"3\n");
    assert_eq!(read_what_is_there(reader.as_mut(), 2).await.records, records(&["3\n"]));
    fs::write(&path, "4\n").unwrap();
    assert_eq!(read_what_is_there(reader.as_mut(), 2).await.records, records(&["4\n"]));
}

#[tokio::test]
async fn a_renamed_compressed_file_must_be_whole() {
    let whole = gzip(b"1\n2\n");
    for cut in [0, 3] {
        let (dir, path, from) = followed(&[&whole[..], &whole[..whole.len() - cut]].concat()).await;
        fs::rename(&path, dir.path().join("log.1")).unwrap();
        fs::write(&path, gzip(b"3\n")).unwrap();
        let mut reader = go_on(dir.path(), &follow(), &from).await;
        if cut == 0 {
            let content = read_what_is_there(reader.as_mut(), 2).await;
            assert_eq!(content.records, records(&["2\n1\n2\n", "3\n"]));
        } else {
            let message = fault(reader.as_mut()).await.message;
            assert!(message.contains("damaged or cut off after 8 bytes"), "{message}");
        }
    }
}

#[tokio::test]
async fn a_file_that_was_cut_while_nobody_looked_is_read_from_its_beginning() {
    for content in ["x\n", "other content of any length\n"] {
        let (dir, path, from) = followed(b"1\n2\n3\n").await;
        fs::write(&path, content).unwrap();
        assert_eq!(
            rest(dir.path(), &follow(), &from).await,
            (records(&[content]), vec![2]),
            "{content}"
        );
    }
    // The same beginning, but shorter than what was read.
    let (dir, path, _) = followed(b"1\n2\n3\n").await;
    let mut source = open(dir.path(), &follow(), 1);
    let mut reader = open_only_partition(&mut source).await;
    let from = read_some(reader.as_mut(), 100).await;
    fs::write(&path, "1\n").unwrap();
    assert_eq!(rest(dir.path(), &follow(), &from).await, (records(&["1\n"]), vec![6]));
}

#[tokio::test]
async fn a_copy_of_a_file_is_that_file() {
    for config in [follow(), json!({ "path": "log" })] {
        let (dir, path, from) = followed(b"1\n2\n").await;
        let copy = dir.path().join("copy");
        fs::copy(&path, &copy).unwrap();
        fs::rename(&copy, &path).unwrap();
        let mut reader = go_on(dir.path(), &config, &from).await;
        assert_eq!(&stream(reader.read(100).await.unwrap())[..], b"2\n");
    }
}

fn stream(read: Read) -> bytes::Bytes {
    match read {
        Read::Data(Payload::Stream { bytes, .. }) => bytes,
        other => panic!("bytes, not {other:?}"),
    }
}

#[tokio::test]
async fn a_file_that_is_gone_or_another_one_or_shorter_is_a_fault_that_says_what_to_do() {
    let bounded = json!({ "path": "log*" });
    let put_back = |path: &Path, what: &str| format!("{} {what}", path.display());
    let (dir, path, from) = followed(b"1\n2\n").await;
    // Keeps the inode in use: another file that took it would be this one, cut to nothing and written anew.
    let _original = fs::File::open(&path).unwrap();
    for config in [&follow(), &bounded] {
        fs::remove_file(&path).ok();
        fs::write(dir.path().join("logs"), "").unwrap();
        let mut source = open(dir.path(), config, 1);
        source.discover().await.unwrap();
        let mut reader = source.open(&PartitionName::new("log"), Some(&from)).await.unwrap();
        assert_eq!(
            fault(reader.as_mut()).await.message,
            put_back(
                &path,
                "is gone, and the checkpoint goes on in it: put it back, or start with --fresh"
            )
        );
        fs::write(&path, "another one\n").unwrap();
        let mut reader = source.open(&PartitionName::new("log"), Some(&from)).await.unwrap();
        assert_eq!(
            fault(reader.as_mut()).await.message,
            put_back(
                &path,
                "is another file than before the checkpoint, which goes on in it: put that one back, or start with --fresh"
            )
        );
    }
    let dir = folder(&[("log", &gzip(b"1\n2\n"))]);
    let path = dir.path().join("log");
    let mut source = open(dir.path(), &bounded, 1);
    let mut reader = open_only_partition(&mut source).await;
    let mut from = read_some(reader.as_mut(), 100).await;
    from.position += 1;
    let mut reader = go_on(dir.path(), &bounded, &from).await;
    assert_eq!(
        fault(reader.as_mut()).await.message,
        put_back(
            &path,
            "holds 4 bytes, and the checkpoint goes on after 5: put back what is missing, or start with --fresh"
        )
    );
    let from = Resume {
        position: 1,
        note: bytes::Bytes::from_static(b"{}"),
    };
    let mut reader = go_on(dir.path(), &bounded, &from).await;
    assert_eq!(
        fault(reader.as_mut()).await.message,
        put_back(
            &path,
            "has a note in the checkpoint that cannot be read: missing field `file` at line 1 column 2"
        )
    );
}

#[tokio::test]
async fn a_pattern_that_finds_a_renamed_file_again_is_a_fault() {
    let config = json!({ "path": "log*", "follow": true });
    let dir = folder(&[("log", b"1\n2\n")]);
    let (log, renamed) = (dir.path().join("log"), dir.path().join("log.1"));
    let mut source = open(dir.path(), &config, 1);
    let mut reader = open_only_partition(&mut source).await;
    let from = read_some(reader.as_mut(), 2).await;
    fs::rename(&log, &renamed).unwrap();
    fs::write(&log, "3\n").unwrap();
    let message = "log.1 is what log was before, and `path` matches both, so that it would be read twice";
    assert_eq!(source.discover().await.unwrap_err().message, message);
    let mut reader = go_on(dir.path(), &config, &from).await;
    assert_eq!(fault(reader.as_mut()).await.message, message);
}

#[tokio::test]
async fn files_of_a_sequence_keep_their_numbers_when_others_come_and_go() {
    let config = json!({ "path": "log-*", "files": "sequence" });
    let dir = folder(&[("log-1", b"1\n"), ("log-2", b"2\n3\n")]);
    let mut source = open(dir.path(), &config, 1);
    let mut reader = open_only_partition(&mut source).await;
    read_some(reader.as_mut(), 100).await;
    assert!(matches!(reader.read(1).await.unwrap(), Read::Boundary));
    let from = read_some(reader.as_mut(), 2).await;
    assert_eq!(from.position, (1 << 40) + 2);
    fs::write(dir.path().join("log-3"), "4\n").unwrap();
    for gone in [false, true] {
        if gone {
            fs::remove_file(dir.path().join("log-1")).unwrap();
        }
        let mut reader = go_on(dir.path(), &config, &from).await;
        let content = read_to_end(reader.as_mut(), 100).await;
        assert_eq!(content.records, records(&["3\n", "4\n"]));
        assert_eq!(content.positions, [(1 << 40) + 2, 2 << 40]);
    }
    for earlier in ["log-0", "log-1"] {
        fs::write(dir.path().join(earlier), "0\n").unwrap();
    }
    let mut reader = go_on(dir.path(), &config, &from).await;
    assert_eq!(
        fault(reader.as_mut()).await.message,
        "a file appeared before log-2, in which the checkpoint goes on; files of a sequence are read in the order of their names"
    );
    fs::remove_file(dir.path().join("log-2")).unwrap();
    let mut reader = go_on(dir.path(), &config, &from).await;
    assert!(fault(reader.as_mut()).await.message.contains("log-2 is gone"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn reading_goes_on_with_exactly_what_is_left(
        files in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..3_000), 1..4),
        compression in 0..3_usize, stop in 0..12_usize, bytes_max in 1..2_000_usize, back in 0..2_000_u64,
    ) {
        let compress: fn(&[u8]) -> Vec<u8> = [<[u8]>::to_vec, gzip, zstd][compression];
        let names: Vec<String> = (0..files.len()).map(|file| format!("f{file}")).collect();
        let compressed: Vec<Vec<u8>> = files.iter().map(|file| {
            // Several members or frames.
            let (first, second) = file.split_at(file.len() / 2);
            [compress(first), compress(second)].concat()
        }).collect();
        let there: Vec<(&str, &[u8])> = names.iter().map(String::as_str).zip(compressed.iter().map(Vec::as_slice)).collect();
        let dir = folder(&there);
        let known = ["none", "gzip", "zstd"][compression];
        let config = json!({ "path": "f*", "files": "sequence", "compression": known });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut source = open(dir.path(), &config, 1);
            let mut reader = open_only_partition(&mut source).await;
            let (mut position, mut note, mut first) = (0, bytes::Bytes::new(), 0);
            let mut reads = 0;
            while reads <= stop {
                match reader.read(bytes_max).await.unwrap() {
                    Read::Data(Payload::Stream { bytes, position: at, .. }) => {
                        position = at + bytes.len() as u64;
                        note = reader.note();
                        first = at;
                        reads += 1;
                    }
                    Read::End => break,
                    _ => {}
                }
            }
            drop(reader);
            // Anywhere in the last piece.
            let position = position.saturating_sub(back).max(first);
            let from = Resume { position, note };
            let mut reader = go_on(dir.path(), &config, &from).await;
            let content = read_to_end(reader.as_mut(), 777).await;
            // The expectation: the files' bytes from that one on.
            let (file, byte) = ((position >> 40) as usize, (position & ((1 << 40) - 1)) as usize);
            let expect: Vec<Vec<u8>> = std::iter::once(files[file][byte..].to_vec())
                .chain(files[file + 1..].iter().cloned())
                .filter(|bytes| !bytes.is_empty())
                .collect();
            prop_assert_eq!(content.records, expect);
            Ok(())
        })?;
    }
}

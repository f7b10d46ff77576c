//! The folder of working state: one job at a time, nothing left behind.

use std::fs;
use std::path::PathBuf;

use wasmill_core::fault::Domain;
use wasmill_core::id::{NodeId, WorkerIndex};
use wasmill_core::plan::{StateBackend, StateSettings};
use wasmill_state::Stores;

fn on_disk(name: &str) -> (PathBuf, StateSettings) {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    drop(fs::remove_dir_all(&path));
    let settings = StateSettings {
        backend: StateBackend::Disk,
        memory_bytes: 4 << 20,
        path: Some(path.clone()),
    };
    (path, settings)
}

fn node() -> NodeId {
    NodeId::new("sessions")
}

#[test]
fn each_subtask_has_a_folder_and_all_go_in_the_end() {
    let (path, settings) = on_disk("stores-removed");
    let stores = Stores::new(&settings, &path, 2).expect("the folder can be made");
    let mut first = stores.open(&node(), WorkerIndex(0)).expect("the folder can be made");
    let second = stores.open(&node(), WorkerIndex(1)).expect("the folder can be made");
    first.put(b"key", b"value").expect("the disk has room");
    assert_eq!(second.get(b"key", <[u8]>::len), Ok(None));
    assert_eq!(first.resident_bytes(), Some(1 << 20));
    let folder = path.join("wasmill-state");
    assert!(folder.join("sessions-0").is_dir() && folder.join("sessions-1").is_dir());
    drop((stores, second));
    assert!(folder.is_dir(), "a store is open");
    drop(first);
    assert!(!folder.exists() && path.is_dir());
}

#[test]
fn what_a_killed_job_left_is_removed_and_nothing_else() {
    let (path, settings) = on_disk("stores-left");
    let left = path.join("wasmill-state/old-0");
    fs::create_dir_all(&left).expect("the folder can be made");
    fs::write(left.join("entries"), b"old").expect("the folder can be written");
    fs::write(path.join("mine"), b"precious").expect("the folder can be written");
    let stores = Stores::new(&settings, &path, 1).expect("the folder can be used");
    assert!(!left.exists() && path.join("mine").exists());
    drop(stores);
    assert!(path.join("mine").exists());
}

#[test]
fn a_folder_that_another_job_works_in_is_refused() {
    let (path, settings) = on_disk("stores-locked");
    let stores = Stores::new(&settings, &path, 1).expect("the folder can be made");
    let fault = Stores::new(&settings, &path, 1).expect_err("it is in use");
    assert_eq!(fault.domain, Domain::User);
    assert!(fault.message.contains("another job"), "{fault}");
    drop(stores);
    Stores::new(&settings, &path, 1).expect("it is free again");
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let (path, mut settings) = on_disk("stores-file");
    fs::create_dir_all(&path).expect("the folder can be made");
    fs::write(path.join("file"), b"").expect("the folder can be written");
    settings.path = Some(path.join("file"));
    let fault = Stores::new(&settings, &path, 1).expect_err("a file is no folder");
    assert_eq!(fault.domain, Domain::External);
    assert!(fault.message.contains("stores-file/file"), "{fault}");
}

#[test]
fn in_memory_nothing_is_bounded_and_no_folder_is_made() {
    let (path, mut settings) = on_disk("stores-memory");
    settings.backend = StateBackend::Memory;
    let stores = Stores::new(&settings, &path, 1).expect("memory does not fail");
    let store = stores.open(&node(), WorkerIndex(0)).expect("memory does not fail");
    assert_eq!((store.resident_bytes(), path.exists()), (None, false));
}

//! Every store keeps what the protocol stands on.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use wasmill_checkpoint::store::{
    Address, Creation, Faults, Faulty, Memory, Objects, Pause, Refusal, RetryPolicy, Retrying, Store, StoreError,
    open_format,
};

use crate::block_on::block_on;

async fn check_store(store: &dyn Store) {
    open_format(store).await.unwrap();
    open_format(store).await.unwrap();
    let (one, two) = (Bytes::from_static(b"one"), Bytes::from_static(b"two"));
    assert_eq!(store.put_new("a/b/1", one.clone()).await.unwrap(), Creation::Made);
    assert_eq!(store.put_new("a/b/1", two.clone()).await.unwrap(), Creation::Taken);
    assert_eq!(store.get("a/b/1").await.unwrap(), one);
    store.put("a/b/1", two.clone()).await.unwrap();
    store.put("a/c/x_y-z.1", one.clone()).await.unwrap();
    store.put("ab", one.clone()).await.unwrap();
    assert_eq!(store.get_range("a/b/1", 1..3).await.unwrap(), "wo");
    assert_eq!(store.get_range("a/b/1", 1..9).await.unwrap(), "wo");
    assert_eq!(store.length("a/b/1").await.unwrap(), 3);
    let listed = store.list("a").await.unwrap();
    let listed: Vec<_> = listed.iter().map(|object| (&*object.path, object.length)).collect();
    assert_eq!(listed, [("a/b/1", 3), ("a/c/x_y-z.1", 3)]);
    assert_eq!(store.folders("a").await.unwrap(), ["b", "c"]);
    assert_eq!(store.list("none").await.unwrap(), []);
    assert_eq!(store.folders("none").await.unwrap(), [""; 0]);
    store.copy("a/b/1", "d/1").await.unwrap();
    store.delete("a/b/1").await.unwrap();
    store.delete("a/b/1").await.unwrap();
    assert_eq!(store.get("d/1").await.unwrap(), two);
    for missing in [
        store.get("a/b/1").await.unwrap_err(),
        store.get_range("a/b/1", 0..1).await.unwrap_err(),
        store.length("a/b/1").await.unwrap_err(),
        store.copy("a/b/1", "e").await.unwrap_err(),
    ] {
        assert!(missing.is_missing(), "{missing}");
    }
    let large: Bytes = (0..20_000_000_u32).map(|number| (number % 251) as u8).collect();
    let mut upload = store.upload("large").await.unwrap();
    for part in large.chunks(3_000_000) {
        upload.write(Bytes::copy_from_slice(part)).await.unwrap();
    }
    assert!(
        store.get("large").await.unwrap_err().is_missing(),
        "it is there when it is complete"
    );
    upload.complete().await.unwrap();
    assert_eq!(store.get("large").await.unwrap(), large);
    let abandoned = store.upload("abandoned").await.unwrap();
    drop(abandoned);
    assert!(store.get("abandoned").await.unwrap_err().is_missing());
}

#[test]
fn a_store_in_memory_is_a_store() {
    block_on(check_store(&Memory::new()));
}

#[test]
fn a_store_that_could_fail_is_a_store() {
    block_on(check_store(&Faulty::new(
        7,
        Faults {
            delays_max: 3,
            ..Faults::default()
        },
    )));
}

#[tokio::test]
async fn a_local_folder_is_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = Objects::in_folder(&folder.path().join("not/there")).unwrap();
    check_store(&store).await;
}

/// `WASMILL_TEST_S3` is the address of a bucket that may be written to, `WASMILL_TEST_S3_OPTIONS` what its client needs:
/// `endpoint=http://127.0.0.1:7070,allow_http=true,...`.
#[cfg(feature = "s3")]
#[tokio::test]
async fn a_bucket_is_a_store() {
    #[expect(
        clippy::disallowed_methods,
        reason = "which server a test runs against is said in the environment"
    )]
    let said = |name| std::env::var(name).ok();
    let Some(address) = said("WASMILL_TEST_S3") else {
        println!("skipped: WASMILL_TEST_S3 names no bucket");
        return;
    };
    let options = said("WASMILL_TEST_S3_OPTIONS").unwrap_or_default();
    let options: BTreeMap<String, String> = options
        .split(',')
        .filter_map(|option| option.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let address = Address::parse(&address, Path::new("/")).unwrap();
    let store = address.open(&options, &mut std::iter::empty()).unwrap();
    for object in store.list("").await.unwrap() {
        store.delete(&object.path).await.unwrap();
    }
    check_store(&*store).await;
}

#[tokio::test]
async fn what_a_killed_write_left_is_removed_and_never_listed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Objects::in_folder(folder.path()).unwrap();
    store.put("state/a", Bytes::from_static(b"a")).await.unwrap();
    let left = folder.path().join("state/b#1");
    fs::write(&left, b"half").unwrap();
    assert_eq!(store.list("state").await.unwrap().len(), 1);
    store.remove_unfinished("state").await.unwrap();
    assert!(!left.exists());
    assert_eq!(store.get("state/a").await.unwrap(), "a");
    store.remove_unfinished("not/there").await.unwrap();
}

#[tokio::test]
async fn a_folder_that_may_not_be_written_is_denied() {
    let folder = tempfile::tempdir().unwrap();
    let store = Objects::in_folder(folder.path()).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o500)).unwrap();
    let written = store.put("a", Bytes::from_static(b"a")).await;
    let forbidden = fs::write(folder.path().join("probe"), b"").is_err();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    // The superuser may write anywhere.
    if forbidden {
        assert!(matches!(written, Err(StoreError::Denied { .. })), "{written:?}");
    }
}

#[test]
fn a_store_that_overwrites_is_refused() {
    #[derive(Debug)]
    struct Overwrites(Memory);

    #[async_trait]
    impl Store for Overwrites {
        fn name(&self) -> String {
            "overwrites:".to_owned()
        }
        async fn put_new(&self, path: &str, bytes: Bytes) -> Result<Creation, StoreError> {
            self.0.put(path, bytes).await?;
            Ok(Creation::Made)
        }
        async fn put(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
            self.0.put(path, bytes).await
        }
        async fn upload(&self, path: &str) -> Result<Box<dyn wasmill_checkpoint::store::Upload>, StoreError> {
            self.0.upload(path).await
        }
        async fn get(&self, path: &str) -> Result<Bytes, StoreError> {
            self.0.get(path).await
        }
        async fn get_range(&self, path: &str, range: std::ops::Range<u64>) -> Result<Bytes, StoreError> {
            self.0.get_range(path, range).await
        }
        async fn length(&self, path: &str) -> Result<u64, StoreError> {
            self.0.length(path).await
        }
        async fn list(&self, folder: &str) -> Result<Vec<wasmill_checkpoint::store::Object>, StoreError> {
            self.0.list(folder).await
        }
        async fn folders(&self, folder: &str) -> Result<Vec<String>, StoreError> {
            self.0.folders(folder).await
        }
        async fn delete(&self, path: &str) -> Result<(), StoreError> {
            self.0.delete(path).await
        }
        async fn copy(&self, from: &str, to: &str) -> Result<(), StoreError> {
            self.0.copy(from, to).await
        }
        async fn remove_unfinished(&self, folder: &str) -> Result<(), StoreError> {
            self.0.remove_unfinished(folder).await
        }
    }

    let refused = block_on(open_format(&Overwrites(Memory::new()))).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "overwrites: cannot create an object only where there is none, so two jobs could write one checkpoint; use a \
         store that can"
    );
}

/// Keeps the pauses that were asked for. No deadline comes.
#[derive(Debug, Default)]
struct Noted(Mutex<Vec<Duration>>);

#[async_trait]
impl Pause for Noted {
    async fn pause(&self, time: Duration) {
        if time >= RetryPolicy::default().deadline {
            std::future::pending::<()>().await;
        } else {
            self.0.lock().unwrap().push(time);
        }
    }
}

#[test]
fn what_may_pass_is_tried_again_and_not_for_ever() {
    let faulty = Faulty::new(
        1,
        Faults {
            fails: 1000,
            ..Faults::default()
        },
    );
    let noted = Arc::new(Noted::default());
    let store = Retrying::new(Arc::new(faulty.clone()), RetryPolicy::default(), noted.clone());
    let failed = block_on(store.put("a", Bytes::new())).unwrap_err();
    assert!(failed.may_pass());
    let millis: Vec<u128> = noted.0.lock().unwrap().iter().map(Duration::as_millis).collect();
    assert_eq!(millis, [100, 200, 400, 800, 1600]);

    faulty.set_faults(Faults {
        fails: 500,
        ..Faults::default()
    });
    for number in 0..100 {
        block_on(store.put(&format!("b/{number}"), Bytes::new())).ok();
    }
    let there = block_on(Memory::list(faulty.memory(), "b")).unwrap().len();
    // Each is tried six times, and half of the attempts fail: 98 or 99 of 100 come through on average.
    assert!(there > 90, "{there}");
}

#[test]
fn a_full_disk_is_not_tried_again_at_once() {
    let faulty = Faulty::new(1, Faults::default());
    faulty.refuse(Some(Refusal::Full));
    let noted = Arc::new(Noted::default());
    let store = Retrying::new(Arc::new(faulty.clone()), RetryPolicy::default(), noted.clone());
    let full = block_on(store.put("a", Bytes::new())).unwrap_err();
    assert!(matches!(full, StoreError::Full { .. }));
    assert_eq!(*noted.0.lock().unwrap(), []);
    faulty.refuse(None);
    block_on(store.put("a", Bytes::new())).unwrap();
}

#[test]
fn an_answer_that_does_not_come_is_a_failure_that_may_pass() {
    /// All deadlines come at once.
    #[derive(Debug)]
    struct AtOnce;

    #[async_trait]
    impl Pause for AtOnce {
        async fn pause(&self, _: Duration) {}
    }

    let slow = Faulty::new(
        3,
        Faults {
            delays_max: 1_000_000,
            ..Faults::default()
        },
    );
    let store = Retrying::new(Arc::new(slow), RetryPolicy::default(), Arc::new(AtOnce));
    let failed = block_on(store.get("a")).unwrap_err();
    assert!(failed.may_pass(), "{failed}");
}

#[test]
fn a_build_says_what_it_cannot_open() {
    let address = Address::parse("file:x", Path::new("/tmp")).unwrap();
    let options = BTreeMap::from([("region".to_owned(), "x".to_owned())]);
    let error = address.open(&options, &mut std::iter::empty()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`file:/tmp/x` is no checkpoint store: a local folder has no option `region`"
    );
}

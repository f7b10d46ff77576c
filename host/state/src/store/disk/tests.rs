//! What is said when the disk fails.

use std::io;
use std::sync::Mutex;

use super::*;
use wasmill_core::fault::Retry;

/// A file in memory on a disk of so many bytes.
#[derive(Debug)]
struct SmallDisk {
    bytes: Mutex<Vec<u8>>,
    bytes_max: u64,
}

impl StorageBackend for SmallDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.lock().expect("no panic holds it").len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let bytes = self.bytes.lock().expect("no panic holds it");
        out.copy_from_slice(&bytes[offset as usize..][..out.len()]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.bytes.lock().expect("no panic holds it").resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if offset + data.len() as u64 > self.bytes_max {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut bytes = self.bytes.lock().expect("no panic holds it");
        bytes[offset as usize..][..data.len()].copy_from_slice(data);
        Ok(())
    }
}

fn folder(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("wasmill-state-{name}-{}", std::process::id()))
}

#[test]
fn a_full_disk_is_said_with_what_to_do() {
    let disk = SmallDisk {
        bytes: Mutex::default(),
        bytes_max: 200_000,
    };
    let mut store = Disk::over(disk, &folder("full"), 8_192).expect("an empty file fits");
    let fault = (0_u32..100_000)
        .find_map(|n| store.put(&n.to_be_bytes(), &[7; 100]).err())
        .expect("ten megabytes do not fit");
    assert_eq!((fault.domain, fault.retry), (Domain::External, Retry::Backoff));
    assert!(fault.message.contains("is full"), "{fault}");
    assert!(fault.message.contains("`path` in [state]"), "{fault}");
    // It does not go on as if nothing had been lost.
    let missing = u32::MAX.to_be_bytes();
    assert_eq!(store.get(&missing, <[u8]>::to_vec), Err(fault.clone()));
    assert_eq!(store.remove(&missing), Err(fault.clone()));
    let all = (Bound::Unbounded, Bound::Unbounded);
    let scanned = store.scan(all, Direction::Forwards, &mut |_, _| Ok(ControlFlow::Continue(())));
    assert_eq!(scanned, Err(fault));
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let file = folder("file");
    fs::write(&file, b"").expect("the folder for temporary files can be written");
    let below = file.join("store");
    let fault = Disk::open(&below, 1 << 20).expect_err("a file is no folder");
    fs::remove_file(&file).expect("it is there");
    assert_eq!(fault.domain, Domain::External);
    assert!(fault.message.contains(&below.display().to_string()), "{fault}");
}

#[test]
fn the_folder_is_emptied_and_removed() {
    let folder = folder("emptied");
    fs::create_dir_all(&folder).expect("the folder for temporary files can be written");
    fs::write(folder.join(FILE), b"what a job left that was killed").expect("so can a folder in it");
    let mut store = Disk::open(&folder, 8_192).expect("the folder can be used again");
    for n in 0_u32..1_000 {
        store.put(&n.to_be_bytes(), &[7; 100]).expect("the disk has room");
    }
    assert!(matches!(store.stored, Stored::Entries(_)) && store.size_bytes() > 100_000);
    drop(store);
    assert!(!folder.exists());
}

#[test]
fn nothing_is_written_to_disk_while_memory_suffices() {
    let folder = folder("unused");
    let mut store = Disk::open(&folder, 1 << 20).expect("the folder can be made");
    let before = fs::metadata(folder.join(FILE)).expect("it was made").len();
    for n in 0_u32..1_000 {
        store.put(&n.to_be_bytes(), &[7; 100]).expect("the disk has room");
        store.remove(&(n / 2).to_be_bytes()).expect("the disk has room");
    }
    let after = fs::metadata(folder.join(FILE)).expect("it was made").len();
    assert!(matches!(store.stored, Stored::Nothing));
    assert_eq!(before, after);
}

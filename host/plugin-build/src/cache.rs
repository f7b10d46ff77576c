//! The cache of a user: components by digest, and the turn to build.
//!
//! ```text
//! toolchains/   compilers that were unpacked, and notes of what failed
//! target/       Cargo's target folder of all plugins
//! components/   <digest>/<name>.wasm
//! ```
//!
//! Files appear by rename, so a build that is killed leaves nothing half-made under a final name.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use crate::{Error, Settings, Step};

/// So many components are kept; beyond, the oldest are removed.
pub const COMPONENTS_MAX: usize = 256;

/// Where the component of this digest stands.
pub(crate) fn component(settings: &Settings, digest: &str, name: &str) -> PathBuf {
    settings
        .cache
        .join("components")
        .join(digest)
        .join(format!("{name}.wasm"))
}

/// The turn to build; others wait until it is dropped.
pub(crate) fn lock(settings: &Settings, report: &mut dyn FnMut(Step<'_>)) -> Result<File, Error> {
    fs::create_dir_all(&settings.cache).map_err(Error::io("make the folder", &settings.cache))?;
    let path = settings.cache.join("lock");
    let file = File::create(&path).map_err(Error::io("open", &path))?;
    if file.try_lock().is_err() {
        report(Step::Waiting);
        file.lock().map_err(Error::io("lock", &path))?;
    }
    Ok(file)
}

/// Puts a component into its place.
pub(crate) fn store(settings: &Settings, path: &Path, component: &[u8]) -> Result<(), Error> {
    let folder = path.parent().expect("a component stands in the folder of its digest");
    fs::create_dir_all(folder).map_err(Error::io("make the folder", folder))?;
    let partial = path.with_extension(format!("{}.partial", std::process::id()));
    let mut file = File::create(&partial).map_err(Error::io("write", &partial))?;
    file.write_all(component).map_err(Error::io("write", &partial))?;
    fs::rename(&partial, path).map_err(Error::io("write", path))?;
    prune(&settings.cache.join("components"), COMPONENTS_MAX)
}

/// Removes the oldest entries of a folder beyond so many.
fn prune(folder: &Path, keep: usize) -> Result<(), Error> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let path = entry.map_err(Error::io("read", folder))?.path();
        let modified = fs::metadata(&path).and_then(|metadata| metadata.modified());
        entries.push((modified.map_err(Error::io("read", &path))?, path));
    }
    entries.sort();
    for (_, path) in entries.iter().rev().skip(keep) {
        fs::remove_dir_all(path).map_err(Error::io("remove", path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn settings(cache: &Path) -> Settings {
        Settings {
            cache: cache.to_owned(),
            now: SystemTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_component_stands_under_its_digest() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        let path = component(&settings, "d1", "classify");
        store(&settings, &path, b"wasm").unwrap();
        assert_eq!(
            fs::read(folder.path().join("components/d1/classify.wasm")).unwrap(),
            b"wasm"
        );
        assert_eq!(
            fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1,
            "no partial file stays"
        );
    }

    #[test]
    fn the_oldest_entries_go_first() {
        let folder = tempfile::tempdir().unwrap();
        for age in 0..4 {
            let entry = folder.path().join(format!("entry-{age}"));
            fs::create_dir(&entry).unwrap();
            let modified = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000 - age);
            File::open(&entry).unwrap().set_modified(modified).unwrap();
        }
        prune(folder.path(), 2).unwrap();
        let mut left: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["entry-0", "entry-1"]);
    }

    #[test]
    fn a_second_build_waits_for_its_turn() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        let first = lock(&settings, &mut |_| panic!("nobody else builds")).unwrap();
        let mut first = Some(first);
        let mut waited = false;
        lock(&settings, &mut |step| {
            assert_eq!(step, Step::Waiting);
            waited = true;
            drop(first.take());
        })
        .unwrap();
        assert!(waited);
    }
}

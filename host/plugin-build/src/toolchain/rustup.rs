//! `rustup target add`, with a limit and a memory.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{RUSTUP_LIMIT, RUSTUP_PAUSE, Rustup, TARGET};
use crate::{
    Error, Settings, Step,
    process::{self, Ended},
};

/// A file that exists since rustup failed.
fn note(settings: &Settings) -> PathBuf {
    settings.cache.join("toolchains/rustup-failed")
}

/// Whether rustup is there, and worth asking.
pub(super) fn state(project: &Path, settings: &Settings) -> Result<Rustup, Error> {
    if let Some(failed) = failed(settings) {
        return Ok(failed);
    }
    let mut command = Command::new("rustup");
    // One that cannot tell its version cannot add a target.
    match process::output(command.current_dir(project).arg("--version")) {
        Ok(Some(_)) => Ok(Rustup::Untried),
        Ok(None) | Err(Error::Program { .. }) => Ok(Rustup::Absent),
        Err(error) => Err(error),
    }
}

fn failed(settings: &Settings) -> Option<Rustup> {
    let noted = fs::metadata(note(settings))
        .and_then(|metadata| metadata.modified())
        .ok()?;
    // A note from the future is as good as one of this moment.
    let lately = settings
        .now
        .duration_since(noted)
        .map_or(true, |age| age < RUSTUP_PAUSE);
    Some(Rustup::Failed { lately })
}

/// Adds the target, or notes that it could not be added.
pub(super) fn add_target(project: &Path, settings: &Settings, report: &mut dyn FnMut(Step<'_>)) -> Result<(), Error> {
    report(Step::AddingTarget);
    let mut command = Command::new("rustup");
    let ended = process::within(
        RUSTUP_LIMIT,
        command.current_dir(project).args(["target", "add", TARGET]),
    )?;
    if matches!(ended, Ended::Exited(status) if status.success()) && super::target_is_installed(project)? {
        return Ok(());
    }
    let note = note(settings);
    let folder = note.parent().expect("the note stands in a folder");
    fs::create_dir_all(folder).map_err(Error::io("make the folder", folder))?;
    fs::write(&note, "").map_err(Error::io("write", &note))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_failure_is_remembered_for_a_day() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings {
            cache: folder.path().to_owned(),
            now: std::time::SystemTime::UNIX_EPOCH,
        };
        assert_eq!(failed(&settings), None);
        fs::create_dir(folder.path().join("toolchains")).unwrap();
        fs::write(note(&settings), "").unwrap();
        let noted = fs::metadata(note(&settings)).unwrap().modified().unwrap();
        settings.now = noted + RUSTUP_PAUSE - Duration::from_secs(1);
        assert_eq!(failed(&settings), Some(Rustup::Failed { lately: true }));
        settings.now = noted + RUSTUP_PAUSE;
        assert_eq!(failed(&settings), Some(Rustup::Failed { lately: false }));
    }
}

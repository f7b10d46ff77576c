//! Debian's compiler, with the source of its standard library: as installed, or unpacked into the cache.
//!
//! The packages are `rustc-web` and `rust-web-src`, which Debian keeps up to date for its browsers. Its compiler and
//! rustup's cannot be mixed: each accepts only its own standard library.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{Apt, Toolchain, VERSION_MIN};
use crate::{Error, Settings, Step, process};

/// What is installed and has its source beside it.
const SYSTEM: &str = "/usr/bin/rustc";
const SYSTEM_SOURCE: &str = "/usr/lib/rustlib/src/rust/library/Cargo.toml";

/// The compiler, and the source of its standard library.
const PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];

/// Dependencies of the compiler that may not be installed, or not in the version that it needs. The rest is there
/// wherever Rust is of use: a C compiler and its library.
const LIBRARIES: [&str; 7] = [
    "libstd-rust-web",
    "libllvm",
    "libz3-",
    "libedit",
    "libffi",
    "libbsd",
    "libmd",
];

/// Runs the unpacked compiler with the libraries that were unpacked beside it.
const WRAPPER: &str = r#"#!/bin/sh
# Runs the unpacked compiler with the libraries that were unpacked beside it.
root="$(dirname "$0")/root"
for folder in "$root"/usr/lib/*-linux-*; do
    LD_LIBRARY_PATH="$folder:$root/usr/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
done
export LD_LIBRARY_PATH
exec "$root/usr/bin/rustc" "$@"
"#;

/// Debian's compiler: the installed one, or the newest that was unpacked.
pub(super) fn compiler(settings: &Settings) -> Result<Option<PathBuf>, Error> {
    if Path::new(SYSTEM_SOURCE).is_file()
        && let Some(version) = process::output(Command::new(SYSTEM).arg("--version"))?
        && is_new_enough(version.trim_start_matches("rustc "))
    {
        return Ok(Some(PathBuf::from(SYSTEM)));
    }
    let Ok(entries) = fs::read_dir(settings.cache.join("toolchains")) else {
        return Ok(None);
    };
    let wrappers = entries.filter_map(|entry| {
        let folder = entry.ok()?;
        let unpacked = folder.file_name().to_str()?.starts_with("debian-");
        unpacked
            .then(|| folder.path().join("rustc"))
            .filter(|wrapper| wrapper.is_file())
    });
    Ok(wrappers.max())
}

/// A linker for the target: that of the project's toolchain, or of LLVM's packages.
pub(super) fn linker(project: &Path, version: &str) -> Result<Option<PathBuf>, Error> {
    let mut command = Command::new("rustc");
    let sysroot = process::output(command.current_dir(project).args(["--print", "sysroot"]))?.unwrap_or_default();
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap_or_default();
    let bundled = Path::new(sysroot.trim())
        .join("lib/rustlib")
        .join(host)
        .join("bin/rust-lld");
    if bundled.is_file() {
        return Ok(Some(bundled));
    }
    let Ok(entries) = fs::read_dir("/usr/bin") else {
        return Ok(None);
    };
    let linkers = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        entry.file_name().to_str()?.starts_with("wasm-ld").then(|| entry.path())
    });
    Ok(linkers.max())
}

/// The toolchain of a compiler and a linker.
pub(super) fn toolchain(rustc: PathBuf, linker: PathBuf) -> Result<Toolchain, Error> {
    let id = process::output(Command::new(&rustc).arg("-vV"))?.ok_or_else(|| Error::Program {
        program: rustc.display().to_string(),
        reason: "it is gone".to_owned(),
    })?;
    Ok(Toolchain::FromSource {
        id: format!("{id}std from source\n"),
        rustc,
        linker,
    })
}

/// What apt would install.
pub(super) fn candidate() -> Result<Apt, Error> {
    if process::output(Command::new("dpkg-deb").arg("--version"))?.is_none() {
        return Ok(Apt::Absent);
    }
    let policy = process::output(
        Command::new("apt-cache")
            .env("LC_ALL", "C")
            .args(["policy", PACKAGES[0]]),
    )?;
    Ok(policy.map_or(Apt::Absent, |policy| parse_policy(&policy)))
}

fn parse_policy(policy: &str) -> Apt {
    let candidate = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
    match candidate {
        None | Some("(none)") => Apt::NoCandidate,
        Some(version) if is_new_enough(version) => Apt::Candidate(version.to_owned()),
        Some(version) => Apt::TooOld(version.to_owned()),
    }
}

/// Whether a version such as `1.96.0+dfsg1-1` is of a compiler that compiles the SDK.
fn is_new_enough(version: &str) -> bool {
    let mut numbers = version
        .split(|letter: char| !letter.is_ascii_digit())
        .map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= VERSION_MIN,
        _ => false,
    }
}

/// `apt-get update`.
pub(super) fn update_lists(report: &mut dyn FnMut(Step<'_>)) -> Result<(), Error> {
    report(Step::UpdatingPackageLists);
    process::output(Command::new("apt-get").args(["update", "-qq", "-o", "DPkg::Lock::Timeout=180"])).map(drop)
}

/// Fetches the packages and unpacks them into the cache.
pub(super) fn unpack(settings: &Settings, report: &mut dyn FnMut(Step<'_>)) -> Result<(), Error> {
    let Apt::Candidate(version) = candidate()? else {
        return Err(Error::Program {
            program: "apt-cache".to_owned(),
            reason: "its answer has changed".to_owned(),
        });
    };
    let toolchains = settings.cache.join("toolchains");
    let partial = toolchains.join("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(Error::io("remove", &partial))?;
    }
    let (packages, root) = (partial.join("packages"), partial.join("root"));
    for folder in [&packages, &root] {
        fs::create_dir_all(folder).map_err(Error::io("make the folder", folder))?;
    }
    fetch(&packages, report)?;
    for entry in fs::read_dir(&packages).map_err(Error::io("read", &packages))? {
        let path = entry.map_err(Error::io("read", &packages))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        report(Step::Unpacking {
            package: name.split('_').next().unwrap_or(&name),
        });
        process::output(Command::new("dpkg-deb").arg("-x").args([&path, &root]))?;
    }
    fs::remove_dir_all(&packages).map_err(Error::io("remove", &packages))?;
    keep_only_library(&root)?;
    let wrapper = partial.join("rustc");
    fs::write(&wrapper, WRAPPER).map_err(Error::io("write", &wrapper))?;
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).map_err(Error::io("write", &wrapper))?;
    let name: String = version
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' })
        .collect();
    let folder = toolchains.join(format!("debian-{name}"));
    fs::rename(&partial, &folder).map_err(Error::io("make the folder", &folder))
}

fn fetch(folder: &Path, report: &mut dyn FnMut(Step<'_>)) -> Result<(), Error> {
    let mut command = Command::new("apt-cache");
    let depends = command
        .env("LC_ALL", "C")
        .args(["depends", "--recurse", "--important"])
        .args(PACKAGES);
    let depends = process::output(depends)?.unwrap_or_default();
    let names = needed(&depends);
    report(Step::Downloading { packages: names.len() });
    let mut command = Command::new("apt-get");
    process::output(
        command
            .current_dir(folder)
            .stdout(Stdio::null())
            .args(["download", "-qq"])
            .args(names),
    )
    .map(drop)
}

/// The packages to fetch, of all that `apt-cache depends --recurse` names.
fn needed(depends: &str) -> Vec<&str> {
    let names = depends.lines().filter(|line| !line.starts_with([' ', '<', '|']));
    let mut names: Vec<&str> = names
        .filter(|name| PACKAGES.contains(name) || LIBRARIES.iter().any(|library| name.starts_with(library)))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Removes the source of everything but the standard library: most of what was unpacked.
fn keep_only_library(root: &Path) -> Result<(), Error> {
    let sources = root.join("usr/src");
    for entry in fs::read_dir(&sources).map_err(Error::io("read", &sources))? {
        let source = entry.map_err(Error::io("read", &sources))?.path();
        for entry in fs::read_dir(&source).map_err(Error::io("read", &source))? {
            let path = entry.map_err(Error::io("read", &source))?.path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "library") {
                fs::remove_dir_all(&path).map_err(Error::io("remove", &path))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_candidate_of_a_policy_decides() {
        let policy = |version: &str| format!("rustc-web:\n  Installed: (none)\n  Candidate: {version}\n");
        let new = "1.96.0+dfsg1-1~deb12u2";
        assert_eq!(parse_policy(&policy(new)), Apt::Candidate(new.to_owned()));
        assert_eq!(
            parse_policy(&policy("1.85.0+dfsg3-1")),
            Apt::TooOld("1.85.0+dfsg3-1".to_owned())
        );
        assert_eq!(parse_policy(&policy("2.0.0")), Apt::Candidate("2.0.0".to_owned()));
        assert_eq!(parse_policy(&policy("(none)")), Apt::NoCandidate);
        assert_eq!(parse_policy(""), Apt::NoCandidate);
    }

    #[test]
    fn only_the_compiler_and_its_own_libraries_are_fetched() {
        let depends = "rustc-web\n  Depends: libc6\n  Depends: libstd-rust-web-dev\nlibc6\n  Depends: libgcc-s1\n\
                       <libc-dev>\nlibstd-rust-web-dev\nlibstd-rust-web-1.96\nlibllvm22\nlibz3-4\nzlib1g\n\
                       rust-web-src\nlibllvm22\n";
        assert_eq!(
            needed(depends),
            [
                "libllvm22",
                "libstd-rust-web-1.96",
                "libstd-rust-web-dev",
                "libz3-4",
                "rust-web-src",
                "rustc-web"
            ]
        );
    }
}

//! What `wasmill new` writes builds to a component and passes its own tests.

use std::{error::Error, fs, path::Path, process::Command};

use wasmill_plugin_build::{Language, Settings, World, build, new_project};

type Tested = Result<(), Box<dyn Error>>;

fn check(world: World, name: &str) -> Tested {
    // A fixed place, so that what Cargo compiled for the last run serves this one.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-project");
    let project = folder.join(name);
    if project.exists() {
        fs::remove_dir_all(&project)?;
    }
    fs::create_dir_all(&folder)?;
    new_project(name, &project, Language::Rust, world)?;

    let settings = Settings::discover()?;
    let first = build(&project, &settings, &mut |_| {})?;
    assert_eq!(first.name, name);
    assert!(
        fs::read(&first.path)?.starts_with(b"\0asm\x0d\0\x01\0"),
        "it is a component"
    );

    let second = build(&project, &settings, &mut |step| {
        panic!("{step}, although nothing changed")
    })?;
    assert!(second.from_cache);
    assert_eq!(second.digest, first.digest);

    let target = folder.join("target");
    let mut tests = Command::new("cargo");
    tests.args(["test", "--quiet"]).current_dir(&project);
    let tests = tests
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_BUILD_BUILD_DIR", &target)
        .output()?;
    let said = String::from_utf8_lossy(&tests.stderr);
    assert!(tests.status.success(), "{said}");
    assert!(!said.contains("warning"), "{said}");
    assert!(
        String::from_utf8_lossy(&tests.stdout).contains("2 passed"),
        "its tests ran"
    );
    Ok(())
}

#[test]
fn a_new_transform_builds_and_passes_its_tests() -> Tested {
    check(World::Transform, "new-transform")
}

#[test]
fn a_new_aggregate_builds_and_passes_its_tests() -> Tested {
    check(World::Aggregate, "new-aggregate")
}

#[test]
fn a_new_keyed_operator_builds_and_passes_its_tests() -> Tested {
    check(World::Keyed, "new-keyed")
}

#[test]
fn a_new_window_operator_builds_and_passes_its_tests() -> Tested {
    check(World::Window, "new-window")
}

#[test]
fn a_project_that_does_not_compile_says_what_the_compiler_said() {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("broken");
    new_project("broken", &project, Language::Rust, World::Transform).unwrap();
    let lib = project.join("src/lib.rs");
    let broken = fs::read_to_string(&lib)
        .unwrap()
        .replace("words: i64", "words: std::time::Duration");
    fs::write(&lib, broken).unwrap();
    let error = build(&project, &Settings::discover().unwrap(), &mut |_| {})
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("plugin `broken` does not compile:\n"), "{error}");
    assert!(error.contains("`Duration` cannot be written to a column"), "{error}");
}

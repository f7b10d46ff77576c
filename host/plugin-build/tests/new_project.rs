//! What `wasmill new` writes builds to a component and passes its own tests; builds beside one another do not mix.

#![expect(clippy::unwrap_used, reason = "all of this is tests: what goes wrong fails one")]

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use wasmill_plugin_build::{Language, Settings, Step, World, build, new_project};

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

/// A project called `twin` whose column has `word` in its name.
fn twin(folder: &Path, word: &str) -> PathBuf {
    let project = folder.join(word).join("twin");
    if project.exists() {
        fs::remove_dir_all(&project).unwrap();
    }
    fs::create_dir_all(project.parent().unwrap()).unwrap();
    new_project("twin", &project, Language::Rust, World::Transform).unwrap();
    let lib = project.join("src/lib.rs");
    let source = fs::read_to_string(&lib)
        .unwrap()
        .replace("words", &format!("words_{word}"));
    fs::write(&lib, source).unwrap();
    project
}

/// A cache of a test's own, in a fixed place, so that what Cargo compiled for the last run serves this one.
fn cache(name: &str) -> Settings {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if cache.join("components").exists() {
        fs::remove_dir_all(cache.join("components")).unwrap();
    }
    let settings = Settings::discover().unwrap();
    Settings { cache, ..settings }
}

#[test]
fn two_projects_of_one_name_that_are_built_at_once_get_their_own_components() {
    let folder = tempfile::tempdir().unwrap();
    let settings = cache("twins");
    // Both are there before either is compiled: by their times neither is newer than what the other gives.
    let projects = ["north", "south"].map(|word| (word, twin(folder.path(), word)));
    thread::scope(|scope| {
        for (word, project) in &projects {
            let settings = &settings;
            scope.spawn(move || {
                let artifact = build(project, settings, &mut |_| {}).unwrap();
                let component = fs::read(&artifact.path).unwrap();
                let column = format!("words_{word}").into_bytes();
                assert!(
                    component.windows(column.len()).any(|part| part == column),
                    "{word} has the component of the other"
                );
            });
        }
    });
}

#[test]
fn a_dependency_that_the_lock_file_does_not_know_is_added_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("relocked");
    new_project("relocked", &project, Language::Rust, World::Transform).unwrap();
    let settings = Settings::discover().unwrap();
    build(&project, &settings, &mut |_| {}).unwrap();
    let manifest = project.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(
        &manifest,
        text.replace("[dependencies]", "[dependencies]\nitoa = \"1\""),
    )
    .unwrap();
    let mut locked = false;
    let first = build(&project, &settings, &mut |step| locked |= step == Step::Locked).unwrap();
    assert!(locked, "it is told");
    assert!(fs::read_to_string(project.join("Cargo.lock")).unwrap().contains("itoa"));
    let second = build(&project, &settings, &mut |step| {
        panic!("{step}, although nothing changed")
    });
    assert_eq!(second.unwrap().digest, first.digest);
}

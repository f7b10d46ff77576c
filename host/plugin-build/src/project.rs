//! Writes a project to start from. It is complete: the SDK is in it, so it needs no other folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::Error;

/// The language of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Language {
    /// Rust, with `wasmill-sdk`.
    Rust,
}

/// What a plugin is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum World {
    /// An operator without memory: map, filter, flat-map, split.
    Transform,
    /// An incremental aggregate.
    Aggregate,
    /// An operator with state and timers, a key at a time.
    Keyed,
    /// An operator over all rows of a window.
    Window,
}

mod sdk {
    include!(concat!(env!("OUT_DIR"), "/sdk.rs"));
}

/// The greatest length of a name.
const NAME_MAX: usize = 64;

/// Names that Cargo, Rust or the SDK use.
const NAMES_TAKEN: [&str; 60] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "self",
    "serde",
    "serde-json",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "wasmill-sdk",
    "wasmill-sdk-macros",
    "where",
    "while",
    "yield",
];

/// Writes a project called `name` into `folder`, which must not exist or be empty. It builds with
/// [`build`](crate::build) and passes its own tests.
///
/// The folder appears whole or not at all.
///
/// ```
/// use wasmill_plugin_build::{Language, World, new_project};
///
/// let folder = tempfile::tempdir()?;
/// let project = folder.path().join("word-count");
/// new_project("word-count", &project, Language::Rust, World::Transform)?;
/// assert!(project.join("src/lib.rs").is_file());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// When the name is not one of lower-case letters, digits and hyphens, the folder holds something, or it cannot be
/// written.
pub fn new_project(name: &str, folder: &Path, language: Language, world: World) -> Result<(), Error> {
    if let Some(reason) = misnamed(name) {
        return Err(Error::Name {
            name: name.to_owned(),
            reason,
        });
    }
    if !is_free(folder).map_err(Error::io("read", folder))? {
        return Err(Error::Exists {
            path: folder.to_owned(),
        });
    }
    let partial = partial(folder);
    let written = match language {
        Language::Rust => write_all(&partial, &rust(name, world)),
    };
    let moved = written.and_then(|()| fs::rename(&partial, folder).map_err(Error::io("make the folder", folder)));
    if moved.is_err() {
        // What went wrong before is what counts.
        let _ = fs::remove_dir_all(&partial);
    }
    moved
}

fn misnamed(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("it is empty");
    }
    if name.len() > NAME_MAX {
        return Some("it is longer than 64 letters");
    }
    if !name.starts_with(|letter: char| letter.is_ascii_lowercase()) {
        return Some("it must start with a lower-case letter");
    }
    if !name
        .chars()
        .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-')
    {
        return Some("it may have lower-case letters, digits and hyphens only");
    }
    if name.ends_with('-') || name.contains("--") {
        return Some("a hyphen must stand between letters or digits");
    }
    NAMES_TAKEN
        .contains(&name)
        .then_some("Rust, Cargo or the SDK use that name")
}

fn is_free(folder: &Path) -> io::Result<bool> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
        Err(error) => Err(error),
    }
}

/// A folder beside the final one, so that it can be renamed.
fn partial(folder: &Path) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.partial", std::process::id()));
    folder.with_file_name(name)
}

/// The files of a Rust project: names and contents.
fn rust(name: &str, world: World) -> Vec<(PathBuf, String)> {
    let (readme, lib, test) = match world {
        World::Transform => (
            include_str!("../templates/rust/transform/README.md.in"),
            include_str!("../templates/rust/transform/lib.rs.in"),
            include_str!("../templates/rust/transform/test.toml.in"),
        ),
        World::Aggregate => (
            include_str!("../templates/rust/aggregate/README.md.in"),
            include_str!("../templates/rust/aggregate/lib.rs.in"),
            include_str!("../templates/rust/aggregate/test.toml.in"),
        ),
        World::Keyed => (
            include_str!("../templates/rust/keyed/README.md.in"),
            include_str!("../templates/rust/keyed/lib.rs.in"),
            include_str!("../templates/rust/keyed/test.toml.in"),
        ),
        World::Window => (
            include_str!("../templates/rust/window/README.md.in"),
            include_str!("../templates/rust/window/lib.rs.in"),
            include_str!("../templates/rust/window/test.toml.in"),
        ),
    };
    let own = [
        ("Cargo.toml", include_str!("../templates/rust/Cargo.toml.in")),
        (".gitignore", include_str!("../templates/rust/gitignore.in")),
        ("README.md", readme),
        ("src/lib.rs", lib),
        (
            "vendor/Cargo.toml",
            include_str!("../templates/rust/vendor/Cargo.toml.in"),
        ),
    ];
    let test = (format!("{name}.test.toml"), test);
    let own = own
        .into_iter()
        .map(|(path, text)| (path.to_owned(), text))
        .chain([test])
        .map(|(path, text)| (PathBuf::from(path), text.replace("{{name}}", name)));
    let sdk = sdk::FILES
        .iter()
        .map(|(path, text)| (Path::new("vendor").join(path), (*text).to_owned()));
    own.chain(sdk).collect()
}

fn write_all(folder: &Path, files: &[(PathBuf, String)]) -> Result<(), Error> {
    for (file, text) in files {
        let path = folder.join(file);
        let parent = path.parent().expect("a file stands in a folder");
        fs::create_dir_all(parent).map_err(Error::io("make the folder", parent))?;
        fs::write(&path, text).map_err(Error::io("write", &path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use toml::{Table, Value};

    use super::*;

    #[test]
    fn names_are_those_of_packages() {
        for name in ["a", "word-count", "delay2", "x-1"] {
            assert_eq!(misnamed(name), None, "{name}");
        }
        let long = "x".repeat(65);
        for (name, reason) in [
            ("", "it is empty"),
            (&*long, "it is longer than 64 letters"),
            ("1st", "it must start with a lower-case letter"),
            ("-x", "it must start with a lower-case letter"),
            ("../x", "it must start with a lower-case letter"),
            ("word_count", "it may have lower-case letters, digits and hyphens only"),
            ("wörter", "it may have lower-case letters, digits and hyphens only"),
            ("x-", "a hyphen must stand between letters or digits"),
            ("x--y", "a hyphen must stand between letters or digits"),
            ("match", "Rust, Cargo or the SDK use that name"),
            ("serde", "Rust, Cargo or the SDK use that name"),
        ] {
            assert_eq!(misnamed(name), Some(reason), "{name}");
        }
    }

    #[test]
    fn a_folder_in_use_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("notes.txt"), "mine").unwrap();
        let error = new_project("x", folder.path(), Language::Rust, World::Transform).unwrap_err();
        assert!(matches!(error, Error::Exists { .. }), "{error}");
        let file = folder.path().join("notes.txt");
        let error = new_project("x", &file, Language::Rust, World::Transform).unwrap_err();
        assert!(matches!(error, Error::Exists { .. }), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(file).unwrap(), "mine");
    }

    #[test]
    fn an_empty_folder_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path().join("x");
        fs::create_dir(&project).unwrap();
        new_project("x", &project, Language::Rust, World::Aggregate).unwrap();
        assert!(project.join("vendor/wasmill-sdk/wit/operator.wit").is_file());
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing stays beside it"
        );
    }

    /// The vendored SDK inherits from a manifest of its own, which must not fall behind that of the repository.
    #[test]
    fn the_vendored_manifest_has_the_versions_of_the_workspace() {
        let ours: Table = include_str!("../../../Cargo.toml").parse().unwrap();
        let vendored: Table = include_str!("../templates/rust/vendor/Cargo.toml.in").parse().unwrap();
        assert_eq!(vendored["workspace"]["package"], ours["workspace"]["package"]);
        for (name, dependency) in vendored["workspace"]["dependencies"].as_table().unwrap() {
            if dependency.get("path").is_none() {
                let ours = &ours["workspace"]["dependencies"][name];
                assert_eq!(version(dependency), version(ours), "{name}");
            }
        }
    }

    fn version(dependency: &Value) -> Option<&str> {
        dependency.as_str().or_else(|| dependency.get("version")?.as_str())
    }
}

//! What a component is made from: the files of the project and of its path dependencies, and the digest of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use toml::{Table, Value};

use crate::Error;

/// Raised when the same sources give another component: another encoder, other flags.
const FORMAT: &str = "1";

/// A plugin has fewer files than this; more means that the folder holds something else.
const FILES_MAX: usize = 10_000;

/// Dependencies are followed through so many packages.
const PACKAGES_MAX: usize = 100;

/// A project, and the files that its component depends on.
#[derive(Debug)]
pub(crate) struct Sources {
    /// The package's name.
    pub(crate) name: String,
    /// The folder of the package.
    pub(crate) folder: PathBuf,
    /// The root of its workspace, or the package's folder.
    pub(crate) root: PathBuf,
    /// The folders of the package and its path dependencies, by the name that they have in the digest.
    packages: BTreeMap<String, PathBuf>,
    /// What path dependencies inherit from workspaces other than the plugin's.
    inherited: Vec<String>,
}

/// Reads the manifests of a project and its path dependencies.
pub(crate) fn collect(project: &Path) -> Result<Sources, Error> {
    let folder = fs::canonicalize(project).map_err(Error::io("find", project))?;
    let manifest = read(&folder)?.ok_or_else(|| {
        Error::not_a_plugin(
            project,
            "it has no Cargo.toml. `wasmill new NAME` writes a project to start from",
        )
    })?;
    let name = name(&manifest).ok_or_else(|| {
        Error::not_a_plugin(
            project,
            "its Cargo.toml has no `package.name`: name the package's folder",
        )
    })?;
    if !is_cdylib(&manifest) {
        let reason = r#"its Cargo.toml lacks `[lib] crate-type = ["cdylib", "rlib"]`"#;
        return Err(Error::not_a_plugin(project, reason));
    }
    let root = workspace(&folder)?.map_or_else(|| folder.clone(), |(root, _)| root);
    let mut sources = Sources {
        name,
        folder: folder.clone(),
        root,
        packages: BTreeMap::new(),
        inherited: Vec::new(),
    };
    sources.follow(folder)?;
    Ok(sources)
}

impl Sources {
    fn follow(&mut self, package: PathBuf) -> Result<(), Error> {
        let mut seen = BTreeSet::from([package.clone()]);
        let mut open = vec![package];
        while let Some(package) = open.pop() {
            let manifest = read(&package)?.ok_or_else(|| Error::not_a_plugin(&package, "it has no Cargo.toml"))?;
            let name = name(&manifest).ok_or_else(|| Error::not_a_plugin(&package, "it has no `package.name`"))?;
            let workspace = workspace(&package)?;
            for (dependency, value) in dependencies(&manifest) {
                let (base, value) = match (&workspace, inherits(value)) {
                    (Some((root, manifest)), true) => {
                        let Some(shared) = manifest
                            .get("workspace")
                            .and_then(|workspace| workspace.get("dependencies")?.get(dependency))
                        else {
                            continue;
                        };
                        if *root != self.root {
                            self.inherited.push(format!("{name} {dependency} {shared}"));
                        }
                        (root, shared)
                    }
                    _ => (&package, value),
                };
                let Some(path) = value.get("path").and_then(Value::as_str) else {
                    continue;
                };
                let path = base.join(path);
                let path = fs::canonicalize(&path).map_err(Error::io("find the dependency", &path))?;
                if seen.insert(path.clone()) {
                    open.push(path);
                }
            }
            if seen.len() > PACKAGES_MAX {
                let reason = format!("it depends on more than {PACKAGES_MAX} packages by path");
                return Err(Error::not_a_plugin(&self.folder, reason));
            }
            self.packages.insert(name, package);
        }
        self.inherited.sort();
        Ok(())
    }

    /// What fixes the versions of the dependencies; `None` before there is a lock file.
    pub(crate) fn lock(&self) -> Result<Option<Vec<u8>>, Error> {
        let path = self.root.join("Cargo.lock");
        match fs::read(&path) {
            Ok(lock) => Ok(Some(lock)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", &path)(error)),
        }
    }

    /// The names of the package and of those that it depends on by path.
    pub(crate) fn packages(&self) -> impl Iterator<Item = &str> {
        self.packages.keys().map(String::as_str)
    }

    /// The digest of all files, and of the toolchain: in hexadecimal. It does not depend on where the folders are.
    pub(crate) fn digest(&self, toolchain: &str) -> Result<String, Error> {
        let mut digest = Sha256::new();
        let mut add = |name: &str, content: &[u8]| {
            for part in [name.as_bytes(), content] {
                digest.update((part.len() as u64).to_le_bytes());
                digest.update(part);
            }
        };
        add("format", FORMAT.as_bytes());
        add("toolchain", toolchain.as_bytes());
        for line in &self.inherited {
            add("inherited", line.as_bytes());
        }
        for file in ["Cargo.toml", "Cargo.lock", ".cargo/config.toml"] {
            let path = self.root.join(file);
            if path.is_file() {
                add(
                    &format!("workspace/{file}"),
                    &fs::read(&path).map_err(Error::io("read", &path))?,
                );
            }
        }
        for (name, folder) in &self.packages {
            for (relative, path) in files(folder)? {
                add(
                    &format!("{name}/{relative}"),
                    &fs::read(&path).map_err(Error::io("read", &path))?,
                );
            }
        }
        Ok(hexadecimal(&digest.finalize()))
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes what is written to it");
        text
    })
}

/// The files below a package, sorted, without what was built and what is hidden.
fn files(package: &Path) -> Result<BTreeMap<String, PathBuf>, Error> {
    let mut found = BTreeMap::new();
    let mut open = vec![(String::new(), package.to_owned())];
    while let Some((prefix, folder)) = open.pop() {
        for entry in fs::read_dir(&folder).map_err(Error::io("read", &folder))? {
            let entry = entry.map_err(Error::io("read", &folder))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') || name == "target" {
                continue;
            }
            let (relative, path) = (format!("{prefix}{name}"), entry.path());
            if path.is_dir() {
                open.push((format!("{relative}/"), path));
            } else if path.is_file() {
                found.insert(relative, path);
            }
            if found.len() + open.len() > FILES_MAX {
                return Err(Error::not_a_plugin(
                    package,
                    format!("it has more than {FILES_MAX} files"),
                ));
            }
        }
    }
    Ok(found)
}

/// The manifest of a folder, where it has one.
fn read(folder: &Path) -> Result<Option<Table>, Error> {
    let path = folder.join("Cargo.toml");
    if !path.is_file() {
        return Ok(None);
    }
    let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    let parsed = text.parse::<Table>();
    parsed
        .map(Some)
        .map_err(|error| Error::not_a_plugin(&path, error.message().to_owned()))
}

/// The root of the workspace that a package is in, with its manifest.
fn workspace(package: &Path) -> Result<Option<(PathBuf, Table)>, Error> {
    for folder in package.ancestors() {
        if let Some(manifest) = read(folder)?
            && manifest.contains_key("workspace")
        {
            return Ok(Some((folder.to_owned(), manifest)));
        }
    }
    Ok(None)
}

fn name(manifest: &Table) -> Option<String> {
    Some(manifest.get("package")?.get("name")?.as_str()?.to_owned())
}

fn is_cdylib(manifest: &Table) -> bool {
    let types = manifest
        .get("lib")
        .and_then(|lib| lib.get("crate-type"))
        .and_then(Value::as_array);
    types.is_some_and(|types| types.iter().any(|kind| kind.as_str() == Some("cdylib")))
}

fn inherits(dependency: &Value) -> bool {
    dependency.get("workspace").and_then(Value::as_bool) == Some(true)
}

/// The dependencies that go into the component, with those of single targets. Those of tests do not.
fn dependencies(manifest: &Table) -> Vec<(&str, &Value)> {
    let mut tables: Vec<&Table> = Vec::new();
    for kind in ["dependencies", "build-dependencies"] {
        tables.extend(manifest.get(kind).and_then(Value::as_table));
        let targets = manifest.get("target").and_then(Value::as_table);
        let of_targets = targets
            .into_iter()
            .flat_map(Table::values)
            .filter_map(|target| target.get(kind)?.as_table());
        tables.extend(of_targets);
    }
    tables
        .into_iter()
        .flat_map(|table| table.iter().map(|(name, value)| (name.as_str(), value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLUGIN: &str = "[package]\nname = \"p\"\n[lib]\ncrate-type = [\"cdylib\"]\n";

    fn write(folder: &Path, file: &str, text: &str) {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn digest(project: &Path) -> String {
        collect(project).unwrap().digest("rustc 1").unwrap()
    }

    /// A plugin in a workspace that depends on a library beside it, which is in a workspace of its own.
    fn example(folder: &Path) -> PathBuf {
        write(
            folder,
            "plugins/Cargo.toml",
            "[workspace]\n[workspace.dependencies]\nsdk = { path = \"../sdk\" }\n",
        );
        write(folder, "plugins/Cargo.lock", "version = 4\n");
        write(
            folder,
            "plugins/p/Cargo.toml",
            &format!("{PLUGIN}[dependencies]\nsdk.workspace = true\n"),
        );
        write(folder, "plugins/p/src/lib.rs", "//! One.\n");
        write(
            folder,
            "Cargo.toml",
            "[workspace]\n[workspace.dependencies]\nserde = \"1\"\nother = \"1\"\n",
        );
        write(
            folder,
            "sdk/Cargo.toml",
            "[package]\nname = \"sdk\"\n[dependencies]\nserde.workspace = true\n",
        );
        write(folder, "sdk/src/lib.rs", "//! Two.\n");
        folder.join("plugins/p")
    }

    #[test]
    fn a_digest_does_not_depend_on_where_the_project_is() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert_eq!(digest(&example(one.path())), digest(&example(two.path())));
    }

    #[test]
    fn a_digest_changes_with_each_source() {
        let folder = tempfile::tempdir().unwrap();
        let project = example(folder.path());
        let mut seen = BTreeSet::from([digest(&project)]);
        for (file, text) in [
            ("plugins/p/src/lib.rs", "//! Changed.\n"),
            ("plugins/p/data/table.csv", "1\n"),
            ("plugins/Cargo.lock", "version = 3\n"),
            ("sdk/src/lib.rs", "//! Changed.\n"),
            (
                "Cargo.toml",
                "[workspace]\n[workspace.dependencies]\nserde = \"2\"\nother = \"1\"\n",
            ),
        ] {
            write(folder.path(), file, text);
            assert!(seen.insert(digest(&project)), "{file} is not in the digest");
        }
        assert!(
            seen.insert(collect(&project).unwrap().digest("rustc 2").unwrap()),
            "the toolchain is not"
        );
    }

    #[test]
    fn a_digest_does_not_change_with_what_is_no_source() {
        let folder = tempfile::tempdir().unwrap();
        let project = example(folder.path());
        let before = digest(&project);
        for (file, text) in [
            ("plugins/p/target/debug/x", "built"),
            ("plugins/p/.git/HEAD", "hidden"),
            (
                "Cargo.toml",
                "[workspace]\n[workspace.dependencies]\nserde = \"1\"\nother = \"2\"\n",
            ),
        ] {
            write(folder.path(), file, text);
            assert_eq!(digest(&project), before, "{file} is in the digest");
        }
    }

    #[test]
    fn a_folder_without_a_plugin_is_refused_with_the_mend() {
        let check = |manifest: Option<&str>, reason: &str| {
            let folder = tempfile::tempdir().unwrap();
            if let Some(manifest) = manifest {
                write(folder.path(), "Cargo.toml", manifest);
            }
            let error = collect(folder.path()).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        };
        check(None, "it has no Cargo.toml. `wasmill new NAME` writes");
        check(Some("[workspace]"), "no `package.name`");
        check(
            Some("[package]\nname = \"p\""),
            r#"lacks `[lib] crate-type = ["cdylib", "rlib"]`"#,
        );
        check(Some("[package"), "Cargo.toml is no plugin project: ");
    }
}

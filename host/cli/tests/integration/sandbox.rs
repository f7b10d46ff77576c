//! A folder for one test: a topology, its input, the plugins.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tempfile::TempDir;
use wasmill_plugin_build::{Settings, build};

use crate::process::Run;

/// The root of the repository. Cargo runs tests in the folder of their package.
pub(crate) fn repository() -> PathBuf {
    let package = std::env::current_dir().unwrap();
    package.ancestors().nth(2).unwrap().to_owned()
}

/// A folder laid out like the repository, with one topology. It goes away with the test.
pub(crate) struct Sandbox {
    root: TempDir,
    /// The topology's folder within it.
    folder: &'static str,
}

impl Sandbox {
    /// A topology of the repository, with its input and the plugins.
    pub(crate) fn of(folder: &'static str) -> Self {
        let sandbox = Self::empty(folder);
        let original = repository().join(folder);
        fs::copy(original.join("topology.toml"), sandbox.path("topology.toml")).unwrap();
        symlink(original.join("input"), sandbox.path("input")).unwrap();
        for (name, component) in plugins() {
            let place = sandbox.root.path().join("target/plugins").join(format!("{name}.wasm"));
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::copy(component, place).unwrap();
        }
        sandbox
    }

    /// A topology that the test writes itself.
    pub(crate) fn new(topology: &str) -> Self {
        let sandbox = Self::empty("test");
        sandbox.write("topology.toml", topology);
        sandbox
    }

    fn empty(folder: &'static str) -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join(folder)).unwrap();
        Self { root, folder }
    }

    /// A path in the topology's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(self.folder).join(name)
    }

    /// Writes a file, and its folder where there is none.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// What a file holds.
    pub(crate) fn read(&self, name: &str) -> String {
        let path = self.path(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// `wasmill run` of the topology.
    pub(crate) fn run(&self) -> Run {
        Run::of(&self.path("topology.toml"))
    }
}

/// The plugins that topologies with expected output name.
const SHIPPED: [&str; 10] = [
    "alert",
    "delay-class",
    "delay-score",
    "gaps",
    "limits",
    "median",
    "robust-score",
    "severity",
    "unpivot",
    "verdict",
];

/// A shipped plugin's file.
pub(crate) fn plugin(name: &str) -> PathBuf {
    plugins()[name].clone()
}

/// The shipped plugins, built once for all tests. The user's cache has them on later runs.
fn plugins() -> &'static BTreeMap<String, PathBuf> {
    static PLUGINS: OnceLock<BTreeMap<String, PathBuf>> = OnceLock::new();
    PLUGINS.get_or_init(|| {
        let settings = Settings::discover().unwrap();
        let built = |project: &Path| {
            let artifact = build(project, &settings, &mut |_| {}).unwrap_or_else(|error| panic!("{error}"));
            (artifact.name, artifact.path)
        };
        let folder = repository().join("plugins");
        SHIPPED.map(|name| built(&folder.join(name))).into()
    })
}

//! Finds the toolchain for a plugin's language and makes its component.
//!
//! [`build`] takes a Cargo project to a component file: it finds a compiler for `wasm32-unknown-unknown` (see
//! [`toolchain`]), compiles the project, and encodes the module as a component. What it makes stays in the user's
//! cache under the digest of its sources, so that a second build, also of another clone, takes no time. [`new_project`]
//! writes a project to start from.
//!
//! Nothing here needs root, and nothing is written outside the cache and, for a new project, its folder.

pub mod cache;
mod cargo;
mod component;
mod error;
mod process;
mod project;
mod settings;
mod sources;
mod step;
pub mod toolchain;

use std::{
    fs,
    path::{Path, PathBuf},
};

pub use error::Error;
pub use project::{Language, World, new_project};
pub use settings::Settings;
pub use step::Step;

use sources::Sources;
use toolchain::Toolchain;

/// A component that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// The component file, in the cache. Copy it to where it is wanted: old ones are removed.
    pub path: PathBuf,
    /// The name of the plugin: that of its package.
    pub name: String,
    /// The digest of everything that it was made from, in hexadecimal.
    pub digest: String,
    /// Whether it was there already.
    pub from_cache: bool,
}

impl Artifact {
    /// Copies the component to a file.
    ///
    /// # Errors
    ///
    /// When the file or its folder cannot be written.
    pub fn copy_to(&self, path: &Path) -> Result<(), Error> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(Error::io("make the folder", folder))?;
        }
        fs::copy(&self.path, path).map_err(Error::io("write", path)).map(drop)
    }
}

/// Builds the component of a Cargo project. Reports each step that takes time to `report`.
///
/// The first build on a machine takes a minute or more: it may fetch a compiler, and compiles the standard library.
/// Two builds at the same time take turns. As with Cargo, dependencies that `Cargo.lock` does not know are added to it.
///
/// ```no_run
/// use std::path::Path;
/// use wasmill_plugin_build::{Settings, build};
///
/// let settings = Settings::discover()?;
/// let artifact = build(Path::new("plugins/delay-class"), &settings, &mut |step| println!("{step}"))?;
/// artifact.copy_to(Path::new("delay-class.wasm"))?;
/// # Ok::<(), wasmill_plugin_build::Error>(())
/// ```
///
/// # Errors
///
/// When the folder holds no plugin, no compiler can be had, the project does not compile, or its module is no
/// component. The message says what to do.
pub fn build(project: &Path, settings: &Settings, report: &mut dyn FnMut(Step<'_>)) -> Result<Artifact, Error> {
    let sources = sources::collect(project)?;
    let toolchain = toolchain::find(project, settings, report)?;
    let digest = sources.digest(toolchain.id())?;
    let path = cache::component(settings, &digest, &sources.name);
    if !path.is_file() {
        let _turn = cache::lock(settings, report)?;
        // Whoever had the turn before may have built the same.
        if !path.is_file() {
            return compile(sources, digest, &toolchain, settings, report);
        }
    }
    Ok(Artifact {
        path,
        name: sources.name,
        digest,
        from_cache: true,
    })
}

/// Makes the component and puts it into the cache.
fn compile(
    sources: Sources,
    digest: String,
    toolchain: &Toolchain,
    settings: &Settings,
    report: &mut dyn FnMut(Step<'_>),
) -> Result<Artifact, Error> {
    let lock = sources.lock()?;
    let module = cargo::compile(&sources, toolchain, settings, report)?;
    report(Step::MakingComponent { plugin: &sources.name });
    let component = component::encode(&sources.name, &module)?;
    let digest = if sources.lock()? == lock {
        digest
    } else {
        report(Step::Locked);
        sources.digest(toolchain.id())?
    };
    let path = cache::component(settings, &digest, &sources.name);
    cache::store(settings, &path, &component)?;
    Ok(Artifact {
        path,
        name: sources.name,
        digest,
        from_cache: false,
    })
}

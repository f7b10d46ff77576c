//! What a file is, read from its sections without compiling it: its world, its imports, who made it.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use wasmill_core::plugin::{PluginError, World};
use wasmparser::{Encoding, KnownCustom, Parser, Payload};

/// The package of the contract, without its version.
const PACKAGE: &str = "wasmill:operator/";
/// The version that this host serves, without the patch.
pub(crate) const SERVED: (u64, u64) = (0, 1);
/// Bytes of a plugin; a Python one has 18 million.
const PLUGIN_BYTES_MAX: u64 = 512 << 20;

/// What `wasmill inspect` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginReport {
    /// The file.
    pub path: PathBuf,
    /// SHA-256 of its bytes.
    pub digest: [u8; 32],
    /// The number of its bytes.
    pub size_bytes: u64,
    /// The worlds whose interfaces it exports. A plugin has one.
    pub worlds: Vec<World>,
    /// Whether it carries state over from an older version.
    pub migrates: bool,
    /// The version of the contract that it was made for.
    pub contract: Option<String>,
    /// Whether this host runs it, and why not.
    pub served: Result<World, PluginError>,
    /// What it imports, as it names it, sorted.
    pub imports: Vec<String>,
    /// What it exports, as it names it, sorted.
    pub exports: Vec<String>,
    /// Its name, where it has one.
    pub name: Option<String>,
    /// Who made it: `language`, `processed-by`, `sdk`, each with names and versions.
    pub producers: Vec<(String, Vec<(String, String)>)>,
}

/// What the sections of a component say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Anatomy {
    pub(crate) imports: Vec<String>,
    pub(crate) exports: Vec<String>,
    pub(crate) name: Option<String>,
    pub(crate) producers: Vec<(String, Vec<(String, String)>)>,
}

/// Reads a plugin's file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, PluginError> {
    let unreadable = |reason: String| PluginError::Unreadable {
        path: path.to_owned(),
        reason,
    };
    let found = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
    if !found.is_file() {
        return Err(unreadable("it is no file".to_owned()));
    }
    if found.len() > PLUGIN_BYTES_MAX {
        return Err(unreadable(format!(
            "it has {} bytes; a plugin has at most {PLUGIN_BYTES_MAX}",
            found.len()
        )));
    }
    std::fs::read(path).map_err(|error| unreadable(error.to_string()))
}

/// SHA-256.
pub(crate) fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Reads the sections of a component.
pub(crate) fn dissect(path: &Path, bytes: &[u8]) -> Result<Anatomy, PluginError> {
    let not_a_plugin = |reason: String| PluginError::NotAPlugin {
        path: path.to_owned(),
        reason,
    };
    if wasmtime::Engine::detect_precompiled(bytes).is_some() {
        return Err(not_a_plugin(
            "it is compiled code, which is loaded from the host's own cache only; give the component that it was made from"
                .to_owned(),
        ));
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(not_a_plugin("it is no WebAssembly".to_owned()));
    }
    sections(bytes).map_err(|error| match error {
        SectionsError::CoreModule => not_a_plugin(
            "it is a core module, not a component; `wasmill build` makes components, and so do the tools of each language"
                .to_owned(),
        ),
        SectionsError::Malformed(error) => not_a_plugin(format!("it is damaged ({error})")),
    })
}

enum SectionsError {
    CoreModule,
    Malformed(wasmparser::Error),
}

impl From<wasmparser::Error> for SectionsError {
    fn from(error: wasmparser::Error) -> Self {
        Self::Malformed(error)
    }
}

fn sections(bytes: &[u8]) -> Result<Anatomy, SectionsError> {
    let mut anatomy = Anatomy::default();
    // Inside of how many components and modules; the component itself is 1.
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::Version { encoding, .. } => {
                depth += 1;
                if depth == 1 && encoding == Encoding::Module {
                    return Err(SectionsError::CoreModule);
                }
            }
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    anatomy.imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    anatomy.exports.push(export?.name.name.to_owned());
                }
            }
            Payload::CustomSection(section) => match section.as_known() {
                KnownCustom::Producers(producers) => merge_producers(&mut anatomy.producers, producers)?,
                KnownCustom::ComponentName(names) if depth == 1 => {
                    for name in names {
                        if let wasmparser::ComponentName::Component { name, .. } = name? {
                            anatomy.name = Some(name.to_owned());
                        }
                    }
                }
                _ => {}
            },
            _ => {}
        }
    }
    Ok(anatomy)
}

fn merge_producers(
    all: &mut Vec<(String, Vec<(String, String)>)>,
    section: wasmparser::ProducersSectionReader<'_>,
) -> wasmparser::Result<()> {
    for field in section {
        let field = field?;
        let place = all.iter().position(|(name, _)| name == field.name).unwrap_or(all.len());
        if place == all.len() {
            all.push((field.name.to_owned(), Vec::new()));
        }
        for value in field.values {
            let value = value?;
            let value = (value.name.to_owned(), value.version.to_owned());
            if !all[place].1.contains(&value) {
                all[place].1.push(value);
            }
        }
    }
    Ok(())
}

/// An interface of the contract and its version: `wasmill:operator/transformer@0.1.0`.
fn interface(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix(PACKAGE)?.split_once('@')
}

fn is_served(version: &str) -> bool {
    let mut parts = version.split('.').map(str::parse::<u64>);
    (parts.next(), parts.next()) == (Some(Ok(SERVED.0)), Some(Ok(SERVED.1)))
}

fn world_of(interface: &str) -> Option<World> {
    match interface {
        "transformer" => Some(World::Transform),
        "aggregator" => Some(World::Aggregate),
        "keyed-operator" => Some(World::Keyed),
        "window-operator" => Some(World::Window),
        _ => None,
    }
}

impl Anatomy {
    /// The worlds whose interfaces are exported.
    pub(crate) fn worlds(&self) -> Vec<World> {
        let interfaces = self.exports.iter().filter_map(|name| interface(name));
        interfaces.filter_map(|(name, _)| world_of(name)).collect()
    }

    /// Whether `migration` is exported.
    pub(crate) fn migrates(&self) -> bool {
        let mut interfaces = self.exports.iter().filter_map(|name| interface(name));
        interfaces.any(|(name, _)| name == "migration")
    }

    /// The version of the contract.
    pub(crate) fn contract(&self) -> Option<&str> {
        let names = self.exports.iter().chain(&self.imports);
        names
            .filter_map(|name| interface(name))
            .map(|(_, version)| version)
            .next()
    }

    /// The world, where this host runs it.
    pub(crate) fn world(&self, path: &Path) -> Result<World, PluginError> {
        let not_a_plugin = |reason: String| PluginError::NotAPlugin {
            path: path.to_owned(),
            reason,
        };
        let world = match self.worlds()[..] {
            [world] => world,
            [] => {
                let exports = match &self.exports[..] {
                    [] => "nothing".to_owned(),
                    names => names.join(", "),
                };
                return Err(not_a_plugin(format!(
                    "a plugin exports one of {PACKAGE}transformer, aggregator, keyed-operator and window-operator; it exports {exports}"
                )));
            }
            [first, second, ..] => {
                return Err(not_a_plugin(format!(
                    "it is of the worlds \"{}\" and \"{}\"; a plugin has one",
                    first.name(),
                    second.name()
                )));
            }
        };
        let of_contract = self
            .exports
            .iter()
            .chain(&self.imports)
            .filter_map(|name| interface(name));
        if let Some((_, version)) = of_contract.into_iter().find(|(_, version)| !is_served(version)) {
            return Err(not_a_plugin(format!(
                "it was made for {PACKAGE}* version {version}, and this host serves {}.{}",
                SERVED.0, SERVED.1
            )));
        }
        match self.imports.iter().find(|name| !is_given(name, world)) {
            Some(import) => Err(PluginError::ForbiddenImport {
                path: path.to_owned(),
                import: import.clone(),
            }),
            None => Ok(world),
        }
    }
}

/// Whether the host gives this import to plugins of this world. `types` and `state-types` hold no functions.
fn is_given(import: &str, world: World) -> bool {
    interface(import).is_some_and(|(name, _)| match name {
        "types" | "state-types" | "log" | "metrics" => true,
        "state" => world == World::Keyed,
        _ => false,
    })
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort_unstable();
    names
}

/// Says what a file is.
///
/// # Errors
/// It cannot be read, or is no component at all. What keeps a component from being run stands in the report.
pub fn inspect(path: &Path) -> Result<PluginReport, PluginError> {
    let bytes = read(path)?;
    let anatomy = dissect(path, &bytes)?;
    Ok(PluginReport {
        path: path.to_owned(),
        digest: digest(&bytes),
        size_bytes: bytes.len() as u64,
        worlds: anatomy.worlds(),
        migrates: anatomy.migrates(),
        contract: anatomy.contract().map(str::to_owned),
        served: anatomy.world(path),
        imports: sorted(anatomy.imports),
        exports: sorted(anatomy.exports),
        name: anatomy.name,
        producers: anatomy.producers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(exports: &[&str], imports: &[&str], expect: Result<World, &str>) {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let anatomy = Anatomy {
            imports: owned(imports),
            exports: owned(exports),
            ..Anatomy::default()
        };
        let world = anatomy.world(Path::new("p.wasm")).map_err(|error| error.to_string());
        assert_eq!(world, expect.map_err(str::to_owned));
    }

    #[test]
    fn the_exported_interface_tells_the_world() {
        let given = [
            "wasmill:operator/types@0.1.0",
            "wasmill:operator/log@0.1.3",
            "wasmill:operator/metrics@0.1.0",
        ];
        check(&["wasmill:operator/transformer@0.1.0"], &given, Ok(World::Transform));
        check(
            &["wasmill:operator/aggregator@0.1.9", "wasmill:operator/migration@0.1.9"],
            &given,
            Ok(World::Aggregate),
        );
        check(
            &["wasmill:operator/keyed-operator@0.1.0"],
            &["wasmill:operator/state@0.1.0"],
            Ok(World::Keyed),
        );
        check(
            &["wasi:cli/run@0.2.0"],
            &[],
            Err(
                "p.wasm is not a Wasmill plugin: a plugin exports one of wasmill:operator/transformer, aggregator, \
                 keyed-operator and window-operator; it exports wasi:cli/run@0.2.0",
            ),
        );
        check(
            &[
                "wasmill:operator/transformer@0.1.0",
                "wasmill:operator/aggregator@0.1.0",
            ],
            &[],
            Err(
                "p.wasm is not a Wasmill plugin: it is of the worlds \"transform\" and \"aggregate\"; a plugin has one",
            ),
        );
    }

    #[test]
    fn another_version_and_a_foreign_import_are_named() {
        check(
            &["wasmill:operator/transformer@0.2.0"],
            &[],
            Err(
                "p.wasm is not a Wasmill plugin: it was made for wasmill:operator/* version 0.2.0, and this host \
                 serves 0.1",
            ),
        );
        check(
            &["wasmill:operator/transformer@0.1.0"],
            &["wasi:clocks/wall-clock@0.2.6"],
            Err("p.wasm imports wasi:clocks/wall-clock@0.2.6, which the host does not give to plugins"),
        );
        check(
            &["wasmill:operator/window-operator@0.1.0"],
            &["wasmill:operator/state@0.1.0"],
            Err("p.wasm imports wasmill:operator/state@0.1.0, which the host does not give to plugins"),
        );
    }

    #[test]
    fn what_is_no_component_is_told_apart() {
        let reason = |bytes: &[u8]| dissect(Path::new("p.wasm"), bytes).unwrap_err().to_string();
        assert!(reason(b"hello").contains("no WebAssembly"));
        assert!(reason(b"\0asm\x01\0\0\0").contains("core module"));
        assert!(reason(b"\0asm\x0d\0\x01\0\xFF").contains("damaged"));
        let compiled = crate::compile::compile(&wat::parse_str("(component)").unwrap(), crate::Metering::Deadline);
        assert!(reason(&compiled.unwrap()).contains("compiled code"));
    }
}

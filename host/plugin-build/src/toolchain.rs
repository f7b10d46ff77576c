//! Finds a compiler for `wasm32-unknown-unknown`.
//!
//! In this order: a target that is installed; `rustup target add`, with a short limit, because it hangs where only
//! package registries can be reached; Debian's compiler with the source of its standard library, where it is installed;
//! the same, fetched with apt and unpacked into the user's cache without root. `decide` chooses the next step from
//! what is known; the rest of this module learns and acts.

mod debian;
mod rustup;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{Error, Settings, Step, cache, process};

/// The target that plugins are compiled for.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// How long rustup may take to add the target.
pub const RUSTUP_LIMIT: Duration = Duration::from_secs(20);

/// For so long after rustup failed it is not asked again.
pub const RUSTUP_PAUSE: Duration = Duration::from_hours(24);

/// The oldest compiler that compiles the SDK.
pub(crate) const VERSION_MIN: (u32, u32) = (1, 95);

/// A compiler for the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// Cargo finds everything by itself.
    Installed {
        /// Version and commit.
        id: String,
    },
    /// Debian's compiler, which compiles the standard library from source.
    FromSource {
        /// Package version.
        id: String,
        /// The compiler, or what runs it.
        rustc: PathBuf,
        /// A linker for the target.
        linker: PathBuf,
    },
}

impl Toolchain {
    /// What makes its results differ from those of others.
    pub(crate) fn id(&self) -> &str {
        match self {
            Self::Installed { id } | Self::FromSource { id, .. } => id,
        }
    }
}

/// What is known of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The target is installed for the project's compiler.
    target: bool,
    rustup: Rustup,
    /// Debian's compiler, installed or unpacked.
    debian: Option<PathBuf>,
    linker: Option<PathBuf>,
    /// `Absent` also where there is a compiler, and it was not asked.
    apt: Apt,
    root: bool,
    /// `apt-get update` ran in this build.
    updated: bool,
}

/// What is known of rustup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rustup {
    Absent,
    Untried,
    /// It could not add the target.
    Failed {
        /// Within [`RUSTUP_PAUSE`].
        lately: bool,
    },
}

/// What apt offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Apt {
    Absent,
    /// No compiler: the lists are missing or old, or the release has none.
    NoCandidate,
    TooOld(String),
    Candidate(String),
}

/// The next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    UseInstalled,
    AddTarget,
    UseDebian,
    UpdateLists,
    Unpack,
    Refuse { tried: String, mend: String },
}

/// Chooses the next step.
pub(crate) fn decide(facts: &Facts) -> Decision {
    if facts.target {
        return Decision::UseInstalled;
    }
    // Where it failed once, it is asked again only if there is nothing else, and not at once.
    match facts.rustup {
        Rustup::Untried => return Decision::AddTarget,
        Rustup::Failed { lately: false } if facts.debian.is_none() => return Decision::AddTarget,
        Rustup::Failed { .. } | Rustup::Absent => {}
    }
    let linker = facts.linker.is_some();
    match (&facts.debian, &facts.apt) {
        (Some(_), _) if linker => Decision::UseDebian,
        (None, Apt::Candidate(_)) if linker => Decision::Unpack,
        (None, Apt::NoCandidate) if facts.root && !facts.updated => Decision::UpdateLists,
        _ => refuse(facts),
    }
}

fn refuse(facts: &Facts) -> Decision {
    let rustup = match facts.rustup {
        Rustup::Absent => "there is no rustup",
        Rustup::Untried | Rustup::Failed { .. } => "`rustup target add` failed or took too long",
    };
    let apt = match &facts.apt {
        _ if facts.linker.is_none() => "there is no rust-lld or wasm-ld to link with".to_owned(),
        Apt::Absent => "this is no Debian whose compiler could be used".to_owned(),
        Apt::NoCandidate => "apt knows no package rustc-web".to_owned(),
        Apt::TooOld(version) => {
            format!(
                "apt's rustc-web {version} is older than {}.{}",
                VERSION_MIN.0, VERSION_MIN.1
            )
        }
        Apt::Candidate(version) => format!("rustc-web {version} could not be used"),
    };
    let debian = facts.debian.is_some() || matches!(facts.apt, Apt::Candidate(_));
    let mend = match (&facts.apt, facts.rustup) {
        _ if debian && facts.linker.is_none() => "Run `sudo apt-get install lld` and build again".to_owned(),
        (Apt::NoCandidate, _) if !facts.root => "Run `sudo apt-get update` and build again".to_owned(),
        (_, Rustup::Absent) => format!("Install rustup (https://rustup.rs) and run `rustup target add {TARGET}`"),
        _ => format!("Run `rustup target add {TARGET}` where the network lets it, and build again"),
    };
    Decision::Refuse {
        tried: format!("{rustup}, and {apt}"),
        mend,
    }
}

/// Finds a compiler; fetches one where there is none.
pub(crate) fn find(project: &Path, settings: &Settings, report: &mut dyn FnMut(Step<'_>)) -> Result<Toolchain, Error> {
    let Some(version) = process::output(Command::new("rustc").current_dir(project).arg("-vV"))? else {
        return Err(Error::NoToolchain {
            tried: "there is no rustc".to_owned(),
            mend: "Install Rust (https://rustup.rs)".to_owned(),
        });
    };
    if target_is_installed(project)? {
        return Ok(Toolchain::Installed { id: version });
    }
    let mut updated = false;
    let mut turn = None;
    loop {
        let compiler = debian::compiler(settings)?;
        let facts = Facts {
            target: target_is_installed(project)?,
            rustup: rustup::state(project, settings)?,
            linker: debian::linker(project, &version)?,
            // Asking apt takes half a second.
            apt: if compiler.is_some() {
                Apt::Absent
            } else {
                debian::candidate()?
            },
            debian: compiler,
            root: rustix::process::geteuid().is_root(),
            updated,
        };
        match decide(&facts) {
            Decision::UseInstalled => return Ok(Toolchain::Installed { id: version }),
            Decision::UseDebian => {
                let (rustc, linker) = facts.debian.zip(facts.linker).expect("it was decided on them");
                return debian::toolchain(rustc, linker);
            }
            Decision::Refuse { tried, mend } => return Err(Error::NoToolchain { tried, mend }),
            // What another build does may be all that is needed: decide again when it is done.
            _ if turn.is_none() => turn = Some(cache::lock(settings, report)?),
            Decision::AddTarget => rustup::add_target(project, settings, report)?,
            Decision::UpdateLists => {
                debian::update_lists(report)?;
                updated = true;
            }
            Decision::Unpack => debian::unpack(settings, report)?,
        }
    }
}

fn target_is_installed(project: &Path) -> Result<bool, Error> {
    let mut command = Command::new("rustc");
    let folder = process::output(
        command
            .current_dir(project)
            .args(["--print", "target-libdir", "--target", TARGET]),
    )?;
    Ok(folder.is_some_and(|folder| Path::new(folder.trim()).is_dir()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing() -> Facts {
        Facts {
            target: false,
            rustup: Rustup::Absent,
            debian: None,
            linker: Some(PathBuf::from("rust-lld")),
            apt: Apt::Absent,
            root: false,
            updated: false,
        }
    }

    fn candidate() -> Apt {
        Apt::Candidate("1.96.0".to_owned())
    }

    fn debian() -> PathBuf {
        PathBuf::from("/usr/bin/rustc")
    }

    #[test]
    fn an_installed_target_comes_before_all_else() {
        let facts = Facts {
            target: true,
            rustup: Rustup::Untried,
            debian: Some(debian()),
            apt: candidate(),
            ..nothing()
        };
        assert_eq!(decide(&facts), Decision::UseInstalled);
    }

    #[test]
    fn rustup_is_asked_before_debian() {
        let facts = Facts {
            rustup: Rustup::Untried,
            debian: Some(debian()),
            apt: candidate(),
            ..nothing()
        };
        assert_eq!(decide(&facts), Decision::AddTarget);
    }

    #[test]
    fn rustup_is_not_asked_again_soon_after_it_failed() {
        let facts = Facts {
            rustup: Rustup::Failed { lately: true },
            debian: Some(debian()),
            apt: candidate(),
            ..nothing()
        };
        assert_eq!(decide(&facts), Decision::UseDebian);
        assert_eq!(decide(&Facts { debian: None, ..facts }), Decision::Unpack);
    }

    #[test]
    fn rustup_is_asked_again_later_unless_there_is_a_compiler() {
        let facts = Facts {
            rustup: Rustup::Failed { lately: false },
            debian: Some(debian()),
            apt: candidate(),
            ..nothing()
        };
        assert_eq!(decide(&facts), Decision::UseDebian);
        assert_eq!(decide(&Facts { debian: None, ..facts }), Decision::AddTarget);
    }

    #[test]
    fn lists_are_updated_once_and_by_root_only() {
        let facts = Facts {
            apt: Apt::NoCandidate,
            root: true,
            ..nothing()
        };
        assert_eq!(decide(&facts), Decision::UpdateLists);
        assert!(matches!(
            decide(&Facts {
                updated: true,
                ..facts.clone()
            }),
            Decision::Refuse { .. }
        ));
        assert_eq!(
            decide(&Facts { root: false, ..facts }),
            Decision::Refuse {
                tried: "there is no rustup, and apt knows no package rustc-web".to_owned(),
                mend: "Run `sudo apt-get update` and build again".to_owned(),
            }
        );
    }

    #[test]
    fn each_refusal_is_one_line_with_its_mend() {
        let check = |facts: &Facts, line: &str| {
            let Decision::Refuse { tried, mend } = decide(facts) else {
                panic!("{facts:?} is not refused")
            };
            assert_eq!(Error::NoToolchain { tried, mend }.to_string(), line);
        };
        check(
            &nothing(),
            "no compiler for wasm32-unknown-unknown: there is no rustup, and this is no Debian whose compiler could be \
             used. Install rustup (https://rustup.rs) and run `rustup target add wasm32-unknown-unknown`",
        );
        check(
            &Facts {
                rustup: Rustup::Failed { lately: true },
                apt: Apt::TooOld("1.85.0".to_owned()),
                ..nothing()
            },
            "no compiler for wasm32-unknown-unknown: `rustup target add` failed or took too long, and apt's rustc-web \
             1.85.0 is older than 1.95. Run `rustup target add wasm32-unknown-unknown` where the network lets it, and \
             build again",
        );
        check(
            &Facts {
                rustup: Rustup::Failed { lately: true },
                apt: candidate(),
                linker: None,
                ..nothing()
            },
            "no compiler for wasm32-unknown-unknown: `rustup target add` failed or took too long, and there is no \
             rust-lld or wasm-ld to link with. Run `sudo apt-get install lld` and build again",
        );
    }
}

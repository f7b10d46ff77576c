//! What a build is doing, for the person who waits.

use std::fmt;

/// A step of a build that takes time. `Display` gives a line for a progress display.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step<'a> {
    /// Another build is running.
    Waiting,
    /// `rustup target add`, at most [`RUSTUP_LIMIT`](crate::toolchain::RUSTUP_LIMIT).
    AddingTarget,
    /// `apt-get update`.
    UpdatingPackageLists,
    /// Packages of Debian's compiler are fetched into the cache: some 140 MB.
    Downloading {
        /// How many packages.
        packages: usize,
    },
    /// A package is unpacked.
    Unpacking {
        /// Its file name.
        package: &'a str,
    },
    /// The project is compiled. With `std`, the standard library is compiled too where that was not done before, which
    /// takes a minute.
    Compiling {
        /// The plugin's name.
        plugin: &'a str,
        /// Whether the standard library is compiled from source.
        std: bool,
    },
    /// One of the crates is compiled.
    Crate {
        /// Name and version, as Cargo says them.
        name: &'a str,
    },
    /// Cargo wrote the versions of dependencies to `Cargo.lock`.
    Locked,
    /// The module is made a component.
    MakingComponent {
        /// The plugin's name.
        plugin: &'a str,
    },
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting => write!(f, "waiting for another build"),
            Self::AddingTarget => write!(f, "asking rustup for the target wasm32-unknown-unknown"),
            Self::UpdatingPackageLists => write!(f, "updating the package lists"),
            Self::Downloading { packages } => write!(f, "fetching a compiler for wasm32 ({packages} packages, once)"),
            Self::Unpacking { package } => write!(f, "unpacking {package}"),
            Self::Compiling { plugin, std: false } => write!(f, "compiling {plugin}"),
            Self::Compiling { plugin, std: true } => write!(f, "compiling {plugin}, and the standard library once"),
            Self::Crate { name } => write!(f, "compiling {name}"),
            Self::Locked => write!(f, "wrote Cargo.lock, with the versions of what the project depends on"),
            Self::MakingComponent { plugin } => write!(f, "making the component of {plugin}"),
        }
    }
}

//! Misuse of the macros: each file under `ui/` has the error beside it that its author sees.
//! `TRYBUILD=overwrite cargo test -p wasmill-sdk --test ui` writes them anew.
//!
//! `ui/macros/` holds what the macros report themselves. `ui/types/` holds what the compiler reports of the code that
//! they make: its wording differs between compilers, so it is compared with one version only.

use std::process::Command;

/// The compiler that the files in `ui/types/` were written with.
const COMPILER: &str = "rustc 1.95";

#[test]
fn misuse_is_a_compile_error_at_the_place_of_the_mistake() {
    let version = Command::new("rustc").arg("--version").output().unwrap().stdout;
    let tests = trybuild::TestCases::new();
    tests.compile_fail("tests/ui/macros/*.rs");
    if String::from_utf8_lossy(&version).starts_with(COMPILER) {
        tests.compile_fail("tests/ui/types/*.rs");
    }
}

//! Builds the `wasmill` binary.

use std::path::PathBuf;

use crate::{Failure, Repository};

/// Builds the binary with the dev profile; Cargo shows its progress. Where the binary is.
pub(crate) fn build(repository: &Repository) -> Result<PathBuf, Failure> {
    let mut found = None;
    // With the whole workspace selected, dependencies have the same features as in the tests, and are compiled once.
    let messages = [
        "build",
        "--workspace",
        "--bin",
        "wasmill",
        "--message-format",
        "json-render-diagnostics",
    ];
    let built = repository.cargo(messages).lines(|line| {
        if let Some(path) = executable(line) {
            found = Some(path);
        }
    })?;
    if !built {
        return Err(Failure::new("the host does not compile, for the reason above"));
    }
    found.ok_or_else(|| Failure::new("Cargo does not say where the binary is: update Rust"))
}

/// The binary of which a message of Cargo tells.
fn executable(message: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let is_host = message["target"]["name"] == "wasmill" && message["target"]["kind"][0] == "bin";
    is_host.then(|| message["executable"].as_str().map(PathBuf::from))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_is_taken_from_the_message_of_its_own_target() {
        let message =
            r#"{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"wasmill"},"executable":"/t/wasmill"}"#;
        assert_eq!(executable(message), Some(PathBuf::from("/t/wasmill")));
        let script = r#"{"target":{"kind":["custom-build"],"name":"build-script-build"},"executable":"/t/build"}"#;
        assert_eq!(executable(script), None);
        assert_eq!(executable("Compiling x"), None);
    }
}

//! Licences, bans and origins of the dependencies: by `cargo deny` where it is installed.
//!
//! Where it is not, only the licences are compared with those that `deny.toml` allows, from what Cargo knows of each
//! package. That is second best: bans and origins go unchecked, and texts of licences are not looked at.

use std::collections::BTreeSet;

use crate::{Failure, Repository};

/// What a check found.
pub(crate) enum Verdict {
    /// All is allowed.
    Fine,
    /// Something is not; it was printed.
    Failed,
    /// The licences are allowed; the rest could not be checked.
    OnlyLicences(String),
}

/// As a step of `cargo xtask test`.
pub(crate) fn check_as_step<O: From<Verdict>>(repository: &Repository) -> Result<O, Failure> {
    check(repository).map(O::from)
}

fn check(repository: &Repository) -> Result<Verdict, Failure> {
    if repository.cargo(["deny", "--version"]).answers() {
        let program = repository.cargo(["deny", "--offline", "check", "bans", "licenses", "sources"]);
        return Ok(if program.succeeds()? {
            Verdict::Fine
        } else {
            Verdict::Failed
        });
    }
    let path = repository.path("deny.toml");
    let rules = std::fs::read_to_string(&path).map_err(Failure::io("read", &path))?;
    let metadata = repository
        .cargo(["metadata", "--format-version", "1", "--locked"])
        .output()?;
    let refused = refused(&metadata, &allowed(&rules)?)?;
    for package in &refused {
        println!("{package}: not among the licences that deny.toml allows");
    }
    Ok(if refused.is_empty() {
        Verdict::OnlyLicences(
            "bans and sources, because cargo-deny is not installed (`cargo install cargo-deny --locked`); licences were \
             compared by Cargo's own metadata"
                .to_owned(),
        )
    } else {
        Verdict::Failed
    })
}

/// The licences that `deny.toml` allows.
fn allowed(rules: &str) -> Result<BTreeSet<String>, Failure> {
    let rules: toml::Table = rules
        .parse()
        .map_err(|error| Failure::new(format!("deny.toml: {error}")))?;
    let list = rules
        .get("licenses")
        .and_then(|licenses| licenses.get("allow"))
        .and_then(toml::Value::as_array);
    let list = list.ok_or_else(|| Failure::new("deny.toml has no list `licenses.allow`"))?;
    Ok(list
        .iter()
        .filter_map(|licence| licence.as_str().map(str::to_owned))
        .collect())
}

/// The packages from a registry whose licence is not allowed.
fn refused(metadata: &str, allowed: &BTreeSet<String>) -> Result<Vec<String>, Failure> {
    let metadata: serde_json::Value = serde_json::from_str(metadata)
        .map_err(|error| Failure::new(format!("`cargo metadata` is not understood: {error}")))?;
    let packages = metadata["packages"].as_array().map_or(&[][..], Vec::as_slice);
    let foreign = packages.iter().filter(|package| package["source"].is_string());
    let refused = foreign.filter_map(|package| {
        let licence = package["license"].as_str().unwrap_or_default();
        let name = package["name"].as_str().unwrap_or_default();
        (!is_allowed(licence, allowed))
            .then(|| format!("{name} ({})", if licence.is_empty() { "none" } else { licence }))
    });
    Ok(refused.collect())
}

/// Whether an SPDX expression can be met. The old form `A/B` means `A OR B`.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = &words[..];
    any(&mut rest, allowed) && rest.is_empty()
}

fn any(words: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut met = all(words, allowed);
    while let ["OR", rest @ ..] = words {
        *words = rest;
        met |= all(words, allowed);
    }
    met
}

fn all(words: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut met = one(words, allowed);
    while let ["AND", rest @ ..] = words {
        *words = rest;
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    match words {
        ["(", rest @ ..] => {
            *words = rest;
            let met = any(words, allowed);
            match words {
                [")", rest @ ..] => {
                    *words = rest;
                    met
                }
                _ => false,
            }
        }
        [licence, "WITH", exception, rest @ ..] => {
            *words = rest;
            allowed.contains(&format!("{licence} WITH {exception}"))
        }
        [licence, rest @ ..] => {
            *words = rest;
            allowed.contains(*licence)
        }
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expression: &str, expect: bool) {
        let rules =
            "[licenses]\nallow = [\"MIT\", \"Apache-2.0\", \"Unicode-3.0\", \"Apache-2.0 WITH LLVM-exception\"]";
        assert_eq!(is_allowed(expression, &allowed(rules).unwrap()), expect, "{expression}");
    }

    #[test]
    fn an_expression_is_allowed_when_it_can_be_met() {
        check("MIT", true);
        check("GPL-3.0", false);
        check("GPL-3.0 OR MIT", true);
        check("MIT/Apache-2.0", true);
        check("MIT AND GPL-3.0", false);
        check("(MIT OR GPL-3.0) AND Unicode-3.0", true);
        check("GPL-3.0 OR MIT AND ISC", false);
        check("Apache-2.0 WITH LLVM-exception OR GPL-2.0", true);
        check("GPL-2.0 WITH LLVM-exception", false);
        check("(MIT", false);
        check("", false);
    }

    #[test]
    fn packages_of_the_repository_need_no_licence() {
        let metadata = r#"{"packages":[{"name":"ours","source":null,"license":null},
            {"name":"theirs","source":"registry","license":"GPL-3.0"},{"name":"silent","source":"registry","license":null}]}"#;
        let allowed = BTreeSet::from(["MIT".to_owned()]);
        assert_eq!(
            refused(metadata, &allowed).unwrap(),
            ["theirs (GPL-3.0)", "silent (none)"]
        );
    }
}

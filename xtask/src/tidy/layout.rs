//! Where files stand.

use std::collections::BTreeSet;

use super::{File, Problem};

pub(super) fn check(files: &[File], problems: &mut Vec<Problem>) {
    let paths: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let mut parents = BTreeSet::new();
    for file in files.iter().filter(|file| file.is("rs") && !file.is_material()) {
        if file.path.ends_with("/mod.rs") {
            problems.push(Problem::of(
                file,
                "a module of this name stands in `foo.rs` beside `foo/`",
            ));
            continue;
        }
        if let Some((folder, _)) = file.path.rsplit_once('/')
            && let Some((_, inside)) = folder.split_once("/src/")
            && inside != "bin"
            && parents.insert(folder)
            && !paths.contains(format!("{folder}.rs").as_str())
        {
            problems.push(Problem::of(file, format!("its parent `{folder}.rs` is not there")));
        }
    }
    for file in files {
        let Some(example) = file
            .path
            .strip_suffix("/topology.toml")
            .filter(|folder| folder.starts_with("examples/"))
        else {
            continue;
        };
        if !paths.contains(format!("{example}/README.md").as_str()) {
            problems.push(Problem::of(file, "the example has no README.md"));
        }
        if !paths
            .iter()
            .any(|path| path.starts_with(&format!("{example}/expected/")))
        {
            problems.push(Problem::of(file, "the example has no expected output"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{file, lines};
    use super::*;

    fn check_paths(paths: &[&str], expect: &[&str]) {
        let files: Vec<_> = paths.iter().map(|path| file(path, "")).collect();
        let mut problems = Vec::new();
        check(&files, &mut problems);
        assert_eq!(lines(&problems), expect);
    }

    #[test]
    fn a_module_with_children_stands_beside_their_folder() {
        check_paths(
            &[
                "a/src/lib.rs",
                "a/src/x.rs",
                "a/src/x/y.rs",
                "a/src/bin/z.rs",
                "a/tests/t/u.rs",
            ],
            &[],
        );
        check_paths(
            &["a/src/x/y.rs", "a/src/x/z.rs"],
            &["a/src/x/y.rs: its parent `a/src/x.rs` is not there"],
        );
        check_paths(
            &["a/src/x/mod.rs"],
            &["a/src/x/mod.rs: a module of this name stands in `foo.rs` beside `foo/`"],
        );
    }

    #[test]
    fn an_example_is_explained_and_has_its_results() {
        check_paths(
            &[
                "examples/01-a/topology.toml",
                "examples/01-a/README.md",
                "examples/01-a/expected/x.csv",
            ],
            &[],
        );
        check_paths(
            &["examples/01-a/topology.toml"],
            &[
                "examples/01-a/topology.toml: the example has no README.md",
                "examples/01-a/topology.toml: the example has no expected output",
            ],
        );
    }
}

//! Links from one document to another file.

use std::collections::BTreeSet;

use super::{File, Problem};

pub(super) fn check(files: &[File], problems: &mut Vec<Problem>) {
    let mut there: BTreeSet<&str> = BTreeSet::new();
    for file in files {
        there.insert(&file.path);
        there.extend(file.path.match_indices('/').map(|(at, _)| &file.path[..at]));
    }
    for file in files.iter().filter(|file| file.is("md") && !file.is_material()) {
        let mut in_code = false;
        for (number, line) in (1..).zip(file.text.lines()) {
            if line.trim_start().starts_with("```") {
                in_code = !in_code;
            }
            if in_code {
                continue;
            }
            for target in targets(line) {
                if !there.contains(resolve(&file.path, target).as_str()) {
                    problems.push(Problem::at(
                        file,
                        number,
                        format!("the link to `{target}` leads nowhere"),
                    ));
                }
            }
        }
    }
}

/// What a line links to within the repository.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("](").filter_map(|(at, _)| {
        let (target, _) = line[at + 2..].split_once(')')?;
        let path = target.split_once('#').map_or(target, |(path, _)| path);
        (!path.is_empty() && !path.contains(':')).then_some(path)
    })
}

/// The path from the root that a link in a file means.
fn resolve(file: &str, target: &str) -> String {
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in target.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{file, lines};
    use super::*;

    #[test]
    fn a_link_leads_to_a_file_or_a_folder() {
        let text = "[a](adr/0001.md), [b](../README.md#x), [c](adr/), [d](https://x.y/z), [e](#here), `[f](no)` [g](no.md)\n\
                    ```\n[h](no.md)\n```\n";
        let files = [
            file("docs/a.md", text),
            file("docs/adr/0001.md", ""),
            file("README.md", ""),
        ];
        let mut problems = Vec::new();
        check(&files, &mut problems);
        assert_eq!(
            lines(&problems),
            [
                "docs/a.md:1: the link to `no` leads nowhere",
                "docs/a.md:1: the link to `no.md` leads nowhere"
            ]
        );
    }
}

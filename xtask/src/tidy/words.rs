//! Words that mean something on one machine only, or that work is unfinished.

use super::{File, Problem};

/// Written in two parts, so that this file does not break its own rule.
const MACHINE: [&str; 3] = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
const UNFINISHED: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];

pub(super) fn check(file: &File, problems: &mut Vec<Problem>) {
    // Licences and lock files are not our words.
    if file.path.ends_with("LICENSE") || file.is("lock") || file.path.contains("/input/") {
        return;
    }
    for (number, line) in (1..).zip(file.text.lines()) {
        for word in MACHINE {
            if line.match_indices(word).any(|(at, _)| stands_alone(line, at)) {
                problems.push(Problem::at(file, number, format!("`{word}` is a path of one machine")));
            }
        }
        for word in UNFINISHED {
            if line.contains(word) {
                problems.push(Problem::at(
                    file,
                    number,
                    format!("`{word}`: finish it, or open an issue"),
                ));
            }
        }
    }
}

/// Whether the path begins here, and is not the end of a longer one such as `a/b`.
fn stands_alone(line: &str, at: usize) -> bool {
    !line[..at]
        .chars()
        .next_back()
        .is_some_and(|letter| letter.is_alphanumeric() || matches!(letter, '.' | '-' | '_'))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{file, lines};
    use super::*;

    #[test]
    fn absolute_paths_of_a_machine_are_found() {
        let mut problems = Vec::new();
        let [work, root, _] = MACHINE;
        check(
            &file("a.md", &format!("in `{root}x`\nnet{work}x\n../frame{work}\n")),
            &mut problems,
        );
        assert_eq!(lines(&problems), [format!("a.md:1: `{root}` is a path of one machine")]);
    }

    #[test]
    fn unfinished_work_is_found() {
        let mut problems = Vec::new();
        let word = UNFINISHED[0];
        check(&file("a.rs", &format!("// {word}: x\n")), &mut problems);
        check(&file("Cargo.lock", word), &mut problems);
        assert_eq!(
            lines(&problems),
            [format!("a.rs:1: `{word}`: finish it, or open an issue")]
        );
    }
}

//! What came beside what was expected, line by line.

use std::fmt;

/// A line of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// It was expected, and it came.
    Same(String),
    /// It was expected, and it did not come.
    Missing(String),
    /// It came, and was not expected.
    Unexpected(String),
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same(text) => write!(f, "  {text}"),
            Self::Missing(text) => write!(f, "- {text}"),
            Self::Unexpected(text) => write!(f, "+ {text}"),
        }
    }
}

/// Lines longer than this are compared from both ends only: the table of the rest would not fit.
const TABLE_CELLS_MAX: usize = 16 << 20;

/// Compares two sequences: the longest common subsequence stays.
pub(crate) fn of_sequences(expected: &[String], came: &[String]) -> Vec<Line> {
    let ahead = expected.iter().zip(came).take_while(|(a, b)| a == b).count();
    let (expected_rest, came_rest) = (&expected[ahead..], &came[ahead..]);
    let behind = expected_rest
        .iter()
        .rev()
        .zip(came_rest.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let a = &expected_rest[..expected_rest.len() - behind];
    let b = &came_rest[..came_rest.len() - behind];
    let mut lines: Vec<Line> = expected[..ahead].iter().cloned().map(Line::Same).collect();
    middle(a, b, &mut lines);
    lines.extend(expected[expected.len() - behind..].iter().cloned().map(Line::Same));
    lines
}

fn middle(a: &[String], b: &[String], lines: &mut Vec<Line>) {
    let width = b.len() + 1;
    if (a.len() + 1).saturating_mul(width) > TABLE_CELLS_MAX {
        lines.extend(a.iter().cloned().map(Line::Missing));
        lines.extend(b.iter().cloned().map(Line::Unexpected));
        return;
    }
    // The length of the longest common subsequence of what begins at each pair.
    let mut lengths = vec![0_u32; (a.len() + 1) * width];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            lengths[i * width + j] = if a[i] == b[j] {
                lengths[(i + 1) * width + j + 1] + 1
            } else {
                lengths[(i + 1) * width + j].max(lengths[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            lines.push(Line::Same(a[i].clone()));
            (i, j) = (i + 1, j + 1);
        } else if i < a.len() && (j == b.len() || lengths[(i + 1) * width + j] >= lengths[i * width + j + 1]) {
            lines.push(Line::Missing(a[i].clone()));
            i += 1;
        } else {
            lines.push(Line::Unexpected(b[j].clone()));
            j += 1;
        }
    }
}

/// Lines of context around a difference.
const CONTEXT: usize = 3;

/// The differences with a few lines around each; `None` stands for lines that are left out.
pub(crate) fn shortened(lines: &[Line]) -> Vec<Option<&Line>> {
    let near = |at: usize| {
        let from = at.saturating_sub(CONTEXT);
        let to = lines.len().min(at + CONTEXT + 1);
        lines[from..to].iter().any(|line| !matches!(line, Line::Same(_)))
    };
    let mut shown = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if near(at) {
            shown.push(Some(line));
        } else if shown.last().is_none_or(Option::is_some) {
            shown.push(None);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: &str, came: &str, lines: &str) {
        let split = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        let found: Vec<String> = of_sequences(&split(expected), &split(came))
            .iter()
            .map(|line| line.to_string().replace(' ', ""))
            .collect();
        assert_eq!(found.join(" "), lines);
    }

    #[test]
    fn what_both_have_stays_and_the_rest_is_marked() {
        check("abc", "abc", "a b c");
        check("abc", "ac", "a -b c");
        check("ac", "abc", "a +b c");
        check("abcd", "axcy", "a -b +x c -d +y");
        check("", "ab", "+a +b");
    }

    #[test]
    fn lines_far_from_a_difference_are_left_out() {
        let same = |n: usize| (0..n).map(|i| Line::Same(i.to_string())).collect::<Vec<_>>();
        let mut lines = same(10);
        lines.push(Line::Missing("x".into()));
        lines.extend(same(10));
        let shown = shortened(&lines);
        assert_eq!(shown.len(), 1 + CONTEXT + 1 + CONTEXT + 1);
        assert!(shown[0].is_none() && shown.last().is_some_and(Option::is_none));
    }
}

//! Renders the problems of a topology: for people with the lines at fault, for programs as JSON.

use std::ops::Range;
use std::path::Path;

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};
use serde_json::{Value, json};

use wasmill_core::diagnostic::{Diagnostic, Severity};

/// A topology file as diagnostics show it.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    /// The file's name as it was given.
    pub(crate) name: &'a Path,
    pub(crate) text: &'a str,
}

/// A diagnostic for people.
pub(crate) fn human(diagnostic: &Diagnostic, source: Source<'_>, colours: bool) -> String {
    let name = source.name.to_string_lossy();
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = level
        .primary_title(diagnostic.message.as_str())
        .id(diagnostic.code)
        .elements(Vec::<Snippet<'_, annotate_snippets::Annotation<'_>>>::new());
    if diagnostic.labels.is_empty() {
        group = group.element(Origin::path(name.as_ref()));
    } else {
        let labels = diagnostic.labels.iter().enumerate().map(|(at, label)| {
            let kind = if at == 0 {
                AnnotationKind::Primary
            } else {
                AnnotationKind::Context
            };
            kind.span(label.span.clone()).label(label.text.as_str())
        });
        group = group.element(
            Snippet::source(source.text)
                .line_start(1)
                .path(name.as_ref())
                .annotations(labels),
        );
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    let renderer = if colours { Renderer::styled() } else { Renderer::plain() };
    renderer.render(&[group]) + "\n"
}

/// A diagnostic for programs.
pub(crate) fn machine(diagnostic: &Diagnostic, source: Source<'_>) -> Value {
    let labels: Vec<Value> = diagnostic
        .labels
        .iter()
        .map(|label| {
            let mut place = place(&label.span, source.text);
            place["text"] = Value::from(label.text.as_str());
            place
        })
        .collect();
    json!({
        "kind": "diagnostic",
        "code": diagnostic.code,
        "severity": diagnostic.severity,
        "message": diagnostic.message,
        "file": source.name.to_string_lossy(),
        "labels": labels,
        "help": diagnostic.help,
    })
}

fn place(span: &Range<usize>, text: &str) -> Value {
    let position = |at: usize| {
        let before = &text[..at];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
        json!({ "byte": at, "line": line, "column": column })
    };
    json!({ "start": position(span.start), "end": position(span.end) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnostic() -> Diagnostic {
        Diagnostic::error("T0104", "there is no source or operator `fligths`")
            .label(22..31, "nothing has this id")
            .label(0..8, "")
            .help("did you mean `flights`?")
    }

    const SOURCE: &str = "[[sink]]\nid = \"ä\"\ninp = \"fligths\"\n";

    #[test]
    fn people_see_the_line_and_what_is_wrong_with_it() {
        let source = Source {
            name: Path::new("t.toml"),
            text: "[[sink]]\nid = \"a\"\ninput = \"fligths\"\n",
        };
        let mut diagnostic = diagnostic();
        diagnostic.labels[0].span = 26..35;
        let expected = "\
error[T0104]: there is no source or operator `fligths`
 --> t.toml:3:9
  |
1 | [[sink]]
  | --------
2 | id = \"a\"
3 | input = \"fligths\"
  |         ^^^^^^^^^ nothing has this id
  |
  = help: did you mean `flights`?
";
        assert_eq!(human(&diagnostic, source, false), expected);
    }

    #[test]
    fn a_problem_without_a_place_names_the_file() {
        let source = Source {
            name: Path::new("t.toml"),
            text: "",
        };
        let diagnostic = Diagnostic::error("T0103", "the topology has no source");
        assert_eq!(
            human(&diagnostic, source, false),
            "error[T0103]: the topology has no source\n--> t.toml\n"
        );
    }

    #[test]
    fn programs_get_lines_and_columns_in_characters() {
        let source = Source {
            name: Path::new("t.toml"),
            text: SOURCE,
        };
        let mut diagnostic = diagnostic();
        diagnostic.labels[0].span = 15..17;
        let value = machine(&diagnostic, source);
        assert_eq!(
            value["labels"][0]["start"],
            json!({ "byte": 15, "line": 2, "column": 7 })
        );
        assert_eq!(value["labels"][0]["end"], json!({ "byte": 17, "line": 2, "column": 8 }));
        assert_eq!(value["severity"], "error");
    }
}

//! Where a value comes from: a stretch of the file, and the variable that replaced what stands there, if one did.

use std::fmt::Write as _;
use std::ops::Range;
use std::rc::Rc;

use wasmill_core::diagnostic::Diagnostic;

/// Where a key, a value or a table stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The bytes of the file.
    pub span: Range<usize>,
    /// The environment variable that gave the value. The span is then that of what it replaced, or of the table that
    /// it was added to.
    pub variable: Option<Rc<str>>,
}

impl Place {
    /// A stretch of the file.
    pub fn of(span: Range<usize>) -> Self {
        Self { span, variable: None }
    }
}

/// Adding places to diagnostics.
pub trait At {
    /// Adds a place and says where its value comes from.
    fn at(self, place: &Place, text: impl Into<String>) -> Self;
}

impl At for Diagnostic {
    fn at(self, place: &Place, text: impl Into<String>) -> Self {
        let Some(variable) = &place.variable else {
            return self.label(place.span.clone(), text);
        };
        let mut diagnostic = self;
        let mut text = text.into();
        // What replaces nothing has no place in the file, but where its table stands.
        let said = if place.span.is_empty() {
            &mut diagnostic.message
        } else {
            &mut text
        };
        if !said.is_empty() {
            said.push(' ');
        }
        let _ = write!(said, "(set by the environment variable {variable})");
        if place.span.is_empty() {
            return diagnostic;
        }
        diagnostic.label(place.span.clone(), text)
    }
}

/// A text and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// What it says.
    pub text: String,
    /// Where it stands.
    pub place: Place,
}

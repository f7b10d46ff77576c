//! What sources, operators and sinks have in common.

use wasmill_core::id::NodeId;
use wasmill_core::plugin::Isolation;

use super::input::Reference;
use super::{Deduplicate, Join, LateSpec, Lookup, Sink, Source, Split, Top, Wasm, Window};
use crate::codes;
use crate::document::Table;
use crate::place::{Place, Word};
use crate::problems::Problems;
use crate::reader::Reader;

/// The most characters of an id.
const ID_CHARACTERS_MAX: usize = 64;

/// A source, an operator or a sink as written.
pub(crate) struct Node {
    /// Its id; `None` where the file has none that could be used.
    pub(crate) id: Option<NodeId>,
    /// How diagnostics call it: "source `flights`".
    pub(crate) name: String,
    /// The id's place, or that of the table.
    pub(crate) id_place: Place,
    /// The table's header.
    pub(crate) place: Place,
    /// What it reads.
    pub(crate) inputs: Vec<Reference>,
    /// `renamed-from`: earlier ids.
    pub(crate) renamed_from: Vec<Word>,
    /// Whether `input` stands in the file.
    pub(crate) has_input: bool,
    /// The sink for its dead letters.
    pub(crate) dead_letter: Option<Word>,
    /// Whether its table is without errors. Otherwise nothing is said about what follows from it.
    pub(crate) sound: bool,
    /// What it is.
    pub(crate) kind: Kind,
}

/// What a node is.
pub(crate) enum Kind {
    Source(Box<Source>),
    Wasm(Box<Wasm>),
    Window(Box<Window>),
    Join(Box<Join>),
    Lookup(Box<Lookup>),
    Union,
    Deduplicate(Box<Deduplicate>),
    Top(Box<Top>),
    Split(Box<Split>),
    Sink(Box<Sink>),
    /// An operator of a type that does not exist, or not yet.
    Unknown,
}

impl Node {
    /// How diagnostics call an input: by the id that the file names.
    pub(crate) fn called(&self, input: usize) -> String {
        match self.inputs.get(input) {
            Some(reference) => format!("`{}`", reference.node),
            None => "the input".to_owned(),
        }
    }
}

impl Kind {
    /// What the file says of the life of plugins' instances.
    pub(crate) fn isolation(&self) -> Isolation {
        match self {
            Self::Wasm(wasm) => wasm.isolation,
            Self::Window(window) => window.isolation,
            _ => Isolation::default(),
        }
    }

    /// What the file says of late rows.
    pub(crate) fn late(&self) -> Option<&LateSpec> {
        match self {
            Self::Wasm(wasm) => wasm.late.as_ref(),
            Self::Window(window) => window.late.as_ref(),
            Self::Join(join) => join.late.as_ref(),
            Self::Deduplicate(deduplicate) => deduplicate.late.as_ref(),
            Self::Top(top) => top.late.as_ref(),
            Self::Source(_) | Self::Lookup(_) | Self::Union | Self::Split(_) | Self::Sink(_) | Self::Unknown => None,
        }
    }
}

/// The id of a node's table, before anything else of it is read.
pub(super) struct Head {
    pub(super) id: Option<NodeId>,
    pub(super) name: String,
    pub(super) id_place: Place,
    renamed_from: Vec<Word>,
    errors_before: usize,
}

impl Head {
    /// Reads the `id` of a table of this kind ("source").
    pub(super) fn read(table: &Table, kind: &str, problems: &Problems) -> Self {
        let errors_before = problems.errors();
        let reader = Reader::new(table, format!("a {kind}").replace("a o", "an o"), problems);
        let word = reader.word("id");
        if word.is_none() && table.entry("id").is_none() {
            let help = format!("every {kind} needs a name of its own, as in `id = \"my-{kind}\"`");
            // Nothing else of the table was asked for yet, so a misspelt id is not told apart here.
            reader.missing("id", help);
        }
        let id_place = word
            .as_ref()
            .map_or_else(|| table.place.clone(), |word| word.place.clone());
        let id = word.filter(|word| check_id(word, problems));
        let mut renamed_from = reader.words("renamed-from").unwrap_or_default();
        renamed_from.retain(|word| check_id(word, problems));
        Self {
            name: match &id {
                Some(id) => format!("{kind} `{}`", id.text),
                None => format!("this {kind}"),
            },
            id: id.map(|id| NodeId::new(id.text)),
            id_place,
            renamed_from,
            errors_before,
        }
    }

    /// Tells who reads the rest of the table which keys a head has read.
    pub(super) fn known_to(reader: &Reader<'_>) {
        for key in ["id", "renamed-from"] {
            reader.get(key);
        }
    }

    /// The node, when its table was read.
    pub(super) fn finish(
        self,
        reader: &Reader<'_>,
        inputs: Vec<Reference>,
        kind: Kind,
        dead_letter: Option<Word>,
    ) -> Node {
        Node {
            id: self.id,
            name: self.name,
            id_place: self.id_place,
            place: reader.place().clone(),
            inputs,
            renamed_from: self.renamed_from,
            has_input: reader.get("input").is_some(),
            dead_letter,
            sound: reader.problems.errors() == self.errors_before,
            kind,
        }
    }
}

fn check_id(word: &Word, problems: &Problems) -> bool {
    let id = &word.text;
    let fits = id.starts_with(|c: char| c.is_ascii_alphanumeric())
        && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        && id.len() <= ID_CHARACTERS_MAX;
    if !fits {
        problems.error(
            codes::BAD_ID,
            format!("\"{id}\" cannot be an id"),
            &word.place,
            format!(
                "use letters, digits, `-` and `_`, a letter or digit first, at most {ID_CHARACTERS_MAX} of them, \
                 as in \"{}\"",
                proposal(id)
            ),
        );
    }
    fits
}

/// The id with what it may not have replaced.
fn proposal(id: &str) -> String {
    let plain: String = id
        .chars()
        .take(ID_CHARACTERS_MAX)
        .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' })
        .collect();
    match plain.trim_matches(['-', '_']) {
        "" => "my-id".to_owned(),
        plain => plain.to_owned(),
    }
}

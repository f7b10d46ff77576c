//! The codes of diagnostics. A code keeps its meaning for ever; `docs/diagnostics.md` is made of this file.

use std::fmt::Write as _;

/// A code, and what it stands for.
#[derive(Clone, Copy, Debug)]
pub struct Code {
    /// `T0001`.
    pub code: &'static str,
    /// The problem in a few words.
    pub title: &'static str,
    /// When it is found, and what to do.
    pub about: &'static str,
}

macro_rules! codes {
    ($($(#[doc = $about:literal])+ $name:ident = $code:literal, $title:literal;)*) => {
        $(#[doc = $title] pub const $name: &str = $code;)*

        /// Every code, in ascending order.
        pub const ALL: &[Code] = &[
            $(Code { code: $code, title: $title, about: concat!($($about, "\n"),+) },)*
        ];
    };
}

codes! {
    /// The file cannot be read as TOML. Nothing else is checked until it can.
    SYNTAX = "T0001", "the file is not TOML";
    /// A table holds a key that it does not know. Unknown keys are never ignored: a misspelt one would do nothing.
    UNKNOWN_KEY = "T0002", "a key is not known";
    /// A value is of another type than its key takes: a number where a string belongs, one value where a list belongs.
    WRONG_TYPE = "T0003", "a value has the wrong type";
    /// A key that has no default is absent.
    MISSING_KEY = "T0004", "a key is missing";
    /// A value has the right type, but is none that the key can take: a duration without a unit, a count of zero.
    INVALID_VALUE = "T0005", "a value cannot be used";
    /// The topology asks for something that is designed but not built. It is refused, not ignored.
    NOT_BUILT = "T0006", "this is not built yet";
    /// A key is known but would do nothing here, or contradicts another one.
    POINTLESS_KEY = "T0007", "a key does nothing, or contradicts another";
    /// `${env:NAME}` or `${file:path}` stands for nothing, or is written wrongly. `$${` is a plain `${`.
    SUBSTITUTION = "T0008", "a reference to a secret cannot be resolved";
    /// An environment variable that begins with `WASMILL__` overrides nothing in this topology.
    OVERRIDE = "T0009", "an override names nothing";
    /// The topology file itself cannot be read.
    FILE = "T0010", "the topology file cannot be read";

    /// Sources, operators and sinks share one space of names.
    DUPLICATE_ID = "T0101", "two nodes have one id";
    /// An id holds letters, digits, `-` and `_`, begins with a letter or a digit, and has at most 64 characters.
    BAD_ID = "T0102", "an id has characters that it may not have";
    /// A topology needs a source and a sink.
    EMPTY = "T0103", "the topology is empty";
    /// `input` names a node that does not exist, or one that gives nothing.
    UNKNOWN_INPUT = "T0104", "an input does not exist";
    /// `input = "id.port"` names a port that the node does not have.
    UNKNOWN_PORT = "T0105", "a port does not exist";
    /// Streams must not flow in a circle.
    CYCLE = "T0106", "operators read one another in a circle";
    /// `dead-letter` must name a sink without `input`.
    DEAD_LETTER = "T0107", "dead letters go to a sink that cannot take them";
    /// A policy sends rows to the dead letters, but no sink for them is named.
    NO_DEAD_LETTER = "T0108", "no sink takes the dead letters";
    /// An operator has another number of inputs than it takes, or one input twice.
    INPUT_COUNT = "T0109", "the inputs are too many, too few or the same";
    /// A warning: what the node gives is not read by anyone.
    UNREAD = "T0110", "nobody reads this";
    /// A warning: the sink has no `input` and no node names it for its dead letters.
    UNFED = "T0111", "nothing reaches this sink";
    /// Two sinks would write over one another.
    SAME_TARGET = "T0112", "two sinks write to the same place";
    /// A sink would write over what a source of the same topology reads, also by way of a link.
    OWN_SOURCE = "T0113", "a sink writes to what a source reads";
    /// `renamed-from` names ids that a node had before, under which a checkpoint may hold its state. Each may be named once,
    /// and is the id of no node of the topology.
    RENAMED = "T0114", "an earlier id is not free";

    /// No connector of this name is in this binary.
    UNKNOWN_CONNECTOR = "T0201", "a connector does not exist";
    /// No format of this name is in this binary.
    UNKNOWN_FORMAT = "T0202", "a format does not exist";
    /// The connector refuses its configuration: a file that does not exist, a pattern that matches nothing.
    CONNECTOR = "T0203", "the connector refuses its configuration";
    /// The format refuses its configuration or the declared columns.
    FORMAT = "T0204", "the format refuses its configuration or columns";
    /// The format cannot write a column of the sink's input.
    UNWRITABLE = "T0205", "the format cannot write these columns";
    /// The connector needs a format and none is given, or it yields columns and takes none.
    FORMAT_PRESENCE = "T0206", "a format is missing, or out of place";

    /// A name is not that of a column of the stream.
    UNKNOWN_COLUMN = "T0211", "a column does not exist";
    /// Every column of a stream needs a name of its own.
    DUPLICATE_COLUMN = "T0212", "two columns have one name";
    /// A column has another type than what reads it takes.
    COLUMN_TYPE = "T0213", "a column has the wrong type";
    /// The connector does not offer this metadata.
    UNKNOWN_METADATA = "T0214", "a metadata column does not exist";
    /// The name is not in the time zone database.
    TIME_ZONE = "T0215", "a time zone does not exist";
    /// A strftime pattern that cannot be read back, or that leaves the day open.
    PATTERN = "T0216", "a timestamp pattern cannot be used";
    /// Several streams are read as one, but their columns differ.
    SCHEMAS_DIFFER = "T0217", "the inputs have different columns";

    /// Rows that take others back (a changelog) go where only new rows can be taken.
    CHANGELOG = "T0218", "a changelog goes where it cannot be taken";
    /// The plugin's file cannot be read.
    PLUGIN_FILE = "T0301", "a plugin cannot be read";
    /// The file is no component, or exports none of our worlds.
    NOT_A_PLUGIN = "T0302", "a file is no plugin";
    /// The component wants more than the host gives to plugins.
    FORBIDDEN_IMPORT = "T0303", "a plugin imports what the host does not give";
    /// The plugin refused its configuration or its input columns.
    PLUGIN_REFUSED = "T0304", "a plugin refuses its configuration or inputs";
    /// The plugin failed when it was asked what it is, or described what cannot be.
    PLUGIN_FAULTY = "T0305", "a plugin is faulty";
    /// A plugin of another world stands here: an aggregate as an operator, a transform as an aggregate.
    WRONG_WORLD = "T0306", "a plugin is of the wrong world";
    /// The file's SHA-256 is not the `digest` of the topology.
    DIGEST = "T0307", "a plugin is not the one that was meant";

    /// Length, distance, offset and lateness of a window do not fit one another.
    WINDOW = "T0401", "a window's measures do not fit";
    /// An aggregate is not of the form `function(column, number)`.
    AGGREGATE_SYNTAX = "T0402", "an aggregate cannot be read";
    /// No built-in aggregate has this name.
    UNKNOWN_AGGREGATE = "T0403", "an aggregate function does not exist";
    /// An aggregate has another number of arguments than it takes, or one out of range.
    AGGREGATE_ARGUMENTS = "T0404", "an aggregate's arguments do not fit";
    /// A warning: windows leave gaps between them, and rows in the gaps are in no window.
    GAPS = "T0405", "rows between the windows are lost";

    /// A join needs a bound in time (`within`, `as-of` or `window`), and a kind that goes with it. Without a bound every row
    /// would have to be kept for ever.
    JOIN = "T0406", "a join's parts do not fit";
    /// A warning: more workers than key groups; the surplus has nothing to do behind a keyed exchange.
    IDLE_WORKERS = "T0501", "some workers have nothing to do";
    /// A warning: a source never ends and has several partitions, or is read together with another source; something
    /// downstream waits for its watermark, and there is no `idle-after`: a partition to which nothing is added holds back
    /// what the others complete.
    HELD_BACK = "T0502", "a quiet partition may hold everything back";

    /// A test file says what it tests: `topology = "topology.toml"`, or an `[operator]` with its `[input.NAME]`s.
    TEST_SUBJECT = "T0601", "a test file does not say what it tests";
    /// A test names an input, an output, a table or a timer that what it tests does not have.
    TEST_NAME = "T0602", "a test names what is not there";
    /// A value of a row in a test is none of its column's type, or a required column has no value.
    TEST_ROW = "T0603", "a row of a test does not fit its columns";
    /// A file with rows of a test cannot be read, or holds records that do not fit the columns.
    TEST_FILE = "T0604", "a file of a test cannot be read";

    /// What `delivery` asks of a sink takes checkpoints, a connector that can give it, and sources that can be read again;
    /// effectively once also takes rows that have the same ids when they come again, so a reproducible topology.
    DELIVERY = "T0701", "a delivery cannot be given";
    /// The store of `[checkpoint]` is none that there is, or a source reads there, or a sink writes there.
    STORE = "T0702", "a checkpoint store cannot be used";
    /// A warning: there are checkpoints, and a source whose records cannot be read again after a failure.
    LOSSY = "T0703", "a source's records can be lost";
    /// An address that others reach needs a token: whoever reaches it could stop the job.
    OPEN_CONTROL = "T0704", "the control address is open to everyone";
}

/// The page of all codes, in Markdown.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Diagnostics\n\nEvery problem of a topology has a code. The list is made from \
         `host/topology/src/codes.rs`; a code keeps its meaning for ever.\n\n\
         `wasmill check` tells all of them at once, and exits with 3 where one is an error. With `--format json` each \
         is one line with its `code`, `severity`, `message`, `labels` (line, column and byte, from 1, 1 and 0) and \
         `help`. Warnings do not keep a topology from running.\n",
    );
    for code in ALL {
        let _ = write!(page, "\n## {}: {}\n\n{}", code.code, code.title, about(code));
    }
    page
}

/// What is to say about a code, without the indentation of the source.
fn about(code: &Code) -> String {
    code.about.lines().map(|line| line.trim().to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_ascend_and_none_stands_twice() {
        assert!(ALL.windows(2).all(|pair| pair[0].code < pair[1].code));
    }
}

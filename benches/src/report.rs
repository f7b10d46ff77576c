//! What was measured, as lines of a table; the budget of the design stands beside it where there is one.

use std::io::Write;

use crate::timing::Measured;

/// Prints lines as they come.
pub(crate) struct Report<'a> {
    out: &'a mut dyn Write,
}

/// What is asked of a line.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Budget {
    /// Nothing: the line is there to compare.
    None,
    /// Nanoseconds of one core a record at most.
    Nanos(f64),
    /// Times the other way's processor time at most.
    Ratio(f64),
    /// Times the native way's wall time at most.
    WallRatio(f64),
}

impl<'a> Report<'a> {
    pub(crate) fn new(out: &'a mut dyn Write) -> Self {
        Self { out }
    }

    /// Begins a bench.
    pub(crate) fn bench(&mut self, name: &str, about: &str) {
        self.title(name, about);
        self.line(&format!(
            "  {:<44} {:>9} {:>9} {:>7} {:>7}  {}",
            "ns a record of processor time", "wasmill", "native", "ratio", "wall", "budget"
        ));
    }

    /// Begins a bench whose lines have no columns.
    pub(crate) fn title(&mut self, name: &str, about: &str) {
        self.line(&format!("\n{name}: {about}"));
    }

    /// Adds a line.
    pub(crate) fn add(&mut self, what: &str, measured: &Measured, budget: Budget) {
        let verdict = |held: bool| if held { "held" } else { "MISSED" };
        let budget = match budget {
            Budget::None => String::new(),
            Budget::Nanos(nanos) => format!("{nanos:.0} ns: {}", verdict(measured.wasmill.cost <= nanos)),
            Budget::Ratio(ratio) => format!("{ratio:.1} x: {}", verdict(measured.ratio() <= ratio)),
            Budget::WallRatio(ratio) => {
                format!("{ratio:.1} x on the clock: {}", verdict(measured.wall_ratio() <= ratio))
            }
        };
        self.line(&format!(
            "  {what:<44} {:>9.2} {:>9.2} {:>7.2} {:>7.2}  {budget}",
            measured.wasmill.cost,
            measured.native.cost,
            measured.ratio(),
            measured.wall_ratio(),
        ));
    }

    /// Adds a line of another kind.
    pub(crate) fn note(&mut self, text: &str) {
        self.line(&format!("  {text}"));
    }

    /// A reader that has gone away is no reason to stop half way.
    fn line(&mut self, text: &str) {
        let written = writeln!(self.out, "{}", text.trim_end());
        drop(written.and_then(|()| self.out.flush()));
    }
}

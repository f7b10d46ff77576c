//! The built-in aggregates: what they take and what they give.

use wasmill_core::aggregate::Builtin;
use wasmill_core::diagnostic::Diagnostic;
use wasmill_core::schema::{DataType, Field, Schema};

use super::Checker;
use crate::codes;
use crate::place::At as _;
use crate::problems::{did_you_mean, list};
use crate::spec::{Argument, Expression};

/// How the functions are written.
const FORMS: [(&str, &str); 12] = [
    ("count", "count() or count(column)"),
    ("sum", "sum(column)"),
    ("min", "min(column)"),
    ("max", "max(column)"),
    ("avg", "avg(column)"),
    ("first", "first(column)"),
    ("last", "last(column)"),
    ("count_distinct", "count_distinct(column)"),
    ("quantile", "quantile(column, 0.99)"),
    ("top_k", "top_k(column, 3)"),
    ("stddev", "stddev(column)"),
    ("array_agg", "array_agg(column)"),
];

/// Names that others give to these functions.
const OTHER_NAMES: [(&[&str], &str); 8] = [
    (&["mean", "average"], "avg"),
    (&["percentile", "p"], "quantile"),
    (&["median"], "quantile"),
    (&["stddev_samp", "std", "std_dev"], "stddev"),
    (
        &["approx_count_distinct", "distinct", "distinct_count"],
        "count_distinct",
    ),
    (&["collect", "list", "collect_list"], "array_agg"),
    (&["total"], "sum"),
    (&["first_value", "last_value"], "first"),
];

/// The most entries of `top_k`: each group keeps many times as many values.
const TOP_K_MAX: u32 = 10_000;

const NUMBERS: &[DataType] = &[DataType::Int64, DataType::Float64];
const COMPARABLE: &[DataType] = &[
    DataType::Boolean,
    DataType::Int64,
    DataType::Float64,
    DataType::Utf8,
    DataType::Binary,
    DataType::Timestamp,
];

impl Checker<'_> {
    /// Reports a function that does not exist, where nothing is known of the columns.
    pub(super) fn function_exists(&self, expression: &Expression) {
        let function = expression.function.text.to_lowercase();
        if !FORMS.iter().any(|(name, _)| *name == function) {
            self.unknown_function(expression, &function);
        }
    }

    /// The function, and its result's type and nullability.
    pub(super) fn builtin(
        &self,
        expression: &Expression,
        schema: &Schema,
        of: &str,
    ) -> Option<(Builtin, DataType, bool)> {
        let function = expression.function.text.to_lowercase();
        let Some((name, form)) = FORMS.into_iter().find(|(name, _)| *name == function) else {
            self.unknown_function(expression, &function);
            return None;
        };
        let arguments = match (name, expression.arguments.as_slice()) {
            ("count", []) => return Some((Builtin::Count(None), DataType::Int64, false)),
            ("quantile" | "top_k", [column, number]) => (column, Some(number)),
            ("quantile" | "top_k", _) => return self.wrong_arguments(expression, form),
            (_, [column]) => (column, None),
            _ => return self.wrong_arguments(expression, form),
        };
        let Argument::Column(word) = arguments.0 else {
            return self.wrong_arguments(expression, form);
        };
        let number = arguments.1.map(|number| self.number(expression, name, form, number));
        let column = self.column(schema, word, of);
        let number = match number {
            None => 0.0,
            Some(number) => number?,
        };
        let column = column?;
        let field = &schema.fields()[column];
        let takes: &[DataType] = match name {
            "sum" | "avg" | "quantile" | "stddev" => NUMBERS,
            "min" | "max" => COMPARABLE,
            _ => &DataType::ALL,
        };
        if !takes.contains(&field.data_type) {
            self.wrong_column(expression, name, field, takes);
            return None;
        }
        let own = field.data_type;
        Some(match name {
            "count" => (Builtin::Count(Some(column)), DataType::Int64, false),
            "sum" => (Builtin::Sum(column), own, true),
            "min" => (Builtin::Min(column), own, true),
            "max" => (Builtin::Max(column), own, true),
            "avg" => (Builtin::Avg(column), DataType::Float64, true),
            "first" => (Builtin::First(column), own, true),
            "last" => (Builtin::Last(column), own, true),
            "count_distinct" => (Builtin::CountDistinct(column), DataType::Int64, false),
            "quantile" => (Builtin::Quantile(column, number), DataType::Float64, true),
            "top_k" => (Builtin::TopK(column, number as u32), DataType::Json, false),
            "stddev" => (Builtin::Stddev(column), DataType::Float64, true),
            _ => (Builtin::ArrayAgg(column), DataType::Json, false),
        })
    }

    fn unknown_function(&self, expression: &Expression, function: &str) {
        let meant = OTHER_NAMES.iter().find(|(others, _)| others.contains(&function));
        let help = match meant {
            Some((_, meant)) => {
                let form = FORMS
                    .iter()
                    .find(|(name, _)| name == meant)
                    .map_or("", |(_, form)| form);
                format!("here it is written {form}")
            }
            None => did_you_mean(function, "the functions are", FORMS.iter().map(|(name, _)| *name)),
        };
        self.problems().error(
            codes::UNKNOWN_AGGREGATE,
            format!("there is no aggregate function `{}`", expression.function.text),
            &expression.function.place,
            help,
        );
    }

    fn wrong_arguments<T>(&self, expression: &Expression, form: &str) -> Option<T> {
        let place = match expression.arguments.as_slice() {
            [argument] => argument.place(),
            _ => &expression.place,
        };
        self.problems().error(
            codes::AGGREGATE_ARGUMENTS,
            format!("the arguments of `{}` do not fit", expression.function.text),
            place,
            format!("it is written {form}"),
        );
        None
    }

    fn number(&self, expression: &Expression, name: &str, form: &str, argument: &Argument) -> Option<f64> {
        let Argument::Number { value, word } = argument else {
            return self.wrong_arguments(expression, form);
        };
        let (fits, range) = if name == "quantile" {
            (
                (0.0..=1.0).contains(value),
                "a quantile lies between 0 and 1; 0.5 is the median".to_owned(),
            )
        } else {
            let whole = value.fract() == 0.0 && (1.0..=f64::from(TOP_K_MAX)).contains(value);
            (whole, format!("it is a whole number between 1 and {TOP_K_MAX}"))
        };
        if !fits {
            self.problems().error(
                codes::AGGREGATE_ARGUMENTS,
                format!("`{name}` cannot take {}", word.text),
                &word.place,
                range,
            );
            return None;
        }
        Some(*value)
    }

    fn wrong_column(&self, expression: &Expression, name: &str, field: &Field, takes: &[DataType]) {
        let takes: Vec<&str> = takes.iter().map(|data_type| data_type.name()).collect();
        let place = expression.arguments.first().map_or(&expression.place, Argument::place);
        let help = match (field.data_type, name) {
            (DataType::Boolean, "sum") => "count what is true in a column of numbers, 0 or 1",
            (DataType::Utf8, _) => "declare the column with a numeric type, if it holds numbers",
            (DataType::Json, _) => "name the value inside by a `path` in the source's schema",
            _ => "aggregate another column",
        };
        self.problems().push(
            Diagnostic::error(
                codes::COLUMN_TYPE,
                format!("`{name}` cannot take `{}`, which is {}", field.name, field.data_type),
            )
            .at(place, format!("it takes {}", list(&takes)))
            .help(help),
        );
    }
}

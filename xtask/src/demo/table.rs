//! Rows as a table to read.

use std::fmt;

/// Cells of text, the first row being the head. Columns of numbers stand to the right.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    numeric: Vec<bool>,
}

impl Table {
    /// Of the first rows of JSON lines.
    pub(super) fn of_json_lines(text: &str, columns: &[&str], rows: usize) -> Self {
        let rows = text.lines().take(rows).map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
            let cell = |column: &&str| match &row[*column] {
                serde_json::Value::String(text) => text.clone(),
                serde_json::Value::Null => String::new(),
                value => value.to_string(),
            };
            columns.iter().map(cell).collect()
        });
        Self::new(columns, rows)
    }

    /// Of the first rows of a CSV file with a head and without quotes.
    pub(super) fn of_csv(text: &str, columns: &[&str], rows: usize) -> Self {
        let mut lines = text.lines();
        let head: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
        let places: Vec<_> = columns
            .iter()
            .map(|column| head.iter().position(|name| name == column))
            .collect();
        let rows = lines.take(rows).map(|line| {
            let cells: Vec<&str> = line.split(',').collect();
            let cell = |place: &Option<usize>| place.and_then(|place| cells.get(place)).copied().unwrap_or_default();
            places.iter().map(|place| cell(place).to_owned()).collect()
        });
        Self::new(columns, rows)
    }

    fn new(columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Self {
        let body: Vec<Vec<String>> = rows.collect();
        let is_number = |row: &Vec<String>, column: usize| row[column].is_empty() || row[column].parse::<f64>().is_ok();
        let numeric = (0..columns.len())
            .map(|column| body.iter().all(|row| is_number(row, column)))
            .collect();
        let head = columns.iter().map(|column| column.replace('_', " ")).collect();
        let body = body.into_iter().map(|row| row.into_iter().map(rounded).collect());
        Self {
            rows: std::iter::once(head).chain(body).collect(),
            numeric,
        }
    }
}

/// A fraction with one digit; other text as it is.
fn rounded(text: String) -> String {
    match text.parse::<f64>() {
        Ok(number) if text.contains('.') => format!("{number:.1}"),
        _ => text,
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| self.rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.numeric.len()).map(width).collect();
        for row in &self.rows {
            let cells = row
                .iter()
                .zip(&widths)
                .zip(&self.numeric)
                .map(|((cell, &width), &numeric)| {
                    if numeric {
                        format!("{cell:>width$}")
                    } else {
                        format!("{cell:width$}")
                    }
                });
            let line = cells.collect::<Vec<_>>().join("  ");
            writeln!(f, "  {}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_to_the_right_and_have_one_digit() {
        let text = "{\"a\":\"x\",\"b\":1,\"c\":2.25}\n{\"a\":\"yyy\",\"b\":100,\"c\":null}\n{\"a\":\"not shown\"}\n";
        let table = Table::of_json_lines(text, &["a", "b", "c"], 2);
        assert_eq!(table.to_string(), "  a      b    c\n  x      1  2.2\n  yyy  100\n");
    }

    #[test]
    fn columns_of_csv_are_found_by_their_names() {
        let table = Table::of_csv("a,b_c,d\n1,x,3\n", &["d", "b_c"], 5);
        assert_eq!(table.to_string(), "  d  b c\n  3  x\n");
    }
}

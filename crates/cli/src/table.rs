//! Tables for a terminal.

/// Rows, the first of which is the header, in columns as wide as they need to be; those in `right`
/// are numbers.
pub(crate) fn lines<R: AsRef<[String]>>(rows: &[R], right: impl Fn(usize) -> bool) -> Vec<String> {
    let columns = rows.iter().map(|row| row.as_ref().len()).max().unwrap_or(0);
    let cells = |column: usize| rows.iter().filter_map(move |row| row.as_ref().get(column));
    let widths: Vec<usize> = (0..columns)
        .map(|column| cells(column).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let line = |row: &R| {
        let cells =
            row.as_ref().iter().zip(&widths).enumerate().map(
                |(column, (cell, width))| match right(column) {
                    true => format!("{cell:>width$}"),
                    false => format!("{cell:width$}"),
                },
            );
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_right_and_texts_left() {
        let rows = [["topic", "records"], ["größe", "7"], ["b", "12345678"]]
            .map(|row| row.map(String::from));
        assert_eq!(
            lines(&rows, |column| column == 1),
            ["topic   records", "größe         7", "b      12345678"]
        );
    }
}

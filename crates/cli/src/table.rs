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
        let cells = row.as_ref().iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            // Not `{:width$}`, which panics on widths above 65,535.
            let space = " ".repeat(width.saturating_sub(cell.chars().count()));
            match right(column) {
                true => space + cell,
                false => cell.clone() + &space,
            }
        });
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

    #[test]
    fn a_cell_of_any_length_is_a_cell() {
        for length in [0, 1, 65_535, 65_536, 1 << 20] {
            let rows = [["name".to_owned(), "x".to_owned()], ["é".repeat(length), "y".to_owned()]];
            for right in [true, false] {
                let lines = lines(&rows, |_| right);
                assert_eq!(lines[1].chars().count(), length.max(4) + 3, "{length}");
            }
        }
    }
}

//! The result of a query, between the database and the metrics: column names, and rows of text cells as the
//! server wrote them.

/// Rows of optional texts under named columns. One buffer holds the text of all cells, so a result with
/// thousands of rows takes little more memory than its text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    columns: Vec<String>,
    text: String,
    /// The end of each cell in `text`, row after row. A cell begins at the end of the previous one.
    cells: Vec<Cell>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cell {
    end: usize,
    null: bool,
}

impl Table {
    /// An empty table with these columns. As in SQL, a name may repeat.
    pub fn new(columns: Vec<String>) -> Self {
        Self { columns, ..Self::default() }
    }

    /// Adds a row. Cells beyond the columns are ignored, missing ones are NULL.
    pub fn push_row<'a>(&mut self, cells: impl IntoIterator<Item = Option<&'a str>>) {
        let mut cells = cells.into_iter();
        for _ in 0..self.columns.len() {
            let cell = cells.next().flatten();
            self.text.push_str(cell.unwrap_or_default());
            self.cells.push(Cell { end: self.text.len(), null: cell.is_none() });
        }
    }

    /// The names of the columns, in the order of the result.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The number of rows. A result without columns has none.
    pub fn row_count(&self) -> usize {
        self.cells.len().checked_div(self.columns.len()).unwrap_or(0)
    }

    /// The size of all cells' text in bytes.
    pub fn text_bytes(&self) -> usize {
        self.text.len()
    }

    /// The rows, each a list of cells in the order of the columns; `None` is NULL.
    pub fn rows(&self) -> impl Iterator<Item = Vec<Option<&str>>> {
        let mut begin = 0;
        self.cells.chunks(self.columns.len().max(1)).map(move |row| {
            row.iter()
                .map(|cell| {
                    let text = self.text.get(begin..cell.end);
                    begin = cell.end;
                    text.filter(|_| !cell.null)
                })
                .collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_come_back_as_they_went_in() {
        let mut table = Table::new(vec!["a".into(), "b".into()]);
        table.push_row([Some("1"), None]);
        table.push_row([Some(""), Some("zwei\n")]);
        let rows: Vec<_> = table.rows().collect();
        assert_eq!(rows, [vec![Some("1"), None], vec![Some(""), Some("zwei\n")]]);
        assert_eq!((table.row_count(), table.text_bytes()), (2, 6));
    }

    #[test]
    fn a_row_always_has_one_cell_for_each_column() {
        let mut table = Table::new(vec!["a".into(), "b".into()]);
        table.push_row([Some("1"), Some("2"), Some("3")]);
        table.push_row([Some("4")]);
        let rows: Vec<_> = table.rows().collect();
        assert_eq!(rows, [vec![Some("1"), Some("2")], vec![Some("4"), None]]);
    }

    #[test]
    fn a_result_without_columns_has_no_rows() {
        let mut table = Table::new(vec![]);
        table.push_row([]);
        assert_eq!((table.row_count(), table.rows().count()), (0, 0));
    }
}

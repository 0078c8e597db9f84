//! The rows of a result: cells of text as the server wrote them.

/// One cell for each column of a result; `None` is NULL.
pub(crate) type Cells<'a> = [Option<&'a str>];

/// Takes the rows of a result as they arrive.
pub trait Rows {
    /// A result with these columns follows. It replaces an earlier one. As in SQL, a name may repeat.
    fn begin(&mut self, columns: Vec<String>);

    /// Takes a row.
    ///
    /// # Errors
    /// The rows take more memory than they may.
    fn row(&mut self, cells: &Cells<'_>) -> Result<(), TooLarge>;
}

/// A result takes more memory than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge;

/// A small result as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows, each with one cell for each column.
    pub rows: Vec<Vec<Option<String>>>,
    bytes: usize,
}

/// The most text that a [`Table`] holds.
const TABLE_BYTES_MAX: usize = 16 << 20;

impl Table {
    /// The first cell of the first row.
    pub fn first_cell(&self) -> Option<&str> {
        self.rows.first()?.first()?.as_deref()
    }
}

impl Rows for Table {
    fn begin(&mut self, columns: Vec<String>) {
        *self = Self { columns, ..Self::default() };
    }

    fn row(&mut self, cells: &Cells<'_>) -> Result<(), TooLarge> {
        self.bytes += cells.iter().map(|cell| size_of::<String>() + cell.map_or(0, str::len)).sum::<usize>();
        if self.bytes > TABLE_BYTES_MAX {
            return Err(TooLarge);
        }
        self.rows.push(cells.iter().map(|cell| cell.map(str::to_owned)).collect());
        Ok(())
    }
}

//! Standard output and standard error. The reader may close either at any time.

use std::io::{self, ErrorKind, Write};

use anyhow::{Context, Result};

use super::colour::coloured;
use crate::log::escaped;

/// Standard output. After the reader has closed it (`… | head`), output is discarded. The command continues,
/// since its exit status still counts.
#[derive(Debug)]
pub(super) struct Output {
    is_coloured: bool,
    closed: bool,
}

impl Output {
    pub(super) fn new(is_coloured: bool) -> Self {
        Self { is_coloured, closed: false }
    }

    /// Prints lines of a report at once. Lines that begin with `error: ` or `warning: ` are coloured.
    ///
    /// # Errors
    /// As for [`Output::print`].
    pub(super) fn print_report(&mut self, lines: &str) -> Result<()> {
        match self.is_coloured {
            true => self.print(&coloured(lines)),
            false => self.print(lines),
        }
    }

    /// Prints `text` at once.
    ///
    /// # Errors
    /// Writing failed, except if the reader has closed the output.
    pub(super) fn print(&mut self, text: &str) -> Result<()> {
        if self.closed {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            written => written.context("cannot write to standard output"),
        }
    }
}

/// Prints the lines of `text` to standard error. Ignores errors, since they could not be reported.
pub(super) fn complain(text: &str) {
    let lines: String = text.lines().map(|line| format!("{}\n", escaped(line))).collect();
    let _ = io::stderr().write_all(lines.as_bytes());
}

/// `text` in one line, without characters that move the cursor of a terminal.
pub(super) fn printable(text: &str) -> String {
    escaped(text).into_owned()
}

/// Rows of cells as a table. Each column is as wide as its widest cell, in characters.
pub(super) fn aligned(rows: &[Vec<String>]) -> String {
    let width = |text: &String| text.chars().count();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns)
        .map(|i| rows.iter().filter_map(|row| row.get(i)).map(width).max().unwrap_or(0))
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("  {}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// `1 query`, `2 queries`.
pub(super) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_in_characters() {
        let row = |cells: &[&str]| cells.iter().map(|&cell| cell.to_owned()).collect::<Vec<_>>();
        let rows = [row(&["größe", "x", "1"]), row(&["a", "long"]), row(&["", "", "2"])];
        assert_eq!(aligned(&rows), "  größe  x     1\n  a      long\n               2\n");
        assert_eq!(aligned(&[]), "");
    }
}

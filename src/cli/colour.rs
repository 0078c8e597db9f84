//! Colours the words `error` and `warning` in a terminal.

use std::io::{self, IsTerminal, Write};

/// A word at the beginning of a line of `check` or of the log, the text after it, and its colour (ECMA-48,
/// SGR).
const WORDS: &[(&str, &str, &str)] =
    &[("error", ": ", "1;31"), ("warning", ": ", "1;33"), ("ERROR", " ", "1;31"), ("WARN", " ", "1;33")];

/// Whether `stream` shows colours: it is a terminal, and neither `NO_COLOR` (no-color.org) nor `TERM` forbids
/// them.
pub(super) fn is_wanted(stream: &impl IsTerminal, lookup: impl Fn(&str) -> Option<String>) -> bool {
    stream.is_terminal()
        && lookup("NO_COLOR").is_none_or(|value| value.is_empty())
        && lookup("TERM").as_deref() != Some("dumb")
}

/// `text` with its first word in colour, if it is one of the words.
pub(super) fn coloured(text: &str) -> String {
    let line = |line: &str| coloured_line(line).unwrap_or_else(|| line.to_owned());
    text.split_inclusive('\n').map(line).collect()
}

fn coloured_line(line: &str) -> Option<String> {
    let text = line.trim_start_matches(' ');
    let indent = line.strip_suffix(text)?;
    WORDS.iter().find_map(|(word, end, colour)| {
        let rest = text.strip_prefix(word)?;
        // A column in the table may have such a name. Its cell is followed by at least two spaces.
        let is_message = !rest.strip_prefix(end)?.starts_with(' ');
        is_message.then(|| format!("{indent}\u{1b}[{colour}m{word}\u{1b}[0m{rest}"))
    })
}

/// Standard error for the log, which writes each event at once.
pub(super) struct Log {
    pub(super) is_coloured: bool,
}

impl Write for Log {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        match self.is_coloured {
            true => io::stderr().write_all(coloured(&String::from_utf8_lossy(event)).as_bytes())?,
            false => io::stderr().write_all(event)?,
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

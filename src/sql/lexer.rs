//! PostgreSQL's lexical structure (documentation, section 4.1, and `scan.l`): strings, comments and words,
//! without their meaning.

/// A piece of SQL that is neither white space nor comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    /// Where the token begins, in bytes.
    pub(super) start: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A keyword or an identifier without quotes.
    Word,
    /// The end of a statement.
    Semicolon,
    /// A string, a quoted identifier, or any other single character.
    Other,
}

/// A string, quoted identifier or comment without an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unterminated {
    pub(super) construct: &'static str,
    /// Where it begins, in bytes.
    pub(super) start: usize,
}

/// Reads one token after the other.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    ends_in_comment: bool,
    needs_standard_strings: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, ends_in_comment: false, needs_standard_strings: false }
    }

    /// Whether the text ends within a `--` comment, which would swallow appended text. Only known at the end
    /// of the text.
    pub(super) fn ends_in_comment(&self) -> bool {
        self.ends_in_comment
    }

    /// Whether a string so far ends elsewhere with `standard_conforming_strings = off`, where a backslash
    /// escapes the next character. The ends only differ if an odd number of backslashes is before a quote.
    /// (`B'…'` and `X'…'` do not depend on the setting, and `U&'…'` is an error if it is off; they count all
    /// the same.)
    pub(super) fn needs_standard_strings(&self) -> bool {
        self.needs_standard_strings
    }

    /// The next token; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Token<'a>>, Unterminated> {
        self.skip_blank()?;
        let start = self.at;
        let kind = match self.peek(0) {
            None => return Ok(None),
            Some(b';') => self.single(Kind::Semicolon),
            Some(b'\'') => self.quoted(b'\'', "a string")?,
            Some(b'"') => self.quoted(b'"', "a quoted identifier")?,
            Some(b'$') => self.dollar()?,
            Some(c) if begins_word(c) => self.word()?,
            Some(_) => self.single(Kind::Other),
        };
        let text = self.text.get(start..self.at).unwrap_or_default();
        Ok(Some(Token { kind, text, start }))
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    fn single(&mut self, kind: Kind) -> Kind {
        self.at += 1;
        kind
    }

    fn skip_blank(&mut self) -> Result<(), Unterminated> {
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(c), _) if is_space(c) => self.at += 1,
                (Some(b'-'), Some(b'-')) => self.ends_in_comment = self.skip_line_comment(),
                (Some(b'/'), Some(b'*')) => self.skip_block_comment()?,
                _ => return Ok(()),
            }
        }
    }

    /// Stops before the end of the line. True if the text ends first.
    fn skip_line_comment(&mut self) -> bool {
        while let Some(c) = self.peek(0) {
            if is_newline(c) {
                return false;
            }
            self.at += 1;
        }
        true
    }

    fn skip_block_comment(&mut self) -> Result<(), Unterminated> {
        let start = self.at;
        let mut depth = 0_usize;
        loop {
            match (self.peek(0), self.peek(1)) {
                (None, _) => return Err(Unterminated { construct: "a comment", start }),
                (Some(b'/'), Some(b'*')) => {
                    depth += 1;
                    self.at += 2;
                }
                (Some(b'*'), Some(b'/')) => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                _ => self.at += 1,
            }
        }
    }

    /// A string or a quoted identifier, in which a doubled quote is a quote.
    fn quoted(&mut self, quote: u8, construct: &'static str) -> Result<Kind, Unterminated> {
        let start = self.at;
        self.at += 1;
        let mut is_escaped = false;
        loop {
            let c = self.peek(0).ok_or(Unterminated { construct, start })?;
            if c == quote {
                self.needs_standard_strings |= is_escaped && quote == b'\'';
                if self.peek(1) != Some(quote) {
                    return Ok(self.single(Kind::Other));
                }
                self.at += 1;
            }
            is_escaped = c == b'\\' && !is_escaped;
            self.at += 1;
        }
    }

    /// The quotes of `E'…'`, in which a backslash escapes the next character. Such a literal may continue
    /// after a line break, and its backslashes still escape.
    fn escaped(&mut self) -> Result<Kind, Unterminated> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek(0) {
                None => return Err(Unterminated { construct: "a string", start }),
                Some(b'\\') => self.at += 2,
                Some(b'\'') if self.peek(1) == Some(b'\'') => self.at += 2,
                Some(b'\'') => {
                    self.at += 1;
                    if !self.skip_to_continuation() {
                        return Ok(Kind::Other);
                    }
                }
                Some(_) => self.at += 1,
            }
        }
    }

    /// Skips to after the opening quote of the literal's next part, if there is one. Between the parts are
    /// spaces, `--` comments and at least one line break. Otherwise nothing is skipped.
    fn skip_to_continuation(&mut self) -> bool {
        let end = self.at;
        let mut broken = false;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(c), _) if is_space(c) => {
                    broken |= is_newline(c);
                    self.at += 1;
                }
                (Some(b'-'), Some(b'-')) => {
                    self.skip_line_comment();
                }
                (Some(b'\''), _) if broken => {
                    self.at += 1;
                    return true;
                }
                _ => {
                    self.at = end;
                    return false;
                }
            }
        }
    }

    /// `$tag$…$tag$`, or a `$` that begins no string.
    fn dollar(&mut self) -> Result<Kind, Unterminated> {
        let start = self.at;
        let mut length = 1;
        if self.peek(1).is_some_and(begins_word) {
            while self.peek(length).is_some_and(|c| continues_word(c) && c != b'$') {
                length += 1;
            }
        }
        if self.peek(length) != Some(b'$') {
            return Ok(self.single(Kind::Other));
        }
        let body = start + length + 1;
        let delimiter = self.text.get(start..body).unwrap_or_default();
        let end = self.text.get(body..).and_then(|rest| rest.find(delimiter));
        let end = end.ok_or(Unterminated { construct: "a dollar-quoted string", start })?;
        self.at = body + end + delimiter.len();
        Ok(Kind::Other)
    }

    fn word(&mut self) -> Result<Kind, Unterminated> {
        let first = self.peek(0);
        let start = self.at;
        while self.peek(0).is_some_and(continues_word) {
            self.at += 1;
        }
        let is_e = self.at == start + 1 && matches!(first, Some(b'e' | b'E'));
        if is_e && self.peek(0) == Some(b'\'') { self.escaped() } else { Ok(Kind::Word) }
    }
}

fn is_newline(c: u8) -> bool {
    matches!(c, b'\n' | b'\r')
}

fn is_space(c: u8) -> bool {
    matches!(c, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn begins_word(c: u8) -> bool {
    c.is_ascii_alphabetic() || c == b'_' || !c.is_ascii()
}

fn continues_word(c: u8) -> bool {
    begins_word(c) || c.is_ascii_digit() || c == b'$'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Result<Vec<&str>, Unterminated> {
        let mut lexer = Lexer::new(text);
        let mut found = Vec::new();
        while let Some(token) = lexer.next()? {
            found.push(token.text);
        }
        Ok(found)
    }

    #[test]
    fn quotes_comments_and_words_end_where_postgresql_ends_them() {
        let table: &[(&str, &[&str])] = &[
            ("a'b;''c'd", &["a", "'b;''c'", "d"]),
            (r"'\';b", &[r"'\'", ";", "b"]),
            (r"E'\'';b", &[r"E'\''", ";", "b"]),
            (r"e'a\\';b", &[r"e'a\\'", ";", "b"]),
            (r"abcE'\';b", &["abcE", r"'\'", ";", "b"]),
            ("E'a'\n -- x'\n 'b\\';c';d", &["E'a'\n -- x'\n 'b\\';c'", ";", "d"]),
            ("E'a' 'b\\';c", &["E'a'", "'b\\'", ";", "c"]),
            ("E'a' /*\n*/ 'b\\';c", &["E'a'", "'b\\'", ";", "c"]),
            (r#"U&"d\0061;""x""#, &["U", "&", r#""d\0061;""x""#]),
            ("U&'\\' UESCAPE '!'", &["U", "&", "'\\'", "UESCAPE", "'!'"]),
            ("$$a;$b$;$$c", &["$$a;$b$;$$", "c"]),
            ("$a$;$$;$b$;$a$;", &["$a$;$$;$b$;$a$", ";"]),
            ("$a$ $$a$;", &["$a$ $$a$", ";"]),
            ("a$b$;c$b$", &["a$b$", ";", "c$b$"]),
            ("$1;$é$;$é$", &["$", "1", ";", "$é$;$é$"]),
            ("1$a$;$a$", &["1", "$a$;$a$"]),
            ("$1a$;$1a$", &["$", "1", "a$", ";", "$", "1", "a$"]),
            ("a--;b\nc", &["a", "c"]),
            ("a--;b\rc", &["a", "c"]),
            ("a+--b\nc", &["a", "+", "c"]),
            ("a/* /* ; */ ; */b", &["a", "b"]),
            ("5*/*x*/3", &["5", "*", "3"]),
            ("/*/**/*/a", &["a"]),
            ("/***/a", &["a"]),
            ("größe\u{a0}x", &["größe\u{a0}x"]),
            ("'ä'", &["'ä'"]),
        ];
        for (text, expected) in table {
            assert_eq!(tokens(text).as_deref(), Ok(*expected), "{text}");
        }
    }

    #[test]
    fn what_does_not_end_is_named_with_its_beginning() {
        let table = [
            ("a 'b", "a string", 2),
            ("'''", "a string", 0),
            (r"E'\'", "a string", 1),
            (r"E'\", "a string", 1),
            ("E'a'\n'b", "a string", 1),
            (" \"a\"\"", "a quoted identifier", 1),
            ("$a$ $A$", "a dollar-quoted string", 0),
            ("$$", "a dollar-quoted string", 0),
            ("a /* /* */", "a comment", 2),
            ("/*/", "a comment", 0),
        ];
        for (text, construct, start) in table {
            assert_eq!(tokens(text), Err(Unterminated { construct, start }), "{text}");
        }
    }
}

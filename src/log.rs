//! Where the log goes, what must not get into it, and the form in which all of it is printed.

use std::borrow::Cow;
use std::io::{self, Write};

use lambda_http::tracing::subscriber::filter::{Directive, EnvFilter, LevelFilter, filter_fn};
use lambda_http::tracing::subscriber::fmt::MakeWriter;
use lambda_http::tracing::subscriber::layer::{Layer, SubscriberExt as _};
use lambda_http::tracing::subscriber::util::SubscriberInitExt as _;
use lambda_http::tracing::subscriber::{Registry, fmt, registry};
use lambda_http::tracing::{Level, Metadata};

use crate::settings::LogSettings;

/// The function's log: on standard output, as Lambda's logging controls (`AWS_LAMBDA_LOG_LEVEL`,
/// `AWS_LAMBDA_LOG_FORMAT`) or `RUST_LOG` ask for it. This is what lambda_http does by default, except for what
/// [`may_be_logged`] leaves out and [`escaped`] changes.
pub(crate) fn init(settings: &LogSettings) {
    let level = settings.level.as_ref().or(settings.directives.as_ref());
    start(settings, level, LevelFilter::INFO, lines(settings.is_json, io::stdout));
}

/// The command line's log: without `RUST_LOG` or `AWS_LAMBDA_LOG_LEVEL` only warnings and
/// errors, because the results are on standard output. `output` is standard error, and may colour a line.
pub(crate) fn init_command_line<W: Write + 'static>(
    settings: &LogSettings,
    output: impl Fn() -> W + Send + Sync + 'static,
) {
    start(settings, settings.level.as_ref(), LevelFilter::WARN, lines(false, output));
}

type Lines = Box<dyn Layer<Registry> + Send + Sync>;

/// The layer that prints each event as one line.
fn lines<W: Write + 'static>(is_json: bool, output: impl Fn() -> W + Send + Sync + 'static) -> Lines {
    let lines = fmt::layer().with_target(false).log_internal_errors(false).with_writer(Escaping(output));
    // Lambda puts the time before a line of text. In JSON it reads the time of the line, in RFC 3339. A line without a time
    // counts as INFO (AWS Lambda developer guide, "Log-level filtering").
    if is_json { lines.json().boxed() } else { lines.without_time().boxed() }
}

fn start(settings: &LogSettings, level: Option<&String>, default: LevelFilter, lines: Lines) {
    let level = level.and_then(|level| level.parse().ok()).unwrap_or(default);
    let asked_for = settings.directives.as_deref().unwrap_or_default();
    // The filter prints unreadable directives to standard error, unescaped.
    let (readable, unreadable): (Vec<_>, Vec<_>) = asked_for
        .split(',')
        .filter(|directive| !directive.is_empty())
        .partition(|directive| directive.parse::<Directive>().is_ok());
    let filter = EnvFilter::builder().with_default_directive(level.into());
    let filter = filter.parse_lossy(readable.join(","));
    registry().with(lines).with(filter).with(filter_fn(may_be_logged)).init();
    if !unreadable.is_empty() {
        tracing::warn!("RUST_LOG holds a directive that cannot be read; it is ignored");
    }
    // A panic's message may quote the value that it is about.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic");
    }));
}

/// At the level TRACE the runtime prints the events as they arrive, with the caller's `Authorization`. The AWS SDK prints,
/// at any level, whole answers and files that it could not read, with the secrets in them, and at TRACE session tokens:
/// of it, only what it says of settings is logged. Failures are in the errors that it returns.
fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    const OF_SETTINGS: [&str; 2] = ["aws_config::default_provider", "aws_config::provider_config"];
    match metadata.target() {
        target if target.starts_with("lambda_runtime") => *metadata.level() < Level::TRACE,
        target if target.starts_with("aws_") => OF_SETTINGS.iter().any(|module| target.starts_with(module)),
        _ => true,
    }
}

/// `text` with an escape in place of each character that ends a line, moves the cursor, or changes what a reader sees of
/// others. The escapes are those of JSON, so that a line of JSON keeps its meaning.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(is_escaped) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            c if is_escaped(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    escaped += &format!("\\u{unit:04x}");
                }
            }
            c => escaped.push(c),
        }
    }
    escaped.into()
}

/// Control characters, the separators of lines and paragraphs, and what is invisible or changes the direction of text
/// (general category Cf of Unicode, except the signs of it that are visible).
fn is_escaped(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{1D173}'..='\u{1D17A}'
            | '\u{E0000}'..='\u{E007F}')
}

/// Makes writers that print each event [`escaped`].
struct Escaping<F>(F);

impl<W: Write, F: Fn() -> W> MakeWriter<'_> for Escaping<F> {
    type Writer = EscapingWriter<W>;

    fn make_writer(&self) -> Self::Writer {
        EscapingWriter(self.0())
    }
}

/// Takes one event at a time, and leaves it no line break but that at its end.
struct EscapingWriter<W>(W);

impl<W: Write> Write for EscapingWriter<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        self.0.write_all(format!("{}\n", escaped(line)).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Printed(Arc<Mutex<Vec<u8>>>);

    impl Write for Printed {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The printed line of an event that has `text` in each place where an event can have text.
    fn printed(is_json: bool, text: &str) -> String {
        let printed = Printed::default();
        let output = printed.clone();
        let subscriber = registry().with(lines(is_json, move || output.clone()));
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("span", inside = text);
            let _entered = span.enter();
            tracing::error!(plain = text, shown = %text, debugged = ?text, "message {text}");
        });
        String::from_utf8(printed.0.lock().unwrap().clone()).unwrap()
    }

    /// C0, DEL, C1, the separators of lines and paragraphs, the marks of direction, and what is invisible.
    fn may_forge(c: char) -> bool {
        matches!(u32::from(c),
            0..0x20 | 0x7F..0xA0 | 0x2028 | 0x2029 | 0x61C | 0x200B..=0x200F | 0x202A..=0x202E
            | 0x2060..=0x206F | 0xFEFF | 0xE0001 | 0xE0020..=0xE007F)
    }

    #[test]
    fn no_character_can_forge_a_line_in_either_format() {
        // In other blocks of Unicode there are only letters, marks and signs.
        let blocks = [
            '\0'..='\u{3000}',
            '\u{F000}'..='\u{FFFF}',
            '\u{1D100}'..='\u{1D200}',
            '\u{E0000}'..='\u{E0200}',
        ];
        let all: Vec<char> = blocks.into_iter().flatten().collect();
        for text in all.chunks(1000).map(|some| some.iter().collect::<String>()) {
            for is_json in [false, true] {
                let printed = printed(is_json, &text);
                let line = printed.strip_suffix('\n').unwrap();
                assert_eq!(line.chars().find(|&c| may_forge(c)), None, "{line}");
            }
            let line: serde_json::Value = serde_json::from_str(&printed(true, &text)).unwrap();
            assert_eq!(line["fields"]["message"], format!("message {text}"));
            assert_eq!([&line["fields"]["plain"], &line["fields"]["shown"]], [&text, &text]);
            assert_eq!(line["span"]["inside"], text);
        }
    }

    #[test]
    fn escapes_are_those_of_json_and_other_text_stays() {
        assert_eq!(escaped("Relation »t« \\n €🎉"), "Relation »t« \\n €🎉");
        assert_eq!(
            escaped("a\r\n\tb\u{1b}[31m\u{85}\u{202e}\u{e0001}"),
            r"a\r\n\tb\u001b[31m\u0085\u202e\udb40\udc01"
        );
    }
}

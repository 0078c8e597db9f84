//! `make lint` finds each phrase of tests/prose/banned.txt, and nothing else.

use std::fs;
use std::path::Path;
use std::process::Command;

/// A sentence for each line of banned.txt, in its order.
const BANNED: [&str; 25] = [
    "Here nobody may scrape.",
    "The token is for whoever scrapes.",
    "The file is written anew.",
    "It lies beside the program.",
    "An empty variable is as good as none.",
    "This is what becomes of each column.",
    "The service hands it on to the function.",
    "A word tells the two apart.",
    "It comes to 1 dollar.",
    "Writes stop for want of a vacuum.",
    "It ends without a word.",
    "The limit is said by a variable.",
    "It stands for its default.",
    "The name stood in the file.",
    "A test has a database of its own.",
    "Sequences are no statistics.",
    "The log says what is wrong.",
    "You never hear of it.",
    "Two are there, of which one runs.",
    "It is that which runs.",
    "It runs those that match.",
    "What is too large is left out.",
    "Of each result the rows are counted.",
    "That is a mistake.",
    "Those are rows.",
];

#[test]
fn every_banned_phrase_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let patterns = fs::read_to_string(root().join("tests/prose/banned.txt")).unwrap();
    let patterns = patterns.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    assert_eq!(patterns.count(), BANNED.len(), "a sentence for each pattern");
    let mut expected = vec![];
    for (index, sentence) in BANNED.into_iter().enumerate() {
        // Comments and texts go on in the next line.
        let comment = sentence.replace(' ', "\n/// ");
        let text = sentence.replace(' ', " \\\n    ");
        for (name, content, line) in [
            ("page.md", format!("# Title\n\n{}\n", sentence.replace(' ', "\n")), 3),
            ("list.md", format!("- One.\n- {sentence}\n"), 2),
            ("table.md", format!("| a | b |\n|---|---|\n| a | {sentence} |\n"), 3),
            ("comment.rs", format!("\n/// It runs. {comment}\nfn run() {{}}\n"), 2),
            ("text.rs", format!("const QUOTE: char = '\"';\nconst HELP: &str = \"{text}\";\n"), 2),
        ] {
            let file = folder.path().join(format!("{index}_{name}"));
            fs::write(&file, content).unwrap();
            expected.push(format!("{}:{line}: ", file.display()));
        }
    }
    let (status, found) = check(folder.path());
    let missed: Vec<_> =
        expected.iter().filter(|place| !found.lines().any(|line| line.starts_with(*place))).collect();
    assert!(status == 1 && missed.is_empty(), "{missed:?}");
}

#[test]
fn other_sentences_and_code_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let markdown = "\
There is no server. The stand-in is no longer there. Ask what it is: a list of names. The file says that it is new.

`nobody` and [a link](beside/anew.md)

```sh
whoever --stands
```
";
    let rust = "\
/// It is `anew`, and what follows.
fn beside(stands: u8, nobody: u8) -> u8 {
    // The beginning
    // of a sentence
    match stands { 0 => nobody, _ => 1 }
}
";
    for (name, content) in [("page.md", markdown), ("code.rs", rust)] {
        fs::write(folder.path().join(name), content).unwrap();
    }
    assert_eq!(check(folder.path()), (0, String::new()));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The exit status, and what was found.
fn check(path: &Path) -> (i32, String) {
    let output = Command::new("python3").arg(root().join("tests/prose/check.py")).arg(path).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

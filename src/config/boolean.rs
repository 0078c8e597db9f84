//! The words for a boolean: a file has `true` or `yes`, a setting `on`, and PostgreSQL sends `t`.

/// Whether `text` is a word for true or for false.
pub(super) fn boolean(text: &str) -> Option<bool> {
    let is_one_of = |words: [&str; 4]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    match () {
        () if is_one_of(["true", "t", "on", "yes"]) => Some(true),
        () if is_one_of(["false", "f", "off", "no"]) => Some(false),
        () => None,
    }
}

/// The index of the key that equals `text` or, if none does, of the first that is the same boolean.
pub(crate) fn matching_key<'k>(keys: impl Iterator<Item = &'k str> + Clone, text: &str) -> Option<usize> {
    keys.clone().position(|key| key == text).or_else(|| {
        let truth = boolean(text)?;
        keys.clone().position(|key| boolean(key) == Some(truth))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_have_four_words_each_in_any_case() {
        for (words, truth) in [(["true", "t", "on", "yes"], true), (["false", "f", "off", "no"], false)] {
            for word in words {
                assert_eq!(boolean(word), Some(truth), "{word}");
                assert_eq!(boolean(&word.to_uppercase()), Some(truth), "{word}");
            }
        }
        for text in ["", "y", "n", "1", "0", "null", "on ", "truе", "enabled"] {
            assert_eq!(boolean(text), None, "{text}");
        }
    }

    #[test]
    fn the_text_itself_matches_before_its_truth_value() {
        let keys = ["on", "always", "True", "off"];
        for (text, expected) in [
            ("on", Some(0)),
            ("always", Some(1)),
            ("True", Some(2)),
            ("t", Some(0)),
            ("no", Some(3)),
            ("Always", None),
            ("", None),
        ] {
            assert_eq!(matching_key(keys.into_iter(), text), expected, "{text}");
        }
    }
}

//! PostgreSQL's text of one-dimensional arrays (documentation, "Array Input and Output Syntax").

use std::borrow::Cow;

/// The elements of `{1,NULL,"a \"b\""}`, `None` for NULL. Bounds before the array (`[0:1]={…}`) are ignored.
/// Returns `None` if the text is not an array or has several dimensions.
pub(super) fn elements(text: &str) -> Option<Vec<Option<Cow<'_, str>>>> {
    let text = text.trim_ascii();
    let braced = match text.strip_prefix('[') {
        Some(bounds) => bounds.split_once("]=")?.1,
        None => text,
    };
    let mut rest = braced.strip_prefix('{')?.strip_suffix('}')?;
    let mut elements = Vec::new();
    if rest.is_empty() {
        return Some(elements);
    }
    loop {
        let (element, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_element(quoted)?,
            None => bare_element(rest)?,
        };
        elements.push(element);
        if after.is_empty() {
            return Some(elements);
        }
        rest = after.strip_prefix(',')?;
    }
}

type Element<'a> = (Option<Cow<'a, str>>, &'a str);

fn bare_element(text: &str) -> Option<Element<'_>> {
    let (element, after) = text.split_at_checked(text.find(',').unwrap_or(text.len()))?;
    let is_bare = !element.is_empty() && !element.contains(['{', '}', '"', '\\']);
    is_bare.then(|| ((element != "NULL").then_some(Cow::Borrowed(element)), after))
}

/// An element, after its opening quote.
fn quoted_element(text: &str) -> Option<Element<'_>> {
    let mut element = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => return Some((Some(Cow::Owned(element)), chars.as_str())),
            '\\' => element.push(chars.next()?),
            other => element.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Vec<Option<String>>> {
        Some(elements(text)?.into_iter().map(|element| element.map(Cow::into_owned)).collect())
    }

    fn some(texts: &[&str]) -> Option<Vec<Option<String>>> {
        Some(texts.iter().map(|text| (*text != "NULL").then(|| text.to_string())).collect())
    }

    #[test]
    fn arrays_as_postgresql_writes_them() {
        assert_eq!(read("{}"), some(&[]));
        assert_eq!(read("{1,2.5,NaN}"), some(&["1", "2.5", "NaN"]));
        assert_eq!(read("{1,NULL}"), some(&["1", "NULL"]));
        assert_eq!(read("[0:1]={1,2}"), some(&["1", "2"]));
        assert_eq!(read(r#"{"a,b","c\"d\\","1 day"}"#), some(&["a,b", "c\"d\\", "1 day"]));
        assert_eq!(read(r#"{"NULL",""}"#), Some(vec![Some("NULL".into()), Some(String::new())]));
    }

    #[test]
    fn other_text_is_no_array() {
        for text in [
            "",
            "1",
            "{",
            "}",
            "{1",
            "1}",
            "{1,}",
            "{,1}",
            "{{1},{2}}",
            "{\"a}",
            "{\"a\"b}",
            "[0:1]{1}",
            "{a\\}",
            "{1}}",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}

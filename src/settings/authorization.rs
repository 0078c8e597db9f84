//! The variables that configure who may scrape.

use super::{Problem, present};

/// Who may scrape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authorization {
    /// Authorization is missing, so every request but `/healthz` is denied.
    Locked,
    /// `AUTH=none`: every request is granted, because something in front of the function decides.
    Open,
    /// `AUTH_SECRET_ID`: requests that present a credential of this secret are granted.
    Secret {
        /// Its name or ARN.
        id: String,
    },
    /// `AUTH_TOKEN_SHA256`: requests that present a bearer token with one of these digests are granted.
    TokenDigests(Vec<[u8; 32]>),
}

impl Authorization {
    /// Reads `AUTH`, `AUTH_SECRET_ID` and `AUTH_TOKEN_SHA256` through `lookup`. An empty value counts as unset.
    ///
    /// # Errors
    /// `AUTH` is neither unset nor `none`, several variables are set, or a digest is not one.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Problem> {
        let read = present(lookup);
        let both =
            |first, second| Err(Problem::new(first, &format!("{second} is set too; set one of the two")));
        match (read("AUTH").as_deref(), read("AUTH_SECRET_ID"), read("AUTH_TOKEN_SHA256")) {
            (None, None, None) => Ok(Self::Locked),
            (None, Some(id), None) => Ok(Self::Secret { id }),
            (None, None, Some(digests)) => of_digests(&digests),
            (Some("none"), None, None) => Ok(Self::Open),
            (Some("none"), Some(_), _) => both("AUTH", "AUTH_SECRET_ID"),
            (Some("none"), None, Some(_)) => both("AUTH", "AUTH_TOKEN_SHA256"),
            (None, Some(_), Some(_)) => both("AUTH_TOKEN_SHA256", "AUTH_SECRET_ID"),
            (Some(_), _, _) => Err(Problem::new(
                "AUTH",
                "must be none or unset; to require a token, set AUTH_SECRET_ID or AUTH_TOKEN_SHA256 instead",
            )),
        }
    }
}

/// Digests in hexadecimal, separated by commas.
fn of_digests(text: &str) -> Result<Authorization, Problem> {
    let digests = text.split(',').enumerate().map(|(index, item)| {
        digest(item.trim()).ok_or_else(|| {
            let message = "must be 64 hexadecimal digits, the SHA-256 of a token without its line break";
            Problem::new("AUTH_TOKEN_SHA256", &format!("item {}: {message}", index + 1))
        })
    });
    digests.collect::<Result<_, _>>().map(Authorization::TokenDigests)
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    let (pairs, []) = hex.as_bytes().as_chunks::<2>() else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok();
    pairs.iter().map(byte).collect::<Option<Vec<_>>>()?.try_into().ok()
}

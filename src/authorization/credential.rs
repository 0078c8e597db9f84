//! The credential in a request's `Authorization` (RFC 9110, section 11.6.2): a bearer token (RFC 6750) or a
//! user and a password (RFC 7617). Only its digest is kept.

use std::fmt;

use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig};
use lambda_http::http::HeaderMap;
use lambda_http::http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// Clients may omit the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// How a credential is presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Bearer,
    Basic,
}

/// A presented or accepted credential: SHA-256 of the token, or of user, colon and password. All digests have one
/// length, so comparing two takes the same time whatever the credentials are.
#[derive(Clone)]
pub(crate) struct Credential {
    pub(super) scheme: Scheme,
    digest: [u8; 32],
}

impl Credential {
    /// The credential in the headers. None if `Authorization` is missing, appears twice or has another
    /// scheme.
    pub(crate) fn of_headers(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Self::of_header(value.as_bytes()),
            _ => None,
        }
    }

    fn of_header(value: &[u8]) -> Option<Self> {
        let value = value.trim_ascii();
        let (scheme, rest) = value.split_at_checked(value.iter().position(|&byte| byte == b' ')?)?;
        let rest = rest.trim_ascii_start();
        if scheme.eq_ignore_ascii_case(b"bearer") {
            Some(Self::new(Scheme::Bearer, rest))
        } else if scheme.eq_ignore_ascii_case(b"basic") {
            Some(Self::new(Scheme::Basic, &BASE64.decode(rest).ok()?))
        } else {
            None
        }
    }

    pub(super) fn bearer(token: &str) -> Self {
        Self::new(Scheme::Bearer, token.as_bytes())
    }

    pub(super) fn bearer_of_digest(digest: [u8; 32]) -> Self {
        Self { scheme: Scheme::Bearer, digest }
    }

    /// A colon ends the user, so `user` must not contain one.
    pub(super) fn basic(user: &str, password: &str) -> Self {
        Self::new(Scheme::Basic, format!("{user}:{password}").as_bytes())
    }

    fn new(scheme: Scheme, text: &[u8]) -> Self {
        Self { scheme, digest: Sha256::digest(text).into() }
    }

    /// Compares in constant time. The scheme is public.
    pub(super) fn matches(&self, other: &Self) -> Choice {
        self.digest.ct_eq(&other.digest) & Choice::from(u8::from(self.scheme == other.scheme))
    }
}

impl fmt::Debug for Credential {
    /// Omits the digest: a short password can be found from its digest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}([REDACTED])", self.scheme)
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
    use lambda_http::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn is(header: &[u8], expected: &Credential) -> bool {
        Credential::of_header(header).is_some_and(|presented| presented.matches(expected).into())
    }

    #[test]
    fn schemes_are_case_insensitive_and_spaces_do_not_count() {
        let token = Credential::bearer("abc");
        for header in ["Bearer abc", "bearer abc", "BEARER  abc", " bEaReR abc "] {
            assert!(is(header.as_bytes(), &token), "{header}");
        }
        let user = Credential::basic("me", "pa:ss");
        for header in ["Basic bWU6cGE6c3M=", "basic bWU6cGE6c3M", "BASIC   bWU6cGE6c3M= "] {
            assert!(is(header.as_bytes(), &user), "{header}");
        }
    }

    #[test]
    fn nothing_else_is_a_credential_or_the_same() {
        for header in [
            "",
            "Bearer",
            "Basic",
            "Bearer ",
            "abc",
            "Digest abc",
            "Basic bWU6cGE6c3M==",
            "Basic §",
            "\u{a0}",
        ] {
            assert!(Credential::of_header(header.as_bytes()).is_none(), "{header}");
        }
        let token = Credential::bearer("abc");
        for header in ["Bearer ab", "Bearer abcd", "Bearer ABC", "Bearer a bc", "Basic YWJj", "Bearer äbc"] {
            assert!(!is(header.as_bytes(), &token), "{header}");
        }
        assert!(!is(b"Bearer \xff\xfe", &token));
        assert!(!is(format!("Bearer {}", "abc".repeat(1 << 20)).as_bytes(), &token));
        assert!(!is(format!("Basic {}", "YWJj".repeat(1 << 20)).as_bytes(), &token));
    }

    #[test]
    fn a_token_matches_its_digest_and_a_password_never_does() {
        let accepted = Credential::bearer_of_digest(Sha256::digest("me:secret").into());
        assert!(is(b"Bearer me:secret", &accepted));
        assert!(!is(b"Basic bWU6c2VjcmV0", &accepted), "the same bytes in another scheme");
    }

    #[test]
    fn of_several_headers_none_counts() {
        let mut headers = HeaderMap::new();
        assert!(Credential::of_headers(&headers).is_none());
        headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer abc"));
        assert!(Credential::of_headers(&headers).is_some());
        headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer abc"));
        assert!(Credential::of_headers(&headers).is_none());
    }

    #[test]
    fn nothing_of_it_is_printed() {
        assert_eq!(format!("{:?}", Credential::bearer("abc")), "Bearer([REDACTED])");
    }

    proptest! {
        #[test]
        fn any_user_and_password_survive(user in "[^:]{0,40}", password in any::<String>()) {
            let text = format!("{user}:{password}");
            let accepted = Credential::basic(&user, &password);
            for base64 in [STANDARD.encode(&text), STANDARD_NO_PAD.encode(&text)] {
                prop_assert!(is(&[b"Basic ", base64.as_bytes()].concat(), &accepted));
            }
            let base64 = STANDARD.encode(format!("{text}x"));
            prop_assert!(!is(&[b"Basic ", base64.as_bytes()].concat(), &accepted));
        }

        #[test]
        fn any_header_can_be_read(header in any::<Vec<u8>>()) {
            prop_assert!(!is(&header, &Credential::bearer("abc")));
            let bearer = [b"Bearer ".as_slice(), &header].concat();
            prop_assert_eq!(is(&bearer, &Credential::bearer("abc")), header.trim_ascii() == b"abc");
        }
    }
}

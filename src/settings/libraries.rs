//! The variables that the AWS SDK and the TLS library read themselves. On invalid values the SDK panics, ignores them, or
//! fails when a secret is fetched. Both libraries wait forever for a pipe. So all variables are checked before.

use std::io::ErrorKind;
use std::path::Path;

use lambda_http::http::Uri;

use super::Read;
use crate::file;
use crate::problem::Problem;

#[derive(Clone, Copy)]
enum Kind {
    /// A URL of HTTP or HTTPS.
    Url,
    Path,
    /// A regular file, if there is one.
    File,
    /// The same of all files in folders, with colons between.
    Folders,
    Region,
    Boolean,
    /// From this number up.
    Number(u32),
    OneOf(&'static [&'static str]),
    /// Text that is sent in a header.
    Header,
}

#[rustfmt::skip]
const SDK: [(&str, Kind); 27] = [
    ("AWS_ACCESS_KEY_ID", Kind::Header),
    ("AWS_ACCOUNT_ID_ENDPOINT_MODE", Kind::OneOf(&["preferred", "disabled", "required"])),
    ("AWS_CONFIG_FILE", Kind::File),
    ("AWS_CONTAINER_AUTHORIZATION_TOKEN", Kind::Header),
    ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", Kind::File),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", Kind::Url),
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", Kind::Path),
    ("AWS_DEFAULT_REGION", Kind::Region),
    ("AWS_DISABLE_CLOCK_SKEW_CORRECTION", Kind::Boolean),
    ("AWS_DISABLE_REQUEST_COMPRESSION", Kind::Boolean),
    ("AWS_EC2_METADATA_SERVICE_ENDPOINT", Kind::Url),
    ("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", Kind::OneOf(&["IPv4", "IPv6"])),
    ("AWS_ENDPOINT_URL", Kind::Url),
    ("AWS_ENDPOINT_URL_SECRETS_MANAGER", Kind::Url),
    ("AWS_ENDPOINT_URL_STS", Kind::Url),
    ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", Kind::Boolean),
    ("AWS_MAX_ATTEMPTS", Kind::Number(1)),
    ("AWS_REGION", Kind::Region),
    ("AWS_REQUEST_CHECKSUM_CALCULATION", Kind::OneOf(&["when_supported", "when_required"])),
    ("AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES", Kind::Number(0)),
    ("AWS_RESPONSE_CHECKSUM_VALIDATION", Kind::OneOf(&["when_supported", "when_required"])),
    ("AWS_RETRY_MODE", Kind::OneOf(&["standard", "adaptive"])),
    ("AWS_SESSION_TOKEN", Kind::Header),
    ("AWS_SHARED_CREDENTIALS_FILE", Kind::File),
    ("AWS_USE_DUALSTACK_ENDPOINT", Kind::Boolean),
    ("AWS_USE_FIPS_ENDPOINT", Kind::Boolean),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", Kind::File),
];

const TLS: [(&str, Kind); 2] = [("SSL_CERT_DIR", Kind::Folders), ("SSL_CERT_FILE", Kind::File)];

/// The files in the home folder that the SDK reads if the variable is unset.
const PROFILES: [(&str, &str); 2] =
    [("AWS_CONFIG_FILE", ".aws/config"), ("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials")];

/// Problems of the AWS SDK's variables, and of the files that they name.
pub(super) fn sdk_problems(read: Read<'_>) -> Vec<Problem> {
    let home = read("HOME");
    let profiles = PROFILES.into_iter().filter(|(variable, _)| read(variable).is_none());
    let profiles = profiles.filter_map(|(variable, file)| {
        let mistake = unreadable(&Path::new(home.as_ref()?).join(file))?;
        Some(Problem::in_variable(variable, format!("unset, and ~/{file} {mistake}")))
    });
    problems(&SDK, read).chain(profiles).collect()
}

/// The same of the TLS library.
pub(super) fn tls_problems(read: Read<'_>) -> Vec<Problem> {
    problems(&TLS, read).collect()
}

fn problems(variables: &[(&'static str, Kind)], read: Read<'_>) -> impl Iterator<Item = Problem> {
    variables.iter().filter_map(move |(variable, kind)| {
        let mistake = kind.mistake(&read(variable)?)?;
        Some(Problem::in_variable(variable, mistake))
    })
}

impl Kind {
    fn mistake(self, value: &str) -> Option<String> {
        let (is_right, expected) = match self {
            Self::File => return unreadable(Path::new(value)),
            Self::Folders => return std::env::split_paths(value).find_map(|folder| unreadable_in(&folder)),
            Self::Url => (is_url(value), "must be a URL that begins with https:// or http://".to_owned()),
            Self::Path => (is_path(value), "must be the path of a URL, and begin with /".to_owned()),
            Self::Region => {
                let is_region = value.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
                (is_region, "must be a region such as eu-central-1".to_owned())
            }
            Self::Boolean => (is_one_of(value, &["true", "false"]), "must be true or false".to_owned()),
            Self::Number(least) => {
                let number = value.parse::<u32>().ok();
                let is_right = number.is_some_and(|number| number >= least);
                (is_right, format!("must be a whole number from {least} to {}", u32::MAX))
            }
            Self::OneOf(words) => (is_one_of(value, words), format!("must be {}", words.join(" or "))),
            Self::Header => (!value.contains(char::is_control), "must not contain line breaks".to_owned()),
        };
        (!is_right).then_some(expected)
    }
}

fn is_one_of(value: &str, words: &[&str]) -> bool {
    words.iter().any(|word| word.eq_ignore_ascii_case(value))
}

fn is_url(value: &str) -> bool {
    value.parse::<Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    })
}

fn is_path(value: &str) -> bool {
    value.starts_with('/') && value.parse::<Uri>().is_ok()
}

/// Why reading a file would hang or take too much memory: it is a pipe, a device or too large. The SDK reports other
/// errors itself and continues. `/dev/null` is the usual name for no file.
fn unreadable(path: &Path) -> Option<String> {
    let refused = [ErrorKind::InvalidInput, ErrorKind::FileTooLarge];
    let error = file::check(path, file::BYTES_MAX).err().filter(|error| refused.contains(&error.kind()))?;
    (path != Path::new("/dev/null")).then(|| format!("cannot be read: {error}"))
}

/// The same for the files of a folder. The TLS library skips everything else in it.
fn unreadable_in(folder: &Path) -> Option<String> {
    let files = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    files
        .filter(|path| path.is_file())
        .find_map(|path| unreadable(&path).map(|mistake| format!("{} {mistake}", path.display())))
}

//! Lists secrets by their tags and names.

use std::time::Duration;

use aws_sdk_secretsmanager::types::{Filter, FilterNameStringType, SecretListEntry};
use tokio::time::{Instant, timeout_at};

use super::{Failure, SecretError, SecretsManager};
use crate::aws;

/// The most of one answer (AWS Secrets Manager API reference, "ListSecrets").
const PAGE_SIZE: i32 = 100;
/// The most secrets of a list.
const SECRETS_MAX: usize = 1000;

/// A secret without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedSecret {
    pub(crate) name: String,
    pub(crate) arn: String,
    /// Keys and values.
    pub(crate) tags: Vec<(String, String)>,
    /// The service of AWS that manages it.
    pub(crate) owner: Option<String>,
}

impl SecretsManager {
    /// The secrets whose names begin with `prefix` and that have a tag whose key and value begin so, in the order of their
    /// names. Secrets that are marked for deletion are left out. Returns within `limit`, retries included. Without a
    /// complete list there is none, except that a list ends after 1,000 secrets.
    ///
    /// # Errors
    /// As [`SecretsManager::fetch`].
    pub(crate) async fn list(
        &self,
        prefix: Option<&str>,
        tag: Option<(&str, &str)>,
        limit: Duration,
    ) -> Result<Vec<ListedSecret>, SecretError> {
        let error = |failure| SecretError::new(LIST, failure);
        if !self.has_region {
            return Err(error(Failure::NoRegion));
        }
        let wanted = [
            (FilterNameStringType::Name, prefix),
            (FilterNameStringType::TagKey, tag.map(|(key, _)| key)),
            (FilterNameStringType::TagValue, tag.map(|(_, value)| value)),
        ];
        // Two filters are both required. A leading exclamation mark would negate one.
        let filters: Vec<_> = wanted
            .into_iter()
            .filter_map(|(key, text)| {
                Some((key, text.filter(|text| !text.is_empty() && !text.starts_with('!'))?))
            })
            .map(|(key, text)| Filter::builder().key(key).values(text).build())
            .collect();
        let deadline = Instant::now() + limit;
        let (mut secrets, mut next) = (Vec::new(), None);
        // A page may be empty, and another follow it.
        while secrets.len() < SECRETS_MAX {
            let request = self.client.list_secrets().set_filters(Some(filters.clone()));
            let request = request.max_results(PAGE_SIZE).set_next_token(next.take());
            let page = match timeout_at(deadline, aws::without_panic(request.send())).await {
                Ok(Some(Ok(page))) => page,
                Ok(Some(Err(error))) => return Err(SecretError::of_sdk(LIST, &error)),
                Ok(None) => return Err(error(Failure::Configuration)),
                Err(_) => return Err(error(Failure::TimedOut)),
            };
            let list =
                page.secret_list.ok_or_else(|| error(Failure::Unusable("the answer holds no list")))?;
            secrets.extend(list.into_iter().filter_map(listed));
            next = page.next_token;
            if next.is_none() {
                break;
            }
        }
        if next.is_some() {
            tracing::warn!(secrets = secrets.len(), "the list of secrets is longer; the rest is ignored");
        }
        secrets.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(secrets)
    }
}

/// In the place of a secret's name.
const LIST: &str = "*";

fn listed(entry: SecretListEntry) -> Option<ListedSecret> {
    let tags = entry.tags.unwrap_or_default().into_iter();
    entry.deleted_date.is_none().then_some(())?;
    Some(ListedSecret {
        name: entry.name?,
        arn: entry.arn?,
        tags: tags.filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default()))).collect(),
        owner: entry.owning_service,
    })
}

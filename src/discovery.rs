//! Finds targets among the secrets of Secrets Manager, by a tag and by the beginning of their names. It lists secrets and
//! does not read them: a target is read when it is probed.

use std::time::Duration;

use crate::connect_options::{Access, Parts};
use crate::credentials::{Credentials, Services};
use crate::secret::{ListedSecret, SecretError};
use crate::settings::DiscoveryRule;

/// Finds targets.
#[derive(Debug)]
pub(crate) struct Discovery {
    rule: DiscoveryRule,
    defaults: Parts,
    services: Services,
}

/// The secrets that were found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The targets, in the order of their names.
    pub(crate) targets: Vec<ListedSecret>,
    /// The names of other secrets that have the tag and the prefix, and why each is left out.
    pub(crate) skipped: Vec<(String, String)>,
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiscoveryError {
    /// The secrets cannot be listed.
    #[error("{}", .0.reason())]
    List(#[from] SecretError),
    /// Usually a mistake. Prometheus would drop all targets.
    #[error("no secret has the tag and the prefix; check TARGETS_TAG, TARGETS_PREFIX and the region")]
    Empty,
}

impl Discovery {
    /// `services` must have Secrets Manager.
    pub(crate) fn new(rule: DiscoveryRule, defaults: Parts, services: Services) -> Self {
        Self { rule, defaults, services }
    }

    /// Lists the secrets, within `limit`.
    ///
    /// # Errors
    /// [`DiscoveryError`]
    pub(crate) async fn list(&self, limit: Duration) -> Result<Found, DiscoveryError> {
        let DiscoveryRule { tag, prefix, .. } = &self.rule;
        let tag = tag.as_ref().map(|(key, value)| (key.as_str(), value.as_str()));
        let listed = self.services.list(prefix.as_deref(), tag, limit).await?;
        let mut found = Found::default();
        // The service's filters match prefixes, and a tag's key and value apart.
        for secret in listed.into_iter().filter(|secret| self.rule.includes(secret)) {
            match self.rule.refusal(&secret) {
                None => found.targets.push(secret),
                Some(reason) => found.skipped.push((secret.name, reason)),
            }
        }
        if found.targets.is_empty() { Err(DiscoveryError::Empty) } else { Ok(found) }
    }

    /// How the target of a secret is read.
    pub(crate) fn credentials(&self, secret: &ListedSecret) -> Credentials {
        let access = Access::Secret {
            id: secret.arn.clone(),
            own: Box::default(),
            defaults: self.defaults.clone().into(),
        };
        Credentials::new(access, self.services.clone())
    }
}

impl DiscoveryRule {
    fn includes(&self, secret: &ListedSecret) -> bool {
        let has_tag = |(key, value): &(String, String)| {
            secret.tags.iter().any(|(own_key, own_value)| own_key == key && own_value == value)
        };
        self.tag.as_ref().is_none_or(has_tag)
            && self.prefix.as_ref().is_none_or(|prefix| secret.name.starts_with(prefix))
    }

    /// Why a secret with the tag and the prefix is left out.
    fn refusal(&self, secret: &ListedSecret) -> Option<String> {
        // An ARN may lack the hyphen and the six characters at its end.
        let is_excluded = |id: &String| {
            *id == secret.name
                || secret.arn.strip_prefix(id).is_some_and(|rest| rest.is_empty() || rest.len() == 7)
        };
        match &secret.owner {
            _ if self.excluded.iter().any(is_excluded) => Some("it authorizes scrapes".to_owned()),
            Some(owner) if owner != "rds" => Some(format!("the service {owner} manages it")),
            _ => None,
        }
    }
}

//! The targets, and what is kept for each of them. A single target is the case of one.

use std::sync::{self, Arc, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::state::State;
use super::{CLOSE_LIMIT, LastResults, time_left};
use crate::credentials::Credentials;
use crate::discovery::{Discovery, DiscoveryError, Found};
use crate::freshness::Moment;
use crate::metric::LabelName;
use crate::renewed::Renewed;
use crate::secret::ListedSecret;
use crate::settings::{self, Lifetimes};

/// A target, and what its scrapes keep. Targets share nothing.
#[derive(Debug)]
pub(crate) struct TargetState {
    /// Absent: the name of its database.
    name: Option<String>,
    /// Its labels in service discovery.
    pub(crate) labels: Vec<(LabelName, String)>,
    /// Absent if a mistake disables it.
    pub(super) credentials: Option<Credentials>,
    pub(super) state: Mutex<State>,
    /// Not in the state, since a scrape locks the state while it runs.
    pub(super) last: sync::Mutex<LastResults>,
}

impl TargetState {
    /// A target without connection and secret.
    pub(crate) fn new(
        name: Option<String>,
        labels: Vec<(LabelName, String)>,
        credentials: Option<Credentials>,
        lifetimes: Lifetimes,
    ) -> Self {
        let state = Mutex::new(State::new(lifetimes));
        Self { name, labels, credentials, state, last: sync::Mutex::default() }
    }

    /// Its name. Reads its secret if only the secret has the name.
    async fn name(&self, deadline: Instant) -> Option<String> {
        if let (None, Some(credentials)) = (&self.name, &self.credentials) {
            let mut state = timeout_at(deadline, self.state.lock()).await.ok()?;
            return state.session.database(credentials, deadline).await;
        }
        self.name.clone()
    }

    /// Why it cannot be used, as far as its secret and the targets file tell. Reads the secret within `limit`.
    pub(crate) async fn problem(&self, limit: Duration) -> Option<String> {
        match &self.credentials {
            None => Some("the targets file has a mistake in it; run check to see it".to_owned()),
            Some(credentials) => credentials.fetch(limit).await.err().map(|error| error.reason()),
        }
    }

    /// Whether a mistake in the targets file disables it.
    pub(crate) fn is_disabled(&self) -> bool {
        self.credentials.is_none()
    }

    /// The last results in this environment. Does not wait for a scrape.
    pub(crate) fn last_results(&self) -> LastResults {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// All targets, and how many of them may keep a connection.
#[derive(Debug)]
pub(crate) struct Targets {
    known: sync::Mutex<Vec<Arc<TargetState>>>,
    /// Absent if the targets do not change.
    discovery: Option<Listing>,
    /// Whether there is one by definition, which `/metrics` serves.
    is_single: bool,
    limits: settings::Targets,
}

/// The list of targets that are discovered.
#[derive(Debug)]
struct Listing {
    discovery: Discovery,
    lifetimes: Lifetimes,
    /// The secrets that the last list left out.
    listed: Mutex<Renewed<Skipped>>,
}

/// Names of secrets, and why each is left out.
type Skipped = Vec<(String, String)>;

/// The pause between two lists.
const LIST_PAUSE: Duration = Duration::from_secs(10);
/// The limit of a list that a request waits for.
const LIST_LIMIT: Duration = Duration::from_secs(4);
/// The limit of a list while an earlier one is kept.
const LIST_AGAIN_LIMIT: Duration = Duration::from_secs(2);

/// Why there is no target.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoTarget {
    /// No target has this name.
    Unknown {
        /// The names that there are.
        known: Vec<String>,
    },
    /// The targets are not known.
    Unlisted,
}

impl Targets {
    /// The only target.
    pub(crate) fn single(target: TargetState, limits: settings::Targets) -> Self {
        Self { is_single: true, ..Self::several(vec![target], limits) }
    }

    /// Several targets with names.
    pub(crate) fn several(targets: Vec<TargetState>, limits: settings::Targets) -> Self {
        let known = sync::Mutex::new(targets.into_iter().map(Arc::new).collect());
        Self { known, discovery: None, is_single: false, limits }
    }

    /// Targets that are discovered.
    pub(crate) fn discovered(discovery: Discovery, lifetimes: Lifetimes, limits: settings::Targets) -> Self {
        let listed = Mutex::new(Renewed::new(lifetimes.secret_max_age, LIST_PAUSE));
        let discovery = Some(Listing { discovery, lifetimes, listed });
        Self { discovery, ..Self::several(Vec::new(), limits) }
    }

    /// The target that there is one of by definition.
    pub(crate) fn only(&self) -> Option<Arc<TargetState>> {
        self.known().into_iter().next().filter(|_| self.is_single)
    }

    /// The targets that are known without asking for them.
    pub(crate) fn known(&self) -> Vec<Arc<TargetState>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The secrets that the last list left out, and why.
    pub(crate) fn skipped(&self) -> Skipped {
        let listed = self.discovery.as_ref().and_then(|listing| listing.listed.try_lock().ok());
        listed.and_then(|listed| listed.value().cloned()).unwrap_or_default()
    }

    /// The name of a target that is one of several.
    pub(crate) fn label<'t>(&self, target: &'t TargetState) -> Option<&'t str> {
        target.name.as_deref().filter(|_| !self.is_single)
    }

    /// All targets and their names. They are listed again, unless that was done just now: Prometheus asks seldom, and each
    /// environment should give it the same.
    ///
    /// # Errors
    /// [`NoTarget::Unlisted`]
    pub(crate) async fn named(&self, deadline: Instant) -> Result<Vec<(String, Arc<TargetState>)>, NoTarget> {
        self.list(true, deadline).await?;
        self.known_by_name(deadline).await
    }

    /// The target with this name. If no target has it, the targets are listed again.
    ///
    /// # Errors
    /// [`NoTarget`]
    pub(crate) async fn find(&self, name: &str, deadline: Instant) -> Result<Arc<TargetState>, NoTarget> {
        let (mut known, mut is_current) = (Vec::new(), true);
        for is_again in [false, true] {
            is_current = self.list(is_again, deadline).await?;
            let named = self.known_by_name(deadline).await?;
            if let Some((_, target)) = named.iter().find(|(known, _)| known == name) {
                return Ok(Arc::clone(target));
            }
            known = named.into_iter().map(|(name, _)| name).collect();
        }
        // If the last list failed, the target may be there.
        Err(if is_current { NoTarget::Unknown { known } } else { NoTarget::Unlisted })
    }

    async fn known_by_name(&self, deadline: Instant) -> Result<Vec<(String, Arc<TargetState>)>, NoTarget> {
        let mut named = Vec::new();
        for target in self.known() {
            let name = target.name(deadline).await.ok_or(NoTarget::Unlisted)?;
            named.push((name, target));
        }
        Ok(named)
    }

    /// Lists the targets if they are too old, or `is_again`. If that fails, the earlier list stays. Returns whether the last
    /// attempt succeeded.
    pub(super) async fn list(&self, is_again: bool, deadline: Instant) -> Result<bool, NoTarget> {
        let Some(Listing { discovery, lifetimes, listed }) = &self.discovery else { return Ok(true) };
        let mut listed = timeout_at(deadline, listed.lock()).await.map_err(|_| NoTarget::Unlisted)?;
        listed.begin_scrape();
        let now = Moment::now();
        let (limit, is_due) = match listed.value() {
            Some(_) => (LIST_AGAIN_LIMIT.min(time_left(deadline) / 4), is_again || listed.is_due(now)),
            None => (LIST_LIMIT.min(time_left(deadline) / 2), true),
        };
        if is_due && listed.may_fetch(now) {
            let fetched = listed.fetch(async {
                let found = discovery.list(limit).await?;
                self.replace(discovery, *lifetimes, &found).await;
                Ok::<_, DiscoveryError>(found.skipped)
            });
            if let Err(error) = fetched.await {
                tracing::error!(%error, "the targets cannot be listed");
            }
        }
        listed.value().map(|_| !listed.has_failed()).ok_or(NoTarget::Unlisted)
    }

    /// Keeps the state of the targets that are still there. The others close their connections.
    async fn replace(&self, discovery: &Discovery, lifetimes: Lifetimes, found: &Found) {
        for (name, reason) in &found.skipped {
            tracing::debug!(secret = name, reason, "secret left out of the targets");
        }
        let state = |earlier: &[Arc<TargetState>], secret: &ListedSecret| {
            let is_same = |target: &&Arc<TargetState>| {
                let id = target.credentials.as_ref().and_then(Credentials::secret_id);
                target.name.as_ref() == Some(&secret.name) && id == Some(&secret.arn)
            };
            earlier.iter().find(is_same).map(Arc::clone).unwrap_or_else(|| {
                let credentials = Some(discovery.credentials(secret));
                Arc::new(TargetState::new(Some(secret.name.clone()), Vec::new(), credentials, lifetimes))
            })
        };
        {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            *known = found.targets.iter().map(|secret| state(&known, secret)).collect();
        }
        // If there are more targets than may keep a connection now, one must leave its place.
        for target in self.known() {
            let is_full = self.connections(None) >= self.limits.connections_max;
            if let (true, Ok(mut state)) = (self.is_scarce() && is_full, target.state.try_lock()) {
                state.session.close(CLOSE_LIMIT).await;
            }
        }
    }

    /// Whether not all targets may keep a connection.
    fn is_scarce(&self) -> bool {
        self.known().len() > self.limits.connections_max
    }

    /// Whether `target` may keep its connection. If connections are scarce, a place is left for the targets that may not.
    /// So there are never more than `MAX_CONNECTIONS`.
    pub(super) fn may_keep(&self, target: &TargetState) -> bool {
        self.connections(Some(target)) + usize::from(self.is_scarce()) < self.limits.connections_max
    }

    /// The number of open connections of the targets but `except`.
    pub(super) fn connections(&self, except: Option<&TargetState>) -> usize {
        // A scrape that runs has a connection.
        let is_open = |target: &Arc<TargetState>| {
            target.state.try_lock().map_or(true, |state| state.session.is_usable())
        };
        let known = self.known();
        let others = known.iter().filter(|target| except.is_none_or(|it| !std::ptr::eq(&***target, it)));
        others.filter(|target| is_open(target)).count()
    }

    /// The maximum number of databases of a target that a scrape visits.
    pub(super) fn databases_max(&self) -> usize {
        self.limits.databases_max
    }

    /// Closes all connections.
    pub(super) async fn close(&self, deadline: Instant) {
        let closed = self.known().into_iter().map(|target| async move {
            if let Ok(mut state) = timeout_at(deadline, target.state.lock()).await {
                state.session.close(time_left(deadline)).await;
            }
        });
        futures_util::future::join_all(closed).await;
    }
}

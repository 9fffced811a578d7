//! Bans: put in force, listed and lifted by an operator, and known in every process at its next request.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use security_core::{Domain, Revision, Timestamp, is_invisible, redact_tokens};
use security_credentials::parse_network;
use security_web::{Ban, BanList, BanStore, LONGEST_BAN, ban_network};
use serde_json::json;

use crate::{Engine, Error, Result, follow::Follower, utils::generate_request_id, world};

/// How long a ban holds when nobody says how long.
pub const USUAL_BAN: Duration = Duration::from_secs(86_400);
/// The longest reason, in characters.
const LONGEST_REASON: usize = 200;

/// The bans as this process knows them, following the store.
#[derive(Debug)]
pub(crate) struct BanCache {
    follower: Follower,
    revision: AtomicU64,
    list: ArcSwap<BanList>,
}

impl Default for BanCache {
    fn default() -> Self {
        Self {
            follower: Follower::new(Domain::Credentials),
            // No revision of any store: the first look reads.
            revision: AtomicU64::new(u64::MAX),
            list: ArcSwap::default(),
        }
    }
}

impl Engine {
    /// Turns an address or a network away for a while: 403 for every request of it, in every process of the host
    /// from its next request on, whatever key it carries. Exempt paths stay open. A ban of the same network is
    /// replaced. An IPv6 address means its /64.
    /// # Errors
    /// [`Error::Invalid`] when it is no network or all there is, for a duration below a second or above 366 days, and for
    /// a reason of more than 200 characters or with control or direction characters; a store that is full of bans or cannot be
    /// written.
    pub fn ban(&self, network: &str, duration: Duration, reason: &str) -> Result<Ban> {
        let network = parse_network(network).map_err(|error| Error::invalid("network", error))?;
        if network.prefix_len() == 0 {
            return Err(Error::invalid(
                "network",
                "everybody would be banned; accepted is a prefix from /1 on",
            ));
        }
        if duration < Duration::from_secs(1) || duration > LONGEST_BAN {
            return Err(Error::invalid("duration", "accepted are one second to 366 days"));
        }
        let reason = reason.trim();
        if reason.chars().count() > LONGEST_REASON || reason.chars().any(is_invisible) {
            return Err(Error::invalid("reason", "accepted are 200 characters on one line"));
        }
        let now = world::now();
        let ban = Ban {
            network: ban_network(network),
            reason: redact_tokens(reason).into_owned(),
            since: now,
            until: now.plus(duration),
            by: world::actor(),
        };
        let details = json!({"network": ban.network, "until": ban.until, "reason": ban.reason});
        self.audited("client_banned", &generate_request_id(), details, || {
            Ok(self.files.store.put_ban(&ban, now)?)
        })?;
        Ok(ban)
    }

    /// Lifts a ban; what was lifted.
    /// # Errors
    /// [`Error::NotFound`] when exactly this network is not banned; a store that cannot be written.
    pub fn lift_ban(&self, network: &str) -> Result<Ban> {
        let parsed = parse_network(network).map_err(|error| Error::invalid("network", error))?;
        let parsed = ban_network(parsed);
        let details = json!({"network": parsed});
        self.audited("ban_lifted", &generate_request_id(), details, || {
            self.files.store.lift_ban(parsed)?.ok_or_else(|| Error::not_found("ban of", network))
        })
    }

    /// The bans in force, those that end first first.
    /// # Errors
    /// When the store cannot be read.
    pub fn bans(&self) -> Result<Vec<Ban>> {
        let now = world::now();
        // No store has had so many changes, so it answers with all there are.
        let all = self.files.store.bans_since(Revision(u64::MAX))?;
        let mut bans: Vec<Ban> = all.map(|(_, bans)| bans).unwrap_or_default();
        bans.retain(|ban| ban.holds(now));
        bans.sort_by(|a, b| a.until.cmp(&b.until).then_with(|| a.network.cmp(&b.network)));
        Ok(bans)
    }

    /// The ban that covers a client; one atomic load when there is none at all.
    pub(crate) fn ban_of(&self, client: Option<IpAddr>, now: Timestamp) -> Result<Option<Ban>> {
        let cache = &self.bans;
        if !cache.follower.is_current(&self.page) {
            cache.follower.refresh(
                &self.page,
                || self.read_bans(),
                || Ok(self.files.store.settle(Domain::Credentials)?),
            )?;
        }
        let list = cache.list.load();
        Ok(client.and_then(|client| list.find(client, now)).cloned())
    }

    fn read_bans(&self) -> Result<()> {
        let known = Revision(self.bans.revision.load(Ordering::Relaxed));
        if let Some((revision, bans)) = self.files.store.bans_since(known)? {
            self.bans.list.store(Arc::new(BanList::of(bans)));
            self.bans.revision.store(revision.0, Ordering::Relaxed);
        }
        Ok(())
    }
}

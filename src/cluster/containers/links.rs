//! The links between containers: the rules of network faults, enforced by a sidecar in the network of each container.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::sync::{Mutex, RwLock};

use super::error::DockerError;
use super::sidecar::Sidecar;
use crate::network::knock::{self, Heard, Knock};
use crate::network::rules::{self, Effect, Hook, Rule};
use crate::network::{Counts, NetworkError, nft};

/// The time limit of a script that fills a link.
const FILL_WITHIN: Duration = Duration::from_secs(20);

/// Containers whose links can be cut, each with its sidecar.
#[derive(Debug)]
pub(in crate::cluster) struct Links {
    members: std::sync::RwLock<Vec<Arc<Member>>>,
    rules: Mutex<Rules>,
}

/// A container.
#[derive(Debug)]
struct Member {
    ip: IpAddr,
    sidecar: RwLock<Arc<Sidecar>>,
    /// Whether the sidecar is in the container's current network.
    is_there: AtomicBool,
}

/// The active rules, each with its parts and the members that enforce them.
#[derive(Debug, Default)]
struct Rules {
    /// The number of rules so far.
    imposed: u64,
    in_force: BTreeMap<String, Vec<(usize, Rule)>>,
}

impl Links {
    /// Containers by their addresses, with a sidecar in the network of each.
    pub(in crate::cluster) fn new(sidecars: impl IntoIterator<Item = (IpAddr, Sidecar)>) -> Self {
        let members = sidecars.into_iter().map(|(ip, sidecar)| Arc::new(Member::new(ip, sidecar))).collect();
        Self { members: std::sync::RwLock::new(members), rules: Mutex::default() }
    }

    /// Adds a container. Rules that are in force do not hit it.
    pub(in crate::cluster) fn add(&self, ip: IpAddr, sidecar: Sidecar) {
        self.members.write().expect("no holder panics").push(Arc::new(Member::new(ip, sidecar)));
    }

    fn members(&self) -> Vec<Arc<Member>> {
        self.members.read().expect("no holder panics").clone()
    }

    fn member(&self, index: usize) -> Arc<Member> {
        Arc::clone(&self.members.read().expect("no holder panics")[index])
    }

    fn place_of(&self, ip: Ipv4Addr) -> Option<usize> {
        self.members().iter().position(|member| member.ip == IpAddr::V4(ip))
    }

    async fn sidecar(&self, index: usize) -> Arc<Sidecar> {
        Arc::clone(&*self.member(index).sidecar.read().await)
    }

    /// The parts of a rule by the member that enforces them: packets to it, and packets from it to clients, which have no
    /// sidecar of their own.
    fn placed(&self, rule: &Rule, number: u64) -> Vec<(usize, Rule)> {
        let mut placed = Vec::new();
        for (index, member) in self.members().iter().enumerate() {
            let pairs = rule.pairs.iter().copied();
            let comes = pairs.clone().filter(|(_, to)| member.ip == IpAddr::V4(*to)).collect();
            let leaves =
                pairs.filter(|(from, to)| member.ip == IpAddr::V4(*from) && self.place_of(*to).is_none()).collect();
            for (pairs, hook, name) in
                [(comes, Hook::Input, format!("f{number}")), (leaves, Hook::Output, format!("f{number}-out"))]
            {
                let part = Rule { name, pairs, hook, ..rule.clone() };
                if !part.pairs.is_empty() {
                    placed.push((index, part));
                }
            }
        }
        placed
    }

    /// Puts a rule in force.
    pub(in crate::cluster) async fn impose(&self, rule: Rule) -> Result<(), NetworkError> {
        rule.validate()?;
        if matches!(rule.effect, Effect::Slow { .. }) {
            return Err(NetworkError::Container("packets cannot be delayed in containers yet".to_owned()));
        }
        let mut rules = self.rules.lock().await;
        if rules.in_force.contains_key(&rule.name) {
            return Err(NetworkError::Duplicate(rule.name));
        }
        rules.imposed += 1;
        let placed = self.placed(&rule, rules.imposed);
        // Record the rule first, so that an interrupted run can still lift it.
        rules.in_force.insert(rule.name, placed.clone());
        try_join_all(placed.iter().map(|(index, part)| async move {
            Ok(self.sidecar(*index).await.nft(&rules::render_addition(part)).await?)
        }))
        .await
        .map(drop)
    }

    /// The packets that the rule of that name has hit.
    pub(in crate::cluster) async fn counts(&self, name: &str) -> Result<Counts, NetworkError> {
        let rules = self.rules.lock().await;
        let placed = rules.in_force.get(name).ok_or_else(|| NetworkError::Gone(name.to_owned()))?;
        let counted = try_join_all(placed.iter().map(|(index, part)| async move {
            let printed = self.sidecar(*index).await.run("nft -j list counters").await?;
            let counters =
                nft::parse_counters(printed.as_bytes()).map_err(|error| NetworkError::Counters(error.to_string()))?;
            let count =
                |counter: String| counters.get(&counter).copied().ok_or_else(|| NetworkError::Gone(part.name.clone()));
            Ok::<_, NetworkError>(Counts { seen: count(part.seen_counter())?, hit: count(part.hit_counter())? })
        }))
        .await?;
        Ok(counted.into_iter().fold(Counts::default(), |sum, counts| sum + counts))
    }

    /// Lifts the rule of that name, if there is one.
    pub(in crate::cluster) async fn lift(&self, name: &str) -> Result<(), NetworkError> {
        let mut rules = self.rules.lock().await;
        let Some(placed) = rules.in_force.remove(name) else { return Ok(()) };
        let rules = &*rules;
        try_join_all(placed.iter().map(|(index, part)| async move {
            let sidecar = self.sidecar(*index).await;
            if sidecar.nft(&rules::render_removal(part)).await.is_ok() {
                return Ok(());
            }
            // The table is replaced as a whole, so a rule that was imposed or lifted in part is handled too.
            Ok(sidecar.nft(&rules::render(&rules.at(*index))).await?)
        }))
        .await
        .map(drop)
    }

    /// Prepares for the end of a container: no connections can be tried from its network any more.
    pub(in crate::cluster) fn leave(&self, index: usize) {
        self.member(index).is_there.store(false, Ordering::Relaxed);
    }

    /// Puts the rules in force again after a container has started with a new network, by a new sidecar.
    pub(in crate::cluster) async fn come_back(&self, index: usize, sidecar: Sidecar) -> Result<(), DockerError> {
        let rules = self.rules.lock().await;
        sidecar.nft(&rules::render(&rules.at(index))).await?;
        let member = self.member(index);
        *member.sidecar.write().await = Arc::new(sidecar);
        member.is_there.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Lifts every rule.
    pub(in crate::cluster) async fn clear(&self) -> Result<(), DockerError> {
        self.rules.lock().await.in_force.clear();
        let clear = |index| async move { self.sidecar(index).await.nft(&rules::render_flush()).await };
        try_join_all((0..self.members().len()).map(clear)).await.map(drop)
    }

    /// Whether connections can be tried from an address. An address of no container is the host's.
    pub(in crate::cluster) fn can_knock_from(&self, ip: Ipv4Addr) -> bool {
        self.place_of(ip).is_none_or(|index| self.member(index).is_there.load(Ordering::Relaxed))
    }

    /// Tries all connections at once, those from containers through their sidecars.
    pub(in crate::cluster) async fn knock(&self, knocks: &[Knock], within: Duration) -> Vec<Heard> {
        let from = |member: Option<usize>, own: Vec<Knock>| async move {
            match member {
                Some(index) => self.knock_from(index, &own, within).await,
                None => knock::knock_all(&own, within).await,
            }
        };
        knock::by_place(knocks, |ip| self.place_of(ip), from).await
    }

    async fn knock_from(&self, index: usize, knocks: &[Knock], within: Duration) -> Vec<Heard> {
        let to: Vec<_> = knocks.iter().map(|knock| knock.to).collect();
        let heard = self.sidecar(index).await.knock(&to, within).await;
        heard.unwrap_or_else(|error| vec![Heard::Other(error.to_string()); knocks.len()])
    }

    /// Sends this many bytes over a link, to be echoed.
    pub(in crate::cluster) async fn fill(&self, knock: Knock, bytes: u64) {
        let Some(index) = self.place_of(knock.from) else {
            let _ = Box::pin(knock::push(knock, bytes)).await;
            return;
        };
        let (ip, port, within) = (knock.to.ip(), knock.to.port(), FILL_WITHIN.as_secs());
        let script = format!(
            "timeout {within} bash -c 'exec 3<>/dev/tcp/{ip}/{port}; cat <&3 >/dev/null & \
             {{ printf \"*2\\r\\n\\$4\\r\\nECHO\\r\\n\\${bytes}\\r\\n\"; head -c {bytes} /dev/zero; printf \"\\r\\n\"; }} >&3; \
             sleep {within}' >/dev/null 2>&1 &"
        );
        let _ = self.sidecar(index).await.run(&script).await;
        tokio::time::sleep(FILL_WITHIN).await;
    }
}

impl Member {
    fn new(ip: IpAddr, sidecar: Sidecar) -> Self {
        Self { ip, sidecar: RwLock::new(Arc::new(sidecar)), is_there: AtomicBool::new(true) }
    }
}

impl Rules {
    /// The parts that a member enforces.
    fn at(&self, index: usize) -> Vec<Rule> {
        let all = self.in_force.values().flatten();
        all.filter(|(at, _)| *at == index).map(|(_, rule)| rule.clone()).collect()
    }
}

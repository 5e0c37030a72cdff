//! Hosts' access links and the paths between them, and what they come to for each ordered pair of parties.

use std::collections::HashMap;

use isochrone_model::BytesPerSecond;

use super::{Latency, LinkSpec, Party, UNLIMITED};

/// A host's own link to all others: everything it sends and receives passes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Access {
    /// Added to the latency of every path of the host, in both directions.
    pub latency: Latency,
    /// Of all that the host sends.
    pub up: BytesPerSecond,
    /// Of all that the host receives.
    pub down: BytesPerSecond,
    /// The part of datagrams lost on it.
    pub loss: f64,
}

impl Access {
    /// No latency, no limit, no loss.
    pub const UNLIMITED: Self = Self { latency: Latency::ZERO, up: UNLIMITED, down: UNLIMITED, loss: 0.0 };
}

/// A path between hosts, their access links not included.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// What it does.
    pub link: LinkSpec,
    /// Whether all pairs that use this path share its bandwidth (a line between two sites); else each ordered pair
    /// has the bandwidth to itself.
    pub is_shared: bool,
}

/// Who reaches whom how. Dense: parties by [`Party::place`].
#[derive(Clone, Debug, PartialEq)]
pub struct Topology {
    access: Vec<Access>,
    paths: Vec<Path>,
    /// By ordered pair, into `paths`.
    pair_paths: Vec<u32>,
    /// By ordered pair, into `links`.
    pair_links: Vec<u32>,
    links: Vec<LinkSpec>,
}

impl Topology {
    /// A topology of the hosts in the order of [`Party::place`] (two at least), with the path of each ordered pair
    /// as an index into `paths`; the paths of a party to itself are not looked at.
    ///
    /// # Panics
    /// When there are fewer than two hosts, or an index is out of range.
    #[must_use]
    pub fn new(access: Vec<Access>, paths: Vec<Path>, path_of: impl Fn(Party, Party) -> usize) -> Self {
        let hosts = access.len();
        assert!(hosts >= 2, "a scheduler and a client at least");
        let mut topology = Self {
            access,
            paths,
            pair_paths: vec![0; hosts * hosts],
            pair_links: vec![0; hosts * hosts],
            links: vec![LinkSpec::LOCAL],
        };
        // Hosts with equal access have equal sums, which are costly to make of distributions.
        let mut classes: Vec<usize> = Vec::new();
        let class_of: Vec<usize> = (0..hosts)
            .map(|host| {
                let found = classes.iter().position(|&other| topology.access[other] == topology.access[host]);
                found.unwrap_or_else(|| {
                    classes.push(host);
                    classes.len() - 1
                })
            })
            .collect();
        let mut made: HashMap<(usize, usize, usize), u32> = HashMap::new();
        for (from, to) in (0..hosts).flat_map(|from| (0..hosts).map(move |to| (from, to))) {
            if from == to {
                continue;
            }
            let path = path_of(Party::at(from), Party::at(to));
            assert!(path < topology.paths.len(), "a path that exists");
            let key = (class_of[from], path, class_of[to]);
            let link = *made.entry(key).or_insert_with(|| {
                let link = topology.compose(from, path, to);
                topology.links.push(link);
                topology.links.len() as u32 - 1
            });
            topology.pair_paths[from * hosts + to] = path as u32;
            topology.pair_links[from * hosts + to] = link;
        }
        topology
    }

    /// Every pair with the same link, every host with its bandwidth up and down.
    #[must_use]
    pub fn uniform(agents: usize, link: LinkSpec) -> Self {
        let access = Access { up: link.bandwidth, down: link.bandwidth, ..Access::UNLIMITED };
        Self::new(vec![access; agents + 2], vec![Path { link, is_shared: false }], |_, _| 0)
    }

    /// How many parties there are.
    #[must_use]
    pub fn parties(&self) -> usize {
        self.access.len()
    }

    /// What the path from one party to another does in all.
    ///
    /// # Panics
    /// When there is no such party.
    #[must_use]
    pub fn link(&self, from: Party, to: Party) -> &LinkSpec {
        &self.links[self.pair_links[self.pair(from, to)] as usize]
    }

    /// A party's access link.
    ///
    /// # Panics
    /// When there is no such party.
    #[must_use]
    pub fn access(&self, party: Party) -> &Access {
        &self.access[party.place()]
    }

    /// The path between two different parties, with its index: equal indices mean the same path.
    ///
    /// # Panics
    /// When there is no such party.
    #[must_use]
    pub fn path(&self, from: Party, to: Party) -> (usize, &Path) {
        let index = self.pair_paths[self.pair(from, to)] as usize;
        (index, &self.paths[index])
    }

    fn pair(&self, from: Party, to: Party) -> usize {
        let hosts = self.access.len();
        assert!(from.place() < hosts && to.place() < hosts, "parties of this cluster");
        from.place() * hosts + to.place()
    }

    fn compose(&self, from: usize, path: usize, to: usize) -> LinkSpec {
        let (from, path, to) = (&self.access[from], &self.paths[path].link, &self.access[to]);
        LinkSpec {
            latency: path.latency.plus(&from.latency).plus(&to.latency),
            bandwidth: path.bandwidth.min(from.up).min(to.down),
            loss: 1.0 - (1.0 - from.loss) * (1.0 - path.loss) * (1.0 - to.loss),
        }
    }
}

#[cfg(test)]
mod tests {
    use isochrone_model::Span;

    use super::*;

    #[test]
    fn a_link_is_the_path_and_both_access_links() {
        let home = Access {
            latency: Latency::Fixed(Span(5)),
            up: BytesPerSecond(10),
            down: BytesPerSecond(100),
            loss: 0.5,
        };
        let path = Path { link: LinkSpec::fixed(Span(7), BytesPerSecond(50)), is_shared: false };
        let topology = Topology::new(vec![Access::UNLIMITED, home.clone(), home], vec![path], |_, _| 0);
        let (scheduler, client, agent) = (Party::Scheduler, Party::Client, Party::Agent(0));
        let link = |from, to| topology.link(from, to);
        assert_eq!(link(client, scheduler).latency, Latency::Fixed(Span(12)));
        assert_eq!(link(client, agent).latency, Latency::Fixed(Span(17)));
        assert_eq!(link(client, scheduler).bandwidth, BytesPerSecond(10));
        assert_eq!(link(scheduler, client).bandwidth, BytesPerSecond(50));
        assert_eq!(link(client, agent).loss, 0.75);
        assert_eq!(*link(agent, agent), LinkSpec::LOCAL);
    }
}

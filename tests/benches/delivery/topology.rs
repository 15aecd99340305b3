//! Who is linked with whom.

use std::collections::VecDeque;

/// For each node, whom it dials. Links carry messages both ways.
pub struct Topology(Vec<Vec<usize>>);

impl Topology {
    /// Each one dials the one before.
    pub fn line(nodes: usize) -> Self {
        Self((0..nodes).map(|node| node.checked_sub(1).into_iter().collect()).collect())
    }

    /// Each one dials those so many steps further back on a ring. Who starts later dials who started before.
    pub fn ring(nodes: usize, steps: &[usize]) -> Self {
        let mut dials = vec![Vec::new(); nodes];
        for node in 0..nodes {
            for step in steps {
                let other = (node + step) % nodes;
                dials[node.max(other)].push(node.min(other));
            }
        }
        Self(dials)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whom a node dials.
    pub fn dials(&self, node: usize) -> &[usize] {
        &self.0[node]
    }

    /// How many links a node has.
    pub fn degree(&self, node: usize) -> usize {
        self.links(node).len()
    }

    fn links(&self, node: usize) -> Vec<usize> {
        let back = (0..self.len()).filter(|other| self.0[*other].contains(&node));
        self.0[node].iter().copied().chain(back).collect()
    }

    /// The mean length of the shortest way from one node to another.
    pub fn mean_hops(&self) -> f64 {
        let (mut sum, mut pairs) = (0, 0);
        for from in 0..self.len() {
            let mut hops = vec![None; self.len()];
            hops[from] = Some(0);
            let mut queue = VecDeque::from([from]);
            while let Some(node) = queue.pop_front() {
                let next = hops[node].map(|hops: u32| hops + 1);
                for other in self.links(node) {
                    if hops[other].is_none() {
                        hops[other] = next;
                        queue.push_back(other);
                    }
                }
            }
            let others = hops.into_iter().enumerate().filter(|(node, _)| *node != from);
            for (_, hops) in others {
                sum += hops.unwrap();
                pairs += 1;
            }
        }
        f64::from(sum) / f64::from(pairs)
    }
}

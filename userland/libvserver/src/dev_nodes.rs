// SPDX-License-Identifier: GPL-2.0

//! What a vserver may have in `/dev`. The list exists once: what is mounted for a guest, what a copy or an archive may
//! bring along, and what a new tree gets are the same.

use rustix::fs;

/// A character device that everybody may read and write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) name: &'static str,
    major: u32,
    minor: u32,
}

impl Node {
    const fn new(name: &'static str, major: u32, minor: u32) -> Self {
        Self { name, major, minor }
    }

    /// Both numbers in one, as the kernel takes them.
    pub(crate) fn number(&self) -> u64 {
        fs::makedev(self.major, self.minor)
    }
}

/// The devices that are the same in every vserver.
pub(crate) const NODES: [Node; 6] = [
    Node::new("null", 1, 3),
    Node::new("zero", 1, 5),
    Node::new("full", 1, 7),
    Node::new("random", 1, 8),
    Node::new("urandom", 1, 9),
    Node::new("tty", 5, 0),
];

/// Where terminals are made. Only a tree on disk has it as a device: a guest that runs has a link into its own devpts.
pub(crate) const PTMX: Node = Node::new("ptmx", 5, 2);

/// Links that programs expect there.
pub(crate) const LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

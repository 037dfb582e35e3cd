//! A model of a disk: what was synced stays, what was not may be there, be gone, or be there in part.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

/// A recorded step.
pub struct Step {
    pub op: u8,
    ino: u64,
    offset: u64,
    path: String,
    pub data: Vec<u8>,
}

/// The steps of a log.
pub fn steps(log: &[u8]) -> Vec<Step> {
    let mut found = Vec::new();
    let mut rest = log;
    while let [op, tail @ ..] = rest {
        // A process that is killed while it writes its log leaves half a step.
        if tail.len() < 24 {
            break;
        }
        let long = |at: usize| u64::from_le_bytes(tail[at..at + 8].try_into().expect("eight"));
        let short =
            |at: usize| u32::from_le_bytes(tail[at..at + 4].try_into().expect("four")) as usize;
        let (path, data) = (24 + short(16), 24 + short(16) + short(20));
        if tail.len() < data {
            break;
        }
        found.push(Step {
            op: *op,
            ino: long(0),
            offset: long(8),
            path: String::from_utf8(tail[24..path].to_vec()).expect("a path"),
            data: tail[path..data].to_vec(),
        });
        rest = &tail[data..];
    }
    found
}

enum Pending {
    Write(u64, Vec<u8>),
    Length(u64),
}

#[derive(Default)]
struct Node {
    is_directory: bool,
    durable: Vec<u8>,
    pending: Vec<Pending>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    changes: Vec<(String, Option<usize>)>,
}

/// How a cut treats what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing of it is there.
    Dropped,
    /// Each write is there, is not, or is there by sectors of 512 bytes; each name likewise.
    Random,
}

/// The disk of a process that is being recorded.
pub struct Disk {
    root: String,
    nodes: Vec<Node>,
    by_inode: HashMap<u64, usize>,
}

fn apply(content: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let (from, to) = (offset as usize, offset as usize + data.len());
    if content.len() < to {
        content.resize(to, 0);
    }
    content[from..to].copy_from_slice(data);
}

impl Disk {
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_str().expect("text").to_owned(),
            nodes: vec![Node {
                is_directory: true,
                ..Node::default()
            }],
            by_inode: HashMap::new(),
        }
    }

    fn find(&self, path: &str) -> Option<usize> {
        let inner = path.strip_prefix(&self.root)?;
        inner
            .split('/')
            .filter(|part| !part.is_empty())
            .try_fold(0, |node, part| self.nodes[node].names.get(part).copied())
    }

    fn parent(&self, path: &str) -> (usize, String) {
        let (parent, name) = path.rsplit_once('/').expect("absolute");
        (
            self.find(parent).expect("its directory is known"),
            name.to_owned(),
        )
    }

    fn name(&mut self, path: &str, node: Option<usize>) {
        let (parent, name) = self.parent(path);
        let directory = &mut self.nodes[parent];
        match node {
            Some(node) => directory.names.insert(name.clone(), node),
            None => directory.names.remove(&name),
        };
        directory.changes.push((name, node));
    }

    fn add(&mut self, path: &str, is_directory: bool) -> usize {
        self.nodes.push(Node {
            is_directory,
            ..Node::default()
        });
        let node = self.nodes.len() - 1;
        self.name(path, Some(node));
        node
    }

    pub fn take(&mut self, step: &Step) {
        match step.op {
            b'O' => {
                let node = match self.find(&step.path) {
                    Some(node) => node,
                    None => self.add(&step.path, false),
                };
                self.by_inode.insert(step.ino, node);
                if step.offset == 1 {
                    self.nodes[node].pending.push(Pending::Length(0));
                }
            }
            b'D' => {
                self.add(&step.path, true);
            }
            b'W' => {
                let node = self.by_inode[&step.ino];
                let write = Pending::Write(step.offset, step.data.clone());
                self.nodes[node].pending.push(write);
            }
            b'T' => {
                let node = self.by_inode[&step.ino];
                self.nodes[node].pending.push(Pending::Length(step.offset));
            }
            b'S' => {
                let directory = self
                    .find(&step.path)
                    .filter(|n| self.nodes[*n].is_directory);
                let node = directory.unwrap_or_else(|| self.by_inode[&step.ino]);
                let node = &mut self.nodes[node];
                node.durable_names = node.names.clone();
                node.changes.clear();
                for pending in std::mem::take(&mut node.pending) {
                    match pending {
                        Pending::Write(offset, data) => apply(&mut node.durable, offset, &data),
                        Pending::Length(length) => node.durable.resize(length as usize, 0),
                    }
                }
            }
            b'R' => {
                let to = String::from_utf8(step.data.clone()).expect("a path");
                let node = self.find(&step.path).expect("renamed things are known");
                self.name(&to, Some(node));
                self.name(&step.path, None);
            }
            b'U' => self.name(&step.path, None),
            _ => {}
        }
    }

    /// Writes what a cut leaves into a directory.
    pub fn image(&self, cut: Cut, to: &Path, chance: &mut dyn FnMut(u64) -> u64) {
        self.write_directory(0, cut, to, chance);
    }

    fn write_directory(
        &self,
        node: usize,
        cut: Cut,
        to: &Path,
        chance: &mut dyn FnMut(u64) -> u64,
    ) {
        let directory = &self.nodes[node];
        let mut names = directory.durable_names.clone();
        for (name, node) in &directory.changes {
            if cut == Cut::Random && chance(2) == 0 {
                match node {
                    Some(node) => names.insert(name.clone(), *node),
                    None => names.remove(name),
                };
            }
        }
        for (name, node) in names {
            let path = to.join(name);
            if self.nodes[node].is_directory {
                fs::create_dir(&path).expect("makes");
                self.write_directory(node, cut, &path, chance);
            } else {
                fs::write(&path, self.content(node, cut, chance)).expect("writes");
            }
        }
    }

    fn content(&self, node: usize, cut: Cut, chance: &mut dyn FnMut(u64) -> u64) -> Vec<u8> {
        let node = &self.nodes[node];
        let mut content = node.durable.clone();
        if cut == Cut::Dropped {
            return content;
        }
        for pending in &node.pending {
            let fate = chance(3);
            match pending {
                _ if fate == 0 => {}
                Pending::Length(length) => content.resize(*length as usize, 0),
                Pending::Write(offset, data) if fate == 1 => apply(&mut content, *offset, data),
                Pending::Write(offset, data) => {
                    let mut at = 0;
                    while at < data.len() {
                        let sector = 512 - (*offset as usize + at) % 512;
                        let end = data.len().min(at + sector);
                        if chance(2) == 0 {
                            apply(&mut content, offset + at as u64, &data[at..end]);
                        }
                        at = end;
                    }
                }
            }
        }
        content
    }
}

//! What a store found that was not as it was left, and what it did about it: said, never done in silence.
//!
//! All of it follows from the log and was made anew from it, so no answer is other than it was. But files that change by
//! themselves tell of a failing disk, and a person must be able to hear of it.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

/// Most that are kept: far more than a store has kinds of trouble, and few enough for memory.
const NOTICES_MAX: usize = 256;

/// One thing that was not as it was left, and what was done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A file or directory that follows from the log could not be used. It was renamed and is kept; it is made anew.
    SetAside {
        /// What it was called.
        path: String,
        /// What it is called now.
        kept_as: String,
        /// What was wrong with it.
        why: String,
    },
    /// A file that follows from the log could not be used, and was made anew in its place.
    MadeAnew {
        /// The file.
        path: String,
        /// What was wrong with it.
        why: String,
    },
    /// Entries of a file were not what was written, and were written anew from the log.
    Corrected {
        /// The file.
        path: String,
        /// How many entries.
        entries: u64,
    },
    /// A part of the index failed its check when it was read. The log answers in its place until it is made anew.
    Unsound {
        /// The file.
        path: String,
    },
    /// A commit with its marker, the last one, was cut since sectors before the marker read as zeros: what a power cut
    /// leaves of a commit that was never acknowledged.
    TornCommit {
        /// The segment.
        path: String,
        /// Where it was cut.
        offset: u64,
        /// Bytes that were cut.
        bytes: u64,
    },
    /// Bytes behind the last commit marker were cut: what a broken-off write leaves.
    Unfinished {
        /// The segment.
        path: String,
        /// Where it was cut.
        offset: u64,
        /// Bytes that were cut.
        bytes: u64,
    },
    /// A file or directory that follows from the log was missing, or too short, and was made anew.
    Missing {
        /// The file.
        path: String,
    },
    /// A file in an earlier version's form was made anew in today's.
    Upgraded {
        /// The file.
        path: String,
    },
}

impl Notice {
    /// The file or directory that it is about.
    pub fn path(&self) -> &str {
        match self {
            Self::SetAside { path, .. }
            | Self::MadeAnew { path, .. }
            | Self::Corrected { path, .. }
            | Self::Unsound { path }
            | Self::TornCommit { path, .. }
            | Self::Unfinished { path, .. }
            | Self::Missing { path }
            | Self::Upgraded { path } => path,
        }
    }

    /// Whether bytes were not what was written, or were lost. The others are what a process that was killed, an earlier
    /// version, or a person who moved a file away leaves.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::SetAside { .. }
            | Self::MadeAnew { .. }
            | Self::Corrected { .. }
            | Self::Unsound { .. }
            | Self::TornCommit { .. } => true,
            Self::Unfinished { .. } | Self::Missing { .. } | Self::Upgraded { .. } => false,
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetAside { path, kept_as, why } => {
                write!(f, "{path} was set aside as {kept_as} and is made anew from the log: {why}")
            }
            Self::MadeAnew { path, why } => write!(f, "{path} was made anew from the log: {why}"),
            Self::Corrected { path, entries } => {
                write!(f, "{path}: {entries} entries were not what was written, and were written anew from the log")
            }
            Self::Unsound { path } => {
                write!(f, "{path} fails its check: the log answers in its place until a running node makes it anew")
            }
            Self::TornCommit { path, offset, bytes } => write!(
                f,
                "{path}: the last commit, {bytes} bytes from byte {offset} on, was cut: it has sectors of zeros, as a power \
                 cut leaves them in a commit that was never acknowledged; what was in it comes from peers again"
            ),
            Self::Unfinished { path, offset, bytes } => {
                write!(f, "{path}: {bytes} bytes from byte {offset} on, which a broken-off write left, were cut")
            }
            Self::Missing { path } => write!(f, "{path} was missing or too short, and was made anew from the log"),
            Self::Upgraded { path } => write!(f, "{path} was of an earlier version, and was made anew in today's form"),
        }
    }
}

/// Where the parts of one store put their notices.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notices(Arc<Mutex<Vec<Notice>>>);

impl Notices {
    /// Adds a notice. Corrections of one file are counted together, and nothing is said twice.
    pub(super) fn add(&self, notice: Notice) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Notice::Corrected { path, entries } = &notice {
            for earlier in all.iter_mut() {
                if let Notice::Corrected { path: of, entries: sum } = earlier
                    && of == path
                {
                    *sum = sum.saturating_add(*entries);
                    return;
                }
            }
        }
        if all.len() < NOTICES_MAX && !all.contains(&notice) {
            all.push(notice);
        }
    }

    /// A file was missing or too short. Nothing is added to what was said of it before.
    pub(super) fn missing(&self, path: &Path) {
        let path = path.display().to_string();
        if !self.all().iter().any(|notice| notice.path() == path) {
            self.add(Notice::Missing { path });
        }
    }

    pub(super) fn corrected(&self, path: &Path, entries: u64) {
        if entries > 0 {
            self.add(Notice::Corrected { path: path.display().to_string(), entries });
        }
    }

    pub(super) fn set_aside(&self, path: &Path, kept_as: &Path, why: &str) {
        let (path, kept_as) = (path.display().to_string(), kept_as.display().to_string());
        self.add(Notice::SetAside { path, kept_as, why: why.to_owned() });
    }

    /// All so far, in the order in which they came.
    pub(super) fn all(&self) -> Vec<Notice> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

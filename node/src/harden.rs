//! What a process that holds secrets does to keep them in its memory: no core dumps, and nobody of the same user looks in.
//!
//! The wallet's keys lie in locked pages (`docs/decisions/0038-keys-locked-in-memory.md`); all else of the process does not,
//! so swap should be encrypted (`docs/operations.md`).

/// What is said where the system does not let the wallet's keys be locked in memory.
pub const KEYS_NOT_LOCKED: &str = "this system does not let the wallet's keys be locked in memory, so they may reach its \
    swap space: use encrypted swap or none, or raise the limit (`ulimit -l 256`) and start again; all else works as always";

/// Turns core dumps off for this process and its children, and on Linux keeps other processes of the same user from
/// attaching to it. What the system refuses stays as it was: a shell may have set stricter limits already.
pub fn no_core_dumps() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_system_says_that_there_will_be_no_core() {
        no_core_dumps();
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().filter(|word| *word == "0").count(), 2, "{core}");
        assert_eq!(rustix::process::dumpable_behavior().unwrap(), rustix::process::DumpableBehavior::NotDumpable);
    }
}

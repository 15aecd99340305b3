//! What the C library's allocator is told, so that memory that was freed goes back to the system
//! (`docs/decisions/0054-what-is-freed-goes-back.md`).
//!
//! glibc reads this from the environment alone, when a program begins. So the node begins anew, once, with it there.

/// The settings, by the name under which glibc reads them (mallopt(3)). A block of 128 KiB or more is a mapping of its own,
/// which goes when it is freed: left alone, glibc keeps all that is smaller than the largest one that was ever freed, up to
/// 32 MiB. And two arenas for each core in place of eight, each of which keeps what it has once needed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn settings() -> [(&'static str, String); 2] {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    [("MALLOC_MMAP_THRESHOLD_", "131072".to_owned()), ("MALLOC_ARENA_MAX", cores.saturating_mul(2).max(4).to_string())]
}

/// Begins the program anew with these settings, in the same process, unless one of them is there: because this was done, or
/// because somebody has chosen otherwise. Where that cannot be done, all goes on as it is, and takes more memory; but
/// SIGPIPE ends the process then, until it is caught. To be called before anything was read, opened or started.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn begin_anew_with_settings() {
    use std::{env, os::unix::process::CommandExt, path::Path, process::Command};

    let settings = settings();
    if settings.iter().any(|(name, _)| env::var_os(name).is_some()) {
        return;
    }
    let mut args = env::args_os();
    let (Some(called), Ok(program)) = (args.next(), env::current_exe()) else {
        return;
    };
    // What runs may be a loader or an emulator that was given the program, or the program may have been replaced.
    if Path::new(&called).file_name() != program.file_name() {
        return;
    }
    // Comes back only if it failed.
    drop(Command::new(program).arg0(called).args(args).envs(settings).exec());
}

/// Other C libraries do this by themselves, or have no such settings.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn begin_anew_with_settings() {}

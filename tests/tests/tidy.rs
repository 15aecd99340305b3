//! Holds the whole workspace to the rules of DESIGN §10 and §11 that a machine can check.
//!
//! The rules, and the samples that prove that they can fail, are in `src/tidy.rs` and below. A rule here is only ever
//! named; to change one, change its demand there first.

use std::io;

use qasedak_tests::tidy::{Rule, files, simulator, source, workspace};

/// Every fault of every file against one rule, or nothing.
fn hold(rule: &Rule) -> io::Result<()> {
    report(rule.demand, &rule.violations(&files()?));
    Ok(())
}

fn report(demand: &str, violations: &[String]) {
    assert!(violations.is_empty(), "\nThe rule: {demand}.\nBroken at:\n  {}\n", violations.join("\n  "));
}

/// One test per rule, named after what holds when it passes.
macro_rules! rules {
    ($($name:ident: $rule:path;)*) => {$(
        #[test]
        fn $name() -> io::Result<()> {
            hold(&$rule)
        }
    )*};
}

rules! {
    dependencies_run_one_way: workspace::MANIFESTS;
    the_root_manifest_sets_the_rules: workspace::ROOT_MANIFEST;
    exceptions_have_reasons: workspace::EXCEPTIONS;
    locked_crates_are_known_and_patched: workspace::LOCKED;
    decisions_give_context_choice_and_evidence: workspace::DECISIONS;
    pure_code_knows_no_io_clock_or_randomness: source::PURE;
    pure_code_iterates_in_one_order: source::ORDERED;
    signatures_are_never_verified_in_batches: source::NO_BATCHES;
    nothing_is_unsafe: source::SAFE;
    no_gaps_and_no_debugging_aids: source::FINISHED;
    no_marks_of_unfinished_work: source::NO_MARKS;
    libraries_do_not_print: source::SILENT;
    contexts_stand_in_one_place: source::ONE_HASH;
    contexts_are_unique: source::UNIQUE_CONTEXTS;
    only_the_codec_encodes: source::ONE_CODEC;
    sled_stays_at_home: source::SLED_AT_HOME;
    files_go_through_one_layer: source::ONE_LAYER;
    files_say_what_they_are_for: source::HEADED;
    files_and_functions_are_short: source::SHORT;
    ignored_tests_say_why: source::IGNORED_WITH_REASON;
    lints_are_switched_off_with_a_reason: source::ALLOWED_WITH_REASON;
    crate_roots_are_maps: source::MAPPED;
    no_file_knows_its_machine: source::NO_PLACES;
}

#[test]
fn no_mod_rs_and_one_clippy_configuration() -> io::Result<()> {
    let files = files()?;
    report(
        "modules are foo.rs beside foo/, lints have one configuration",
        &workspace::misplaced(files.iter().map(|file| &*file.path)),
    );
    Ok(())
}

#[test]
fn every_page_is_linked_and_every_link_leads_somewhere() -> io::Result<()> {
    report("a reader who starts at README.md can reach every page", &workspace::unlinked(&files()?));
    Ok(())
}

#[test]
fn the_simulator_drives_the_engine_that_the_driver_drives() -> io::Result<()> {
    report("what the simulator shows holds for what ships", &simulator::other_engines(&files()?));
    Ok(())
}

#[test]
fn no_context_stands_twice() -> io::Result<()> {
    report("two uses of a key or hash never share a context string", &workspace::repeated_contexts(&files()?));
    Ok(())
}

#[test]
fn exceptions_are_still_needed() -> io::Result<()> {
    let files = files()?;
    let text =
        |path: &str| files.iter().find(|file| file.path == path).map(|file| file.text.as_str()).unwrap_or_default();
    report(
        "an exception goes when its cause is gone",
        &workspace::stale_exceptions(text("deny.toml"), text("Cargo.lock")),
    );
    Ok(())
}

/// The rules are held against real files: if the walk went wrong, all of them would pass over nothing.
#[test]
fn the_walk_sees_the_workspace() -> io::Result<()> {
    let files = files()?;
    for path in
        ["Cargo.toml", "Cargo.lock", "clippy.toml", "chain/src/rules.rs", "p2p/src/engine.rs", "tests/tests/tidy.rs"]
    {
        assert!(files.iter().any(|file| file.path == path && !file.text.is_empty()), "{path} was not seen");
    }
    assert!(!files.iter().any(|file| file.path.starts_with("target/") || file.path.starts_with(".git/")));
    Ok(())
}

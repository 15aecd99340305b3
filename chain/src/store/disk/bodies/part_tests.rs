//! Arithmetic of parts and places: nothing overlaps, and the first part is what there was before there were parts.

#![allow(clippy::unwrap_used, reason = "tests say by panicking that something is wrong")]

use proptest::prelude::*;

use super::*;

#[test]
fn part_0_is_what_a_whole_day_was() {
    let part = Part::first_of(20_700);
    assert_eq!((part.file_name().as_str(), part.number()), ("20700.seg", 20_700));
    assert_eq!(part.place(128), Some(Place { day: 20_700, offset: 128 }));
    assert_eq!(Part::from_number(20_700), part);
}

#[test]
fn bounds_hold() {
    let last = Part::first_of(7).last_possible();
    let greatest = last.place((1 << OFFSET_BITS) - 1).unwrap();
    assert_eq!(greatest, Place { day: 7, offset: u64::MAX });
    assert_eq!((greatest.part(), greatest.at()), (last, (1 << OFFSET_BITS) - 1));
    assert_eq!(last.place(1 << OFFSET_BITS), None);
    assert_eq!(last.next(), Part::first_of(8));
    assert_eq!(Part { day: 7, nth: NTH_MAX + 1 }.place(0), None);
    // The day that stands for "no body" is never given out.
    assert_eq!(Part::first_of(u64::MAX).place(0).unwrap().day, u32::MAX - 1);
    assert_eq!(Part { day: u32::MAX, nth: 0 }.place(0), None);
}

#[test]
fn only_names_that_are_given_are_taken() {
    for name in ["7.seg", "7-1.seg", "4294967294-16777215.seg"] {
        assert_eq!(Part::from_file_name(name).unwrap().file_name(), name);
    }
    for name in
        ["07.seg", "7-0.seg", "7-01.seg", "+7.seg", "7-.seg", "-7.seg", "7.seg.unfinished", "7-16777216.seg", "7"]
    {
        assert_eq!(Part::from_file_name(name), None, "{name}");
    }
}

proptest! {
    #[test]
    fn parts_and_places_are_read_back(day in 0..u32::MAX, nth in 0..=NTH_MAX, at in 0..1u64 << OFFSET_BITS) {
        let part = Part { day, nth };
        let place = part.place(at).unwrap();
        prop_assert_eq!((place.part(), place.at()), (part, at));
        prop_assert_eq!(Part::from_number(part.number()), part);
        prop_assert_eq!(Part::from_file_name(&part.file_name()), Some(part));
        prop_assert!(part < part.next());
        // Places order as their parts go.
        let later = part.next().place(0);
        prop_assert!(later.is_none_or(|later| (place.day, place.offset) < (later.day, later.offset)));
    }
}

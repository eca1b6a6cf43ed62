//! Generators: iterators over what a function yields.

use std::cell::RefCell;
use std::rc::Rc;

use kapok::coroutine::{Generator, Yielder};

use super::{each_engine, make, notes};
use crate::support::panics;

#[test]
fn values_come_in_order_and_then_none() {
    each_engine(|engine| {
        let numbers = make(engine, |yielder: &Yielder<(), u32>, ()| {
            (0..1000).for_each(|i| yielder.suspend(i));
        });
        let mut numbers = Generator::from(numbers);
        assert_eq!(
            numbers.by_ref().step_by(2).map(u64::from).sum::<u64>(),
            (0..1000).step_by(2).sum()
        );
        assert_eq!((numbers.next(), numbers.next()), (None, None));
    });
    let mut nothing = Generator::<u8>::new(|_| ()).unwrap();
    assert_eq!(nothing.next(), None);
}

#[test]
fn one_generator_drives_another() {
    let words = Generator::new(|yielder| {
        let letters = Generator::new(|yielder| "abc".chars().for_each(|c| yielder.suspend(c))).unwrap();
        for letter in letters {
            (1..3).for_each(|n| yielder.suspend(letter.to_string().repeat(n)));
        }
    });
    let words: Vec<String> = words.unwrap().collect();
    assert_eq!(words, ["a", "aa", "b", "bb", "c", "cc"]);
}

#[test]
fn dropped_early_or_after_a_panic() {
    let log = Rc::new(RefCell::new(Vec::new()));
    let theirs = Rc::clone(&log);
    let mut endless = Generator::new(move |yielder| {
        let _frame = notes(&theirs, "frame");
        loop {
            yielder.suspend(());
        }
    })
    .unwrap();
    assert!(endless.next().is_some());
    drop(endless);
    assert_eq!(*log.borrow(), ["frame"]);
    let mut fails = Generator::new(|yielder| {
        yielder.suspend(1);
        panic!("on purpose");
    })
    .unwrap();
    assert_eq!(fails.next(), Some(1));
    assert_eq!(panics(|| fails.next()), "on purpose");
    assert_eq!(fails.next(), None);
}

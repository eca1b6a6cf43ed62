use std::hint::black_box;

use super::super::{Engine, Entry, Handle, Transfer};
use crate::ffi;
use crate::stack::Stack;

const ROUNDS: u64 = 500;

/// As many values as there are registers that a call keeps, of either kind, which go on from what they were: where a
/// switch overwrites one, though it does not say so, it is seen in the sum. (In a build without optimisation they are
/// in memory.)
fn mix(seed: u64, mut switch: impl FnMut()) -> u64 {
    let mut whole: [u64; 12] = std::array::from_fn(|i| seed + 3 * i as u64);
    let mut real: [f64; 12] = std::array::from_fn(|i| (seed + i as u64) as f64);
    for round in 0..ROUNDS {
        switch();
        let (one, half) = (black_box(1), black_box(0.5));
        for i in 0..12 {
            whole[i] = whole[i].wrapping_mul(2 * i as u64 + 5).wrapping_add(one ^ round);
            real[i] = real[i] * half + i as f64;
        }
    }
    let whole = whole.iter().fold(0_u64, |sum, value| sum.rotate_left(3) ^ value);
    real.iter()
        .fold(whole, |sum, value| sum.rotate_left(3) ^ value.to_bits())
}

/// One step of a context: an inlined switch, or a call of the engine's function, since each has to resume what the
/// other has left.
#[inline(always)]
fn step(engine: Engine, other: &mut Option<Handle>, inlined: bool) {
    let to = other.take().expect("whoever resumed this context left a handle");
    let back = if inlined {
        // SAFETY: the handle belongs to this engine and thread; the other side expects no data, and unwinds nobody.
        unsafe { engine.switch(to, std::ptr::null_mut()) }
    } else {
        // SAFETY: as above.
        unsafe { engine.jump(to, std::ptr::null_mut()) }
    };
    *other = back.from;
}

fn asm() -> Engine {
    "asm".parse().expect("inlined is only what there is")
}

unsafe extern "C-unwind" fn mix_there(transfer: ffi::kapok_transfer_t) {
    // SAFETY: it is the transfer of this entry, converted once.
    let mut other = unsafe { Transfer::from_raw(transfer) }.from;
    let mut count = 0;
    let sum = mix(11, || {
        count += 1;
        step(asm(), &mut other, count % 3 != 0);
    });
    assert_eq!(sum, mix(11, || ()));
    step(asm(), &mut other, true);
    unreachable!("it is not resumed after its last step");
}

#[test]
fn what_is_in_registers_outlives_a_switch() {
    assert!(asm().0.suspended != 0, "the jump is not inlined");
    let stack = Stack::new(64 * 1024).unwrap();
    // SAFETY: the stack outlives the context, which ends suspended.
    let made = unsafe { asm().make(&stack, mix_there as Entry) }.unwrap();
    let mut other = Some(made);
    let mut count = 0;
    let sum = mix(77, || {
        count += 1;
        step(asm(), &mut other, count % 2 != 0);
    });
    assert_eq!(sum, mix(77, || ()));
    step(asm(), &mut other, true);
}

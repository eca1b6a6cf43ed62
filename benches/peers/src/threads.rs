//! Threads of the system, which share the processor here.

use std::hint::black_box;

use crate::work::{Figure, Measure, timed};

pub(crate) fn measure(peer: &str, work: &str) -> Option<Measure> {
    match (peer, work) {
        ("crossbeam-threads", "channel") => Some(channel),
        ("crossbeam-threads", "spawn-1") => Some(spawn),
        _ => None,
    }
}

fn channel(n: u32) -> Figure {
    timed(n / 10, |n| {
        let (ping, pinged) = crossbeam_channel::unbounded::<u32>();
        let (pong, ponged) = crossbeam_channel::unbounded();
        let other = std::thread::spawn(move || pinged.iter().for_each(|i| pong.send(i).expect("it waits for it")));
        for i in 0..n / 2 {
            ping.send(i).expect("it waits for it");
            black_box(ponged.recv().expect("it answers"));
        }
        drop(ping);
        other.join().expect("no panic");
    })
}

fn spawn(n: u32) -> Figure {
    timed(n / 50, |n| {
        (0..n).for_each(|i| drop(black_box(std::thread::spawn(move || i).join())));
    })
}

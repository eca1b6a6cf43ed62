//! Two that wait for each other in turn, for long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use kapok::sync::Baton;
use kapok::{Engine, spawn, spawn_local};

use crate::support::emulator::rounds;
use crate::support::{run, run_with};

/// Rounds of a game that switches threads each time.
fn remote_rounds() -> usize {
    rounds(100_000)
}

/// The two batons of a game of ping-pong.
#[derive(Default)]
struct Table {
    ping: Baton,
    pong: Baton,
    /// Written by one side before it posts, read by the other after its wait.
    ball: AtomicU64,
}

impl Table {
    fn serve(&self, rounds: usize) {
        for round in 0..rounds as u64 {
            self.ball.store(2 * round, Ordering::Relaxed);
            self.ping.post();
            self.pong.wait();
            self.pong.reset();
            assert_eq!(self.ball.load(Ordering::Relaxed), 2 * round + 1);
        }
    }

    fn answer(&self, rounds: usize) {
        for round in 0..rounds as u64 {
            self.ping.wait();
            self.ping.reset();
            assert_eq!(self.ball.load(Ordering::Relaxed), 2 * round);
            self.ball.store(2 * round + 1, Ordering::Relaxed);
            self.pong.post();
        }
    }
}

#[test]
fn ping_pong_of_two_fibers() {
    for engine in Engine::available() {
        run_with(engine, || {
            let table = Arc::new(Table::default());
            let other = Arc::clone(&table);
            // On this worker, or what is played is the game of two runtimes, ten times as long.
            let answering = spawn_local(move || other.answer(rounds(1_000_000)));
            table.serve(rounds(1_000_000));
            answering.join().unwrap();
        });
    }
}

#[test]
fn ping_pong_of_two_runtimes() {
    let table = Arc::new(Table::default());
    let theirs = Arc::clone(&table);
    let other = thread::spawn(move || run(move || theirs.answer(remote_rounds())));
    run(|| table.serve(remote_rounds()));
    other.join().unwrap();
}

#[test]
fn ping_pong_of_a_fiber_and_a_thread() {
    let table = Arc::new(Table::default());
    let theirs = Arc::clone(&table);
    let other = thread::spawn(move || theirs.answer(remote_rounds()));
    run(|| table.serve(remote_rounds()));
    other.join().unwrap();
}

#[test]
fn many_games_between_two_runtimes() {
    const GAMES: usize = 50;
    let tables: Arc<[Table]> = (0..GAMES).map(|_| Table::default()).collect();
    let side = |tables: Arc<[Table]>, play: fn(&Table, usize)| {
        move || {
            run(move || {
                let players: Vec<_> = (0..GAMES)
                    .map(|i| {
                        let tables = Arc::clone(&tables);
                        spawn(move || play(&tables[i], rounds(2_000)))
                    })
                    .collect();
                players.into_iter().for_each(|player| player.join().unwrap());
            });
        }
    };
    let other = thread::spawn(side(Arc::clone(&tables), Table::answer));
    side(tables, Table::serve)();
    other.join().unwrap();
}

#[test]
fn many_fibers_and_threads_play_at_once() {
    const GAMES: usize = 8;
    run(|| {
        let tables: Arc<[Table]> = (0..GAMES).map(|_| Table::default()).collect();
        let threads: Vec<_> = (0..GAMES)
            .map(|i| {
                let tables = Arc::clone(&tables);
                thread::spawn(move || tables[i].answer(rounds(2_000)))
            })
            .collect();
        let fibers: Vec<_> = (0..GAMES)
            .map(|i| {
                let tables = Arc::clone(&tables);
                spawn(move || tables[i].serve(rounds(2_000)))
            })
            .collect();
        fibers.into_iter().for_each(|fiber| fiber.join().unwrap());
        kapok::blocking(|| threads.into_iter().for_each(|thread| thread.join().unwrap()));
    });
}

#[test]
fn what_was_written_before_the_post_is_seen_after_the_wait() {
    run(|| {
        // Relaxed on both sides: the baton alone orders them.
        let cells: Arc<[AtomicU64; 32]> = Arc::default();
        let (there, back) = (Arc::new(Baton::new()), Arc::new(Baton::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (cells, there, back, stop) = (
                Arc::clone(&cells),
                Arc::clone(&there),
                Arc::clone(&back),
                Arc::clone(&stop),
            );
            move || {
                for round in 1.. {
                    cells.iter().for_each(|cell| cell.store(round, Ordering::Relaxed));
                    there.post();
                    back.wait();
                    back.reset();
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                }
            }
        });
        let last = rounds(10_000) as u64;
        for round in 1..=last {
            there.wait();
            there.reset();
            assert!(cells.iter().all(|cell| cell.load(Ordering::Relaxed) == round));
            stop.store(round == last, Ordering::Relaxed);
            back.post();
        }
        kapok::blocking(|| thread.join().unwrap());
    });
}
